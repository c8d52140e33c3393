//! `tests`: what a pattern file promises about itself.

use event::{Attribute, vocabulary};

use super::{
    Paths,
    fields::{self, Fields},
};
use crate::{
    finding::{Mark, Report, nearest},
    yaml::{Node, Value},
};

/// One test of a pattern file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TestCase {
    pub name: String,
    pub profile: Paths,
    pub journey: Paths,
    pub given: Vec<Given>,
    pub expect: Vec<Expected>,
    pub at: Mark,
}

/// An event of a test.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    /// Milliseconds since the start.
    pub at: i64,
    pub event: event::Event,
}

/// An intervention that a test expects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    pub at: i64,
    pub intervene: String,
    pub because: Option<String>,
}

/// Events in a test.
pub(crate) const GIVEN: usize = 200;
/// Tests in a file.
pub(crate) const TESTS: usize = 64;

/// Reads the tests. `date` is the path of the profile's date that `during` names.
pub(super) fn read(node: &Node, date: Option<&str>, report: &mut Report) -> Option<Vec<TestCase>> {
    let Value::List(nodes) = &node.value else {
        report.error(node.at, "type", "tests must be a list");
        return None;
    };
    if nodes.len() < 2 || nodes.len() > TESTS {
        report.error(
            node.at,
            "range",
            format!("a pattern has 2 to 64 tests: found={}", nodes.len()),
        );
    }
    Some(nodes.iter().filter_map(|node| read_case(node, date, report)).collect())
}

fn read_case(node: &Node, date: Option<&str>, report: &mut Report) -> Option<TestCase> {
    let mut keys = Fields::of(node, "a test", report)?;
    let name = keys
        .required("name", report)
        .and_then(|node| fields::text_of(node, "name", 3, 160, report));
    let paths = |key: &'static str, keys: &mut Fields<'_>, report: &mut Report| {
        let mut paths = Paths::new();
        if let Some(node) = keys.get(key) {
            if matches!(node.value, Value::Map(_)) {
                flatten(node, "", &mut paths);
                if key == "profile" {
                    check_dates(node, "", date, report);
                }
            } else {
                report.error(
                    node.at,
                    "type",
                    format!("{key} must be a mapping: found={}", node.kind()),
                );
            }
        }
        for (path, value) in &mut paths {
            // Money and moods are doubles there, however a test writes them.
            let is_double = matches!(path.as_str(), "value.lifetime" | "value.cart" | "value.monthly")
                || path.starts_with("sentiment.") && path != "sentiment.negative_run";
            #[expect(clippy::cast_precision_loss, reason = "the double nearest to it")]
            if let Attribute::Long(whole) = *value
                && is_double
            {
                *value = Attribute::Double(whole as f64);
            }
            // A date is given as time since the start of the test.
            let offset = match value {
                Attribute::Text(text) if path.ends_with("_date") || path.ends_with("_at") => fields::millis(text),
                _ => None,
            };
            if let Some(offset) = offset {
                *value = Attribute::Long(offset);
            }
        }
        paths
    };
    let (profile, journey) = (paths("profile", &mut keys, report), paths("journey", &mut keys, report));
    let given = keys.required("given", report);
    let expect = keys.required("expect", report);
    keys.finish(report);
    let mut events: Vec<Given> = Vec::new();
    if let Some(Node {
        value: Value::List(nodes),
        at,
    }) = given
        && nodes.len() > GIVEN
    {
        let message = format!("a test has at most {GIVEN} events: found={}", nodes.len());
        report.error(*at, "range", message);
    }
    for item in list(given?, "given", report) {
        let index = events.len() + 1;
        let given = read_given(item, index, report)?;
        if events.last().is_some_and(|last| last.at > given.at) {
            report.error(item.at, "order", "events of a test stand in order of time");
        }
        if events.iter().any(|other| other.event.id == given.event.id) {
            // Live, the second one is a repeat and not counted.
            let message = format!("a test names this id twice: id={}", given.event.id);
            report.error(item.at, "duplicate", message);
        }
        events.push(given);
    }
    let expect = list(expect?, "expect", report)
        .iter()
        .filter_map(|node| read_expected(node, report))
        .collect();
    Some(TestCase {
        name: name?,
        profile,
        journey,
        given: events,
        expect,
        at: node.at,
    })
}

/// Whether the profile holds a date there.
fn is_date(path: &str, date: Option<&str>) -> bool {
    date == Some(path) || path.ends_with("_date")
}

/// Refuses dates of the profile that are not given as time since the start of the test.
fn check_dates(node: &Node, prefix: &str, date: Option<&str>, report: &mut Report) {
    let Value::Map(entries) = &node.value else { return };
    for (key, node) in entries {
        let path = joined(prefix, key.text().unwrap_or_default());
        check_dates(node, &path, date, report);
        if !is_date(&path, date) || value_of(node) == Some(Attribute::Null) {
            continue;
        }
        if node.text().and_then(fields::millis).is_none() {
            let found = node.text().map_or_else(|| node.kind().to_owned(), ToOwned::to_owned);
            let message = format!("a date in profile is time since the start of the test: found={found}");
            let help = format!("a whole number and one of ms s m h d, for example {path}: 20d");
            report.error_with_help(node.at, "duration", message, help);
        }
    }
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

fn list<'a>(node: &'a Node, what: &str, report: &mut Report) -> &'a [Node] {
    match &node.value {
        Value::List(nodes) => nodes,
        _ => {
            report.error_with_help(node.at, "type", format!("{what} must be a list"), "an empty one is []");
            &[]
        }
    }
}

fn offset(node: &Node, report: &mut Report) -> Option<i64> {
    fields::offset(node, "at", report)
}

fn read_given(node: &Node, index: usize, report: &mut Report) -> Option<Given> {
    let mut keys = Fields::of(node, "an event", report)?;
    let at = keys.required("at", report).and_then(|node| offset(node, report));
    let kind = keys
        .required("is", report)
        .and_then(|node| fields::event_type(node, "is", report));
    let mut event = event::Event {
        id: format!("e{index}"),
        source: "test".to_owned(),
        kind: kind?,
        channel: event::Channel::Web,
        ..event::Event::default()
    };
    for (key, value) in keys.others() {
        let Some(key) = key.text() else { continue };
        let read = value_of(value);
        match (key, &read) {
            ("id", Some(Attribute::Text(id))) => event.id.clone_from(id),
            ("channel", Some(Attribute::Text(channel))) => match event::Channel::parse(channel) {
                Some(channel) => event.channel = channel,
                None => {
                    let known: Vec<&str> = event::Channel::ALL.iter().map(|channel| channel.as_str()).collect();
                    let near = nearest(channel, known.iter().copied());
                    let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
                    let message = format!("unknown channel: found={channel}{near}");
                    report.error_with_help(value.at, "value", message, format!("known: {}", known.join(", ")));
                }
            },
            ("medium", Some(Attribute::Text(text))) => event.medium = Some(text.clone()),
            ("session", Some(Attribute::Text(text))) => event.session = Some(text.clone()),
            ("conversation", Some(Attribute::Text(text))) => event.conversation = Some(text.clone()),
            ("role", Some(Attribute::Text(text))) => {
                let role = event::Role::parse(text).unwrap_or_default();
                event.text = Some(event::Text {
                    role,
                    ..event::Text::default()
                });
            }
            ("id" | "channel", _) => report.error(value.at, "type", format!("{key} must be a text")),
            ("sentiment", None) => event.sentiment = sentiment(value),
            (_, Some(read)) => {
                event.attributes.insert(key.to_owned(), read.clone());
            }
            (_, None) => report.error(
                value.at,
                "type",
                format!("a field is a value or a list of texts: field={key}"),
            ),
        }
    }
    vocabulary::conform(&event.kind, &mut event.attributes);
    Some(Given { at: at?, event })
}

fn sentiment(node: &Node) -> Option<event::EventSentiment> {
    let mut paths = Paths::new();
    flatten(node, "", &mut paths);
    let number = |key: &str| match paths.get(key) {
        Some(Attribute::Double(value)) => Some(*value),
        #[expect(clippy::cast_precision_loss, reason = "a score is small")]
        Some(Attribute::Long(value)) => Some(*value as f64),
        _ => None,
    };
    let label = match paths.get("label") {
        Some(Attribute::Text(label)) => event::Label::parse(label).unwrap_or_default(),
        _ => event::Label::default(),
    };
    Some(event::EventSentiment {
        label,
        score: number("score"),
        confidence: number("confidence"),
        ..event::EventSentiment::default()
    })
}

fn read_expected(node: &Node, report: &mut Report) -> Option<Expected> {
    let mut keys = Fields::of(node, "an expected intervention", report)?;
    let at = keys.required("at", report).and_then(|node| offset(node, report));
    let intervene = keys
        .required("intervene", report)
        .and_then(|node| fields::name(node, "intervene", report));
    let because = keys
        .get("because")
        .and_then(|node| fields::text(node, "because", report));
    keys.finish(report);
    Some(Expected {
        at: at?,
        intervene: intervene?,
        because,
    })
}

/// A scalar, or a list of scalars as texts.
fn value_of(node: &Node) -> Option<Attribute> {
    match &node.value {
        Value::Scalar { text, plain: true, .. } => Some(plain(text)),
        Value::Scalar { text, .. } => Some(Attribute::Text(text.clone())),
        Value::List(nodes) => {
            let texts: Option<Vec<String>> = nodes.iter().map(|node| node.text().map(ToOwned::to_owned)).collect();
            texts.map(Attribute::List)
        }
        Value::Map(_) => None,
    }
}

/// What a plain scalar means by YAML's core schema.
pub(crate) fn plain(text: &str) -> Attribute {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Attribute::Null,
        "true" | "True" | "TRUE" => return Attribute::Bool(true),
        "false" | "False" | "FALSE" => return Attribute::Bool(false),
        _ => {}
    }
    if let Ok(value) = text.parse::<i64>() {
        return Attribute::Long(value);
    }
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    match text.parse::<f64>() {
        Ok(value) if number && value.is_finite() => Attribute::Double(value),
        _ => Attribute::Text(text.to_owned()),
    }
}

fn flatten(node: &Node, prefix: &str, paths: &mut Paths) {
    match &node.value {
        Value::Map(entries) => {
            for (key, node) in entries {
                flatten(node, &joined(prefix, key.text().unwrap_or_default()), paths);
            }
        }
        _ => {
            if let Some(value) = value_of(node) {
                paths.insert(prefix.to_owned(), value);
            }
        }
    }
}
