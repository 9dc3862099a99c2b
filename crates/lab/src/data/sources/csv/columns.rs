//! From the values of a row to bytes.

use std::collections::BTreeSet;

use super::table::Table;
use crate::data::DataError;

/// Most different values of a column of categories.
const MOST_CATEGORIES: usize = 256;

/// Words for a value that is missing, where the other values of a column are numbers.
const MISSING: [&str; 7] = ["na", "n/a", "nan", "null", "none", "?", "-"];

/// So many numbers for a word in a column make the word a mistake.
const NUMBERS_A_WORD: usize = 9;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers, which become one byte.
    Number,
    /// Categories, which become a byte each.
    Category,
}

/// The kind of a column by all rows of a table.
///
/// It is one of numbers if all values are; words such as `NA` among numbers stand for missing values.
///
/// # Errors
/// A value is missing, or a few words stand among many numbers.
pub(super) fn kind_of(table: &Table, column: usize) -> Result<Kind, DataError> {
    let (mut numbers, mut words) = (0, 0);
    let (mut first_mark, mut first_word) = (None, None);
    for row in 0..table.rows.len() {
        let cell = table.cell(row, column);
        if cell.is_empty() {
            return Err(table.missing(row, column));
        } else if number(cell).is_some() {
            numbers += 1;
        } else if is_missing(cell) {
            first_mark = first_mark.or(Some(row));
        } else {
            words += 1;
            first_word = first_word.or(Some(row));
        }
    }
    match (first_word, first_mark) {
        (Some(row), _) if numbers >= NUMBERS_A_WORD * words => {
            let problem = format!("{} is no number, as nearly all others are; correct it", table.cell(row, column));
            Err(table.wrong(row, column, &problem))
        }
        (Some(_), _) => Ok(Kind::Category),
        (None, Some(row)) if numbers > 0 => Err(table.missing(row, column)),
        (None, Some(_)) => Ok(Kind::Category),
        (None, None) => Ok(Kind::Number),
    }
}

/// How the values of a column become bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Code {
    /// A number x becomes round(255 (x - lowest) / (highest - lowest)), within 0..=255, and 0 where all are equal.
    Number { lowest: f64, highest: f64 },
    /// The byte of the category of a value is 255, those of the others are 0.
    Category { values: Vec<String> },
}

impl Code {
    /// The code of a column by the rows to train on.
    ///
    /// # Errors
    /// There are too many categories.
    pub(super) fn of(table: &Table, column: usize, kind: Kind, rows: &[usize]) -> Result<Self, DataError> {
        let cells = rows.iter().map(|&row| table.cell(row, column));
        if kind == Kind::Number {
            let numbers = cells.filter_map(number);
            let (lowest, highest) = numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(lowest, highest), number| {
                (number.min(lowest), number.max(highest))
            });
            return Ok(Self::Number { lowest, highest });
        }
        let values: BTreeSet<&str> = cells.collect();
        let first = values.first().copied().unwrap_or_default();
        if values.len() > MOST_CATEGORIES {
            let problem = format!(
                "column {}: has {} different values that are no numbers, such as {first}, the limit is {MOST_CATEGORIES}; \
                 remove the column if it names the rows",
                table.header[column],
                values.len()
            );
            return Err(DataError::malformed(&table.path, problem));
        }
        Ok(Self::Category { values: values.into_iter().map(String::from).collect() })
    }

    /// Bytes of a value.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Number { .. } => 1,
            Self::Category { values } => values.len(),
        }
    }

    /// Appends the bytes of the value of a row and a column; tells whether a category was met that is not among those
    /// of the code, whose bytes are 0 all.
    ///
    /// # Errors
    /// The value is missing, or is no number in a column of numbers.
    pub(super) fn write(&self, table: &Table, row: usize, column: usize, out: &mut Vec<u8>) -> Result<bool, DataError> {
        let cell = table.cell(row, column);
        if cell.is_empty() {
            return Err(table.missing(row, column));
        }
        match self {
            Self::Number { lowest, highest } => match number(cell) {
                // Halves, as the difference of two numbers may be none.
                Some(number) => {
                    let (above, range) = (number / 2.0 - lowest / 2.0, highest / 2.0 - lowest / 2.0);
                    let share = if range > 0.0 { (above / range).clamp(0.0, 1.0) } else { 0.0 };
                    out.push((255.0 * share).round() as u8);
                    Ok(false)
                }
                None if is_missing(cell) => Err(table.missing(row, column)),
                None => {
                    Err(table.wrong(row, column, &format!("{cell} is no number, as those to train on are; correct it")))
                }
            },
            Self::Category { values } => {
                out.extend(values.iter().map(|value| if value == cell { 255 } else { 0 }));
                Ok(!values.iter().any(|value| value == cell))
            }
        }
    }
}

/// The number that a text is, if it is a finite one.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn is_missing(text: &str) -> bool {
    MISSING.iter().any(|word| word.eq_ignore_ascii_case(text))
}
