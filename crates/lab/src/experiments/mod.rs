//! Long experiments behind the numbers of docs/guidance.md, each by name, with settings that can be changed.
//!
//! An experiment takes images and settings and gives tables and pictures; [`write()`] puts them into a folder.

mod alignment;
mod guidance;
mod inputs;
mod networks;
mod probes;
mod statistics;
mod subject;
mod surrogates;
mod training;

use std::path::Path;

use hardgrad_kernels::images::PixelScale;
use serde::Serialize;
use toml::Table as Toml;

use crate::chart::{self, Chart};
use crate::config::changes;
use crate::data::Dataset;
use crate::{LabError, files};
use inputs::Inputs;

/// Runs an experiment after changes of its settings; gives them back, too.
type Run = fn(&[String], &Sets, &(dyn Fn(Progress) + Sync)) -> Result<(Report, Toml), LabError>;

/// An experiment: its name and what it asks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Experiment {
    /// The word on the command line.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    #[serde(skip)]
    run: Run,
    #[serde(skip)]
    defaults: fn() -> Toml,
}

/// All experiments.
pub static EXPERIMENTS: &[Experiment] = &[
    Experiment {
        name: "guidance",
        summary: "tune gradient methods with equal budgets on one network and compare them on fresh seeds",
        run: |changes, sets, tell| with("guidance", changes, |settings| guidance::run(settings, sets, tell)),
        defaults: || table(&guidance::Settings::default()),
    },
    Experiment {
        name: "probes",
        summary: "the slope that the straight-through gradient claims beside the one that the loss has",
        run: |changes, sets, tell| with("probes", changes, |settings| probes::run(settings, sets, tell)),
        defaults: || table(&probes::Settings::default()),
    },
    Experiment {
        name: "surrogates",
        summary: "LeNet-5 with quantised activations and three surrogates, and the identity at the minimum of another",
        run: |changes, sets, tell| with("surrogates", changes, |settings| surrogates::run(settings, sets, tell)),
        defaults: || table(&surrogates::Settings::default()),
    },
    Experiment {
        name: "alignment",
        summary: "cosine between each surrogate's gradient and the loss's own, layer by layer, in a deep network",
        run: |changes, sets, tell| with("alignment", changes, |settings| alignment::run(settings, sets, tell)),
        defaults: || table(&alignment::Settings::default()),
    },
];

/// The images of an experiment.
pub struct Sets {
    data: Dataset,
    scale: PixelScale,
}

/// What an experiment tells while it runs.
#[derive(Clone, Debug)]
pub enum Progress {
    /// So many pieces of work will be done.
    Begin(u64),
    /// So many more are done.
    Done(u64),
    /// A line for a person.
    Note(String),
}

/// What an experiment found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The first one is the result; the others hold what it rests on.
    pub tables: Vec<Table>,
    /// Pictures by name.
    pub charts: Vec<(String, Chart)>,
    /// Lines to be read with the tables.
    pub notes: Vec<String>,
}

/// Rows under a header.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What the columns hold.
    pub header: Vec<String>,
    /// A cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(name: &str, header: &[&str]) -> Self {
        Self { name: name.to_string(), header: header.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    fn to_csv(&self) -> String {
        let line = |cells: &Vec<String>| cells.join(",") + "\n";
        line(&self.header) + &self.rows.iter().map(line).collect::<String>()
    }
}

/// The result of an experiment with the settings that led to it.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The experiment.
    pub name: &'static str,
    /// Name of the data set.
    pub data: String,
    /// Every setting.
    pub settings: Toml,
    /// What was found.
    pub report: Report,
}

impl Sets {
    /// Training and held-out images as network inputs; the first `count` training images, all for 0.
    fn inputs(&self, count: usize) -> [Inputs<'_>; 2] {
        [Inputs::new(&self.data.train, count, self.scale), Inputs::new(&self.data.test, 0, self.scale)]
    }
}

/// The experiment of this name.
///
/// # Errors
/// If there is none.
pub fn by_name(name: &str) -> Result<&'static Experiment, LabError> {
    EXPERIMENTS.iter().find(|experiment| experiment.name == name).ok_or_else(|| {
        let known: Vec<&str> = EXPERIMENTS.iter().map(|experiment| experiment.name).collect();
        LabError::Usage(format!("no experiment is called {name}; expected {}", known.join(", ")))
    })
}

impl Experiment {
    /// Its default settings as TOML.
    pub fn settings(&self) -> String {
        toml::to_string(&(self.defaults)()).expect("settings hold only what TOML can")
    }

    /// Runs it after `key=value` changes of its settings.
    ///
    /// # Errors
    /// If a setting or the images cannot be.
    pub fn run(
        &'static self,
        changes: &[String],
        data: Dataset,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<Finished, LabError> {
        if data.train.shape != [1, 28, 28] || data.class_names.len() > networks::CLASSES {
            return Err(LabError::Usage(format!(
                "{}: experiments take grey images of 28 x 28 pixels in at most 10 classes, such as MNIST",
                data.name
            )));
        }
        let (name, scale) = (data.name.clone(), PixelScale::of(&data.train.pixels));
        let (report, settings) = (self.run)(changes, &Sets { data, scale }, tell)?;
        Ok(Finished { name: self.name, data: name, settings, report })
    }
}

fn table<T: Serialize>(settings: &T) -> Toml {
    Toml::try_from(settings).expect("settings hold only what TOML can")
}

/// Runs an experiment with its default settings after the changes; gives them back, too.
fn with<T: Default + Serialize + serde::de::DeserializeOwned>(
    name: &str,
    changes: &[String],
    run: impl FnOnce(&T) -> Result<Report, LabError>,
) -> Result<(Report, Toml), LabError> {
    let mut settings = T::default();
    let all = table(&settings).keys().cloned().collect();
    let keys = changes::Keys { all, show: format!("experiment {name} --show") };
    for change in changes {
        let (given, source_name) = changes::parse(change)?;
        settings = changes::changed(&settings, given, &source_name, &keys)?;
    }
    Ok((run(&settings)?, table(&settings)))
}

/// Writes `NAME.json` (settings, tables, notes), `NAME-TABLE.csv` for each table and `NAME-PICTURE.svg` for each picture.
///
/// # Errors
/// If a file cannot be written or a picture cannot be drawn.
pub fn write(finished: &Finished, folder: &Path) -> Result<(), LabError> {
    let Finished { name, report, .. } = finished;
    files::create_folder(folder)?;
    for table in &report.tables {
        let path = folder.join(format!("{name}-{}.csv", table.name));
        files::write_output(&path, table.to_csv().as_bytes())?;
    }
    for (picture, chart) in &report.charts {
        let path = folder.join(format!("{name}-{picture}.svg"));
        let svg = chart::draw(chart).map_err(|problem| LabError::Picture { path: path.clone(), problem })?;
        files::write_output(&path, svg.as_bytes())?;
    }
    let json = serde_json::to_string_pretty(&finished.to_json()).expect("tables are plain");
    Ok(files::write_output(&folder.join(format!("{name}.json")), json.as_bytes())?)
}

impl Finished {
    /// Settings, tables and notes for machines.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "experiment": self.name,
            "data": self.data,
            "settings": self.settings,
            "tables": self.report.tables,
            "notes": self.report.notes,
        })
    }
}
