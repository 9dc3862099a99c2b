use burn::module::{Module, Param};
use burn::tensor::Tensor;
use hardgrad_kernels::channels::Channels;
use hardgrad_kernels::fake_quant::grid_codes;
use hardgrad_kernels::reduce::all_finite;
use hardgrad_runtime::{Stored, Weight};

use super::{Carries, Edge, PackError};
use crate::flex::values;
use crate::parameters::{Role, roles};
use crate::quantize::Quantizer;

/// The field `weight` of a layer that reads `x`, as the packed model stores it: outputs first; codes where it is
/// quantised.
pub(crate) fn stored_weight<M: Module, const D: usize>(
    node: &str,
    layer: &M,
    weight: &Param<Tensor<D>>,
    x: &Edge,
) -> Result<Stored, PackError> {
    let node = || node.to_string();
    let Some(&Role::Weight { output_axis }) = roles(layer).get("weight") else {
        unreachable!("layers with a packed form call their weight so")
    };
    let (dims, hard) = {
        let hard = weight.val();
        (hard.dims(), values(&hard))
    };
    let outputs = Channels::along(&dims, output_axis);
    if !all_finite(&hard) {
        return Err(PackError::NotFinite { node: node() });
    }
    let Some(quantizer) = weight.reparameterization::<Quantizer>() else {
        return Ok(Stored::Float(outputs_first::<f32>(&hard, outputs)));
    };
    if !quantizer.is_active() {
        return Err(PackError::Delayed { node: node() });
    }
    if x.carries == Carries::Floats {
        return Err(PackError::FloatInput { node: node(), input: x.name.clone() });
    }
    let grid = quantizer.grid(&weight.base());
    if !all_finite(&grid.scale) {
        return Err(PackError::NotFinite { node: node() });
    }
    let mut whole = vec![0.0; hard.len()];
    grid_codes(&hard, &grid.scale, quantizer.channels(&dims, grid.scale.len()), &mut whole);
    let lowest = |index: usize| grid.lowest[(index / outputs.inner % outputs.channels).min(grid.lowest.len() - 1)];
    let code = |(index, whole): (usize, f32)| ((whole as i32 - lowest(index)) / grid.spacing) as u8;
    let codes: Vec<u8> = whole.into_iter().enumerate().map(code).collect();
    let codes = outputs_first(&codes, outputs);
    Ok(Stored::Codes(Weight { bits: grid.bits, first: grid.lowest, step: grid.spacing, codes, scale: grid.scale }))
}

/// The values of a layer's bias, where it has one, as a tensor of its node.
pub(crate) fn stored_bias(bias: &Option<Param<Tensor<1>>>) -> Option<(&'static str, Stored)> {
    bias.as_ref().map(|bias| ("bias", Stored::Float(values(&bias.val()).to_vec())))
}

/// All values of the first output, then those of the second, ...
fn outputs_first<T: Copy>(values: &[T], Channels { channels, inner, .. }: Channels) -> Vec<T> {
    let rows = |output| values.chunks(inner.max(1)).skip(output).step_by(channels);
    (0..channels).flat_map(rows).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_first_whatever_their_axis() {
        let values: Vec<u8> = (0..6).collect();
        assert_eq!(outputs_first(&values, Channels::along(&[2, 3], 0)), values);
        assert_eq!(outputs_first(&values, Channels::along(&[2, 3], 1)), [0, 3, 1, 4, 2, 5]);
        assert_eq!(outputs_first(&values, Channels::along(&[1, 3, 2], 1)), values);
    }
}
