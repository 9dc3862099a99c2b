//! The words that the program understands.

mod microscope;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use microscope::{
    BenchArguments, CompareArguments, DiagnoseArguments, ExperimentArguments, Schedule, TheoryCommand,
    TwoLayerArguments,
};

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
    /// Networks: list the presets, print one as a description, or check a description
    #[command(
        after_help = "Examples:\n  hardgrad models show resnet20 > mine.toml; hardgrad models check mine.toml\n  \
                            hardgrad train qat --model mine.toml"
    )]
    Models {
        #[command(subcommand)]
        command: Option<ModelsCommand>,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Accuracy of a run's model, or of a packed file, on held-out images
    #[command(
        after_help = "Examples:\n  hardgrad eval runs/qat-1\n  hardgrad eval model.packed.safetensors --data DIR"
    )]
    Eval {
        /// Run folder, or packed file
        #[arg(value_name = "RUN_OR_FILE")]
        path: PathBuf,
        /// Folder or file of data, instead of the data of the run; a packed file needs it
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
        /// Folder or file of data, instead of the data of the run
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
        /// PNG or JPEG files of any size, folders of such files, IDXFILE:INDEX, or plain numbers: held-out images of the run, or of --data
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<OsString>,
        /// Classes that are told of each image
        #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        top: u16,
        /// Folder or file of data that plain numbers refer to, instead of the data of the run; a packed file needs it
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// A packed model's graph: inputs, shapes, bits, real bytes, multiply-accumulates, integer or float
    #[command(after_help = "Example: hardgrad inspect runs/qat-1 --svg graph.svg")]
    Inspect {
        /// Run folder or packed file
        #[arg(value_name = "RUN_OR_FILE")]
        path: PathBuf,
        /// Draw the graph: a box a node, integer and float in two colours
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
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
    /// Folder (IDX files, or a sub-folder of images a class), .csv or .npz file; the embedded images without it
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub data: Option<PathBuf>,
    /// A network of your own, described in TOML as `hardgrad models show` prints it, instead of a preset
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    pub model: Option<PathBuf>,
    /// Begin with the float network of another run, or with weights trained elsewhere (.safetensors), instead of training one
    /// (training.float_epochs is 0 then, unless --set says otherwise)
    #[arg(long, value_name = "RUN_OR_FILE", conflicts_with = "resume")]
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
pub enum ModelsCommand {
    /// Print a preset as a description in TOML, for the embedded images or for --data
    #[command(after_help = "Example: hardgrad models show resnet20 --set model.resnet20.width=8 > mine.toml")]
    Show {
        /// Preset; `hardgrad models` lists them
        name: String,
        /// One setting, such as model.vit.layers=2; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Folder or file of data whose shape and classes the network is for
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Each node's output shape, parameters and multiply-accumulates, or the node that is wrong and why
    #[command(after_help = "Example: hardgrad models check mine.toml")]
    Check {
        /// Description
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
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
        /// Folder or file of data
        folder: PathBuf,
        /// Change a setting of the data, as for `train`
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
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
