//! What a run is made from.

use hardgrad_runtime::Description;
use serde::{Deserialize, Serialize};

use crate::data::DataIdentity;
use crate::{Config, InputFormat, LabError};

/// Settings, network and data of a run: checkpoints and models belong to one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Premise {
    /// The settings.
    pub config: Config,
    /// The network.
    pub network: Description,
    /// Its inputs and classes.
    pub input: InputFormat,
    /// The files of the data.
    pub data: DataIdentity,
}

impl Premise {
    /// Fails where `now` is not what training was interrupted with; learning rates, checkpoint intervals and the places of files
    /// may change.
    pub fn check(&self, now: &Self) -> Result<(), LabError> {
        let mut allowed = self.config.clone();
        let (config, training) = (&now.config, &now.config.training);
        allowed.training.float_learning_rate = training.float_learning_rate;
        allowed.training.quantized_learning_rate = training.quantized_learning_rate;
        allowed.training.checkpoint_every = training.checkpoint_every;
        allowed.data.directory.clone_from(&config.data.directory);
        // The run has its network in a file of its own.
        allowed.model.file.clone_from(&config.model.file);
        if let Some(key) = allowed.first_difference(config) {
            return Err(LabError::Usage(format!(
                "config.toml: {key} differs from the checkpoint; undo the change or start a new run"
            )));
        }
        if let Some(file) = self.data.first_difference(&now.data) {
            let mend = "give the run its old data or start a new run";
            return Err(LabError::OtherData { name: now.data.name.clone(), file: file.to_string(), mend });
        }
        if self.input != now.input {
            let problem = "the images are not those of the checkpoint; give the run its old data or start a new run";
            return Err(LabError::Usage(problem.to_string()));
        }
        if self.network != now.network {
            let problem = "model.toml: the network is not that of the checkpoint; undo the change or start a new run";
            return Err(LabError::Usage(problem.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::FileIdentity;
    use crate::models;

    /// A premise on data with one file of this checksum.
    pub(crate) fn premise(sha256: &str) -> Premise {
        let config = Config::default();
        let file = FileIdentity { file: "t10k-labels-idx1-ubyte".to_string(), sha256: sha256.to_string() };
        Premise {
            network: models::describe(&config.model, &[1, 4, 6], 2).unwrap(),
            input: InputFormat {
                shape: vec![1, 4, 6],
                scale: 0.1,
                zero_point: 7,
                class_names: vec!["a".into(), "b".into()],
            },
            data: DataIdentity { name: "tiny".to_string(), files: vec![file] },
            config,
        }
    }

    #[test]
    fn what_was_changed_is_named() {
        let old = premise("0");
        let check = |now: &Premise| old.check(now).map_err(|error| error.to_string());
        let changed = |change: &str| {
            let config = Config::default().with_changes(&[change.to_string()]).unwrap();
            Premise { config, ..old.clone() }
        };
        for free in ["training.float_learning_rate=1", "data.directory=elsewhere", "model.file=elsewhere.toml"] {
            assert_eq!(check(&changed(free)), Ok(()), "{free}");
        }
        let error = check(&changed("quantization.weight_bits=3")).unwrap_err();
        assert!(error.contains("quantization.weight_bits differs"), "{error}");
        let mut other = old.clone();
        other.input.scale = 0.2;
        assert!(check(&other).unwrap_err().contains("images"));
        let error = check(&premise("1")).unwrap_err();
        assert!(error.contains("t10k-labels-idx1-ubyte is not the file with which"), "{error}");
        let mut other = old.clone();
        other.network.nodes.pop();
        assert!(check(&other).unwrap_err().starts_with("model.toml"));
    }
}
