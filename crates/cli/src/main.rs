//! The command-line program of hardgrad: words in, one call into the lab, tables out.
//!
//! Results go to stdout, progress and errors to stderr. The exit code is 2 for wrong use and 1 for a failure.

mod arguments;
mod progress;
mod tables;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use hardgrad_lab::operators::{self, OperatorError};
use hardgrad_lab::{
    Config, LabError, RECIPES, Start, TemperatureKind, TemperatureSchedule, bench, compare, data, diagnose,
    experiments, theory,
};
use serde::Serialize;

use arguments::{
    Arguments, BenchArguments, CompareArguments, DataCommand, DiagnoseArguments, ExperimentArguments, OpCommand,
    RecipesCommand, Schedule, TheoryCommand, TrainArguments, TwoLayerArguments, Verb,
};

fn main() -> ExitCode {
    hardgrad_kernels::memory::keep_freed_memory();
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

/// What ends the program early.
struct Failure {
    message: String,
    code: u8,
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self { message: error.to_string(), code: if error.is_usage() { 2 } else { 1 } }
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let code = if matches!(error, OperatorError::File(_)) { 1 } else { 2 };
        Self { message: error.to_string(), code }
    }
}

fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Train(arguments) => train(arguments),
        Verb::Recipes { command: None, json } => show(&RECIPES, json, |recipes| tables::recipes(recipes)),
        Verb::Recipes { command: Some(RecipesCommand::Show { recipe }), .. } => {
            print(Config::of_recipe(&recipe).map_err(LabError::from)?.to_toml().trim_end())
        }
        Verb::Eval { run, data, json } => {
            let evaluation = hardgrad_lab::evaluate_run(&run, data.as_deref())?;
            show(&evaluation, json, tables::evaluation)
        }
        Verb::Export { run, out, data, force, json } => {
            let export = hardgrad_lab::export_run(&run, &out, data.as_deref(), force)?;
            show(&export, json, |export| tables::export(export, &out))
        }
        Verb::Predict { file, images, data, json } => {
            let predictions = hardgrad_lab::predict(&file, &images, data.as_deref())?;
            show(&predictions, json, |predictions| tables::predictions(predictions))
        }
        Verb::Inspect { path, json } => show(&hardgrad_lab::inspect(&path)?, json, tables::inspection),
        Verb::Data { command: DataCommand::List { json } } => {
            show(&data::known_sets(), json, |sets| tables::known_sets(sets))
        }
        Verb::Data { command: DataCommand::Check { folder, json } } => {
            let report = data::check(&folder).map_err(LabError::from)?;
            show(&tables::check_json(&report), json, |_| tables::check(&report))?;
            match report.problem {
                Some(problem) => Err(LabError::from(problem).into()),
                None => Ok(()),
            }
        }
        Verb::Diagnose(arguments) => diagnose(arguments),
        Verb::Compare(arguments) => compare(arguments),
        Verb::Theory { command: TheoryCommand::TwoLayer(arguments) } => two_layer(arguments),
        Verb::Experiment(arguments) => experiment(arguments),
        Verb::Estimators { json } => show(&tables::estimators_json(), json, |_| tables::estimators()),
        Verb::Plots { out } => {
            let count = hardgrad_lab::write_operator_plots(&out)?;
            print(&format!("{count} pictures in {}", out.display()))
        }
        Verb::Bench(arguments) => bench(arguments),
        Verb::Op { command: OpCommand::List { json } } => {
            show(&operators::OPERATORS, json, |operators| tables::operators(operators))
        }
        Verb::Op { command: OpCommand::Run { name, input, output, set } } => {
            Ok(operators::run(&name, &input, &output, &set)?)
        }
    }
}

fn train(arguments: TrainArguments) -> Result<(), Failure> {
    let json = arguments.json;
    let start = match arguments.resume {
        Some(folder) => Start::Resume(folder),
        None => {
            let recipe = arguments.recipe.unwrap_or_default();
            let mut config = Config::of_recipe(&recipe).map_err(LabError::from)?;
            if let Some(path) = &arguments.config {
                let text = hardgrad_lab::files::read_text(path).map_err(LabError::from)?;
                config = Config::from_toml(&text, &path.display().to_string()).map_err(LabError::from)?;
                if config.recipe != recipe {
                    let message = format!("{}: a config of recipe {}, not {recipe}", path.display(), config.recipe);
                    return Err(Failure { message, code: 2 });
                }
            }
            let mut config = config.with_changes(&arguments.set).map_err(LabError::from)?;
            if let Some(seed) = arguments.seed {
                config = config.with_changes(&[format!("seed={seed}")]).map_err(LabError::from)?;
            }
            if let Some(data) = &arguments.data {
                config.data.directory = data.display().to_string();
            }
            Start::New { config: Box::new(config), out: arguments.out, force: arguments.force }
        }
    };
    let mut progress = progress::Progress::default();
    let result = hardgrad_lab::train(start, &mut |event| progress.show(event));
    progress.finish();
    show(&result?, json, tables::summary)
}

fn diagnose(arguments: DiagnoseArguments) -> Result<(), Failure> {
    let request = diagnose::Request {
        methods: trimmed(arguments.methods),
        objective: arguments.objective,
        variables: arguments.variables,
        categories: arguments.categories,
        temperatures: arguments.temperatures,
        samples: arguments.samples,
        reference_samples: arguments.reference_samples,
        spread: arguments.spread,
        seed: arguments.seed,
    };
    prepare(&arguments.out)?;
    let mut bar = progress::Counter::default();
    let result = diagnose::diagnose(&request, &mut |event| match event {
        diagnose::Progress::Begin(count) => bar.begin(count, "methods"),
        diagnose::Progress::Method(name) => bar.message(name),
        diagnose::Progress::Done => bar.advance(1),
    });
    bar.finish();
    let diagnosis = result?;
    if let Some(folder) = &arguments.out {
        diagnose::write(&diagnosis, folder)?;
    }
    show(&diagnosis, arguments.json, tables::diagnosis)
}

fn compare(arguments: CompareArguments) -> Result<(), Failure> {
    let kind = match arguments.schedule {
        Schedule::Constant => TemperatureKind::Constant,
        Schedule::Linear => TemperatureKind::Linear,
        Schedule::Exponential => TemperatureKind::Exponential,
        Schedule::Cosine => TemperatureKind::Cosine,
    };
    if (kind == TemperatureKind::Constant) == arguments.temperature_end.is_some() {
        let message = "--temperature-end and a --schedule that moves (linear, exponential, cosine) belong together";
        return Err(Failure { message: message.to_string(), code: 2 });
    }
    let (start, end) = (arguments.temperature, arguments.temperature_end.unwrap_or(arguments.temperature));
    let request = compare::Request {
        estimators: trimmed(arguments.estimators),
        objective: arguments.objective,
        variables: arguments.variables,
        categories: arguments.categories,
        seeds: arguments.seeds,
        seed: arguments.seed,
        steps: arguments.steps,
        batch_size: arguments.batch_size,
        learning_rate: arguments.learning_rate,
        temperature: TemperatureSchedule { kind, start, end },
    };
    prepare(&arguments.out)?;
    let bar = Mutex::new(progress::Counter::default());
    let with = |act: &dyn Fn(&mut progress::Counter)| act(&mut bar.lock().unwrap_or_else(PoisonError::into_inner));
    let result = compare::compare(&request, &|event| match event {
        compare::Progress::Begin(steps) => with(&|bar| bar.begin(steps, "steps")),
        compare::Progress::Steps(steps) => with(&|bar| bar.advance(steps)),
    });
    with(&|bar| bar.finish());
    let comparison = result?;
    if let Some(folder) = &arguments.out {
        compare::write(&comparison, folder)?;
    }
    show(&comparison, arguments.json, tables::comparison)
}

fn two_layer(arguments: TwoLayerArguments) -> Result<(), Failure> {
    let request = theory::Request {
        v_star: arguments.v_star,
        filter: arguments.filter,
        learning_rate: arguments.learning_rate,
        steps: arguments.steps,
        samples: arguments.samples,
        seed: arguments.seed,
    };
    prepare(&arguments.out)?;
    let report = theory::two_layer(&request)?;
    if let Some(folder) = &arguments.out {
        theory::write(&report, folder)?;
    }
    show(&report, arguments.json, tables::two_layer)
}

fn experiment(arguments: ExperimentArguments) -> Result<(), Failure> {
    let Some(name) = &arguments.name else {
        return show(&experiments::EXPERIMENTS, arguments.json, |list| tables::experiments(list));
    };
    let experiment = experiments::by_name(name)?;
    if arguments.show {
        return print(experiment.settings().trim_end());
    }
    let data = data::load(arguments.data.as_deref()).map_err(LabError::from)?;
    prepare(&arguments.out)?;
    let bar = Mutex::new(progress::Counter::default());
    let with = |act: &dyn Fn(&mut progress::Counter)| act(&mut bar.lock().unwrap_or_else(PoisonError::into_inner));
    let result = experiment.run(&arguments.set, data, &|event| match event {
        experiments::Progress::Begin(count) => with(&|bar| bar.begin(count, "pieces")),
        experiments::Progress::Done(count) => with(&|bar| bar.advance(count)),
        experiments::Progress::Note(text) => with(&|bar| bar.line(&text)),
    });
    with(&|bar| bar.finish());
    let finished = result?;
    if let Some(folder) = &arguments.out {
        experiments::write(&finished, folder)?;
    }
    show(&finished.to_json(), arguments.json, |_| tables::experiment(&finished))
}

fn bench(arguments: BenchArguments) -> Result<(), Failure> {
    if arguments.list {
        let names: Vec<&str> = bench::chosen(&arguments.only).map(|workload| workload.name).collect();
        return print(&names.join("\n"));
    }
    if let Some(steps) = arguments.steps {
        return Ok(bench::run_steps(&arguments.only, steps)?);
    }
    let tell = |name: &str| eprintln!("{name}");
    if let Some(folder) = arguments.json.as_deref().and_then(Path::parent).filter(|path| !path.as_os_str().is_empty()) {
        prepare(&Some(folder.to_path_buf()))?;
    }
    if let Some(folder) = &arguments.scaling {
        prepare(&arguments.scaling)?;
        let sweeps = bench::sweeps(tell)?;
        bench::write(&sweeps, folder)?;
        return measured(&arguments, &sweeps, false, |sweeps| tables::sweeps(sweeps));
    }
    if arguments.profile {
        let profiles = bench::profiles(&arguments.only, tell);
        return measured(&arguments, &profiles, profiles.is_empty(), |profiles| tables::profiles(profiles));
    }
    let timings = bench::time(&arguments.only, tell);
    measured(&arguments, &timings, timings.results.is_empty(), tables::timings)
}

/// Prints what was measured as a table, or as JSON to where it was asked for.
fn measured<T: Serialize>(
    arguments: &BenchArguments,
    found: &T,
    empty: bool,
    table: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    if empty {
        eprintln!("no workload is called {}; `hardgrad bench --list` lists them", arguments.only);
    }
    match &arguments.json {
        None => print(&table(found)),
        Some(path) if path.as_os_str() == "-" => show(found, true, table),
        Some(path) => {
            let text = json(found)?;
            Ok(hardgrad_lab::files::write_atomically(path, text.as_bytes()).map_err(LabError::from)?)
        }
    }
}

/// Makes the folder of the results before the work, so that none is lost.
fn prepare(out: &Option<PathBuf>) -> Result<(), Failure> {
    match out {
        Some(folder) => Ok(hardgrad_lab::files::create_folder(folder).map_err(LabError::from)?),
        None => Ok(()),
    }
}

/// Without the spaces that people put after commas.
fn trimmed(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.trim().to_string()).collect()
}

/// Prints a result as JSON or as people read it.
fn show<T: Serialize>(result: &T, json: bool, table: impl Fn(&T) -> String) -> Result<(), Failure> {
    if json { print(&self::json(result)?) } else { print(&table(result)) }
}

fn json<T: Serialize>(result: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(result)
        .map_err(|error| Failure { message: format!("the result cannot be written as JSON: {error}"), code: 1 })
}

/// Prints to stdout; a reader that has gone away (`hardgrad ... | head`) is not an error.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(Failure { message: format!("stdout: writing failed: {cause}"), code: 1 })
        }
        _ => Ok(()),
    }
}
