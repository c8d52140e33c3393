//! The worker on the memory log: dying at every single step, with the disk kept or lost, changes no output.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use service::{
    topics::Changelog,
    worker::{Clock, Start, Stop, Worker, WorkerConfig},
};
use stream::{Log as _, Marker, Millis, Output, SnapshotRule, Statefulness, TopicPartition, changelog::Assembler};
use testkit::{
    memory::{Broker, Disk, Fuse, MemoryLog},
    waiting::{Waiting, dead_letter},
};

type TestWorker = Worker<MemoryLog, Waiting, ()>;

fn worker(broker: &Broker, fuse: &Fuse, disk: &Disk, window: i64) -> TestWorker {
    let clock = Patience {
        now: Arc::default(),
        stops_at: Duration::MAX,
        stop: Arc::default(),
    };
    timed_worker(broker, fuse, disk, window, Box::new(clock))
}

fn timed_worker(broker: &Broker, fuse: &Fuse, disk: &Disk, window: i64, clock: Box<dyn Clock>) -> TestWorker {
    started_worker(broker, fuse, disk, Start::Earliest, window, clock)
}

fn started_worker(
    broker: &Broker,
    fuse: &Fuse,
    disk: &Disk,
    start: Start,
    window: i64,
    clock: Box<dyn Clock>,
) -> TestWorker {
    let (disk, disk_fuse) = (disk.clone(), fuse.clone());
    let config = WorkerConfig {
        epoch_interval: Duration::ZERO,
        epoch_records: 3,
        poll_records: 4,
        flush_bytes: 400,
        flush_interval: Duration::from_secs(3600),
        window,
        state: Statefulness::Keyed,
        cached_keys: 2,
        timers_per_round: 2,
        changelog: Some(Changelog::new("log", vec!["in".to_owned()])),
        snapshots: SnapshotRule { after: 150, chunk: 40 },
        start,
        dead_letters: Arc::new(dead_letter),
        open_db: Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &disk_fuse)))),
        clock,
    };
    let log = MemoryLog::join(broker, fuse, "g", &["in"], Some("log"));
    Worker::new(log, Arc::new(Waiting), (), config)
}

fn broker(history: &[(String, i64)]) -> Broker {
    let broker = Broker::default();
    for (topic, partitions) in [("in", 1), ("out", 2), ("log", 1), ("in.dlq", 1)] {
        broker.create(topic, partitions);
    }
    broker.publish(history.iter().map(|(value, arrival)| Output {
        topic: Arc::from("in"),
        partition: Some(0),
        timestamp: Some(Millis(*arrival)),
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }));
    broker
}

/// Turns until two turns in a row bring nothing.
fn drain(worker: &mut TestWorker, turns: usize) -> Result<(), Stop> {
    for _ in 0..turns {
        worker.turn()?;
    }
    worker.finish()
}

fn outputs(broker: &Broker) -> Vec<(i32, String, String)> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let said = broker.read("out").into_iter().chain(broker.read("in.dlq"));
    said.map(|record| (record.partition, text(&record.key), text(&record.value)))
        .collect()
}

/// Some are long enough for snapshots and trims.
fn history() -> impl Strategy<Value = Vec<(String, i64)>> {
    let step = (0..10u8, 0..3u8, 0..30i64, 0..40i64);
    proptest::collection::vec(step, 1..25).prop_map(|steps| {
        let mut arrival = 0;
        let mut history = vec![("a k0 0".to_owned(), 0)];
        for (kind, key, gap, behind) in steps {
            arrival += gap;
            let time = arrival - behind;
            history.push(match kind {
                0..=3 => (format!("a k{key} {time}"), arrival),
                4..=5 => (format!("b k{key} {time}"), arrival),
                6 => ("rubbish".to_owned(), arrival),
                _ => (format!("tick - {arrival}"), arrival),
            });
        }
        history.push((format!("tick - {}", arrival + 1000), arrival + 1000));
        history.push((format!("tick - {}", arrival + 2000), arrival + 2000));
        history
    })
}

#[test]
fn an_absence_fires_once_and_a_late_event_prevents_it_while_the_clock_stands() {
    let history: Vec<(String, i64)> = [
        ("tick - 0", 0),
        ("a x 10", 10),
        ("a y 10", 10),
        ("b y 55", 90),
        ("tick - 90", 90),
        ("tick - 500", 500),
    ]
    .map(|(value, arrival)| (value.to_owned(), arrival))
    .into();
    let broker = broker(&history);
    let mut worker = worker(&broker, &Fuse::default(), &Disk::default(), 0);
    drain(&mut worker, 10).expect("no faults");
    let mut said: Vec<String> = outputs(&broker)
        .into_iter()
        .map(|(_, key, value)| format!("{key}: {value}"))
        .collect();
    said.sort();
    assert_eq!(
        said,
        ["x: a 1 at 10", "x: late after 1 at 60", "y: a 1 at 10", "y: b 2 at 55"]
    );
}

#[test]
fn what_arrives_between_two_workers_is_read_though_nothing_was_there_when_it_began() {
    let before = [("a old 10".to_owned(), 10)];
    let (broker, fuse, disk) = (broker(&before), Fuse::default(), Disk::default());
    let latest = |disk: &Disk| {
        let clock = Patience {
            now: Arc::default(),
            stops_at: Duration::MAX,
            stop: Arc::default(),
        };
        started_worker(&broker, &fuse, disk, Start::Latest, 0, Box::new(clock))
    };
    let mut first = latest(&disk);
    drain(&mut first, 4).expect("no faults");
    drop(first);
    let of = TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    };
    let began = broker.committed("g", &of).expect("where it began is committed");
    assert_eq!(began.offset, 1);
    broker.publish([Output {
        topic: Arc::from("in"),
        partition: Some(0),
        timestamp: Some(Millis(20)),
        key: None,
        value: Some(b"a new 20".to_vec()),
        headers: Vec::new(),
    }]);
    for disk in [disk, Disk::default()] {
        drain(&mut latest(&disk), 6).expect("no faults");
        let said: Vec<String> = outputs(&broker).into_iter().map(|(_, key, _)| key).collect();
        assert_eq!(said, ["new"], "read once, and nothing from before");
    }
}

/// A clock that goes on only while somebody waits, and says stop at a time.
struct Patience {
    now: Arc<Mutex<Duration>>,
    stops_at: Duration,
    stop: Arc<AtomicBool>,
}

impl Clock for Patience {
    fn wall(&self) -> Millis {
        Millis(0)
    }

    fn monotonic(&self) -> Duration {
        *self.now.lock().expect("nobody panics")
    }

    fn sleep(&self, time: Duration) {
        let mut now = self.now.lock().expect("nobody panics");
        *now += time;
        if *now >= self.stops_at {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn told_to_stop_while_no_broker_answers_it_does_not_wait_out_its_patience() {
    let broker = broker(&[("a x 1".to_owned(), 1), ("tick - 90".to_owned(), 90)]);
    let (stop, now) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Duration>>::default());
    let clock = Patience {
        now: Arc::clone(&now),
        stops_at: Duration::from_secs(3),
        stop: Arc::clone(&stop),
    };
    let mut worker = timed_worker(&broker, &Fuse::default(), &Disk::default(), 0, Box::new(clock));
    drain(&mut worker, 10).expect("no faults");
    broker.publish([Output {
        topic: Arc::from("in"),
        partition: Some(0),
        timestamp: Some(Millis(100)),
        key: None,
        value: Some(b"a y 95".to_vec()),
        headers: Vec::new(),
    }]);
    // It reads the record, and what it says of it cannot be published any more.
    broker.fall_silent_after(1);
    assert_eq!(worker.run(&stop), Err(Stop::Asked));
    let waited = *now.lock().expect("nobody panics");
    assert!(
        waited < Duration::from_secs(10),
        "told after 3 s, it waited until {waited:?}"
    );
    let input = TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    };
    let committed = broker.committed("g", &input).map(|committed| committed.offset);
    assert_eq!(committed, Some(2), "the next worker reads that record");
}

#[test]
fn a_second_member_takes_over_and_nothing_is_said_twice() {
    let broker = Broker::default();
    for (topic, partitions) in [("in", 2), ("out", 2), ("log", 2), ("in.dlq", 1)] {
        broker.create(topic, partitions);
    }
    let publish = |partition: i32, value: &str, at: i64| {
        broker.publish([Output {
            topic: Arc::from("in"),
            partition: Some(partition),
            timestamp: Some(Millis(at)),
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }]);
    };
    let fuse = Fuse::default();
    let mut first = worker(&broker, &fuse, &Disk::default(), 0);
    publish(0, "a x 1", 1);
    publish(1, "a y 1", 1);
    for _ in 0..4 {
        first.turn().expect("no faults");
    }
    let mut second = worker(&broker, &fuse, &Disk::default(), 0);
    publish(0, "tick - 100", 100);
    publish(1, "tick - 100", 100);
    for _ in 0..6 {
        first.turn().expect("no faults");
        second.turn().expect("no faults");
    }
    let mut said: Vec<String> = outputs(&broker)
        .into_iter()
        .map(|(_, key, value)| format!("{key}: {value}"))
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "x: a 1 at 1",
            "x: late after 1 at 51",
            "y: a 1 at 1",
            "y: late after 1 at 51"
        ]
    );
}

/// Events of ten customers, and ticks between.
fn long_history(events: i64) -> Vec<(String, i64)> {
    let mut history = vec![("tick - 0".to_owned(), 0)];
    for number in 0..events {
        let at = number * 10;
        let kind = if number % 7 == 0 { "b" } else { "a" };
        history.push((format!("{kind} k{} {at}", number % 10), at));
        if number % 5 == 4 {
            history.push((format!("tick - {at}"), at));
        }
    }
    history
}

/// First offset still there, and records from there on.
fn changelog(broker: &Broker) -> (i64, usize) {
    let mut log = MemoryLog::join(broker, &Fuse::default(), "other", &[], Some("log"));
    let of = TopicPartition {
        topic: Arc::from("log"),
        partition: 0,
    };
    let start = log.bounds(&of).expect("it is there").start;
    let left = broker
        .read("log")
        .iter()
        .filter(|record| record.offset >= start)
        .count();
    (start, left)
}

#[test]
fn a_changelog_stays_short_and_restores_from_its_snapshot() {
    let (short, long) = (long_history(120), long_history(400));
    let mut lengths = Vec::new();
    for history in [&short, &long] {
        let broker = broker(history);
        let turns = history.len() + 5;
        drain(&mut worker(&broker, &Fuse::default(), &Disk::default(), 0), turns).expect("no faults");
        let (start, left) = changelog(&broker);
        assert!(start > 0, "it was trimmed");
        lengths.push(left);
    }
    assert!(
        lengths[1] < lengths[0] * 2,
        "more than three times the events, and no longer: {lengths:?}"
    );

    let halves = broker(&long);
    let turns = long.len() + 5;
    // The disk is lost twice: what the snapshot and the epochs behind it hold must be everything.
    for turns in [40, 60, turns] {
        drain(&mut worker(&halves, &Fuse::default(), &Disk::default(), 0), turns).expect("no faults");
    }
    assert_eq!(outputs(&halves), undisturbed(&long));
}

#[test]
fn an_old_disk_begins_again_and_a_deleted_beginning_halts() {
    let history = long_history(300);
    let broker = broker(&history);
    let (old, new) = (Disk::default(), Disk::default());
    drain(&mut worker(&broker, &Fuse::default(), &old, 0), 10).expect("no faults");
    drain(&mut worker(&broker, &Fuse::default(), &new, 0), 60).expect("no faults");
    // The first disk comes back after the log has been trimmed past it.
    drain(&mut worker(&broker, &Fuse::default(), &old, 0), history.len() + 5).expect("it starts from the snapshot");
    assert_eq!(outputs(&broker), undisturbed(&history));

    let mut log = MemoryLog::join(&broker, &Fuse::default(), "other", &[], Some("log"));
    let of = TopicPartition {
        topic: Arc::from("log"),
        partition: 0,
    };
    let end = log.bounds(&of).expect("it is there").end;
    log.trim(0, end).expect("somebody may");
    let halted = drain(&mut worker(&broker, &Fuse::default(), &Disk::default(), 0), 5);
    assert!(
        matches!(&halted, Err(Stop::Halted(why)) if why.contains("somebody deleted the beginning")),
        "{halted:?}"
    );
}

#[test]
fn a_database_ahead_of_its_group_is_kept_if_the_changelog_says_the_same() {
    let history = long_history(300);
    // The same a moment later, so that epochs and places are the same and clocks are not.
    let later = |(value, arrival): &(String, i64)| {
        let (what, time) = value.rsplit_once(' ').expect("three words");
        let time = time.parse::<i64>().expect("a number") + 1;
        (format!("{what} {time}"), arrival + 1)
    };
    let other: Vec<(String, i64)> = history.iter().map(later).collect();
    let input = TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    };
    let work = |broker: &Broker, disk: &Disk, turns| {
        drain(&mut worker(broker, &Fuse::default(), disk, 0), turns).expect("no faults");
    };
    // Each disk with the place that its group told early on.
    let begun = |history: &[(String, i64)]| {
        let (broker, disk) = (broker(history), Disk::default());
        work(&broker, &disk, 2);
        let early = broker.committed("g", &input).expect("epochs");
        work(&broker, &disk, 3);
        assert_ne!(broker.committed("g", &input), Some(early.clone()));
        broker.tell("g", &input, early);
        (broker, disk)
    };
    let (elsewhere, others) = begun(&other);
    drop(elsewhere);
    let (first, own) = begun(&history);
    let (second, lost) = begun(&history);
    drop(lost);
    for (broker, disk, resets) in [(first, own, 0), (second, others, 1)] {
        work(&broker, &disk, history.len() + 5);
        assert_eq!(outputs(&broker), undisturbed(&history));
        assert_eq!(disk.resets(), resets);
    }
}

#[test]
fn what_one_tick_makes_due_fires_round_by_round_in_epochs_of_its_own() {
    let mut history: Vec<(String, i64)> = (0..30).map(|key| (format!("a k{key} 1"), 1)).collect();
    history.extend(
        [("tick - 500", 500), ("b k3 501", 501), ("tick - 502", 502)].map(|(value, at)| (value.to_owned(), at)),
    );
    let broker = broker(&history);
    let turns = history.len() + 5;
    drain(&mut worker(&broker, &Fuse::default(), &Disk::default(), 0), turns).expect("no faults");
    let mut assembler = Assembler::default();
    let epochs: Vec<Marker> = broker
        .read("log")
        .iter()
        .filter_map(|record| assembler.push(record.value.as_deref()?).expect("whole"))
        .collect();
    let of_tick: Vec<&Marker> = epochs.iter().filter(|marker| marker.offset == 31).collect();
    assert!(of_tick.len() >= 14, "two timers a round: {}", of_tick.len());
    let (last, others) = of_tick.split_last().expect("some");
    assert!(others.iter().all(|marker| marker.firing), "more is due behind each");
    assert!(
        !last.firing,
        "the last round has an epoch of its own too: no later input goes with it"
    );
    assert!(epochs.last().is_some_and(|marker| !marker.firing));
    let said = |marker: &&Marker| marker.outputs.iter().map(|(_, count)| count).sum::<u64>();
    assert!(
        of_tick.iter().map(said).all(|count| count <= 4),
        "an epoch holds a round or two"
    );
    let late = |(_, key, value): &(i32, String, String)| value.starts_with("late").then(|| key.clone());
    let late: Vec<String> = outputs(&broker).iter().filter_map(late).collect();
    assert_eq!(
        late.len(),
        30,
        "each of them once, before the event that would have prevented one: {late:?}"
    );
}

fn undisturbed(history: &[(String, i64)]) -> Vec<(i32, String, String)> {
    let broker = broker(history);
    drain(
        &mut worker(&broker, &Fuse::default(), &Disk::default(), 0),
        history.len() + 5,
    )
    .expect("no faults");
    outputs(&broker)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn dying_at_any_step_changes_no_output(history in history(), window in prop_oneof![Just(0i64), Just(25)]) {
        let turns = history.len() + 5;
        let fuse = Fuse::default();
        let clean = broker(&history);
        drain(&mut worker(&clean, &fuse, &Disk::default(), window), turns).expect("no faults");
        let (expected, steps) = (outputs(&clean), fuse.steps());
        prop_assert!(!expected.is_empty());
        for dies_at in 1..=steps {
            for disk_is_lost in [false, true] {
                let (broker, disk) = (broker(&history), Disk::default());
                fuse.mend(Some(dies_at));
                let died = drain(&mut worker(&broker, &fuse, &disk, window), turns);
                prop_assert!(died.is_err(), "step {dies_at} of {steps}");
                if disk_is_lost {
                    disk.lose();
                }
                fuse.mend(None);
                let again = drain(&mut worker(&broker, &fuse, &disk, window), turns);
                prop_assert_eq!(again, Ok(()), "step {} of {}", dies_at, steps);
                prop_assert_eq!(outputs(&broker), expected.clone(), "step {} of {}, disk lost {}", dies_at, steps, disk_is_lost);
            }
        }
    }
}
