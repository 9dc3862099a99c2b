//! What a classifier makes of data, and how good that is.

use std::time::Instant;

use burn::module::Module;
use hardgrad::network::Network;
use serde::Serialize;

use crate::InputFormat;
use crate::data::Images;

/// Inputs that go through a network at once in evaluation.
const BATCH: usize = 250;

/// Values of the inputs that go through a network at once in evaluation, unless a single input has more.
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

/// Logits of all inputs, `[inputs, classes]` row by row, and the seconds they took.
pub(crate) fn logits(network: &Network, images: &Images, input: &InputFormat) -> (Vec<f32>, f64) {
    let network = network.valid();
    let begin = Instant::now();
    let mut out = Vec::with_capacity(images.len() * input.classes());
    // Fewer large inputs at once.
    let at_once = (LARGEST_BATCH / input.len().max(1)).clamp(1, BATCH);
    for first in (0..images.len()).step_by(at_once) {
        let batch = input.part(images, first, at_once.min(images.len() - first));
        let logits = network.forward(batch).into_data().try_into_vec::<f32>();
        out.extend(logits.expect("logits are f32"));
    }
    (out, begin.elapsed().as_secs_f64())
}

/// The class with the largest logit of each row, the first of equals.
pub(crate) fn best_classes(logits: &[f32], classes: usize) -> impl Iterator<Item = usize> {
    logits.chunks(classes).map(|row| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0))
}

/// How many rows of these logits have their largest value at their label.
pub(crate) fn correct(logits: &[f32], labels: &[u8], classes: usize) -> usize {
    best_classes(logits, classes).zip(labels).filter(|(found, label)| *found == usize::from(**label)).count()
}

/// Share of the inputs that these logits classify correctly, 0 to 1.
pub(crate) fn accuracy(logits: &[f32], labels: &[u8], classes: usize) -> f64 {
    correct(logits, labels, classes) as f64 / labels.len().max(1) as f64
}

/// The sum over all rows of the cross-entropy in nats.
pub(crate) fn total_loss(logits: &[f32], labels: &[u8], classes: usize) -> f64 {
    let losses = logits.chunks(classes).zip(labels).map(|(row, &label)| {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
        sum.ln() + largest - f64::from(row[usize::from(label)])
    });
    losses.sum()
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
        seen[usize::from(label)][0] += 1;
        seen[usize::from(label)][1] += usize::from(found == usize::from(label));
    }
    let (images, correct) = seen.iter().fold((0, 0), |(images, correct), seen| (images + seen[0], correct + seen[1]));
    Evaluation {
        data,
        images,
        correct,
        accuracy: correct as f64 / images.max(1) as f64,
        loss: total_loss(logits, labels, class_names.len()) / images.max(1) as f64,
        classes: class_names
            .iter()
            .zip(seen)
            .map(|(name, [images, correct])| (name.clone(), (images > 0).then(|| correct as f64 / images as f64)))
            .collect(),
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_labels_by_hand() {
        let logits = [0.0, 2.0, 1.0, 1.0, -1.0, -1.0];
        assert_eq!(best_classes(&logits, 2).collect::<Vec<_>>(), [1, 0, 0]);
        let found =
            evaluation("x".into(), &logits, &[1, 1, 0], &["a".into(), "b".into()].map(|name: String| name), Vec::new());
        assert_eq!((found.images, found.correct), (3, 2));
        assert_eq!(found.classes, [("a".to_string(), Some(1.0)), ("b".to_string(), Some(0.5))]);
        let expected = ((1.0 + (-2f64).exp()).ln() + 2.0 * 2f64.ln()) / 3.0;
        assert!((found.loss - expected).abs() < 1e-12, "{}", found.loss);
        // A class that no image has.
        let names = ["a".to_string(), "b".to_string()];
        let found = evaluation("x".to_string(), &logits[..2], &[0], &names, Vec::new());
        assert_eq!(found.classes[1].1, None);
    }
}
