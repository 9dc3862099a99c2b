//! Tables: a CSV file with a header, a column of which names the class.
//!
//! A set is one file, of which a fifth is held out for testing, or a folder with `train.csv` and, if there is one,
//! `test.csv`. A row becomes an input of the shape `[features]`: a number becomes a byte by the lowest and the highest
//! value of its column among the rows to train on, a category a byte for each value that its column has there, 255 for
//! its own and 0 for others.

mod columns;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::columns::{Code, Kind, kind_of, number};
use self::table::Table;
use super::source::{MOST_CLASSES, Reading, Source, check_parts, file_name, has_ending, held_out_for_testing};
use crate::data::{DataError, DataIdentity, Dataset, FileFormat, FileReport, Images, Progress, Request, limit};

/// The file with the rows to train on.
const TRAIN: &str = "train.csv";

/// The file with the rows to test on.
const TEST: &str = "test.csv";

/// The column of the class, if it has this name and no other is asked for.
const LABEL: &str = "label";

/// A table.
pub(super) struct Csv;

/// Whether a file is a table by its name.
pub(super) fn is_csv(path: &Path) -> bool {
    has_ending(path, "csv") && path.is_file()
}

impl Source for Csv {
    fn recognises(&self, path: &Path) -> bool {
        is_csv(path) || is_csv(&path.join(TRAIN))
    }

    fn read(&self, path: &Path, request: &Request, _: &mut dyn FnMut(Progress)) -> Result<Reading, DataError> {
        let [train_path, test_path]: [PathBuf; 2] =
            if path.is_dir() { [path.join(TRAIN), path.join(TEST)] } else { [path.to_path_buf(), PathBuf::new()] };
        let table = Table::read(&train_path)?;
        let label = label_column(&table, request.label.as_deref())?;
        let class_names = class_names(&table, label)?;
        let labels = labels(&table, label, &class_names)?;
        let columns: Vec<usize> = (0..table.header.len()).filter(|column| *column != label).collect();
        if columns.is_empty() {
            return Err(DataError::malformed(&table.path, "has no column besides that of the class; add some"));
        }
        let kinds = columns.iter().map(|&column| kind_of(&table, column)).collect::<Result<Vec<_>, _>>()?;

        let test_table = if test_path.is_file() { Some(Table::read(&test_path)?) } else { None };
        let mut remarks = Vec::new();
        let is_held = if test_table.is_some() {
            vec![false; labels.len()]
        } else {
            let (held, remark) = held_out_for_testing(&labels, "rows");
            remarks.push(remark);
            held
        };
        let rows_where = |held: bool| -> Vec<usize> { (0..labels.len()).filter(|&row| is_held[row] == held).collect() };
        let codes = codes(&table, &columns, &kinds, &rows_where(false))?;
        let features = codes.iter().map(Code::width).sum();
        let test_rows = test_table.as_ref().map_or(0, |table| table.rows.len());
        limit::check(path, labels.len() + test_rows, &[features])?;

        let train = encode(&table, &columns, &codes, &rows_where(false), &labels)?.0;
        let (test, unseen) = match &test_table {
            None => encode(&table, &columns, &codes, &rows_where(true), &labels)?,
            Some(test) => {
                let columns_there = columns_of(test, &table)?;
                let labels = labels_there(test, columns_there[label], &class_names)?;
                let columns: Vec<usize> = columns.iter().map(|&column| columns_there[column]).collect();
                let rows: Vec<usize> = (0..test.rows.len()).collect();
                encode(test, &columns, &codes, &rows, &labels)?
            }
        };
        check_parts(path, &train, &test, "rows")?;
        if unseen > 0 {
            remarks.push(format!(
                "{unseen} values of the rows to test on are categories that the rows to train on have not; they count as none"
            ));
        }

        let files: Vec<FileReport> = [Some(&table), test_table.as_ref()].into_iter().flatten().map(report).collect();
        let name = file_name(path);
        let identities = files.iter().map(|file| (file.name.clone(), file.sha256.clone().unwrap_or_default()));
        let set = Dataset {
            identity: DataIdentity::new(&name, identities),
            name,
            class_names,
            validation: Images::none(&train.shape),
            train,
            test,
            verified: false,
            altered: None,
            remarks,
        };
        Ok(Reading { set, files })
    }
}

fn report(table: &Table) -> FileReport {
    let dims = vec![table.rows.len(), table.header.len()];
    FileReport::readable(file_name(&table.path), FileFormat::Csv, dims, table.sha256.clone())
}

/// The column of the class: the one asked for, else the one called `label`, else the last.
fn label_column(table: &Table, asked: Option<&str>) -> Result<usize, DataError> {
    let place = |name: &str| table.header.iter().position(|column| column == name);
    match asked {
        None => Ok(place(LABEL).unwrap_or(table.header.len() - 1)),
        Some(name) => place(name).ok_or_else(|| {
            let columns = table.header.join(", ");
            let problem =
                format!("has no column called {name}; name one of its columns with --set data.label=NAME: {columns}");
            DataError::malformed(&table.path, problem)
        }),
    }
}

/// The values of the column of the class: in the order of numbers if all are, else in that of their letters.
fn class_names(table: &Table, label: usize) -> Result<Vec<String>, DataError> {
    if let Some(row) = (0..table.rows.len()).find(|&row| table.cell(row, label).is_empty()) {
        return Err(table.missing(row, label));
    }
    let names: BTreeSet<&str> = (0..table.rows.len()).map(|row| table.cell(row, label)).collect();
    if names.len() > MOST_CLASSES {
        let problem = format!(
            "column {}: has {} different values, the limit for classes is {MOST_CLASSES}; name the column of the class with \
             --set data.label=NAME",
            table.header[label],
            names.len()
        );
        return Err(DataError::malformed(&table.path, problem));
    }
    let mut names: Vec<&str> = names.into_iter().collect();
    if let Some(mut numbers) = names.iter().map(|name| Some((number(name)?, *name))).collect::<Option<Vec<_>>>() {
        numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
        names = numbers.into_iter().map(|(_, name)| name).collect();
    }
    Ok(names.into_iter().map(String::from).collect())
}

/// The class of each row.
fn labels(table: &Table, label: usize, class_names: &[String]) -> Result<Vec<u8>, DataError> {
    let class = |row: usize| {
        let name = table.cell(row, label);
        let place = class_names.iter().position(|class| class == name);
        place.and_then(|place| u8::try_from(place).ok()).ok_or_else(|| {
            table.wrong(
                row,
                label,
                &format!("{name} is no class of the rows to train on; correct it, or add such rows"),
            )
        })
    };
    (0..table.rows.len()).map(class).collect()
}

/// The class of each row of another table.
fn labels_there(table: &Table, label: usize, class_names: &[String]) -> Result<Vec<u8>, DataError> {
    if let Some(row) = (0..table.rows.len()).find(|&row| table.cell(row, label).is_empty()) {
        return Err(table.missing(row, label));
    }
    labels(table, label, class_names)
}

/// For each column of `table` the place of the one with its name in another table, which must have the same ones.
fn columns_of(other: &Table, table: &Table) -> Result<Vec<usize>, DataError> {
    let strange = other.header.iter().find(|name| !table.header.contains(name));
    if let Some(name) = strange {
        let problem = format!("has a column {name}, which {} has not; remove it", file_name(&table.path));
        return Err(DataError::inconsistent(&other.path, problem));
    }
    let place = |name: &String| {
        other.header.iter().position(|found| found == name).ok_or_else(|| {
            let problem = format!("lacks the column {name} of {}; add it", file_name(&table.path));
            DataError::inconsistent(&other.path, problem)
        })
    };
    table.header.iter().map(place).collect()
}

/// The codes of the columns by the rows to train on.
fn codes(table: &Table, columns: &[usize], kinds: &[Kind], rows: &[usize]) -> Result<Vec<Code>, DataError> {
    columns.iter().zip(kinds).map(|(&column, &kind)| Code::of(table, column, kind, rows)).collect()
}

/// The chosen rows as inputs, and how many values are categories without a byte.
fn encode(
    table: &Table,
    columns: &[usize],
    codes: &[Code],
    rows: &[usize],
    labels: &[u8],
) -> Result<(Images, usize), DataError> {
    let features = codes.iter().map(Code::width).sum();
    let mut images = Images::none(&[features]);
    images.pixels.reserve_exact(rows.len() * features);
    let mut unseen = 0;
    for &row in rows {
        for (&column, code) in columns.iter().zip(codes) {
            unseen += usize::from(code.write(table, row, column, &mut images.pixels)?);
        }
        images.labels.push(labels[row]);
    }
    Ok((images, unseen))
}

#[cfg(test)]
mod tests;
