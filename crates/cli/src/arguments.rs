//! The words that the program understands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Train, prove and ship networks with hard parts.
#[derive(Parser)]
#[command(
    name = "hardgrad",
    version,
    about,
    after_help = "Example: hardgrad train qat --data /usr/share/datasets/fashion-mnist"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Run a recipe: train, quantise, train on, export, verify
    #[command(
        after_help = "Examples:\n  hardgrad train qat\n  hardgrad train qat --data DIR --set quantization.weight_bits=2 \
                            --set quantization.activation_bits=2 --out runs/w2a2\n  hardgrad train --resume runs/w2a2\n  \
                            hardgrad train qat --init runs/w2a2 --set quantization.weight_bits=3"
    )]
    Train(TrainArguments),
    /// List the recipes, or print one's complete default config
    #[command(after_help = "Example: hardgrad recipes show qat > my.toml; hardgrad train qat --config my.toml")]
    Recipes {
        #[command(subcommand)]
        command: Option<RecipesCommand>,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Accuracy of a run's model, or of a packed file, on held-out images
    #[command(after_help = "Examples:\n  hardgrad eval runs/qat-1\n  hardgrad eval model.safetensors --data DIR")]
    Eval {
        /// Run folder, or packed file
        #[arg(value_name = "RUN_OR_FILE")]
        path: PathBuf,
        /// Folder with the four IDX files, instead of the data of the run; a packed file needs it
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Pack a run's model, compare every held-out output with the trained model's, write the file if all are identical
    #[command(after_help = "Example: hardgrad export runs/qat-1 --out model.safetensors")]
    Export {
        /// Run folder
        run: PathBuf,
        /// Packed file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Folder with the four IDX files, instead of the data of the run
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Class names and probabilities of images by a packed model
    #[command(after_help = "Examples:\n  hardgrad predict runs/qat-1/model.packed.safetensors shoe.png\n  \
                            hardgrad predict runs/qat-1 0 1 2\n  \
                            hardgrad predict runs/qat-1/model.packed.safetensors DIR/t10k-images-idx3-ubyte.gz:17")]
    Predict {
        /// Packed model, or run folder
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// PNG files, IDXFILE:INDEX, or plain numbers: held-out images of the run, or of --data
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<OsString>,
        /// Folder with the four IDX files that plain numbers refer to, instead of the data of the run; a packed file needs it
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// A table of a packed model's layers: bits, real bytes, multiply-accumulates, integer or float
    #[command(after_help = "Example: hardgrad inspect runs/qat-1")]
    Inspect {
        /// Run folder or packed file
        #[arg(value_name = "RUN_OR_FILE")]
        path: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Data sets: the known ones, or a check of a folder
    #[command(after_help = "Example: hardgrad data check /usr/share/datasets/fashion-mnist")]
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },
    /// How good gradients are: bias, variance and direction of estimators against the exact gradient
    #[command(
        after_help = "Examples:\n  hardgrad diagnose --objective quadratic\n  hardgrad diagnose --objective digits \
                            --methods reinmax,gumbel_rao:samples=100 --temperatures 0.5,1,2 --out diagnosis\n  \
                            hardgrad diagnose --objective quadratic --methods sign_identity,sign_clipped,sign_tanh"
    )]
    Diagnose(DiagnoseArguments),
    /// Train a small problem with several estimators: mean and spread of the final cost
    #[command(
        after_help = "Example: hardgrad compare --objective polynomial:p=1.5 --estimators reinmax,straight_through --seeds 3"
    )]
    Compare(CompareArguments),
    /// Problems that are solved on paper: where surrogates lead, and what theorems say
    #[command(after_help = "Example: hardgrad theory two-layer --out theory")]
    Theory {
        #[command(subcommand)]
        command: TheoryCommand,
    },
    /// Run a long experiment of docs/guidance.md; without a name, list them
    #[command(after_help = "Examples:\n  hardgrad experiment\n  hardgrad experiment guidance --show\n  \
                      hardgrad experiment guidance --data DIR --set network=binary_mlp --set seeds=3 --out results")]
    Experiment(ExperimentArguments),
    /// List the estimators and objectives with their settings
    #[command(after_help = "Example: hardgrad estimators")]
    Estimators {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw every scalar operator and the derivative that its backward pass uses, as SVG files
    #[command(after_help = "Example: hardgrad plots --out docs/plots")]
    Plots {
        /// Folder for the pictures
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Time operators, forward and backward
    #[command(after_help = "Example: RAYON_NUM_THREADS=2 hardgrad bench --only op/fake_quant_1m --json -")]
    Bench(BenchArguments),
    /// Discrete operators on tensors in safetensors files, forward and backward
    #[command(after_help = "Example: hardgrad op run fake_quant in.safetensors out.safetensors --set bits=4")]
    Op {
        #[command(subcommand)]
        command: OpCommand,
    },
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["recipe", "resume"]))]
pub struct TrainArguments {
    /// Recipe; `hardgrad recipes` lists them
    #[arg(value_name = "RECIPE")]
    pub recipe: Option<String>,
    /// Settings that differ from the recipe's defaults
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// One setting, such as training.batch_size=64; may be repeated
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "resume")]
    pub set: Vec<String>,
    /// Folder with the four IDX files, gz or raw; the embedded images without it
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub data: Option<PathBuf>,
    /// Begin with the float network of another run, instead of training one (training.float_epochs is 0 then, unless --set says otherwise)
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub init: Option<PathBuf>,
    /// Run folder to make; runs/RECIPE-N without it
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, value_name = "N", conflicts_with = "resume", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Replace the run in --out if there is one
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    /// Continue an interrupted run from its newest checkpoint
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Print the final table as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum RecipesCommand {
    /// Print a recipe's complete default config as TOML
    #[command(after_help = "Example: hardgrad recipes show qat > my.toml")]
    Show {
        /// Recipe
        recipe: String,
    },
}

#[derive(Subcommand)]
pub enum DataCommand {
    /// List the data sets that are recognised by their checksums
    #[command(after_help = "Example: hardgrad data list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the files of a folder: format, sizes, checksums, images of each class
    #[command(after_help = "Example: hardgrad data check /usr/share/datasets/fashion-mnist --png sheet.png")]
    Check {
        /// Folder with the four IDX files
        folder: PathBuf,
        /// Draw the first images of each class: a row a class, training images on the left, test images on the right
        #[arg(long, value_name = "FILE")]
        png: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub enum OpCommand {
    /// One line an operator
    #[command(after_help = "Example: hardgrad op list")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run an operator on the tensors of a file
    #[command(after_help = "Example: hardgrad op run sign in.safetensors out.safetensors --set surrogate=tanh")]
    Run {
        /// Operator; `hardgrad op list` lists them
        name: String,
        /// Inputs, and the upstream gradient as `grad`
        input: PathBuf,
        /// Outputs and gradients
        output: PathBuf,
        /// One key, such as bits=4; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

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
