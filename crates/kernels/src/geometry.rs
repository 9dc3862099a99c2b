//! Sizes of convolutions and pooling windows, checked once so that the loops need not check again.

use std::fmt;

/// Sizes of a two-dimensional convolution over one image.
///
/// Input `[channels_in, height, width]`, weight `[channels_out, channels_in / groups, kernel, kernel]`,
/// output `[channels_out, out_height, out_width]`; rows before columns everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Channels of the input.
    pub channels_in: usize,
    /// Channels of the output.
    pub channels_out: usize,
    /// Height of the input in pixels.
    pub height: usize,
    /// Width of the input in pixels.
    pub width: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps between output pixels.
    pub stride: [usize; 2],
    /// Zeros added on each side.
    pub padding: [usize; 2],
    /// Distance between kernel taps.
    pub dilation: [usize; 2],
    /// Channel groups that do not see each other.
    pub groups: usize,
}

impl Conv2dShape {
    /// Fails where a size is 0, the groups do not divide the channels, or the kernel does not fit into the padded input.
    pub fn check(&self) -> Result<(), GeometryError> {
        let sizes = [self.channels_in, self.channels_out, self.groups, self.height, self.width];
        let pairs = [self.kernel, self.stride, self.dilation].concat();
        if sizes.iter().chain(&pairs).any(|&size| size == 0) {
            return Err(GeometryError::Zero);
        }
        if !self.channels_in.is_multiple_of(self.groups) || !self.channels_out.is_multiple_of(self.groups) {
            return Err(GeometryError::Groups {
                groups: self.groups,
                channels_in: self.channels_in,
                channels_out: self.channels_out,
            });
        }
        for (axis, size) in [self.height, self.width].into_iter().enumerate() {
            let span = self.dilation[axis]
                .checked_mul(self.kernel[axis] - 1)
                .and_then(|span| span.checked_add(1))
                .ok_or(GeometryError::Overflow)?;
            let padded = self.padding[axis]
                .checked_mul(2)
                .and_then(|padding| padding.checked_add(size))
                .ok_or(GeometryError::Overflow)?;
            if span > padded {
                return Err(GeometryError::KernelTooLarge { kernel: span, padded });
            }
        }
        let lengths: [&[usize]; 3] = [
            &[self.channels_in, self.height, self.width],
            &[self.channels_out, self.out_height(), self.out_width()],
            &[self.channels_out, self.channels_in, self.kernel[0], self.kernel[1]],
        ];
        for sizes in lengths {
            sizes.iter().try_fold(4usize, |product, &size| product.checked_mul(size)).ok_or(GeometryError::Overflow)?;
        }
        Ok(())
    }

    /// Height of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding[0] - self.dilation[0] * (self.kernel[0] - 1) - 1) / self.stride[0] + 1
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding[1] - self.dilation[1] * (self.kernel[1] - 1) - 1) / self.stride[1] + 1
    }

    /// Pixels of one output channel.
    pub fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Products that are added up for one output value.
    pub fn patch_len(&self) -> usize {
        self.channels_in / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Values of one input image.
    pub fn input_len(&self) -> usize {
        self.channels_in * self.height * self.width
    }

    /// Values of one output image.
    pub fn output_len(&self) -> usize {
        self.channels_out * self.out_pixels()
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        self.channels_out * self.patch_len()
    }
}

/// A pooling window without padding: what does not fill a whole window at the right and bottom edges is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2dShape {
    /// Height of the input in pixels.
    pub height: usize,
    /// Width of the input in pixels.
    pub width: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
}

impl Pool2dShape {
    /// Fails where a size is 0 or the window is larger than the input.
    pub fn check(&self) -> Result<(), GeometryError> {
        if self.kernel.contains(&0) || self.stride.contains(&0) {
            return Err(GeometryError::Zero);
        }
        for (axis, size) in [self.height, self.width].into_iter().enumerate() {
            if self.kernel[axis] > size {
                return Err(GeometryError::KernelTooLarge { kernel: self.kernel[axis], padded: size });
            }
        }
        Ok(())
    }

    /// Height of the output.
    pub fn out_height(&self) -> usize {
        (self.height - self.kernel[0]) / self.stride[0] + 1
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        (self.width - self.kernel[1]) / self.stride[1] + 1
    }
}

/// Sizes that do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// A size is 0.
    Zero,
    /// The groups do not divide the channels.
    Groups {
        /// Number of groups.
        groups: usize,
        /// Channels of the input.
        channels_in: usize,
        /// Channels of the output.
        channels_out: usize,
    },
    /// The kernel does not fit into the input.
    KernelTooLarge {
        /// Extent of the kernel.
        kernel: usize,
        /// Extent of the padded input.
        padded: usize,
    },
    /// The sizes multiply to more than this machine can address.
    Overflow,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => write!(formatter, "channels, groups, sizes, kernel, stride and dilation must be at least 1"),
            Self::Groups { groups, channels_in, channels_out } => {
                write!(formatter, "{groups} groups must divide {channels_in} input and {channels_out} output channels")
            }
            Self::KernelTooLarge { kernel, padded } => {
                write!(formatter, "a kernel of extent {kernel} does not fit into an input of {padded} with its padding")
            }
            Self::Overflow => write!(formatter, "the sizes multiply to more than can be addressed"),
        }
    }
}

impl std::error::Error for GeometryError {}
