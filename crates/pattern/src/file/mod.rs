//! A pattern file: what it holds, how it is read.

mod constant;
mod fields;
mod given;
mod lint;
mod order;
mod policy;
mod published;
mod reads;
mod then;
mod when;

use std::collections::BTreeMap;

use event::Millis;

use crate::{
    finding::{Finding, Mark, Report},
    yaml,
};
pub(crate) use fields::millis;
pub(crate) use given::{Expected, GIVEN, TESTS, TestCase};
pub use policy::{POLICY_KEY, Policy, parse_policy};
pub use published::{Publishable, Published};
pub use then::{Guard, OfferSpec, QuietHours, Rollout, RouteSpec, Then};
pub(crate) use then::{LEVELS, OFFERS, PURPOSES, out_channels};
pub(crate) use when::{Absent, During, See, Step, When, Where};

/// Whether a pattern is matched, and whether its decisions act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Never loaded.
    Draft,
    /// Matched; every decision is withheld.
    Shadow,
    /// Matched and acted upon.
    Live,
    /// Not matched; runs are dropped.
    Paused,
    /// As paused, and the id is not used again.
    Retired,
}

impl Status {
    /// Every stage of life, in the order in which a pattern goes through them.
    pub const ALL: [Self; 5] = [Self::Draft, Self::Shadow, Self::Live, Self::Paused, Self::Retired];

    /// Whether events are matched.
    #[must_use]
    pub const fn is_matched(self) -> bool {
        matches!(self, Self::Shadow | Self::Live)
    }

    /// As it stands in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Shadow => "shadow",
            Self::Live => "live",
            Self::Paused => "paused",
            Self::Retired => "retired",
        }
    }
}

/// A pattern, parsed and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// Identity.
    pub id: String,
    /// Rises with `when`.
    pub version: i32,
    /// For people.
    pub title: String,
    /// The team that answers for it.
    pub owner: String,
    /// Its stage of life.
    pub status: Status,
    pub(crate) when: When,
    /// What a match does.
    pub then: Then,
    /// What holds it back.
    pub guard: Guard,
    /// Whom it reaches.
    pub rollout: Rollout,
    pub(crate) tests: Vec<TestCase>,
    /// The file as canonical JSON: what stands on `journey.patterns`, keys in the order of the file.
    pub canonical: String,
}

impl Pattern {
    /// The language in which the file's author wrote first.
    pub(crate) fn first_lang(&self) -> Option<&String> {
        self.then.first_lang.as_ref()
    }
}

/// Reads a pattern; YAML, or the JSON that [`Pattern::canonical`] holds.
///
/// # Errors
/// Every error of the file, sorted by position. Warnings are [`lint`]'s.
pub fn parse(file: &str, text: &str) -> Result<Pattern, Vec<Finding>> {
    let mut report = Report::new(file);
    let pattern = read(text, &mut report);
    report.unless_errors(pattern)
}

/// Errors and warnings of a file, sorted by position.
#[must_use]
pub fn lint(file: &str, text: &str) -> Vec<Finding> {
    let mut report = Report::new(file);
    match read(text, &mut report) {
        Some(pattern) if !report.has_errors() => lint::warn(&pattern, text, &mut report),
        // Of a file that cannot be used yet, the types that it names are looked up all the same: one round less.
        _ => {
            if let Some(when) = when_alone(text) {
                lint::types(&when, &mut report);
            }
        }
    }
    lint::file_name(file, text, &mut report);
    report.finish()
}

/// The `when` of a file, whatever else is wrong in it.
fn when_alone(source: &str) -> Option<When> {
    let mut unread = Report::default();
    let root = yaml::read(source, &mut unread)?;
    let mut top = fields::Fields::of(&root, "a pattern", &mut unread)?;
    when::read(top.get("when")?, &mut unread)
}

fn read(source: &str, report: &mut Report) -> Option<Pattern> {
    const LIMIT: usize = 64 * 1024;
    let start = Mark { line: 1, column: 1 };
    if source.len() > LIMIT {
        report.error(
            start,
            "range",
            format!("the file is too large: bytes={} limit={LIMIT}", source.len()),
        );
        return None;
    }
    let root = yaml::read(source, report)?;
    let mut top = fields::Fields::of(&root, "a pattern", report)?;
    let id = top
        .required("pattern", report)
        .and_then(|node| fields::id(node, "pattern", report));
    let version = top
        .required("version", report)
        .and_then(|node| fields::whole(node, "version", 1, 65535, report));
    let title = top
        .required("title", report)
        .and_then(|node| fields::text_of(node, "title", 3, 120, report));
    if let Some(node) = top.get("description") {
        fields::text_of(node, "description", 0, 2000, report);
    }
    let owner = top
        .required("owner", report)
        .and_then(|node| fields::id(node, "owner", report));
    let status = top
        .required("status", report)
        .and_then(|node| read_status(node, report));
    let when = top.required("when", report).and_then(|node| when::read(node, report));
    // Of a `when` that cannot be read nothing is known: sentences are then not judged by it.
    let see_steps = when.as_ref().map(When::see_count);
    let names = when.as_ref().map(When::names).unwrap_or_default();
    let then = top
        .required("then", report)
        .and_then(|node| then::read(node, see_steps, &names, report));
    let guard = top
        .required("guard", report)
        .and_then(|node| then::read_guard(node, report));
    let rollout = top
        .required("rollout", report)
        .and_then(|node| then::read_rollout(node, report));
    let tests = top.required("tests", report).and_then(|node| {
        let during = when.as_ref().and_then(|when| when.during.as_ref());
        given::read(node, during.map(|during| during.field.as_str()), report)
    });
    top.finish(report);
    Some(Pattern {
        id: id?,
        version: i32::try_from(version?).ok()?,
        title: title?,
        owner: owner?,
        status: status?,
        when: when?,
        then: then?,
        guard: guard?,
        rollout: rollout?,
        tests: tests?,
        canonical: json(&root).to_string(),
    })
}

fn read_status(node: &yaml::Node, report: &mut Report) -> Option<Status> {
    let found = fields::text(node, "status", report)?;
    let status = Status::ALL.into_iter().find(|status| status.as_str() == found);
    if status.is_none() {
        let help = format!("known: {}", Status::ALL.map(Status::as_str).join(", "));
        report.error_with_help(node.at, "value", format!("unknown status: found={found}"), help);
    }
    status
}

/// The tree as JSON. Plain scalars become what YAML's core schema says: numbers, booleans, null.
fn json(node: &yaml::Node) -> serde_json::Value {
    match &node.value {
        yaml::Value::Scalar { text, plain: true, .. } => match given::plain(text) {
            event::Attribute::Null => serde_json::Value::Null,
            event::Attribute::Bool(value) => value.into(),
            event::Attribute::Long(value) => value.into(),
            event::Attribute::Double(value) => value.into(),
            _ => text.as_str().into(),
        },
        yaml::Value::Scalar { text, .. } => text.as_str().into(),
        yaml::Value::List(nodes) => nodes.iter().map(json).collect(),
        yaml::Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, node)| (key.text().unwrap_or_default().to_owned(), json(node)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// The bucket of a customer in a pattern's experiment: the first 8 bytes of SHA-256(seed, NUL, customer key), big-endian, modulo
/// 10,000. `hash` is SHA-256; it is an argument because this crate computes no digests.
#[must_use]
pub fn arm_bucket(seed: &str, customer: &str, hash: impl Fn(&[u8]) -> [u8; 32]) -> i32 {
    let digest = hash(&[seed.as_bytes(), b"\0", customer.as_bytes()].concat());
    let first = digest
        .iter()
        .take(8)
        .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    i32::try_from(first % 10_000).unwrap_or(0)
}

/// Whether a cooldown that began with an intervention at `last` still holds at `now`.
#[must_use]
pub fn cooled(last: Option<Millis>, now: Millis, cooldown: i64) -> bool {
    last.is_some_and(|last| now.since(last) < cooldown)
}

/// Values of a test's `profile` and `journey` by dotted path.
pub(crate) type Paths = BTreeMap<String, event::Attribute>;
