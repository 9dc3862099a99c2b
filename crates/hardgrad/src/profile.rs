//! Where the time of a training step goes, operator by operator.
//!
//! Off by default, and then it costs one atomic load an operator. What is left when the operators' times are taken from the
//! whole is Burn's own operators and the gradient tape.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use hardgrad::{ops, profile};
//!
//! profile::start();
//! let _ = ops::gelu(Tensor::<1>::zeros([8], &Device::flex()));
//! let rows = profile::stop();
//! assert_eq!((rows[0].operator, rows[0].pass, rows[0].calls), ("gelu", "forward", 1));
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static ON: AtomicBool = AtomicBool::new(false);
/// Time and calls by operator and pass.
type Times = BTreeMap<(&'static str, &'static str), (Duration, usize)>;

static TIMES: Mutex<Times> = Mutex::new(BTreeMap::new());

/// Time of one operator in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name of the operator.
    pub operator: &'static str,
    /// `forward`, `backward` or `update`.
    pub pass: &'static str,
    /// Time of all calls.
    pub time: Duration,
    /// Number of calls.
    pub calls: usize,
}

/// Begins to measure, from zero.
pub fn start() {
    TIMES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops measuring; one row for each operator and direction that ran, the longest first.
pub fn stop() -> Vec<Row> {
    ON.store(false, Ordering::Relaxed);
    let times = std::mem::take(&mut *TIMES.lock().unwrap_or_else(PoisonError::into_inner));
    let row = |((operator, pass), (time, calls))| Row { operator, pass, time, calls };
    let mut rows: Vec<Row> = times.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.time));
    rows
}

/// Runs the forward pass of an operator.
pub(crate) fn forward<R>(operator: &'static str, run: impl FnOnce() -> R) -> R {
    measure(operator, "forward", run)
}

/// Runs the backward pass of an operator.
pub(crate) fn backward<R>(operator: &'static str, run: impl FnOnce() -> R) -> R {
    measure(operator, "backward", run)
}

/// Runs one update of the parameters.
pub(crate) fn update<R>(operator: &'static str, run: impl FnOnce() -> R) -> R {
    measure(operator, "update", run)
}

fn measure<R>(operator: &'static str, pass: &'static str, run: impl FnOnce() -> R) -> R {
    if !ON.load(Ordering::Relaxed) {
        return run();
    }
    let begin = Instant::now();
    let result = run();
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let (time, calls) = times.entry((operator, pass)).or_default();
    *time += begin.elapsed();
    *calls += 1;
    result
}
