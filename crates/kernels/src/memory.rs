//! One setting of the C allocator that training speed depends on.

/// Tells glibc to keep freed memory and to serve large blocks from it; elsewhere it does nothing.
///
/// A training step allocates and frees the same few buffers of several MiB. With its defaults glibc returns each to the
/// system and the next step pays a page fault for every 4 KiB, which costs more than the arithmetic. Call it first in
/// `main`. What is freed then stays with the process until it ends.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: mallopt only sets parameters of the allocator; the two names and values are those of its manual page.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
