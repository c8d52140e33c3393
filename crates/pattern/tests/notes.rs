//! What the engine tells its observer: for every construct, what moved, held, broke, ended or cleared a run, and why an event did nothing.

use std::{collections::BTreeMap, sync::Arc};

use event::{Attribute, Event, Millis};
use pattern::{Catalogue, Facts, Limits, Note, Observer, Occurrence, Pattern, Runs, Stepped, Subject, Value, parse};

/// The date of the profile that `during` may name.
struct Dated(Option<i64>);

impl Facts for Dated {
    fn profile(&self, path: &str) -> Option<Value<'_>> {
        (path == "renewal_date").then_some(self.0).flatten().map(Value::Long)
    }

    fn journey(&self, _: &str) -> Option<Value<'_>> {
        None
    }
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Observer for Lines {
    fn note(&mut self, of: &Subject<'_>, note: &Note<'_>) {
        let by = of.by_in_words();
        let by = if by.is_empty() { by } else { format!("[{by}] ") };
        let time = |at: Millis| format!("{}s", at.0 / 1000);
        self.0.push(format!("{} {by}{}", time(of.at), note.in_words(&time)));
    }
}

fn pattern(version: i32, when: &str) -> Arc<Pattern> {
    let text = format!(
        "pattern: told\nversion: {version}\ntitle: Told\nowner: tests\nstatus: live\nwhen: {when}\n\
        then: {{ intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: {{ en: x }} }}\n\
        guard: {{ consent: service, cooldown: 1ms }}\nrollout: {{ percent: 100, holdout: 0, seed: told-1 }}\n\
        tests: [ {{ name: one, given: [], expect: [] }}, {{ name: two, given: [], expect: [] }} ]\n"
    );
    Arc::new(parse("told.yaml", &text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}")))
}

/// `a7` is an event of type `x.a` at second 7, `a7(v=3,u=b)` one with fields.
fn event(text: &str) -> Event {
    let (head, fields) = text.split_once('(').unwrap_or((text, ""));
    let (kind, second) = head.split_at(1);
    let field = |field: &str| {
        let (name, value) = field.split_once('=').expect("a field");
        let value = value
            .parse()
            .map_or_else(|_| Attribute::Text(value.to_owned()), Attribute::Long);
        (name.to_owned(), value)
    };
    let fields: BTreeMap<String, Attribute> = fields
        .trim_end_matches(')')
        .split(',')
        .filter(|field| !field.is_empty())
        .map(field)
        .collect();
    Event {
        id: head.to_owned(),
        source: "t".to_owned(),
        kind: format!("x.{kind}"),
        time: Millis(second.parse::<i64>().expect("a second") * 1000),
        attributes: fields,
        ..Event::default()
    }
}

fn told_by(catalogue: &Catalogue, history: &str, facts: &mut Dated, dates: &[(usize, Option<i64>)]) -> Vec<String> {
    let (mut runs, mut out, mut lines) = (Runs::default(), Stepped::default(), Lines::default());
    for (place, text) in history.split_whitespace().enumerate() {
        if let Some((_, date)) = dates.iter().find(|(at, _)| *at == place) {
            facts.0 = *date;
        }
        let event = event(text);
        while let Some(due) = runs.deadline().filter(|due| *due <= event.time) {
            catalogue.on_time_observed(&mut runs, due, facts, &mut out, &mut lines);
        }
        let of = Occurrence {
            event: &event,
            kind: &event.kind,
            extra: &[],
            at: event.time,
            index: place as u64 + 1,
            position: "t/0/0",
        };
        catalogue.on_event_observed(&mut runs, &of, facts, &mut out, &mut lines);
    }
    while let Some(due) = runs.deadline() {
        catalogue.on_time_observed(&mut runs, due, facts, &mut out, &mut lines);
    }
    lines.0
}

fn told(when: &str, history: &str) -> Vec<String> {
    let catalogue = Catalogue::compile([pattern(1, when)], Limits::default());
    told_by(&catalogue, history, &mut Dated(None), &[])
}

/// Each line must be told, in this order; others may stand between.
fn check(when: &str, history: &str, expected: &[&str]) {
    let told = told(when, history);
    let mut left = told.iter();
    for line in expected {
        assert!(
            left.any(|found| found == line),
            "{when}\n{history}\nnot told: {line}\ntold: {told:#?}"
        );
    }
}

#[test]
fn every_step_of_a_match_is_told() {
    check(
        "{ within: 10s, sequence: [ { see: x.a, times: 2 }, { see: x.b }, { absent: x.c, for: 5s } ] }",
        "a0 a1 b2",
        &[
            "0s step 0 sees it, 1 of 2; run since 0s",
            "1s step 0 sees it, 2 of 2; run since 0s",
            "1s step 0 is complete; step 1 is awaited",
            "2s step 1 sees it, 1 of 1; run since 0s",
            "2s step 1 is complete; step 2 waits until 7s",
            "7s step 2 held: nothing came since 2s",
            "7s MATCH, begun 0s: a0 a1 | b2",
        ],
    );
    check(
        "{ within: 10s, all: [ { see: x.a }, { see: x.b } ] }",
        "b0 a3",
        &["0s step 1 sees it, 1 of 1; run since 0s", "3s MATCH, begun 0s: a3 | b0"],
    );
}

#[test]
fn a_where_that_does_not_hold_is_told_with_what_it_read() {
    let when = "{ within: 10s, sequence: [ { see: x.a, where: event.v > 3 && event.u == 'b' } ] }";
    check(
        when,
        "a0(v=3,u=b) a1(u=b) a2(v=4,u=b)",
        &[
            "0s the `where` of step 0 does not hold: event.v > 3 && event.u == 'b' (event.v = 3, event.u = 'b')",
            "1s the `where` of step 0 does not hold: event.v > 3 && event.u == 'b' (event.v is missing, event.u = 'b')",
            "2s MATCH, begun 2s: a2",
        ],
    );
    check(
        "{ within: 10s, sequence: [ { see: x.a, where: event.v / event.u > 1 } ] }",
        "a0(v=3,u=0)",
        &["0s the `where` of step 0 fails: event.v / event.u > 1 (event.v = 3, event.u = 0)"],
    );
}

#[test]
fn a_broken_absence_is_told() {
    check(
        "{ within: 20s, sequence: [ { see: x.a }, { absent: x.b, for: 5s } ] }",
        "a0 b4",
        &["4s it breaks step 1; the run since 0s is gone"],
    );
    check(
        "{ within: 20s, sequence: [ { see: x.a }, { absent: x.b }, { see: x.c } ] }",
        "a0 b1 c2",
        &[
            "1s it breaks step 1; the run since 0s is gone",
            "2s step 2 names this type and is not awaited yet",
        ],
    );
    check(
        "{ within: 20s, all: [ { see: x.a }, { see: x.b }, { absent: x.c, for: 5s } ] }",
        "a0 c2 b3",
        &["2s it breaks step 2; the run since 0s is gone"],
    );
}

#[test]
fn too_late_is_told() {
    check(
        "{ within: 10s, sequence: [ { see: x.a }, { see: x.b } ] }",
        "a0 b11",
        &[
            "11s the run since 0s is older than `within`; it awaited step 1",
            "11s step 1 names this type and is not awaited yet",
        ],
    );
    check(
        "{ within: 10s, sequence: [ { see: x.a }, { see: x.b, within: 2s } ] }",
        "a0 b3",
        &["3s too late for step 1: 3s after the step before, its within is 2s"],
    );
    check(
        "{ within: 10s, all: [ { see: x.a }, { see: x.b } ] }",
        "a0 b11",
        // What is too old is not counted any more.
        &["11s step 1 sees it, 1 of 1; run since 11s"],
    );
}

#[test]
fn until_is_told() {
    check(
        "{ within: 10s, until: [x.u], sequence: [ { see: x.a }, { see: x.b } ] }",
        "a0 u1 b2",
        &[
            "1s `until`: everything unfinished is forgotten, runs 1",
            "2s step 1 names this type and is not awaited yet",
        ],
    );
}

#[test]
fn a_window_around_a_date_is_told() {
    let when = "{ within: 10s, during: { before: profile.renewal_date, lead: 30s }, sequence: [ { see: x.a }, { see: x.b } ] }";
    let catalogue = Catalogue::compile([pattern(1, when)], Limits::default());
    let lines = told_by(
        &catalogue,
        "a0 a1 a2",
        &mut Dated(None),
        &[(1, Some(60_000)), (2, Some(20_000))],
    );
    assert!(
        lines.contains(&"0s outside of `during`: there is no such date in the profile".to_owned()),
        "{lines:#?}"
    );
    assert!(
        lines.contains(&"1s outside of `during`: the date is 60s".to_owned()),
        "{lines:#?}"
    );
    assert!(
        lines.contains(&"2s step 0 sees it, 1 of 1; run since 2s".to_owned()),
        "{lines:#?}"
    );
    let lines = told_by(&catalogue, "a0 a1", &mut Dated(Some(20_000)), &[(1, Some(21_000))]);
    let changed = "1s the date of `during` has changed: everything unfinished is forgotten".to_owned();
    assert!(lines.contains(&changed), "{lines:#?}");
}

#[test]
fn a_count_that_is_not_reached_is_told() {
    let times = told("{ within: 10s, sequence: [ { see: x.a, times: 3 } ] }", "a0 a1");
    assert_eq!(
        times.last().map(String::as_str),
        Some("1s step 0 sees it, 2 of 3; run since 0s"),
        "{times:#?}"
    );
    let across = "{ within: 10s, sequence: [ { see: x.a, times: 2, across: { field: u, at_least: 2 } } ] }";
    check(
        across,
        "a0(u=b) a1(u=b) a2 a3(u=c)",
        &[
            "0s step 0 sees it, 1 of 2, different values 1 of 2; run since 0s",
            "1s step 0 sees it, 2 of 2, different values 1 of 2; run since 0s",
            "2s it has no u, of which step 0 needs different values",
            "3s step 0 sees it, 2 of 2, different values 2 of 2; run since 1s",
            "3s MATCH, begun 1s: a1 a3",
        ],
    );
}

#[test]
fn a_missing_by_field_is_told() {
    check(
        "{ within: 10s, by: [k], sequence: [ { see: x.a, times: 2 } ] }",
        "a0(k=1) a1 a2(k=2) a3(k=1)",
        &[
            "0s [1] step 0 sees it, 1 of 2; run since 0s",
            "1s it has no k, by which events are joined",
            "2s [2] step 0 sees it, 1 of 2; run since 2s",
            "3s [1] MATCH, begun 0s: a0 a3",
        ],
    );
}

#[test]
fn what_is_of_no_concern_is_told() {
    check(
        "{ within: 10s, sequence: [ { see: x.a }, { see: x.b } ] }",
        "z0 b1",
        &[
            "0s no step names this type",
            "1s step 1 names this type and is not awaited yet",
        ],
    );
}

#[test]
fn runs_that_are_replaced_expired_and_capped_are_told() {
    check(
        "{ within: 10s, sequence: [ { see: x.a }, { see: x.b } ] }",
        "a0 a1 b2",
        &[
            "1s a later run takes the place of that since 0s; both await step 1",
            "2s MATCH, begun 1s: a1 | b2",
        ],
    );
    let when = "{ within: 10s, by: [k], sequence: [ { see: x.a }, { see: x.b } ] }";
    let limits = Limits {
        per_pattern: 1,
        per_customer: 10,
    };
    let catalogue = Catalogue::compile([pattern(1, when)], limits);
    let lines = told_by(&catalogue, "a0(k=1) a1(k=2)", &mut Dated(None), &[]);
    assert!(
        lines.contains(&"1s [1] too many runs: the oldest are dropped, 1".to_owned()),
        "{lines:#?}"
    );
}

#[test]
fn another_version_that_matches_and_a_closing_one_that_starts_nothing_are_told() {
    let two = [
        pattern(1, "{ within: 10s, sequence: [ { see: x.a }, { see: x.b } ] }"),
        pattern(2, "{ within: 9s, sequence: [ { see: x.a }, { see: x.b } ] }"),
    ];
    let old = Catalogue::compile([Arc::clone(&two[0])], Limits::default());
    let both = Catalogue::compile(two, Limits::default());
    let (mut runs, mut out, mut lines) = (Runs::default(), Stepped::default(), Lines::default());
    for (place, (catalogue, text)) in [(&old, "a0"), (&both, "a1"), (&both, "b2")].into_iter().enumerate() {
        let event = event(text);
        let of = Occurrence {
            event: &event,
            kind: &event.kind,
            extra: &[],
            at: event.time,
            index: place as u64 + 1,
            position: "t/0/0",
        };
        catalogue.on_event_observed(&mut runs, &of, &Dated(None), &mut out, &mut lines);
    }
    for line in [
        "1s this version starts no run any more",
        "2s MATCH, begun 1s: a1 | b2",
        "2s version 2 has matched: everything unfinished is forgotten",
    ] {
        assert!(lines.0.iter().any(|found| found == line), "{line}\n{:#?}", lines.0);
    }
    assert_eq!(out.matches.len(), 1);
}

/// Every kind of note has a word of its own, which programs read.
#[test]
fn kinds_are_words() {
    let mut kinds: Vec<&str> = Vec::new();
    struct Kinds<'a>(&'a mut Vec<&'static str>);
    impl Observer for Kinds<'_> {
        fn note(&mut self, _: &Subject<'_>, note: &Note<'_>) {
            self.0.push(note.kind());
        }
    }
    let catalogue = Catalogue::compile(
        [pattern(
            1,
            "{ within: 10s, sequence: [ { see: x.a }, { absent: x.b, for: 5s } ] }",
        )],
        Limits::default(),
    );
    let (mut runs, mut out) = (Runs::default(), Stepped::default());
    let event = event("a0");
    let of = Occurrence {
        event: &event,
        kind: &event.kind,
        extra: &[],
        at: event.time,
        index: 1,
        position: "t/0/0",
    };
    catalogue.on_event_observed(&mut runs, &of, &Dated(None), &mut out, &mut Kinds(&mut kinds));
    catalogue.on_time_observed(&mut runs, Millis(5000), &Dated(None), &mut out, &mut Kinds(&mut kinds));
    assert_eq!(kinds, ["saw", "completed", "held", "completed", "matched"]);
}
