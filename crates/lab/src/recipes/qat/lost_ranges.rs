//! Quantisers whose grid no longer shows what it quantises.

use std::collections::BTreeSet;

use hardgrad::diagnose::{Vanishing, range_is_lost};
use hardgrad::network::Network;
use hardgrad::quantize::RangeMethod;

use crate::config::QuantizationConfig;
use crate::recipes::Tell;
use crate::tasks::classify::Classify;
use crate::train::event::Event;

/// Says which weights and activations have lost their range, once for each; a sample stands for the activations.
pub(super) fn tell(
    task: &Classify,
    config: &QuantizationConfig,
    network: &Network,
    told: &mut BTreeSet<String>,
    tell: &mut Tell<'_>,
) {
    let mut lost = Vec::new();
    for Vanishing { name, channels, of } in network.vanishing() {
        let text = format!(
            "{name}: in {channels} of {of} channels no quantised value reaches a tenth of the largest weight; {}",
            mend(config.weight_range)
        );
        lost.push((name, text));
    }
    network.visit_inputs(task.sample(), &mut |name, quantizer, input| {
        if range_is_lost(quantizer, &input) {
            let what = "what it gives is all 0, or nearly all of its input lies beyond the highest code";
            lost.push((name.to_string(), format!("{name}: {what}; {}", mend(config.activation_range))));
        }
    });
    for (name, text) in lost {
        if told.insert(name) {
            tell(Event::Note(text));
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
