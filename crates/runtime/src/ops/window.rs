//! What both poolings share: windows, their sizes, and the shapes that they give.

use hardgrad_kernels::geometry::Pool2dShape;
use serde::{Deserialize, Serialize};

use super::operator::image;
use super::problem::Problem;

/// The sizes of a pooling as they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    #[serde(with = "super::sizes::pair")]
    pub kernel: [usize; 2],
    #[serde(with = "super::sizes::optional_pair", default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<[usize; 2]>,
}

/// Shape of a value a window of images, by the geometry of the windows.
pub fn pooled(inputs: &[Vec<usize>], shape: impl Fn([usize; 3]) -> Pool2dShape) -> Result<Vec<usize>, Problem> {
    let size = image(&inputs[0])?;
    let shape = shape(size);
    shape.check()?;
    Ok(vec![size[0], shape.out_height(), shape.out_width()])
}

/// Defines the sizes of a pooling.
macro_rules! windowed {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(from = "super::window::Window", into = "super::window::Window")]
        pub struct $name {
            /// Height and width of the window.
            pub kernel: [usize; 2],
            /// Steps between windows; as large as the window where it is left out.
            pub stride: [usize; 2],
        }

        impl $name {
            /// Windows that lie side by side.
            pub fn new(kernel: [usize; 2]) -> Self {
                Self { kernel, stride: kernel }
            }

            fn shape(&self, [_, height, width]: [usize; 3]) -> hardgrad_kernels::geometry::Pool2dShape {
                hardgrad_kernels::geometry::Pool2dShape { height, width, kernel: self.kernel, stride: self.stride }
            }
        }

        impl From<super::window::Window> for $name {
            fn from(window: super::window::Window) -> Self {
                Self { kernel: window.kernel, stride: window.stride.unwrap_or(window.kernel) }
            }
        }

        impl From<$name> for super::window::Window {
            fn from($name { kernel, stride }: $name) -> Self {
                Self { kernel, stride: Some(stride).filter(|stride| *stride != kernel) }
            }
        }
    };
}
pub(super) use windowed;
