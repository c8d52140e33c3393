//! Headers of dead letters: those of Kafka Connect, so that its tools read them, and our own.

use event::Millis;

use crate::json::time;

/// A header: name, and text as bytes.
pub type Header = (String, Option<Vec<u8>>);

/// Where a refused record stood and why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// `decode`, `validate` or `process`.
    pub stage: &'a str,
    /// The reason code.
    pub reason: &'a str,
    /// What is wrong; no customer data.
    pub message: &'a str,
    /// The field at fault.
    pub field: Option<&'a str>,
    /// The schema involved.
    pub schema: Option<&'a str>,
    /// Name and version of the service that refused it, as `intake/0.1.0`.
    pub service: &'a str,
    /// When, on the log's clock: the record's own timestamp, so that a repetition writes the same bytes.
    pub time: Millis,
}

/// The headers to add behind the record's own. A record that was replayed raises the attempt of the headers it carries.
#[must_use]
pub fn dead_letter_headers(of: &DeadLetter<'_>, carried: &[Header]) -> Vec<Header> {
    let attempts = carried.iter().filter(|(name, _)| name == "waymark-dlq-attempt");
    let before = attempts
        .filter_map(|(_, value)| std::str::from_utf8(value.as_deref()?).ok()?.parse::<u32>().ok())
        .max();
    let mut headers: Vec<Header> = carried.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
    let mut put = |name: &str, value: &str| headers.push((name.to_owned(), Some(value.as_bytes().to_vec())));
    put("__connect.errors.topic", of.topic);
    put("__connect.errors.partition", &of.partition.to_string());
    put("__connect.errors.offset", &of.offset.to_string());
    put("__connect.errors.stage", of.stage);
    put(
        "__connect.errors.class.name",
        of.service.split('/').next().unwrap_or_default(),
    );
    put("__connect.errors.exception.class.name", of.reason);
    put("__connect.errors.exception.message", of.message);
    put("waymark-dlq-reason", of.reason);
    put("waymark-dlq-service", of.service);
    if let Some(field) = of.field {
        put("waymark-dlq-field", field);
    }
    if let Some(schema) = of.schema {
        put("waymark-dlq-schema", schema);
    }
    put(
        "waymark-dlq-attempt",
        &before.map_or(1, |before| before.saturating_add(1)).to_string(),
    );
    put("waymark-dlq-time", &time(of.time));
    headers
}

fn is_ours(name: &str) -> bool {
    name.starts_with("__connect.errors.") || name.starts_with("waymark-dlq-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(headers: &[Header]) -> String {
        let line = |(name, value): &Header| {
            format!(
                "{name}: {}\n",
                String::from_utf8_lossy(value.as_deref().unwrap_or_default())
            )
        };
        headers.iter().map(line).collect()
    }

    #[test]
    fn the_headers_are_as_ever_and_a_second_attempt_replaces_the_first() {
        let letter = DeadLetter {
            topic: "journey.events.web",
            partition: 3,
            offset: 42,
            stage: "decode",
            reason: "json_malformed",
            message: "not JSON: line=1 column=7",
            field: Some("time"),
            schema: None,
            service: "intake/0.1.0",
            time: Millis(1_763_730_602_120),
        };
        let own = ("ce_id".to_owned(), Some(b"7".to_vec()));
        let first = dead_letter_headers(&letter, std::slice::from_ref(&own));
        assert_eq!(shown(&first), include_str!("../testdata/dead-letter-1.txt"));
        let second = dead_letter_headers(&letter, &first);
        assert_eq!(first.len(), second.len());
        assert!(shown(&second).contains("waymark-dlq-attempt: 2\n"));
    }
}
