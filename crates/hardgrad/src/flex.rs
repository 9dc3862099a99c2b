//! The border between Burn's tensors and slices: the only place that knows how the Flex backend stores values.

use std::ops::Deref;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Tensor, TensorData};

/// The values of a tensor, row by row; shares the tensor's memory where it is stored that way.
#[derive(Clone)]
pub(crate) struct Values(FlexTensor);

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_slice().expect("made contiguous and f32 by `values`")
    }
}

/// The values of a tensor, without its place on the gradient tape.
///
/// # Panics
/// If the tensor is not f32 on the Flex device.
pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Values {
    let tensor = primitive(tensor.clone());
    let tensor = if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() };
    assert!(tensor.as_slice::<f32>().is_some(), "hardgrad's operators take f32 tensors, got {:?}", tensor.dtype());
    Values(tensor)
}

/// The tensor as the Flex backend holds it, without its place on the gradient tape.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.inner().try_into_primitive::<Flex>().expect("hardgrad's operators run on the Flex device")
}

/// A plain tensor that owns `values`; nothing is copied.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}
