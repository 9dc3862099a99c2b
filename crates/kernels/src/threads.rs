//! What tests of several kernels share: the same bytes for any number of threads.

/// The result of `compute` with 1 thread, after making sure that 2 and 3 threads give the same.
pub(crate) fn same_for_threads<R: PartialEq + Send>(compute: impl Fn() -> R + Sync) -> R {
    let [one, two, three] = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(&compute)
    });
    assert!(one == two && one == three);
    one
}
