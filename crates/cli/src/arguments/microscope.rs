//! The words of measurements: gradients, estimators, theory, experiments, timings.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Args)]
pub struct DiagnoseArguments {
    /// Objective, such as quadratic or polynomial:p=3; `hardgrad estimators` lists them
    #[arg(long, value_name = "NAME")]
    pub objective: String,
    /// Estimators, or hard operators with a surrogate, with commas; all estimators that suit without it
    #[arg(long, visible_alias = "estimators", value_name = "A,B,C", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// Variables; the objective's usual number without it
    #[arg(long, value_name = "N")]
    pub variables: Option<usize>,
    /// Categories of each variable
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub categories: usize,
    /// Temperatures of estimators that have one, with commas
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', default_value = "1")]
    pub temperatures: Vec<f32>,
    /// Estimates of each method
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub samples: usize,
    /// Samples of the reference where the exact gradient is out of reach
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub reference_samples: usize,
    /// Standard deviation of the logits
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub spread: f32,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Folder for diagnose.csv, diagnose.json and, where estimators have temperatures, diagnose.svg
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct CompareArguments {
    /// Objective, such as polynomial:p=1.5; `hardgrad estimators` lists them
    #[arg(long, value_name = "NAME")]
    pub objective: String,
    /// Estimators, with commas; all that suit the objective without it
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    pub estimators: Vec<String>,
    /// Runs of each estimator
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u64,
    /// First seed
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Steps of a run
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub steps: u64,
    /// Rows of a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch_size: usize,
    /// Adam's step size
    #[arg(long, value_name = "R", default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Temperature, or where its schedule starts
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    pub temperature: f32,
    /// Where the temperature ends
    #[arg(long, value_name = "T")]
    pub temperature_end: Option<f32>,
    /// How the temperature moves: constant, or from --temperature to --temperature-end
    #[arg(long, value_name = "KIND", default_value = "constant")]
    pub schedule: Schedule,
    /// Variables; the objective's usual number without it
    #[arg(long, value_name = "N")]
    pub variables: Option<usize>,
    /// Categories of each variable
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub categories: usize,
    /// Folder for compare.csv, compare.json and compare.svg
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum TheoryCommand {
    /// The two-layer network with binary activation: coarse gradient descent with three surrogates, and published formulas
    #[command(after_help = "Examples:\n  hardgrad theory two-layer --out theory\n  \
                            hardgrad theory two-layer --v-star=1,-0.5,0.2 --samples 1000 --steps 5000")]
    TwoLayer(TwoLayerArguments),
}

#[derive(Args)]
pub struct TwoLayerArguments {
    /// Output weights of the teacher, with commas
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_value = "1,-0.4,0.7,0.2,-0.9"
    )]
    pub v_star: Vec<f64>,
    /// Weights of the filter
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub filter: usize,
    /// Step size
    #[arg(long, value_name = "R", default_value_t = 0.02)]
    pub learning_rate: f64,
    /// Steps of each descent
    #[arg(long, value_name = "N", default_value_t = 4_000)]
    pub steps: u64,
    /// Samples of each step of sampled descents; 0 for expected gradients only
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub samples: usize,
    /// Seed of random starts and samples
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Folder for two-layer.csv, two-layer.json and two-layer.svg
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ExperimentArguments {
    /// Experiment
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print its default settings instead
    #[arg(long, requires = "name", conflicts_with_all = ["data", "set", "out", "json"])]
    pub show: bool,
    /// Folder with the four IDX files, gz or raw; the embedded images without it
    #[arg(long, value_name = "DIR", requires = "name")]
    pub data: Option<PathBuf>,
    /// One setting, such as seeds=3; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "name")]
    pub set: Vec<String>,
    /// Folder for tables (CSV, JSON) and pictures (SVG)
    #[arg(long, value_name = "DIR", requires = "name")]
    pub out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The words for [`hardgrad_lab::TemperatureKind`].
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Schedule {
    Constant,
    Linear,
    Exponential,
    Cosine,
}

#[derive(Args)]
pub struct BenchArguments {
    /// Only workloads whose name contains this
    #[arg(long, value_name = "NAME", default_value = "")]
    pub only: String,
    /// List the workloads
    #[arg(long, conflicts_with_all = ["steps", "json"])]
    pub list: bool,
    /// Run exactly so many steps, without timing
    #[arg(long, value_name = "N", conflicts_with = "json")]
    pub steps: Option<usize>,
    /// Show where a step's time goes, operator by operator, instead of timing whole steps
    #[arg(long, conflicts_with_all = ["list", "steps"])]
    pub profile: bool,
    /// Measure instead how the time grows with batch, channels and threads; table and picture go to this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list", "steps", "profile", "only"])]
    pub scaling: Option<PathBuf>,
    /// Write the times as JSON to a file, or to stdout with -
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
