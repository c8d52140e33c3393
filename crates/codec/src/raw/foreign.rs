//! Avro under any other schema, as the same JSON would be.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Avro};
use serde_json::{Map, Number, Value};

use crate::{EVENT_FINGERPRINT, Refusal};

/// A schema of a registry.
#[derive(Debug, Clone, PartialEq)]
pub enum WriterSchema {
    /// `waymark.Event` as this program knows it.
    Event,
    /// Any other Avro schema.
    Avro(Box<Schema>),
    /// A JSON Schema: the value is JSON.
    Json,
}

impl WriterSchema {
    /// Reads a schema as a registry gives it; `kind` is AVRO or JSON, AVRO where the registry says nothing.
    ///
    /// # Errors
    /// A message for the dead letters of its records.
    pub fn parse(kind: Option<&str>, text: &str) -> Result<Self, String> {
        match kind.unwrap_or("AVRO") {
            "JSON" => Ok(Self::Json),
            "AVRO" => {
                let schema = Schema::parse_str(text).map_err(|error| format!("schema cannot be read: {error}"))?;
                let fingerprint = schema.fingerprint::<apache_avro::rabin::Rabin>();
                if fingerprint.bytes == EVENT_FINGERPRINT.to_le_bytes() {
                    return Ok(Self::Event);
                }
                Ok(Self::Avro(Box::new(schema)))
            }
            other => Err(format!("schema type is not read: found={other} known=AVRO, JSON")),
        }
    }
}

/// Reads a value under its writer's schema.
pub fn read(schema: &Schema, mut datum: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let refused = |message: String| {
        let mut refusal = Refusal::new("avro_malformed", message);
        refusal.schema = schema.name().map(ToString::to_string);
        refusal
    };
    let all = datum.len();
    let reader = GenericDatumReader::builder(schema)
        .build()
        .map_err(|error| refused(format!("schema cannot be used: {error}")))?;
    let value = reader.read_value(&mut datum).map_err(|_| {
        let read = all - datum.len();
        refused(format!("value does not fit its schema: offset={read}"))
    })?;
    if !datum.is_empty() {
        return Err(refused(format!(
            "bytes are left behind the value: offset={}",
            all - datum.len()
        )));
    }
    match json(value) {
        Value::Object(members) => Ok(members),
        _ => Err(Refusal::new("adapter_failed", "the Avro value is no record")),
    }
}

fn json(value: Avro) -> Value {
    let double = |value: f64| Number::from_f64(value).map_or(Value::Null, Value::Number);
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(value) => Value::Bool(value),
        Avro::Int(value) | Avro::Date(value) | Avro::TimeMillis(value) => value.into(),
        Avro::Long(value)
        | Avro::TimeMicros(value)
        | Avro::TimestampMillis(value)
        | Avro::LocalTimestampMillis(value) => value.into(),
        // Our times are milliseconds.
        Avro::TimestampMicros(value) | Avro::LocalTimestampMicros(value) => value.div_euclid(1000).into(),
        Avro::TimestampNanos(value) | Avro::LocalTimestampNanos(value) => value.div_euclid(1_000_000).into(),
        Avro::Float(value) => double(value.into()),
        Avro::Double(value) => double(value),
        Avro::String(text) | Avro::Enum(_, text) => Value::String(text),
        Avro::Uuid(uuid) => Value::String(uuid.to_string()),
        Avro::Union(_, inner) => json(*inner),
        Avro::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        Avro::Map(members) => {
            let mut members: Vec<(String, Avro)> = members.into_iter().collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(members.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
        Avro::Record(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, json(value))).collect()),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
        other => Value::String(format!("{other:?}")),
    }
}
