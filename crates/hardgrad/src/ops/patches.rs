use burn::tensor::Tensor;
use hardgrad_kernels::patches::{self as kernel, PatchShape};

use crate::coded::Activation;
use crate::custom_gradient::custom_vjp;
use crate::flex::{tensor, values};
use crate::profile;

/// Images cut into patches, which are the tokens of a vision transformer.
///
/// ```text
/// y[n, i columns + j, (c, a, b)] = x[n, c, i size[0] + a, j size[1] + b]        columns = width / size[1]
/// ```
/// x `[batch, channels, height, width]` as floats or codes, and so is the result, `[batch, patches, channels size[0] size[1]]`;
/// `size` is height and width of a patch. Patches go row by row of the image, the values of a patch by channel, row and column.
/// The gradient goes back to the pixel that the value came from. Source: Dosovitskiy et al., "An image is worth 16x16 words",
/// ICLR 2021.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]], &Device::flex());
/// let y = hardgrad::ops::patches(x, [2, 2]).values();
/// assert_eq!(y.dims(), [1, 2, 4]);
/// assert_eq!(y.into_data().try_into_vec::<f32>().unwrap(), [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
/// ```
///
/// # Panics
/// If whole patches do not fill an image, or an image has no value.
pub fn patches(x: impl Into<Activation<4>>, size: [usize; 2]) -> Activation<3> {
    let x = x.into();
    let x_dims @ [batch, channels, height, width] = x.dims();
    let shape = PatchShape { channels, height, width, size };
    assert!(
        shape.fits() && shape.image_len() > 0,
        "patches: whole patches of {} x {} do not fill images of {channels} x {height} x {width}",
        size[0],
        size[1]
    );
    if !x.on_flex() {
        return composed(x.values(), size).into();
    }
    let dims = [batch, shape.patches(), shape.patch_len()];
    let vjp = move |gradient: Tensor<3>| {
        let gradient = values(&gradient);
        tensor(profile::backward("patches", || kernel::join(&gradient, &shape)), x_dims)
    };
    match x {
        Activation::Float(x) => {
            let y = profile::forward("patches", || kernel::split(&values(&x), &shape));
            custom_vjp(x, tensor(y, dims), vjp).into()
        }
        Activation::Coded(x) => {
            let codes = profile::forward("patches", || kernel::split(x.coded().codes, &shape));
            x.map(codes, dims, vjp).into()
        }
    }
}

/// [`patches()`] as a composition of Burn's operators, for any device.
pub fn composed(x: Tensor<4>, [rows, columns]: [usize; 2]) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    let (down, right) = (height / rows, width / columns);
    let cut: Tensor<6> = x.reshape([batch, channels, down, rows, right, columns]);
    let order: [usize; 6] = [0, 2, 4, 1, 3, 5];
    cut.permute(order).reshape([batch, down * right, channels * rows * columns])
}
