//! Reads a CSV or JSON-lines file, plain or gzip, into rows that remember their line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use flate2::read::MultiGzDecoder;

use super::mapping::{Encoding, Format};

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

    /// Whether the file has this column, with or without a value here.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// The names of all columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
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

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout<'a> {
    /// CSV or JSON lines.
    pub format: Format,
    /// What parts the cells of a CSV.
    pub delimiter: u8,
    /// How its bytes are characters.
    pub encoding: Encoding,
    /// The names of columns where the file has no line of them.
    pub header: &'a [String],
}

impl Layout<'_> {
    /// What a file's name tells, `.gz` aside: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let (format, delimiter) = if is(&[".csv"]) {
            (Format::Csv, b',')
        } else if is(&[".tsv", ".tab"]) {
            (Format::Csv, b'\t')
        } else if is(&[".jsonl", ".ndjson", ".json"]) {
            (Format::Jsonl, b',')
        } else {
            return None;
        };
        Some(Self {
            format,
            delimiter,
            encoding: Encoding::Utf8,
            header: &[],
        })
    }
}

/// Reads every row, one after the other.
///
/// # Errors
/// A message with file and line where the file cannot be opened, a row cannot be read, or `take` refuses it.
pub fn read(path: &Path, layout: Layout<'_>, take: &mut dyn FnMut(Row) -> Result<(), String>) -> Result<(), String> {
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
    let read = match layout.format {
        Format::Csv => read_csv(plain, layout, take),
        Format::Jsonl => read_jsonl(plain, take),
    };
    read.map_err(|(line, message)| format!("{shown}:{line}: {message}"))
}

type AtLine = (u64, String);

fn read_csv(
    plain: Box<dyn Read>,
    layout: Layout<'_>,
    take: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), AtLine> {
    let text = |bytes: &[u8]| -> Result<String, String> {
        match layout.encoding {
            Encoding::Utf8 => std::str::from_utf8(bytes)
                .map(ToOwned::to_owned)
                .map_err(|_| "not UTF-8; if it is Latin-1, say encoding = \"latin1\" in the mapping".to_owned()),
            Encoding::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        }
    };
    let mut reader = csv::ReaderBuilder::new()
        .flexible(false)
        .has_headers(layout.header.is_empty())
        .delimiter(layout.delimiter)
        .from_reader(plain);
    let columns: Vec<String> = if layout.header.is_empty() {
        let header = reader
            .byte_headers()
            .map_err(|error| (1, format!("header cannot be read: {error}")))?;
        let names: Result<Vec<String>, String> = header.iter().map(text).collect();
        let names = names.map_err(|message| (1, message))?;
        names
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            .collect()
    } else {
        layout.header.to_vec()
    };
    let columns = Arc::new(columns);
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                return Err((line, format!("row cannot be read: {error}")));
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns.len() {
            let message = format!(
                "row has another number of cells: found={} expected={}",
                record.len(),
                columns.len()
            );
            return Err((line, message));
        }
        let mut raw = Vec::new();
        let mut cells = Vec::with_capacity(record.len());
        for cell in &record {
            raw.extend_from_slice(cell);
            raw.push(0);
            // An empty cell is no value.
            let cell = (!cell.is_empty()).then(|| text(cell)).transpose();
            cells.push(cell.map_err(|message| (line, message))?);
        }
        let columns = Arc::clone(&columns);
        let row = Row {
            line,
            columns,
            cells,
            raw,
        };
        take(row).map_err(|message| (line, message))?;
    }
}

fn read_jsonl(plain: Box<dyn Read>, take: &mut dyn FnMut(Row) -> Result<(), String>) -> Result<(), AtLine> {
    for (index, line) in BufReader::new(plain).lines().enumerate() {
        let number = index as u64 + 1;
        let line = line.map_err(|error| (number, format!("line cannot be read: {error}")))?;
        let line = line.trim_start_matches('\u{feff}');
        if line.trim().is_empty() {
            continue;
        }
        let value: serde_json::Value =
            serde_json::from_str(line).map_err(|error| (number, format!("JSON cannot be read: {error}")))?;
        let serde_json::Value::Object(members) = value else {
            return Err((number, "not a JSON object".to_owned()));
        };
        let mut columns = Vec::new();
        let mut cells = Vec::new();
        flatten("", members, &mut columns, &mut cells);
        let row = Row {
            line: number,
            columns: Arc::new(columns),
            cells,
            raw: line.as_bytes().to_vec(),
        };
        take(row).map_err(|message| (number, message))?;
    }
    Ok(())
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
