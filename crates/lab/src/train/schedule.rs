/// The learning rate of step `step` (from 0) of `steps`: rises linearly over `warmup` steps, then falls as a cosine to 0.
///
/// Source: Loshchilov and Hutter, "SGDR", ICLR 2017.
pub(crate) fn learning_rate(highest: f64, step: u64, steps: u64, warmup: u64) -> f64 {
    let warmup = warmup.min(steps / 2);
    if step < warmup {
        return highest * (step + 1) as f64 / (warmup + 1) as f64;
    }
    let progress = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
    highest * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::learning_rate;

    #[test]
    fn the_rate_rises_to_its_highest_and_falls_to_almost_0() {
        let rates: Vec<f64> = (0..100).map(|step| learning_rate(0.1, step, 100, 9)).collect();
        assert!((rates[0] - 0.01).abs() < 1e-12 && (rates[9] - 0.1).abs() < 1e-12);
        assert!(rates[..10].is_sorted() && rates[9..].is_sorted_by(|a, b| a > b));
        assert!(rates[99] > 0.0 && rates[99] < 1e-4);
        assert!(learning_rate(0.1, 0, 1, 50) > 0.0);
    }
}
