//! Quantisers whose grid no longer shows what it quantises.

use std::collections::BTreeSet;

use hardgrad::diagnose::{Vanishing, range_is_lost};
use hardgrad::quantize::RangeMethod;
use hardgrad_kernels::images::Augmentation;
use hardgrad_kernels::random::Random;

use super::Event;
use super::stage::Trainer;
use crate::ConvNet;
use crate::evaluate::batch;

impl Trainer<'_> {
    /// Says which weights and activations have lost their range, once for each; held-out images stand for the activations.
    pub(super) fn tell_lost_ranges(&mut self, network: &ConvNet, told: &mut BTreeSet<String>) {
        let quantization = &self.config.quantization;
        let mut lost = Vec::new();
        for Vanishing { name, channels, of } in network.vanishing() {
            let text = format!(
                "{name}: in {channels} of {of} channels no quantised value reaches a tenth of the largest weight; {}",
                mend(quantization.weight_range)
            );
            lost.push((name, text));
        }
        let count = self.data.test.len().min(self.batch_size()) as u32;
        let chosen: Vec<u32> = (0..count).collect();
        let images = batch(&self.data.test, &chosen, self.shape, Augmentation::NONE, Random::new(0, 0, 0));
        network.visit_inputs(images, &mut |layer, quantizer, input| {
            if range_is_lost(quantizer, &input) {
                let what = "its quantised input is all 0, or nearly all of it beyond the highest code";
                lost.push((layer.to_string(), format!("{layer}: {what}; {}", mend(quantization.activation_range))));
            }
        });
        for (name, text) in lost {
            if told.insert(name) {
                (self.tell)(Event::Note(text));
            }
        }
    }
}

/// What helps a range of this method.
fn mend(range: RangeMethod) -> &'static str {
    match range {
        RangeMethod::Lsq | RangeMethod::Pact => "lower training.range_rate_factor or training.quantized_learning_rate",
        RangeMethod::Fixed => "choose another quantization.fixed_scale",
        RangeMethod::MinMax | RangeMethod::MovingAverage | RangeMethod::Dorefa => {
            "take more bits, or another range method, such as lsq"
        }
    }
}
