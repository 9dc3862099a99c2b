//! How large a set may be.

use std::path::Path;

use super::DataError;

/// The most bytes that the inputs of a set may take: 8 GiB.
pub(super) const LARGEST: u64 = 8 << 30;

/// Refuses a set whose inputs would take more than [`LARGEST`] bytes; to be called before memory is taken.
pub(super) fn check(path: &Path, count: usize, shape: &[usize]) -> Result<(), DataError> {
    let numbers = [count].into_iter().chain(shape.iter().copied());
    let bytes = numbers.fold(1u64, |product, number| product.saturating_mul(number as u64));
    if bytes <= LARGEST {
        return Ok(());
    }
    let (what, mend) = match shape {
        [channels, height, width] => (
            format!("{count} images of {height} x {width} pixels (height x width) with {channels} channels"),
            "resize them with --set data.size=[HEIGHT, WIDTH], make them grey with --set data.channels=1, or give fewer",
        ),
        _ => (format!("{count} rows of {} features", shape.iter().product::<usize>()), "give fewer rows or columns"),
    };
    Err(DataError::TooLarge { path: path.to_path_buf(), what, bytes, limit: LARGEST, mend })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_beyond_the_limit_are_refused_with_their_size() {
        let path = Path::new("set");
        check(path, 1 << 13, &[1, 1 << 10, 1 << 10]).unwrap();
        let text = check(path, (1 << 13) + 1, &[1, 1 << 10, 1 << 10]).unwrap_err().to_string();
        assert!(text.starts_with("set: 8193 images of 1024 x 1024 pixels (height x width) with 1 channels"), "{text}");
        assert!(text.contains("8.0 GiB") && text.contains("--set data.size=[HEIGHT, WIDTH]"), "{text}");
        let text = check(path, usize::MAX, &[usize::MAX]).unwrap_err().to_string();
        assert!(text.contains("rows of") && text.ends_with("give fewer rows or columns"), "{text}");
    }
}
