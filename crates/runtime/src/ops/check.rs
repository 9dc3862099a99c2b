//! Checks of sizes and numbers that the operators share.

use super::limits::{MAX_ACTIVATION, count};
use super::problem::Problem;

/// Fails where an item of these sizes has no values, or more than are computed with.
pub(crate) fn check_size(sizes: &[usize]) -> Result<(), Problem> {
    match count(sizes) {
        0 => Err(Problem::NoValues { shape: sizes.to_vec() }),
        values if values > MAX_ACTIVATION => Err(Problem::Activation { values }),
        _ => Ok(()),
    }
}

/// Fails for a size that is no positive finite number.
pub(crate) fn check_positive(field: &'static str, value: f32) -> Result<(), Problem> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(Problem::Positive { field, value }) }
}

/// Fails where codes have other than 1 to 8 bits.
pub(crate) fn check_bits(field: &'static str, bits: u32) -> Result<(), Problem> {
    if (1..=8).contains(&bits) { Ok(()) } else { Err(Problem::Bits { field, bits }) }
}

/// Fails where a list has another length than the sizes give.
pub(crate) fn check_length(field: &'static str, expected: usize, found: usize) -> Result<(), Problem> {
    if expected == found { Ok(()) } else { Err(Problem::Length { field, expected, found }) }
}

/// Fails where one of the factors is no positive finite number.
pub(crate) fn check_scales(field: &'static str, values: &[f32]) -> Result<(), Problem> {
    match values.iter().position(|&value| !(value.is_finite() && value > 0.0)) {
        Some(index) => Err(Problem::Scale { field, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Fails where a value is infinite or not a number.
pub(crate) fn check_finite(field: &'static str, values: &[f32]) -> Result<(), Problem> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Problem::NotFinite { field, index, value: values[index] }),
        None => Ok(()),
    }
}
