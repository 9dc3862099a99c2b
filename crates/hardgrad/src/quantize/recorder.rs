//! The steps of all quantised weights of a module.
//!
//! Burn's visitors see parameters without what reparameterizes them; only `materialize` calls each quantiser with its weight. While
//! a recording runs on this thread, quantisers write down their step instead of working.

use std::cell::RefCell;

thread_local! {
    static STEPS: RefCell<Option<Vec<Option<f32>>>> = const { RefCell::new(None) };
}

/// The steps of the quantisers that `materialize` calls, in order; none for those whose delay is not over.
pub(crate) fn recorded(materialize: impl FnOnce()) -> Vec<Option<f32>> {
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            STEPS.take();
        }
    }
    let _stop = Stop;
    STEPS.set(Some(Vec::new()));
    materialize();
    STEPS.take().unwrap_or_default()
}

/// Writes down a quantiser's step while a recording runs, and tells whether one does.
pub(super) fn record(step: impl FnOnce() -> Option<f32>) -> bool {
    STEPS.with_borrow_mut(|steps| match steps {
        Some(steps) => {
            steps.push(step());
            true
        }
        None => false,
    })
}
