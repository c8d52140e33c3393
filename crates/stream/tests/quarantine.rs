//! A stage that panics on a record, a timer or the rows of a key: that alone is kept from it, the same after any death.

mod map;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use map::{Map, Stored};
use proptest::prelude::*;
use stream::{
    Cause, Corrupt, Cx, InHand, Marker, Millis, Output, PartitionEpoch, Record, Reject, Routed, RowWriter, Rows,
    SnapshotRule, Stage, Statefulness, Task, TaskConfig, Tick, TopicPartition,
    rows::{QUARANTINE, Quarantine, key16, state_key},
};

/// Counts events, waits 50 after each, and burns: on the event `burn`, on the timer of a key `fuse…`, when rows of a key are
/// written or read that `torn` or `sour` came to.
struct Burning;

#[derive(Default)]
struct State {
    seen: u8,
    since: Option<Millis>,
    is_torn: bool,
    is_sour: bool,
}

impl Stage for Burning {
    type Input = String;
    type State = State;

    fn decode(&self, record: &Record) -> Result<Routed<String>, Reject> {
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        let mut words = text.split(' ').map(ToOwned::to_owned);
        let (kind, key) = (words.next().expect("a kind"), words.next().expect("a key"));
        let time = Millis(words.next().expect("a time").parse().expect("a number"));
        Ok(match kind.as_str() {
            "tick" => Routed::Tick(Tick {
                progress: Some(time),
                generation: 1,
                assignment: 0,
                index: 0,
                members: 1,
                owned: 1,
                partitions: 1,
            }),
            "mute" => panic!("cannot even be read"),
            _ => Routed::Event {
                key: key.into_bytes(),
                time,
                input: kind,
            },
        })
    }

    fn on_event(&self, state: &mut State, event: String, cx: &mut Cx<'_>) {
        state.seen += 1;
        state.since = Some(cx.now);
        // Behind what it changed: an abort must undo that.
        assert_ne!(event, "burn");
        state.is_torn |= event == "torn";
        state.is_sour |= event == "sour";
        say(cx, &format!("{event} {}", state.seen));
    }

    fn on_time(&self, state: &mut State, cx: &mut Cx<'_>) {
        say(cx, &format!("late {}", state.seen));
        state.since = None;
        assert!(!cx.key.starts_with(b"fuse"));
    }

    fn deadline(&self, state: &State) -> Option<Millis> {
        state.since.map(|since| since.plus(50))
    }

    fn load(&self, rows: Rows<'_>) -> Result<State, Corrupt> {
        let [(name, bytes)] = rows.rows else {
            return Err(Corrupt(format!("rows={}", rows.rows.len())));
        };
        assert_eq!(*name, b"hd");
        assert_eq!(bytes[1], 0, "sour");
        let since = bytes[2..].first_chunk().map(|since| Millis(i64::from_be_bytes(*since)));
        Ok(State {
            seen: bytes[0],
            since,
            ..State::default()
        })
    }

    fn save(&self, state: &mut State, rows: &mut RowWriter<'_>) {
        assert!(!state.is_torn);
        let mut bytes = vec![state.seen, u8::from(state.is_sour)];
        bytes.extend(state.since.iter().flat_map(|since| since.0.to_be_bytes()));
        rows.put(b"hd", bytes);
    }
}

fn say(cx: &mut Cx<'_>, text: &str) {
    cx.outputs.push(output(&String::from_utf8_lossy(cx.key), text, cx.now));
}

fn output(key: &str, text: &str, at: Millis) -> Output {
    Output {
        topic: Arc::from("out"),
        partition: None,
        timestamp: Some(at),
        key: Some(key.as_bytes().to_vec()),
        value: Some(text.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

fn letter(record: &Record, reject: &Reject) -> Output {
    let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    output("dlq", &format!("{} {value}", reject.reason), record.timestamp)
}

fn open(stored: &Stored, window: i64, cached_keys: usize) -> Task<Burning> {
    let config = TaskConfig {
        input: TopicPartition {
            topic: Arc::from("in"),
            partition: 0,
        },
        slot: 0,
        window,
        state: Statefulness::Keyed,
        cached_keys,
        timers_per_round: 2,
        dead_letters: Arc::new(letter),
        snapshots: Some(SnapshotRule { after: 300, chunk: 60 }),
    };
    Task::open(Arc::new(Burning), config, Box::new(Map(Arc::clone(stored)))).expect("opens")
}

fn record(offset: usize, value: &str) -> Record {
    let at: i64 = value.split(' ').next_back().expect("a time").parse().expect("a number");
    Record {
        topic: Arc::from("in"),
        partition: 0,
        offset: i64::try_from(offset).expect("small"),
        timestamp: Millis(at),
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// What happens behind a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Commit,
    Die,
    LoseDisk,
}

#[derive(Debug, Default, PartialEq)]
struct Run {
    said: Vec<String>,
    quarantined: Vec<Cause>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    panics: usize,
}

/// A log's side of one task: what a worker does, with epochs, deaths and lost disks where it is told.
struct Driver {
    stored: Stored,
    changelog: Vec<Vec<u8>>,
    task: Task<Burning>,
    open: Vec<Output>,
    run: Run,
    window: i64,
    cached_keys: usize,
}

impl Driver {
    fn new(window: i64, cached_keys: usize) -> Self {
        let stored = Stored::default();
        Self {
            task: open(&stored, window, cached_keys),
            stored,
            changelog: Vec::new(),
            open: Vec::new(),
            run: Run::default(),
            window,
            cached_keys,
        }
    }

    /// Whether a call went well; else what panicked is told, and the epoch dropped.
    fn survives(&mut self, call: impl FnOnce(&mut Task<Burning>, &mut Vec<Output>)) -> bool {
        let done = catch_unwind(AssertUnwindSafe(|| call(&mut self.task, &mut self.open)));
        if done.is_err() {
            let what = self.task.in_hand().expect("something was in hand");
            self.task.aborted();
            assert!(self.task.poisoned(what), "again: {what:?}");
            self.open.clear();
            self.run.panics += 1;
        }
        done.is_ok()
    }

    fn commit(&mut self) {
        let mut batch: Option<PartitionEpoch> = None;
        if !self.survives(|task, _| batch = task.batch().expect("rows are whole")) {
            return;
        }
        let Some(epoch) = batch else { return };
        self.changelog.extend(epoch.changelog.iter().cloned());
        let next = i64::try_from(self.changelog.len()).expect("small");
        self.task.committed(epoch, Some(next)).expect("it is its own");
        self.run.quarantined.append(&mut self.task.take_quarantined());
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let said = self.open.drain(..);
        self.run
            .said
            .extend(said.map(|output| format!("{}: {}", text(&output.key), text(&output.value))));
    }

    fn begin_again(&mut self) {
        self.open.clear();
        self.task = open(&self.stored, self.window, self.cached_keys);
        let from = usize::try_from(self.task.changelog_next()).expect("small");
        for (index, value) in self.changelog.iter().enumerate().skip(from) {
            let next = i64::try_from(index + 1).expect("small");
            self.task.restore(value, next).expect("whole");
        }
        self.task.restored();
    }

    fn drive(mut self, history: &[&str], then: &[Then]) -> Run {
        let mut plan = then.iter().copied();
        loop {
            // What is not committed is read again; a bucket that waits is read on.
            let mut at = usize::try_from(self.task.marker().offset).expect("small");
            while at < history.len() {
                let record = record(at, history[at]);
                at += 1;
                if !self.survives(|task, outputs| task.handle(&record, Millis(0), outputs).expect("rows are whole")) {
                    at = usize::try_from(self.task.marker().offset).expect("small");
                    continue;
                }
                let then = plan.next().unwrap_or(Then::Nothing);
                let panics = self.run.panics;
                match then {
                    Then::Nothing => {}
                    Then::Commit => self.commit(),
                    Then::Die => self.begin_again(),
                    Then::LoseDisk => {
                        self.stored.lock().expect("no panic").clear();
                        self.begin_again();
                    }
                }
                if matches!(then, Then::Die | Then::LoseDisk) || self.run.panics > panics {
                    at = usize::try_from(self.task.marker().offset).expect("small");
                }
            }
            let panics = self.run.panics;
            self.commit();
            if self.run.panics == panics {
                break;
            }
        }
        self.task.flush().expect("disk works");
        let rows = self.stored.lock().expect("no panic").clone();
        self.run.rows = rows.into_iter().filter(|(key, _)| key.starts_with(b"st")).collect();
        self.run
    }
}

fn quarantine(run: &Run, key: &str) -> Option<Quarantine> {
    let row = run.rows.get(&state_key(&key16(key.as_bytes()), QUARANTINE))?;
    Some(Quarantine::decode(row).expect("whole"))
}

#[test]
fn a_timer_that_panics_quarantines_its_key_and_no_other() {
    let history = [
        "tick - 0",
        "a fuse 10",
        "a fine 10",
        "a fuse 20",
        "tick - 100",
        "a fuse 110",
        "a fine 110",
        "tick - 300",
        "tick - 400",
    ];
    let run = Driver::new(0, 10).drive(&history, &[]);
    let said = [
        "fuse: a 1",
        "fine: a 1",
        "fuse: a 2",
        "fine: late 1",
        "dlq: quarantined a fuse 110",
        "fine: a 2",
        "fine: late 2",
    ];
    assert_eq!(run.said, said);
    let expected = Quarantine {
        cause: Cause::Panicked,
        time: Millis(20),
    };
    assert_eq!(quarantine(&run, "fuse"), Some(expected));
    assert_eq!(quarantine(&run, "fine"), None);
    assert_eq!((run.panics, &run.quarantined), (1, &vec![Cause::Panicked]));
    let head = &run.rows[&state_key(&key16(b"fuse"), b"hd")];
    assert_eq!(head[19 + 4], 2, "what its events did before stays");

    // With every record committed by itself, and the disk lost behind each.
    for then in [Then::Commit, Then::LoseDisk] {
        let plan: Vec<Then> = history.iter().flat_map(|_| [Then::Commit, then]).collect();
        let again = Driver::new(0, 10).drive(&history, &plan);
        assert_eq!((&again.said, &again.rows), (&run.said, &run.rows), "{then:?}");
    }
}

#[test]
fn rows_that_cannot_be_written_or_read_quarantine_their_key() {
    let history = ["a x 0", "torn x 1", "a y 2", "a x 3"];
    let run = Driver::new(0, 10).drive(&history, &[Then::Commit]);
    let said = [
        "x: a 1",
        "dlq: quarantined torn x 1",
        "y: a 1",
        "dlq: quarantined a x 3",
    ];
    assert_eq!(
        run.said, said,
        "its rows stay as they were before the epoch that could not be written"
    );
    assert_eq!(run.quarantined, [Cause::Panicked]);
    let head = &run.rows[&state_key(&key16(b"x"), b"hd")];
    assert_eq!(head[19 + 1], 1);

    let sour = ["sour x 0", "a y 1", "a x 2", "a x 3"];
    let plan = [Then::Commit, Then::Die];
    let run = Driver::new(0, 10).drive(&sour, &plan);
    let said = [
        "x: sour 1",
        "y: a 1",
        "dlq: quarantined a x 2",
        "dlq: quarantined a x 3",
    ];
    assert_eq!(run.said, said);

    let fresh = ["torn x 0", "a y 1"];
    let run = Driver::new(0, 10).drive(&fresh, &[]);
    assert_eq!(run.said, ["dlq: quarantined torn x 0", "y: a 1"]);
    assert!(quarantine(&run, "x").is_some(), "a key without a head has the row too");
}

#[test]
fn a_record_that_panics_becomes_a_dead_letter() {
    let history = ["a x 0", "burn x 1", "mute x 2", "a x 3"];
    for plan in [&[][..], &[Then::Commit; 4], &[Then::Die; 3]] {
        let run = Driver::new(0, 10).drive(&history, plan);
        let said = ["x: a 1", "dlq: panicked burn x 1", "dlq: panicked mute x 2", "x: a 2"];
        assert_eq!(run.said, said);
        assert_eq!(run.quarantined, []);
    }
}

#[test]
fn what_a_watch_refuses_never_reaches_the_stage() {
    let history = ["tick - 0", "a x 1", "burn y 2", "a fuse 3", "tick - 100", "a fuse 101"];
    let mut driver = Driver::new(0, 10);
    let held = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&held);
    driver.task.watched_by(Arc::new(move |what| {
        seen.lock().expect("no panic").push(what);
        let is_refused = match what {
            Some(InHand::Record(offset)) => offset == 2,
            Some(InHand::Timer { key, .. }) => key == key16(b"fuse"),
            _ => false,
        };
        is_refused.then_some(Cause::CrashLoop)
    }));
    let run = driver.drive(&history, &[]);
    let said = [
        "x: a 1",
        "dlq: crash_loop burn y 2",
        "fuse: a 1",
        "x: late 1",
        "dlq: quarantined a fuse 101",
    ];
    assert_eq!((run.panics, &run.said[..]), (0, &said.map(ToOwned::to_owned)[..]));
    assert_eq!(run.quarantined, [Cause::CrashLoop]);
    let held = held.lock().expect("no panic");
    assert_eq!(held.first(), Some(&Some(InHand::Record(0))));
    assert_eq!(held.last(), Some(&None), "at the end nothing is in hand");
}

fn history() -> impl Strategy<Value = Vec<String>> {
    let keys = prop_oneof![Just("x"), Just("y"), Just("fuse1"), Just("fuse2")];
    proptest::collection::vec((0..12u8, keys, 0..40i64), 1..25).prop_map(|steps| {
        let mut now = 0;
        let mut history = vec!["tick - 0".to_owned()];
        for (kind, key, gap) in steps {
            now += gap;
            history.push(match kind {
                0..=6 => format!("a {key} {now}"),
                7 => format!("burn {key} {now}"),
                8 => format!("mute {key} {now}"),
                _ => format!("tick - {now}"),
            });
        }
        history.push(format!("tick - {}", now + 1000));
        history.push(format!("tick - {}", now + 2000));
        history
    })
}

fn plan() -> impl Strategy<Value = Vec<Then>> {
    let then = prop_oneof![
        4 => Just(Then::Nothing),
        4 => Just(Then::Commit),
        1 => Just(Then::Die),
        1 => Just(Then::LoseDisk)
    ];
    proptest::collection::vec(then, 0..60)
}

proptest! {
    #[test]
    fn wherever_epochs_end_and_whatever_dies_the_same_is_said(
        history in history(), plan in plan(), window in prop_oneof![Just(0i64), Just(25)], cached in 1..5usize
    ) {
        let history: Vec<&str> = history.iter().map(String::as_str).collect();
        let clean = Driver::new(window, 10).drive(&history, &[]);
        let run = Driver::new(window, cached).drive(&history, &plan);
        prop_assert_eq!(&run.said, &clean.said);
        prop_assert_eq!(&run.rows, &clean.rows);
        prop_assert_eq!(&run.quarantined, &clean.quarantined);
    }
}

#[test]
fn a_marker_counts_what_was_said_in_place_of_what_burned() {
    let mut driver = Driver::new(0, 10);
    let fuse = record(0, "burn x 0");
    assert!(!driver.survives(|task, outputs| task.handle(&fuse, Millis(0), outputs).expect("whole")));
    assert!(driver.survives(|task, outputs| task.handle(&fuse, Millis(0), outputs).expect("whole")));
    driver.commit();
    let marker: &Marker = driver.task.marker();
    assert_eq!(
        (marker.offset, marker.outputs.as_slice()),
        (1, &[("out".to_owned(), 1)][..])
    );
}
