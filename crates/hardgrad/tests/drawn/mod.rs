//! Layers drawn from counters: Burn's generator is shared by all tests of a process.

use burn::module::Module;
use hardgrad::parameters;
use hardgrad::random::Random;

/// The layer with its values drawn anew. No bias is below 0, so that unsigned codes have something to show also where coarse
/// weights are all 0.
pub fn drawn<M: Module>(layer: M) -> M {
    parameters::update(layer, |name, _, values| {
        Random::new(5, values.len() as u32, 0).fill_normal(values);
        values.iter_mut().for_each(|value| *value = if name == "bias" { 0.3 * value.abs() } else { 0.3 * *value });
    })
}
