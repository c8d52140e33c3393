//! Running the tests that a pattern file carries, on the engine that runs live.

use std::sync::Arc;

use event::{Attribute, Millis};

use crate::{
    Catalogue, Facts, Limits, Match, Occurrence, Pattern, Runs, Status, Stepped, Value, cooled,
    file::{Expected, Paths, TestCase, millis},
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
    /// What was open after each event, for the reader of a failure.
    pub steps: Vec<String>,
}

struct Given<'a> {
    profile: &'a Paths,
    journey: &'a Paths,
    /// The date of the profile that the pattern's `during` names.
    date: Option<&'a str>,
}

impl Facts for Given<'_> {
    fn profile(&self, path: &str) -> Option<Value<'_>> {
        let value = self.profile.get(path)?;
        // A date is given as time since the start of the test, which is time zero.
        let is_date = self.date == Some(path) || path.ends_with("_date");
        match value {
            Attribute::Text(text) if is_date => millis(text).map(Value::Long),
            value => Some(Value::from(value)),
        }
    }

    fn journey(&self, path: &str) -> Option<Value<'_>> {
        self.journey.get(path).map(Value::from)
    }
}

/// Runs every test of a pattern. The clock moves to each event's time before the event, and after the last one until nothing
/// waits. Consent, capacity and arms are open, quiet hours over; the cooldown holds.
#[must_use]
pub fn run_tests(pattern: &Pattern) -> Vec<TestResult> {
    let mut matched = pattern.clone();
    matched.status = Status::Live;
    let catalogue = Catalogue::compile([Arc::new(matched)], Limits::default());
    pattern
        .tests
        .iter()
        .map(|test| run(&catalogue, pattern, test))
        .collect()
}

fn run(catalogue: &Catalogue, pattern: &Pattern, test: &TestCase) -> TestResult {
    let facts = Given {
        profile: &test.profile,
        journey: &test.journey,
        date: pattern.when.during.as_ref().map(|during| during.field.as_str()),
    };
    let (mut runs, mut out, mut steps) = (Runs::default(), Stepped::default(), Vec::new());
    for (index, given) in test.given.iter().enumerate() {
        let mut event = given.event.clone();
        let at = Millis(given.at);
        event.time = at;
        catalogue.on_time(&mut runs, at, &facts, &mut out);
        let index = u64::try_from(index).unwrap_or(u64::MAX) + 1;
        let of = Occurrence {
            event: &event,
            kind: &event.kind,
            extra: &[],
            at,
            index,
            position: "test/0/0",
        };
        catalogue.on_event(&mut runs, &of, &facts, &mut out);
        steps.push(format!(
            "{}ms {} {}: {}",
            given.at,
            event.id,
            event.kind,
            open(&runs, pattern)
        ));
    }
    while let Some(due) = runs.deadline() {
        catalogue.on_time(&mut runs, due, &facts, &mut out);
        steps.push(format!("{}ms: {}", due.0, open(&runs, pattern)));
    }
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

fn open(runs: &Runs, pattern: &Pattern) -> String {
    let runs: Vec<String> = runs
        .instances()
        .iter()
        .flat_map(|instance| &instance.runs)
        .map(|run| match run.deadline {
            Some(due) => format!("step {} waits until {}ms", run.step, due.0),
            None => format!("step {} has {} of its events", run.step, run.seen),
        })
        .collect();
    if runs.is_empty() {
        format!("{} has no open run", pattern.id)
    } else {
        runs.join(", ")
    }
}

fn difference(pattern: &Pattern, expected: &[Expected], found: &[&Match]) -> Option<String> {
    let intervene = &pattern.then.intervene;
    let sentence = |found: &Match| {
        found
            .because()
            .into_iter()
            .next()
            .map(|(_, text)| text)
            .unwrap_or_default()
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
    let wanted: Vec<String> = expected
        .iter()
        .map(|wanted| {
            format!(
                "{}ms {} {}",
                wanted.at,
                wanted.intervene,
                wanted.because.as_deref().unwrap_or("")
            )
        })
        .collect();
    let got: Vec<String> = found
        .iter()
        .map(|found| format!("{}ms {intervene} {}", found.matched_at.0, sentence(found)))
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
