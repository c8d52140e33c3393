//! Everything that a raw topic accepts, told apart by headers and first bytes, as canonical events.
//!
//! Canonical JSON and Avro, CloudEvents 1.0 (binary and structured), calls of Segment and RudderStack, and Avro under the schemas
//! of a registry in Confluent's framings. Any Avro record but our own is read as the same JSON would be.

mod cloudevents;
mod foreign;
mod segment;

use std::{collections::BTreeMap, sync::Arc};

use event::{Event, Millis, flag};
use serde_json::{Map, Value};

pub use foreign::WriterSchema;

use crate::{
    Header, MAX_VALUE, Refusal,
    avro::{decode_datum, decode_event},
    json::{NO_TIME, event_of, object},
};

/// A record of a raw topic.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// Its value.
    pub value: &'a [u8],
    /// Its headers.
    pub headers: &'a [Header],
    /// When the broker took it.
    pub arrived: Millis,
}

impl<'a> Raw<'a> {
    /// A header's value, by its name in any case.
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_deref())
    }

    fn header_text(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// How a registry names a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaId {
    /// Byte 0, then four bytes before the value.
    Number(u32),
    /// In the header `__value_schema_id`.
    Guid([u8; 16]),
}

impl std::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Guid(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// The schemas of a registry, as far as they have been fetched.
pub trait Schemas {
    /// A schema; the message says why there is none.
    ///
    /// # Errors
    /// A message for the dead letter.
    fn get(&self, id: SchemaId) -> Result<Arc<WriterSchema>, String>;
}

/// No registry.
pub struct NoRegistry;

impl Schemas for NoRegistry {
    fn get(&self, _: SchemaId) -> Result<Arc<WriterSchema>, String> {
        Err("no registry is configured: registry.url".to_owned())
    }
}

/// What a deployment calls things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Names of foreign types in the vocabulary.
    pub types: BTreeMap<String, String>,
    /// Categories of a consent platform, as the purposes they stand for.
    pub consent_categories: BTreeMap<String, String>,
}

/// An event of a raw record.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The event; its `time` means nothing where `has_time` is false.
    pub event: Event,
    /// Whether the sender gave a time.
    pub has_time: bool,
}

/// The first byte of Avro single-object encoding.
const SINGLE_OBJECT: u8 = 0xc3;
const SCHEMA_HEADER: &str = "__value_schema_id";

/// The schema that must be fetched before the record can be read, and the value behind its framing.
#[must_use]
pub fn schema_of<'a>(raw: &Raw<'a>) -> Option<(SchemaId, &'a [u8])> {
    if let Some(header) = raw.header(SCHEMA_HEADER) {
        // Confluent writes a version byte before the GUID.
        let guid = header
            .strip_prefix(&[1])
            .filter(|rest| rest.len() == 16)
            .unwrap_or(header);
        return Some((SchemaId::Guid(guid.try_into().ok()?), raw.value));
    }
    match raw.value {
        [0, a, b, c, d, rest @ ..] => Some((SchemaId::Number(u32::from_be_bytes([*a, *b, *c, *d])), rest)),
        _ => None,
    }
}

/// Reads a raw record. One of several events is read or refused whole.
///
/// # Errors
/// A [`Refusal`] of the stage `decode`.
pub fn read_raw(raw: &Raw<'_>, terms: &Terms, schemas: &dyn Schemas) -> Result<Vec<Reading>, Refusal> {
    let mut readings = if let Some(content) = raw.header_text("content-type")
        && content.starts_with("application/cloudevents")
    {
        vec![cloudevents::structured(&object(raw.value)?)?]
    } else if raw.header("ce_specversion").is_some() {
        vec![cloudevents::binary(raw, body(raw, schemas)?)?]
    } else {
        match body(raw, schemas)? {
            Body::Event(event) => vec![*event],
            Body::Json(root) => by_members(&root, terms, raw.arrived)?,
        }
    };
    for Reading { event, .. } in &mut readings {
        if let Some(known) = terms.types.get(&event.kind) {
            event.kind.clone_from(known);
        }
    }
    Ok(readings)
}

/// A value without its framing.
enum Body {
    Event(Box<Reading>),
    Json(Map<String, Value>),
}

fn body(raw: &Raw<'_>, schemas: &dyn Schemas) -> Result<Body, Refusal> {
    let own = |event: Event| Body::Event(Box::new(canonical(event)));
    if raw.value.len() > MAX_VALUE {
        let message = format!("value is too large: bytes={} limit={MAX_VALUE}", raw.value.len());
        return Err(Refusal::new("too_large", message));
    }
    if let Some((id, datum)) = schema_of(raw) {
        let schema = schemas.get(id).map_err(|why| {
            let mut refusal = Refusal::new("schema_unknown", why);
            refusal.schema = Some(id.to_string());
            refusal
        })?;
        return match &*schema {
            WriterSchema::Event => Ok(own(decode_datum(datum)?)),
            WriterSchema::Json => object(datum).map(Body::Json),
            WriterSchema::Avro(schema) => foreign::read(schema, datum).map(Body::Json),
        };
    }
    if raw.value.first() == Some(&SINGLE_OBJECT) {
        return decode_event(raw.value).map(own);
    }
    match raw.value.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | 0xef) | None => object(raw.value).map(Body::Json),
        Some(_) => Err(Refusal::new("format_unknown", "neither JSON nor Avro")),
    }
}

/// What intake alone may say is not taken from a producer.
fn canonical(mut event: Event) -> Reading {
    event.flags.clear();
    let has_time = event.time != NO_TIME;
    Reading { event, has_time }
}

fn by_members(root: &Map<String, Value>, terms: &Terms, arrived: Millis) -> Result<Vec<Reading>, Refusal> {
    if root.contains_key("specversion") {
        return Ok(vec![cloudevents::structured(root)?]);
    }
    if let Some(Value::Array(calls)) = root.get("batch") {
        let one = |(index, call): (usize, &Value)| {
            let call = call.as_object().ok_or_else(|| {
                let field = format!("batch[{index}]");
                let message = format!("wrong type: field={field} expected=object");
                Refusal::of_field("adapter_failed", &field, message)
            })?;
            segment::read(call, root, terms, arrived)
        };
        return calls.iter().enumerate().map(one).collect();
    }
    if root.get("type").and_then(Value::as_str).is_some_and(segment::is_call) {
        return Ok(vec![segment::read(root, root, terms, arrived)?]);
    }
    let reading = canonical(event_of(root)?);
    if !reading.has_time {
        let message = "a field is missing: field=time";
        return Err(Refusal::of_field("field_missing", "time", message));
    }
    Ok(vec![reading])
}

/// Members as attributes: objects are joined by `_` to a depth of three, what no attribute can be becomes its JSON text.
fn flatten(prefix: &str, members: &Map<String, Value>, depth: usize, skip: &[&str], into: &mut Map<String, Value>) {
    for (name, value) in members.iter().filter(|(name, _)| !skip.contains(&name.as_str())) {
        let name = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}_{name}")
        };
        match value {
            Value::Object(inner) if depth < 3 => flatten(&name, inner, depth + 1, &[], into),
            Value::Object(_) => drop(into.insert(name, Value::String(value.to_string()))),
            Value::Array(list) if !list.iter().all(Value::is_string) => {
                into.insert(name, Value::String(value.to_string()));
            }
            other => drop(into.insert(name, other.clone())),
        }
    }
}

/// Reads the members of a canonical event that a converter has put together.
fn converted(root: &Map<String, Value>, is_corrected: bool) -> Result<Reading, Refusal> {
    let mut reading = canonical(event_of(root)?);
    if is_corrected {
        reading.event.flags.push(flag::TIME_CORRECTED.to_owned());
    }
    Ok(reading)
}
