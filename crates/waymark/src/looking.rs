//! `waymark tap` and `waymark dlq`: records as people read them.

use std::{collections::BTreeMap, time::Duration};

use codec::Published;
use event::{Intervention, Outcome, Profile, Sentiment, Signal};
use kafka::Admin;
use serde_json::{Value, json};
use service::{backend::Backend as _, topics::Names};
use stream::Record;

use crate::{
    cli::{DlqCommand, Global, Tap},
    context,
    report::say,
    report::{Exit, Failure, Report},
};

/// A record's value as JSON, by what its first bytes say.
#[must_use]
pub fn decoded(value: &[u8]) -> Value {
    if let Ok(event) = codec::decode_event(value) {
        return codec::event_json(&event);
    }
    let known = [
        Signal::decode(value).map(|record| record.to_json()),
        Intervention::decode(value).map(|record| record.to_json()),
        Profile::decode(value).map(|record| record.to_json()),
        Sentiment::decode(value).map(|record| record.to_json()),
        Outcome::decode(value).map(|record| record.to_json()),
    ];
    if let Some(record) = known.into_iter().find_map(Result::ok) {
        return record;
    }
    serde_json::from_slice(value).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(value).into_owned()))
}

/// Members that name or quote a customer.
const PERSONAL: [&str; 6] = [
    "identifiers",
    "text",
    "payload",
    "preferences",
    "suggestion",
    "references",
];

fn redact(value: &mut Value) {
    if let Value::Object(members) = value {
        for (name, member) in members.iter_mut() {
            if PERSONAL.contains(&name.as_str()) && !member.is_null() {
                *member = Value::String("redacted".to_owned());
            } else if name == "attributes" {
                if let Value::Object(attributes) = member {
                    for value in attributes
                        .values_mut()
                        .filter(|value| value.is_string() || value.is_array())
                    {
                        *value = Value::String("redacted".to_owned());
                    }
                }
            } else {
                redact(member);
            }
        }
    }
}

/// `waymark tap`: one JSON line per record until told to stop.
///
/// # Errors
/// [`Failure`] if the topic cannot be read.
pub fn tap(global: &Global, options: &Tap) -> Result<(), Failure> {
    let config = context::config(global)?;
    if config.text("service.log") == "embedded" {
        let dir = std::path::Path::new(config.text("service.data_dir")).join("log");
        return tap_on(&context::embedded_as_is(&config, &dir)?, options);
    }
    tap_on(&context::kafka(&config)?, options)
}

fn tap_on<B: service::backend::Backend>(backend: &B, options: &Tap) -> Result<(), Failure> {
    let stop = context::stop_switch()?;
    let topic = backend.names().topic(&options.topic);
    let mut reader = backend.reader(&[&topic], options.all)?;
    let (mut records, mut printed) = (Vec::new(), 0);
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        reader.read(Duration::from_millis(200), &mut records)?;
        for record in records.drain(..) {
            let Some(line) = line(&record, options) else { continue };
            let is_heard = say(&line.to_string())?;
            printed += 1;
            if !is_heard || options.max.is_some_and(|max| printed >= max) {
                return Ok(());
            }
        }
        if options.all && reader.is_at_end() {
            return Ok(());
        }
    }
    Ok(())
}

fn line(record: &Record, options: &Tap) -> Option<Value> {
    let key = record.key.as_deref().map(String::from_utf8_lossy);
    if options.customer.is_some() && key.as_deref() != options.customer.as_deref() {
        return None;
    }
    let mut value = record.value.as_deref().map_or(Value::Null, decoded);
    if let Some(pattern) = &options.pattern
        && value.get("pattern").and_then(Value::as_str) != Some(pattern)
    {
        return None;
    }
    if !options.reveal {
        redact(&mut value);
    }
    Some(json!({
        "position": format!("{}/{}/{}", record.topic, record.partition, record.offset),
        "timestamp": codec::time(record.timestamp), "key": key, "value": value,
    }))
}

struct Letter {
    topic: String,
    reason: String,
    record: Record,
}

impl Letter {
    fn header(&self, name: &str) -> String {
        let header = self.record.headers.iter().find(|(known, _)| known == name);
        let value = header.and_then(|(_, value)| value.as_deref()).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }
}

/// `waymark dlq list|show`.
///
/// # Errors
/// [`Failure`] if the topics cannot be read.
pub fn dlq(global: &Global, command: &DlqCommand) -> Result<Report, Failure> {
    match command {
        DlqCommand::List { topic, reason } => {
            let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
            for letter in letters(global, topic.as_deref(), reason.as_deref())? {
                *counts.entry((letter.topic, letter.reason)).or_default() += 1;
            }
            let rows = counts
                .iter()
                .map(|((topic, reason), count)| json!({ "topic": topic, "reason": reason, "count": count }));
            let mut text: String = counts
                .iter()
                .map(|((topic, reason), count)| format!("{count:>8}  {reason:20} {topic}\n"))
                .collect();
            if counts.is_empty() {
                text = "no dead letters".to_owned();
            }
            Ok(Report {
                command: "dlq list",
                exit: Exit::Done,
                findings: Vec::new(),
                data: json!({ "dead_letters": rows.collect::<Vec<_>>() }),
                text,
            })
        }
        DlqCommand::Show {
            topic,
            reason,
            max,
            reveal,
        } => {
            let letters = letters(global, topic.as_deref(), reason.as_deref())?;
            let (mut text, mut rows) = (String::new(), Vec::new());
            for letter in letters.iter().take(*max) {
                let origin =
                    ["topic", "partition", "offset"].map(|part| letter.header(&format!("__connect.errors.{part}")));
                let origin = origin.join("/");
                let message = letter.header("__connect.errors.exception.message");
                let value = letter.record.value.as_deref().unwrap_or_default();
                text.push_str(&format!(
                    "{origin}  {}: {message}  bytes={}\n",
                    letter.reason,
                    value.len()
                ));
                let mut row = json!({ "origin": origin, "reason": letter.reason, "message": message, "bytes": value.len(),
                    "attempt": letter.header("waymark-dlq-attempt"), "time": letter.header("waymark-dlq-time") });
                if *reveal {
                    let shown = String::from_utf8_lossy(value).into_owned();
                    text.push_str(&format!("  {shown}\n"));
                    row["value"] = Value::String(shown);
                }
                rows.push(row);
            }
            text.push_str(&format!("{} of {}", rows.len(), letters.len()));
            Ok(Report {
                command: "dlq show",
                exit: Exit::Done,
                findings: Vec::new(),
                data: json!({ "dead_letters": rows, "all": letters.len() }),
                text,
            })
        }
    }
}

fn letters(global: &Global, topic: Option<&str>, reason: Option<&str>) -> Result<Vec<Letter>, Failure> {
    let config = context::config(global)?;
    let backend = context::kafka(&config)?;
    let names = backend.names();
    let admin = Admin::connect(&backend.connection())?;
    let sources: Vec<String> = match topic {
        Some(topic) => vec![names.topic(topic)],
        None => names.all_raw().into_iter().chain([names.timeline()]).collect(),
    };
    let known = admin.topics()?;
    let wanted: Vec<String> = sources
        .iter()
        .map(|source| Names::dead_letters(source))
        .filter(|name| known.iter().any(|state| state.name == *name))
        .collect();
    if wanted.is_empty() {
        return Err(Failure::invalid(
            "no dead-letter topic exists; `waymark topics apply` makes them",
        ));
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut reader = backend.reader(&wanted, true)?;
    let mut records = Vec::new();
    let begun = std::time::Instant::now();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(100), &mut records)?;
        if begun.elapsed() > Duration::from_secs(60) {
            return Err(Failure::no_answer("dead letters were not read to their end in time"));
        }
    }
    let mut letters: Vec<Letter> = records
        .into_iter()
        .map(|record| {
            let mut letter = Letter {
                topic: record.topic.trim_end_matches(".dlq").to_owned(),
                reason: String::new(),
                record,
            };
            letter.reason = letter.header("waymark-dlq-reason");
            letter
        })
        .filter(|letter| reason.is_none_or(|reason| letter.reason == reason))
        .collect();
    // By the times of the records that they hold.
    letters.sort_by_cached_key(|letter| {
        let time = letter.header("waymark-dlq-time");
        (time, letter.topic.clone(), letter.record.offset)
    });
    Ok(letters)
}
