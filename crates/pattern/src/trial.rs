//! Running the tests that a pattern file carries, on the engine that runs live.

use std::sync::Arc;

use event::{Attribute, Event, Millis};

use crate::{
    Catalogue, Facts, Limits, Match, NoFacts, Note, Observer, Occurrence, Pattern, Runs, Status, Stepped, Subject,
    Value, cooled,
    file::{Expected, Paths, TestCase, millis},
    told::span,
};

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// Line of the file.
    pub line: u32,
    /// What differs; `None` if the test holds.
    pub failure: Option<String>,
    /// What the engine did with each event and deadline, and why it did nothing, for the reader of a failure.
    pub steps: Vec<String>,
}

/// What is known of a customer while a test runs. A journey is folded in a crate above this one.
pub trait Known: Facts {
    /// Takes an event, before it is matched.
    fn take(&mut self, event: &Event, at: Millis);

    /// Time has come to `at`.
    fn passes(&mut self, at: Millis);
}

impl Known for NoFacts {
    fn take(&mut self, _: &Event, _: Millis) {}

    fn passes(&mut self, _: Millis) {}
}

/// What a test gives is how things stand before the first event: what events change since then goes over it, and counters go on from it.
struct Given<'a> {
    profile: &'a Paths,
    journey: &'a Paths,
    /// The date of the profile that the pattern's `during` names.
    date: Option<&'a str>,
    /// What is known of somebody about whom no event has come.
    start: Box<dyn Known>,
    known: Box<dyn Known>,
}

/// What only grows with events, as paths of `profile` and `journey`.
const COUNTERS: [&str; 5] = [
    "value.orders",
    "value.lifetime",
    "contacts_7d",
    "effort.points",
    "sentiment.negative_run",
];

/// A given value and what has become of it.
fn since<'a>(
    path: &str,
    given: Option<Value<'a>>,
    start: Option<Value<'a>>,
    now: Option<Value<'a>>,
) -> Option<Value<'a>> {
    let Some(given) = given else { return now };
    let Some(now) = now.filter(|now| Some(*now) != start) else {
        return Some(given);
    };
    if !COUNTERS.contains(&path) {
        return Some(now);
    }
    Some(match (given, now) {
        (Value::Long(given), Value::Long(now)) => {
            let start = match start {
                Some(Value::Long(start)) => start,
                _ => 0,
            };
            Value::Long(given.saturating_add(now - start))
        }
        (Value::Double(given), Value::Double(now)) => Value::Double(given + now),
        _ => now,
    })
}

impl Facts for Given<'_> {
    fn profile(&self, path: &str) -> Option<Value<'_>> {
        // A date is given as time since the start of the test, which is time zero.
        let is_date = self.date == Some(path) || path.ends_with("_date");
        let given = self.profile.get(path).and_then(|value| match value {
            Attribute::Text(text) if is_date => millis(text).map(Value::Long),
            value => Some(Value::from(value)),
        });
        since(path, given, self.start.profile(path), self.known.profile(path))
    }

    fn journey(&self, path: &str) -> Option<Value<'_>> {
        let given = self.journey.get(path).map(Value::from);
        since(path, given, self.start.journey(path), self.known.journey(path))
    }
}

/// Runs every test of a pattern on what it gives alone, as [`run_tests_knowing`] does: `profile` and `journey` stay as they are given.
#[must_use]
pub fn run_tests(pattern: &Pattern) -> Vec<TestResult> {
    run_tests_knowing(pattern, &|| Box::new(NoFacts))
}

/// Runs every test of a pattern. The clock moves to each event's time before the event, and after the last one until nothing
/// waits. Consent, capacity and arms are open, quiet hours over; the cooldown holds. `fresh` makes a customer about whom nothing is
/// known yet.
#[must_use]
pub fn run_tests_knowing(pattern: &Pattern, fresh: &dyn Fn() -> Box<dyn Known>) -> Vec<TestResult> {
    let mut matched = pattern.clone();
    matched.status = Status::Live;
    let catalogue = Catalogue::compile([Arc::new(matched)], Limits::default());
    pattern
        .tests
        .iter()
        .map(|test| run(&catalogue, pattern, test, fresh))
        .collect()
}

fn run(catalogue: &Catalogue, pattern: &Pattern, test: &TestCase, fresh: &dyn Fn() -> Box<dyn Known>) -> TestResult {
    let mut facts = Given {
        start: fresh(),
        known: fresh(),
        profile: &test.profile,
        journey: &test.journey,
        date: pattern.when.during.as_ref().map(|during| during.field.as_str()),
    };
    let (mut runs, mut out, mut steps) = (Runs::default(), Stepped::default(), Vec::new());
    for (index, given) in test.given.iter().enumerate() {
        let mut event = given.event.clone();
        let at = Millis(given.at);
        event.time = at;
        while let Some(due) = runs.deadline().filter(|due| *due <= at) {
            facts.known.passes(due);
            fire(catalogue, &mut runs, due, &facts, &mut out, &mut steps);
        }
        let index = u64::try_from(index).unwrap_or(u64::MAX) + 1;
        let of = Occurrence {
            event: &event,
            kind: &event.kind,
            extra: &[],
            at,
            index,
            position: "test/0/0",
        };
        facts.known.take(&event, at);
        let mut heard = Heard::default();
        catalogue.on_event_observed(&mut runs, &of, &facts, &mut out, &mut heard);
        let heard = heard.line("nothing is open that it could move or break");
        steps.push(format!("{} {} {}: {heard}", span(given.at), event.id, event.kind));
    }
    while let Some(due) = runs.deadline() {
        facts.known.passes(due);
        fire(catalogue, &mut runs, due, &facts, &mut out, &mut steps);
    }
    steps.push(format!("at the end: {}", open(&runs)));
    let mut last = None;
    let acted = |found: &&Match| {
        let resting = cooled(last, found.matched_at, pattern.guard.cooldown);
        if !resting {
            last = Some(found.matched_at);
        }
        !resting
    };
    let found: Vec<&Match> = out.matches.iter().filter(acted).collect();
    let failure = difference(pattern, &test.expect, &found);
    TestResult {
        name: test.name.clone(),
        line: test.at.line,
        failure,
        steps,
    }
}

/// What the engine says while it takes one step.
#[derive(Default)]
struct Heard(Vec<String>);

impl Observer for Heard {
    fn note(&mut self, of: &Subject<'_>, note: &Note<'_>) {
        let by = of.by_in_words();
        let by = if by.is_empty() { by } else { format!("[{by}] ") };
        self.0.push(format!("{by}{}", note.in_words(&|at| span(at.0))));
    }
}

impl Heard {
    fn line(self, nothing: &str) -> String {
        if self.0.is_empty() {
            nothing.to_owned()
        } else {
            self.0.join("; ")
        }
    }
}

fn fire(
    catalogue: &Catalogue,
    runs: &mut Runs,
    due: Millis,
    facts: &dyn Facts,
    out: &mut Stepped,
    steps: &mut Vec<String>,
) {
    let mut heard = Heard::default();
    catalogue.on_time_observed(runs, due, facts, out, &mut heard);
    steps.push(format!(
        "{} deadline: {}",
        span(due.0),
        heard.line("nothing is left that waited for it")
    ));
}

fn open(runs: &Runs) -> String {
    let instances = runs.instances();
    let runs: Vec<String> = instances
        .iter()
        .flat_map(|instance| &instance.runs)
        .map(|run| match run.deadline {
            Some(due) => format!("step {} waits until {}", run.step, span(due.0)),
            None => format!("step {} has {} of its events", run.step, run.seen),
        })
        .collect();
    let kept = instances.iter().filter(|instance| instance.runs.is_empty());
    let kept = kept.flat_map(|instance| &instance.sightings);
    match (runs.is_empty(), kept.filter(|sighting| sighting.is_usable).count()) {
        (true, 0) => "nothing is open".to_owned(),
        (true, kept) => format!("nothing has begun; events seen that are not enough yet, {kept}"),
        (false, _) => runs.join(", "),
    }
}

fn difference(pattern: &Pattern, expected: &[Expected], found: &[&Match]) -> Option<String> {
    let intervene = &pattern.then.intervene;
    let sentence = |found: &Match| {
        let mut because = found.because();
        let first = pattern.first_lang().and_then(|lang| because.remove(lang));
        first.unwrap_or_default()
    };
    let agree = expected.len() == found.len()
        && expected.iter().zip(found).all(|(expected, found)| {
            expected.at == found.matched_at.0
                && expected.intervene == *intervene
                && expected.because.as_ref().is_none_or(|because| {
                    pattern
                        .first_lang()
                        .and_then(|lang| found.because().remove(lang))
                        .as_ref()
                        == Some(because)
                })
        });
    if agree {
        return None;
    }
    let line = |at: i64, intervene: &str, because: Option<&str>| {
        let because = because.map_or_else(String::new, |because| format!(" \"{because}\""));
        format!("{} {intervene}{because}", span(at))
    };
    let wanted: Vec<String> = expected
        .iter()
        .map(|wanted| line(wanted.at, &wanted.intervene, wanted.because.as_deref()))
        .collect();
    let got: Vec<String> = found
        .iter()
        .map(|found| line(found.matched_at.0, intervene, Some(&sentence(found))))
        .collect();
    Some(format!("expected: {}; got: {}", list(&wanted), list(&got)))
}

fn list(lines: &[String]) -> String {
    if lines.is_empty() {
        "nothing".to_owned()
    } else {
        lines.join(" | ")
    }
}
