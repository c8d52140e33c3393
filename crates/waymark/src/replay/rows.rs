//! Reads a CSV or JSON-lines file, plain or gzip, into rows that remember their line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use flate2::read::MultiGzDecoder;

use super::mapping::Format;

/// One row of a file: cells by column name.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line in the file, from 1.
    pub line: u64,
    columns: Arc<Vec<String>>,
    cells: Vec<Option<String>>,
    raw: Vec<u8>,
}

impl Row {
    /// A column's text; `None` if the file has no such column, or no value in this row.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<String> {
        let index = self.columns.iter().position(|name| name == column)?;
        self.cells[index].clone()
    }

    /// A hash of the row's bytes: equal rows have equal hashes.
    #[must_use]
    pub fn hash(&self) -> String {
        let hash = blake3::hash(&self.raw);
        hash.to_hex()[..32].to_owned()
    }

    /// The row as it stands in the file.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// All columns with a value.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns
            .iter()
            .zip(&self.cells)
            .filter_map(|(name, cell)| Some((name.as_str(), cell.as_deref()?)))
    }
}

/// The format that a file's name tells, `.gz` aside.
#[must_use]
pub fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".csv") {
        Some(Format::Csv)
    } else if name.ends_with(".jsonl") || name.ends_with(".ndjson") || name.ends_with(".json") {
        Some(Format::Jsonl)
    } else {
        None
    }
}

/// Reads every row.
///
/// # Errors
/// A message with file and line where it cannot be opened or a row cannot be read.
pub fn read(path: &Path, format: Format) -> Result<Vec<Row>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("{shown}: cannot be opened: {error}"))?;
    let mut reader = BufReader::new(file);
    let magic = reader
        .fill_buf()
        .map_err(|error| format!("{shown}: cannot be read: {error}"))?;
    let plain: Box<dyn Read> = if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    };
    match format {
        Format::Csv => read_csv(plain).map_err(|(line, message)| format!("{shown}:{line}: {message}")),
        Format::Jsonl => read_jsonl(plain).map_err(|(line, message)| format!("{shown}:{line}: {message}")),
    }
}

fn read_csv(plain: Box<dyn Read>) -> Result<Vec<Row>, (u64, String)> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(plain);
    let columns: Arc<Vec<String>> = Arc::new(
        reader
            .headers()
            .map_err(|error| (1, format!("header cannot be read: {error}")))?
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').to_owned())
            .collect(),
    );
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(rows),
            Ok(true) => {}
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                return Err((line, format!("row cannot be read: {error}")));
            }
        }
        let mut raw = Vec::new();
        for cell in &record {
            raw.extend_from_slice(cell.as_bytes());
            raw.push(0);
        }
        rows.push(Row {
            line: record.position().map_or(0, csv::Position::line),
            columns: Arc::clone(&columns),
            // An empty cell is no value.
            cells: record
                .iter()
                .map(|cell| (!cell.is_empty()).then(|| cell.to_owned()))
                .collect(),
            raw,
        });
    }
}

fn read_jsonl(plain: Box<dyn Read>) -> Result<Vec<Row>, (u64, String)> {
    let mut rows = Vec::new();
    for (index, line) in BufReader::new(plain).lines().enumerate() {
        let number = index as u64 + 1;
        let line = line.map_err(|error| (number, format!("line cannot be read: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let value: serde_json::Value =
            serde_json::from_str(&line).map_err(|error| (number, format!("JSON cannot be read: {error}")))?;
        let serde_json::Value::Object(members) = value else {
            return Err((number, "not a JSON object".to_owned()));
        };
        let mut columns = Vec::new();
        let mut cells = Vec::new();
        flatten("", members, &mut columns, &mut cells);
        rows.push(Row {
            line: number,
            columns: Arc::new(columns),
            cells,
            raw: line.into_bytes(),
        });
    }
    Ok(rows)
}

/// Nested members become columns joined by a dot.
fn flatten(
    prefix: &str,
    members: serde_json::Map<String, serde_json::Value>,
    columns: &mut Vec<String>,
    cells: &mut Vec<Option<String>>,
) {
    for (name, value) in members {
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        let cell = match value {
            serde_json::Value::Object(inner) => {
                flatten(&name, inner, columns, cells);
                continue;
            }
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        columns.push(name);
        cells.push(cell);
    }
}
