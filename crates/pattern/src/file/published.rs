//! A pattern or a policy as it stands on `journey.patterns`: the file's canonical JSON, and what the topic adds to it.

use std::sync::Arc;

use event::Millis;
use serde_json::{Map, Value};

use super::{Pattern, Policy, parse, parse_policy};
use crate::finding::{Finding, Mark, Report};

/// What stands under one key of `journey.patterns`.
#[derive(Debug, Clone, PartialEq)]
pub struct Published<T> {
    /// What is published.
    pub what: Arc<T>,
    /// A digest of its canonical JSON; made by the publisher.
    pub hash: String,
    /// Who published it.
    pub author: String,
    /// From when it is in force, on the customers' clocks; from the moment it is read if nothing is said.
    pub effective_from: Option<Millis>,
    /// What was in force before: until `effective_from`, and beyond for runs that are open then.
    pub before: Option<Arc<T>>,
}

/// What can stand on the topic.
pub trait Publishable: Sized {
    /// Reads it from its canonical JSON.
    ///
    /// # Errors
    /// Every error, sorted by position.
    fn read(place: &str, json: &str) -> Result<Self, Vec<Finding>>;
    /// Its canonical JSON.
    fn canonical(&self) -> &str;
}

impl Publishable for Pattern {
    fn read(place: &str, json: &str) -> Result<Self, Vec<Finding>> {
        parse(place, json)
    }

    fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl Publishable for Policy {
    fn read(place: &str, json: &str) -> Result<Self, Vec<Finding>> {
        parse_policy(place, json)
    }

    fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// What the topic adds.
const ADDED: [&str; 4] = ["hash", "author", "effective_from", "before"];

impl<T: Publishable> Published<T> {
    /// Reads a value of the topic; one without additions is in force from the moment it is read.
    ///
    /// # Errors
    /// Every error, of what is in force now as well as of what was before.
    pub fn read(place: &str, value: &str) -> Result<Self, Vec<Finding>> {
        let refuse = |message: String| {
            let mut report = Report::new(place);
            report.error(Mark { line: 1, column: 1 }, "value", message);
            report.finish()
        };
        // A bare file, YAML perhaps, is as good as its JSON without additions.
        let Ok(mut members) = serde_json::from_str::<Map<String, Value>>(value) else {
            return Ok(Self {
                what: Arc::new(T::read(place, value)?),
                hash: String::new(),
                author: String::new(),
                effective_from: None,
                before: None,
            });
        };
        let [hash, author, effective_from, before] = ADDED.map(|key| members.shift_remove(key));
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(ToOwned::to_owned));
        let effective_from = match text(effective_from) {
            Some(text) => {
                let read = Millis::parse(&text);
                Some(read.ok_or_else(|| refuse(format!("effective_from is not RFC 3339: found={text}")))?)
            }
            None => None,
        };
        let before = match before {
            Some(before) => Some(Arc::new(T::read(&format!("{place}#before"), &before.to_string())?)),
            None => None,
        };
        Ok(Self {
            what: Arc::new(T::read(place, &Value::Object(members).to_string())?),
            hash: text(hash).unwrap_or_default(),
            author: text(author).unwrap_or_default(),
            effective_from,
            before,
        })
    }

    /// The value of the topic.
    #[must_use]
    pub fn value(&self) -> String {
        let object = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap_or_default();
        let mut members = object(self.what.canonical());
        members.insert("hash".to_owned(), self.hash.clone().into());
        members.insert("author".to_owned(), self.author.clone().into());
        if let Some(at) = self.effective_from {
            let written =
                jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| String::new(), |at| format!("{at:.3}"));
            members.insert("effective_from".to_owned(), written.into());
        }
        if let Some(before) = &self.before {
            members.insert("before".to_owned(), Value::Object(object(before.canonical())));
        }
        Value::Object(members).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Arc<Pattern> {
        Arc::new(parse("pattern-1.yaml", text).expect("valid"))
    }

    #[test]
    fn the_value_of_the_topic_never_changes() {
        let text = include_str!("../../testdata/pattern-1.yaml");
        let published = Published {
            what: pattern(text),
            hash: "9a0364b9e99bb480dd25e1f0284c8555".to_owned(),
            author: "ada".to_owned(),
            effective_from: Some(Millis(1_795_266_692_120)),
            before: Some(pattern(text)),
        };
        assert_eq!(
            published.value(),
            include_str!("../../testdata/catalogue-1.json").trim_end()
        );
        let again = Published::<Pattern>::read("t/0/1", &published.value()).expect("valid");
        assert_eq!(
            (again.value(), again.effective_from),
            (published.value(), published.effective_from)
        );
    }

    #[test]
    fn a_bare_pattern_is_in_force_at_once_and_a_broken_one_is_refused() {
        let text = include_str!("../../testdata/pattern-1.json");
        let bare = Published::<Pattern>::read("t/0/1", text).expect("valid");
        assert_eq!((bare.effective_from, &bare.before), (None, &None));
        let yaml = include_str!("../../testdata/pattern-1.yaml");
        let yaml = Published::<Pattern>::read("t/0/1", yaml).expect("valid");
        assert_eq!(yaml.value(), bare.value());
        let refused = |value: &str| Published::<Pattern>::read("t/0/1", value).expect_err("refused")[0].to_string();
        assert_eq!(
            refused("[1]"),
            "t/0/1:1:1: error[type]: a pattern must be a mapping: found=a list\n  help: keys in braces make one: { key: value }"
        );
        let soon = text.replacen('{', "{\"effective_from\":\"soon\",", 1);
        assert!(refused(&soon).contains("effective_from is not RFC 3339: found=soon"));
        let before = text.replacen('{', "{\"before\":{},", 1);
        assert!(refused(&before).starts_with("t/0/1#before:1:1: error[key-missing]"));
        let policy = Published::<Policy>::read("t/0/2", r#"{"policy":1,"author":"bo"}"#).expect("valid");
        assert_eq!((policy.author.as_str(), &*policy.what), ("bo", &Policy::default()));
    }
}
