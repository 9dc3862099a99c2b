use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::parameters;
use hardgrad::quantize::StepClock;
use hardgrad_kernels::images::{self, Augmentation, ImageSize};
use hardgrad_kernels::random::Random;
use hardgrad_runtime::PackedModel;
use serde::Serialize;

use crate::config::ConfigError;
use crate::data::{self, Dataset, Images};
use crate::tensor_file::{MODEL_FORMAT, ModelDescription, TensorFile, to_parameters};
use crate::train::Stage;
use crate::{Config, ConvNet, LabError, NetworkShape, Run, files};

/// Images that go through a network at once in evaluation.
const BATCH: usize = 250;

/// Pixels that go through a network at once in evaluation, unless a single image has more.
const LARGEST_BATCH: usize = 1 << 21;

/// How well a network classifies images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Name of the data set.
    pub data: String,
    /// Images classified.
    pub images: usize,
    /// Images classified correctly.
    pub correct: usize,
    /// Share of correct ones, 0 to 1.
    pub accuracy: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Accuracy of each class, by name; none where a class has no image.
    pub classes: Vec<(String, Option<f64>)>,
    /// What a reader of these numbers must know.
    pub notes: Vec<String>,
}

/// The accuracy of the model of a run folder, or of a packed file, on held-out images: those of the run, or those in the folder
/// `data`, which a packed file needs.
pub fn evaluate(path: &Path, data: Option<&Path>) -> Result<Evaluation, LabError> {
    if path.is_file() {
        return evaluate_packed(path, data);
    }
    let run = Run::open(path)?;
    let (network, model) = load_quantized(&run)?;
    let HeldOut { name, images, notes } = model.held_out(&run, data)?;
    let (logits, _) = logits(&network, &images, &model.shape);
    Ok(evaluation(name, &logits, &images.labels, &model.shape.class_names, notes))
}

fn evaluate_packed(path: &Path, data: Option<&Path>) -> Result<Evaluation, LabError> {
    let problem = |problem| LabError::Packed { path: path.to_path_buf(), problem };
    let packed = read_packed(path)?;
    let Some(folder) = data else {
        let path = path.display();
        return Err(LabError::Usage(format!(
            "{path}: a packed file does not name its images; give them with --data DIR"
        )));
    };
    let set = data::load(Some(folder), false)?;
    check_images(&set, input_size(&packed, path)?, &packed.class_names)?;
    let notes = set.altered.clone().into_iter().chain(other_classes(&set, &packed.class_names)).collect();
    let logits = packed.plan().and_then(|executor| executor.logits(&set.test.pixels)).map_err(problem)?;
    Ok(evaluation(set.name, &logits, &set.test.labels, &packed.class_names, notes))
}

/// The packed model in a file.
pub(crate) fn read_packed(path: &Path) -> Result<PackedModel, LabError> {
    PackedModel::read(path).map_err(|problem| match files::is_of_a_run(path) {
        true => {
            LabError::Usage(format!("{}: a file of a run, not a packed model; give the run folder", path.display()))
        }
        false => LabError::Packed { path: path.to_path_buf(), problem },
    })
}

/// Channels, height and width of the images that a packed model takes.
pub(crate) fn input_size(packed: &PackedModel, path: &Path) -> Result<(usize, usize, usize), LabError> {
    match packed.description.input.shape[..] {
        [channels, height, width] => Ok((channels, height, width)),
        _ => Err(LabError::Usage(format!("{}: it takes rows of numbers, not images", path.display()))),
    }
}

/// Held-out images.
pub(crate) struct HeldOut {
    /// Name of their set.
    pub name: String,
    /// The images.
    pub images: Images,
    /// What a reader of results on them must know.
    pub notes: Vec<String>,
}

impl ModelDescription {
    /// The held-out images of the run that holds this model, which must be those of its training still; or those in another
    /// folder.
    pub fn held_out(&self, run: &Run, data: Option<&Path>) -> Result<HeldOut, LabError> {
        let set = match data {
            Some(folder) => data::load(Some(folder), false)?,
            // The checksums of the run take the place of the published ones.
            None => {
                let folder = run.config()?.data_folder();
                data::load(folder.as_deref(), false).map_err(|problem| LabError::RunData { problem })?
            }
        };
        check_images(&set, (1, self.shape.height, self.shape.width), &self.shape.class_names)?;
        let mut notes = Vec::new();
        if let Some(file) = self.data.first_difference(&set.identity) {
            let (name, file) = (set.name.clone(), file.to_string());
            if data.is_none() {
                let mend = "put the old file back, or name the folder with --data to take it as other data";
                return Err(LabError::OtherData { name, file, mend });
            }
            notes.push(format!("{file} of {name} is not that with which the run was trained"));
        }
        notes.extend(data.and(set.altered.clone()));
        notes.extend(other_classes(&set, &self.shape.class_names));
        notes.extend(self.changed_settings(run));
        Ok(HeldOut { name: set.name, images: set.test, notes })
    }

    /// What to say where `config.toml` is not what the model was trained with: its own settings count.
    pub fn changed_settings(&self, run: &Run) -> Option<String> {
        let path = run.config_path();
        let text = match run.config() {
            Ok(config) => {
                let own = self.settings(config.clone());
                // The float stage has no say in how its network is quantised.
                let quantization =
                    if self.quantization.is_some() { own.quantization.clone() } else { config.quantization.clone() };
                format!("{} is not that of the model", Config { quantization, ..own }.first_difference(&config)?)
            }
            Err(problem) => problem.to_string(),
        };
        Some(format!("{}: {text}; the model's own settings were used", path.display()))
    }

    /// These settings, and where they say nothing those of `config`.
    fn settings(&self, config: Config) -> Config {
        Config {
            recipe: self.recipe.clone(),
            seed: self.seed,
            model: self.model.clone(),
            quantization: self.quantization.clone().unwrap_or_else(|| config.quantization.in_float()),
            ..config
        }
    }
}

/// Fails where a model cannot take the images of a set, or has no output for one of its classes.
pub(crate) fn check_images(
    set: &Dataset,
    (channels, height, width): (usize, usize, usize),
    class_names: &[String],
) -> Result<(), LabError> {
    let found = (1, set.test.height, set.test.width);
    if found == (channels, height, width) && set.class_names.len() <= class_names.len() {
        return Ok(());
    }
    Err(LabError::Usage(format!(
        "{}: images of {} x {} pixels with 1 channel in {} classes, the model takes {height} x {width} with {channels} in {}; \
         give the data it was trained on",
        set.name,
        found.1,
        found.2,
        set.class_names.len(),
        class_names.len()
    )))
}

/// What to say where the classes of a set are called otherwise than a model's.
fn other_classes(set: &Dataset, class_names: &[String]) -> Option<String> {
    let (ours, theirs) = class_names.iter().zip(&set.class_names).find(|(ours, theirs)| ours != theirs)?;
    let name = &set.name;
    Some(format!("{name} calls {theirs:?} what the model calls {ours:?}; classes were compared by their numbers"))
}

/// The network of a run after its quantised stage, ready for evaluation.
pub(crate) fn load_quantized(run: &Run) -> Result<(ConvNet, ModelDescription), LabError> {
    let path = run.model_path();
    let file = load_model(run, &path, Stage::Quantized)?;
    let ModelDescription { seed, model, quantization, shape, .. } = &file.description;
    let mut network = ConvNet::new(model, shape, *seed, &Device::flex());
    if let Some(quantization) = quantization {
        let clock = StepClock::default();
        // A finished run is beyond any delay.
        clock.set(u64::MAX);
        network = network
            .quantize(quantization, shape, &clock)
            .map_err(|problem| ConfigError::Quantizer { key: "quantization", problem })?;
    }
    Ok((with_parameters(network, &file, &path)?, file.description))
}

/// The network of a run after its float stage, ready for evaluation.
pub(crate) fn load_float(run: &Run) -> Result<(ConvNet, ModelDescription), LabError> {
    let path = run.float_model_path();
    let file = load_model(run, &path, Stage::Float)?;
    let ModelDescription { seed, model, shape, .. } = &file.description;
    let network = ConvNet::new(model, shape, *seed, &Device::flex());
    Ok((with_parameters(network, &file, &path)?, file.description))
}

/// A model file of this stage whose description can be one.
fn load_model(run: &Run, path: &Path, stage: Stage) -> Result<TensorFile<ModelDescription>, LabError> {
    if !path.is_file() {
        return Err(LabError::Unfinished { path: run.folder().to_path_buf() });
    }
    let file = TensorFile::<ModelDescription>::read(path, "model file", MODEL_FORMAT)?;
    let damaged = |problem: &str| LabError::Damaged { path: path.to_path_buf(), problem: problem.to_string() };
    let description = &file.description;
    if description.stage != stage || description.quantization.is_some() != (stage == Stage::Quantized) {
        return Err(damaged("it is the model of the other stage; put the run's own file back or train again"));
    }
    let shape = &description.shape;
    let sensible = shape.height > 0
        && shape.width > 0
        && (1..=65_536).contains(&shape.class_names.len())
        && shape.scale > 0.0
        && shape.scale.is_finite();
    if !sensible {
        return Err(damaged("its description of the images cannot be; copy it again or train again"));
    }
    let settings = description.settings(Config::default());
    settings.check().and_then(|()| shape.check(&settings, 1)).map_err(|problem| damaged(&problem.to_string()))?;
    Ok(file)
}

fn with_parameters(network: ConvNet, file: &TensorFile<ModelDescription>, path: &Path) -> Result<ConvNet, LabError> {
    parameters::write(network, to_parameters(&file.tensors, ""))
        .map_err(|problem| LabError::Parameters { path: path.to_path_buf(), problem })
}

/// Logits of all images, `[images, classes]` row by row, and the seconds they took.
pub(crate) fn logits(network: &ConvNet, images: &Images, shape: &NetworkShape) -> (Vec<f32>, f64) {
    let network = network.valid();
    let begin = Instant::now();
    let order: Vec<u32> = (0..images.len() as u32).collect();
    let mut out = Vec::with_capacity(images.len() * shape.class_names.len());
    // Fewer large images at once.
    let at_once = (LARGEST_BATCH / (images.height * images.width)).clamp(1, BATCH);
    for chosen in order.chunks(at_once) {
        let batch = batch(images, chosen, shape, Augmentation::NONE, Random::new(0, 0, 0));
        let logits = network.forward(batch).into_data().try_into_vec::<f32>();
        out.extend(logits.expect("logits are f32"));
    }
    (out, begin.elapsed().as_secs_f64())
}

/// The chosen images as a network input `[chosen, 1, height, width]`.
pub(crate) fn batch(
    images: &Images,
    chosen: &[u32],
    shape: &NetworkShape,
    augmentation: Augmentation,
    random: Random,
) -> Tensor<4> {
    let size = ImageSize { height: images.height, width: images.width };
    let mut values = vec![0.0; chosen.len() * size.pixels()];
    images::inputs(&images.pixels, size, chosen, shape.pixel_scale(), augmentation, random, &mut values);
    Tensor::from_data(TensorData::new(values, [chosen.len(), 1, size.height, size.width]), &Device::flex())
}

/// The class with the largest logit of each row, the first of equals.
pub(crate) fn best_classes(logits: &[f32], classes: usize) -> impl Iterator<Item = usize> {
    logits.chunks(classes).map(|row| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0))
}

/// Share of the images that these logits classify correctly, 0 to 1.
pub(crate) fn accuracy(logits: &[f32], labels: &[u8], classes: usize) -> f64 {
    let right =
        best_classes(logits, classes).zip(labels).filter(|(found, label)| *found == usize::from(**label)).count();
    right as f64 / labels.len().max(1) as f64
}

/// Accuracy and loss of these logits for the images of a set.
pub(crate) fn evaluation(
    data: String,
    logits: &[f32],
    labels: &[u8],
    class_names: &[String],
    notes: Vec<String>,
) -> Evaluation {
    let mut seen = vec![[0usize; 2]; class_names.len()];
    for (found, &label) in best_classes(logits, class_names.len()).zip(labels) {
        seen[label as usize][0] += 1;
        seen[label as usize][1] += usize::from(found == label as usize);
    }
    let loss: f64 = logits
        .chunks(class_names.len())
        .zip(labels)
        .map(|(row, &label)| {
            let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
            sum.ln() + largest - f64::from(row[label as usize])
        })
        .sum();
    let (images, correct) = seen.iter().fold((0, 0), |(images, correct), seen| (images + seen[0], correct + seen[1]));
    Evaluation {
        data,
        images,
        correct,
        accuracy: correct as f64 / images.max(1) as f64,
        loss: loss / images.max(1) as f64,
        classes: class_names
            .iter()
            .zip(seen)
            .map(|(name, [images, correct])| (name.clone(), (images > 0).then(|| correct as f64 / images as f64)))
            .collect(),
        notes,
    }
}
