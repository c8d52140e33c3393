//! What a `where` reads that may not be there, and what it compares with that cannot be.

use std::collections::BTreeSet;

use event::{Band, Channel, ConsentStatus, Label, Phase, PromiseStatus, Role, vocabulary};

use super::{Pattern, Step, then::PURPOSES, when::Where};
use crate::{
    cel::{Expr, Node, Op, Path, Root},
    finding::{Report, nearest},
};

/// Warns of fields that an event may lack and of which nothing asks first, and of values that a field never has.
pub(super) fn warn(pattern: &Pattern, step: &Step, report: &mut Report) {
    let Some(condition) = step.condition() else { return };
    missing(pattern, step, condition, report);
    values(step, condition, report);
}

/// How a path is written in a `where`.
pub(super) fn written(pattern: &Pattern, path: &Path) -> String {
    let root = match path.root {
        Root::Event => "event",
        Root::Journey => "journey",
        Root::Profile => "profile",
        Root::Captured(index) => captured(pattern, index).map_or("", |(name, _)| name),
    };
    format!("{root}.{}", path.field)
}

/// The name that a step gives its event, and the types that this may have.
fn captured(pattern: &Pattern, index: usize) -> Option<(&str, &[String])> {
    let mut named = pattern
        .when
        .sees()
        .filter_map(|see| Some((see.name.as_deref()?, see.types.as_slice())));
    named.nth(index)
}

fn missing(pattern: &Pattern, step: &Step, condition: &Where, report: &mut Report) {
    let is_absence = !matches!(step, Step::See(_));
    let mut told = BTreeSet::new();
    for kind in step.types() {
        let reads = Reads {
            pattern,
            kind,
            is_absence,
        };
        let mut found = Vec::new();
        reads.unguarded(&condition.expr, &[], &mut found);
        for (path, at) in found {
            let field = written(pattern, path);
            if !told.insert((at, field.clone())) {
                continue;
            }
            let at = condition.mark(at);
            if is_absence && path.root == Root::Event {
                let message = format!("a missing field leaves the absence unbroken: field={}", path.field);
                report.warning(at, "absent-missing", message);
            } else {
                let message = format!("a missing field is no match, and is counted as an error: field={field}");
                let help = format!("where it may be missing: has({field}) && …");
                report.warning_with_help(at, "field-optional", message, &help);
            }
        }
    }
}

/// What a `where` reads of an event of one type.
struct Reads<'a> {
    pattern: &'a Pattern,
    kind: &'a str,
    is_absence: bool,
}

impl Reads<'_> {
    /// Whether nothing may stand there. What is not known to be anywhere is told as unlisted.
    fn may_lack(&self, path: &Path) -> bool {
        let field = path.field.as_str();
        match path.root {
            Root::Event => match vocabulary::carries(self.kind, field) {
                Some(carries) => !carries && (self.is_absence || is_known(field)),
                // Of a type of one's own it is not known what it carries; an absence must be sure of it.
                None => self.is_absence,
            },
            Root::Captured(index) => captured(self.pattern, index).is_some_and(|(_, kinds)| {
                let lacks = |kind: &String| vocabulary::carries(kind, field) == Some(false);
                is_known(field) && kinds.iter().any(lacks)
            }),
            Root::Journey => {
                matches!(
                    field,
                    "sentiment.mean" | "sentiment.ewma" | "sentiment.trend" | "sentiment.worst"
                ) || field.starts_with("promises.")
                    || field.starts_with("value.")
            }
            Root::Profile => !matches!(field, "phase" | "quarantined"),
        }
    }

    /// Adds every path of which nothing asks whether it is there before it is read; `present` have been asked for.
    fn unguarded<'e>(&self, expr: &'e Expr, present: &[&'e Path], found: &mut Vec<(&'e Path, usize)>) {
        match &expr.node {
            Node::Read(path) => {
                if self.may_lack(path) && !present.contains(&path) {
                    found.push((path, expr.at));
                }
            }
            Node::Binary(op @ (Op::And | Op::Or), left, right) => {
                // A side that decides alone is enough, whichever it is.
                let decides = Some(*op == Op::Or);
                if self.constant(left) == decides || self.constant(right) == decides {
                    return;
                }
                for (one, other) in [(left, right), (right, left)] {
                    let known = [present, &asked(other, *op == Op::And)].concat();
                    self.unguarded(one, &known, found);
                }
            }
            Node::Choose(test, yes, no) => {
                self.unguarded(test, present, found);
                for (branch, holds) in [(yes, true), (no, false)] {
                    if self.constant(test) != Some(!holds) {
                        self.unguarded(branch, &[present, &asked(test, holds)].concat(), found);
                    }
                }
            }
            _ => expr
                .children()
                .into_iter()
                .for_each(|child| self.unguarded(child, present, found)),
        }
    }

    /// What an expression is on every event of the type.
    fn constant(&self, expr: &Expr) -> Option<bool> {
        let is_kind = |path: &Path| path.root == Root::Event && path.field == "type";
        let text = |expr: &Expr| match &expr.node {
            Node::Text(text) => Some(text == self.kind),
            _ => None,
        };
        match &expr.node {
            Node::Bool(value) => Some(*value),
            Node::Has(path) if path.root == Root::Event => {
                vocabulary::carries(self.kind, &path.field).filter(|carries| *carries)
            }
            Node::Not(inner) => self.constant(inner).map(|value| !value),
            Node::Binary(op @ (Op::Equal | Op::Unequal), left, right) => {
                let same = match (&left.node, &right.node) {
                    (Node::Read(path), _) if is_kind(path) => text(right),
                    (_, Node::Read(path)) if is_kind(path) => text(left),
                    _ => None,
                };
                same.map(|same| same == (*op == Op::Equal))
            }
            Node::In(item, list) => match &item.node {
                Node::Read(path) if is_kind(path) => Some(list.iter().any(|one| text(one) == Some(true))),
                _ => None,
            },
            Node::Binary(op @ (Op::And | Op::Or), left, right) => {
                let decides = *op == Op::Or;
                match (self.constant(left), self.constant(right)) {
                    (Some(one), _) | (_, Some(one)) if one == decides => Some(decides),
                    (Some(_), Some(_)) => Some(!decides),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// The paths that are there if `expr` is true, or if it is false.
fn asked(expr: &Expr, is: bool) -> Vec<&Path> {
    match (&expr.node, is) {
        (Node::Has(path), true) => vec![path],
        (Node::Not(inner), _) => asked(inner, !is),
        (Node::Binary(Op::And, left, right), true) | (Node::Binary(Op::Or, left, right), false) => {
            [asked(left, is), asked(right, is)].concat()
        }
        _ => Vec::new(),
    }
}

fn is_known(field: &str) -> bool {
    super::lint::event_fields().contains(&field)
}

/// Paths whose members have names.
pub(super) struct Family {
    pub root: &'static str,
    pub prefix: &'static str,
    pub known: &'static [&'static str],
    /// Whether there may be others.
    pub is_open: bool,
}

pub(super) const FAMILIES: [Family; 3] = [
    Family {
        root: "journey.",
        prefix: "sentiment.signals.",
        known: &[
            "churn_intent",
            "complaint",
            "escalation",
            "legal_threat",
            "profanity",
            "resolved",
            "urgency",
        ],
        is_open: false,
    },
    // Those that events imply; `promise.made` may name others.
    Family {
        root: "journey.",
        prefix: "promises.",
        known: &["callback", "no_charge", "refund"],
        is_open: true,
    },
    Family {
        root: "profile.",
        prefix: "consent.",
        known: &PURPOSES,
        is_open: false,
    },
];

/// The values that a field may have, where they are a closed set.
fn known(path: &Path, step: &Step) -> Option<Vec<String>> {
    let all = |names: &mut dyn Iterator<Item = &'static str>| Some(names.map(str::to_owned).collect());
    match (path.root, path.field.as_str()) {
        (Root::Event, "type") => Some(step.types().to_vec()),
        (Root::Event | Root::Captured(_), "channel") => all(&mut Channel::ALL.iter().map(|name| name.as_str())),
        (Root::Event | Root::Captured(_), "role") => all(&mut Role::ALL.iter().map(|name| name.as_str())),
        (Root::Event | Root::Captured(_), "sentiment.label") => all(&mut Label::ALL.iter().map(|name| name.as_str())),
        (Root::Journey | Root::Profile, "phase") => all(&mut Phase::ALL.iter().map(|name| name.as_str())),
        (Root::Journey | Root::Profile, "value.band") => all(&mut Band::ALL.iter().map(|name| name.as_str())),
        (Root::Journey, field) if field.starts_with("promises.") => {
            let known = PromiseStatus::ALL.iter().filter(|one| **one != PromiseStatus::Unknown);
            all(&mut known.map(|name| name.as_str()))
        }
        (Root::Profile, field) if field.starts_with("consent.") => {
            all(&mut ConsentStatus::ALL.iter().map(|name| name.as_str()))
        }
        _ => None,
    }
}

/// Warns of comparisons with what a field never is.
fn values(step: &Step, condition: &Where, report: &mut Report) {
    let mut compared: Vec<(&Path, usize, &str)> = Vec::new();
    comparisons(&condition.expr, &mut compared);
    for (path, at, value) in compared {
        let Some(known) = known(path, step) else { continue };
        if known.iter().any(|known| known == value) {
            continue;
        }
        let near = nearest(value, known.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
        let message = format!("{} is never this: found={value}{near}", path.field);
        let help = format!("known: {}", known.join(", "));
        report.warning_with_help(condition.mark(at), "value-unlisted", message, &help);
    }
}

/// Every path that is compared with a text for equality, the place of the path, and the text.
fn comparisons<'e>(expr: &'e Expr, found: &mut Vec<(&'e Path, usize, &'e str)>) {
    match &expr.node {
        Node::Binary(Op::Equal | Op::Unequal, left, right) => {
            for (one, other) in [(left, right), (right, left)] {
                if let (Node::Read(path), Node::Text(text)) = (&one.node, &other.node) {
                    found.push((path, one.at, text));
                }
            }
        }
        Node::In(item, list) => {
            if let Node::Read(path) = &item.node {
                found.extend(list.iter().filter_map(|literal| match &literal.node {
                    Node::Text(text) => Some((path, item.at, text.as_str())),
                    _ => None,
                }));
            }
        }
        _ => {}
    }
    expr.children().into_iter().for_each(|child| comparisons(child, found));
}
