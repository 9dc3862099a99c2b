//! Model files: the parameters of a network with all that they need to be that network again.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use hardgrad::network::{Network, NetworkError};
use hardgrad::parameters;
use hardgrad::quantize::StepClock;
use hardgrad_runtime::{Description, Rule};
use serde::{Deserialize, Serialize};

use crate::config::{DataConfig, path_text};
use crate::data::{DataIdentity, Request};
use crate::premise::Premise;
use crate::recipes::list::RECIPES;
use crate::tensor_file::{TensorFile, to_parameters, to_tensors};
use crate::{Config, InputFormat, LabError, Run};

const FORMAT: &str = "hardgrad model 3";

/// What the parameters in a model file are, and on what they were trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelHeader {
    /// The word that tells model files from others.
    format: String,
    /// The stage that ended with these parameters.
    pub stage: String,
    /// Name of the recipe.
    pub recipe: String,
    /// Seed of the run.
    pub seed: u64,
    /// The network.
    pub network: Description,
    /// The rules by which it is quantised, besides those of its description; none after a float stage.
    pub rules: Option<Vec<Rule>>,
    /// Its inputs and classes.
    pub input: InputFormat,
    /// Where the data came from, and what became of them before training.
    pub source: DataConfig,
    /// The files of the data.
    pub data: DataIdentity,
    /// What came before training, the oldest first.
    pub before: Vec<Origin>,
}

/// What training began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Origin {
    /// The float network of another run.
    Run {
        /// Its seed.
        seed: u64,
        /// The files of its data.
        data: DataIdentity,
    },
    /// A file of weights that were trained elsewhere.
    Weights {
        /// Its name.
        file: String,
        /// Its checksum.
        sha256: String,
    },
}

impl ModelHeader {
    /// That of the network with which a stage of a run ends.
    pub fn new(premise: &Premise, stage: &str, rules: Option<Vec<Rule>>, before: &[Origin]) -> Self {
        let Premise { config, network, input, data } = premise.clone();
        Self {
            format: FORMAT.to_string(),
            stage: stage.to_string(),
            recipe: config.recipe,
            seed: config.seed,
            network,
            rules,
            input,
            source: config.data,
            data,
            before: before.to_vec(),
        }
    }

    /// The bytes of a model file with these parameters.
    pub fn with<M: Module>(self, network: &M) -> Vec<u8> {
        let tensors = to_tensors(parameters::read(&network.valid()), "");
        TensorFile { description: self, tensors }.to_bytes()
    }

    /// Whether it is that of a network of this run, whatever the stage.
    pub fn belongs_to(&self, premise: &Premise) -> bool {
        let own = (self.seed, &self.network, &self.data);
        own == (premise.config.seed, &premise.network, &premise.data)
    }

    /// The data on which it was trained, or, in another folder, others that are made ready in the same way.
    pub fn request(&self, data: Option<&Path>) -> Request {
        let mut source = self.source.clone();
        if let Some(folder) = data {
            source.directory = path_text::text(folder);
        }
        // The checksums of the run take the place of the published ones.
        source.verify = false;
        Config { data: source, ..Config::default() }.data_request()
    }

    /// Why this cannot be the header of a model after a stage.
    fn problem(&self, stage: &str) -> Option<String> {
        if self.stage != stage {
            let found = &self.stage;
            return Some(format!(
                "it is the model of the {found} stage, not of the {stage} stage; put the run's own file back or train again"
            ));
        }
        let cannot = |what: &str| Some(format!("{what}; copy it again or train again"));
        if !self.input.can_be() {
            return cannot("its description of the data cannot be");
        }
        match self.network.check() {
            Err(problem) => cannot(&format!("its network cannot be: {problem}")),
            Ok(nodes) => {
                let output = nodes.last().map(|node| node.output.as_slice());
                let fits = self.network.input.shape == self.input.shape && output == Some(&[self.input.classes()][..]);
                if fits { None } else { cannot("its network does not fit its description of the data") }
            }
        }
    }
}

/// The network in a model file, ready for evaluation, and what it is; `stage` is that with which it must have ended.
///
/// # Errors
/// If the run does not have it yet, or the file is not whole, of another version, or of another stage.
pub(crate) fn load(run: &Run, path: &Path, stage: &str) -> Result<(Network, ModelHeader), LabError> {
    build(read(run, path)?, path, Some(stage))
}

fn read(run: &Run, path: &Path) -> Result<TensorFile<ModelHeader>, LabError> {
    match path.is_file() {
        true => TensorFile::read(path, "model file", FORMAT),
        false => Err(LabError::Unfinished { path: run.folder().to_path_buf() }),
    }
}

/// The network in a model file that ended with this stage, or with the last one of its recipe.
fn build(file: TensorFile<ModelHeader>, path: &Path, stage: Option<&str>) -> Result<(Network, ModelHeader), LabError> {
    let damaged = |problem: String| LabError::Damaged { path: path.to_path_buf(), problem };
    let header = file.description;
    let recipe = RECIPES.iter().find(|known| known.name == header.recipe);
    let recipe = recipe.ok_or_else(|| damaged(format!("no recipe is called {}; train again", header.recipe)))?;
    if let Some(problem) = header.problem(stage.unwrap_or(recipe.last_stage())) {
        return Err(damaged(problem));
    }
    let again = |problem: NetworkError| damaged(format!("{problem}; copy it again or train again"));
    let mut network = Network::new(&header.network, header.seed, &Device::flex()).map_err(again)?;
    if let Some(rules) = &header.rules {
        network = network.quantize(rules, &StepClock::default()).map_err(again)?;
    }
    let network = parameters::write(network, to_parameters(&file.tensors, ""))
        .map_err(|problem| LabError::Parameters { path: path.to_path_buf(), problem })?;
    Ok((network, header))
}

/// The network with which a run ended.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_trained(run: &Run) -> Result<(Network, ModelHeader), LabError> {
    build(read(run, &run.model_path())?, &run.model_path(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::premise::tests::premise;

    fn run(folder: &Path) -> Run {
        let (run, _claim) = Run::create(Some(&folder.join("run")), &Config::default(), "", false).unwrap();
        run
    }

    #[test]
    fn a_network_comes_back_with_all_that_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let (run, other, premise) = (run(folder.path()), premise("1"), premise("0"));
        let network = Network::new(&premise.network, 3, &Device::flex()).unwrap();
        let before = [Origin::Weights { file: "w.safetensors".to_string(), sha256: "0".to_string() }];
        let header = ModelHeader::new(&premise, "float", None, &before);
        assert!(matches!(load_trained(&run), Err(LabError::Unfinished { .. })));
        std::fs::write(run.float_model_path(), header.clone().with(&network)).unwrap();
        let (again, found) = load(&run, &run.float_model_path(), "float").unwrap();
        assert_eq!(found, header);
        assert_eq!(parameters::read(&again), parameters::read(&network));
        assert!(found.belongs_to(&premise) && !found.belongs_to(&other));
        // In the place of the trained model it is that of another stage.
        std::fs::copy(run.float_model_path(), run.model_path()).unwrap();
        let error = load_trained(&run).unwrap_err().to_string();
        assert!(error.contains("the model of the float stage, not of the quantized stage"), "{error}");
        // The rules of a run quantise.
        let rules = premise.config.quantization.rules_for(&premise.network);
        let network = network.quantize(&rules, &StepClock::default()).unwrap();
        let header = ModelHeader::new(&premise, "quantized", Some(rules), &[]);
        std::fs::write(run.model_path(), header.with(&network)).unwrap();
        let (again, _) = load_trained(&run).unwrap();
        assert_eq!(parameters::read(&again), parameters::read(&network));
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (run, premise) = (run(folder.path()), premise("0"));
        let network = Network::new(&premise.network, 3, &Device::flex()).unwrap();
        let refused = |change: &dyn Fn(&mut ModelHeader)| {
            let mut header = ModelHeader::new(&premise, "float", None, &[]);
            change(&mut header);
            std::fs::write(run.float_model_path(), header.with(&network)).unwrap();
            load(&run, &run.float_model_path(), "float").unwrap_err().to_string()
        };
        assert!(refused(&|header| header.format = "hardgrad model 2".to_string()).contains("not of this version"));
        assert!(refused(&|header| header.input.scale = 0.0).contains("its description of the data cannot be"));
        assert!(refused(&|header| header.input.shape = vec![1, 4, 5]).contains("does not fit"));
        assert!(refused(&|header| header.input.class_names.push("c".to_string())).contains("does not fit"));
        assert!(refused(&|header| header.network.nodes.clear()).contains("its network"));
    }
}
