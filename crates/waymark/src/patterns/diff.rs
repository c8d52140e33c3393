//! `waymark pattern diff`: what a change means, and which matches it gains and loses on a file of events.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pattern::{Change, Pattern, Policy, diff, unsafe_changes};
use serde_json::{Value, json};

use super::{
    backtest::finding,
    load::{Loaded, load},
};
use crate::{
    backtest::{self, MEMORY, Sorted},
    cli::Diff,
    report::{Exit, Failure, Report},
};

/// A pattern before and after.
struct Pair<'a> {
    id: String,
    old: Option<&'a Arc<Pattern>>,
    new: Option<&'a Arc<Pattern>>,
    changes: Vec<Change>,
}

/// Compares two files, or two folders by pattern id.
///
/// # Errors
/// [`Failure`] where a path cannot be read.
pub fn run(options: &Diff) -> Result<Report, Failure> {
    let mut report = Report {
        command: "pattern diff",
        exit: Exit::Invalid,
        findings: Vec::new(),
        data: Value::Null,
        text: String::new(),
    };
    let old = load(std::slice::from_ref(&options.old))?;
    let new = load(std::slice::from_ref(&options.new))?;
    let errors = old.errors().into_iter().chain(new.errors());
    // A version that was put aside may have another name than its pattern.
    report.findings = errors.filter(|finding| finding.code != "file-name").collect();
    if !report.findings.is_empty() {
        return Ok(report);
    }
    let pairs = pairs(&old, &new);
    for (index, pattern) in &new.patterns {
        let pair = pairs
            .iter()
            .find(|pair| pair.new.is_some_and(|new| Arc::ptr_eq(new, pattern)));
        // What two patterns of different names hold is no change of either.
        if let Some(old) = pair.and_then(|pair| pair.old).filter(|old| old.id == pattern.id) {
            let found = unsafe_changes(&new.file(*index), &new.files[*index].text, old, pattern);
            report.findings.extend(found);
        }
    }
    let mut text = String::new();
    let mut rows = Vec::new();
    for pair in pairs.iter().filter(|pair| !pair.changes.is_empty()) {
        text.push_str(&format!("{}\n", pair.id));
        for change in &pair.changes {
            text.push_str(&line(change));
            rows.push(json!({ "pattern": pair.id, "path": change.path, "was": change.was, "is": change.is }));
        }
    }
    let mut differs = !rows.is_empty();
    let mut data = json!({ "changes": rows });
    if let Some(path) = &options.events {
        let events = match backtest::read(path, options.map.as_deref(), MEMORY) {
            Ok(events) => events,
            Err(wrong) if wrong.line.is_none() => return Err(Failure::invalid(wrong.to_string())),
            Err(wrong) => {
                report.findings = vec![finding(&wrong)];
                return Ok(report);
            }
        };
        let is_one = old.patterns.len() == 1 && new.patterns.len() == 1;
        let (mut before, mut after) = (
            matches(&old, &events, options.drain, is_one)?,
            matches(&new, &events, options.drain, is_one)?,
        );
        let (kept, recounted) = cancel_out(&mut before, &mut after);
        let list = |matches: BTreeMap<Key, Vec<Value>>| -> Vec<Value> { matches.into_values().flatten().collect() };
        let (lost, gained) = (list(before), list(after));
        let moved = moved(&lost, &gained, is_one);
        for (sign, matches) in [("-", &lost), ("+", &gained)] {
            for one in matches {
                text.push_str(&format!("{sign} {one}\n"));
            }
        }
        for one in &recounted {
            text.push_str(&format!("~ {} (count was {})\n", one["is"], one["was"]));
        }
        let with_another_count = match recounted.len() {
            0 => String::new(),
            some => format!(" ({some} with another count)"),
        };
        text.push_str(&format!(
            "matches: kept {kept}{with_another_count}, gained {}, lost {}\n",
            gained.len(),
            lost.len()
        ));
        differs |= !gained.is_empty() || !lost.is_empty() || !recounted.is_empty();
        if !moved.is_empty() {
            text.push_str(&format!(
                "moved {}: lost and gained again with the same evidence at another moment\n",
                moved.len()
            ));
        }
        data["moved"] = moved.into();
        data["kept"] = kept.into();
        data["recounted"] = recounted.into();
        data["gained"] = gained.into();
        data["lost"] = lost.into();
    }
    if !differs {
        text.push_str("no difference in meaning\n");
    }
    report.exit = match (report.findings.is_empty(), differs) {
        (false, _) => Exit::Unsafe,
        (true, true) => Exit::Findings,
        (true, false) => Exit::Done,
    };
    (report.data, report.text) = (data, text);
    Ok(report)
}

/// One difference as people read it.
pub(super) fn line(change: &Change) -> String {
    match (&change.was, &change.is) {
        (Some(was), Some(is)) => format!("  {}: {was} -> {is}\n", change.path),
        (Some(was), None) => format!("  {}: {was} -> gone\n", change.path),
        (None, Some(is)) => format!("  {}: new: {is}\n", change.path),
        (None, None) => String::new(),
    }
}

/// Two single patterns are compared whatever their ids; else those of one id.
fn pairs<'a>(old: &'a Loaded, new: &'a Loaded) -> Vec<Pair<'a>> {
    if let ([(_, old)], [(_, new)]) = (&old.patterns[..], &new.patterns[..]) {
        return vec![Pair {
            id: new.id.clone(),
            old: Some(old),
            new: Some(new),
            changes: diff(old, new),
        }];
    }
    type Sides<'a> = (Option<&'a Arc<Pattern>>, Option<&'a Arc<Pattern>>);
    let mut by_id: BTreeMap<&str, Sides<'_>> = BTreeMap::new();
    for (_, pattern) in &old.patterns {
        by_id.entry(&pattern.id).or_default().0 = Some(pattern);
    }
    for (_, pattern) in &new.patterns {
        by_id.entry(&pattern.id).or_default().1 = Some(pattern);
    }
    let whole = |pattern: &Arc<Pattern>| Some(format!("version {}, {}", pattern.version, pattern.status.as_str()));
    by_id
        .into_iter()
        .map(|(id, (old, new))| Pair {
            id: id.to_owned(),
            old,
            new,
            changes: match (old, new) {
                (Some(old), Some(new)) => diff(old, new),
                (old, new) => vec![Change {
                    path: "pattern".to_owned(),
                    was: old.and_then(whole),
                    is: new.and_then(whole),
                }],
            },
        })
        .collect()
}

/// What makes two matches one: everything but the version, what is counted beside the evidence, and the name where two single patterns
/// are compared.
type Key = (String, String);

fn matches(of: &Loaded, events: &Sorted, drain: bool, is_one: bool) -> Result<BTreeMap<Key, Vec<Value>>, String> {
    let mut found: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    let patterns = of.named(&[])?;
    backtest::run(&patterns, &Policy::default(), events, drain, &mut |one| {
        let line = one.json();
        let mut same = line.clone();
        if let Some(members) = same.as_object_mut() {
            members.remove("version");
            members.remove("intervene");
            members.insert("seen".to_owned(), without_counts(&line));
            if is_one {
                members.remove("pattern");
            }
        }
        let at = line["at"].as_str().unwrap_or_default().to_owned();
        found.entry((at, same.to_string())).or_default().push(line);
        Ok(())
    })?;
    Ok(found)
}

/// Matches among the gained that a lost one of the same customer stands for: the same evidence at another moment, as after a change of a
/// wait. Each with the moment that it had.
fn moved(lost: &[Value], gained: &[Value], is_one: bool) -> Vec<Value> {
    let about = |one: &Value| {
        let pattern = if is_one { &Value::Null } else { &one["pattern"] };
        json!([one["customer"], one["by"], pattern, without_counts(one)]).to_string()
    };
    let mut before: BTreeMap<String, VecDeque<&Value>> = BTreeMap::new();
    for one in lost {
        before.entry(about(one)).or_default().push_back(&one["at"]);
    }
    let pair = |is: &Value| {
        let was = before.get_mut(&about(is)).and_then(VecDeque::pop_front)?;
        Some(
            json!({ "was": was, "is": is["at"], "customer": is["customer"], "pattern": is["pattern"], "by": is["by"] }),
        )
    };
    gained.iter().filter_map(pair).collect()
}

/// Steps and evidence.
fn without_counts(line: &Value) -> Value {
    let mut seen = line["seen"].clone();
    for step in seen.as_array_mut().into_iter().flatten() {
        if let Some(step) = step.as_object_mut() {
            step.remove("count");
        }
    }
    seen
}

/// Per step how many events matched.
fn counts(line: &Value) -> Value {
    let steps = line["seen"].as_array().into_iter().flatten();
    steps.map(|step| step["count"].clone()).collect()
}

/// Takes what both have out of both; returns how many that were, and those of them that count otherwise: the line as it is and the counts
/// as they were.
fn cancel_out(old: &mut BTreeMap<Key, Vec<Value>>, new: &mut BTreeMap<Key, Vec<Value>>) -> (usize, Vec<Value>) {
    let (mut kept, mut recounted) = (0, Vec::new());
    for (key, before) in old.iter_mut() {
        if let Some(after) = new.get_mut(key) {
            let both = before.len().min(after.len());
            let (was, is) = (
                before.split_off(before.len() - both),
                after.split_off(after.len() - both),
            );
            kept += both;
            let other = was.iter().zip(is).filter(|(was, is)| counts(was) != counts(is));
            recounted.extend(other.map(|(was, is)| json!({ "was": counts(was), "is": is })));
        }
    }
    (kept, recounted)
}
