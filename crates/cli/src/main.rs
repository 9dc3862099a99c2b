//! The command-line program of hardgrad: words in, one call into the lab, tables out.
//!
//! Results go to stdout, progress and errors to stderr. The exit code is 2 for wrong use and 1 for a failure.

mod arguments;
mod progress;
mod tables;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use hardgrad_lab::operators::{self, OperatorError};
use hardgrad_lab::{Config, LabError, RECIPES, Start, data};
use serde::Serialize;

use arguments::{Arguments, DataCommand, OpCommand, RecipesCommand, TrainArguments, Verb};

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

/// Prints a result as JSON or as people read it.
fn show<T: Serialize>(result: &T, json: bool, table: impl Fn(&T) -> String) -> Result<(), Failure> {
    if json {
        let text = serde_json::to_string_pretty(result)
            .map_err(|error| Failure { message: format!("the result cannot be written as JSON: {error}"), code: 1 })?;
        print(&text)
    } else {
        print(&table(result))
    }
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
