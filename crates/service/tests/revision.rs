//! The catalogue's revision in a partition's marker: a worker that has read less of the catalogue than its predecessor waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use service::{
    topics::Changelog,
    worker::{Clock, Hooks, Start, Worker, WorkerConfig},
};
use stream::{Millis, Output, SnapshotRule, Statefulness, TopicPartition};
use testkit::{
    memory::{Broker, Disk, Fuse, MemoryLog},
    waiting::{Waiting, dead_letter},
};

/// How far the catalogue has been read.
struct Read(Arc<AtomicI64>);

impl Hooks<Waiting> for Read {
    fn between_epochs(&mut self, _: &Waiting) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed))
    }
}

/// A clock that the test sets, in seconds.
#[derive(Clone, Default)]
struct Set(Arc<AtomicU64>);

impl Clock for Set {
    fn wall(&self) -> Millis {
        Millis(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) {}
}

type Tested = Worker<MemoryLog, Waiting, Read>;

fn worker(clock: &Set, broker: &Broker, disk: &Disk, revision: &Arc<AtomicI64>) -> Tested {
    let (disk, fuse) = (disk.clone(), Fuse::default());
    let log = MemoryLog::join(broker, &fuse, "g", &["in"], Some("log"));
    let config = WorkerConfig {
        epoch_interval: Duration::ZERO,
        epoch_records: 3,
        poll_records: 4,
        flush_bytes: usize::MAX,
        flush_interval: Duration::MAX,
        window: 0,
        state: Statefulness::Keyed,
        cached_keys: 2,
        timers_per_round: 1000,
        changelog: Some(Changelog::new("log", vec!["in".to_owned()])),
        snapshots: SnapshotRule {
            after: 1 << 20,
            chunk: 40,
        },
        start: Start::Earliest,
        dead_letters: Arc::new(dead_letter),
        open_db: Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &fuse)))),
        clock: Box::new(clock.clone()),
    };
    Worker::new(log, Arc::new(Waiting), Read(Arc::clone(revision)), config)
}

/// A dozen turns, a second apart.
fn turn(clock: &Set, worker: &mut Tested) {
    for _ in 0..12 {
        clock.0.fetch_add(1, Ordering::Relaxed);
        worker.turn().expect("no faults");
    }
}

fn said(broker: &Broker) -> Vec<String> {
    let records = broker.read("out").into_iter();
    records
        .map(|record| String::from_utf8(record.value.unwrap_or_default()).expect("text"))
        .collect()
}

#[test]
fn a_partition_waits_for_the_catalogue_that_its_marker_names() {
    for keeps_disk in [true, false] {
        let broker = Broker::default();
        for (topic, partitions) in [("in", 1), ("out", 1), ("log", 1), ("in.dlq", 1)] {
            broker.create(topic, partitions);
        }
        let publish = |value: &str, at: i64| {
            broker.publish([Output {
                topic: Arc::from("in"),
                partition: Some(0),
                timestamp: Some(Millis(at)),
                key: None,
                value: Some(value.as_bytes().to_vec()),
                headers: Vec::new(),
            }]);
        };
        let (disk, clock) = (Disk::default(), Set::default());
        publish("a x 1", 1);
        let mut first = worker(&clock, &broker, &disk, &Arc::new(AtomicI64::new(7)));
        turn(&clock, &mut first);
        first.finish().expect("no faults");
        // It leaves the group, and its partition is another's.
        drop(first);
        assert_eq!(said(&broker), ["a 1 at 1"]);

        publish("a x 2", 2);
        let revision = Arc::new(AtomicI64::new(6));
        let disk = if keeps_disk { disk } else { Disk::default() };
        let mut second = worker(&clock, &broker, &disk, &revision);
        turn(&clock, &mut second);
        assert_eq!(said(&broker), ["a 1 at 1"], "under an older catalogue nothing is said");
        revision.store(7, Ordering::Relaxed);
        turn(&clock, &mut second);
        assert_eq!(said(&broker), ["a 1 at 1", "a 2 at 2"]);
        // Once it runs, nothing but what it reads itself changes the revision.
        revision.store(8, Ordering::Relaxed);
        publish("a x 3", 3);
        turn(&clock, &mut second);
        second.finish().expect("no faults");
        assert_eq!(said(&broker).len(), 3);
    }
}
