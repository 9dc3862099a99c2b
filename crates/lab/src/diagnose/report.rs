use std::collections::BTreeSet;

use super::row::{Diagnosis, Interval, Row};
use crate::chart::{self, Chart, Panel, Scale, Series};

/// What a column of the CSV file holds.
type Measure = fn(&Row) -> Option<Interval>;

/// The columns of the CSV file, each with the ends of its interval.
const MEASURES: [(&str, Measure); 7] = [
    ("bias", |row| Some(row.bias)),
    ("relative_bias", |row| row.relative_bias),
    ("variance", |row| Some(row.variance)),
    ("mean_squared_error", |row| Some(row.mean_squared_error)),
    ("cosine", |row| Some(row.cosine)),
    ("cosine_of_mean", |row| Some(row.cosine_of_mean)),
    ("sign_agreement", |row| Some(row.sign_agreement)),
];

/// The rows as CSV.
pub(super) fn to_csv(diagnosis: &Diagnosis) -> String {
    let mut csv = "method,temperature".to_string();
    for (name, _) in MEASURES {
        csv += &format!(",{name},{name}_low,{name}_high");
    }
    csv.push('\n');
    for row in &diagnosis.rows {
        csv += &row.method;
        csv.push(',');
        csv += &row.temperature.map_or_else(String::new, |temperature| temperature.to_string());
        for (_, measure) in MEASURES {
            match measure(row) {
                Some(Interval { value, low, high }) => csv += &format!(",{value},{low},{high}"),
                None => csv += ",,,",
            }
        }
        csv.push('\n');
    }
    csv
}

/// Bias and variance against temperature; methods without a temperature run across.
///
/// # Errors
/// If the picture cannot be drawn.
pub(super) fn to_svg(diagnosis: &Diagnosis) -> Result<String, String> {
    let temperatures = diagnosis.rows.iter().filter_map(|row| row.temperature).map(f64::from);
    let (low, high) = temperatures.fold((f64::INFINITY, 0.0f64), |(low, high), t| (low.min(t), high.max(t)));
    let ends = if low < high { [low, high] } else { [0.5, 2.0] };
    let mut methods: Vec<&str> = diagnosis.rows.iter().map(|row| row.method.as_str()).collect();
    let mut seen = BTreeSet::new();
    methods.retain(|method| seen.insert(*method));
    let panel = |title: String, label: &str, measure: fn(&Row) -> Interval| {
        methods.iter().fold(Panel::new(title, "temperature", label).scales(Scale::Log, Scale::Log), |panel, method| {
            let (mut points, mut band) = (Vec::new(), Vec::new());
            for row in diagnosis.rows.iter().filter(|row| row.method == *method) {
                let places = row.temperature.map_or(ends.to_vec(), |temperature| vec![f64::from(temperature)]);
                for place in places {
                    let Interval { value, low, high } = measure(row);
                    points.push((place, value));
                    band.push((low, high));
                }
            }
            panel.with(Series::line(*method, points).band(band))
        })
    };
    let bias = panel(format!("bias on {}", diagnosis.objective), "norm of the mean error", |row| row.bias);
    let variance = panel("variance".to_string(), "sum over the coordinates", |row| row.variance);
    chart::draw(&Chart::new([bias, variance]))
}
