//! Canonical JSON to an event. Missing optional fields take their defaults; members that the contract does not know are left
//! aside, as an older reader leaves aside a newer field.

use event::{
    Attribute, Channel, Consent, ConsentStatus, Decimal, Event, Identifier, IdentifierKind, Millis, Modality, Product,
    Role, Text, Trace,
};
use serde_json::{Map, Value};

use crate::{MAX_VALUE, Refusal};

const MAX_DEPTH: usize = 16;

/// Reads one canonical event. `sentiment`, `flags` and `payload` are intake's own: a producer's are discarded.
///
/// # Errors
/// `empty`, `too_large`, `too_deep`, `not_utf8`, `json_malformed` with line and column, `field_missing`, `field_invalid` or
/// `time_invalid` with the field.
pub fn read_event(value: &[u8]) -> Result<Event, Refusal> {
    let event = event_of(&object(value)?)?;
    if event.time == NO_TIME {
        return Err(missing("time"));
    }
    Ok(event)
}

/// Stands for a time that the sender left out.
pub(crate) const NO_TIME: Millis = Millis::MIN;

/// Reads one JSON object.
///
/// # Errors
/// `empty`, `too_large`, `too_deep`, `not_utf8`, `json_malformed` with line and column, or `format_unknown`.
pub(crate) fn object(value: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if value.is_empty() {
        return Err(Refusal::new("empty", "the record has no value"));
    }
    if value.len() > MAX_VALUE {
        return Err(Refusal::new(
            "too_large",
            format!("value is too large: bytes={} limit={MAX_VALUE}", value.len()),
        ));
    }
    let text = std::str::from_utf8(value)
        .map_err(|error| Refusal::new("not_utf8", format!("not UTF-8: offset={}", error.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if deeper_than(text, MAX_DEPTH) {
        return Err(Refusal::new(
            "too_deep",
            format!("nested too deeply: limit={MAX_DEPTH}"),
        ));
    }
    let root: Value = serde_json::from_str(text).map_err(|error| {
        let message = format!("not JSON: line={} column={}", error.line(), error.column());
        Refusal::new("json_malformed", message)
    })?;
    match root {
        Value::Object(root) => Ok(root),
        _ => Err(Refusal::new("format_unknown", "not a JSON object")),
    }
}

/// Reads the members of a canonical event; [`NO_TIME`] where there is none.
pub(crate) fn event_of(root: &Map<String, Value>) -> Result<Event, Refusal> {
    let at = At { path: "", map: root };
    let (mut identifiers, mut items) = (Vec::new(), Vec::new());
    for one in at.maps("identifiers")? {
        identifiers.push(Identifier {
            kind: one
                .text("kind")?
                .and_then(|kind| IdentifierKind::parse(&kind))
                .unwrap_or_default(),
            value: one.needed("value")?,
            namespace: one.text("namespace")?.unwrap_or_default(),
            verified: one.bool("verified")?.unwrap_or(false),
        });
    }
    for one in at.maps("items")? {
        items.push(product(&one)?);
    }
    Ok(Event {
        id: at.needed("id")?,
        source: at.needed("source")?,
        kind: at.needed("type")?,
        time: at.time("time")?.unwrap_or(NO_TIME),
        received: at.time("received")?,
        original_time: None,
        tenant: at.text("tenant")?.unwrap_or_default(),
        channel: at
            .text("channel")?
            .and_then(|channel| Channel::parse(&channel))
            .unwrap_or_default(),
        medium: at.text("medium")?,
        identifiers,
        session: at.text("session")?,
        conversation: at.text("conversation")?,
        correlation: at.text("correlation")?,
        causation: at.text("causation")?,
        attributes: attributes(&at)?,
        items,
        text: at.map("text")?.map(|one| spoken(&one)).transpose()?,
        sentiment: None,
        consent: at.map("consent")?.map(|one| consent(&one)).transpose()?,
        trace: match at.map("trace")? {
            Some(one) => Some(Trace {
                traceparent: one.needed("traceparent")?,
                tracestate: one.text("tracestate")?,
            }),
            None => None,
        },
        flags: Vec::new(),
        payload: None,
    })
}

/// Whether brackets nest deeper than `limit`, strings aside. Cheaper than a tree, and safe before one is built.
fn deeper_than(text: &str, limit: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn missing(field: &str) -> Refusal {
    Refusal::of_field("field_missing", field, format!("a field is missing: field={field}"))
}

/// An object and where it stands.
struct At<'a> {
    path: &'a str,
    map: &'a Map<String, Value>,
}

struct Inner<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl Inner<'_> {
    fn at(&self) -> At<'_> {
        At {
            path: &self.path,
            map: self.map,
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        self.at().text(key)
    }

    fn needed(&self, key: &str) -> Result<String, Refusal> {
        self.at().needed(key)
    }

    fn bool(&self, key: &str) -> Result<Option<bool>, Refusal> {
        self.at().bool(key)
    }

    fn double(&self, key: &str) -> Result<Option<f64>, Refusal> {
        self.at().double(key)
    }
}

impl<'a> At<'a> {
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, wanted: &str) -> Refusal {
        let field = self.name(key);
        Refusal::of_field(
            "field_invalid",
            &field,
            format!("wrong type: field={field} expected={wanted}"),
        )
    }

    fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "string")),
        }
    }

    fn needed(&self, key: &str) -> Result<String, Refusal> {
        self.text(key)?.ok_or_else(|| missing(&self.name(key)))
    }

    fn bool(&self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(key, "boolean")),
        }
    }

    fn double(&self, key: &str) -> Result<Option<f64>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "number")),
        }
    }

    /// RFC 3339, or epoch milliseconds.
    fn time(&self, key: &str) -> Result<Option<Millis>, Refusal> {
        let found = match self.get(key) {
            None => return Ok(None),
            Some(Value::String(text)) => Millis::parse(text),
            Some(value) => value.as_i64().map(Millis),
        };
        let field = self.name(key);
        let invalid = || {
            Refusal::of_field(
                "time_invalid",
                &field,
                format!("time cannot be read: field={field} expected=RFC 3339"),
            )
        };
        found.map(Some).ok_or_else(invalid)
    }

    fn map(&self, key: &str) -> Result<Option<Inner<'a>>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Inner {
                path: self.name(key),
                map,
            })),
            Some(_) => Err(self.wrong(key, "object")),
        }
    }

    fn maps(&self, key: &str) -> Result<Vec<Inner<'a>>, Refusal> {
        let list = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.wrong(key, "array of objects")),
        };
        let one = |(index, value): (usize, &'a Value)| match value {
            Value::Object(map) => Ok(Inner {
                path: format!("{}[{index}]", self.name(key)),
                map,
            }),
            _ => Err(self.wrong(key, "array of objects")),
        };
        list.iter().enumerate().map(one).collect()
    }
}

fn attributes(at: &At<'_>) -> Result<event::Attributes, Refusal> {
    let mut attributes = event::Attributes::new();
    let Some(found) = at.map("attributes")? else {
        return Ok(attributes);
    };
    for (key, value) in found.map {
        let read = match value {
            Value::Null => Some(Attribute::Null),
            Value::Bool(value) => Some(Attribute::Bool(*value)),
            Value::Number(number) => number
                .as_i64()
                .map(Attribute::Long)
                .or_else(|| number.as_f64().map(Attribute::Double)),
            Value::String(text) => Some(Attribute::Text(text.clone())),
            Value::Array(list) => {
                let texts: Option<Vec<String>> = list.iter().map(|item| item.as_str().map(ToOwned::to_owned)).collect();
                texts.map(Attribute::List)
            }
            Value::Object(_) => None,
        };
        let read = read.ok_or_else(|| {
            found
                .at()
                .wrong(key, "null, boolean, number, string or array of strings")
        })?;
        attributes.insert(key.clone(), read);
    }
    Ok(attributes)
}

fn product(one: &Inner<'_>) -> Result<Product, Refusal> {
    let price = match one.at().get("price") {
        None => None,
        Some(Value::String(text)) => Some(Decimal::parse(text)),
        Some(Value::Number(number)) => {
            Some(Decimal::parse(&number.to_string()).or_else(|| number.as_f64().and_then(Decimal::from_f64)))
        }
        Some(_) => Some(None),
    };
    Ok(Product {
        product_id: one.needed("product_id")?,
        sku: one.text("sku")?,
        name: one.text("name")?,
        variant: one.text("variant")?,
        category: one.text("category")?,
        brand: one.text("brand")?,
        price: price
            .map(|price| price.ok_or_else(|| one.at().wrong("price", "decimal")))
            .transpose()?,
        currency: one.text("currency")?,
        quantity: one.double("quantity")?.unwrap_or(1.0),
        coupon: one.text("coupon")?,
        url: one.text("url")?,
    })
}

fn spoken(one: &Inner<'_>) -> Result<Text, Refusal> {
    Ok(Text {
        body: one.text("body")?.unwrap_or_default(),
        lang: one.text("lang")?,
        role: one
            .text("role")?
            .and_then(|role| Role::parse(&role))
            .unwrap_or_default(),
        modality: match one.text("modality")? {
            Some(modality) => Modality::parse(&modality).unwrap_or_default(),
            None => Modality::Text,
        },
        asr_confidence: one.double("asr_confidence")?,
        tone: one.double("tone")?,
        truncated: one.bool("truncated")?.unwrap_or(false),
    })
}

fn consent(one: &Inner<'_>) -> Result<Consent, Refusal> {
    let mut consent = Consent {
        captured: one.at().time("captured")?,
        reference: one.text("reference")?,
        ..Consent::default()
    };
    if let Some(purposes) = one.at().map("purposes")? {
        for purpose in purposes.map.keys() {
            let status = purposes
                .text(purpose)?
                .and_then(|status| ConsentStatus::parse(&status))
                .unwrap_or_default();
            consent.purposes.insert(purpose.clone(), status);
        }
    }
    Ok(consent)
}
