//! The command-line program of hardgrad: words in, one call into the lab, tables out.
//!
//! Results go to stdout, progress and errors to stderr. The exit code is 2 for wrong use and 1 for a failure.

mod arguments;
mod progress;
mod tables;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use hardgrad_lab::files::{self, Claim};
use hardgrad_lab::operators::{self, OperatorError};
use hardgrad_lab::{
    Config, LabError, RECIPES, Start, TemperatureKind, TemperatureSchedule, bench, compare, data, diagnose,
    environment, experiments, models, theory,
};
use serde::Serialize;

use arguments::{
    Arguments, BenchArguments, CompareArguments, DataCommand, DiagnoseArguments, ExperimentArguments, ModelsCommand,
    OpCommand, RecipesCommand, Schedule, TheoryCommand, TrainArguments, TwoLayerArguments, Verb,
};

fn main() -> ExitCode {
    hardgrad_kernels::memory::keep_freed_memory();
    let verb = Arguments::parse().verb;
    match environment::begin().map_err(Failure::from).and_then(|()| run(verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            tell(&format!("error: {message}"));
            ExitCode::from(code)
        }
    }
}

/// A line on stderr; where nobody can read it, the work and its exit code count.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
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
        Self { message: error.to_string(), code: if error.is_usage() { 2 } else { 1 } }
    }
}

fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Train(arguments) => train(arguments),
        Verb::Recipes { command: None, json } => show(&RECIPES, json, |recipes| tables::recipes(recipes)),
        Verb::Recipes { command: Some(RecipesCommand::Show { recipe }), .. } => {
            print(Config::of_recipe(&recipe).map_err(LabError::from)?.to_toml().trim_end())
        }
        Verb::Models { command: None, json } => show(&models::PRESETS, json, |presets| tables::presets(presets)),
        Verb::Models { command: Some(ModelsCommand::Show { name, set, data }), .. } => {
            let config = Config::default().with_changes(&set).map_err(LabError::from)?;
            print(models::show(&name, &config, data.as_deref())?.trim_end())
        }
        Verb::Models { command: Some(ModelsCommand::Check { file, json }), .. } => {
            show(&models::check_file(&file)?, json, tables::model)
        }
        Verb::Eval { path, data, json } => {
            let evaluation = hardgrad_lab::evaluate(&path, data.as_deref())?;
            show(&evaluation, json, tables::evaluation)
        }
        Verb::Export { run, out, data, force, json } => {
            let export = hardgrad_lab::export_run(&run, &out, data.as_deref(), force)?;
            show(&export, json, |export| tables::export(export, &out))
        }
        Verb::Predict { file, images, top, data, json } => {
            let predictions = hardgrad_lab::predict(&file, &images, data.as_deref(), usize::from(top))?;
            show(&predictions, json, |predictions| tables::predictions(predictions))
        }
        Verb::Inspect { path, svg, json } => {
            if let Some(svg) = &svg {
                files::check_output(svg).map_err(LabError::from)?;
                files::write_output(svg, hardgrad_lab::inspect_svg(&path)?.as_bytes()).map_err(LabError::from)?;
            }
            show(&hardgrad_lab::inspect(&path)?, json, tables::inspection)
        }
        Verb::Data { command: DataCommand::List { json } } => {
            show(&data::known_sets(), json, |sets| tables::known_sets(sets))
        }
        Verb::Data { command: DataCommand::Check { folder, set, png, json } } => {
            let mut reading = progress::Reading::default();
            let mut config = Config::default().with_changes(&set).map_err(LabError::from)?;
            config.set_data_folder(&folder);
            config.check().map_err(LabError::from)?;
            let request = data::Request { validation: 0.0, ..config.data_request() };
            let report = data::check(&request, &mut |progress| reading.show(progress)).map_err(LabError::from)?;
            show(&tables::check_json(&report), json, |_| tables::check(&report))?;
            if let (Some(path), Some(set)) = (&png, &report.dataset) {
                data::write_contact_sheet(set, &folder, path).map_err(LabError::from)?;
            }
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
            let _claim = prepare(Some(&out))?;
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
        Some(folder) => Start::Resume { folder, recipe: arguments.recipe },
        None => {
            let recipe = arguments.recipe.unwrap_or_default();
            let mut config = Config::of_recipe(&recipe).map_err(LabError::from)?;
            if let Some(path) = &arguments.config {
                let text = files::read_text(path).map_err(LabError::from)?;
                config = config.with_toml(&text, &path.display().to_string()).map_err(LabError::from)?;
                if config.recipe != recipe {
                    let message = format!("{}: a config of recipe {}, not {recipe}", path.display(), config.recipe);
                    return Err(Failure { message, code: 2 });
                }
            }
            // Each wins over those before: the recipe, the file, --set, the other flags. A network that is given is taken as it is,
            // unless --set asks for more float training.
            if let Some(folder) = &arguments.init {
                config.set_init_as_it_is(folder);
            }
            let mut config = config.with_changes(&arguments.set).map_err(LabError::from)?;
            if let Some(folder) = &arguments.init {
                config.set_init(folder);
            }
            if let Some(seed) = arguments.seed {
                config = config.with_changes(&[format!("seed={seed}")]).map_err(LabError::from)?;
            }
            if let Some(data) = &arguments.data {
                config.set_data_folder(data);
            }
            if let Some(model) = &arguments.model {
                config.set_model_file(model);
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
    let _claim = prepare(arguments.out.as_deref())?;
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
    let _claim = prepare(arguments.out.as_deref())?;
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
    let _claim = prepare(arguments.out.as_deref())?;
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
    let mut reading = progress::Reading::default();
    let request = data::Request::of(arguments.data.as_deref());
    let data = data::load(&request, &mut |progress| reading.show(progress)).map_err(LabError::from)?;
    let _claim = prepare(arguments.out.as_deref())?;
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
        tell_unknown(&arguments.only, names.is_empty());
        return print(&names.join("\n"));
    }
    if let Some(steps) = arguments.steps {
        return Ok(bench::run_steps(&arguments.only, steps)?);
    }
    if let Some(path) = arguments.json.as_deref().filter(|path| path.as_os_str() != STDOUT) {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::create_folder(folder).map_err(LabError::from)?;
        }
        files::check_output(path).map_err(LabError::from)?;
    }
    if let Some(folder) = &arguments.scaling {
        let _claim = prepare(Some(folder))?;
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

/// Says on stderr that no workload has the name that was asked for.
fn tell_unknown(only: &str, empty: bool) {
    if empty {
        tell(&format!("no workload is called {only}; `hardgrad bench --list` lists them"));
    }
}

/// Prints what was measured as a table, or as JSON to where it was asked for.
fn measured<T: Serialize>(
    arguments: &BenchArguments,
    found: &T,
    empty: bool,
    table: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    tell_unknown(&arguments.only, empty);
    match &arguments.json {
        None => print(&table(found)),
        Some(path) if path.as_os_str() == STDOUT => show(found, true, table),
        Some(path) => Ok(files::write_output(path, json(found)?.as_bytes()).map_err(LabError::from)?),
    }
}

/// What stands for the standard output in the place of a file.
const STDOUT: &str = "-";

/// Makes the folder of the results before the work, so that none is lost, and keeps others out of it while the claim lives.
fn prepare(out: Option<&Path>) -> Result<Option<Claim>, Failure> {
    Ok(out.map(Claim::folder).transpose().map_err(LabError::from)?)
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
