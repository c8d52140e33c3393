//! `when`: the steps of a pattern.

use std::collections::BTreeMap;

use super::fields::{self, Fields};
use crate::{
    cel::{self, Expr, Root},
    finding::{Mark, Report},
    yaml::{Node, Value},
};

const LONGEST: i64 = 30 * 86_400_000;

/// What must happen, in which order, and what must not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct When {
    pub by: Vec<String>,
    pub within: i64,
    pub steps: Vec<Step>,
    pub until: Vec<String>,
    /// Per captured name: the fields of it that a `where` reads; a slot of the run's captured values each.
    pub slots: Vec<(usize, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    See(See),
    /// An absence up to the next `see`.
    Guard(Absent),
    /// An absence for a time.
    Wait(Absent, i64),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct See {
    pub types: Vec<String>,
    pub condition: Option<Expr>,
    pub times: u8,
    pub within: Option<i64>,
    pub name: Option<String>,
    pub at: Mark,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absent {
    pub types: Vec<String>,
    pub condition: Option<Expr>,
    pub at: Mark,
}

impl When {
    pub fn sees(&self) -> impl Iterator<Item = &See> {
        self.steps.iter().filter_map(|step| match step {
            Step::See(see) => Some(see),
            _ => None,
        })
    }

    pub fn see_count(&self) -> usize {
        self.sees().count()
    }

    /// Captured names, with the index of the `see` that captures each.
    pub fn names(&self) -> BTreeMap<String, usize> {
        self.sees()
            .enumerate()
            .filter_map(|(index, see)| Some((see.name.clone()?, index)))
            .collect()
    }
}

pub(super) fn read(node: &Node, report: &mut Report) -> Option<When> {
    let mut keys = Fields::of(node, "when", report)?;
    let by = keys
        .get("by")
        .map(|node| fields::words(node, "by", 3, report))
        .unwrap_or_default();
    let within = match keys.get("within") {
        Some(node) => {
            let found = fields::duration(node, "within", report);
            if let Some(long) = found.filter(|within| *within > LONGEST) {
                let days = long / 86_400_000;
                report.error(
                    node.at,
                    "within-long",
                    format!("within exceeds the limit: within={days}d limit=30d"),
                );
            }
            found
        }
        None => {
            report.error(
                node.at,
                "within-missing",
                "within is required: state would have no bound",
            );
            None
        }
    };
    for later in ["all", "during"] {
        if let Some(node) = keys.get(later) {
            report.error(node.at, "not-yet", format!("not supported yet: key={later}"));
        }
    }
    let until = keys
        .get("until")
        .map(|node| event_types(node, "until", report))
        .unwrap_or_default();
    let sequence = keys.required("sequence", report);
    keys.finish(report);
    let (mut steps, mut names) = (Vec::new(), Vec::new());
    match sequence.map(|node| (&node.value, node.at)) {
        Some((Value::List(nodes), at)) => {
            if nodes.is_empty() || nodes.len() > 8 {
                report.error(
                    at,
                    "range",
                    format!("a sequence takes 1 to 8 steps: found={}", nodes.len()),
                );
            }
            for node in nodes {
                let step = read_step(node, &names, report)?;
                if let Step::See(See { name: Some(name), .. }) = &step {
                    names.push(name.clone());
                }
                steps.push(step);
            }
        }
        Some((_, at)) => report.error(at, "type", "sequence must be a list of steps"),
        None => {}
    }
    let mut when = When {
        by: by.into_iter().map(|(field, _)| field).collect(),
        within: within?,
        steps,
        until,
        slots: Vec::new(),
    };
    check_order(&when, report);
    assign_slots(&mut when, &names);
    Some(when)
}

fn event_types(node: &Node, what: &str, report: &mut Report) -> Vec<String> {
    let words = fields::words(node, what, 16, report);
    for (word, at) in &words {
        let part = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_lowercase())
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !word
            .split_once('.')
            .is_some_and(|(object, verb)| part(object) && part(verb))
        {
            report.error(
                *at,
                "event-type",
                format!("an event type is object.verb in lower case: found={word}"),
            );
        }
    }
    words.into_iter().map(|(word, _)| word).collect()
}

fn read_step(node: &Node, names: &[String], report: &mut Report) -> Option<Step> {
    let mut keys = Fields::of(node, "a step", report)?;
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let condition = keys.get("where").and_then(|node| condition(node, &known, report));
    if let Some(see) = keys.get("see") {
        let types = event_types(see, "see", report);
        let times = keys
            .get("times")
            .map_or(Some(1), |node| fields::whole(node, "times", 1, 100, report));
        let within = keys
            .get("within")
            .and_then(|node| fields::duration(node, "within", report));
        let name = keys.get("as").and_then(|node| fields::text(node, "as", report));
        if let Some(name) = &name {
            let reserved = [
                "event", "journey", "profile", "seen", "by", "in", "true", "false", "null",
            ];
            if reserved.contains(&name.as_str()) || known.contains(&name.as_str()) {
                report.error(node.at, "name", format!("this name is taken: name={name}"));
            }
        }
        if let Some(node) = keys.get("across") {
            report.error(node.at, "not-yet", "not supported yet: key=across");
        }
        keys.finish(report);
        let times = u8::try_from(times?).ok()?;
        return Some(Step::See(See {
            types,
            condition,
            times,
            within,
            name,
            at: node.at,
        }));
    }
    let absent = keys.get("absent");
    let wait = keys.get("for").and_then(|node| fields::duration(node, "for", report));
    let has_wait = keys.get("for").is_some();
    keys.finish(report);
    let Some(absent) = absent else {
        report.error(node.at, "key-missing", "a step is a see or an absent");
        return None;
    };
    let absent = Absent {
        types: event_types(absent, "absent", report),
        condition,
        at: node.at,
    };
    match wait {
        Some(wait) => Some(Step::Wait(absent, wait)),
        None if has_wait => None,
        None => Some(Step::Guard(absent)),
    }
}

fn condition(node: &Node, names: &[&str], report: &mut Report) -> Option<Expr> {
    let source = fields::text(node, "where", report)?;
    if source.chars().count() > 1000 {
        report.error(node.at, "range", "where is longer than 1,000 characters");
        return None;
    }
    match cel::parse(&source, names).and_then(|expr| cel::check(&expr).map(|()| expr)) {
        Ok(expr) => Some(expr),
        Err(flaw) => {
            report.error(node.mark_within(flaw.at), flaw.code, flaw.message);
            None
        }
    }
}

fn check_order(when: &When, report: &mut Report) {
    let mut waits = 0;
    for (index, step) in when.steps.iter().enumerate() {
        let next_is_see = matches!(when.steps.get(index + 1), Some(Step::See(_)));
        match step {
            Step::Guard(absent) | Step::Wait(absent, _) if index == 0 => {
                report.error(
                    absent.at,
                    "absent-first",
                    "a sequence cannot begin with absent: nothing starts the wait",
                );
            }
            Step::Guard(absent) if index + 1 == when.steps.len() => {
                report.error(absent.at, "absent-open", "absent needs for: no see follows");
            }
            Step::Guard(absent) if !next_is_see => {
                report.error(
                    absent.at,
                    "guard-position",
                    "absent without for must stand directly before a see",
                );
            }
            Step::Guard(_) => {}
            Step::Wait(_, wait) => waits += wait,
            Step::See(see) => {
                if let Some(within) = see.within {
                    if index == 0 {
                        report.error(see.at, "step-within", "first step has no step before it");
                    } else if within > when.within {
                        report.error(see.at, "step-within", "step within exceeds within");
                    }
                }
                if let Some(blocked) = see.types.iter().find(|kind| index > 0 && when.until.contains(kind)) {
                    report.error(
                        see.at,
                        "until-blocks",
                        format!("until discards what this step needs: type={blocked}"),
                    );
                }
            }
        }
    }
    if waits > when.within {
        let at = when.steps.iter().find_map(|step| match step {
            Step::Wait(absent, _) => Some(absent.at),
            _ => None,
        });
        let message = format!(
            "within is shorter than its waits: within={}ms waits={waits}ms",
            when.within
        );
        report.error(at.unwrap_or_default(), "within-short", message);
    }
}

/// Gives each captured field that is read a slot in the run.
fn assign_slots(when: &mut When, names: &[String]) {
    let see_of: Vec<usize> = names
        .iter()
        .map(|name| when.sees().position(|see| see.name.as_ref() == Some(name)).unwrap_or(0))
        .collect();
    let mut slots: Vec<(usize, String)> = Vec::new();
    for step in &mut when.steps {
        let condition = match step {
            Step::See(see) => &mut see.condition,
            Step::Guard(absent) | Step::Wait(absent, _) => &mut absent.condition,
        };
        if let Some(expr) = condition {
            expr.paths_mut(&mut |path| {
                if let Root::Captured(name) = path.root {
                    let wanted = (see_of[name], path.field.clone());
                    path.slot = slots.iter().position(|slot| *slot == wanted).unwrap_or_else(|| {
                        slots.push(wanted);
                        slots.len() - 1
                    });
                }
            });
        }
    }
    when.slots = slots;
}
