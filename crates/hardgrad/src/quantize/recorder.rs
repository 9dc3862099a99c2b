//! The steps of all quantised weights of a module.
//!
//! Burn's visitors see parameters without what reparameterizes them; only `materialize` calls each quantiser with its weight. While
//! a recording runs on this thread, quantisers leave a note how to find their step instead of working. The steps are found after the
//! recording: some need all threads, and a thread that waits may take up work that has nothing to do with it.

use std::cell::RefCell;

/// Finds a quantiser's step; none if its delay is not over.
type Note = Box<dyn FnOnce() -> Option<f32>>;

thread_local! {
    static NOTES: RefCell<Option<Vec<Note>>> = const { RefCell::new(None) };
}

/// The steps of the quantisers that `materialize` calls, in order; none for those whose delay is not over.
pub(crate) fn recorded(materialize: impl FnOnce()) -> Vec<Option<f32>> {
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            NOTES.take();
        }
    }
    let stop = Stop;
    NOTES.set(Some(Vec::new()));
    materialize();
    let notes = NOTES.take().unwrap_or_default();
    drop(stop);
    notes.into_iter().map(|note| note()).collect()
}

/// Leaves a note while a recording runs, and tells whether one does.
pub(super) fn record<F: FnOnce() -> Option<f32> + 'static>(note: impl FnOnce() -> F) -> bool {
    NOTES.with_borrow_mut(|notes| match notes {
        Some(notes) => {
            notes.push(Box::new(note()));
            true
        }
        None => false,
    })
}
