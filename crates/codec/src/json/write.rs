//! Events to JSON: RFC 3339 times, money as text, nulls left out.

use event::{Attribute, Event, Millis, Product};
use serde_json::{Map, Value, json};

/// An event as canonical JSON. What intake alone sets (`sentiment`, `flags`, `payload`) is printed too, so that people see it.
#[must_use]
pub fn event_json(event: &Event) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            out.insert(key.to_owned(), value);
        }
    };
    put("id", event.id.as_str().into());
    put("source", event.source.as_str().into());
    put("type", event.kind.as_str().into());
    put("time", time(event.time).into());
    put("received", event.received.map(time).into());
    put("original_time", event.original_time.map(time).into());
    put("tenant", event.tenant.as_str().into());
    put("channel", event.channel.as_str().into());
    put("medium", event.medium.clone().into());
    let identifiers = event.identifiers.iter().map(|identifier| {
        let mut one = Map::new();
        one.insert("kind".to_owned(), identifier.kind.as_str().into());
        one.insert("value".to_owned(), identifier.value.as_str().into());
        if !identifier.namespace.is_empty() {
            one.insert("namespace".to_owned(), identifier.namespace.as_str().into());
        }
        one.insert("verified".to_owned(), identifier.verified.into());
        Value::Object(one)
    });
    put("identifiers", identifiers.collect());
    put("session", event.session.clone().into());
    put("conversation", event.conversation.clone().into());
    put("correlation", event.correlation.clone().into());
    put("causation", event.causation.clone().into());
    if !event.attributes.is_empty() {
        let attributes = event
            .attributes
            .iter()
            .map(|(key, value)| (key.clone(), attribute_json(value)));
        put("attributes", Value::Object(attributes.collect()));
    }
    if !event.items.is_empty() {
        put("items", event.items.iter().map(product).collect());
    }
    if let Some(text) = &event.text {
        put(
            "text",
            filled(json!({
                "body": text.body, "lang": text.lang, "role": text.role.as_str(), "modality": text.modality.as_str(),
                "asr_confidence": text.asr_confidence, "tone": text.tone, "truncated": text.truncated,
            })),
        );
    }
    if let Some(sentiment) = &event.sentiment {
        put(
            "sentiment",
            filled(json!({
                "label": sentiment.label.as_str(), "score": sentiment.score, "confidence": sentiment.confidence,
                "lang": sentiment.lang, "signals": sentiment.signals,
            })),
        );
    }
    if let Some(consent) = &event.consent {
        let purposes = consent
            .purposes
            .iter()
            .map(|(purpose, status)| (purpose.clone(), status.as_str().into()));
        put(
            "consent",
            filled(json!({
                "purposes": Value::Object(purposes.collect()), "captured": consent.captured.map(time),
                "reference": consent.reference,
            })),
        );
    }
    if let Some(trace) = &event.trace {
        put(
            "trace",
            filled(json!({ "traceparent": trace.traceparent, "tracestate": trace.tracestate })),
        );
    }
    if !event.flags.is_empty() {
        put("flags", event.flags.clone().into());
    }
    put("payload_bytes", event.payload.as_ref().map(Vec::len).into());
    Value::Object(out)
}

/// RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn time(at: Millis) -> String {
    let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    epoch
        .checked_add(jiff::SignedDuration::from_millis(at.0))
        .map_or_else(|_| at.to_string(), |civil| format!("{civil:.3}Z"))
}

/// An attribute as JSON has it.
#[must_use]
pub fn attribute_json(value: &Attribute) -> Value {
    match value {
        Attribute::Null => Value::Null,
        Attribute::Bool(value) => (*value).into(),
        Attribute::Long(value) => (*value).into(),
        Attribute::Double(value) => (*value).into(),
        Attribute::Text(text) => text.as_str().into(),
        Attribute::List(list) => list.clone().into(),
    }
}

fn product(product: &Product) -> Value {
    filled(json!({
        "product_id": product.product_id, "sku": product.sku, "name": product.name, "variant": product.variant,
        "category": product.category, "brand": product.brand, "price": product.price.map(|price| price.to_string()),
        "currency": product.currency, "quantity": product.quantity, "coupon": product.coupon, "url": product.url,
    }))
}

fn filled(value: Value) -> Value {
    match value {
        Value::Object(entries) => Value::Object(entries.into_iter().filter(|(_, value)| !value.is_null()).collect()),
        other => other,
    }
}
