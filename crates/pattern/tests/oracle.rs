//! The definition, written as plainly as possible: all subsequences of a short history. The engine must equal it.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use event::{Attribute, Event, Millis};
use pattern::{Catalogue, Limits, NoFacts, Occurrence, Runs, Stepped};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Description {
    by: bool,
    within: i64,
    until: Option<char>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    types: Vec<char>,
    condition: Condition,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    None,
    One,
    /// `event.x == p.x`, where the first step captures p.
    Captured,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    See { times: usize, within: Option<i64> },
    Guard,
    Wait(i64),
}

#[derive(Debug, Clone)]
enum Moment {
    Event {
        kind: char,
        x: Option<i64>,
        k: Option<i64>,
        at: i64,
    },
    Clock(i64),
}

/// Completion time, by-key, evidence by position among all events, counts.
type Found = (i64, Option<i64>, Vec<Vec<usize>>, Vec<i32>);

fn yaml(of: &Description) -> String {
    let captures = of.steps.iter().any(|step| step.condition == Condition::Captured);
    let list = |types: &[char]| {
        types
            .iter()
            .map(|kind| format!("t.{kind}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = String::from("pattern: random\nversion: 1\ntitle: Random\nowner: tests\nstatus: live\nwhen:\n");
    let _ = writeln!(text, "  within: {}s", of.within);
    if of.by {
        text.push_str("  by: [k]\n");
    }
    if let Some(until) = of.until {
        let _ = writeln!(text, "  until: [t.{until}]");
    }
    text.push_str("  sequence:\n");
    for (index, step) in of.steps.iter().enumerate() {
        match step.what {
            What::See { times, within } => {
                let _ = writeln!(text, "    - see: [{}]\n      times: {times}", list(&step.types));
                if let Some(within) = within {
                    let _ = writeln!(text, "      within: {within}s");
                }
                if index == 0 && captures {
                    text.push_str("      as: p\n");
                }
            }
            What::Guard => {
                let _ = writeln!(text, "    - absent: [{}]", list(&step.types));
            }
            What::Wait(wait) => {
                let _ = writeln!(text, "    - absent: [{}]\n      for: {wait}s", list(&step.types));
            }
        }
        match step.condition {
            Condition::None => {}
            Condition::One => text.push_str("      where: event.x == 1\n"),
            Condition::Captured => text.push_str("      where: event.x == p.x\n"),
        }
    }
    text.push_str(
        "then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: { en: it happened } }
guard: { consent: service, cooldown: 1ms }
rollout: { percent: 100, holdout: 0, seed: random-1 }
tests:
  - { name: nothing, given: [], expect: [] }
  - { name: nothing again, given: [], expect: [] }
",
    );
    text
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    position: usize,
    number: usize,
    kind: char,
    x: Option<i64>,
    k: Option<i64>,
    at: i64,
}

/// Customer times by rule 1.
fn timed(moments: &[Moment]) -> Vec<Seen> {
    let (mut clock, mut last, mut seen) = (i64::MIN, i64::MIN, Vec::new());
    for (position, moment) in moments.iter().enumerate() {
        match moment {
            Moment::Clock(to) => clock = clock.max(*to),
            Moment::Event { kind, x, k, at } => {
                last = last.max(*at).max(clock);
                seen.push(Seen {
                    position,
                    number: seen.len(),
                    kind: *kind,
                    x: *x,
                    k: *k,
                    at: last,
                });
            }
        }
    }
    seen
}

fn naive(of: &Description, moments: &[Moment]) -> Vec<Found> {
    let all = timed(moments);
    let mut keys: Vec<Option<i64>> = if of.by {
        all.iter().map(|seen| seen.k).collect()
    } else {
        vec![None]
    };
    keys.sort_unstable();
    keys.dedup();
    let mut found = Vec::new();
    for key in keys.into_iter().filter(|key| !of.by || key.is_some()) {
        let events: Vec<Seen> = all.iter().copied().filter(|seen| !of.by || seen.k == key).collect();
        found.extend(
            instance(of, moments, &events)
                .into_iter()
                .map(|(at, evidence, counts)| (at, key, evidence, counts)),
        );
    }
    found.sort();
    found
}

struct Whole {
    vector: Vec<usize>,
    at: i64,
    position: usize,
    evidence: Vec<Vec<usize>>,
    counts: Vec<i32>,
}

fn instance(of: &Description, moments: &[Moment], events: &[Seen]) -> Vec<(i64, Vec<Vec<usize>>, Vec<i32>)> {
    let mut found = Vec::new();
    let mut after: Option<usize> = None;
    for position in 0..moments.len() {
        let usable: Vec<Seen> = events
            .iter()
            .copied()
            .filter(|seen| after.is_none_or(|after| seen.position > after))
            .collect();
        let mut wholes = Vec::new();
        extend(of, moments, &usable, 0, Vec::new(), &mut wholes);
        let here = wholes.into_iter().filter(|whole| whole.position == position);
        let best = here.min_by(|a, b| a.at.cmp(&b.at).then_with(|| b.vector.cmp(&a.vector)));
        if let Some(best) = best {
            found.push((best.at, best.evidence, best.counts));
            after = Some(position);
        }
    }
    found
}

/// All ways to choose events for the `see` steps from step `step` on.
fn extend(
    of: &Description,
    moments: &[Moment],
    events: &[Seen],
    step: usize,
    chosen: Vec<Vec<Seen>>,
    out: &mut Vec<Whole>,
) {
    let Some(at) = (step..of.steps.len()).find(|at| matches!(of.steps[*at].what, What::See { .. })) else {
        out.extend(judge(of, moments, events, &chosen));
        return;
    };
    let What::See { times, .. } = of.steps[at].what else {
        return;
    };
    let begin = chosen
        .last()
        .and_then(|group| group.last())
        .map_or(0, |last| last.position + 1);
    let candidates: Vec<Seen> = events
        .iter()
        .copied()
        .filter(|seen| seen.position >= begin && matches(&of.steps[at], seen, &chosen))
        .collect();
    for group in subsets(&candidates, times) {
        let mut next = chosen.clone();
        next.push(group);
        extend(of, moments, events, at + 1, next, out);
    }
}

fn subsets(of: &[Seen], size: usize) -> Vec<Vec<Seen>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in of.iter().enumerate() {
        for mut rest in subsets(&of[index + 1..], size - 1) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

fn matches(step: &Step, seen: &Seen, chosen: &[Vec<Seen>]) -> bool {
    let captured = chosen.first().and_then(|group| group.last()).and_then(|last| last.x);
    step.types.contains(&seen.kind)
        && match step.condition {
            Condition::None => true,
            Condition::One => seen.x == Some(1),
            Condition::Captured => seen.x.is_some() && seen.x == captured,
        }
}

/// Applies rules 7, 10, 11, 13, 14 and 18 to a choice of events.
fn judge(of: &Description, moments: &[Moment], events: &[Seen], chosen: &[Vec<Seen>]) -> Option<Whole> {
    let first = chosen.first()?.first()?;
    // Completion of the step before, as time and position.
    let (mut time, mut position) = (first.at, first.position);
    let mut groups = chosen.iter();
    let mut guard: Option<&Step> = None;
    let mut starts: Vec<usize> = Vec::new();
    let mut started = false;
    for step in &of.steps {
        match step.what {
            What::See { within, .. } => {
                let group = groups.next()?;
                let (begin, end) = (group.first()?, group.last()?);
                if started && begin.position <= position {
                    return None;
                }
                if let Some(guard) = guard.take() {
                    let between = |seen: &&Seen| seen.position > position && seen.position < begin.position;
                    if events.iter().filter(between).any(|seen| matches(guard, seen, chosen)) {
                        return None;
                    }
                }
                if within.is_some_and(|within| end.at - time > within * 1000) {
                    return None;
                }
                starts.push(position);
                (time, position, started) = (end.at, end.position, true);
            }
            What::Guard => guard = Some(step),
            What::Wait(wait) => {
                let due = time + wait * 1000;
                let fires = moments.iter().enumerate().position(|(at, moment)| {
                    let advanced = moments[..=at].iter().filter_map(|moment| match moment {
                        Moment::Clock(to) => Some(*to),
                        Moment::Event { .. } => None,
                    });
                    at > position.saturating_sub(1)
                        && matches!(moment, Moment::Clock(_))
                        && at >= position
                        && advanced.max().is_some_and(|clock| clock >= due)
                })?;
                let between = |seen: &&Seen| seen.position > position && seen.position < fires;
                if events.iter().filter(between).any(|seen| matches(step, seen, chosen)) {
                    return None;
                }
                (time, position) = (due, fires);
            }
        }
    }
    let ends_with_event = matches!(of.steps.last()?.what, What::See { .. });
    let until = |seen: &&Seen| of.until == Some(seen.kind);
    let inside = |seen: &&Seen| {
        seen.position > first.position && (seen.position < position || (ends_with_event && seen.position == position))
    };
    if time - first.at > of.within * 1000 || events.iter().filter(inside).any(|seen| until(&seen)) {
        return None;
    }
    let sees: Vec<&Step> = of
        .steps
        .iter()
        .filter(|step| matches!(step.what, What::See { .. }))
        .collect();
    let mut counts = Vec::new();
    for (index, step) in sees.iter().enumerate() {
        let next = chosen.get(index + 1).and_then(|group| group.first());
        let (end_at, end) = match next {
            Some(next) => (next.at, next.position),
            None if ends_with_event => (time, position + 1),
            None => (time, position),
        };
        let last_until = events
            .iter()
            .filter(until)
            .filter(|seen| seen.position <= first.position)
            .map(|seen| seen.position);
        let last_until = last_until.max().unwrap_or(0);
        let counted = events
            .iter()
            .filter(|seen| seen.position < end && matches(step, seen, chosen))
            .filter(|seen| {
                if index == 0 {
                    end_at - seen.at <= of.within * 1000 && seen.position >= last_until
                } else {
                    seen.position > starts[index]
                }
            });
        counts.push(i32::try_from(counted.count()).expect("few events"));
    }
    Some(Whole {
        vector: chosen.iter().flatten().map(|seen| seen.position).collect(),
        at: time,
        position,
        evidence: chosen
            .iter()
            .map(|group| group.iter().map(|seen| seen.number).collect())
            .collect(),
        counts,
    })
}

fn engine(of: &Description, moments: &[Moment]) -> Vec<Found> {
    let text = yaml(of);
    let pattern = pattern::parse("random.yaml", &text).unwrap_or_else(|findings| panic!("{findings:?}\n{text}"));
    let catalogue = Catalogue::compile([Arc::new(pattern)], Limits::default());
    let (mut runs, mut out) = (Runs::default(), Stepped::default());
    let (mut clock, mut last, mut index) = (i64::MIN, i64::MIN, 0);
    for moment in moments {
        match moment {
            Moment::Clock(to) => {
                clock = clock.max(*to);
                catalogue.on_time(&mut runs, Millis(clock), &NoFacts, &mut out);
            }
            Moment::Event { kind, x, k, at } => {
                last = last.max(*at).max(clock);
                let mut attributes = BTreeMap::new();
                for (name, value) in [("x", x), ("k", k)] {
                    if let Some(value) = value {
                        attributes.insert(name.to_owned(), Attribute::Long(*value));
                    }
                }
                let event = Event {
                    id: index.to_string(),
                    kind: format!("t.{kind}"),
                    attributes,
                    ..Event::default()
                };
                let of = Occurrence {
                    event: &event,
                    kind: &event.kind,
                    extra: &[],
                    at: Millis(last),
                    index,
                    position: "",
                };
                catalogue.on_event(&mut runs, &of, &NoFacts, &mut out);
                index += 1;
            }
        }
    }
    let mut found: Vec<Found> = out
        .matches
        .iter()
        .map(|found| {
            let number = |id: &str| id.parse().expect("ids are numbers");
            let evidence = found
                .evidence
                .iter()
                .map(|group| group.iter().map(|event| number(&event.id)).collect());
            let key = found.by.get("k").map(|key| key.parse().expect("keys are numbers"));
            (
                found.matched_at.0,
                key,
                evidence.collect(),
                found.seen.iter().map(|seen| seen.count).collect(),
            )
        })
        .collect();
    found.sort();
    found
}

fn types() -> impl Strategy<Value = Vec<char>> {
    prop_oneof![
        4 => proptest::sample::select(vec!['a', 'b', 'c']).prop_map(|kind| vec![kind]),
        1 => Just(vec!['a', 'b']),
        1 => Just(vec!['b', 'c']),
    ]
}

fn description() -> impl Strategy<Value = Description> {
    let condition = prop_oneof![4 => Just(Condition::None), 1 => Just(Condition::One), 1 => Just(Condition::Captured)];
    let what = prop_oneof![
        4 => (prop_oneof![3 => Just(1usize), 1 => Just(2), 1 => Just(3)], proptest::option::weighted(0.2, 1..6i64))
            .prop_map(|(times, within)| What::See { times, within }),
        2 => Just(What::Guard),
        2 => (1..6i64).prop_map(What::Wait),
    ];
    let step = (types(), condition, what).prop_map(|(types, condition, what)| Step { types, condition, what });
    let steps = proptest::collection::vec(step, 1..5);
    let until = proptest::option::weighted(0.2, Just('u'));
    (any::<bool>(), 5..20i64, until, steps).prop_map(|(by, within, until, steps)| shaped(by, within, until, steps))
}

/// Bends a random list of steps into one that the rules of the language allow.
fn shaped(by: bool, within: i64, until: Option<char>, mut steps: Vec<Step>) -> Description {
    for index in 0..steps.len() {
        let next_is_see = matches!(steps.get(index + 1).map(|step| step.what), Some(What::See { .. }));
        let step = &mut steps[index];
        match step.what {
            What::See { ref mut within, .. } if index == 0 => *within = None,
            What::Guard | What::Wait(_) if index == 0 => step.what = What::See { times: 1, within: None },
            What::Guard if !next_is_see => step.what = What::Wait(2),
            What::See {
                within: Some(ref mut limit),
                ..
            } => *limit = (*limit).min(within),
            _ => {}
        }
        if index == 0 && step.condition == Condition::Captured {
            step.condition = Condition::None;
        }
    }
    let waits: i64 = steps
        .iter()
        .map(|step| if let What::Wait(wait) = step.what { wait } else { 0 })
        .sum();
    Description {
        by,
        within: within.max(waits),
        until,
        steps,
    }
}

fn history() -> impl Strategy<Value = Vec<Moment>> {
    let kind = proptest::sample::select(vec!['a', 'a', 'b', 'b', 'c', 'c', 'u']);
    let x = proptest::option::weighted(0.9, 1..3i64);
    let k = proptest::option::weighted(0.95, prop_oneof![3 => Just(1i64), 1 => Just(2)]);
    // Kind, fields, gap, how late it is, and whether the clock is held back before it.
    let step = (
        kind,
        x,
        k,
        0..4i64,
        prop_oneof![4 => Just(0i64), 1 => 1..3i64],
        prop_oneof![3 => Just(false), 1 => Just(true)],
    );
    (proptest::collection::vec(step, 1..11), any::<bool>()).prop_map(|(steps, live)| {
        let (mut now, mut moments) = (0, Vec::new());
        for (kind, x, k, gap, behind, held) in steps {
            now += gap * 1000;
            if !(live && held) {
                moments.push(Moment::Clock(if live { now - 1000 } else { now }));
            }
            moments.push(Moment::Event {
                kind,
                x,
                k,
                at: now - behind * 1000,
            });
        }
        moments.push(Moment::Clock(now + 60_000));
        moments
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_equals_the_definition(of in description(), moments in history()) {
        let (expected, found) = (naive(&of, &moments), engine(&of, &moments));
        prop_assert_eq!(found, expected, "\n{}", yaml(&of));
    }
}
