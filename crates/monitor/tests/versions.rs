//! One version of a pattern follows another: who starts runs, who finishes them, and what a match does when. The stage that runs live.

use std::sync::Arc;

use codec::Published as _;
use event::{Event, Millis, Signal};
use monitor::{Board, Monitor, Settings, State};
use pattern::{Pattern, Published, parse};
use service::topics::Names;
use stream::{Cx, Record, Stage};

/// `cart.viewed → order.completed` within ten seconds; `change` alters the file.
fn pattern(change: &[(&str, &str)]) -> Arc<Pattern> {
    let mut text =
        "pattern: two-steps\nversion: 1\ntitle: Two steps\nowner: team\nstatus: live\nwhen:\n  within: 10s\n  \
        sequence: [ { see: cart.viewed }, { see: order.completed } ]\n\
        then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: { en: first } }\n\
        guard: { consent: service, cooldown: 1h }\nrollout: { percent: 100, holdout: 0, seed: seed-1 }\n\
        tests: [ { name: one, given: [], expect: [] }, { name: two, given: [], expect: [] } ]\n"
            .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Arc::new(parse("two-steps.yaml", &text).expect("valid"))
}

/// The value of a pattern that is in force from a second on, after another.
fn value(what: &Arc<Pattern>, from: Option<i64>, before: Option<&Arc<Pattern>>) -> String {
    let published = Published {
        what: Arc::clone(what),
        hash: String::new(),
        author: String::new(),
        effective_from: from.map(|second| Millis(second * 1000)),
        before: before.cloned(),
    };
    published.value()
}

/// One customer under a catalogue that changes.
struct Customer {
    monitor: Monitor,
    board: Board,
    state: State,
}

impl Customer {
    fn under(value: &str) -> Self {
        let mut customer = Self {
            monitor: Monitor::new(&Names::new(""), Settings::default()),
            board: Board::default(),
            state: State::default(),
        };
        customer.reload(Some(value));
        customer
    }

    fn reload(&mut self, value: Option<&str>) {
        self.board.take(&Record {
            topic: Arc::from("journey.patterns"),
            partition: 0,
            offset: self.board.revision(),
            timestamp: Millis(0),
            key: Some(b"two-steps".to_vec()),
            value: value.map(|value| value.as_bytes().to_vec()),
            headers: Vec::new(),
        });
        self.monitor.load(&self.board);
    }

    /// How many runs were dropped since the last call.
    fn dropped(&self) -> u64 {
        self.monitor.take_counters().dropped.values().sum()
    }

    /// Steps through events at these seconds: `a` looks at a cart, `b` orders, `c` leaves. Signals as `second version sentence`.
    fn sees(&mut self, events: &[(i64, char)]) -> Vec<String> {
        let topic: Arc<str> = Arc::from("journey.timeline");
        let mut outputs = Vec::new();
        for (second, letter) in events {
            let kind = match letter {
                'a' => "cart.viewed",
                'b' => "order.completed",
                _ => "exit.intended",
            };
            let now = Millis(second * 1000);
            let event = Event {
                id: format!("{letter}{second}"),
                source: "test".to_owned(),
                kind: kind.to_owned(),
                time: now,
                ..Event::default()
            };
            let mut cx = Cx {
                now,
                clock: now,
                key: b"c.1",
                topic: &topic,
                partition: 0,
                offset: *second,
                timestamp: now,
                revision: self.board.revision(),
                late: false,
                outputs: &mut outputs,
            };
            self.monitor.on_event(&mut self.state, Box::new(event), &mut cx);
        }
        let signals = outputs.iter().filter(|output| &*output.topic == "journey.signals");
        signals
            .map(|output| {
                let signal = Signal::decode(output.value.as_deref().unwrap_or_default()).expect("a signal");
                let second = signal.matched_at.0 / 1000;
                format!("{second} v{} {}", signal.pattern_version, signal.because["en"])
            })
            .collect()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn open_runs_finish_under_their_version_and_the_old_one_starts_none() {
    let old = pattern(&[]);
    let new = pattern(&[("version: 1", "version: 2"), ("order.completed", "exit.intended")]);
    let mut customer = Customer::under(&value(&old, None, None));
    assert_eq!(customer.sees(&[(0, 'a')]), NOTHING);
    customer.reload(Some(&value(&new, Some(5), Some(&old))));
    // Until second 5 the old version goes on as it was.
    assert_eq!(customer.sees(&[(1, 'c'), (2, 'b'), (3, 'a'), (4, 'c')]), ["2 v1 first"]);
    // Then its open run may finish, and the new one starts.
    assert_eq!(customer.sees(&[(6, 'b')]), ["6 v1 first"]);
    assert_eq!(customer.sees(&[(7, 'a'), (8, 'b'), (9, 'c')]), ["9 v2 first"]);
    assert_eq!(customer.sees(&[(10, 'a'), (11, 'b')]), NOTHING);
    assert_eq!(customer.dropped(), 0);
}

#[test]
fn a_version_that_follows_at_once_leaves_open_runs_to_the_old_one() {
    let old = pattern(&[]);
    let new = pattern(&[("version: 1", "version: 2"), ("within: 10s", "within: 20s")]);
    let mut customer = Customer::under(&value(&old, None, None));
    customer.sees(&[(0, 'a')]);
    customer.reload(Some(&value(&new, None, Some(&old))));
    assert_eq!(customer.sees(&[(9, 'b')]), ["9 v1 first"]);
    assert_eq!(customer.sees(&[(30, 'a'), (45, 'b')]), ["45 v2 first"]);
    // Once a version has gone from the catalogue, so have its runs, and they are counted.
    customer.sees(&[(50, 'a')]);
    assert_eq!(customer.dropped(), 0);
    let third = pattern(&[("version: 1", "version: 3")]);
    customer.reload(Some(&value(&third, None, None)));
    assert_eq!(customer.sees(&[(51, 'b')]), NOTHING);
    assert_eq!(customer.dropped(), 1);
}

#[test]
fn a_match_of_either_clears_both() {
    let old = pattern(&[]);
    let changed = [
        ("version: 1", "version: 2"),
        ("en: first", "en: second"),
        ("within: 10s", "within: 9s"),
    ];
    let new = pattern(&changed);
    let mut customer = Customer::under(&value(&old, None, None));
    customer.sees(&[(4, 'a')]);
    customer.reload(Some(&value(&new, Some(5), Some(&old))));
    assert_eq!(
        customer.sees(&[(5, 'a'), (6, 'b'), (7, 'b')]),
        ["6 v2 second"],
        "both are complete at second 6: the newer speaks, and neither has anything left"
    );
}

#[test]
fn what_a_match_does_changes_at_its_time_and_keeps_the_runs() {
    let old = pattern(&[]);
    let new = pattern(&[("en: first", "en: second")]);
    let mut customer = Customer::under(&value(&old, None, None));
    customer.sees(&[(0, 'a')]);
    customer.reload(Some(&value(&new, Some(5), Some(&old))));
    assert_eq!(customer.sees(&[(4, 'b')]), ["4 v1 first"]);
    assert_eq!(
        customer.sees(&[(4, 'a'), (5, 'b')]),
        ["5 v1 second"],
        "its run began before"
    );
    // A replay of the same log under the newest catalogue says the same.
    let mut again = Customer::under(&value(&new, Some(5), Some(&old)));
    assert_eq!(
        again.sees(&[(0, 'a'), (4, 'b'), (4, 'a'), (5, 'b')]),
        ["4 v1 first", "5 v1 second"]
    );
}

#[test]
fn a_new_pattern_waits_for_its_time_and_a_paused_one_drops_its_runs() {
    let live = pattern(&[]);
    let mut customer = Customer::under(&value(&live, Some(5), None));
    assert_eq!(customer.sees(&[(4, 'a'), (5, 'b'), (6, 'a'), (7, 'b')]), ["7 v1 first"]);
    let paused = pattern(&[("status: live", "status: paused")]);
    customer.sees(&[(8, 'a')]);
    customer.reload(Some(&value(&paused, Some(10), Some(&live))));
    assert_eq!(customer.sees(&[(9, 'b'), (9, 'a'), (10, 'b')]), ["9 v1 first"]);
    assert_eq!(customer.dropped(), 1);
    customer.reload(None);
    assert_eq!(customer.sees(&[(11, 'a'), (12, 'b')]), NOTHING);
}
