//! The border between Burn's tensors and slices: the only place that knows how the Flex backend stores values.

use std::cell::Cell;
use std::ops::Deref;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

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

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `run` as if there were no fused kernels, on this thread.
pub(crate) fn composed<R>(run: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            COMPOSED.set(self.0);
        }
    }
    let _restore = Restore(COMPOSED.replace(true));
    run()
}

/// Whether the fused kernels can run on the tensor; elsewhere operators are composed of Burn's own.
pub(crate) fn on_flex<const D: usize>(tensor: &Tensor<D>) -> bool {
    !COMPOSED.get() && tensor.device() == Device::flex()
}

/// The device of a tensor, without its gradient tape.
pub(crate) fn device<const D: usize>(tensor: &Tensor<D>) -> Device {
    tensor.clone().inner().device()
}

/// The tensor as the Flex backend holds it, without its place on the gradient tape.
pub(crate) fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.inner().try_into_primitive::<Flex>().expect("hardgrad's operators run on the Flex device")
}

/// A plain tensor that owns `values`; nothing is copied.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Places or codes as an integer tensor of 64 bits on `device`; plain.
pub(crate) fn whole<const D: usize>(
    indices: impl IntoIterator<Item = i64>,
    shape: [usize; D],
    device: Device,
) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(indices.into_iter().collect::<Vec<i64>>(), shape), (&device, DType::I64))
}
