//! Reads a CSV or JSON-lines file, plain or gzip, into rows that remember their line.

mod csv;
mod jsonl;

use std::{
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
        Format::Csv => csv::read(plain, layout, take),
        Format::Jsonl => jsonl::read(plain, take),
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
    let open = || open(path, &unwatched).ok();
    let mut lines = BufReader::new(open()?).split(b'\n').map_while(Result::ok);
    let nth = usize::try_from(line.checked_sub(1)?).ok()?;
    let line = lines.nth(nth)?;
    match layout.format {
        Format::Jsonl => jsonl::place(&line, column),
        Format::Csv => csv::place(&line, open()?, layout, column),
    }
}

/// What is wrong, and in which line.
type AtLine = (u64, Refused);

fn ended(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the gzip file ends early".to_owned(),
        _ => error.to_string(),
    }
}
