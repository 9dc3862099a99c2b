use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of the current training step, shared by a training loop and the quantisers that wait for a step.
///
/// Clones share the same count.
///
/// ```
/// use hardgrad::quantize::StepClock;
/// let clock = StepClock::default();
/// clock.clone().set(7);
/// assert_eq!(clock.step(), 7);
/// ```
#[derive(Clone, Debug, Default)]
pub struct StepClock(Arc<AtomicU64>);

impl StepClock {
    /// The current step.
    pub fn step(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the current step; a training loop calls it before each step.
    pub fn set(&self, step: u64) {
        self.0.store(step, Ordering::Relaxed);
    }
}
