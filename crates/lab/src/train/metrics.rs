//! `metrics.csv`: a row an epoch, and one a measurement.

use super::checkpoint::Position;
use super::diagnosis::DiagnosisRow;
use super::stage::Trainer;
use super::{EpochRow, Stage};
use crate::{LabError, files};

impl Trainer<'_> {
    /// Epochs and measurements in the order of their steps; each leaves the other's columns empty.
    pub(super) fn write_metrics(&self, position: &Position) -> Result<(), LabError> {
        let mut csv = String::from(
            "stage,epoch,step,learning_rate,train_loss,train_accuracy,test_loss,test_accuracy,forward_equivalents,\
             skipped_directions",
        );
        if self.config.diagnose.every > 0 {
            csv += ",flip_rate,oscillation,saturated_weights,saturated_activations,code_entropy,zeroth_order_cosine";
        }
        csv.push('\n');
        let empty = if self.config.diagnose.every > 0 { ",,,,,," } else { "" };
        let mut diagnoses = position.diagnoses.iter().peekable();
        for row in &position.rows {
            let before = |diagnosis: &&DiagnosisRow| row.stage == Stage::Quantized && diagnosis.step <= row.step;
            while let Some(diagnosis) = diagnoses.next_if(before) {
                let DiagnosisRow { step, flip_rate, oscillation, saturated_weights, .. } = diagnosis;
                let DiagnosisRow { saturated_activations, code_entropy, zeroth_order_cosine, .. } = diagnosis;
                let epoch = (step - 1) / self.steps_an_epoch() + 1;
                let rate = self.rate(Stage::Quantized, step - 1);
                let cosine = zeroth_order_cosine.map_or_else(String::new, |cosine| cosine.to_string());
                csv += &format!(
                    "{},{epoch},{step},{rate},,,,,,,{flip_rate},{oscillation},{saturated_weights},{saturated_activations},\
                     {code_entropy},{cosine}\n",
                    Stage::Quantized.name()
                );
            }
            let EpochRow { epoch, step, learning_rate, train_loss, train_accuracy, test_loss, test_accuracy, .. } = row;
            let EpochRow { forward_equivalents, skipped_directions, .. } = row;
            csv += &format!(
                "{},{epoch},{step},{learning_rate},{train_loss},{train_accuracy},{test_loss},{test_accuracy},\
                 {forward_equivalents},{skipped_directions}{empty}\n",
                row.stage.name()
            );
        }
        Ok(files::write(&self.run.metrics_path(), csv.as_bytes())?)
    }
}
