//! Results as people read them.

mod data;
mod microscope;
mod models;
mod runs;
mod timings;

use comfy_table::{CellAlignment, Table};

pub use data::{check, check_json, known_sets};
pub use microscope::{
    comparison, diagnosis, estimators, estimators_json, experiment, experiments, operators, two_layer,
};
pub use models::{model, presets};
pub use runs::{evaluation, export, inspection, predictions, recipes, summary};
pub use timings::{profiles, sweeps, timings};

/// A table with a header; the columns from `first_number` on hold numbers.
fn table(header: &[&str], first_number: usize, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY).set_header(header);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Lines that a reader must know, below a result.
fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("\nnote: {note}")).collect()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A shape as people write it.
fn shape(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
