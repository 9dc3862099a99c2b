//! The Gaussian error linear unit, in its exact form.
//!
//! ```text
//! y  = x Phi(x)                      Phi(x) = (1 + erf(x / sqrt(2))) / 2
//! dx = G (Phi(x) + x phi(x))         phi(x) = exp(-x^2 / 2) / sqrt(2 pi)
//! ```
//! Source: Hendrycks and Gimpel, "Gaussian error linear units (GELUs)", arXiv 1606.08415, 2016.

use rayon::prelude::*;

use crate::CHUNK;
use crate::math::normal;
use crate::memory::Fresh;
use crate::simd::multiversion;

/// y of each x.
pub fn forward(x: &[f32]) -> Vec<f32> {
    let mut y = Fresh::new(x.len());
    y.pieces(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| values(x, y.open()));
    y.finish()
}

/// y of each x into `y`, on this thread; the bits are those of [`forward`].
///
/// # Panics
/// If the lengths differ.
pub fn forward_into(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    values(x, y);
}

/// dx for the gradient G of y.
pub fn backward(x: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), gradient.len());
    let inputs = x.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK));
    let mut out = Fresh::new(x.len());
    out.pieces(CHUNK).zip(inputs).for_each(|(out, (x, gradient))| gradients(x, gradient, out.open()));
    out.finish()
}

multiversion! {
    fn values(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * normal(*x).0;
        }
    }
}

multiversion! {
    fn gradients(x: &[f32], gradient: &[f32], out: &mut [f32]) {
        for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
            let (cdf, density) = normal(*x);
            *out = gradient * (cdf + x * density);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::tests::exact_normal_cdf;
    use crate::random::Random;

    fn normals(len: usize, stream: u32) -> Vec<f32> {
        let mut x = vec![0.0; len];
        Random::new(5, 0, stream).fill_normal(&mut x);
        x
    }

    /// Values from -20 to 20, more than one task handles.
    fn grid() -> Vec<f32> {
        (-320_000..=320_000).step_by(17).map(|i| i as f32 / 16_000.0).collect()
    }

    #[test]
    fn values_equal_the_formula_in_double_precision() {
        let x = grid();
        for (x, y) in x.iter().zip(forward(&x)) {
            let exact = f64::from(*x) * exact_normal_cdf(f64::from(*x));
            assert!((f64::from(y) - exact).abs() <= 2e-7 * (1.0 + exact.abs()), "{x}: {y} {exact}");
        }
    }

    #[test]
    fn gradients_agree_with_central_differences_in_double_precision() {
        let x = grid();
        let exact = |x: f64| x * exact_normal_cdf(x);
        let step = 1e-5;
        for (x, dx) in x.iter().zip(backward(&x, &vec![2.0; x.len()])) {
            let middle = f64::from(*x);
            let expected = (exact(middle + step) - exact(middle - step)) / step;
            assert!((f64::from(dx) - expected).abs() < 1e-6, "{x}: {dx} {expected}");
        }
    }

    #[test]
    fn far_from_0_it_is_the_ramp() {
        let x = [0.0, 40.0, 1e30, -40.0, -1e30, f32::MIN];
        assert_eq!(forward(&x), [0.0, 40.0, 1e30, 0.0, 0.0, 0.0]);
        assert_eq!(backward(&x, &[3.0; 6]), [1.5, 3.0, 3.0, 0.0, 0.0, 0.0]);
        assert!(forward(&[]).is_empty() && backward(&[], &[]).is_empty());
    }

    #[test]
    fn one_thread_gives_the_same_bits() {
        let x = normals(CHUNK + 37, 0);
        let mut y = vec![9.0; x.len()];
        forward_into(&x, &mut y);
        assert!(y.iter().map(|y| y.to_bits()).eq(forward(&x).into_iter().map(f32::to_bits)));
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let (x, gradient) = (normals(3 * CHUNK + 5, 0), normals(3 * CHUNK + 5, 1));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (forward(&x), backward(&x, &gradient)))
        };
        assert!(run(1) == run(2) && run(1) == run(3));
    }
}
