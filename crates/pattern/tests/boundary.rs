//! The boundary cases of the language, one by one. A history is `a0 b7(x)`: an event of type `t.a` at second 0, one of type `t.b` with
//! `x: x` at second 7. What is expected is `7: a0 b7`: a match that is complete at second 7, with its evidence.

use std::{collections::BTreeMap, sync::Arc};

use event::{Attribute, Event, Millis};
use pattern::{Catalogue, Kept, Limits, NoFacts, Occurrence, Pattern, Runs, Stepped, parse};

const BEHIND: &str = "
then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: { en: 'seen {{ seen[0].count }}' } }
guard: { consent: service, cooldown: 1ms }
rollout: { percent: 100, holdout: 0, seed: boundary-1 }
tests:
  - { name: nothing, given: [], expect: [] }
  - { name: nothing again, given: [], expect: [] }
";

/// A pattern from what stands in `when`.
fn pattern(version: u16, when: &str) -> Arc<Pattern> {
    let within = if when.starts_with("within: ") {
        ""
    } else {
        "within: 10s, "
    };
    let text = format!(
        "pattern: boundary\nversion: {version}\ntitle: Boundary\nowner: tests\nstatus: live\nwhen: {{ {within}{when} }}{BEHIND}"
    );
    Arc::new(parse("boundary.yaml", &text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}")))
}

/// An event of a history: its type, second and `x`, a text or, behind `#`, a number.
fn read(word: &str) -> Event {
    let (word, x) = word.split_once('(').unwrap_or((word, ""));
    let mut attributes = BTreeMap::new();
    if let Some(x) = x.strip_suffix(')') {
        let value = match x.strip_prefix('#') {
            Some(number) => number
                .parse()
                .map(Attribute::Long)
                .unwrap_or_else(|_| Attribute::Double(number.parse().expect("a number"))),
            None => Attribute::Text(x.to_owned()),
        };
        attributes.insert("x".to_owned(), value);
    }
    let seconds: i64 = word[1..].parse().expect("a second");
    Event {
        id: word.to_owned(),
        kind: format!("t.{}", &word[..1]),
        time: Millis(seconds * 1000),
        attributes,
        ..Event::default()
    }
}

struct Case {
    runs: Runs,
    out: Stepped,
    last: Millis,
    index: u64,
}

impl Case {
    fn new() -> Self {
        Self {
            runs: Runs::default(),
            out: Stepped::default(),
            last: Millis::MIN,
            index: 0,
        }
    }

    fn clock(&mut self, catalogue: &Catalogue, to: Millis) {
        catalogue.on_time(&mut self.runs, to, &NoFacts, &mut self.out);
    }

    fn event(&mut self, catalogue: &Catalogue, event: &Event) {
        self.last = self.last.max(event.time);
        let of = Occurrence {
            event,
            kind: &event.kind,
            extra: &[],
            at: self.last,
            index: self.index,
            position: "",
        };
        self.index += 1;
        catalogue.on_event(&mut self.runs, &of, &NoFacts, &mut self.out);
    }

    /// Every match as `7: a0 b7`.
    fn shown(&self) -> String {
        let shown = self.out.matches.iter().map(|found| {
            let ids: Vec<String> = found.evidence().into_iter().flatten().map(|event| event.id).collect();
            format!("{}: {}", found.matched_at.0 / 1000, ids.join(" "))
        });
        shown.collect::<Vec<String>>().join("; ")
    }
}

fn stepped(when: &str, history: &str) -> Case {
    let catalogue = Catalogue::compile([pattern(1, when)], Limits::default());
    let mut case = Case::new();
    for event in history.split_whitespace().map(read) {
        case.clock(&catalogue, event.time);
        case.event(&catalogue, &event);
    }
    case.clock(&catalogue, Millis(1_000_000));
    case
}

#[test]
fn every_boundary_case_is_decided_as_stated() {
    let a_b = "sequence: [{see: t.a}, {see: t.b}]";
    let a_a = "sequence: [{see: t.a}, {see: t.a}]";
    let twice = "sequence: [{see: t.a, times: 2}, {see: t.b}]";
    let soon = "sequence: [{see: t.a}, {see: t.b, within: 2s}]";
    let quiet = "sequence: [{see: t.a}, {absent: t.b, for: 5s}]";
    let twice_quiet = "within: 6s, sequence: [{see: t.a, times: 2}, {absent: t.b, for: 5s}]";
    let silence = "sequence: [{see: t.a}, {absent: t.a, for: 5s}]";
    let guarded = "sequence: [{see: t.a}, {absent: t.b}, {see: t.c}]";
    let next_is_x = "sequence: [{see: t.a}, {absent: t.b}, {see: t.b, where: event.x == 'x'}]";
    let wait_then = "within: 20s, sequence: [{see: t.a}, {absent: t.b, for: 5s}, {see: t.c}]";
    let until = "sequence: [{see: t.a}, {see: t.b}], until: [t.u]";
    let until_a = "sequence: [{see: t.a}, {see: t.b}], until: [t.a]";
    let across = "sequence: [{see: t.a, times: 3, across: {field: x, at_least: 2}}]";
    let same = "sequence: [{see: t.a, as: p}, {see: t.b, where: event.x == p.x}]";
    let all = "all: [{see: t.a, times: 2}, {see: t.b}]";
    let shared = "all: [{see: t.a}, {see: [t.a, t.c]}]";
    let all_quiet = "all: [{see: t.a}, {see: t.b}, {absent: t.x, for: 5s}]";
    for (when, history, expected) in [
        (a_b, "a0 b10", "10: a0 b10"),
        (a_b, "a0 b11", ""),
        (a_b, "a0 a5 b6 b7", "6: a5 b6"),
        (a_b, "a3 b3", "3: a3 b3"),
        (a_b, "b3 a3", ""),
        (a_a, "a0 a1 a2 a3", "1: a0 a1; 3: a2 a3"),
        (twice, "a0 a1 a2 b3", "3: a1 a2 b3"),
        (soon, "a0 b3", ""),
        (soon, "a0 a2 b3", "3: a2 b3"),
        (quiet, "a0 b4", ""),
        (quiet, "a0 b5", "5: a0"),
        (quiet, "a0 a3", "5: a0"),
        (quiet, "a0 a3 b4", ""),
        (twice_quiet, "a0 a2", ""),
        (twice_quiet, "a0 a2 a3", "8: a2 a3"),
        (silence, "a0 a3", "8: a3"),
        (guarded, "a0 b1 c2", ""),
        (guarded, "a0 b1 a2 c3", "3: a2 c3"),
        (next_is_x, "a0 b1", ""),
        (next_is_x, "a0 b1(x)", "1: a0 b1"),
        (wait_then, "a0 c4 c6", "6: a0 c6"),
        (wait_then, "a0 a3 b6 c7", "7: a0 c7"),
        (until, "a0 u1 b2", ""),
        (until_a, "a0 a1 b2", "2: a1 b2"),
        (across, "a0(x) a1(x) a2(x) a3(y)", "3: a1 a2 a3"),
        (same, "a0(x) a1(y) b2(x)", "2: a0 b2"),
        (all, "b0 a5 a9", "9: a5 a9 b0"),
        (all, "b0 a5 a11", ""),
        (shared, "c0 a1", "1: a1 c0"),
        (shared, "c0 c1", ""),
        (all_quiet, "x0 a1 b2", "7: a1 b2"),
        (all_quiet, "a1 x2 b3", ""),
        (all_quiet, "a1 b3 x8", "8: a1 b3"),
    ] {
        assert_eq!(stepped(when, history).shown(), expected, "{when} on {history}");
    }
    assert_eq!(stepped(twice, "a0 a1 a2 b3").out.matches[0].seen()[0].count, 3);
}

/// What CEL takes for the same number is one value, however it was sent; a text is another one.
#[test]
fn numbers_that_are_equal_join_and_count_as_one_value() {
    let joined = "by: [x], sequence: [{see: t.a}, {see: t.b}]";
    let quiet = "by: [x], sequence: [{see: t.a}, {absent: t.b, for: 5s}]";
    let across = "sequence: [{see: t.a, times: 3, across: {field: x, at_least: 3}}]";
    let all = "all: [{see: t.a, times: 2, across: {field: x, at_least: 2}}, {see: t.b}]";
    for (when, history, expected) in [
        (joined, "a0(#1) b1(#1.0)", "1: a0 b1"),
        (joined, "a0(#1.0) b1(#1)", "1: a0 b1"),
        (joined, "a0(#0) b1(#-0.0)", "1: a0 b1"),
        (joined, "a0(#9007199254740993) b1(#9007199254740992.0)", ""),
        (joined, "a0(#1.5) b1(#1)", ""),
        (joined, "a0(1) b1(#1)", ""),
        (joined, "a0(1.0) b1(1)", ""),
        (quiet, "a0(#1) b4(#1.0)", ""),
        (quiet, "a0(#1) b4(1)", "5: a0"),
        (across, "a0(#1) a1(#1.0) a2(#2)", ""),
        (across, "a0(#1) a1(#1.0) a2(#2) a3(1)", "3: a1 a2 a3"),
        (all, "a0(#1) a1(#1.0) b2", ""),
        (all, "a0(#1.0) b1 a2(#1.5)", "2: a0 a2 b1"),
    ] {
        assert_eq!(stepped(when, history).shown(), expected, "{when} on {history}");
    }
    let found = stepped(joined, "a0(#1.0) b1(#1)").out.matches.remove(0);
    assert_eq!(found.joined().collect::<Vec<_>>(), [("x", &Attribute::Long(1))]);
    assert_eq!(found.by()["x"], "1");
}

/// Rows that were written while 1 and 1.0 were two keys are read, and what was told apart by them goes on as one.
#[test]
fn what_was_stored_under_two_equal_numbers_goes_on_as_one() {
    let text = |text: &str| Attribute::Text(text.to_owned());
    let run = |when: &str, stored: &[(&str, Attribute)], first: &str, then: &str| {
        let catalogue = Catalogue::compile([pattern(1, when)], Limits::default());
        let mut case = Case::new();
        first
            .split_whitespace()
            .for_each(|word| case.event(&catalogue, &read(word)));
        // As they were stored: texts stand for what was written then.
        let mut instances = case.runs.instances();
        for value in instances
            .iter_mut()
            .flat_map(|instance| instance.by.iter_mut().chain(&mut instance.values))
        {
            let as_stored = stored.iter().find(|(name, _)| *value == text(name));
            *value = as_stored.map_or_else(|| value.clone(), |(_, value)| value.clone());
        }
        let events = case.runs.events().map(Kept::from).collect();
        case.runs = Runs::restored(instances, events);
        then.split_whitespace()
            .for_each(|word| case.event(&catalogue, &read(word)));
        (case.shown(), case.runs.instances().len())
    };
    let joined = "by: [x], sequence: [{see: t.a}, {see: t.b}]";
    let (one, other, two) = (
        ("a", Attribute::Long(1)),
        ("c", Attribute::Double(1.0)),
        ("b", Attribute::Long(2)),
    );
    let all = [one, other.clone(), two];
    let shown = |text: &str, left: usize| (text.to_owned(), left);
    // Of both the later goes on.
    assert_eq!(run(joined, &all, "a0(a) a1(c)", "b2(#1)"), shown("2: a1 b2", 0));
    assert_eq!(run(joined, &all, "a0(c) a1(a)", "b2(#1.0)"), shown("2: a1 b2", 0));
    // What stood behind others is found where it belongs.
    assert_eq!(
        run(joined, &all, "a0(b) a1(c)", "b2(#1) b3(#2)"),
        shown("2: a1 b2; 3: a0 b3", 0)
    );
    assert_eq!(run(joined, &all, "a0(a) a1(b) a2(c) a3(d)", ""), shown("", 3));
    // Values that are counted are one too.
    let across = "sequence: [{see: t.a, times: 3, across: {field: x, at_least: 3}}]";
    assert_eq!(
        run(across, &[other], "a0(c) a1(d)", "a2(#1) a3(e)"),
        shown("3: a1 a2 a3", 0)
    );
}

/// A wait is not over before the clock says so, whatever the times of events.
#[test]
fn a_clock_that_is_held_back_fires_nothing() {
    let quiet = Catalogue::compile(
        [pattern(1, "sequence: [{see: t.a}, {absent: t.b, for: 5s}]")],
        Limits::default(),
    );
    for (reached, expected) in [(3000, ""), (5000, "5: a0")] {
        let mut case = Case::new();
        case.event(&quiet, &read("a0"));
        case.clock(&quiet, Millis(reached));
        case.event(&quiet, &read("b6"));
        case.clock(&quiet, Millis(60_000));
        assert_eq!(case.shown(), expected, "clock held at {reached}");
    }
}

/// Of two versions the older one finishes what it began; a match of either clears both.
#[test]
fn an_older_version_finishes_what_is_open_and_begins_nothing() {
    let old = pattern(1, "sequence: [{see: t.a}, {see: t.b}, {see: t.c}]");
    let new = pattern(2, "sequence: [{see: t.a}, {see: t.c}]");
    let before = Catalogue::compile([old.clone()], Limits::default());
    let after = Catalogue::compile([old.clone(), new.clone()], Limits::default());
    let run = |first: &str, then: &str| {
        let mut case = Case::new();
        for event in first.split_whitespace().map(read) {
            case.event(&before, &event);
        }
        for event in then.split_whitespace().map(read) {
            case.event(&after, &event);
        }
        let versions = case
            .out
            .matches
            .iter()
            .map(|found| format!(" v{}", found.pattern.version));
        format!("{}{}", case.shown(), versions.collect::<String>())
    };
    assert_eq!(run("a0 b1", "c2 c3"), "2: a0 b1 c2 v1");
    assert_eq!(run("a0", "b1 c2"), "2: a0 b1 c2 v1");
    // The newer one wins at one moment, and clears the older one's run.
    assert_eq!(run("a0 b1", "a2 c3 c4"), "3: a2 c3 v2");
    // Nothing begins under the older one any more.
    assert_eq!(run("", "a0 b1 c2 b3 c4"), "2: a0 c2 v2");
    assert_eq!(after.get("boundary").map(|pattern| pattern.version), Some(2));
    // Without the older version its runs go.
    let mut case = Case::new();
    case.event(&before, &read("a0"));
    let only = Catalogue::compile([new], Limits::default());
    assert_eq!(only.retain(&mut case.runs), 1);
    assert!(case.runs.is_empty());
}

/// Waits of one deadline fire in order of the by-key, whatever their versions; of one key the newer wins.
#[test]
fn waits_of_two_versions_fire_in_order_of_the_by_key() {
    let quiet = |version, begins: &str| {
        let when = format!("by: [x], sequence: [{{see: {begins}}}, {{absent: t.c, for: 5s}}]");
        pattern(version, &when)
    };
    let (old, new) = (quiet(1, "t.a"), quiet(2, "t.b"));
    let before = Catalogue::compile([old.clone()], Limits::default());
    let after = Catalogue::compile([old, new], Limits::default());
    let mut case = Case::new();
    case.event(&before, &read("a0(p)"));
    case.event(&before, &read("a0(q)"));
    for word in ["b0(q)", "b0(o)"] {
        case.event(&after, &read(word));
    }
    case.clock(&after, Millis(60_000));
    let found = case.out.matches.iter();
    let found: Vec<(String, i32)> = found
        .map(|found| (found.by()["x"].clone(), found.pattern.version))
        .collect();
    assert_eq!(found, [("o".to_owned(), 2), ("p".to_owned(), 1), ("q".to_owned(), 2)]);
}

/// What had begun may be half of a first step, or some member of an `all`; the rest comes later, whatever else it could be.
#[test]
fn an_older_version_finishes_a_first_step_that_it_has_half_seen() {
    let run = |old: &str, first: &str, then: &str| {
        let (old, new) = (pattern(1, old), pattern(2, "sequence: [{see: t.z}]"));
        let before = Catalogue::compile([old.clone()], Limits::default());
        let after = Catalogue::compile([old, new], Limits::default());
        let mut case = Case::new();
        first
            .split_whitespace()
            .for_each(|word| case.event(&before, &read(word)));
        then.split_whitespace().for_each(|word| case.event(&after, &read(word)));
        case.shown()
    };
    let twice = "sequence: [{see: t.a, times: 2}]";
    let twice_then = "sequence: [{see: t.a, times: 2}, {see: t.b}]";
    let values = "sequence: [{see: t.a, times: 2, across: {field: x, at_least: 2}}, {see: t.b}]";
    let all_values = "all: [{see: t.a, times: 2, across: {field: x, at_least: 2}}]";
    assert_eq!(run(twice, "a0", "a1 a2 a3"), "1: a0 a1");
    assert_eq!(run(twice_then, "a0", "a1 a2 b3"), "3: a0 a2 b3");
    assert_eq!(run(twice_then, "a0 a1", "a2 a3 b4"), "4: a1 a3 b4");
    assert_eq!(run(twice_then, "", "a1 a2 b3"), "");
    assert_eq!(run(twice_then, "a0", "a11 a12 b13"), "");
    assert_eq!(run(values, "a0(p) a1(q)", "a2(q) a3(p) a4(q) b5"), "5: a1 a3 b5");
    assert_eq!(run(values, "a0(p) a1(q)", "a2(q) b5"), "5: a0 a2 b5");
    assert_eq!(run(all_values, "a0(p) a1(p)", "a2(q)"), "2: a1 a2");
}

/// However much of one member comes first: what the others need of it is kept, and no more.
#[test]
fn an_all_keeps_what_its_members_need_of_many_events() {
    let run = |when: &str, history: &[String]| {
        let catalogue = Catalogue::compile([pattern(1, when)], Limits::default());
        let mut case = Case::new();
        let mut most = 0;
        for word in history {
            case.event(&catalogue, &read(word));
            let instances = case.runs.instances();
            most = most.max(instances.iter().map(|instance| instance.sightings.len()).sum());
        }
        (case.shown(), most)
    };
    let many = |kind: char, from: u32, count: u32, x: &str| -> Vec<String> {
        (from..from + count)
            .map(|second| format!("{kind}{second}{x}"))
            .collect()
    };
    // The last of each value that counts.
    let values = "within: 1h, all: [{see: t.a, times: 2, across: {field: x, at_least: 2}}, {see: t.b}]";
    let history = [many('a', 0, 1, "(p)"), many('a', 1, 200, "(q)"), many('b', 300, 1, "")].concat();
    assert_eq!(run(values, &history), ("300: a0 a200 b300".to_owned(), 66));
    // Members that share a type need their events together.
    let shared = "within: 1h, all: [{see: t.a, times: 40}, {see: t.a, times: 40}]";
    let (shown, most) = run(shared, &many('a', 0, 80, ""));
    assert!(
        shown.starts_with("79: a0 ") && shown.ends_with(" a79") && most == 79,
        "{shown} {most}"
    );
    // One that waits for another does not let the others grow.
    let rare = "within: 1h, all: [{see: t.a}, {see: t.b, times: 2}]";
    let history = [many('b', 0, 1, ""), many('a', 1, 1000, ""), many('b', 2000, 1, "")].concat();
    assert_eq!(run(rare, &history), ("2000: a1000 b0 b2000".to_owned(), 66));
}

/// What has expired takes nobody's place, and no cap falls before all patterns have seen the event.
#[test]
fn caps_count_what_is_open_behind_the_event() {
    let named = |id: &str, when: &str| {
        let text = pattern(1, when).canonical.replace("\"boundary\"", &format!("\"{id}\""));
        Arc::new(parse("named.yaml", &text).expect("valid"))
    };
    let limits = Limits {
        per_pattern: 64,
        per_customer: 2,
    };
    let run = |patterns: [&str; 3], history: &str| {
        let [one, two, three] = patterns;
        let patterns = [named("the-one", one), named("the-three", three), named("the-two", two)];
        let catalogue = Catalogue::compile(patterns, limits);
        let mut case = Case::new();
        for event in history.split_whitespace().map(read) {
            case.event(&catalogue, &event);
        }
        format!("{} capped {}", case.shown(), case.out.capped)
    };
    for long in [
        "within: 1h, sequence: [{see: t.a}, {see: t.b}]",
        "within: 1h, by: [x], sequence: [{see: t.a}, {see: t.b}]",
    ] {
        let short = "within: 3s, sequence: [{see: t.c}, {see: t.b}]";
        let third = "within: 3s, sequence: [{see: t.d}, {see: t.e}]";
        assert_eq!(run([long, short, third], "a0(p) c1 d20 b21(p)"), "21: a0 b21 capped 0");
        assert_eq!(run([long, short, third], "a0(p) c1 d2 b3(p)"), "3: c1 b3 capped 1");
    }
    // The oldest start is that of a run which the event completes.
    let begins = "sequence: [{see: t.b, times: 2}]";
    let completes = "by: [x], sequence: [{see: t.a}, {see: t.b}]";
    let other = "sequence: [{see: t.b}, {see: t.f}]";
    assert_eq!(run([begins, completes, other], "a0(p) b1(p)"), "1: a0 b1 capped 0");
}

/// Caps drop the oldest start, count it, and never report what the rules forbid.
#[test]
fn caps_drop_the_oldest_start_and_count_it() {
    let limits = Limits {
        per_pattern: 2,
        per_customer: 1024,
    };
    let when = "by: [x], sequence: [{see: t.a}, {see: t.b}]";
    let catalogue = Catalogue::compile([pattern(1, when)], limits);
    let mut case = Case::new();
    for event in "a0(p) a1(q) a2(r) b3(p) b4(q) b5(r)".split_whitespace().map(read) {
        case.event(&catalogue, &event);
    }
    assert_eq!(case.shown(), "4: a1 b4; 5: a2 b5");
    assert_eq!(case.out.capped, 1);
    assert!(case.runs.is_empty());
    assert_eq!(case.runs.events().len(), 0);
}

/// Sixty-four runs of a pattern, all its instances together; one more drops the oldest start.
#[test]
fn a_customer_has_sixty_four_runs_of_a_pattern() {
    let catalogue = Catalogue::compile(
        [pattern(1, "within: 1h, by: [x], sequence: [{see: t.a}, {see: t.b}]")],
        Limits::default(),
    );
    let run = |instances: u32| {
        let mut case = Case::new();
        for number in 0..instances {
            case.event(&catalogue, &read(&format!("a{number}(x{number})")));
        }
        let capped = case.out.capped;
        for number in 0..instances {
            case.event(&catalogue, &read(&format!("b100(x{number})")));
        }
        (capped, case.out.matches.len(), case.out.matches[0].by()["x"].clone())
    };
    assert_eq!(run(64), (0, 64, "x0".to_owned()));
    assert_eq!(run(65), (1, 64, "x1".to_owned()));
}

/// A customer's runs of all patterns: of more, whatever kind they are, the oldest start goes.
#[test]
fn a_customer_has_so_many_runs_of_all_patterns() {
    assert_eq!(
        Limits::default(),
        Limits {
            per_pattern: 64,
            per_customer: 1024
        }
    );
    let named = |id: &str, when: &str| {
        let whole = pattern(1, when);
        let text = whole.canonical.replace("\"boundary\"", &format!("\"{id}\""));
        Arc::new(parse("named.yaml", &text).expect("valid"))
    };
    // The engine has a way of its own for sequences of single events.
    for (first, shown) in [("{see: t.a}", "by chains"), ("{see: t.a, times: 1, as: n}", "by runs")] {
        let patterns = ["one", "two", "three", "four"].map(|id| {
            let begun = first.replace("t.a", &format!("t.{}", &id[..1]));
            let second = if shown == "by runs" {
                "{see: t.b, where: event.x == n.x}"
            } else {
                "{see: t.b}"
            };
            named(
                &format!("the-{id}"),
                &format!("within: 1h, sequence: [{begun}, {second}]"),
            )
        });
        let limits = Limits {
            per_pattern: 64,
            per_customer: 2,
        };
        let catalogue = Catalogue::compile(patterns, limits);
        let mut case = Case::new();
        // `two` and `three` both begin with t.
        for event in "o0(p) f1(p) t2(p) b3(p)".split_whitespace().map(read) {
            case.event(&catalogue, &event);
        }
        let found: Vec<&str> = case.out.matches.iter().map(|found| found.pattern.id.as_str()).collect();
        assert_eq!((case.out.capped, found), (2, vec!["the-three", "the-two"]), "{shown}");
    }
}

/// Every waiting run before another step is kept up to the cap, and so is every captured value; beyond it a match may be missed.
#[test]
fn what_is_kept_beside_the_latest_run_is_capped() {
    let run = |when: &str, per_pattern: usize, history: &str| {
        let limits = Limits {
            per_pattern,
            per_customer: 1024,
        };
        let catalogue = Catalogue::compile([pattern(1, when)], limits);
        let mut case = Case::new();
        for event in history.split_whitespace().map(read) {
            case.clock(&catalogue, event.time);
            case.event(&catalogue, &event);
        }
        format!("{} capped {}", case.shown(), case.out.capped)
    };
    // Each wait has a deadline of its own.
    let waits = "within: 20s, sequence: [{see: t.a}, {absent: t.b, for: 5s}, {see: t.c}]";
    assert_eq!(run(waits, 3, "a0 a1 a2 c5"), "5: a0 c5 capped 0");
    assert_eq!(run(waits, 2, "a0 a1 a2 c5 c7"), "7: a2 c7 capped 1");
    // Each captured value is a run of its own.
    let values = "sequence: [{see: t.a, as: n}, {see: t.b, where: event.x == n.x}]";
    assert_eq!(run(values, 3, "a0(p) a1(q) a2(r) b3(p)"), "3: a0 b3 capped 0");
    assert_eq!(run(values, 2, "a0(p) a1(q) a2(r) b3(p) b4(q)"), "4: a1 b4 capped 1");
}

/// Counts are exact up to 64, or to `times` if that is more.
#[test]
fn counts_end_at_sixty_four_or_at_times() {
    for (times, seen, expected) in [(1, 64, 64), (1, 65, 64), (100, 100, 100), (100, 120, 100)] {
        let when = format!("within: 1h, sequence: [{{see: t.a, times: {times}}}, {{see: t.b}}]");
        let catalogue = Catalogue::compile([pattern(1, &when)], Limits::default());
        let mut case = Case::new();
        for second in 0..seen {
            case.event(&catalogue, &read(&format!("a{second}")));
        }
        case.event(&catalogue, &read("b200"));
        assert_eq!(case.out.matches[0].seen()[0].count, expected, "{times} {seen}");
        assert_eq!(case.out.capped, 0, "the counts of a step are one run");
    }
    // The events that the next step gathers match the first one too, and are not among those before them.
    let catalogue = Catalogue::compile(
        [pattern(
            1,
            "within: 1h, sequence: [{see: [t.a, t.c]}, {see: t.a, times: 2}]",
        )],
        Limits::default(),
    );
    for (before, expected) in [(63, 63), (64, 64), (80, 64)] {
        let mut case = Case::new();
        (0..before).for_each(|second| case.event(&catalogue, &read(&format!("c{second}"))));
        ["a100", "a101"]
            .iter()
            .for_each(|word| case.event(&catalogue, &read(word)));
        assert_eq!(case.out.matches[0].seen()[0].count, expected, "{before}");
    }
}
