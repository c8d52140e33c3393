//! Publishing patterns and policy on `journey.patterns`: what would change, whether it may, and from when.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use event::Millis;
use pattern::{Change, Finding, POLICY_KEY, Pattern, Policy, Publishable, Published, Severity, diff, unsafe_changes};
use service::backend::Backend;
use stream::Output;

use crate::{
    patterns::load::{Loaded, load},
    report::{Exit, Failure},
};

/// How far ahead a change of what is in force begins, so that every monitor has read it by then.
pub const AHEAD: i64 = 60_000;

/// What stands on the topic: value by key.
pub type Values = BTreeMap<String, String>;

/// Who publishes, and from when it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Who publishes.
    pub author: String,
    /// From when it holds.
    pub begins: Begins,
}

/// From when a publication holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// From the moment at which a monitor reads it.
    WhenRead,
    /// From this time of the customers' clocks.
    At(Millis),
    /// What is new from now on, what changes something in force [`AHEAD`] of this now.
    Soon(Millis),
}

/// What would be published.
#[derive(Debug, Default)]
pub struct Plan {
    /// In order of key.
    pub entries: Vec<Entry>,
    /// How many stand there already.
    pub unchanged: usize,
    /// Why it may not be published.
    pub refused: Vec<Finding>,
}

/// One key that would change.
#[derive(Debug)]
pub struct Entry {
    /// The pattern's id, or the policy's key.
    pub key: String,
    /// `new`, `changed` or `removed`.
    pub what: &'static str,
    /// What changes in meaning.
    pub changes: Vec<Change>,
    /// From when.
    pub effective_from: Option<Millis>,
    /// What is written; `None` is a tombstone.
    pub value: Option<String>,
}

/// Reads, lints and tests patterns and policy. Nothing is published of a folder with an error in it.
///
/// # Errors
/// [`Failure`] with every error, a line each: `FILE:LINE:COLUMN: error[CODE]: MESSAGE`.
pub fn read(paths: &[PathBuf]) -> Result<Loaded, Failure> {
    let loaded = load(paths)?;
    let wrong = errors(&loaded);
    if wrong.is_empty() {
        return Ok(loaded);
    }
    let lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Err(Failure::invalid(lines.join("\n")))
}

/// Errors in files, and tests that fail.
#[must_use]
pub fn errors(loaded: &Loaded) -> Vec<Finding> {
    let mut wrong = loaded.errors();
    for (index, pattern) in &loaded.patterns {
        for failed in journey::run_tests(pattern)
            .into_iter()
            .filter(|test| test.failure.is_some())
        {
            wrong.push(Finding {
                code: "test",
                severity: Severity::Error,
                file: loaded.file(*index),
                line: failed.line,
                column: 1,
                message: format!("{}: {}", failed.name, failed.failure.unwrap_or_default()),
                help: None,
            });
        }
    }
    wrong
}

/// What stands on the topic now.
///
/// # Errors
/// [`Failure`] if it cannot be read.
pub fn published<B: Backend>(backend: &B) -> Result<Values, Failure> {
    let mut reader = backend.reader(&[&backend.names().patterns()], true)?;
    let (mut records, mut values) = (Vec::new(), Values::new());
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
            Some(value) => values.insert(key, String::from_utf8_lossy(&value).into_owned()),
            None => values.remove(&key),
        };
    }
    Ok(values)
}

/// What publishing these files over `values`, and removing these ids, would do.
#[must_use]
pub fn plan(wanted: &Loaded, values: &Values, remove: &BTreeSet<String>, how: &Publication) -> Plan {
    let mut plan = Plan::default();
    for (index, pattern) in &wanted.patterns {
        let before = values.get(&pattern.id).and_then(|value| read_back::<Pattern>(value));
        if before
            .as_ref()
            .is_some_and(|before| before.what.canonical == pattern.canonical)
        {
            plan.unchanged += 1;
            continue;
        }
        if let Some(before) = &before {
            let file = &wanted.files[*index];
            let found = unsafe_changes(&wanted.file(*index), &file.text, &before.what, pattern);
            plan.refused.extend(found);
        }
        let in_force = before.as_ref().is_some_and(|before| before.what.status.is_matched());
        let changes = before
            .as_ref()
            .map(|before| diff(&before.what, pattern))
            .unwrap_or_default();
        plan.entries.push(entry(
            pattern.id.clone(),
            Arc::clone(pattern),
            before,
            in_force,
            changes,
            how,
        ));
    }
    if let Some(policy) = &wanted.policy {
        let before = values.get(POLICY_KEY).and_then(|value| read_back::<Policy>(value));
        if before
            .as_ref()
            .is_some_and(|before| before.what.canonical == policy.canonical)
        {
            plan.unchanged += 1;
        } else {
            let in_force = before.is_some();
            let key = POLICY_KEY.to_owned();
            plan.entries
                .push(entry(key, Arc::clone(policy), before, in_force, Vec::new(), how));
        }
    }
    for key in remove {
        if !values.contains_key(key) {
            plan.refused.push(Finding {
                code: "unknown",
                severity: Severity::Error,
                file: "journey.patterns".to_owned(),
                line: 1,
                column: 1,
                message: format!("nothing is published under this name: name={key}"),
                help: None,
            });
            continue;
        }
        plan.entries.push(Entry {
            key: key.clone(),
            what: "removed",
            changes: Vec::new(),
            effective_from: None,
            value: None,
        });
    }
    plan.entries.sort_by(|a, b| a.key.cmp(&b.key));
    plan
}

fn read_back<T: Publishable>(value: &str) -> Option<Published<T>> {
    Published::read("journey.patterns", value).ok()
}

fn entry<T: Publishable>(
    key: String,
    what: Arc<T>,
    before: Option<Published<T>>,
    in_force: bool,
    changes: Vec<Change>,
    how: &Publication,
) -> Entry {
    let effective_from = match how.begins {
        Begins::WhenRead => None,
        Begins::At(at) => Some(at),
        Begins::Soon(now) => Some(if in_force { now.plus(AHEAD) } else { now }),
    };
    let is_new = before.is_none();
    // What has not begun by now will never have been in force: before the new one stands what was before it.
    let waits = |before: &Published<T>| match how.begins {
        Begins::Soon(now) => before.effective_from.is_some_and(|at| at > now),
        _ => false,
    };
    let before = match before {
        Some(before) if waits(&before) => before.before,
        Some(before) => Some(before.what),
        None => None,
    };
    let hash = blake3::hash(what.canonical().as_bytes()).to_hex()[..32].to_owned();
    let published = Published {
        what,
        hash,
        author: how.author.clone(),
        effective_from,
        before,
    };
    Entry {
        key,
        what: if is_new { "new" } else { "changed" },
        changes,
        effective_from,
        value: Some(published.value()),
    }
}

/// Writes what is planned, in one transaction.
///
/// # Errors
/// [`Failure`] if the topic cannot be written.
pub fn write<B: Backend>(backend: &B, plan: &Plan) -> Result<(), Failure> {
    let topic: Arc<str> = Arc::from(backend.names().patterns());
    let outputs: Vec<Output> = plan
        .entries
        .iter()
        .map(|entry| Output {
            topic: Arc::clone(&topic),
            partition: Some(0),
            timestamp: None,
            key: Some(entry.key.clone().into_bytes()),
            value: entry.value.clone().map(String::into_bytes),
            headers: Vec::new(),
        })
        .collect();
    if !outputs.is_empty() {
        backend.publish("patterns", &outputs)?;
    }
    Ok(())
}

/// Publishes what differs from what is published, in force from the moment it is read: the clock of a replay or a demo is not ours.
///
/// # Errors
/// [`Failure`] if it is unsafe, or the topic cannot be read or written.
pub fn publish<B: Backend>(backend: &B, wanted: &Loaded) -> Result<(), Failure> {
    let how = Publication {
        author: "waymark".to_owned(),
        begins: Begins::WhenRead,
    };
    let plan = plan(wanted, &published(backend)?, &BTreeSet::new(), &how);
    if !plan.refused.is_empty() {
        let lines: Vec<String> = plan.refused.iter().map(ToString::to_string).collect();
        return Err(Failure {
            exit: Exit::Unsafe,
            message: lines.join("\n"),
        });
    }
    write(backend, &plan)
}
