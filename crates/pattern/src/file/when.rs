//! `when`: the steps of a pattern.

use std::collections::BTreeMap;

use event::Millis;

use super::{
    fields::{self, Fields},
    order,
};
use crate::{
    cel::{self, Expr, Root, Scope},
    finding::{Mark, Report},
    yaml::{Node, Value},
};

const LONGEST: i64 = 30 * 86_400_000;

/// What must happen, in which order, and what must not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct When {
    pub by: Vec<String>,
    pub within: i64,
    /// Whether the steps are members of an `all`, else of a `sequence`.
    pub any_order: bool,
    pub steps: Vec<Step>,
    pub until: Vec<String>,
    pub during: Option<During>,
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

/// A window of time around a date of the profile.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct During {
    /// Path behind `profile.`.
    pub field: String,
    /// Milliseconds.
    pub span: i64,
    /// Whether the window ends at the date, else it begins there.
    pub before: bool,
}

impl During {
    /// Whether a time lies in the window around `date`; without a date there is none.
    pub fn holds(&self, date: Option<Millis>, at: Millis) -> bool {
        date.is_some_and(|date| {
            if self.before {
                at >= date.plus(-self.span) && at < date
            } else {
                at >= date && at < date.plus(self.span)
            }
        })
    }
}

/// A predicate and its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Where {
    pub text: String,
    pub expr: Expr,
    /// Where in the file each part stands, by its place in the text.
    pub marks: Vec<(usize, Mark)>,
}

impl Where {
    /// Where in the file a part stands.
    pub fn mark(&self, at: usize) -> Mark {
        let found = self.marks.iter().find(|(place, _)| *place == at);
        found.map(|(_, mark)| *mark).unwrap_or_default()
    }
}

/// Among the events of a step at least so many values of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Across {
    pub field: String,
    pub at_least: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct See {
    pub types: Vec<String>,
    pub condition: Option<Where>,
    pub times: u8,
    pub across: Option<Across>,
    pub within: Option<i64>,
    pub name: Option<String>,
    pub at: Mark,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absent {
    pub types: Vec<String>,
    pub condition: Option<Where>,
    pub at: Mark,
}

impl Step {
    pub fn types(&self) -> &[String] {
        match self {
            Self::See(see) => &see.types,
            Self::Guard(absent) | Self::Wait(absent, _) => &absent.types,
        }
    }

    /// Where in the file it stands.
    pub fn at(&self) -> Mark {
        match self {
            Self::See(see) => see.at,
            Self::Guard(absent) | Self::Wait(absent, _) => absent.at,
        }
    }

    pub fn condition(&self) -> Option<&Where> {
        match self {
            Self::See(see) => see.condition.as_ref(),
            Self::Guard(absent) | Self::Wait(absent, _) => absent.condition.as_ref(),
        }
    }
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
        .map(|node| fields::field_names(node, "by", 3, report))
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
        None if keys.is_misspelt("within", report) => None,
        None => {
            report.error(
                node.at,
                "within-missing",
                "within is required: state would have no bound",
            );
            None
        }
    };
    let during = keys.get("during").and_then(|node| read_during(node, report));
    let until = keys
        .get("until")
        .map(|node| event_type_list(node, "until", report))
        .unwrap_or_default();
    let all = keys.get("all");
    let sequence = if all.is_some() {
        keys.get("sequence")
    } else {
        keys.required("sequence", report)
    };
    if let (Some(all), Some(_)) = (all, sequence) {
        report.error(all.at, "key-conflict", "when takes a sequence or an all, not both");
    }
    keys.finish(report);
    let any_order = all.is_some();
    let what = if any_order { "all" } else { "sequence" };
    let (mut steps, mut captured) = (Vec::new(), Vec::<Captured>::new());
    match all.or(sequence).map(|node| (&node.value, node.at)) {
        Some((Value::List(nodes), at)) => {
            if nodes.is_empty() || nodes.len() > 8 {
                report.error(at, "range", format!("{what} takes 1 to 8 steps: found={}", nodes.len()));
            }
            for node in nodes {
                let step = read_step(node, any_order, &captured, report)?;
                if let Step::See(See {
                    name: Some(name),
                    types,
                    ..
                }) = &step
                {
                    captured.push(Captured {
                        name: name.clone(),
                        types: types.clone(),
                    });
                }
                steps.push(step);
            }
        }
        Some((_, at)) => report.error(at, "type", format!("{what} must be a list of steps")),
        None => {}
    }
    let mut when = When {
        by,
        within: within?,
        any_order,
        steps,
        until,
        during,
        slots: Vec::new(),
    };
    order::check(&when, node, report);
    assign_slots(&mut when, &captured);
    Some(when)
}

/// A list of types; one alone is none.
pub(super) fn event_type_list(node: &Node, what: &str, report: &mut Report) -> Vec<String> {
    if !matches!(node.value, Value::List(_)) {
        fields::list(node, what, 16, report);
        return Vec::new();
    }
    event_types(node, what, report)
}

fn read_during(node: &Node, report: &mut Report) -> Option<During> {
    const LONGEST: i64 = 366 * 86_400_000;
    let mut keys = Fields::of(node, "during", report)?;
    let (before, after) = (keys.get("before"), keys.get("after"));
    let span_key = if before.is_some() { "lead" } else { "lag" };
    let span = if before.is_some() || after.is_some() {
        keys.required(span_key, report)
    } else {
        None
    };
    keys.finish(report);
    let Some(date) = before.or(after) else {
        report.error(node.at, "key-missing", "during takes before and lead, or after and lag");
        return None;
    };
    if before.is_some() && after.is_some() {
        report.error(node.at, "key-conflict", "during takes before or after, not both");
    }
    let path = fields::text(date, "a date", report)?;
    let is_name = |field: &&str| {
        field.starts_with(|first: char| first.is_ascii_lowercase())
            && field
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let Some(field) = path.strip_prefix("profile.").filter(is_name) else {
        report.error_with_help(
            date.at,
            "value",
            format!("during takes a date of the profile: found={path}"),
            "for example profile.renewal_date",
        );
        return None;
    };
    let span_node = span?;
    let span = fields::duration(span_node, span_key, report)?;
    if span > LONGEST || span == 0 {
        report.error(
            span_node.at,
            "range",
            format!("{span_key} takes 1ms to 366d: found={}", fields::shown(span)),
        );
    }
    Some(During {
        field: field.to_owned(),
        span,
        before: before.is_some(),
    })
}

fn event_types(node: &Node, what: &str, report: &mut Report) -> Vec<String> {
    let words = fields::words(node, what, 16, report);
    for (word, at) in &words {
        fields::check_event_type(word, *at, report);
    }
    words.into_iter().map(|(word, _)| word).collect()
}

/// What an earlier step calls its event, and which types that may have.
struct Captured {
    name: String,
    types: Vec<String>,
}

fn read_step(node: &Node, any_order: bool, captured: &[Captured], report: &mut Report) -> Option<Step> {
    let mut keys = Fields::of(node, "a step", report)?;
    let see = keys.get("see");
    let absent = if see.is_none() { keys.get("absent") } else { None };
    let types = match (see, absent) {
        (Some(see), _) => event_types(see, "see", report),
        (None, Some(absent)) => event_types(absent, "absent", report),
        (None, None) => Vec::new(),
    };
    let condition = keys
        .get("where")
        .and_then(|node| condition(node, captured, &types, report));
    if see.is_some() {
        let across = keys.get("across").map(|node| read_across(node, report));
        let times_node = keys.get("times");
        let times = times_node.map_or(Some(1), |node| fields::whole(node, "times", 1, 100, report));
        let (mut within, mut name) = (None, None);
        if !any_order {
            within = keys
                .get("within")
                .and_then(|node| fields::duration(node, "within", report));
            name = keys.get("as").and_then(|node| fields::name(node, "as", report));
        }
        if let Some(name) = &name {
            let reserved = [
                "event", "journey", "profile", "seen", "by", "in", "true", "false", "null",
            ];
            if reserved.contains(&name.as_str()) || captured.iter().any(|known| known.name == *name) {
                report.error(node.at, "name", format!("this name is taken: name={name}"));
            }
        }
        keys.finish(report);
        let mut times = u8::try_from(times?).ok()?;
        let across = match across {
            Some(read) => Some(read?),
            None => None,
        };
        if let Some(across) = &across {
            if times_node.is_none() {
                times = across.at_least;
            } else if times < across.at_least {
                let message = format!(
                    "times is less than at_least: times={times} at_least={}",
                    across.at_least
                );
                report.error(times_node.map_or(node.at, |node| node.at), "across-times", message);
            }
        }
        return Some(Step::See(See {
            types,
            condition,
            times,
            across,
            within,
            name,
            at: node.at,
        }));
    }
    let wait = keys.get("for").and_then(|node| fields::duration(node, "for", report));
    let has_wait = keys.get("for").is_some();
    let misspelt = absent.is_none() && (keys.is_misspelt("see", report) || keys.is_misspelt("absent", report));
    keys.finish(report);
    if absent.is_none() {
        if !misspelt {
            report.error(node.at, "key-missing", "a step is a see or an absent");
        }
        return None;
    }
    let absent = Absent {
        types,
        condition,
        at: node.at,
    };
    match wait {
        Some(wait) => Some(Step::Wait(absent, wait)),
        None if has_wait => None,
        None => Some(Step::Guard(absent)),
    }
}

fn read_across(node: &Node, report: &mut Report) -> Option<Across> {
    let mut keys = Fields::of(node, "across", report)?;
    let field = keys
        .required("field", report)
        .and_then(|node| fields::field_name(node, "field", report));
    let at_least = keys
        .required("at_least", report)
        .and_then(|node| fields::whole(node, "at_least", 2, 16, report));
    keys.finish(report);
    Some(Across {
        field: field?,
        at_least: u8::try_from(at_least?).ok()?,
    })
}

fn condition(node: &Node, captured: &[Captured], own: &[String], report: &mut Report) -> Option<Where> {
    let source = fields::text(node, "where", report)?;
    if source.chars().count() > 1000 {
        report.error(node.at, "range", "where is longer than 1,000 characters");
        return None;
    }
    let names: Vec<&str> = captured.iter().map(|known| known.name.as_str()).collect();
    let types: Vec<&[String]> = captured.iter().map(|known| known.types.as_slice()).collect();
    let scope = Scope { own, captured: &types };
    match cel::parse(&source, &names).and_then(|expr| cel::check(&expr, scope).map(|()| expr)) {
        Ok(expr) => {
            let mut marks = Vec::new();
            expr.parts(&mut |part| marks.push((part.at, node.mark_within(part.at))));
            Some(Where {
                text: source,
                expr,
                marks,
            })
        }
        Err(flaw) => {
            let at = node.mark_within(flaw.at);
            match flaw.help.or_else(|| help(&flaw.message).map(str::to_owned)) {
                Some(help) => report.error_with_help(at, flaw.code, flaw.message, help),
                None => report.error(at, flaw.code, flaw.message),
            }
            None
        }
    }
}

/// What somebody may have meant who knows another language.
fn help(message: &str) -> Option<&'static str> {
    let found = message.strip_prefix("unexpected token: found=")?;
    match found {
        "=" | "===" => Some("equality is written =="),
        "&" | "and" | "AND" => Some("both is written &&"),
        "|" | "or" | "OR" => Some("either is written ||"),
        "not" | "NOT" => Some("not is written !"),
        _ => None,
    }
}

/// Gives each captured field that is read a slot in the run.
fn assign_slots(when: &mut When, captured: &[Captured]) {
    let see_of: Vec<usize> = captured
        .iter()
        .map(|Captured { name, .. }| when.sees().position(|see| see.name.as_ref() == Some(name)).unwrap_or(0))
        .collect();
    let mut slots: Vec<(usize, String)> = Vec::new();
    for step in &mut when.steps {
        let condition = match step {
            Step::See(see) => &mut see.condition,
            Step::Guard(absent) | Step::Wait(absent, _) => &mut absent.condition,
        };
        if let Some(condition) = condition {
            condition.expr.paths_mut(&mut |path| {
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
