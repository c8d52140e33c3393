//! Reads a CSV or JSON-lines file, plain or gzip, into rows that remember their line.

use std::{
    cell::Cell,
    fmt,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::mapping::{Encoding, Format};

/// Why a row is refused, and in which column, where one is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The column's name.
    pub column: Option<String>,
    /// Where in the line that is, in characters from 1, if it is known already.
    pub at: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl Refused {
    /// A cell of this column is at fault.
    #[must_use]
    pub fn at(column: &str, message: impl Into<String>) -> Self {
        Self {
            column: Some(column.to_owned()),
            at: None,
            message: message.into(),
        }
    }

    /// What stands at this place of the line is at fault, in characters from 1.
    #[must_use]
    pub fn here(at: u64, message: impl Into<String>) -> Self {
        Self {
            column: None,
            at: Some(at),
            message: message.into(),
        }
    }
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self {
            column: None,
            at: None,
            message,
        }
    }
}

/// What cannot be read, and where: `FILE:LINE:COLUMN: MESSAGE`, lines and columns from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The file as the user named it.
    pub file: String,
    /// The line; none where the file itself cannot be read.
    pub line: Option<u64>,
    /// Where in the line the cell begins; none where no cell is at fault.
    pub column: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl Unreadable {
    /// A file that cannot be read at all.
    #[must_use]
    pub fn file(path: &Path, message: impl Into<String>) -> Self {
        Self {
            file: path.display().to_string(),
            line: None,
            column: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for place in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{place}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl From<Unreadable> for String {
    fn from(unreadable: Unreadable) -> Self {
        unreadable.to_string()
    }
}

/// One row of a file: cells by column name.
#[derive(Debug, Clone)]
pub struct Row {
    /// The line in the file, from 1.
    pub line: u64,
    columns: Arc<Vec<String>>,
    cells: Vec<Option<String>>,
    /// Cells that JSON writes as texts, so that `"5"` is not taken for a number; empty for a CSV, whose cells look like what they are.
    quoted: Vec<bool>,
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

    /// Whether the cell of this column was written as a text in JSON.
    #[must_use]
    pub fn is_quoted(&self, column: &str) -> bool {
        let index = self.columns.iter().position(|name| name == column);
        index.is_some_and(|index| self.quoted.get(index).copied().unwrap_or(false))
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
    /// The columns that a CSV must have.
    pub needed: &'a [&'a str],
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
            needed: &[],
        })
    }
}

/// Reads every row, one after the other.
///
/// # Errors
/// [`Unreadable`] where the file cannot be opened, a row cannot be read, or `take` refuses it.
pub fn read(
    path: &Path,
    layout: Layout<'_>,
    take: &mut dyn FnMut(Row) -> Result<(), Refused>,
) -> Result<(), Unreadable> {
    read_counted(path, layout, &AtomicU64::new(0), take)
}

/// As [`read`]; `done` tells how many bytes of the file have been read, packed as they are.
///
/// # Errors
/// As [`read`].
pub fn read_counted(
    path: &Path,
    layout: Layout<'_>,
    done: &AtomicU64,
    take: &mut dyn FnMut(Row) -> Result<(), Refused>,
) -> Result<(), Unreadable> {
    let plain = open(path, done)?;
    let read = match layout.format {
        Format::Csv => read_csv(plain, layout, take),
        Format::Jsonl => read_jsonl(plain, take),
    };
    read.map_err(|(line, refused)| Unreadable {
        file: path.display().to_string(),
        line: Some(line),
        column: refused
            .at
            .or_else(|| place(path, layout, line, refused.column.as_deref()?)),
        message: refused.message,
    })
}

/// A file as it is, or what is packed in it.
fn open<'a>(path: &Path, done: &'a AtomicU64) -> Result<Box<dyn Read + 'a>, Unreadable> {
    let file = File::open(path).map_err(|error| Unreadable::file(path, format!("cannot be opened: {error}")))?;
    let mut reader = BufReader::new(Counted { file, done });
    let magic = reader
        .fill_buf()
        .map_err(|error| Unreadable::file(path, format!("cannot be read: {error}")))?;
    Ok(if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    })
}

struct Counted<'a> {
    file: File,
    done: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Where a cell begins in its line, in characters from 1. The file is read again up to there: only a message needs it.
fn place(path: &Path, layout: Layout<'_>, line: u64, column: &str) -> Option<u64> {
    let unwatched = AtomicU64::new(0);
    let lines = BufReader::new(open(path, &unwatched).ok()?).split(b'\n');
    let mut lines = lines.map_while(Result::ok);
    match layout.format {
        Format::Jsonl => {
            let line = lines.nth(usize::try_from(line.checked_sub(1)?).ok()?)?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let name = column.rsplit('.').next()?;
            let at = line.find(&format!("\"{name}\""))?;
            Some(line[..at].chars().count() as u64 + 1)
        }
        Format::Csv => {
            let mut names: Vec<String> = layout.header.to_vec();
            if names.is_empty() {
                let mut header = csv::ReaderBuilder::new();
                let mut header = header
                    .has_headers(false)
                    .delimiter(layout.delimiter)
                    .from_reader(open(path, &unwatched).ok()?);
                let first = header.byte_records().next()?.ok()?;
                let name = |cell: &[u8]| {
                    String::from_utf8_lossy(cell)
                        .trim_start_matches('\u{feff}')
                        .trim()
                        .to_owned()
                };
                names = first.iter().map(name).collect();
            }
            let index = names.iter().position(|name| name == column)?;
            let line = lines.nth(usize::try_from(line.checked_sub(1)?).ok()?)?;
            let text: String = match layout.encoding {
                Encoding::Utf8 => String::from_utf8_lossy(&line).into_owned(),
                Encoding::Latin1 => line.iter().map(|byte| char::from(*byte)).collect(),
            };
            let (mut cell, mut quoted) = (0, false);
            let delimiter = char::from(layout.delimiter);
            for (at, letter) in text.trim_start_matches('\u{feff}').chars().enumerate() {
                if cell == index {
                    return Some(at as u64 + 1);
                }
                match letter {
                    '"' => quoted = !quoted,
                    letter if letter == delimiter && !quoted => cell += 1,
                    _ => {}
                }
            }
            (cell == index).then(|| text.trim_end_matches('\r').chars().count() as u64 + 1)
        }
    }
}

type AtLine = (u64, Refused);

fn read_csv(
    plain: Box<dyn Read + '_>,
    layout: Layout<'_>,
    take: &mut dyn FnMut(Row) -> Result<(), Refused>,
) -> Result<(), AtLine> {
    let text = |bytes: &[u8]| -> Result<String, String> {
        match layout.encoding {
            Encoding::Utf8 => std::str::from_utf8(bytes)
                .map(ToOwned::to_owned)
                .map_err(|_| "not UTF-8; if it is Latin-1, say encoding = \"latin1\" in the mapping".to_owned()),
            Encoding::Latin1 => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        }
    };
    let quotes = Quotes::new(layout.delimiter);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(layout.header.is_empty())
        .delimiter(layout.delimiter)
        .from_reader(Watched { plain, quotes: &quotes });
    let columns: Vec<String> = if layout.header.is_empty() {
        let header = reader
            .byte_headers()
            .map_err(|error| (1, format!("header cannot be read: {}", cause(&error)).into()))?;
        let names: Result<Vec<String>, String> = header.iter().map(text).collect();
        let names = names.map_err(|message| (1, Refused::from(message)))?;
        names
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            .collect()
    } else {
        layout.header.to_vec()
    };
    if layout.header.is_empty() {
        check_header(&columns, layout).map_err(|refused| (1, refused))?;
    }
    let columns = Arc::new(columns);
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                let line = error
                    .position()
                    .map_or_else(|| reader.position().line(), csv::Position::line);
                return Err((line, format!("row cannot be read: {}", cause(&error)).into()));
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        if let Some((line, at)) = quotes.broken.get() {
            return Err((line, Refused::here(at, "text behind a closing quote")));
        }
        if let Some((line, at)) = quotes.open_at(reader.position().byte()) {
            return Err((line, Refused::here(at, "quote is not closed")));
        }
        if record.len() != columns.len() {
            let message = format!(
                "row has another number of cells: found={} expected={}",
                record.len(),
                columns.len()
            );
            return Err((line, message.into()));
        }
        let mut raw = Vec::new();
        let mut cells = Vec::with_capacity(record.len());
        for (name, cell) in columns.iter().zip(&record) {
            raw.extend_from_slice(cell);
            raw.push(0);
            // An empty cell is no value.
            let cell = (!cell.is_empty()).then(|| text(cell)).transpose();
            cells.push(cell.map_err(|message| (line, Refused::at(name, message)))?);
        }
        let columns = Arc::clone(&columns);
        let row = Row {
            line,
            columns,
            cells,
            quoted: Vec::new(),
            raw,
        };
        take(row).map_err(|refused| (line, refused))?;
    }
}

/// The columns of a CSV: each has a name, no name stands twice, and none that is needed is missing.
fn check_header(columns: &[String], layout: Layout<'_>) -> Result<(), Refused> {
    let missing = layout
        .needed
        .iter()
        .find(|needed| !columns.iter().any(|name| name == *needed));
    if let Some(missing) = missing {
        let near = pattern::nearest(missing, columns.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
        let found = columns.join(&String::from(char::from(layout.delimiter)));
        return Err(Refused::here(
            1,
            format!("column is missing: column={missing} found={found}{near}"),
        ));
    }
    let mut at = 1;
    for (index, name) in columns.iter().enumerate() {
        if name.is_empty() {
            return Err(Refused::here(at, "a column has no name"));
        }
        if columns[..index].contains(name) {
            return Err(Refused::here(at, format!("two columns have this name: column={name}")));
        }
        at += name.chars().count() as u64 + 1;
    }
    Ok(())
}

/// What keeps a file from being read, in words.
fn cause(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => ended(error),
        _ => error.to_string(),
    }
}

fn ended(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the gzip file ends early".to_owned(),
        _ => error.to_string(),
    }
}

/// Where a quote stands open. The reader of CSV takes a quote that is never closed for a cell that goes on to the file's end.
struct Quotes {
    delimiter: u8,
    state: Cell<Within>,
    line: Cell<u64>,
    /// Characters of the line so far.
    at: Cell<u64>,
    opened: Cell<(u64, u64)>,
    /// Where the first text behind a closing quote stands: the reader of CSV would glue it to the cell.
    broken: Cell<Option<(u64, u64)>>,
    bytes: Cell<u64>,
    is_at_end: Cell<bool>,
}

/// What the next byte of a CSV is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Beginning,
    Plain,
    Quoted,
    /// Behind a quote in a quoted cell: its end, or the first of two that stand for one.
    Quote,
}

impl Quotes {
    fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            state: Cell::new(Within::Beginning),
            line: Cell::new(1),
            at: Cell::new(0),
            opened: Cell::default(),
            broken: Cell::default(),
            bytes: Cell::default(),
            is_at_end: Cell::default(),
        }
    }

    fn saw(&self, bytes: &[u8]) {
        for byte in bytes {
            // Bytes that continue a character of UTF-8 take no place of their own.
            if byte & 0xc0 != 0x80 {
                self.at.set(self.at.get() + 1);
            }
            let is_quoted = self.state.get() == Within::Quoted;
            let next = match *byte {
                b'"' => match self.state.get() {
                    Within::Beginning => {
                        self.opened.set((self.line.get(), self.at.get()));
                        Within::Quoted
                    }
                    Within::Plain => Within::Plain,
                    Within::Quoted => Within::Quote,
                    Within::Quote => Within::Quoted,
                },
                _ if is_quoted => Within::Quoted,
                b'\n' | b'\r' => Within::Beginning,
                byte if byte == self.delimiter => Within::Beginning,
                _ => {
                    if self.state.get() == Within::Quote && self.broken.get().is_none() {
                        self.broken.set(Some((self.line.get(), self.at.get())));
                    }
                    Within::Plain
                }
            };
            if *byte == b'\n' {
                self.line.set(self.line.get() + 1);
                self.at.set(0);
            }
            self.state.set(next);
        }
        self.bytes.set(self.bytes.get() + bytes.len() as u64);
        self.is_at_end.set(bytes.is_empty());
    }

    /// The line and character of a quote that is open although the file has ended, if reading stands at its end.
    fn open_at(&self, byte: u64) -> Option<(u64, u64)> {
        let is_open = self.is_at_end.get() && byte >= self.bytes.get() && self.state.get() == Within::Quoted;
        is_open.then(|| self.opened.get())
    }
}

/// A reader whose bytes are looked at on the way.
struct Watched<'a> {
    plain: Box<dyn Read + 'a>,
    quotes: &'a Quotes,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.plain.read(buffer)?;
        self.quotes.saw(&buffer[..read]);
        Ok(read)
    }
}

/// A JSON value in which no object has a key twice: one of the two would be lost in silence.
struct Once(serde_json::Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once(serde_json::Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Once, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Once(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut members = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(de::Error::custom(format!("a key stands twice: key={key}")));
            }
            let Once(value) = map.next_value()?;
            members.insert(key, value);
        }
        Ok(Once(members.into()))
    }
}

fn read_jsonl(plain: Box<dyn Read + '_>, take: &mut dyn FnMut(Row) -> Result<(), Refused>) -> Result<(), AtLine> {
    for (index, line) in BufReader::new(plain).lines().enumerate() {
        let number = index as u64 + 1;
        let line = line.map_err(|error| (number, format!("line cannot be read: {}", ended(&error)).into()))?;
        if line.len() > codec::MAX_VALUE {
            let (bytes, limit) = (line.len(), codec::MAX_VALUE);
            return Err((
                number,
                Refused::here(1, format!("row is too large: bytes={bytes} limit={limit}")),
            ));
        }
        let line = line.trim_start_matches('\u{feff}');
        if line.trim().is_empty() {
            continue;
        }
        let Once(value) = serde_json::from_str(line).map_err(|error| {
            let text = error.to_string();
            // The place is said once, at the beginning, with the file's own line.
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            let at = error.column() as u64;
            (number, Refused::here(at, format!("JSON cannot be read: {text}")))
        })?;
        let serde_json::Value::Object(members) = value else {
            return Err((number, Refused::here(1, "not a JSON object")));
        };
        let mut columns = Vec::new();
        let (mut cells, mut quoted) = (Vec::new(), Vec::new());
        flatten("", members, &mut columns, &mut cells, &mut quoted);
        let row = Row {
            line: number,
            columns: Arc::new(columns),
            cells,
            quoted,
            raw: line.as_bytes().to_vec(),
        };
        take(row).map_err(|refused| (number, refused))?;
    }
    Ok(())
}

/// Nested members become columns joined by a dot.
fn flatten(
    prefix: &str,
    members: serde_json::Map<String, serde_json::Value>,
    columns: &mut Vec<String>,
    cells: &mut Vec<Option<String>>,
    quoted: &mut Vec<bool>,
) {
    for (name, value) in members {
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        let is_text = value.is_string();
        let cell = match value {
            serde_json::Value::Object(inner) => {
                flatten(&name, inner, columns, cells, quoted);
                continue;
            }
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        columns.push(name);
        cells.push(cell);
        quoted.push(is_text);
    }
}
