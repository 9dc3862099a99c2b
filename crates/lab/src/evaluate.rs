use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use hardgrad::parameters;
use hardgrad::quantize::StepClock;
use hardgrad_kernels::images::{self, Augmentation, ImageSize};
use hardgrad_kernels::random::Random;
use serde::Serialize;

use crate::data::{self, Images};
use crate::tensor_file::{MODEL_FORMAT, ModelDescription, TensorFile, to_parameters};
use crate::{Config, ConvNet, LabError, NetworkShape, Run};

/// Images that go through a network at once in evaluation.
const BATCH: usize = 250;

/// How well a network classifies images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
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
}

/// The accuracy of a run's model on the held-out images of its data (or of the data in another folder).
pub fn evaluate_run(folder: &Path, data: Option<&Path>) -> Result<Evaluation, LabError> {
    let run = Run::open(folder)?;
    let config = run.config()?;
    let (network, shape) = load_quantized(&run, &config)?;
    let images = held_out(&config, data, &shape)?;
    let (logits, _) = logits(&network, &images, &shape);
    Ok(evaluation(&logits, &images.labels, &shape.class_names))
}

/// The held-out images of a run's data; fails where they do not have the size that the network takes.
pub(crate) fn held_out(config: &Config, data: Option<&Path>, shape: &NetworkShape) -> Result<Images, LabError> {
    let set = data::load(data.or(config.data_folder()))?;
    let (found, expected) = ((set.test.height, set.test.width), (shape.height, shape.width));
    if found != expected || set.class_names.len() > shape.class_names.len() {
        return Err(LabError::Usage(format!(
            "{}: images of {} x {} pixels in {} classes, the network takes {} x {} in {}; give the data it was trained on",
            set.name,
            found.0,
            found.1,
            set.class_names.len(),
            expected.0,
            expected.1,
            shape.class_names.len()
        )));
    }
    Ok(set.test)
}

/// The network of a run after its quantised stage, ready for evaluation.
pub(crate) fn load_quantized(run: &Run, config: &Config) -> Result<(ConvNet, NetworkShape), LabError> {
    let path = run.model_path();
    if !path.is_file() {
        return Err(LabError::Unfinished { path: run.folder().to_path_buf() });
    }
    let (file, shape) = load_model(&path)?;
    let network = ConvNet::new(&config.model, &shape, config.seed, &Device::flex());
    let clock = StepClock::default();
    // A finished run is beyond any delay.
    clock.set(u64::MAX);
    let network = network
        .quantize(&config.quantization, &shape, &clock)
        .map_err(|problem| crate::config::ConfigError::Quantizer { key: "quantization", problem })?;
    Ok((with_parameters(network, &file, &path)?, shape))
}

/// The network of a run after its float stage, ready for evaluation.
pub(crate) fn load_float(run: &Run, config: &Config) -> Result<(ConvNet, NetworkShape), LabError> {
    let path = run.float_model_path();
    let (file, shape) = load_model(&path)?;
    let network = ConvNet::new(&config.model, &shape, config.seed, &Device::flex());
    Ok((with_parameters(network, &file, &path)?, shape))
}

fn load_model(path: &Path) -> Result<(TensorFile<ModelDescription>, NetworkShape), LabError> {
    let file = TensorFile::<ModelDescription>::read(path, "model file")?;
    let damaged = |problem: &str| LabError::Damaged { path: path.to_path_buf(), problem: problem.to_string() };
    if file.description.format != MODEL_FORMAT {
        return Err(damaged("not a model file of this version of hardgrad; train again"));
    }
    let shape = file.description.shape.clone();
    let sensible = (1..=4096).contains(&shape.height)
        && (1..=4096).contains(&shape.width)
        && (1..=65_536).contains(&shape.class_names.len())
        && shape.scale > 0.0
        && shape.scale.is_finite();
    if !sensible {
        return Err(damaged("its description of the images cannot be; copy it again or train again"));
    }
    Ok((file, shape))
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
    for chosen in order.chunks(BATCH) {
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

/// Accuracy and loss of these logits.
pub(crate) fn evaluation(logits: &[f32], labels: &[u8], class_names: &[String]) -> Evaluation {
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
        images,
        correct,
        accuracy: correct as f64 / images.max(1) as f64,
        loss: loss / images.max(1) as f64,
        classes: class_names
            .iter()
            .zip(seen)
            .map(|(name, [images, correct])| (name.clone(), (images > 0).then(|| correct as f64 / images as f64)))
            .collect(),
    }
}
