//! Warnings: a file that works, and probably does not do what its author wants.

use std::path::Path;

use event::{OutChannel, vocabulary};

use super::{Absent, Pattern, Status, Step};
use crate::{
    cel::{Expr, Node},
    finding::{Mark, Report, nearest},
    yaml,
};

const TOP: Mark = Mark { line: 1, column: 1 };

pub(super) fn file_name(file: &str, source: &str, report: &mut Report) {
    let stem = Path::new(file)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let mut unread = Report::default();
    let Some(yaml::Node {
        value: yaml::Value::Map(entries),
        ..
    }) = yaml::read(source, &mut unread)
    else {
        return;
    };
    let found = entries.iter().find(|(key, _)| key.text() == Some("pattern"));
    if let Some((_, node)) = found
        && let Some(id) = node.text()
        && !stem.is_empty()
        && id != stem
    {
        let name = Path::new(file)
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(file);
        report.error(
            node.at,
            "file-name",
            format!("file name and pattern differ: file={name} pattern={id}"),
        );
    }
}

pub(super) fn warn(pattern: &Pattern, report: &mut Report) {
    let mut awaited: Vec<&str> = Vec::new();
    for step in &pattern.when.steps {
        let (types, at) = match step {
            Step::See(see) => (&see.types, see.at),
            Step::Guard(absent) | Step::Wait(absent, _) => {
                awaited.extend(absent.types.iter().map(String::as_str));
                absence(pattern, absent, report);
                (&absent.types, absent.at)
            }
        };
        for kind in types {
            listed(kind, at, report);
        }
    }
    if let Some(Step::Wait(absent, _)) = pattern.when.steps.last() {
        let started: Vec<&String> = pattern.when.sees().flat_map(|see| &see.types).collect();
        for kind in absent.types.iter().filter(|kind| !started.contains(kind)) {
            if !pattern.then.cancel_on.contains(kind) {
                let message = format!("cancel_on does not name what was awaited: type={kind}");
                report.warning(absent.at, "cancel-open", message);
            }
        }
    }
    if pattern.then.route.is_none() {
        for channel in pattern
            .then
            .channels
            .iter()
            .filter(|channel| matches!(channel, OutChannel::Voice))
        {
            report.warning(
                TOP,
                "route-missing",
                format!("channel needs a person: channel={channel} route=none"),
            );
        }
    }
    if !pattern.tests.iter().any(|test| test.expect.is_empty()) {
        report.warning(TOP, "tests-one-sided", "no test expects nothing");
    }
    if !pattern.tests.iter().any(|test| !test.expect.is_empty()) {
        report.warning(TOP, "tests-one-sided", "no test expects an intervention");
    }
    if pattern.status == Status::Live && pattern.rollout.holdout == 0 {
        report.warning(TOP, "holdout-none", "live without holdout: uplift cannot be measured");
    }
}

fn listed(kind: &str, at: Mark, report: &mut Report) {
    let derived = ["sentiment.scored"];
    if vocabulary::required(kind).is_some() || derived.contains(&kind) || kind.starts_with("intervention.") {
        return;
    }
    let known = vocabulary::VOCABULARY.iter().map(|(known, _)| *known);
    match nearest(kind, known) {
        Some(near) => report.warning(
            at,
            "type-unlisted",
            format!("not in the vocabulary: found={kind} nearest={near}"),
        ),
        None => report.warning(at, "type-unlisted", format!("not in the vocabulary: found={kind}")),
    }
}

fn absence(pattern: &Pattern, absent: &Absent, report: &mut Report) {
    for field in &pattern.when.by {
        for kind in &absent.types {
            let required = vocabulary::required(kind).unwrap_or_default();
            let envelope = format!("<{field}>");
            let always = matches!(field.as_str(), "channel" | "type");
            if !always && !required.contains(&field.as_str()) && !required.contains(&envelope.as_str()) {
                let message = format!("absence may never be broken: type={kind} need not carry field={field}");
                report.warning(absent.at, "by-blind", message);
            }
        }
    }
    let Some(condition) = &absent.condition else { return };
    let mut guarded = Vec::new();
    has_paths(condition, &mut guarded);
    condition.paths(&mut |path, _| {
        let sure = absent
            .types
            .iter()
            .all(|kind| vocabulary::required(kind).is_some_and(|required| required.contains(&path.field.as_str())));
        let envelope = matches!(path.field.as_str(), "type" | "channel");
        if path.root == crate::cel::Root::Event && !sure && !envelope && !guarded.contains(&path.field) {
            let message = format!("a missing field leaves the absence unbroken: field={}", path.field);
            report.warning(absent.at, "absent-missing", message);
        }
    });
}

fn has_paths(expr: &Expr, found: &mut Vec<String>) {
    match &expr.node {
        Node::Has(path) => found.push(path.field.clone()),
        Node::Not(inner) => has_paths(inner, found),
        Node::Binary(_, left, right) => {
            has_paths(left, found);
            has_paths(right, found);
        }
        Node::Choose(test, yes, no) => {
            has_paths(test, found);
            has_paths(yes, found);
            has_paths(no, found);
        }
        _ => {}
    }
}
