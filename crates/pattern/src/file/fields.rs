//! Reading a mapping key by key, so that every complaint names its place.

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
                report.error(
                    node.at,
                    "type",
                    format!("{what} must be a mapping: found={}", node.kind()),
                );
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
        if found.is_none() {
            report.error(self.at, "key-missing", format!("a key is missing: key={key}"));
        }
        found
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
            let found = key.text().unwrap_or("?");
            match nearest(found, self.asked.iter().copied()) {
                Some(near) => report.error(
                    key.at,
                    "unknown-key",
                    format!("unknown key: found={found} nearest={near}"),
                ),
                None => report.error_with_help(
                    key.at,
                    "unknown-key",
                    format!("unknown key: found={found}"),
                    format!("known here: {}", self.asked.join(", ")),
                ),
            }
        }
    }
}

/// A text.
pub(super) fn text(node: &Node, what: &str, report: &mut Report) -> Option<String> {
    let found = node.text().map(ToOwned::to_owned);
    if found.is_none() {
        report.error(node.at, "type", format!("{what} must be a text: found={}", node.kind()));
    }
    found
}

/// A whole number within bounds.
pub(super) fn whole(node: &Node, what: &str, low: i64, high: i64, report: &mut Report) -> Option<i64> {
    let found = node.text().and_then(|text| text.parse::<i64>().ok());
    match found {
        Some(value) if (low..=high).contains(&value) => Some(value),
        _ => {
            let shown = node.text().unwrap_or(node.kind());
            report.error(
                node.at,
                "range",
                format!("{what} must be a whole number from {low} to {high}: found={shown}"),
            );
            None
        }
    }
}

/// A number above zero or, if `zero`, at least zero.
pub(super) fn number(node: &Node, what: &str, report: &mut Report) -> Option<f64> {
    match node.text().and_then(|text| text.parse::<f64>().ok()) {
        Some(value) if value.is_finite() && value >= 0.0 => Some(value),
        _ => {
            let shown = node.text().unwrap_or(node.kind());
            report.error(
                node.at,
                "range",
                format!("{what} must be a number of at least 0: found={shown}"),
            );
            None
        }
    }
}

/// A whole number and a unit, in milliseconds.
pub(super) fn duration(node: &Node, what: &str, report: &mut Report) -> Option<i64> {
    let found = node.text().and_then(millis);
    if found.is_none() {
        let shown = node.text().unwrap_or(node.kind());
        report.error_with_help(
            node.at,
            "duration",
            format!("{what} must be a duration: found={shown}"),
            "a whole number and one of ms s m h d, for example 90s",
        );
    }
    found
}

/// `90s` to 90,000. Zero is allowed: it is an offset in tests.
pub(super) fn millis(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    let amount: i64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if amount == 0 => 1,
        _ => return None,
    };
    Some(amount * unit)
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
        report.error(
            node.at,
            "id",
            format!("{what} must be 3 to 63 of a-z, 0-9 and -, beginning with a letter: found={found}"),
        );
        return None;
    }
    Some(found)
}
