//! The definition, written as plainly as possible: all subsequences of a short history. The engine must equal it.
//!
//! Of matches with the same events in other places of an `all`, the one counts that gives the first event the first member.

use std::{cell::Cell, collections::BTreeMap, fmt::Write as _, sync::Arc};

use event::{Attribute, Event, Millis};
use pattern::{Catalogue, Facts, Kept, Limits, Note, Observer, Occurrence, Runs, Stepped, Subject, Value};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};

#[derive(Debug, Clone)]
struct Description {
    by: bool,
    within: i64,
    until: Option<char>,
    any_order: bool,
    /// Whether before the date, and how long.
    during: Option<(bool, i64)>,
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
    /// `event.x == p0.x`, where this `see` captures p0.
    Captured(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    See {
        times: usize,
        across: usize,
        within: Option<i64>,
    },
    Guard,
    Wait(i64),
}

impl Step {
    fn is_see(&self) -> bool {
        matches!(self.what, What::See { .. })
    }

    fn times(&self) -> (usize, usize) {
        match self.what {
            What::See { times, across, .. } => (times, across),
            _ => (0, 0),
        }
    }
}

#[derive(Debug, Clone)]
enum Moment {
    Event {
        kind: char,
        x: Option<i64>,
        y: Option<i64>,
        k: Option<i64>,
        at: i64,
        /// The profile's date from this event on, if it changes it.
        date: Option<Option<i64>>,
    },
    Clock(i64),
}

/// Completion time, by-key, evidence by position among all events, counts.
type Found = (i64, Option<i64>, Vec<Vec<usize>>, Vec<i32>);

fn yaml(of: &Description) -> String {
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
    match of.during {
        Some((true, lead)) => {
            let _ = writeln!(text, "  during: {{ before: profile.renewal_date, lead: {lead}s }}");
        }
        Some((false, lag)) => {
            let _ = writeln!(text, "  during: {{ after: profile.renewal_date, lag: {lag}s }}");
        }
        None => {}
    }
    text.push_str(if of.any_order { "  all:\n" } else { "  sequence:\n" });
    let mut sees = 0;
    for step in &of.steps {
        match step.what {
            What::See { times, across, within } => {
                let _ = writeln!(text, "    - see: [{}]\n      times: {times}", list(&step.types));
                if across > 0 {
                    let _ = writeln!(text, "      across: {{ field: y, at_least: {across} }}");
                }
                if let Some(within) = within {
                    let _ = writeln!(text, "      within: {within}s");
                }
                if of
                    .steps
                    .iter()
                    .any(|other| other.condition == Condition::Captured(sees))
                {
                    let _ = writeln!(text, "      as: p{sees}");
                }
                sees += 1;
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
            Condition::Captured(see) => {
                let _ = writeln!(text, "      where: event.x == p{see}.x");
            }
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

/// The history as lines that `waymark pattern explain random --events FILE` reads. Its clock never lags.
fn lines(moments: &[Moment]) -> String {
    let mut text = String::new();
    let mut number = 0;
    for moment in moments {
        let Moment::Event { kind, x, y, k, at, .. } = moment else {
            continue;
        };
        let _ = write!(
            text,
            r#"{{"id":"{number}","time":{at},"customer":"c","type":"t.{kind}""#
        );
        for (name, value) in [("x", x), ("y", y), ("k", k)] {
            if let Some(value) = value {
                let _ = write!(text, r#","{name}":{value}"#);
            }
        }
        text.push_str("}\n");
        number += 1;
    }
    text
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    position: usize,
    number: usize,
    kind: char,
    x: Option<i64>,
    y: Option<i64>,
    k: Option<i64>,
    at: i64,
}

/// Customer times by rule 1.
fn timed(moments: &[Moment]) -> Vec<Seen> {
    let (mut clock, mut last, mut seen) = (i64::MIN, i64::MIN, Vec::new());
    for (position, moment) in moments.iter().enumerate() {
        match moment {
            Moment::Clock(to) => clock = clock.max(*to),
            Moment::Event { kind, x, y, k, at, .. } => {
                last = last.max(*at).max(clock);
                seen.push(Seen {
                    position,
                    number: seen.len(),
                    kind: *kind,
                    x: *x,
                    y: *y,
                    k: *k,
                    at: last,
                });
            }
        }
    }
    seen
}

/// The profile's date as it is at each moment.
fn dates(moments: &[Moment]) -> Vec<Option<i64>> {
    let mut date = None;
    let at = |moment: &Moment| {
        if let Moment::Event { date: Some(new), .. } = moment {
            date = *new;
        }
        date
    };
    moments.iter().map(at).collect()
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
    /// Per event of the vector: its `see` step.
    members: Vec<usize>,
    at: i64,
    position: usize,
    evidence: Vec<Vec<usize>>,
    counts: Vec<i32>,
}

/// Rule 16: the first moment at which a match exists of events after the one before; rule 17: of those, the tightest.
fn instance(of: &Description, moments: &[Moment], events: &[Seen]) -> Vec<(i64, Vec<Vec<usize>>, Vec<i32>)> {
    let mut found = Vec::new();
    let mut after: Option<usize> = None;
    loop {
        let usable: Vec<Seen> = events
            .iter()
            .copied()
            .filter(|seen| after.is_none_or(|after| seen.position > after))
            .collect();
        let mut wholes = Vec::new();
        extend(of, moments, &usable, 0, Vec::new(), &mut wholes);
        let best = wholes.into_iter().min_by(|a, b| {
            let first = (a.position, a.at).cmp(&(b.position, b.at));
            first
                .then_with(|| b.vector.cmp(&a.vector))
                .then_with(|| a.members.cmp(&b.members))
        });
        let Some(best) = best else { return found };
        found.push((best.at, best.evidence, best.counts));
        after = Some(best.position);
    }
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
    let Some(at) = (step..of.steps.len()).find(|at| of.steps[*at].is_see()) else {
        out.extend(if of.any_order {
            judge_all(of, moments, events, &chosen)
        } else {
            judge(of, moments, events, &chosen)
        });
        return;
    };
    let (times, across) = of.steps[at].times();
    let begin = chosen
        .last()
        .and_then(|group| group.last())
        .map_or(0, |last| last.position + 1);
    let candidates: Vec<Seen> = events
        .iter()
        .copied()
        .filter(|seen| {
            if of.any_order {
                !chosen.iter().flatten().any(|taken| taken == seen)
            } else {
                seen.position >= begin
            }
        })
        .filter(|seen| matches(&of.steps[at], seen, &chosen))
        .collect();
    for group in subsets(&candidates, times) {
        let mut values: Vec<Option<i64>> = group.iter().map(|seen| seen.y).collect();
        values.sort_unstable();
        values.dedup();
        if values.len() < across {
            continue;
        }
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

/// Rules 4, 6 and 8.
fn matches(step: &Step, seen: &Seen, chosen: &[Vec<Seen>]) -> bool {
    step.types.contains(&seen.kind)
        && (step.times().1 == 0 || seen.y.is_some())
        && match step.condition {
            Condition::None => true,
            Condition::One => seen.x == Some(1),
            Condition::Captured(see) => {
                let captured = chosen.get(see).and_then(|group| group.last()).and_then(|last| last.x);
                seen.x.is_some() && seen.x == captured
            }
        }
}

/// Rule 2: the first moment, not before `position`, at which the clock has reached `due`.
fn firing(moments: &[Moment], position: usize, due: i64) -> Option<usize> {
    (position..moments.len()).find(|at| {
        let advanced = moments[..=*at].iter().filter_map(|moment| match moment {
            Moment::Clock(to) => Some(*to),
            Moment::Event { .. } => None,
        });
        matches!(moments[*at], Moment::Clock(_)) && advanced.max().is_some_and(|clock| clock >= due)
    })
}

/// Rules 13, 14 and 15, for a match of these events that is complete at a time and a moment.
fn is_inside(
    of: &Description,
    moments: &[Moment],
    events: &[Seen],
    used: &[Seen],
    (time, position): (i64, usize),
    ends_with_event: bool,
) -> bool {
    let Some(first) = used.iter().min_by_key(|seen| seen.position) else {
        return false;
    };
    let until = events.iter().any(|seen| {
        of.until == Some(seen.kind)
            && seen.position > first.position
            && (seen.position < position || (ends_with_event && seen.position == position))
    });
    let during = of.during.is_none_or(|(before, span)| {
        let dates = dates(moments);
        let Some(date) = dates[first.position] else {
            return false;
        };
        let holds = |at: i64| {
            if before {
                at >= date - span * 1000 && at < date
            } else {
                at >= date && at < date + span * 1000
            }
        };
        dates[first.position..=position]
            .iter()
            .all(|other| *other == Some(date))
            && used.iter().all(|seen| holds(seen.at))
            && holds(time)
    });
    time - first.at <= of.within * 1000 && !until && during
}

/// Applies rules 7, 10, 11 and 18 to a choice of events for a sequence.
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
                let fires = firing(moments, position, due)?;
                let between = |seen: &&Seen| seen.position > position && seen.position < fires;
                if events.iter().filter(between).any(|seen| matches(step, seen, chosen)) {
                    return None;
                }
                (time, position) = (due, fires);
            }
        }
    }
    let ends_with_event = of.steps.last()?.is_see();
    let used: Vec<Seen> = chosen.iter().flatten().copied().collect();
    if !is_inside(of, moments, events, &used, (time, position), ends_with_event) {
        return None;
    }
    let sees: Vec<&Step> = of.steps.iter().filter(|step| step.is_see()).collect();
    let mut counts = Vec::new();
    for (index, step) in sees.iter().enumerate() {
        let next = chosen.get(index + 1).and_then(|group| group.first());
        let (end_at, end) = match next {
            Some(next) => (next.at, next.position),
            None if ends_with_event => (time, position + 1),
            None => (time, position),
        };
        let last_until = last(events, first.position, |seen| of.until == Some(seen.kind));
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
    Some(whole(chosen, (time, position), counts))
}

/// The last such event up to a position, or 0.
fn last(events: &[Seen], position: usize, test: impl Fn(&Seen) -> bool) -> usize {
    let found = events.iter().filter(|seen| seen.position <= position && test(seen));
    found.map(|seen| seen.position).max().unwrap_or(0)
}

fn whole(chosen: &[Vec<Seen>], (at, position): (i64, usize), counts: Vec<i32>) -> Whole {
    let mut events: Vec<(usize, usize)> = Vec::new();
    for (member, group) in chosen.iter().enumerate() {
        events.extend(group.iter().map(|seen| (seen.position, member)));
    }
    events.sort_unstable();
    Whole {
        vector: events.iter().map(|(position, _)| *position).collect(),
        members: events.iter().map(|(_, member)| *member).collect(),
        at,
        position,
        evidence: chosen
            .iter()
            .map(|group| group.iter().map(|seen| seen.number).collect())
            .collect(),
        counts,
    }
}

/// Applies rules 12 and 18 to a choice of events for an `all`.
fn judge_all(of: &Description, moments: &[Moment], events: &[Seen], chosen: &[Vec<Seen>]) -> Option<Whole> {
    let used: Vec<Seen> = chosen.iter().flatten().copied().collect();
    let first = used.iter().min_by_key(|seen| seen.position)?;
    let l = used.iter().max_by_key(|seen| seen.position)?;
    let (mut time, mut position, mut ends_with_event) = (l.at, l.position, true);
    for step in of.steps.iter().filter(|step| !step.is_see()) {
        // The first moment at which such an event is tolerated again.
        let end = match step.what {
            What::Wait(wait) => {
                let due = l.at + wait * 1000;
                let fires = firing(moments, l.position, due)?;
                if ends_with_event || due > time {
                    (time, position, ends_with_event) = (due, fires, false);
                }
                fires
            }
            _ => l.position + 1,
        };
        let between = |seen: &&Seen| seen.position > first.position && seen.position < end;
        if events.iter().filter(between).any(|seen| matches(step, seen, chosen)) {
            return None;
        }
    }
    if !is_inside(of, moments, events, &used, (time, position), ends_with_event) {
        return None;
    }
    let end = if ends_with_event { position + 1 } else { position };
    let broken = |seen: &Seen| {
        let mut absents = of.steps.iter().filter(|step| !step.is_see());
        of.until == Some(seen.kind) || absents.any(|step| matches(step, seen, chosen))
    };
    let begin = last(events, first.position, broken);
    let sees = of.steps.iter().filter(|step| step.is_see());
    let counts = sees.map(|step| {
        let counted = events.iter().filter(|seen| {
            seen.position >= begin
                && seen.position < end
                && time - seen.at <= of.within * 1000
                && matches(step, seen, chosen)
        });
        i32::try_from(counted.count()).expect("few events")
    });
    Some(whole(chosen, (time, position), counts.collect()))
}

#[derive(Default)]
struct Profile(Cell<Option<i64>>);

impl Facts for Profile {
    fn profile(&self, path: &str) -> Option<Value<'_>> {
        self.0.get().filter(|_| path == "renewal_date").map(Value::Long)
    }

    fn journey(&self, _: &str) -> Option<Value<'_>> {
        None
    }
}

/// How the engine is driven: all ways have the same outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Drive {
    /// As it runs live.
    Live,
    /// With an observer, which sees every step.
    Observed,
    /// Live, and stored and restored after every moment.
    Restored,
}

struct Watching;

impl Observer for Watching {
    fn note(&mut self, _: &Subject<'_>, _: &Note<'_>) {}
}

fn engine(of: &Description, moments: &[Moment], drive: Drive) -> Vec<Found> {
    let text = yaml(of);
    let pattern = pattern::parse("random.yaml", &text).unwrap_or_else(|findings| panic!("{findings:?}\n{text}"));
    let catalogue = Catalogue::compile([Arc::new(pattern)], Limits::default());
    let (mut runs, mut out, facts) = (Runs::default(), Stepped::default(), Profile::default());
    let (mut clock, mut last, mut index) = (i64::MIN, i64::MIN, 0);
    for moment in moments {
        match moment {
            Moment::Clock(to) => {
                clock = clock.max(*to);
                if drive == Drive::Observed {
                    catalogue.on_time_observed(&mut runs, Millis(clock), &facts, &mut out, &mut Watching);
                } else {
                    catalogue.on_time(&mut runs, Millis(clock), &facts, &mut out);
                }
            }
            Moment::Event {
                kind,
                x,
                y,
                k,
                at,
                date,
            } => {
                last = last.max(*at).max(clock);
                let mut attributes = BTreeMap::new();
                for (name, value) in [("x", x), ("y", y), ("k", k)] {
                    if let Some(value) = value {
                        attributes.insert(name.to_owned(), Attribute::Long(*value));
                    }
                }
                if let Some(date) = date {
                    facts.0.set(*date);
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
                if drive == Drive::Observed {
                    catalogue.on_event_observed(&mut runs, &of, &facts, &mut out, &mut Watching);
                } else {
                    catalogue.on_event(&mut runs, &of, &facts, &mut out);
                }
                index += 1;
            }
        }
        if drive == Drive::Restored {
            runs = Runs::restored(runs.instances(), runs.events().map(Kept::from).collect());
        }
        assert_eq!(runs.deadline(), Runs::restored(runs.instances(), Vec::new()).deadline());
    }
    let mut found: Vec<Found> = out
        .matches
        .iter()
        .map(|found| {
            let number = |id: &str| id.parse().expect("ids are numbers");
            let evidence = found
                .evidence()
                .into_iter()
                .map(|group| group.iter().map(|event| number(&event.id)).collect());
            let key = found.by().get("k").map(|key| key.parse().expect("keys are numbers"));
            (
                found.matched_at.0,
                key,
                evidence.collect(),
                found.seen().iter().map(|seen| seen.count).collect(),
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
        1 => Just(vec!['a', 'u']),
    ]
}

fn description() -> impl Strategy<Value = Description> {
    let condition = prop_oneof![
        4 => Just(Condition::None),
        1 => Just(Condition::One),
        1 => (0..3usize).prop_map(Condition::Captured)
    ];
    let times = prop_oneof![3 => Just(1usize), 1 => Just(2), 1 => Just(3)];
    let across = prop_oneof![4 => Just(0usize), 2 => Just(2), 1 => Just(3)];
    let within = proptest::option::weighted(0.2, 1..6i64);
    let what = prop_oneof![
        4 => (times, across, within).prop_map(|(times, across, within)| What::See { times, across, within }),
        2 => Just(What::Guard),
        2 => (1..6i64).prop_map(What::Wait),
    ];
    let step = (types(), condition, what).prop_map(|(types, condition, what)| Step { types, condition, what });
    let steps = proptest::collection::vec(step, 1..5);
    let until = proptest::option::weighted(0.25, prop_oneof![2 => Just('u'), 1 => Just('a')]);
    let during = proptest::option::weighted(0.25, (any::<bool>(), 5..30i64));
    let any_order = prop_oneof![2 => Just(false), 1 => Just(true)];
    let is_chain = prop_oneof![3 => Just(false), 1 => Just(true)];
    (any::<bool>(), 3..20i64, until, any_order, during, steps, is_chain).prop_map(
        |(by, within, until, any_order, during, steps, is_chain)| {
            let of = Description {
                by,
                within,
                until,
                any_order,
                during,
                steps,
            };
            shaped(if is_chain { chain(of) } else { of })
        },
    )
}

/// Single events one behind the other: the engine has a way of its own for them.
fn chain(mut of: Description) -> Description {
    (of.by, of.any_order, of.during) = (false, false, None);
    for step in &mut of.steps {
        let within = match step.what {
            What::See { within, .. } => within,
            _ => None,
        };
        step.what = What::See {
            times: 1,
            across: 0,
            within,
        };
        if matches!(step.condition, Condition::Captured(_)) {
            step.condition = Condition::None;
        }
    }
    of
}

/// Bends a random list of steps into one that the rules of the language allow.
fn shaped(mut of: Description) -> Description {
    const ONE: What = What::See {
        times: 1,
        across: 0,
        within: None,
    };
    let any_order = of.any_order;
    if any_order && !of.steps.iter().any(Step::is_see) {
        of.steps[0].what = ONE;
    }
    let mut sees = 0;
    for index in 0..of.steps.len() {
        let next_is_see = of.steps.get(index + 1).is_some_and(Step::is_see);
        let behind_guard = index > 0 && of.steps[index - 1].what == What::Guard;
        let step = &mut of.steps[index];
        if !any_order {
            match step.what {
                What::Guard | What::Wait(_) if index == 0 => step.what = ONE,
                What::Guard if !next_is_see => step.what = What::Wait(2),
                _ => {}
            }
        }
        if let What::See { times, across, within } = &mut step.what {
            if index == 0 || any_order {
                *within = None;
            }
            if behind_guard && !any_order {
                *across = 0;
            }
            *within = within.map(|within: i64| within.min(of.within));
            *times = (*times).max(*across);
        }
        match step.condition {
            Condition::Captured(_) if sees == 0 || any_order => step.condition = Condition::None,
            Condition::Captured(see) => step.condition = Condition::Captured(see.min(sees - 1)),
            _ => {}
        }
        sees += usize::from(of.steps[index].is_see());
    }
    if any_order {
        // An `across` shares no type with another member.
        for index in 0..of.steps.len() {
            let shares = of.steps.iter().enumerate().any(|(other, step)| {
                other != index && step.is_see() && step.types.iter().any(|kind| of.steps[index].types.contains(kind))
            });
            if let (What::See { across, .. }, true) = (&mut of.steps[index].what, shares) {
                *across = 0;
            }
        }
    }
    // `until` discards no step entirely.
    let mut blocked = 0;
    for (index, step) in of.steps.iter().enumerate().filter(|(_, step)| step.is_see()) {
        if step.types.iter().all(|kind| of.until == Some(*kind)) {
            let is_first = if any_order { blocked == 0 } else { index == 0 };
            blocked += 1;
            if !is_first || step.times().0 > 1 {
                of.until = Some('u');
            }
        }
    }
    let waits = of
        .steps
        .iter()
        .map(|step| if let What::Wait(wait) = step.what { wait } else { 0 });
    let waits = if any_order { waits.max() } else { Some(waits.sum()) };
    of.within = of.within.max(waits.unwrap_or(0));
    of
}

fn history() -> impl Strategy<Value = Vec<Moment>> {
    let kind = proptest::sample::select(vec!['a', 'a', 'b', 'b', 'c', 'c', 'u']);
    let x = proptest::option::weighted(0.9, 1..3i64);
    let y = proptest::option::weighted(0.9, 1..4i64);
    let k = proptest::option::weighted(0.95, prop_oneof![3 => Just(1i64), 1 => Just(2)]);
    // Kind, fields, gap, how late it is, whether the clock is held back before it, and the profile's date.
    let step = (
        kind,
        (x, y, k),
        0..4i64,
        prop_oneof![4 => Just(0i64), 1 => 1..3i64],
        prop_oneof![3 => Just(false), 1 => Just(true)],
        proptest::option::weighted(0.06, proptest::option::weighted(0.9, -5..40i64)),
    );
    let date = proptest::option::weighted(0.8, -5..30i64);
    (proptest::collection::vec(step, 1..12), any::<bool>(), date).prop_map(|(steps, live, date)| {
        let (mut now, mut moments) = (0, Vec::new());
        for (index, (kind, (x, y, k), gap, behind, held, changed)) in steps.into_iter().enumerate() {
            now += gap * 1000;
            if !(live && held) {
                moments.push(Moment::Clock(if live { now - 1000 } else { now }));
            }
            let changed = if index == 0 { Some(date) } else { changed };
            moments.push(Moment::Event {
                kind,
                x,
                y,
                k,
                at: now - behind * 1000,
                date: changed.map(|date| date.map(|date| date * 1000)),
            });
        }
        moments.push(Moment::Clock(now + 60_000));
        moments
    })
}

/// `make oracle CASES=10000000` tries more, `PROPTEST_RNG_SEED=7` others.
#[test]
fn the_engine_equals_the_definition() {
    #[expect(clippy::disallowed_methods, reason = "a test is configured by its caller")]
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = variable("WAYMARK_ORACLE_CASES").unwrap_or(100_000);
    let seed = variable("PROPTEST_RNG_SEED").unwrap_or(1);
    let config = ProptestConfig {
        cases: u32::try_from(cases).expect("at most four billion cases"),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let matched = Cell::new(0u64);
    let result = runner.run(&(description(), history()), |(of, moments)| {
        let expected = naive(&of, &moments);
        matched.set(matched.get() + u64::from(!expected.is_empty()));
        for drive in [Drive::Live, Drive::Observed, Drive::Restored] {
            let found = engine(&of, &moments, drive);
            prop_assert_eq!(&found, &expected, "{:?}", drive);
        }
        Ok(())
    });
    if let Err(TestError::Fail(reason, (of, moments))) = &result {
        let folder = env!("CARGO_TARGET_TMPDIR");
        let (pattern, events) = (format!("{folder}/random.yaml"), format!("{folder}/random.jsonl"));
        std::fs::write(&pattern, yaml(of)).expect("the target folder is writable");
        std::fs::write(&events, lines(moments)).expect("the target folder is writable");
        panic!(
            "{reason}\n{pattern}:\n{}\n{events}:\n{}\n{moments:#?}\nexpected {:?}\nfound    {:?}",
            yaml(of),
            lines(moments),
            naive(of, moments),
            std::panic::catch_unwind(|| engine(of, moments, Drive::Live)),
        );
    }
    result.expect("every case was judged");
    // Random cases that never match would show nothing.
    assert!(matched.get() * 5 > cases, "{} of {cases} matched", matched.get());
}
