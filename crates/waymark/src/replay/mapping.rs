//! Says how the columns of a file become events: `mapping.toml`.

use std::{collections::BTreeMap, path::Path};

use event::{Attribute, Attributes, Channel, Event, Identifier, IdentifierKind, Millis, vocabulary};
use jiff::{civil, tz::TimeZone};
use serde::Deserialize;

use super::rows::{Layout, Refused, Row};

/// A mapping as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The version of this format: 1.
    pub version: u32,
    /// `csv` or `jsonl`; taken from the file's name if absent.
    pub format: Option<Format>,
    /// What parts the cells of a CSV, one character; a tab for `.tsv`, else a comma.
    pub delimiter: Option<char>,
    /// How the bytes of a CSV are characters.
    #[serde(default)]
    pub encoding: Encoding,
    /// The names of columns, where the CSV has no line of them.
    #[serde(default)]
    pub header: Vec<String>,
    /// The source that the events name.
    pub source: String,
    /// The tenant.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Where the time stands, and how it is written.
    pub time: Time,
    /// Where the id stands.
    pub id: Id,
    /// What kind of event a row is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where it happened.
    pub channel: Place,
    /// Whom it concerns.
    pub identifiers: Vec<Who>,
    /// The column of the visit.
    pub session: Option<String>,
    /// The column of the call, chat or thread.
    pub conversation: Option<String>,
    /// The column of a text.
    pub text: Option<String>,
    /// Attribute name → column and type.
    #[serde(default)]
    pub attributes: BTreeMap<String, Column>,
}

fn default_tenant() -> String {
    "default".to_owned()
}

/// The file's format.
#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// How bytes are characters.
#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// UTF-8.
    #[default]
    #[serde(alias = "utf-8")]
    Utf8,
    /// ISO 8859-1.
    #[serde(alias = "iso-8859-1")]
    Latin1,
}

/// One column, or several whose texts are joined by a space, as date and time.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Columns {
    One(String),
    Several(Vec<String>),
}

impl Columns {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// Where the time stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    column: Columns,
    /// `rfc3339`, `epoch_s`, `epoch_ms`, or a strftime format.
    #[serde(default = "rfc3339")]
    format: String,
    /// The IANA zone of times that name none.
    #[serde(default = "utc")]
    zone: String,
}

fn rfc3339() -> String {
    "rfc3339".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Where the id stands: in a column, or it is a hash of the whole row, so that exact duplicates have equal ids.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Id {
    /// In a column.
    Column {
        /// Its name.
        column: String,
    },
    /// A hash of the row's bytes.
    Hash {
        /// Must be `row`.
        hash: HashOf,
    },
}

/// What is hashed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashOf {
    /// The whole row.
    Row,
}

/// What kind of event a row is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    column: Option<String>,
    /// Value → type.
    #[serde(default)]
    values: BTreeMap<String, String>,
    /// The type of rows whose value is not listed; without it such a value stands for itself.
    default: Option<String>,
}

/// Where it happened.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    column: Option<String>,
    /// Value → channel.
    #[serde(default)]
    values: BTreeMap<String, String>,
    default: Option<String>,
}

/// An identifier's column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    column: String,
    kind: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    verified: bool,
}

/// An attribute's column: a name alone, or with a type.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// A string column.
    Plain(String),
    /// A column and how to read it.
    Typed {
        /// The column.
        column: String,
        /// `string`, `long`, `double` or `boolean`.
        #[serde(rename = "type")]
        kind: ColumnType,
    },
}

/// How to read a column.
#[derive(Debug, Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ColumnType {
    String,
    Long,
    Double,
    Boolean,
}

impl Mapping {
    /// Reads a mapping.
    ///
    /// # Errors
    /// A message with line and column where TOML, a key or a value is not understood.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let mapping: Self = toml::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        if mapping.version != 1 {
            return Err(format!(
                "{file}: unknown mapping version: found={} known=1",
                mapping.version
            ));
        }
        if mapping.identifiers.is_empty() {
            return Err(format!("{file}: at least one identifier is needed: key=identifiers"));
        }
        for who in &mapping.identifiers {
            if IdentifierKind::parse(&who.kind).is_none() {
                return Err(format!("{file}: unknown identifier kind: found={}", who.kind));
            }
        }
        for channel in mapping.channel.values.values().chain(&mapping.channel.default) {
            if Channel::parse(channel).is_none() {
                return Err(format!("{file}: unknown channel: found={channel}"));
            }
        }
        for kind in mapping.kind.values.values().chain(&mapping.kind.default) {
            if !vocabulary::is_type(kind) {
                return Err(format!(
                    "{file}: a type is object.verb in lower snake case: found={kind}"
                ));
            }
        }
        if mapping.delimiter.is_some_and(|delimiter| !delimiter.is_ascii()) {
            return Err(format!("{file}: delimiter must be one ASCII character"));
        }
        TimeZone::get(&mapping.time.zone).map_err(|error| format!("{file}: unknown zone: {error}"))?;
        Ok(mapping)
    }

    /// How a file of this mapping is written, as far as its name does not tell.
    ///
    /// # Errors
    /// A message if neither tells the format.
    pub fn layout(&self, events: &Path) -> Result<Layout<'_>, String> {
        let told = Layout::of(events);
        let format = self.format.or(told.map(|told| told.format)).ok_or_else(|| {
            format!(
                "{}: format is not told by the name: set format in the mapping, csv or jsonl",
                events.display()
            )
        })?;
        let usual = told.map_or(b',', |told| told.delimiter);
        Ok(Layout {
            format,
            delimiter: self.delimiter.and_then(|one| u8::try_from(one).ok()).unwrap_or(usual),
            encoding: self.encoding,
            header: &self.header,
            needed: &[],
        })
    }

    /// Every column that is named must be in a CSV.
    ///
    /// # Errors
    /// A message that names the first that is not, with the nearest that is.
    pub fn check_columns(&self, row: &Row) -> Result<(), Refused> {
        let id = match &self.id {
            Id::Column { column } => Some(column),
            Id::Hash { .. } => None,
        };
        let attributes = self.attributes.values().map(|column| match column {
            Column::Plain(column) | Column::Typed { column, .. } => column,
        });
        let optional = [
            id,
            self.kind.column.as_ref(),
            self.channel.column.as_ref(),
            self.session.as_ref(),
            self.conversation.as_ref(),
            self.text.as_ref(),
        ];
        let named = self
            .time
            .column
            .names()
            .iter()
            .chain(optional.into_iter().flatten())
            .chain(self.identifiers.iter().map(|who| &who.column))
            .chain(attributes);
        for column in named {
            if !row.has(column) {
                let columns: Vec<&str> = row.columns().iter().map(String::as_str).collect();
                let hint = pattern::nearest(column, columns.iter().copied());
                let hint = hint.map_or_else(String::new, |nearest| format!(" nearest={nearest}"));
                return Err(Refused::from(format!(
                    "no such column: found={column}{hint} columns={}",
                    columns.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Makes the event of a row.
    ///
    /// # Errors
    /// A message that names the column at fault; the caller adds file and line.
    pub fn event(&self, row: &Row) -> Result<Event, Refused> {
        let need = |column: &str| {
            row.get(column)
                .filter(|cell| !cell.is_empty())
                .ok_or_else(|| Refused::at(column, format!("no value: column={column}")))
        };
        let optional = |column: &Option<String>| {
            column
                .as_deref()
                .and_then(|name| row.get(name))
                .filter(|cell| !cell.is_empty())
        };
        let mut attributes = Attributes::new();
        for (name, column) in &self.attributes {
            if let Some(value) = column.read(row)? {
                attributes.insert(name.clone(), value);
            }
        }
        let identifiers: Vec<Identifier> = self
            .identifiers
            .iter()
            .filter_map(|who| {
                let value = row.get(&who.column).filter(|cell| !cell.is_empty())?;
                let kind = IdentifierKind::parse(&who.kind)?;
                Some(Identifier {
                    kind,
                    value,
                    namespace: who.namespace.clone(),
                    verified: who.verified,
                })
            })
            .collect();
        Ok(Event {
            id: match &self.id {
                Id::Column { column } => need(column)?,
                Id::Hash { hash: HashOf::Row } => row.hash(),
            },
            source: self.source.clone(),
            kind: self.kind.of(row)?,
            time: self.time.of(row)?,
            tenant: self.tenant.clone(),
            channel: self.channel.of(row)?,
            identifiers,
            session: optional(&self.session),
            conversation: optional(&self.conversation),
            text: optional(&self.text).map(|body| event::Text {
                body,
                role: event::Role::Customer,
                modality: event::Modality::Text,
                ..event::Text::default()
            }),
            attributes,
            ..Event::default()
        })
    }
}

impl Time {
    fn of(&self, row: &Row) -> Result<Millis, Refused> {
        let mut cells = Vec::new();
        for column in self.column.names() {
            cells.push(
                row.get(column)
                    .ok_or_else(|| Refused::at(column, format!("no value: column={column}")))?,
            );
        }
        let cell = cells.join(" ");
        let column = self.column.names().join("+");
        let first = self.column.names().first().cloned().unwrap_or_default();
        let wrong = |error: &dyn std::fmt::Display| {
            Refused::at(&first, format!("time cannot be read: column={column} {error}"))
        };
        let number = || cell.parse::<f64>().map_err(|error| wrong(&error));
        #[expect(clippy::cast_possible_truncation, reason = "a saturated time is refused by intake")]
        match self.format.as_str() {
            "epoch_ms" => Ok(Millis(number()? as i64)),
            "epoch_s" => Ok(Millis((number()? * 1000.0).round() as i64)),
            "rfc3339" => Millis::parse(&cell).ok_or_else(|| wrong(&format!("found={cell} expected=RFC 3339"))),
            format => {
                let broken = jiff::fmt::strtime::parse(format, &cell).map_err(|error| wrong(&error))?;
                if let Some(offset) = broken.offset() {
                    if offset.seconds().abs() >= 86_400 {
                        return Err(wrong(&format!("found={cell} offset={offset}")));
                    }
                    let time = broken.to_timestamp().map_err(|error| wrong(&error))?;
                    return Ok(Millis(time.as_millisecond()));
                }
                let civil: civil::DateTime = broken
                    .to_datetime()
                    .or_else(|_| broken.to_date().map(|date| date.to_datetime(civil::Time::midnight())))
                    .map_err(|error| wrong(&error))?;
                let zone = TimeZone::get(&self.zone).map_err(|error| wrong(&error))?;
                let time = zone.to_timestamp(civil).map_err(|error| wrong(&error))?;
                Ok(Millis(time.as_millisecond()))
            }
        }
    }
}

impl Kind {
    fn of(&self, row: &Row) -> Result<String, Refused> {
        let Some(column) = &self.column else {
            return self
                .default
                .clone()
                .ok_or_else(|| "type needs a column or a default".to_owned().into());
        };
        let cell = row
            .get(column)
            .ok_or_else(|| Refused::at(column, format!("no value: column={column}")))?;
        if let Some(known) = self.values.get(&cell).or(self.default.as_ref()) {
            return Ok(known.clone());
        }
        if vocabulary::is_type(&cell) {
            return Ok(cell);
        }
        Err(Refused::at(
            column,
            format!(
                "value is no type: column={column} found={cell}; give it one under [type.values], as {cell:?} = \"product.viewed\", or a default"
            ),
        ))
    }
}

impl Place {
    fn of(&self, row: &Row) -> Result<Channel, Refused> {
        let cell = self.column.as_ref().and_then(|column| row.get(column));
        let named = match cell {
            Some(cell) => self
                .values
                .get(&cell)
                .or(self.default.as_ref())
                .cloned()
                .unwrap_or(cell),
            None => self
                .default
                .clone()
                .ok_or_else(|| "channel needs a column or a default".to_owned())?,
        };
        Channel::parse(&named).ok_or_else(|| Refused {
            column: self.column.clone(),
            ..Refused::from(format!("unknown channel: found={named}"))
        })
    }
}

impl Column {
    fn read(&self, row: &Row) -> Result<Option<Attribute>, Refused> {
        let (column, kind) = match self {
            Self::Plain(column) => (column, ColumnType::String),
            Self::Typed { column, kind } => (column, *kind),
        };
        let Some(cell) = row.get(column).filter(|cell| !cell.is_empty()) else {
            return Ok(None);
        };
        let wrong = || Refused::at(column, format!("value cannot be read: column={column}"));
        Ok(Some(match kind {
            ColumnType::String => Attribute::Text(cell),
            ColumnType::Long => Attribute::Long(cell.parse().map_err(|_| wrong())?),
            ColumnType::Double => Attribute::Double(cell.parse().map_err(|_| wrong())?),
            ColumnType::Boolean => match cell.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "1" => Attribute::Bool(true),
                "false" | "f" | "no" | "0" => Attribute::Bool(false),
                _ => return Err(wrong()),
            },
        }))
    }
}
