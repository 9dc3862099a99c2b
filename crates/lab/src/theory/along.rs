use hardgrad::theory::spurious_minimum;

/// The line of v from the spurious minimum (place 0) to the teacher (place 1); from -v* where there is none.
pub(super) struct Along {
    from: Vec<f64>,
    to: Vec<f64>,
}

impl Along {
    pub fn new(v_star: &[f64]) -> Self {
        let opposite = || v_star.iter().map(|v| -v).collect();
        Self { from: spurious_minimum(v_star).map_or_else(opposite, |point| point.v), to: v_star.to_vec() }
    }

    /// The place of v's projection.
    pub fn place(&self, v: &[f64]) -> f64 {
        let line = || self.from.iter().zip(&self.to).map(|(from, to)| to - from);
        let length: f64 = line().map(|line| line * line).sum();
        line().zip(v.iter().zip(&self.from)).map(|(line, (v, from))| line * (v - from)).sum::<f64>() / length
    }

    pub fn at(&self, place: f64) -> Vec<f64> {
        self.from.iter().zip(&self.to).map(|(from, to)| from + place * (to - from)).collect()
    }
}
