//! CloudEvents 1.0: <https://github.com/cloudevents/spec>, with the Kafka protocol binding.

use serde_json::{Map, Value, json};

use super::{Body, Raw, Reading, converted, flatten};
use crate::{Refusal, json::object};

/// Members of the data that are the event's own; all others are attributes.
const OWN: [&str; 5] = ["attributes", "identifiers", "items", "text", "consent"];

fn invalid(field: &str, what: &str) -> Refusal {
    Refusal::of_field("cloudevents_invalid", field, format!("{what}: field={field}"))
}

/// The event as one JSON object.
pub fn structured(root: &Map<String, Value>) -> Result<Reading, Refusal> {
    let text = |name: &str| root.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    if root.contains_key("data_base64") {
        return Err(invalid("data_base64", "binary data is not read, JSON is"));
    }
    let data = match root.get("data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data.clone(),
        // Some senders put JSON into a string.
        Some(Value::String(data)) => object(data.as_bytes())?,
        Some(_) => return Err(invalid("data", "an object is expected")),
    };
    event(&text, data)
}

/// The envelope in headers, the data as the value.
pub fn binary(raw: &Raw<'_>, body: Body) -> Result<Reading, Refusal> {
    let text = |name: &str| raw.header_text(&format!("ce_{name}")).map(ToOwned::to_owned);
    match body {
        Body::Json(data) => event(&text, data),
        // Our own record inside an envelope: the record says more, the envelope names it.
        Body::Event(mut reading) => {
            for (name, place) in [("id", &mut reading.event.id), ("source", &mut reading.event.source)] {
                *place = text(name).ok_or_else(|| invalid(name, "a context attribute is missing"))?;
            }
            Ok(*reading)
        }
    }
}

fn event(text: &dyn Fn(&str) -> Option<String>, mut data: Map<String, Value>) -> Result<Reading, Refusal> {
    let version = text("specversion").unwrap_or_default();
    if version != "1.0" {
        return Err(invalid("specversion", "only 1.0 is read"));
    }
    let mut root = Map::new();
    for name in ["id", "source", "type"] {
        let value = text(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| invalid(name, "a context attribute is missing"))?;
        root.insert(name.to_owned(), Value::String(value));
    }
    for (theirs, ours) in [
        ("time", "time"),
        ("recordedtime", "received"),
        ("correlationid", "correlation"),
        ("causationid", "causation"),
        ("tenantid", "tenant"),
        ("sessionid", "session"),
        ("conversationid", "conversation"),
        ("channel", "channel"),
    ] {
        if let Some(value) = text(theirs) {
            root.insert(ours.to_owned(), Value::String(value));
        }
    }
    if let Some(parent) = text("traceparent") {
        root.insert(
            "trace".to_owned(),
            json!({ "traceparent": parent, "tracestate": text("tracestate") }),
        );
    }
    let mut identifiers = match data.remove("identifiers") {
        Some(Value::Array(identifiers)) => identifiers,
        _ => Vec::new(),
    };
    if let Some(subject) = text("subject") {
        let kind = text("identitytype").unwrap_or_else(|| "customer".to_owned());
        identifiers.push(json!({ "kind": kind, "value": subject }));
    }
    root.insert("identifiers".to_owned(), Value::Array(identifiers));
    let mut attributes = match data.remove("attributes") {
        Some(Value::Object(attributes)) => attributes,
        _ => Map::new(),
    };
    for name in ["items", "consent"] {
        if let Some(value) = data.remove(name) {
            root.insert(name.to_owned(), value);
        }
    }
    match data.remove("text") {
        Some(Value::String(body)) => drop(root.insert("text".to_owned(), json!({ "body": body }))),
        Some(value) => drop(root.insert("text".to_owned(), value)),
        None => {}
    }
    flatten("", &data, 1, &OWN, &mut attributes);
    root.insert("attributes".to_owned(), Value::Object(attributes));
    converted(&root, false)
}
