//! What an event's attributes say.

use event::{Attribute, Decimal, Event, Millis};

/// What a reader sees beside the type: a product, an amount, a step; never the customer's text.
pub(super) fn title(event: &Event) -> String {
    let attribute = |name: &str| match event.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text.clone()),
        _ => None,
    };
    if let (Some(value), currency) = (number(event, "value"), attribute("currency")) {
        return pattern::money(value, &currency.unwrap_or_default(), "en")
            .trim()
            .to_owned();
    }
    if let Some(item) = event.items.first() {
        return item.name.clone().unwrap_or_else(|| item.product_id.clone());
    }
    [
        "name",
        "product_id",
        "queue",
        "to_queue",
        "step",
        "reason",
        "error",
        "campaign",
        "topic",
        "page_type",
    ]
    .into_iter()
    .find_map(attribute)
    .unwrap_or_default()
}

pub(super) fn string<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    match event.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an amount for comparison and display")]
pub(super) fn number(event: &Event, name: &str) -> Option<f64> {
    match event.attributes.get(name) {
        Some(Attribute::Long(value)) => Some(*value as f64),
        Some(Attribute::Double(value)) => Some(*value),
        _ => None,
    }
}

pub(super) fn amount(event: &Event, name: &str) -> Option<Decimal> {
    number(event, name).and_then(Decimal::from_f64)
}

/// A time in an attribute: epoch milliseconds, or RFC 3339.
pub(super) fn moment(event: &Event, name: &str) -> Option<Millis> {
    match event.attributes.get(name)? {
        Attribute::Long(at) => Some(Millis(*at)),
        Attribute::Text(text) => Millis::parse(text),
        _ => None,
    }
}
