//! Reading a mapping key by key, so that every complaint names its place.

use event::vocabulary;

use super::given::plain;
use crate::{
    finding::{Mark, Report, nearest},
    yaml::{Node, Value},
};

/// The keys of one mapping. Keys that nobody asks for are reported at the end.
pub(super) struct Fields<'a> {
    at: Mark,
    entries: &'a [(Node, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn of(node: &'a Node, what: &str, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self {
                at: node.at,
                entries,
                asked: Vec::new(),
            }),
            _ => {
                let message = format!("{what} must be a mapping: found={}", node.kind());
                report.error_with_help(node.at, "type", message, "keys in braces make one: { key: value }");
                None
            }
        }
    }

    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.entries
            .iter()
            .find(|(name, _)| name.text() == Some(key))
            .map(|(_, node)| node)
    }

    pub fn required(&mut self, key: &'static str, report: &mut Report) -> Option<&'a Node> {
        let found = self.get(key);
        if found.is_some() {
            return found;
        }
        if !self.is_misspelt(key, report) {
            report.error(self.at, "key-missing", format!("a key is missing: key={key}"));
        }
        None
    }

    /// Whether a key that is not there stands there nearly; reports that one.
    pub fn is_misspelt(&self, key: &'static str, report: &mut Report) -> bool {
        let is_near = |name: &&Node| name.text().is_some_and(|name| nearest(name, [key]).is_some());
        let found = self.entries.iter().map(|(name, _)| name).find(is_near);
        if let Some(name) = found {
            unknown_key(name, &[key], report);
        }
        found.is_some()
    }

    /// Entries whose key was not asked for.
    pub fn others(&self) -> impl Iterator<Item = &'a (Node, Node)> {
        let asked = self.asked.clone();
        self.entries
            .iter()
            .filter(move |(key, _)| !asked.iter().any(|known| key.text() == Some(known)))
    }

    pub fn finish(self, report: &mut Report) {
        for (key, _) in self.others() {
            unknown_key(key, &self.asked, report);
        }
    }
}

fn unknown_key(key: &Node, known: &[&'static str], report: &mut Report) {
    let found = key.text().unwrap_or("?");
    match nearest(found, known.iter().copied()) {
        Some(near) => report.error(
            key.at,
            "unknown-key",
            format!("unknown key: found={found} nearest={near}"),
        ),
        None => report.error_with_help(
            key.at,
            "unknown-key",
            format!("unknown key: found={found}"),
            format!("known here: {}", known.join(", ")),
        ),
    }
}

/// A text. What YAML takes for a number, a truth value or nothing is none, unless it stands in quotes.
pub(super) fn text(node: &Node, what: &str, report: &mut Report) -> Option<String> {
    match &node.value {
        Value::Scalar { text, plain: true, .. }
            if !matches!(plain(text), event::Attribute::Text(_)) || is_no_text_elsewhere(text) =>
        {
            let message = format!("{what} must be a text: found={text}");
            report.error_with_help(node.at, "type", message, format!("in quotes it is one: \"{text}\""));
            None
        }
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => {
            report.error(node.at, "type", format!("{what} must be a text: found={}", node.kind()));
            None
        }
    }
}

/// Whether other readers of YAML take plain words for something else: a date or a time, as YAML 1.1 has them, or a number in another
/// notation.
fn is_no_text_elsewhere(text: &str) -> bool {
    let digits = |part: &str, least: usize, most: usize| {
        (least..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut parts = text.splitn(3, '-');
    if let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (day, time) = rest.split_at(end);
        let time = time.trim_start_matches(['T', 't', ' ']);
        let has_time = time.len() + day.len() < rest.len() && time.starts_with(|first: char| first.is_ascii_digit());
        return digits(year, 4, 4) && digits(month, 1, 2) && digits(day, 1, 2) && (has_time || day.len() == rest.len());
    }
    let number = text.trim_start_matches(['+', '-']);
    let in_base = |prefix: &str, base: u32| {
        let digits = number.strip_prefix(prefix).filter(|digits| !digits.is_empty());
        digits.is_some_and(|digits| digits.chars().all(|digit| digit.is_digit(base)))
    };
    in_base("0x", 16) || in_base("0o", 8) || matches!(number.to_lowercase().as_str(), ".inf" | ".nan")
}

/// A text of so many characters.
pub(super) fn text_of(node: &Node, what: &str, low: usize, high: usize, report: &mut Report) -> Option<String> {
    let found = text(node, what, report)?;
    let length = found.chars().count();
    if !(low..=high).contains(&length) {
        report.error(
            node.at,
            "range",
            format!("{what} must have {low} to {high} characters: found={length}"),
        );
        return None;
    }
    Some(found)
}

/// A name: `[a-z][a-z0-9_]{0,40}`.
pub(super) fn name(node: &Node, what: &str, report: &mut Report) -> Option<String> {
    let found = text(node, what, report)?;
    let mut bytes = found.bytes();
    let good = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && found.len() <= 41
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !good {
        let message = format!("{what} must be at most 41 of a-z, 0-9 and _, beginning with a letter: found={found}");
        let joined = found.to_lowercase().replace(['-', ' '], "_");
        if joined == found {
            report.error(node.at, "name", message);
        } else {
            report.error_with_help(node.at, "name", message, format!("for example {joined}"));
        }
        return None;
    }
    Some(found)
}

/// An event type: `object.verb` in lower snake case.
pub(super) fn event_type(node: &Node, what: &str, report: &mut Report) -> Option<String> {
    let found = text(node, what, report)?;
    check_event_type(&found, node.at, report).then_some(found)
}

/// Whether a word has the form of an event type; reports it if not.
pub(super) fn check_event_type(found: &str, at: Mark, report: &mut Report) -> bool {
    let is_type = vocabulary::is_type(found);
    if !is_type {
        let message = format!("an event type is object.verb in lower case: found={found}");
        report.error(at, "event-type", message);
    }
    is_type
}

/// A whole number within bounds.
pub(super) fn whole(node: &Node, what: &str, low: i64, high: i64, report: &mut Report) -> Option<i64> {
    let found = unquoted(node).and_then(|text| text.parse::<i64>().ok());
    match found {
        Some(value) if (low..=high).contains(&value) => Some(value),
        _ => {
            let message = format!(
                "{what} must be a whole number from {low} to {high}: found={}",
                shown_as(node)
            );
            refuse_number(node, message, report);
            None
        }
    }
}

fn shown_as(node: &Node) -> &str {
    node.text().unwrap_or(node.kind())
}

/// A number that does not fit, or is none because it stands in quotes.
fn refuse_number(node: &Node, message: String, report: &mut Report) {
    match (&node.value, node.text()) {
        (Value::Scalar { plain: false, .. }, Some(text)) if text.parse::<f64>().is_ok() => {
            report.error_with_help(node.at, "range", message, format!("without quotes it is one: {text}"));
        }
        _ => report.error(node.at, "range", message),
    }
}

/// A text that stands without quotes: in quotes it is no number.
fn unquoted(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { plain: true, .. } => node.text(),
        _ => None,
    }
}

/// A number that `fits`; `bounds` says which do.
pub(super) fn number(
    node: &Node,
    what: &str,
    fits: impl Fn(f64) -> bool,
    bounds: &str,
    report: &mut Report,
) -> Option<f64> {
    match unquoted(node).and_then(|text| text.parse::<f64>().ok()) {
        Some(value) if value.is_finite() && fits(value) => Some(value),
        _ => {
            let message = format!("{what} must be {bounds}: found={}", shown_as(node));
            refuse_number(node, message, report);
            None
        }
    }
}

/// A time since the start of a test: a duration that may be zero, in milliseconds.
pub(super) fn offset(node: &Node, what: &str, report: &mut Report) -> Option<i64> {
    read_millis(node, what, node.text().and_then(millis), report)
}

/// A whole number above zero and a unit, in milliseconds.
pub(super) fn duration(node: &Node, what: &str, report: &mut Report) -> Option<i64> {
    let found = node.text().and_then(millis);
    if found == Some(0) {
        report.error(
            node.at,
            "duration",
            format!("{what} must be longer than nothing: found={}", shown_as(node)),
        );
        return None;
    }
    read_millis(node, what, found, report)
}

fn read_millis(node: &Node, what: &str, found: Option<i64>, report: &mut Report) -> Option<i64> {
    if found.is_none() {
        let shown = shown_as(node);
        let digits = shown.bytes().take_while(u8::is_ascii_digit).count();
        let (amount, unit) = shown.split_at(digits);
        let help = match unit {
            "ms" | "s" | "m" | "h" | "d" if digits > 9 => {
                let message = format!("{what} is longer than any time that is counted: found={shown}");
                report.error_with_help(node.at, "duration", message, "at most nine digits, for example 30d");
                return None;
            }
            "" if digits > 0 => format!("a unit is missing: {amount}s, {amount}m, {amount}h or {amount}d"),
            _ => "a whole number and one of ms s m h d, for example 90s".to_owned(),
        };
        let message = format!("{what} must be a duration: found={shown}");
        report.error_with_help(node.at, "duration", message, help);
    }
    found
}

/// `90s` to 90,000. Zero is allowed: it is an offset in tests.
pub(crate) fn millis(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 9 || (digits > 1 && text.starts_with('0')) {
        return None;
    }
    let amount: i64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(amount * unit)
}

/// A list of texts, each with its place; one text alone is none.
pub(super) fn list(node: &Node, what: &str, limit: usize, report: &mut Report) -> Vec<(String, Mark)> {
    if !matches!(node.value, Value::List(_)) {
        let message = format!("{what} must be a list: found={}", node.text().unwrap_or(node.kind()));
        report.error_with_help(node.at, "type", message, "brackets make one: [ … ]");
        return Vec::new();
    }
    words(node, what, limit, report)
}

/// Names of fields: words of a-z, 0-9 and _, joined by dots.
pub(super) fn field_names(node: &Node, what: &str, limit: usize, report: &mut Report) -> Vec<String> {
    let names = list(node, what, limit, report);
    for (name, at) in &names {
        check_field(name, *at, report);
    }
    names.into_iter().map(|(name, _)| name).collect()
}

/// The name of a field.
pub(super) fn field_name(node: &Node, what: &str, report: &mut Report) -> Option<String> {
    let name = text(node, what, report)?;
    check_field(&name, node.at, report);
    Some(name)
}

fn check_field(name: &str, at: Mark, report: &mut Report) {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if name.len() > 80 || !name.split('.').all(part) {
        let message = format!("a field is written in a-z, 0-9 and _, parts joined by dots: found={name}");
        report.error(at, "field", message);
    }
}

/// 90,000 to `90s`: the largest unit that leaves a whole number, up to minutes, and days from one day on.
pub(super) fn shown(millis: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = UNITS.iter().find(|(size, _)| millis > *size && millis % size == 0);
    unit.map_or_else(
        || format!("{millis}ms"),
        |(size, unit)| format!("{}{unit}", millis / size),
    )
}

/// One text or a list of them, each with its place.
pub(super) fn words(node: &Node, what: &str, limit: usize, report: &mut Report) -> Vec<(String, Mark)> {
    let mut words: Vec<(String, Mark)> = Vec::new();
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in nodes {
        if let Some(word) = text(item, what, report) {
            if words.iter().any(|(known, _)| *known == word) {
                report.error(item.at, "duplicate", format!("{what} names this twice: found={word}"));
            } else {
                words.push((word, item.at));
            }
        }
    }
    if nodes.is_empty() || nodes.len() > limit {
        report.error(
            node.at,
            "range",
            format!("{what} takes 1 to {limit}: found={}", nodes.len()),
        );
    }
    words
}

/// `[a-z][a-z0-9-]{2,62}`.
pub(super) fn id(node: &Node, what: &str, report: &mut Report) -> Option<String> {
    let found = text(node, what, report)?;
    let mut bytes = found.bytes();
    let good = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && (3..=63).contains(&found.len())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !good {
        let message = format!("{what} must be 3 to 63 of a-z, 0-9 and -, beginning with a letter: found={found}");
        let joined = found.to_lowercase().replace(['_', ' '], "-");
        if joined == found {
            report.error(node.at, "id", message);
        } else {
            report.error_with_help(node.at, "id", message, format!("for example {joined}"));
        }
        return None;
    }
    Some(found)
}
