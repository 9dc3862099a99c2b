//! First values of weights, from counters: the same for any number of threads, whatever else is drawn.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use crate::random::Random;

/// Values 0 to n-1 of `random`, spread uniformly within 1/sqrt(inputs), where `inputs` values make one output.
pub(super) fn uniform<const D: usize>(
    shape: [usize; D],
    inputs: usize,
    random: &Random,
    device: &Device,
) -> Param<Tensor<D>> {
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let mut values = vec![0.0; shape.iter().product()];
    random.fill_uniform(&mut values);
    values.iter_mut().for_each(|value| *value = (2.0 * *value - 1.0) * bound);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// A bias that begins at 0, where it is wanted.
pub(super) fn bias(wanted: bool, outputs: usize, device: &Device) -> Option<Param<Tensor<1>>> {
    wanted.then(|| Param::from_tensor(Tensor::zeros([outputs], device)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::layers::{QuantConv2dConfig, QuantLinearConfig};
    use crate::parameters;

    fn values(seed: u64) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let random = |place| Random::new(seed, place, 3);
        let convolution = QuantConv2dConfig::new([4, 6], [3, 3]).with_groups(2).with_bias(true);
        let mut found = parameters::read(&convolution.init(&random(0), &device));
        found.extend(parameters::read(&QuantLinearConfig::new(9, 5).init(&random(1), &device)));
        found.into_iter().map(|parameter| parameter.values).collect()
    }

    #[test]
    fn weights_fill_their_range_and_biases_are_0() {
        let found: [Vec<f32>; 4] = values(0).try_into().unwrap();
        let [convolution, of_convolution, linear, of_linear] = found;
        // 2 channels of 9 taps; 9 inputs.
        for (weight, bound) in [(convolution, 1.0 / 18f32.sqrt()), (linear, 1.0 / 3.0)] {
            let largest = weight.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert!(largest < bound && largest > 0.8 * bound, "{largest} of {bound}");
            assert!(weight.iter().any(|value| *value < 0.0) && weight.iter().any(|value| *value > 0.0));
        }
        assert!(of_convolution.iter().chain(&of_linear).all(|value| *value == 0.0));
    }

    #[test]
    fn first_values_are_the_same_whatever_other_threads_draw() {
        let alone = values(7);
        assert_ne!(alone, values(8));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    // What shares Burn's generator would get other values now.
                    let noise = Tensor::<1>::random([100], Distribution::Default, &Device::flex());
                    assert_eq!((noise.dims(), values(9).len()), ([100], 4));
                }
            });
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| values(7)), alone);
            }
        });
    }
}
