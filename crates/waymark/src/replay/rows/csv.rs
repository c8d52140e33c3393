//! CSV: cells by the names of columns, quotes as RFC 4180 has them.

use std::{cell::Cell, io::Read, sync::Arc};

use super::{AtLine, Layout, Refused, Row, ended};
use crate::replay::mapping::Encoding;

pub(super) fn read(
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
    let mut reader = ::csv::ReaderBuilder::new()
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
    let mut record = ::csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                let line = error
                    .position()
                    .map_or_else(|| reader.position().line(), ::csv::Position::line);
                return Err((line, format!("row cannot be read: {}", cause(&error)).into()));
            }
        }
        let line = record.position().map_or(0, ::csv::Position::line);
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

/// Where a cell begins in a line, in characters from 1; `file` is read for the names of columns.
pub(super) fn place(line: &[u8], file: impl Read, layout: Layout<'_>, column: &str) -> Option<u64> {
    let mut names: Vec<String> = layout.header.to_vec();
    if names.is_empty() {
        let mut header = ::csv::ReaderBuilder::new();
        let mut header = header.has_headers(false).delimiter(layout.delimiter).from_reader(file);
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
    let text: String = match layout.encoding {
        Encoding::Utf8 => String::from_utf8_lossy(line).into_owned(),
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

/// What keeps a file from being read, in words.
fn cause(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::Io(error) => ended(error),
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
