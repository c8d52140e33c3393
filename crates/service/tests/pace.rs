//! When a worker's epochs end while time goes on as it works.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use service::{
    topics::Changelog,
    worker::{Clock, Hooks, Observation, Start, Worker, WorkerConfig},
};
use stream::{Millis, Output, SnapshotRule, Statefulness, TopicPartition};
use testkit::{
    memory::{Broker, Disk, Fuse, MemoryLog},
    waiting::{Waiting, dead_letter},
};

const INTERVAL: Duration = Duration::from_millis(100);

/// A clock that goes on by a millisecond whenever somebody looks at it, as if whatever was done meanwhile had taken that long.
#[derive(Default)]
struct Busy(AtomicU64);

impl Clock for Busy {
    fn wall(&self) -> Millis {
        Millis(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("short");
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

/// How long each epoch was processed before it was committed, and what it said.
#[derive(Clone, Default)]
struct Epochs {
    committed: Vec<(Duration, u64)>,
    /// How many of them there were when a partition was restored.
    restored: Option<usize>,
}

impl Hooks<Waiting> for Epochs {
    fn observe(&mut self, what: &Observation<'_>) {
        match what {
            Observation::Committed { written, process, .. } => {
                self.committed.push((*process, written.values().sum()));
            }
            Observation::Restoring { remaining: 0, .. } => self.restored = Some(self.committed.len()),
            _ => {}
        }
    }
}

/// Two partitions of input.
fn broker() -> Broker {
    let broker = Broker::default();
    for (topic, partitions) in [("in", 2), ("out", 1), ("log", 2), ("in.dlq", 1)] {
        broker.create(topic, partitions);
    }
    broker
}

fn publish(broker: &Broker, partition: i32, values: impl Iterator<Item = String>) {
    broker.publish(values.map(|value| Output {
        topic: Arc::from("in"),
        partition: Some(partition),
        timestamp: Some(Millis(1)),
        key: None,
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }));
}

/// What the epochs of one worker were like, from a new disk on, for so many turns.
fn work(broker: &Broker, epoch_records: u64, turns: usize) -> Epochs {
    let (disk, fuse) = (Disk::default(), Fuse::default());
    let disk_fuse = fuse.clone();
    let config = WorkerConfig {
        epoch_interval: INTERVAL,
        epoch_records,
        poll_records: 1_000_000,
        flush_bytes: 1 << 20,
        flush_interval: Duration::from_secs(3600),
        window: 0,
        state: Statefulness::Keyed,
        cached_keys: 100,
        timers_per_round: 100,
        changelog: Some(Changelog::new("log", vec!["in".to_owned()])),
        snapshots: SnapshotRule {
            after: 1 << 20,
            chunk: 1 << 16,
        },
        start: Start::Earliest,
        dead_letters: Arc::new(dead_letter),
        open_db: Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &disk_fuse)))),
        clock: Box::new(Busy::default()),
    };
    let log = MemoryLog::join(broker, &fuse, "g", &["in"], Some("log"));
    let mut worker = Worker::new(log, Arc::new(Waiting), Epochs::default(), config);
    for _ in 0..turns {
        worker.turn().expect("no faults");
    }
    worker.finish().expect("no faults");
    worker.hooks().clone()
}

/// What the epochs of one worker were like that found all this at once.
fn epochs_of(values: impl Iterator<Item = String>) -> Vec<(Duration, u64)> {
    let broker = broker();
    publish(&broker, 0, values);
    work(&broker, 1_000_000, 10).committed
}

#[test]
fn an_epoch_ends_in_the_middle_of_what_one_poll_brought() {
    let epochs = epochs_of((0..8000).map(|key| format!("a k{key} 1")));
    assert_eq!(
        epochs.iter().map(|(_, said)| said).sum::<u64>(),
        8000,
        "each event is echoed once: {epochs:?}"
    );
    let (first, others) = epochs.split_first().expect("some");
    assert!(first.0 < 2 * INTERVAL, "a worker is heard of at once: {epochs:?}");
    assert!(
        others.len() >= 3,
        "eight thousand looks and more at the clock: {epochs:?}"
    );
    for (process, _) in others {
        assert!(*process < 21 * INTERVAL, "one took {process:?}: {epochs:?}");
    }
}

#[test]
fn an_epoch_begins_with_its_first_record_though_that_says_nothing() {
    let epochs = epochs_of((0..50).map(|at| format!("tick - {at}")));
    let (process, said) = epochs.iter().max().expect("ticks are committed too");
    assert_eq!(*said, 0);
    assert!(*process >= Duration::from_millis(40), "fifty records: {epochs:?}");
}

#[test]
fn a_partition_is_restored_while_another_works_through_what_one_poll_brought() {
    let broker = broker();
    publish(&broker, 0, (0..600).map(|key| format!("a k{key} 1")));
    let before = work(&broker, 1, 1000);
    assert!(before.committed.len() >= 600, "an epoch and more for each");
    publish(&broker, 1, (0..20_000).map(|key| format!("a k{key} 1")));
    let behind = work(&broker, 1_000_000, 10);
    let said: u64 = behind.committed.iter().map(|(_, said)| said).sum();
    assert_eq!(said, 20_000, "{:?}", behind.committed);
    let restored = behind.restored.expect("it has no disk");
    assert!(
        restored < behind.committed.len() / 2,
        "behind {restored} epochs of {}",
        behind.committed.len()
    );
}
