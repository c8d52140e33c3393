//! `waymark bench monitor`: the service's own stage on the runtime's own task, with a database and a changelog, and no broker.

use std::{fmt::Write as _, path::Path, sync::Arc};

use ::monitor::{Board, Monitor, settings};
use ::pattern::bench::{Load, World};
use event::{Channel, Event, Identifier, IdentifierKind, Millis};
use serde_json::json;
use service::{config::Config, dead_letters, order_window, topics::Names};
use store::{Identity, Store};
use stream::{Output, Record, SnapshotRule, Statefulness, Task, TaskConfig, TopicPartition};

use super::{cells::Clock, quantile};
use crate::{
    cli::{BenchMonitor, Global, MonitorLoad},
    context,
    report::{Exit, Failure, Report},
};

/// How much more than the first size the last one may cost.
const TARGET: f64 = 2.0;

/// A monitor of one partition.
struct Bed {
    patterns: u32,
    world: World,
    task: Task<Monitor>,
    flush_bytes: usize,
    timeline: Arc<str>,
    offset: i64,
    changelog: i64,
    keys: Vec<String>,
    clock: Clock,
    /// Microseconds of this thread per event, an epoch each.
    cost: Vec<f64>,
    /// Bytes of the changelog per event, an epoch each.
    packed: Vec<f64>,
}

pub(super) fn run(global: &Global, options: &BenchMonitor) -> Result<Report, Failure> {
    let config = context::config(global)?;
    let dir = tempfile::tempdir().map_err(|error| format!("no directory for a database: {error}"))?;
    let store = Store::new(64 << 20);
    let mut beds = Vec::new();
    for patterns in &options.patterns {
        let place = dir.path().join(patterns.to_string());
        let mut bed = Bed::new(&config, &store, &place, *patterns, options)?;
        // Until customers' runs are as many as they will be: thirty events of each.
        let epochs = (30 * options.keys).div_ceil(options.epoch);
        for _ in 0..epochs {
            bed.epoch(options.epoch)?;
        }
        eprintln!(
            "{patterns} patterns: warm after {} events",
            u64::from(epochs) * u64::from(options.epoch)
        );
        bed.cost.clear();
        bed.packed.clear();
        beds.push(bed);
    }
    for _ in 0..options.rounds {
        for bed in &mut beds {
            bed.epoch(options.epoch)?;
        }
    }
    Ok(report(&beds, options))
}

fn report(beds: &[Bed], options: &BenchMonitor) -> Report {
    let mut text = format!(
        "{} customers, epochs of {} events, median of {} epochs; {}, background compaction not counted\n\n\
         {:>8} {:>10} {:>15} {:>12} {:>16}\n",
        options.keys,
        options.epoch,
        options.rounds,
        Clock::of_thread().measures(),
        "patterns",
        "µs/event",
        "least-most",
        "of the first",
        "changelog B/event"
    );
    let mut rows = Vec::new();
    let mut first = None;
    let mut last = 1.0;
    for bed in beds {
        let (mut cost, mut packed) = (bed.cost.clone(), bed.packed.clone());
        cost.sort_by(f64::total_cmp);
        packed.sort_by(f64::total_cmp);
        let (median, packed) = (quantile(&cost, 0.5), quantile(&packed, 0.5));
        let (least, most) = (quantile(&cost, 0.0), quantile(&cost, 1.0));
        last = median / *first.get_or_insert(median);
        let _ = writeln!(
            text,
            "{:8} {median:10.2} {:>15} {last:12.2} {packed:16.0}",
            bed.patterns,
            format!("{least:.2}-{most:.2}")
        );
        rows.push(json!({
            "patterns": bed.patterns, "us_per_event": median, "of_first": last, "changelog_bytes_per_event": packed, "epochs": bed.cost,
        }));
    }
    let met = last <= TARGET;
    let _ = writeln!(
        text,
        "\nthe last size costs {last:.2} times the first, target {TARGET:.1}: {}",
        if met { "met" } else { "MISSED" }
    );
    Report {
        command: "bench monitor",
        exit: if met { Exit::Done } else { Exit::Findings },
        findings: Vec::new(),
        data: json!({
            "keys": options.keys, "epoch": options.epoch, "sizes": rows, "ratio": last, "target": TARGET, "met": met,
        }),
        text,
    }
}

impl Bed {
    fn new(config: &Config, store: &Store, dir: &Path, patterns: u32, options: &BenchMonitor) -> Result<Self, Failure> {
        let names = Names::new("");
        let load = match options.load {
            MonitorLoad::Spread => Load::Spread,
            MonitorLoad::Follow => Load::Follow,
        };
        let world = World::new(load, patterns as usize, options.keys as usize);
        let stage = Arc::new(Monitor::new(&names, settings(config)));
        let mut board = Board::default();
        for pattern in world.patterns() {
            board.take(&Record {
                topic: Arc::from(names.patterns()),
                partition: 0,
                offset: board.revision(),
                timestamp: Millis(0),
                key: Some(pattern.id.clone().into_bytes()),
                value: Some(pattern.canonical.clone().into_bytes()),
                headers: Vec::new(),
            });
        }
        stage.load(&board);
        let timeline: Arc<str> = Arc::from(names.timeline());
        let identity = Identity {
            partitions: 1,
            origin: "bench/monitor".to_owned(),
        };
        let size = |key: &str| usize::try_from(config.number(key)).unwrap_or(usize::MAX);
        let task = TaskConfig {
            input: TopicPartition {
                topic: Arc::clone(&timeline),
                partition: 0,
            },
            slot: 0,
            window: order_window(config),
            state: Statefulness::Keyed,
            cached_keys: size("state.cached_keys"),
            timers_per_round: 1000,
            dead_letters: dead_letters("monitor"),
            snapshots: Some(SnapshotRule {
                after: config.number("state.snapshot_bytes").unsigned_abs(),
                chunk: 1 << 20,
            }),
        };
        let mut task = Task::open(
            stage,
            task,
            Box::new(store.open(dir, &identity).map_err(|error| error.to_string())?),
        )
        .map_err(|error| error.to_string())?;
        task.set_revision(board.revision());
        Ok(Self {
            patterns,
            world,
            task,
            flush_bytes: size("limits.epoch_bytes"),
            timeline,
            offset: 0,
            changelog: 0,
            keys: (0..options.keys)
                .map(|number| format!("customer:k{number:011}"))
                .collect(),
            clock: Clock::of_thread(),
            cost: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// The next events as `intake` writes them.
    fn records(&mut self, count: u32) -> Vec<Record> {
        let mut records = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (customer, at, event) = self.world.next_event();
            let event = Event {
                id: format!("e-{:012}", self.offset),
                time: at,
                received: Some(at),
                tenant: "default".to_owned(),
                channel: Channel::Web,
                identifiers: vec![Identifier {
                    kind: IdentifierKind::Customer,
                    value: self.keys[customer].clone(),
                    namespace: String::new(),
                    verified: true,
                }],
                session: Some("s-1".to_owned()),
                ..event.clone()
            };
            let mut value = Vec::new();
            codec::encode_event(&event, &mut value);
            records.push(Record {
                topic: Arc::clone(&self.timeline),
                partition: 0,
                offset: self.offset,
                timestamp: at,
                key: Some(self.keys[customer].clone().into_bytes()),
                value: Some(value),
                headers: Vec::new(),
            });
            self.offset += 1;
        }
        records
    }

    /// One epoch from its first record to its commit, and the flush that may be due.
    fn epoch(&mut self, count: u32) -> Result<(), Failure> {
        let records = self.records(count);
        let mut outputs: Vec<Output> = Vec::new();
        let failed = |error: stream::TaskError| Failure::invalid(error.to_string());
        let begin = self.clock.now();
        for record in &records {
            self.task
                .handle(record, record.timestamp, &mut outputs)
                .map_err(failed)?;
        }
        let mut packed = 0;
        if let Some(epoch) = self.task.batch().map_err(failed)? {
            packed = epoch.changelog.iter().map(Vec::len).sum();
            self.changelog += i64::try_from(epoch.changelog.len()).unwrap_or(i64::MAX);
            self.task.committed(epoch, Some(self.changelog)).map_err(failed)?;
        }
        if self.task.wants_snapshot() {
            self.task.begin_snapshot();
        }
        if self.task.overlay_bytes() >= self.flush_bytes {
            self.task.flush().map_err(failed)?;
        }
        self.cost.push((self.clock.now() - begin) * 1e6 / f64::from(count));
        self.packed.push(packed as f64 / f64::from(count));
        // There is no log to trim.
        let _ = self.task.take_trim();
        Ok(())
    }
}
