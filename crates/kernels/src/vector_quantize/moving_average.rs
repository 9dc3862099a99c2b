//! The moving averages that the codebook follows: those of the rows that chose each code, with smoothed counts.
//!
//! ```text
//! counts = decay counts + (1 - decay) n_j          sums = decay sums + (1 - decay) sum of the rows of code j
//! c_j    = sums_j / ((counts_j + epsilon) / (total + k epsilon) total)        total = sum of counts
//! ```
//! Source: van den Oord et al., "Neural discrete representation learning", NeurIPS 2017, appendix A.1, and its
//! published code for the Laplace smoothing of the counts.

use rayon::prelude::*;

use crate::simd::multiversion;

/// Moves `counts` `[k]` and `sums` `[k, dims]` towards the rows of `x` that chose each code, and the codebook too.
///
/// The codebook stays as it is while the counts are all 0.
///
/// # Panics
/// If an index is not below the number of codes, or a length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn moving_average_update(
    x: &[f32],
    indices: &[u32],
    dims: usize,
    decay: f32,
    counts: &mut [f32],
    sums: &mut [f32],
    codebook: &mut [f32],
    epsilon: f32,
) {
    assert!(dims > 0 && x.len() == indices.len() * dims);
    assert!(sums.len() == counts.len() * dims && codebook.len() == sums.len());
    // Counting sort: the rows of code j are order[starts[j]..starts[j + 1]], and they rise.
    let mut starts = vec![0usize; counts.len() + 1];
    for index in indices {
        starts[*index as usize + 1] += 1;
    }
    for code in 0..counts.len() {
        starts[code + 1] += starts[code];
    }
    let (mut next, mut order) = (starts.clone(), vec![0u32; indices.len()]);
    for (row, index) in (0..).zip(indices) {
        let place = &mut next[*index as usize];
        order[*place] = row;
        *place += 1;
    }

    let decay = f64::from(decay);
    for (count, ends) in counts.iter_mut().zip(starts.windows(2)) {
        *count = (decay * f64::from(*count) + (1.0 - decay) * (ends[1] - ends[0]) as f64) as f32;
    }
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    let scale = total / (total + counts.len() as f64 * f64::from(epsilon));
    sums.par_chunks_mut(dims)
        .zip(codebook.par_chunks_mut(dims))
        .zip(counts.par_iter().zip(starts.par_windows(2)))
        .for_each_init(
            || vec![0.0; dims],
            |rows_sum, ((sums, code), (count, ends))| {
                rows_sum.fill(0.0);
                for row in &order[ends[0]..ends[1]] {
                    add(&x[*row as usize * dims..][..dims], rows_sum);
                }
                for (sum, rows_sum) in sums.iter_mut().zip(rows_sum) {
                    *sum = (decay * f64::from(*sum) + (1.0 - decay) * *rows_sum) as f32;
                }
                if total > 0.0 {
                    let smoothed = (f64::from(*count) + f64::from(epsilon)) * scale;
                    code.iter_mut().zip(sums).for_each(|(code, sum)| *code = (f64::from(*sum) / smoothed) as f32);
                }
            },
        );
}

multiversion! {
    fn add(x: &[f32], sums: &mut [f64]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += f64::from(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::vector_quantize::tests::normal;

    #[test]
    fn a_moving_average_by_hand() {
        let (mut counts, mut sums, mut codebook) = ([2.0, 0.0, 1.0], [2.0, 4.0, 0.0, 0.0, 3.0, 3.0], [9.0; 6]);
        let x = [1.0, 1.0, 5.0, 7.0, 3.0, 1.0];
        moving_average_update(&x, &[0, 2, 0], 2, 0.5, &mut counts, &mut sums, &mut codebook, 1.0);
        assert_eq!(counts, [2.0, 0.0, 1.0]);
        assert_eq!(sums, [3.0, 3.0, 0.0, 0.0, 4.0, 5.0]);
        // total 3, with smoothing (count + 1) / 6 * 3: 1.5, 0.5, 1.
        assert_eq!(codebook, [2.0, 2.0, 0.0, 0.0, 4.0, 5.0]);
        let (mut counts, mut sums, mut codebook) = ([0.0], [0.0], [7.0]);
        moving_average_update(&[], &[], 1, 0.9, &mut counts, &mut sums, &mut codebook, 1e-5);
        assert_eq!((counts, sums, codebook), ([0.0], [0.0], [7.0]));
    }

    #[test]
    fn moving_averages_agree_with_sums_over_all_rows() {
        let (rows, k, dims) = (500, 7, 5);
        let x = normal(1, rows * dims);
        let indices: Vec<u32> = (0..rows as u64).map(|row| Random::new(3, 0, 0).below(row, k as u32 - 1)).collect();
        let (mut counts, mut sums, mut codebook) = (vec![4.0f32; k], normal(2, k * dims), vec![f32::NAN; k * dims]);
        let (old_counts, old_sums) = (counts.clone(), sums.clone());
        moving_average_update(&x, &indices, dims, 0.9, &mut counts, &mut sums, &mut codebook, 1e-5);
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        for code in 0..k {
            let own = || (0..rows).filter(|row| indices[*row] as usize == code);
            let count = 0.9 * f64::from(old_counts[code]) + 0.1 * own().count() as f64;
            assert!((f64::from(counts[code]) - count).abs() < 1e-4);
            for i in 0..dims {
                let place = code * dims + i;
                let sum =
                    0.9 * f64::from(old_sums[place]) + 0.1 * own().map(|row| f64::from(x[row * dims + i])).sum::<f64>();
                assert!((f64::from(sums[place]) - sum).abs() < 1e-5);
                let smoothed = (count + 1e-5) / (total + k as f64 * 1e-5) * total;
                assert!((f64::from(codebook[place]) - sum / smoothed).abs() < 1e-5);
            }
        }
    }
}
