//! Calls of Segment's specification, which RudderStack shares: <https://segment.com/docs/connections/spec/>.

use event::Millis;
use serde_json::{Map, Value, json};

use super::{Reading, Terms, converted, flatten};
use crate::Refusal;

const CALLS: [&str; 6] = ["track", "page", "screen", "identify", "alias", "group"];

/// Names of Segment whose canonical type does not follow from their words.
const TYPES: [(&str, &str); 12] = [
    ("Product Added", "cart.product_added"),
    ("Product Removed", "cart.product_removed"),
    ("Payment Info Entered", "payment.entered"),
    ("Application Opened", "app.opened"),
    ("Application Crashed", "app.crashed"),
    ("Push Notification Received", "push.received"),
    ("Push Notification Tapped", "push.tapped"),
    ("Live Chat Conversation Started", "conversation.started"),
    ("Live Chat Conversation Ended", "conversation.ended"),
    // Their direction is the customer's, ours is the company's.
    ("Live Chat Message Sent", "message.received"),
    ("Live Chat Message Received", "message.sent"),
    ("Product Reviewed", "review.posted"),
];

/// Whether a member `type` is that of a call.
pub fn is_call(kind: &str) -> bool {
    CALLS.contains(&kind)
}

/// Product fields that stand beside others in the properties of one product's call.
const PRODUCT: [&str; 9] = [
    "product_id",
    "sku",
    "name",
    "variant",
    "category",
    "brand",
    "price",
    "quantity",
    "coupon",
];

struct Call<'a> {
    call: &'a Map<String, Value>,
    /// The call, or the batch around it, where some members stand once for all.
    around: &'a Map<String, Value>,
}

impl<'a> Call<'a> {
    fn get(&self, path: &str) -> Option<&'a Value> {
        let find = |root: &'a Map<String, Value>| {
            let mut parts = path.split('.');
            let mut value = root.get(parts.next()?)?;
            for part in parts {
                value = value.get(part)?;
            }
            Some(value)
        };
        find(self.call)
            .or_else(|| find(self.around))
            .filter(|value| !value.is_null())
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.get(path)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn map(&self, path: &str) -> Option<&'a Map<String, Value>> {
        self.get(path)?.as_object()
    }

    fn millis(&self, path: &str) -> Option<i64> {
        match self.get(path)? {
            Value::String(text) => Millis::parse(text).map(|at| at.0),
            value => value.as_i64(),
        }
    }
}

/// Reads one call; `around` is the batch it stands in, or the call itself.
pub fn read(
    call: &Map<String, Value>,
    around: &Map<String, Value>,
    terms: &Terms,
    arrived: Millis,
) -> Result<Reading, Refusal> {
    let call = Call { call, around };
    let method = call.call.get("type").and_then(Value::as_str).unwrap_or_default();
    let mut root = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            root.insert(name.to_owned(), value);
        }
    };
    put("id", Some(Value::String(call.text("messageId").unwrap_or_default())));
    let library = call
        .text("context.library.name")
        .unwrap_or_else(|| "unknown".to_owned());
    put("source", Some(Value::String(format!("segment/{library}"))));
    put("type", Some(Value::String(kind(&call, method)?)));
    let (time, is_corrected) = time(&call, arrived);
    put("time", time.map(Into::into));
    put("received", call.get("receivedAt").cloned());
    put("session", call.text("context.sessionId").map(Value::String));
    let channel = match call.text("channel").as_deref() {
        Some("browser" | "web") => Some("web"),
        Some("mobile") => Some("mobile"),
        _ => None,
    };
    put("channel", channel.map(Into::into));
    put("consent", consent(&call, terms));
    put("identifiers", Some(Value::Array(identifiers(&call, method))));
    let properties = if matches!(method, "identify" | "group") {
        "traits"
    } else {
        "properties"
    };
    let properties = call.map(properties).cloned().unwrap_or_default();
    let items = items(&properties);
    put("items", (!items.is_empty()).then_some(Value::Array(items)));
    put(
        "attributes",
        Some(Value::Object(attributes(&call, method, &properties))),
    );
    if let Some(body) = properties
        .get("message_body")
        .or_else(|| properties.get("message"))
        .and_then(Value::as_str)
        && call
            .text("event")
            .is_some_and(|name| name.starts_with("Live Chat Message"))
    {
        let role = if call.text("event").is_some_and(|name| name.ends_with("Sent")) {
            "customer"
        } else {
            "agent"
        };
        put("text", Some(json!({ "body": body, "role": role })));
    }
    let conversation = properties.get("conversation_id").and_then(Value::as_str);
    put("conversation", conversation.map(Into::into));
    converted(&root, is_corrected)
}

fn kind(call: &Call<'_>, method: &str) -> Result<String, Refusal> {
    let kind = match method {
        "page" => "page.viewed",
        "screen" => "screen.viewed",
        "identify" | "alias" => "identity.linked",
        "group" => "group.joined",
        "track" => {
            let Some(name) = call.text("event") else {
                let message = "a field is missing: field=event";
                return Err(Refusal::of_field("adapter_failed", "event", message));
            };
            let listed = TYPES.iter().find(|(known, _)| *known == name);
            return Ok(listed.map_or_else(|| by_words(&name), |(_, kind)| (*kind).to_owned()));
        }
        other => {
            let message = format!("unknown call: field=type found={other} known={}", CALLS.join(", "));
            return Err(Refusal::of_field("adapter_failed", "type", message));
        }
    };
    Ok(kind.to_owned())
}

/// First word, dot, the rest: *Gift Card Redeemed* is `gift.card_redeemed`. A single word was merely tracked.
fn by_words(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut was_small = false;
    for letter in name.chars() {
        if !letter.is_ascii_alphanumeric() || (letter.is_ascii_uppercase() && was_small) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if letter.is_ascii_alphanumeric() {
            word.push(letter.to_ascii_lowercase());
        }
        was_small = letter.is_ascii_lowercase();
    }
    words.extend((!word.is_empty()).then_some(word));
    match words.split_first() {
        Some((first, [])) => format!("{first}.tracked"),
        Some((first, rest)) => format!("{first}.{}", rest.join("_")),
        None => String::new(),
    }
}

/// The sender's server has corrected `timestamp` where it gives `receivedAt` too; else the difference of `sentAt` and the
/// broker's time is the error of the sender's clock.
fn time(call: &Call<'_>, arrived: Millis) -> (Option<i64>, bool) {
    let timestamp = call.millis("timestamp");
    if timestamp.is_some() && call.get("receivedAt").is_some() {
        return (timestamp, false);
    }
    let original = call.millis("originalTimestamp").or(timestamp);
    match (call.millis("sentAt"), original) {
        (Some(sent), Some(original)) => (Some(arrived.0.saturating_sub(sent.saturating_sub(original))), true),
        (_, original) => (original, false),
    }
}

fn identifiers(call: &Call<'_>, method: &str) -> Vec<Value> {
    let mut found: Vec<(&str, String)> = Vec::new();
    let person = |value: String| {
        let kind = if is_address(&value) { "email" } else { "customer" };
        (kind, value)
    };
    found.extend(call.text("userId").map(person));
    if method == "alias" {
        let previous = call.text("previousId");
        found.extend(previous.map(|value| (if is_address(&value) { "email" } else { "device" }, value)));
    }
    for path in ["anonymousId", "context.device.id"] {
        found.extend(call.text(path).map(|value| ("device", value)));
    }
    for (kind, name) in [("email", "email"), ("phone", "phone")] {
        for place in ["traits", "context.traits", "properties"] {
            found.extend(call.text(&format!("{place}.{name}")).map(|value| (kind, value)));
        }
    }
    let mut identifiers: Vec<Value> = Vec::new();
    for (kind, value) in found {
        let identifier = json!({ "kind": kind, "value": value });
        if !identifiers.contains(&identifier) {
            identifiers.push(identifier);
        }
    }
    identifiers
}

/// What the sender's consent platform allows, in our purposes; categories that nobody named say nothing. Of two for one purpose the
/// stricter counts.
fn consent(call: &Call<'_>, terms: &Terms) -> Option<Value> {
    let mut purposes: Map<String, Value> = Map::new();
    for (category, allowed) in call.map("context.consent.categoryPreferences")? {
        let (Some(purpose), Some(allowed)) = (terms.consent_categories.get(category), allowed.as_bool()) else {
            continue;
        };
        if !allowed || !purposes.contains_key(purpose) {
            let status = if allowed { "granted" } else { "denied" };
            purposes.insert(purpose.clone(), status.into());
        }
    }
    (!purposes.is_empty()).then(|| json!({ "purposes": purposes }))
}

fn is_address(value: &str) -> bool {
    value
        .split_once('@')
        .is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'))
}

fn items(properties: &Map<String, Value>) -> Vec<Value> {
    let item = |fields: &Map<String, Value>| -> Option<Value> {
        let id = fields
            .get("product_id")
            .or_else(|| fields.get("sku"))
            .or_else(|| fields.get("id"))?;
        let mut item = Map::new();
        for name in PRODUCT.into_iter().chain(["currency", "url"]) {
            if let Some(value) = fields.get(name).filter(|value| !value.is_null()) {
                item.insert(name.to_owned(), plain(name, value)?);
            }
        }
        item.insert("product_id".to_owned(), plain("product_id", id)?);
        Some(Value::Object(item))
    };
    match properties.get("products") {
        Some(Value::Array(products)) => products.iter().filter_map(Value::as_object).filter_map(item).collect(),
        _ if properties.contains_key("product_id") => item(properties).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A product's field in the form that an item has; `None` for what it cannot have.
fn plain(name: &str, value: &Value) -> Option<Value> {
    match (name, value) {
        ("price", Value::Number(_) | Value::String(_)) => Some(value.clone()),
        ("quantity", Value::Number(_)) => Some(value.clone()),
        ("quantity", Value::String(text)) => text.parse::<f64>().ok().map(Into::into),
        (_, Value::String(_)) => Some(value.clone()),
        (_, Value::Number(number)) => Some(Value::String(number.to_string())),
        _ => None,
    }
}

fn attributes(call: &Call<'_>, method: &str, properties: &Map<String, Value>) -> Map<String, Value> {
    let mut attributes = Map::new();
    flatten(
        "",
        properties,
        1,
        &["products", "email", "phone", "message_body"],
        &mut attributes,
    );
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), value);
        }
    };
    let worth = ["value", "total", "revenue"]
        .iter()
        .find_map(|name| properties.get(*name));
    let worth = worth.and_then(|worth| match worth {
        Value::String(text) => text.parse::<f64>().ok().map(Into::into),
        Value::Number(_) => Some(worth.clone()),
        _ => None,
    });
    put("value", worth);
    for (path, name) in [
        ("context.page.url", "url"),
        ("context.page.referrer", "referrer"),
        ("context.page.title", "title"),
        ("context.locale", "locale"),
    ] {
        if !properties.contains_key(name) {
            put(name, call.text(path).map(Value::String));
        }
    }
    match method {
        "page" | "screen" => {
            put("name", call.text("name").map(Value::String));
            put("page_type", call.text("category").map(Value::String));
            if method == "screen" {
                put("screen", call.text("name").map(Value::String));
            }
        }
        "identify" => put("method", Some("identify".into())),
        "alias" => put("method", Some("alias".into())),
        "group" => put("group_id", call.text("groupId").map(Value::String)),
        _ => {}
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::by_words;

    #[test]
    fn names_become_types() {
        for (name, kind) in [
            ("Gift Card Redeemed", "gift.card_redeemed"),
            ("Checkout Step Viewed", "checkout.step_viewed"),
            ("order_completed", "order.completed"),
            ("orderRefunded", "order.refunded"),
            ("Signup", "signup.tracked"),
            ("--", ""),
        ] {
            assert_eq!(by_words(name), kind);
        }
    }
}
