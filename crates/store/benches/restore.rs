//! How fast a partition comes back when its state directory is gone: packed epochs in memory, through [`Task::restore`], to a
//! database on disk. One element is one row of the changelog, about 100 bytes. `cargo bench --profile dev -p store` runs it: another
//! profile would compile RocksDB a second time.

use std::{path::Path, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use store::{Identity, Store};
use stream::{
    Corrupt, Cx, Marker, Millis, Output, Record, Reject, Routed, Row, RowWriter, Rows, Stage, Statefulness, Task,
    TaskConfig, TopicPartition,
    changelog::pack,
    rows::{HEAD, Head, key16, state_key},
};

/// `limits.epoch_bytes`, as configured by default.
const FLUSH_BYTES: usize = 32 << 20;

/// A stage that is never asked anything: restoring reads heads alone.
struct Idle;

impl Stage for Idle {
    type Input = ();
    type State = ();

    fn decode(&self, _: &Record) -> Result<Routed<()>, Reject> {
        Ok(Routed::Ignore)
    }

    fn on_event(&self, (): &mut (), (): (), _: &mut Cx<'_>) {}

    fn on_time(&self, (): &mut (), _: &mut Cx<'_>) {}

    fn deadline(&self, (): &()) -> Option<Millis> {
        None
    }

    fn load(&self, _: Rows<'_>) -> Result<(), Corrupt> {
        Ok(())
    }

    fn save(&self, (): &mut (), _: &mut RowWriter<'_>) {}
}

/// A fixed sequence that no compressor sees through.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[derive(Clone, Copy)]
enum Deadlines {
    None,
    Each,
}

/// The head of one customer: 20 bytes of key and 80 of value, a third of them noise.
fn head(customer: u64, deadlines: Deadlines, dice: &mut Dice) -> Row {
    let name = format!("customer-{customer:07}");
    let now = 1_700_000_000_000 + i64::try_from(dice.roll() % 100_000_000).expect("small");
    let mut payload = vec![1; 45];
    for noise in payload[..24].chunks_exact_mut(8) {
        noise.copy_from_slice(&dice.roll().to_be_bytes());
    }
    let head = Head {
        deadline: matches!(deadlines, Deadlines::Each).then_some(Millis(now + 90_000)),
        now: Millis(now),
        key: name.as_bytes(),
        payload: &payload,
    };
    (state_key(&key16(name.as_bytes()), HEAD), Some(head.encode()))
}

/// A changelog: the value of each record, and how many rows they hold.
struct Changelog {
    records: Vec<Vec<u8>>,
    rows: u64,
}

/// Packs epochs of rows, numbered from 1, each sorted by key.
fn changelog(epochs: impl Iterator<Item = Vec<Row>>) -> Changelog {
    let (mut records, mut count) = (Vec::new(), 0);
    for (index, mut rows) in epochs.enumerate() {
        rows.sort();
        rows.dedup_by(|one, other| one.0 == other.0);
        count += rows.len() as u64;
        let marker = Marker {
            epoch: index as u64 + 1,
            offset: i64::try_from(count).expect("small"),
            ..Marker::default()
        };
        records.extend(pack(&marker, &rows.iter().collect::<Vec<_>>()));
    }
    Changelog { records, rows: count }
}

/// A whole snapshot of 900,000 customers in chunks of 1 MiB, then 100,000 newer rows in epochs of 1,000.
fn snapshot_and_tail(deadlines: Deadlines) -> Changelog {
    let mut dice = Dice(7);
    let mut all: Vec<Row> = (0..900_000)
        .map(|customer| head(customer, deadlines, &mut dice))
        .collect();
    all.sort();
    let mut epochs: Vec<Vec<Row>> = all.chunks(10_000).map(<[Row]>::to_vec).collect();
    for _ in 0..100 {
        let tail = (0..1000).map(|_| head(dice.roll() % 900_000, deadlines, &mut Dice(dice.roll())));
        epochs.push(tail.collect());
    }
    changelog(epochs.into_iter())
}

/// 10,000 epochs of 100 rows, over 2,000 customers.
fn hot_keys(deadlines: Deadlines) -> Changelog {
    let mut dice = Dice(11);
    changelog((0..10_000).map(|_| {
        let mut rows = || head(dice.roll() % 2000, deadlines, &mut Dice(dice.roll()));
        (0..100).map(|_| rows()).collect()
    }))
}

/// A million customers, each once, in epochs of 1,000.
fn distinct_keys(deadlines: Deadlines) -> Changelog {
    let mut dice = Dice(13);
    changelog((0..1000).map(|epoch| {
        let customers = epoch * 1000..(epoch + 1) * 1000;
        customers.map(|customer| head(customer, deadlines, &mut dice)).collect()
    }))
}

fn open(dir: &Path, store: &Store) -> Task<Idle> {
    let identity = Identity {
        partitions: 1,
        origin: "bench/in".to_owned(),
    };
    let config = TaskConfig {
        input: TopicPartition {
            topic: Arc::from("in"),
            partition: 0,
        },
        slot: 0,
        window: 0,
        state: Statefulness::Keyed,
        cached_keys: 1,
        timers_per_round: 1000,
        dead_letters: Arc::new(|_: &Record, _: &Reject| -> Output { unreachable!("nothing is refused") }),
        snapshots: None,
    };
    let db = store.open(dir, &identity).expect("opens");
    Task::open(Arc::new(Idle), config, Box::new(db)).expect("it is empty")
}

/// As the worker does it, and the rest on disk too.
fn restore(task: &mut Task<Idle>, changelog: &Changelog) {
    for (offset, record) in changelog.records.iter().enumerate() {
        let next = i64::try_from(offset + 1).expect("small");
        task.restore(record, next).expect("whole");
        if task.overlay_bytes() >= FLUSH_BYTES {
            task.flush().expect("disk works");
        }
    }
    task.flush().expect("disk works");
    task.restored();
}

fn bench(criterion: &mut Criterion) {
    let store = Store::new(64 << 20);
    let place = tempfile::tempdir().expect("a directory");
    let mut number = 0;
    type Case = (&'static str, fn(Deadlines) -> Changelog);
    let cases: [Case; 3] = [
        ("snapshot and tail", snapshot_and_tail),
        ("hot keys", hot_keys),
        ("distinct keys", distinct_keys),
    ];
    for (name, make) in cases {
        for (deadlines, with) in [(Deadlines::None, "no deadlines"), (Deadlines::Each, "deadlines")] {
            let changelog = make(deadlines);
            let mut group = criterion.benchmark_group("restore");
            group.throughput(Throughput::Elements(changelog.rows));
            group.bench_function(format!("{name}, {with}"), |bencher| {
                let fresh = || {
                    number += 1;
                    open(&place.path().join(number.to_string()), &store)
                };
                bencher.iter_batched(
                    fresh,
                    |mut task| {
                        restore(&mut task, &changelog);
                        task
                    },
                    BatchSize::PerIteration,
                );
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(10));
    targets = bench
}
criterion_main!(benches);
