//! Which part of a run draws which random numbers: the last word of the address of [`hardgrad_kernels::random::Random`].

/// First weights; the step is the place of the parameter.
pub(crate) const WEIGHTS: u32 = 0;
/// Order of the images; the step is the epoch. One stream a stage, from here on.
pub(crate) const ORDER: u32 = 16;
/// Flips and shifts of the images; the step is the training step. One stream a stage, from here on.
pub(crate) const AUGMENTATION: u32 = 32;
/// Which images calibrate the activation ranges.
pub(crate) const CALIBRATION: u32 = 48;
/// Noise of the zeroth-order reference; one stream a weight, from here on.
pub(crate) const DIAGNOSIS: u32 = 1024;
