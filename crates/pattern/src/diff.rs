//! What differs between two versions of a pattern, and what may not.

use serde_json::{Map, Value};

use crate::{
    Finding, Pattern, Status,
    file::millis,
    finding::{Mark, Report},
    yaml,
};

/// One difference in meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where, as `when.sequence[1].times`.
    pub path: String,
    /// What stood there; `None` if nothing did.
    pub was: Option<String>,
    /// What stands there; `None` if nothing does.
    pub is: Option<String>,
}

/// The parts of a file that mean something to a customer; titles, owners and tests do not.
const MEANING: [&str; 5] = ["status", "when", "then", "guard", "rollout"];

/// Differences in meaning, in the order of the file. Two ways to write one thing (`60s` and `1m`, a type and a list of one type, `times: 1`
/// and none) do not differ.
#[must_use]
pub fn diff(old: &Pattern, new: &Pattern) -> Vec<Change> {
    let (old, new) = (normal(old), normal(new));
    let mut changes = Vec::new();
    for key in ["pattern", "version"].into_iter().chain(MEANING) {
        compare(key, old.get(key), new.get(key), &mut changes);
    }
    changes
}

/// Whether the two match the same.
#[must_use]
pub fn same_when(old: &Pattern, new: &Pattern) -> bool {
    normal(old).get("when") == normal(new).get("when")
}

/// What makes it unsafe to put `new` in the place of `old`: `version-same` (runs of one meaning would go on under another),
/// `arm-changed` (customers would change sides in an experiment) and `id-retired`. Places are those of `text`, the new file.
#[must_use]
pub fn unsafe_changes(file: &str, text: &str, old: &Pattern, new: &Pattern) -> Vec<Finding> {
    let mut report = Report::new(file);
    if old.status == Status::Retired && new.status != Status::Retired {
        report.error(
            mark(text, &["pattern"]),
            "id-retired",
            format!("a retired id is not used again: pattern={}", new.id),
        );
    }
    if new.version < old.version {
        let message = format!("version is lower than before: was={} is={}", old.version, new.version);
        report.error(mark(text, &["version"]), "version-same", message);
    } else if new.version == old.version && !same_when(old, new) {
        let message = format!("when changed under one version: version={}", new.version);
        report.error(mark(text, &["version"]), "version-same", message);
    }
    if old.status == Status::Live {
        let (was, is) = (&old.rollout, &new.rollout);
        if was.holdout != is.holdout {
            let message = format!(
                "seed or holdout changed on a live pattern: was={} is={}",
                was.holdout, is.holdout
            );
            report.error(mark(text, &["rollout", "holdout"]), "arm-changed", message);
        }
        if was.seed != is.seed {
            let message = format!(
                "seed or holdout changed on a live pattern: was={} is={}",
                was.seed, is.seed
            );
            report.error(mark(text, &["rollout", "seed"]), "arm-changed", message);
        }
    }
    report.finish()
}

/// Where a key stands in a file.
pub(crate) fn mark(text: &str, path: &[&str]) -> Mark {
    let mut unread = Report::default();
    let mut at = Mark { line: 1, column: 1 };
    let Some(mut node) = yaml::read(text, &mut unread) else {
        return at;
    };
    for key in path {
        let yaml::Value::Map(entries) = node.value else { break };
        let Some((name, inner)) = entries.into_iter().find(|(name, _)| name.text() == Some(key)) else {
            break;
        };
        at = name.at;
        node = inner;
    }
    at
}

/// The meaning of a pattern, written in one way.
fn normal(pattern: &Pattern) -> Map<String, Value> {
    let file: Value = serde_json::from_str(&pattern.canonical).unwrap_or_default();
    let Value::Object(file) = file else {
        return Map::new();
    };
    file.into_iter()
        .map(|(key, value)| {
            let value = normalise(&key, value);
            (key, value)
        })
        .collect()
}

fn normalise(key: &str, value: Value) -> Value {
    match (key, value) {
        ("see" | "absent" | "until" | "by" | "channels" | "cancel_on" | "skills", Value::String(one)) => {
            Value::Array(vec![Value::String(one)])
        }
        ("within" | "for" | "valid_for" | "cooldown" | "lead" | "lag", Value::String(text)) => {
            Value::String(millis(&text).map_or(text, span))
        }
        ("where", Value::String(text)) => Value::String(text.split_whitespace().collect::<Vec<_>>().join(" ")),
        (_, Value::Array(items)) => items.into_iter().map(|item| normalise("", item)).collect(),
        (_, Value::Object(members)) => {
            let members = members
                .into_iter()
                .filter(|(key, value)| !(key == "times" && *value == 1))
                .map(|(key, value)| {
                    let value = normalise(&key, value);
                    (key, value)
                });
            Value::Object(members.collect())
        }
        (_, other) => other,
    }
}

/// Milliseconds in the largest unit that divides them.
fn span(millis: i64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let unit = units.into_iter().find(|(_, unit)| millis != 0 && millis % unit == 0);
    match unit {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                compare(&format!("{path}.{key}"), old.get(key), new.get(key), changes);
            }
        }
        // Steps are compared one by one; lists of words as a whole.
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.iter().chain(new).any(Value::is_object) => {
            for index in 0..old.len().max(new.len()) {
                compare(&format!("{path}[{index}]"), old.get(index), new.get(index), changes);
            }
        }
        _ => changes.push(Change {
            path: path.to_owned(),
            was: old.map(shown),
            is: new.map(shown),
        }),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            format!("[{}]", words.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "pattern: cart-doubt\nversion: 2\ntitle: One\nowner: cx-web\nstatus: live\nwhen:\n  within: 60m\n  sequence:\n    \
        - see: a.b\n    - absent: [c.d]\n      for: 60s\nthen:\n  intervene: notify\n  channels: [email]\n  priority: 1\n  \
        valid_for: 1h\n  because: { en: x }\nguard: { consent: service, cooldown: 1h }\n\
        rollout: { percent: 50, holdout: 10, seed: seed-1 }\ntests:\n  \
        - { name: one, given: [ { at: 0s, is: a.b } ], expect: [ { at: 60s, intervene: notify } ] }\n  \
        - { name: two, given: [], expect: [] }\n";

    fn pattern(text: &str) -> Pattern {
        crate::parse("cart-doubt.yaml", text).expect("valid")
    }

    /// What changes by a replacement in the file: differences, and codes with their lines.
    fn changed(replace: &[(&str, &str)]) -> (Vec<String>, Vec<(&'static str, u32)>) {
        let mut text = FILE.to_owned();
        for (from, to) in replace {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let (old, new) = (pattern(FILE), pattern(&text));
        let show = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        let changes = diff(&old, &new).into_iter();
        let changes = changes.map(|change| format!("{}: {} > {}", change.path, show(&change.was), show(&change.is)));
        let findings = unsafe_changes("f", &text, &old, &new).into_iter();
        (changes.collect(), findings.map(|f| (f.code, f.line)).collect())
    }

    #[test]
    fn two_ways_to_write_one_thing_do_not_differ() {
        let same = [
            ("within: 60m", "within: 1h"),
            ("see: a.b", "see: [a.b]"),
            ("absent: [c.d]", "absent: c.d"),
            ("for: 60s", "for: 1m"),
            ("title: One", "title: Other"),
        ];
        assert_eq!(changed(&same), (vec![], vec![]));
        assert_eq!(
            changed(&[("see: a.b\n", "see: a.b\n      times: 1\n")]),
            (vec![], vec![])
        );
    }

    #[test]
    fn a_changed_meaning_is_named_and_needs_a_version() {
        let (changes, findings) = changed(&[("for: 60s", "for: 90s"), ("see: a.b\n", "see: a.b\n      times: 2\n")]);
        assert_eq!(
            changes,
            ["when.sequence[0].times: - > 2", "when.sequence[1].for: 1m > 90s"]
        );
        assert_eq!(findings, [("version-same", 2)]);
        let (changes, findings) = changed(&[("for: 60s", "for: 90s"), ("version: 2", "version: 3")]);
        assert_eq!(changes, ["version: 2 > 3", "when.sequence[1].for: 1m > 90s"]);
        assert_eq!(findings, []);
        assert_eq!(changed(&[("version: 2", "version: 1")]).1, [("version-same", 2)]);
        assert_eq!(
            changed(&[("channels: [email]", "channels: [email, sms]")]).0,
            ["then.channels: [email] > [email, sms]"]
        );
    }

    #[test]
    fn arms_of_a_live_pattern_stay() {
        assert_eq!(changed(&[("holdout: 10", "holdout: 20")]).1, [("arm-changed", 19)]);
        assert_eq!(changed(&[("seed-1", "seed-2")]).1, [("arm-changed", 19)]);
        assert_eq!(changed(&[("percent: 50", "percent: 80")]).1, []);
    }
}
