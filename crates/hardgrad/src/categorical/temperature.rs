use serde::{Deserialize, Serialize};

/// How a temperature moves from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemperatureKind {
    /// The start, always.
    #[default]
    Constant,
    /// start + (end - start) s
    Linear,
    /// start (end / start)^s
    Exponential,
    /// end + (start - end) (1 + cos(pi s)) / 2
    Cosine,
}

/// The temperature of each training step.
///
/// With s the share of the steps that are done, from 0 to 1, the kinds say how the temperature follows it; after the last
/// step it stays at the end. Temperatures are above 0.
///
/// ```
/// use hardgrad::categorical::{TemperatureKind, TemperatureSchedule};
/// let schedule = TemperatureSchedule { kind: TemperatureKind::Exponential, start: 1.0, end: 0.25 };
/// assert_eq!([0, 50, 100, 200].map(|step| schedule.at(step, 100)), [1.0, 0.5, 0.25, 0.25]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemperatureSchedule {
    /// How it moves.
    pub kind: TemperatureKind,
    /// At the first step.
    pub start: f32,
    /// At the last step; unused by `constant`.
    pub end: f32,
}

impl TemperatureSchedule {
    /// The same temperature at every step.
    pub fn constant(temperature: f32) -> Self {
        Self { kind: TemperatureKind::Constant, start: temperature, end: temperature }
    }

    /// The temperature at `step` of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f32 {
        let (start, end) = (f64::from(self.start), f64::from(self.end));
        let share = if step >= steps { 1.0 } else { step as f64 / steps as f64 };
        let temperature = match self.kind {
            TemperatureKind::Constant => start,
            TemperatureKind::Linear => start + (end - start) * share,
            TemperatureKind::Exponential => start * (end / start).powf(share),
            TemperatureKind::Cosine => end + (start - end) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0,
        };
        temperature as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_begins_at_the_start_and_all_but_constant_end_at_the_end() {
        let middles = [
            (TemperatureKind::Constant, 4.0),
            (TemperatureKind::Linear, 2.5),
            (TemperatureKind::Exponential, 2.0),
            (TemperatureKind::Cosine, 2.5),
        ];
        for (kind, middle) in middles {
            let schedule = TemperatureSchedule { kind, start: 4.0, end: 1.0 };
            assert_eq!(schedule.at(0, 10), 4.0);
            assert!((schedule.at(5, 10) - middle).abs() < 1e-6, "{kind:?}");
            let last = if kind == TemperatureKind::Constant { 4.0 } else { 1.0 };
            assert_eq!([schedule.at(10, 10), schedule.at(0, 0), schedule.at(99, 10)], [last; 3], "{kind:?}");
        }
    }
}
