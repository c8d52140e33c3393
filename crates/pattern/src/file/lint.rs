//! Warnings: a file that works, and probably does not do what its author wants.

use std::path::Path;

use event::{OutChannel, vocabulary};

use super::{Absent, Pattern, Status, Step, When, constant, reads};
use crate::{
    cel::Root,
    diff::mark,
    finding::{Mark, Report, nearest},
    template::Place,
    yaml,
};

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

/// Warns of types that are not listed.
pub(super) fn types(when: &When, report: &mut Report) {
    for step in &when.steps {
        for kind in step.types() {
            listed(kind, step.at(), report);
        }
    }
}

/// Adds the warnings; places are those of `source`, the file.
pub(super) fn warn(pattern: &Pattern, source: &str, report: &mut Report) {
    types(&pattern.when, report);
    let mut awaited: Vec<&str> = Vec::new();
    for step in &pattern.when.steps {
        if let Step::Guard(absent) | Step::Wait(absent, _) = step {
            awaited.extend(absent.types.iter().map(String::as_str));
            absence(pattern, absent, report);
        }
        fields_listed(pattern, step, step.at(), report);
        reads::warn(pattern, step, report);
        constant::warn(pattern, step, report);
    }
    let waits = pattern
        .when
        .steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match step {
            Step::Wait(absent, _) if pattern.when.any_order || index + 1 == pattern.when.steps.len() => Some(absent),
            _ => None,
        });
    for absent in waits {
        let started: Vec<&String> = pattern.when.sees().flat_map(|see| &see.types).collect();
        for kind in absent.types.iter().filter(|kind| !started.contains(kind)) {
            if !pattern.then.cancel_on.contains(kind) {
                let message = format!("cancel_on does not name what was awaited: type={kind}");
                report.warning(absent.at, "cancel-open", message);
            }
        }
    }
    by_listed(pattern, mark(source, &["when", "by"]), report);
    if let Some(during) = &pattern.when.during {
        let at = mark(source, &["when", "during"]);
        unlisted("profile.", &during.field, &["renewal_date"], at, report);
    }
    sentences(pattern, mark(source, &["then", "because"]), report);
    if pattern.then.route.is_none() {
        for channel in pattern
            .then
            .channels
            .iter()
            .filter(|channel| matches!(channel, OutChannel::Voice))
        {
            report.warning(
                mark(source, &["then", "channels"]),
                "route-missing",
                format!("channel needs a person: channel={channel} route=none"),
            );
        }
    }
    if !pattern.tests.iter().any(|test| test.expect.is_empty()) {
        report.warning(mark(source, &["tests"]), "tests-one-sided", "no test expects nothing");
    }
    if !pattern.tests.iter().any(|test| !test.expect.is_empty()) {
        let at = mark(source, &["tests"]);
        report.warning(at, "tests-one-sided", "no test expects an intervention");
    }
    if pattern.status == Status::Live && pattern.rollout.holdout == 0 {
        let at = mark(source, &["rollout", "holdout"]);
        report.warning(at, "holdout-none", "live without holdout: uplift cannot be measured");
    }
}

/// Attributes that events often carry, beside those that a type requires.
const OPTIONAL: [&str; 24] = [
    "brand",
    "cart_id",
    "category",
    "code",
    "confidence",
    "currency",
    "disposition",
    "handle_ms",
    "label",
    "name",
    "price",
    "promised_at",
    "quantity",
    "reason",
    "repeated",
    "resolved",
    "score",
    "sku",
    "surface",
    "to_queue",
    "url",
    "value",
    "variant",
    "wrap_up_ms",
];

const ENVELOPE: [&str; 9] = [
    "type",
    "channel",
    "medium",
    "session",
    "conversation",
    "role",
    "sentiment.label",
    "sentiment.score",
    "sentiment.confidence",
];

const JOURNEY: [&str; 15] = [
    "phase",
    "contacts_7d",
    "effort.points",
    "sentiment.mean",
    "sentiment.ewma",
    "sentiment.trend",
    "sentiment.negative_run",
    "sentiment.worst",
    "sentiment.dip",
    "value.orders",
    "value.lifetime",
    "value.cart",
    "value.monthly",
    "value.band",
    "value.currency",
];

const PROFILE: [&str; 12] = [
    "phase",
    "lang",
    "time_zone",
    "renewal_date",
    "cart_id",
    "quarantined",
    "value.orders",
    "value.lifetime",
    "value.cart",
    "value.monthly",
    "value.band",
    "value.currency",
];

/// Whether a step names a type of one's own, which has fields of one's own.
fn is_open(pattern: &Pattern) -> bool {
    let has_own_types = |step: &Step| step.types().iter().any(|kind| vocabulary::required(kind).is_none());
    pattern.when.steps.iter().any(has_own_types)
}

/// What is known to stand on some event.
pub(super) fn event_fields() -> Vec<&'static str> {
    let required = vocabulary::VOCABULARY.iter().flat_map(|(_, required)| *required);
    let all = required.copied().chain(OPTIONAL).chain(ENVELOPE);
    all.filter(|name| !name.starts_with('<')).collect()
}

fn unlisted(root: &str, name: &str, known: &[&str], at: Mark, report: &mut Report) {
    if known.contains(&name) {
        return;
    }
    let near = nearest(name, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
    let message = format!("not in the vocabulary: found={root}{name}{near}");
    if root.is_empty() && name == "time" {
        let help = "time belongs to the steps: `within`, `for` and `during` speak of it";
        report.warning_with_help(at, "field-unlisted", message, help);
    } else {
        report.warning(at, "field-unlisted", message);
    }
}

/// Warns of fields of `by` that nothing is known to have: an event without them is invisible to the pattern.
fn by_listed(pattern: &Pattern, at: Mark, report: &mut Report) {
    if !is_open(pattern) {
        let known = event_fields();
        for field in &pattern.when.by {
            unlisted("", field, &known, at, report);
        }
    }
}

/// Warns of places in sentences that are never filled.
fn sentences(pattern: &Pattern, at: Mark, report: &mut Report) {
    for place in pattern.then.because.values().flat_map(|sentence| sentence.places()) {
        match place {
            Place::By(field) if !pattern.when.by.contains(field) => {
                let message = format!("a sentence reads what by does not name: field={field}");
                report.warning(at, "template", message);
            }
            Place::Journey(path) => of_journey(path, at, report),
            Place::Profile(path) => of_profile(path, at, report),
            Place::First(_, field) | Place::Last(_, field) if !is_open(pattern) => {
                unlisted("", field, &event_fields(), at, report);
            }
            _ => {}
        }
    }
}

fn of_journey(path: &str, at: Mark, report: &mut Report) {
    if !family("journey.", path, at, report) {
        unlisted("journey.", path, &JOURNEY, at, report);
    }
}

fn of_profile(path: &str, at: Mark, report: &mut Report) {
    if !family("profile.", path, at, report) && !path.starts_with("preferences.") {
        unlisted("profile.", path, &PROFILE, at, report);
    }
}

/// Whether a path is of those that have members by name; warns of one that nobody writes.
fn family(root: &str, path: &str, at: Mark, report: &mut Report) -> bool {
    let Some(family) = reads::FAMILIES
        .iter()
        .find(|family| family.root == root && path.starts_with(family.prefix))
    else {
        return false;
    };
    let member = &path[family.prefix.len()..];
    let near = nearest(member, family.known.iter().copied());
    if family.known.contains(&member) || (family.is_open && near.is_none()) {
        return true;
    }
    let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
    let message = format!("not in the vocabulary: found={root}{path}{near}");
    report.warning_with_help(
        at,
        "field-unlisted",
        message,
        &format!("known: {}", family.known.join(", ")),
    );
    true
}

/// Warns of fields that nothing is known to have. A type of one's own has fields of one's own.
fn fields_listed(pattern: &Pattern, step: &Step, at: Mark, report: &mut Report) {
    let is_open = is_open(pattern);
    let event = event_fields();
    if let Step::See(see) = step
        && let Some(across) = see.across.as_ref().filter(|_| !is_open)
    {
        unlisted("", &across.field, &event, at, report);
    }
    let Some(condition) = step.condition() else { return };
    condition.expr.paths(&mut |path, place| {
        let (name, at) = (path.field.as_str(), condition.mark(place));
        match path.root {
            Root::Event | Root::Captured(_) if !is_open => unlisted("", name, &event, at, report),
            Root::Journey => of_journey(name, at, report),
            Root::Profile => of_profile(name, at, report),
            _ => {}
        }
    });
}

fn listed(kind: &str, at: Mark, report: &mut Report) {
    let derived = ["sentiment.scored"];
    if vocabulary::required(kind).is_some() || derived.contains(&kind) || kind.starts_with("intervention.") {
        return;
    }
    match nearest_type(kind) {
        Some(near) => report.warning(
            at,
            "type-unlisted",
            format!("not in the vocabulary: found={kind} nearest={near}"),
        ),
        None => report.warning(at, "type-unlisted", format!("not in the vocabulary: found={kind}")),
    }
}

/// A type that is spelt nearly so or, of those about the same object, one to which the same happens: `cart.item_added` means
/// `cart.product_added`.
fn nearest_type(kind: &str) -> Option<&'static str> {
    let known = || vocabulary::VOCABULARY.iter().map(|(known, _)| *known);
    let object = kind.split('.').next();
    let happens = kind.rsplit(['.', '_']).next();
    let same = |known: &&str| known.split('.').next() == object && known.rsplit(['.', '_']).next() == happens;
    nearest(kind, known()).or_else(|| known().find(same))
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
}
