//! Axes: where values lie, and the numbers beside them.

use super::palette::NUMBER;
use super::svg::text_width;

/// How values become places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps, equal distances.
    #[default]
    Linear,
    /// Equal ratios, equal distances; zero and negative values have no place.
    Log,
}

/// Smallest value on a log axis; its inverse is the largest one on any. So sums, ratios and steps stay finite.
pub(super) const TINY: f64 = 1e-250;

impl Scale {
    /// Whether a value has a place.
    pub(super) fn has(self, value: f64) -> bool {
        let reaches = match self {
            Self::Linear => true,
            Self::Log => value >= TINY,
        };
        value.abs() <= 1.0 / TINY && reaches
    }

    /// What grows evenly along the axis.
    fn coordinate(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }

    /// Lowest and highest coordinate of an axis that shows these values with some space around them.
    fn range(self, values: &[f64], space: f64) -> (f64, f64) {
        let coordinates = values.iter().map(|&value| self.coordinate(value));
        let (low, high) = coordinates.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (l.min(c), h.max(c)));
        let (span, largest) = (high - low, low.abs().max(high.abs()));
        // Values that are closer count as equal: their numbers would have more than six digits.
        let half = match self {
            Self::Linear if span > (largest * 1e-5).max(TINY) => span * (0.5 + space),
            Self::Linear if largest > TINY => largest * 0.1,
            Self::Linear => 1.0,
            Self::Log if span > 1e-4 => span * (0.5 + space),
            Self::Log => 0.5,
        };
        ((low + high) / 2.0 - half, (low + high) / 2.0 + half)
    }
}

/// A place along an axis or a value, and its number; none where the tick is short.
type Tick = (f64, Option<String>);

/// An axis: where values lie along it, and what is written beside it.
pub(super) struct Axis {
    pub(super) ticks: Vec<Tick>,
    /// In pixels.
    pub(super) length: f64,
    scale: Scale,
    /// The coordinates of both ends.
    ends: (f64, f64),
}

impl Axis {
    /// An axis that shows these values, with as many numbers as fit; without values, none has a place.
    pub(super) fn new(scale: Scale, values: &[f64], length: f64, horizontal: bool) -> Self {
        let mut axis = Self { ticks: Vec::new(), length, scale, ends: (f64::NAN, f64::NAN) };
        if values.is_empty() {
            return axis;
        }
        axis.ends = scale.range(values, if horizontal { 0.025 } else { 0.05 });
        // Half an epoch is no epoch.
        let whole = horizontal && values.iter().all(|value| value.fract() == 0.0);
        for most in (1..=(length / 35.0) as usize).rev() {
            let ticks = match scale {
                Scale::Linear => linear_ticks(axis.ends, most, whole),
                Scale::Log => log_ticks(axis.ends, most),
            };
            axis.ticks = ticks.into_iter().map(|(value, number)| (axis.place(value), number)).collect();
            let extent = |text: &str| if horizontal { text_width(text, NUMBER) + 10.0 } else { NUMBER.size * 1.3 };
            let numbers: Vec<(f64, f64)> = axis.numbers().map(|(place, text)| (place, extent(text))).collect();
            if numbers.windows(2).all(|pair| pair[1].0 - pair[0].0 >= (pair[0].1 + pair[1].1) / 2.0) {
                break;
            }
        }
        axis
    }

    /// Places and texts of its numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (f64, &str)> {
        self.ticks.iter().filter_map(|(place, text)| Some((*place, text.as_deref()?)))
    }

    /// Distance of a value that has a place from the axis's beginning, in pixels.
    pub(super) fn place(&self, value: f64) -> f64 {
        (self.scale.coordinate(value) - self.ends.0) / (self.ends.1 - self.ends.0) * self.length
    }

    /// The place, if the value lies on the axis.
    pub(super) fn place_within(&self, value: f64) -> Option<f64> {
        let place = self.scale.has(value).then(|| self.place(value))?;
        (0.0..=self.length).contains(&place).then_some(place)
    }
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, in at most `most` steps; `whole` forbids fractions.
fn linear_ticks((low, high): (f64, f64), most: usize, whole: bool) -> Vec<Tick> {
    let finest = (high - low) / most as f64;
    let power = finest.log10().floor() as i32;
    let wide = |&factor: &i32| f64::from(factor) * 10f64.powi(power) >= finest * 0.999_999;
    let (factor, power) = [1, 2, 5].into_iter().find(wide).map_or((1, power + 1), |factor| (factor, power));
    let (factor, power) = if whole && power < 0 { (1, 0) } else { (factor, power) };
    let step = f64::from(factor) * 10f64.powi(power);
    let indices = (low / step - 1e-6).ceil() as i64..=(high / step + 1e-6).floor() as i64;
    let largest = low.abs().max(high.abs());
    let plain = largest < 1e6 && (power >= -4 || largest >= 0.1);
    let values = indices.map(|index| index as f64 * step);
    values.map(|value| (value, Some(number(value, power, plain)))).collect()
}

/// Ticks at 1 to 9 times powers of ten. Powers of ten have numbers, on short axes 2 and 5 times them too.
fn log_ticks((low, high): (f64, f64), most: usize) -> Vec<Tick> {
    if high - low < 0.7 {
        // Over a factor of five or less the axis is nearly linear.
        return linear_ticks((10f64.powf(low), 10f64.powf(high)), most, false);
    }
    let all = (low.floor() as i32..=high.ceil() as i32).flat_map(|power| (1..=9).map(move |factor| (factor, power)));
    let value = |(factor, power): (i32, i32)| f64::from(factor) * 10f64.powi(power);
    let within = |&tick: &(i32, i32)| (low - 1e-6..=high + 1e-6).contains(&value(tick).log10());
    let all: Vec<(i32, i32)> = all.filter(within).collect();
    let count = |factors: &[i32]| all.iter().filter(|(factor, _)| factors.contains(factor)).count();
    let (powers, finer) = (count(&[1]), count(&[1, 2, 5]));
    let stride = powers.div_ceil(most + 1).max(1) as i32;
    let factors: &[i32] = if powers < 2 || powers == 2 && finer <= most + 1 { &[1, 2, 5] } else { &[1] };
    let ticks = all.into_iter().filter(|&(factor, _)| stride == 1 || factor == 1);
    let labelled = |(factor, power): (i32, i32)| factors.contains(&factor) && power % stride == 0;
    let text = |tick: (i32, i32)| number(value(tick), tick.1, (-3..=4).contains(&tick.1));
    ticks.map(|tick| (value(tick), labelled(tick).then(|| text(tick)))).collect()
}

/// The value with digits down to 10^power, plain as 0.02 or else as 2e-2.
fn number(value: f64, power: i32, plain: bool) -> String {
    let digits = |highest: i32| (highest - power).max(0) as usize;
    match value {
        _ if plain => format!("{value:.*}", digits(0)),
        0.0 => "0".to_string(),
        _ => format!("{value:.*e}", digits((value.abs().log10() + 1e-9).floor() as i32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_round_and_few() {
        let numbers = |scale, values: &[f64], horizontal| {
            let axis = Axis::new(scale, values, 280.0, horizontal);
            axis.numbers().map(|(_, text)| text.to_string()).collect::<Vec<_>>()
        };
        let linear = |values: &[f64]| numbers(Scale::Linear, values, false);
        assert_eq!(linear(&[0.0, 1.0]), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(linear(&[0.0, 4e-9]), ["0", "1e-9", "2e-9", "3e-9", "4e-9"]);
        assert_eq!(linear(&[2.5, 2.5 + 1e-12]), linear(&[2.5]));
        assert_eq!(numbers(Scale::Linear, &[1.0, 2.0], true), ["1", "2"]);
        assert_eq!(numbers(Scale::Linear, &[], true), [""; 0]);
        let log = |values: &[f64]| numbers(Scale::Log, values, false);
        assert_eq!(log(&[3e-5, 30.0]), ["1e-4", "0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(log(&[0.04, 0.6]), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(log(&[1.0, 2.0]), ["1.0", "1.2", "1.4", "1.6", "1.8", "2.0"]);
        assert_eq!(log(&[1e-30, 1.0])[..2], ["1e-28", "1e-24"]);
    }

    #[test]
    fn values_lie_where_their_numbers_are() {
        let axis = Axis::new(Scale::Log, &[0.1, 1000.0], 280.0, true);
        for (place, text) in axis.numbers() {
            assert!((axis.place_within(text.parse().unwrap()).unwrap() - place).abs() < 1e-9, "{text}");
        }
        assert_eq!([0.0, -1.0, 1e4, f64::NAN].map(|value| axis.place_within(value)), [None; 4]);
        assert_eq!(Axis::new(Scale::Linear, &[], 280.0, true).place_within(0.5), None);
    }
}
