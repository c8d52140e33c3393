//! Publishing patterns and policy on `journey.patterns`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use pattern::{Finding, POLICY_KEY, Severity, parse, parse_policy, run_tests};
use service::backend::Backend;
use stream::Output;

use crate::{files::read_patterns, report::Failure};

/// What is to be published: value by key.
pub type Catalogue = BTreeMap<String, String>;

/// Reads, lints and tests patterns and policy. Nothing is published of a folder with an error in it.
///
/// # Errors
/// [`Failure`] with every error, a line each: `FILE:LINE:COLUMN: error[CODE]: MESSAGE`.
pub fn read(paths: &[PathBuf]) -> Result<Catalogue, Failure> {
    let mut catalogue = Catalogue::new();
    let mut wrong: Vec<String> = Vec::new();
    for file in read_patterns(paths)? {
        let name = file.path.display().to_string();
        if file.path.file_stem().is_some_and(|stem| stem == "policy") {
            match parse_policy(&name, &file.text) {
                Ok(policy) => {
                    catalogue.insert(POLICY_KEY.to_owned(), policy.canonical);
                }
                Err(findings) => wrong.extend(findings.iter().map(ToString::to_string)),
            }
            continue;
        }
        let errors: Vec<Finding> = pattern::lint(&name, &file.text)
            .into_iter()
            .filter(|finding| finding.severity == Severity::Error)
            .collect();
        wrong.extend(errors.iter().map(ToString::to_string));
        let Ok(pattern) = parse(&name, &file.text) else {
            continue;
        };
        for failed in run_tests(&pattern).into_iter().filter(|test| test.failure.is_some()) {
            wrong.push(format!(
                "{name}:{}:1: error[test]: {}: {}",
                failed.line,
                failed.name,
                failed.failure.unwrap_or_default()
            ));
        }
        if catalogue
            .insert(pattern.id.clone(), pattern.canonical.clone())
            .is_some()
        {
            wrong.push(format!(
                "{name}:1:1: error[duplicate]: two files hold this pattern: pattern={}",
                pattern.id
            ));
        }
    }
    if wrong.is_empty() {
        Ok(catalogue)
    } else {
        Err(Failure::invalid(wrong.join("\n")))
    }
}

/// What stands on the topic now.
///
/// # Errors
/// [`Failure`] if it cannot be read.
pub fn published<B: Backend>(backend: &B) -> Result<Catalogue, Failure> {
    let mut reader = backend.reader(&[&backend.names().patterns()], true)?;
    let (mut records, mut catalogue) = (Vec::new(), Catalogue::new());
    let begun = std::time::Instant::now();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(100), &mut records)?;
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(Failure::no_answer("patterns were not read to their end in time"));
        }
    }
    for record in records {
        let key = String::from_utf8_lossy(&record.key.unwrap_or_default()).into_owned();
        match record.value {
            Some(value) => catalogue.insert(key, String::from_utf8_lossy(&value).into_owned()),
            None => catalogue.remove(&key),
        };
    }
    Ok(catalogue)
}

/// The keys whose value would change.
#[must_use]
pub fn changes(new: &Catalogue, old: &Catalogue) -> Vec<String> {
    new.iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, _)| key.clone())
        .collect()
}

/// Publishes what differs from what is published; returns the keys.
///
/// # Errors
/// [`Failure`] if the topic cannot be read or written.
pub fn publish<B: Backend>(backend: &B, catalogue: &Catalogue) -> Result<Vec<String>, Failure> {
    let changed = changes(catalogue, &published(backend)?);
    let topic: Arc<str> = Arc::from(backend.names().patterns());
    let outputs: Vec<Output> = changed
        .iter()
        .map(|key| Output {
            topic: Arc::clone(&topic),
            partition: Some(0),
            timestamp: None,
            key: Some(key.clone().into_bytes()),
            value: catalogue.get(key).map(|value| value.clone().into_bytes()),
            headers: Vec::new(),
        })
        .collect();
    if !outputs.is_empty() {
        backend.publish("patterns", &outputs)?;
    }
    Ok(changed)
}
