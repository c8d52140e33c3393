//! What an audit says at its end, for people and for programs.

use serde_json::{Value, json};

use crate::report::{Exit, Report};

use super::{
    finding::{Findings, Uncovered},
    watch::Watch,
};

/// The report; `late` names what could not be read to its end.
#[must_use]
pub fn report(watch: &Watch, late: &[String]) -> Report {
    let (mut text, mut services) = (String::new(), serde_json::Map::new());
    if let Some(stateless) = &watch.stateless {
        let mut rows = Vec::new();
        for raw in stateless.summaries().iter().filter(|raw| raw.judged.is_some()) {
            let (from, to) = raw.judged.unwrap_or_default();
            text.push_str(&format!(
                "intake   {}  offsets {from}..{to}: {} records, {} events, {} dead letters\n",
                raw.place, raw.read, raw.events, raw.letters
            ));
            rows.push(
                json!({ "partition": raw.place, "from": from, "to": to, "records": raw.read, "events": raw.events,
                "dead_letters": raw.letters, "committed": raw.committed }),
            );
        }
        services.insert("intake".to_owned(), Value::Array(rows));
    }
    if let Some(keyed) = &watch.keyed {
        let (summaries, names) = keyed.summaries();
        let mut rows = Vec::new();
        for (partition, of) in summaries.iter().enumerate() {
            let Some((first, last, count)) = of.epochs else {
                continue;
            };
            let offset = of.offset.unwrap_or_default();
            text.push_str(&format!(
                "monitor  partition {partition}  epochs {first}..{last}: {count} read, next offset {offset}\n"
            ));
            let mut topics = Vec::new();
            for (topic, (counted, visible)) in &of.totals {
                let name = names.get(*topic).map_or("", String::as_str);
                text.push_str(&format!(
                    "           {name:36} counted {counted:>9}  visible {visible:>9}\n"
                ));
                topics.push(json!({ "topic": name, "counted": counted, "visible": visible }));
            }
            rows.push(
                json!({ "partition": partition, "first_epoch": first, "last_epoch": last, "epochs": count,
                "offset": offset, "topics": topics }),
            );
        }
        services.insert("monitor".to_owned(), Value::Array(rows));
    }
    let findings = &watch.findings;
    text.push_str(&tail(findings, late));
    let counts: serde_json::Map<String, Value> = findings
        .counts()
        .iter()
        .map(|(kind, count)| (kind.as_str().to_owned(), json!(count)))
        .collect();
    let found = findings.kept().iter().map(super::finding::Finding::json);
    Report {
        command: "audit",
        exit: if findings.counts().is_empty() {
            Exit::Done
        } else {
            Exit::Findings
        },
        findings: Vec::new(),
        data: json!({ "services": services, "counts": counts, "found": found.collect::<Vec<_>>(),
            "not_covered": findings.uncovered().map(uncovered_json).collect::<Vec<_>>(), "not_read": late }),
        text,
    }
}

/// What is not covered, what was found, and the verdict.
fn tail(findings: &Findings, late: &[String]) -> String {
    let mut text = String::new();
    for of in findings.uncovered() {
        text.push_str(&format!(
            "not covered: {}: {}: {}: {} {}..{} count={}\n",
            of.service, of.place, of.reason, of.unit, of.first, of.last, of.count
        ));
    }
    for line in late {
        text.push_str(&format!("not read: {line}\n"));
    }
    for finding in findings.kept() {
        text.push_str(&format!("{finding}\n"));
    }
    let counts: Vec<String> = findings
        .counts()
        .iter()
        .map(|(kind, count)| format!("{}={count}", kind.as_str()))
        .collect();
    text.push_str(&match (counts.is_empty(), late.is_empty()) {
        (true, true) => "clean: nothing lost, torn, duplicated or out of order in what is covered".to_owned(),
        (true, false) => "not finished: see what was not read".to_owned(),
        (false, _) => format!("found: {}", counts.join(" ")),
    });
    text
}

fn uncovered_json(of: &Uncovered) -> Value {
    json!({ "service": of.service, "place": of.place, "reason": of.reason, "unit": of.unit, "first": of.first,
        "last": of.last, "count": of.count })
}
