//! A table as it is stored.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use ::csv::{Error, ErrorKind, Position, ReaderBuilder, StringRecord, Trim};
use sha2::{Digest, Sha256};

use crate::data::DataError;

/// Largest file of a table: 1 GiB.
const LARGEST_FILE: u64 = 1 << 30;

/// What may stand between the values of a line; of those that stand there equally often the last is taken.
const SEPARATORS: [u8; 3] = [b'\t', b';', b','];

/// A header and rows of as many values.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<StringRecord>,
    /// The line of each row; the header is line 1, if no empty ones stand before it.
    lines: Vec<usize>,
    /// SHA-256 of the file in lower-case hexadecimal digits.
    pub(super) sha256: String,
}

impl Table {
    /// Reads a file: a header and at least one row, separated by commas, semicolons or tabulators.
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = read_file(path)?;
        let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |separator: &u8| first_line.iter().filter(|byte| *byte == separator).count();
        let delimiter = SEPARATORS.into_iter().max_by_key(count).unwrap_or(b',');
        let mut reader = ReaderBuilder::new().delimiter(delimiter).trim(Trim::All).from_reader(&bytes[..]);

        let header = reader.headers().map_err(|error| malformed(path, &error, &bytes))?;
        // Names stand in messages of one line.
        let header: Vec<String> = header.iter().map(|name| name.replace(['\n', '\r'], " ")).collect();
        check_header(path, &header)?;
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        let (mut line, mut place) = (1, 0);
        for row in reader.records() {
            let row = row.map_err(|error| malformed(path, &error, &bytes))?;
            let start = start_of(row.position(), &bytes);
            line += newlines(&bytes[place..start]);
            place = start;
            rows.push(row);
            lines.push(line);
        }
        if rows.is_empty() {
            return Err(DataError::malformed(path, "has a header and no rows; give some"));
        }
        Ok(Self { path: path.to_path_buf(), header, rows, lines, sha256: format!("{:x}", Sha256::digest(&bytes)) })
    }

    /// The value of a row and a column.
    pub(super) fn cell(&self, row: usize, column: usize) -> &str {
        self.rows[row].get(column).unwrap_or_default()
    }

    /// The error about a value: it names line and column.
    pub(super) fn wrong(&self, row: usize, column: usize, problem: &str) -> DataError {
        let (line, column) = (self.lines[row], &self.header[column]);
        let problem = format!("line {line}, column {column}: {problem}").replace(['\n', '\r'], " ");
        DataError::malformed(&self.path, problem)
    }

    /// The error about a value that is not there.
    pub(super) fn missing(&self, row: usize, column: usize) -> DataError {
        let problem = match self.cell(row, column) {
            "" => "the value is missing; fill it in, or remove the line or the column".to_string(),
            cell => format!("{cell} stands for a missing value; fill it in, or remove the line or the column"),
        };
        self.wrong(row, column, &problem)
    }
}

/// The whole file, if it is an ordinary one and not too large.
fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |cause| DataError::io(path, cause);
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(DataError::malformed(path, "is not a file; give a table"));
    }
    if found.len() > LARGEST_FILE {
        let problem = format!("is {} bytes, the limit for a table is {LARGEST_FILE}; give fewer rows", found.len());
        return Err(DataError::malformed(path, problem));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn check_header(path: &Path, header: &[String]) -> Result<(), DataError> {
    if header.iter().all(String::is_empty) {
        return Err(DataError::malformed(path, "is empty; give a line with the names of the columns, and rows"));
    }
    if header.iter().all(|name| name.parse::<f64>().is_ok()) {
        let problem = "has numbers in its first line, which is to name the columns; put such a line in front";
        return Err(DataError::malformed(path, problem));
    }
    match header.iter().enumerate().find(|(index, name)| header[..*index].contains(name)) {
        Some((_, name)) => {
            Err(DataError::malformed(path, format!("has two columns called {name:?}; give each a name of its own")))
        }
        None => Ok(()),
    }
}

/// Where a record begins. The reader counts the end of the line before it, where that is `\r\n`, and empty lines to it.
fn start_of(position: Option<&Position>, bytes: &[u8]) -> usize {
    let start = position.map_or(0, |position| position.byte() as usize).min(bytes.len());
    let ends = bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    start + ends.count()
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn malformed(path: &Path, error: &Error, bytes: &[u8]) -> DataError {
    let line = 1 + newlines(&bytes[..start_of(error.position(), bytes)]);
    let problem = match error.kind() {
        ErrorKind::Utf8 { .. } => format!("line {line} is no UTF-8 text; save the table as UTF-8"),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {line} has {len} values, the header names {expected_len} columns; correct the line")
        }
        _ => format!("line {line} cannot be read ({error}); correct it"),
    };
    DataError::malformed(path, problem)
}
