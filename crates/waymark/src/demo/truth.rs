//! What the generator knows to be true against what was found. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use codec::Published as _;
use event::{Attribute, Signal};
use serde_json::{Value, json};
use stream::Record;

use super::generator::{STATED, TRUTH};

/// Customers of one pattern, by their keys.
#[derive(Debug, Default, PartialEq)]
struct Row {
    stated: BTreeSet<String>,
    found: BTreeSet<String>,
}

/// The comparison, by pattern.
#[derive(Debug, Default, PartialEq)]
pub struct Compared {
    rows: BTreeMap<String, Row>,
    /// Customers found by patterns of which the generator states nothing.
    others: BTreeMap<String, BTreeSet<String>>,
}

/// Compares statements on the timeline with signals. Both name customers by the same key.
pub fn compare(timeline: &[Record], signals: &[Record]) -> Compared {
    let mut compared = Compared::default();
    for record in timeline.iter().filter(|record| record.key.is_some()) {
        let Ok(event) = codec::decode_event(record.value.as_deref().unwrap_or_default()) else {
            continue;
        };
        let Some(Attribute::Text(pattern)) = event.attributes.get("pattern").filter(|_| event.kind == TRUTH) else {
            continue;
        };
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        compared.rows.entry(pattern.clone()).or_default().stated.insert(key);
    }
    for record in signals {
        if let Ok(signal) = Signal::decode(record.value.as_deref().unwrap_or_default()) {
            let found = if STATED.contains(&signal.pattern.as_str()) || compared.rows.contains_key(&signal.pattern) {
                &mut compared.rows.entry(signal.pattern).or_default().found
            } else {
                compared.others.entry(signal.pattern).or_default()
            };
            found.insert(signal.customer);
        }
    }
    compared
}

impl Row {
    fn counts(&self) -> [usize; 4] {
        [
            self.stated.len(),
            self.stated.intersection(&self.found).count(),
            self.stated.difference(&self.found).count(),
            self.found.difference(&self.stated).count(),
        ]
    }
}

const COLUMNS: [&str; 4] = ["true", "found", "missed", "beyond"];

impl Compared {
    /// Whether exactly what was stated was found.
    pub fn is_equal(&self) -> bool {
        self.rows.values().all(|row| row.stated == row.found)
    }

    fn sums(&self) -> [usize; 4] {
        let mut sums = [0; 4];
        for row in self.rows.values() {
            for (sum, count) in sums.iter_mut().zip(row.counts()) {
                *sum += count;
            }
        }
        sums
    }

    /// A table for people: customers per pattern, and what the columns mean.
    pub fn table(&self) -> String {
        let line = |name: &str, cells: [String; 4]| {
            let cells: String = cells.iter().map(|cell| format!("{cell:>8}")).collect();
            format!("{name:<22}{cells}\n")
        };
        let mut text = line("customers by pattern", COLUMNS.map(ToOwned::to_owned));
        for (pattern, row) in &self.rows {
            text.push_str(&line(pattern, row.counts().map(|count| count.to_string())));
        }
        text.push_str(&line("all", self.sums().map(|count| count.to_string())));
        text.push_str("true: stated by the generator; beyond: found but not stated");
        if !self.others.is_empty() {
            let others = self
                .others
                .iter()
                .map(|(pattern, found)| format!("{pattern} {}", found.len()));
            let others: Vec<String> = others.collect();
            text.push_str(&format!(
                "\nfound by patterns of which it states nothing: {}",
                others.join(", ")
            ));
        }
        text
    }

    /// The same for machines.
    pub fn json(&self, first: Option<Duration>) -> Value {
        let cells = |counts: [usize; 4]| -> Value {
            let pairs = COLUMNS.iter().zip(counts);
            Value::Object(pairs.map(|(name, count)| ((*name).to_owned(), count.into())).collect())
        };
        let rows: serde_json::Map<String, Value> = self
            .rows
            .iter()
            .map(|(pattern, row)| (pattern.clone(), cells(row.counts())))
            .collect();
        let others: BTreeMap<&String, usize> = self
            .others
            .iter()
            .map(|(pattern, found)| (pattern, found.len()))
            .collect();
        json!({ "patterns": rows, "all": cells(self.sums()), "others": others, "first_intervention_seconds": first.map(|first| first.as_secs_f64()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{Attributes, Event, Millis};

    fn record(key: &str, value: Vec<u8>) -> Record {
        Record {
            topic: "t".into(),
            partition: 0,
            offset: 0,
            timestamp: Millis(0),
            key: Some(key.into()),
            value: Some(value),
            headers: Vec::new(),
        }
    }

    #[test]
    fn missed_and_beyond_are_told_apart() {
        let stated = |key: &str| {
            let event = Event {
                kind: TRUTH.to_owned(),
                attributes: Attributes::from([("pattern".to_owned(), Attribute::Text("p".to_owned()))]),
                ..Event::default()
            };
            let mut value = Vec::new();
            codec::encode_event(&event, &mut value);
            record(key, value)
        };
        let found = |key: &str| {
            let signal = Signal {
                customer: key.to_owned(),
                pattern: "p".to_owned(),
                ..Signal::default()
            };
            record(key, signal.encode())
        };
        let compared = compare(&[stated("a"), stated("b")], &[found("b"), found("c")]);
        assert!(!compared.is_equal());
        assert_eq!(compared.sums(), [2, 1, 1, 1]);
        assert!(
            compared
                .table()
                .contains("p                            2       1       1       1")
        );
        assert!(compare(&[stated("a")], &[found("a")]).is_equal());
        let silent = compare(&[], &[found("a")]);
        assert!(silent.is_equal(), "nothing is stated about this pattern");
        assert!(
            silent
                .table()
                .ends_with("found by patterns of which it states nothing: p 1")
        );
    }
}
