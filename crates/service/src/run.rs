//! Running a service: its workers as threads, until told to stop or one of them cannot go on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use stream::{DeadLetters, LogError, Millis, SnapshotRule, Statefulness};

use crate::{
    backend::{Backend, Member},
    config::Config,
    telemetry::{Probe, Telemetry},
    worker::{Clock, Hand, Start, Stop, WorkerConfig},
};

/// The clock on the wall. The only one below the command line.
#[must_use]
pub fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The machine's own clocks.
pub struct Machine(Instant);

impl Default for Machine {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Machine {
    fn wall(&self) -> Millis {
        wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// In windows of how many milliseconds records are grouped by arrival; 0 is not at all.
#[must_use]
pub fn order_window(config: &Config) -> i64 {
    // Replays are in order already, and group by arrival means nothing to them.
    if config.text("intake.clock") == "events" {
        0
    } else {
        config.number("order.window")
    }
}

/// Timers that fire before a worker looks after its group: a second's work where every one of them has to be read from the disk.
const TIMERS: usize = 5_000;

/// A changelog of markers alone is trimmed when they take so many bytes.
const MARKERS: u64 = 128 * 1024;

/// What the configuration says to a worker.
#[must_use]
pub fn worker_config<B: Backend>(
    config: &Config,
    backend: &B,
    member: &Member,
    state: Statefulness,
    dead_letters: DeadLetters,
) -> WorkerConfig {
    let service = member.service;
    let span = |key: &str| Duration::from_millis(config.number(key).unsigned_abs());
    let size = |key: &str| usize::try_from(config.number(key)).unwrap_or(usize::MAX);
    WorkerConfig {
        epoch_interval: span("epoch.interval"),
        epoch_records: 10_000,
        poll_records: 4096,
        flush_bytes: size("limits.epoch_bytes"),
        flush_interval: span("state.flush_interval"),
        window: order_window(config),
        state,
        cached_keys: size("state.cached_keys"),
        timers_per_round: TIMERS,
        changelog: backend.changelog(member),
        snapshots: SnapshotRule {
            after: match state {
                Statefulness::Keyed => config.number("state.snapshot_bytes").unsigned_abs(),
                // Nothing but markers, all of them to be read by whoever takes a partition over.
                Statefulness::None => MARKERS,
            },
            chunk: 1 << 20,
        },
        start: match (state, config.text("intake.start")) {
            // Only intake may leave out what came before it; the timeline is read whole.
            (Statefulness::None, "latest") => Start::Latest,
            _ => Start::Earliest,
        },
        dead_letters,
        open_db: backend.open_db(service),
        clock: Box::new(Machine::default()),
    }
}

/// The file of what a worker has in hand.
#[must_use]
pub fn in_hand(config: &Config, service: &str, worker: usize) -> Hand {
    Hand::open(Path::new(config.text("service.data_dir")), service, worker)
}

/// How long a start waits before it asks a log again that did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks a log until it answers, or `stop` is set. A broker that is not there yet is no reason to end.
///
/// # Errors
/// [`Stop`] for any error that waiting does not mend, and if told to stop.
pub fn until_answered<T>(
    what: &str,
    probe: &Probe,
    stop: &AtomicBool,
    mut ask: impl FnMut() -> Result<T, LogError>,
) -> Result<T, Stop> {
    while !stop.load(Ordering::Relaxed) {
        probe.beat();
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(LogError::Retriable(message)) => {
                tracing::warn!(error = message, what, "log does not answer, trying again");
                std::thread::sleep(AGAIN);
            }
            Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
            Err(error) => return Err(Stop::Failed(format!("{what}: {error}"))),
        }
    }
    Err(Stop::Asked)
}

/// How many partitions each input of a member has, and each of `others`. Refuses a changelog with fewer than the inputs need.
///
/// # Errors
/// [`Stop`] if it has, a topic is missing or the log refuses.
pub fn partitions_of<B: Backend>(
    backend: &B,
    member: &Member,
    others: &[String],
    probe: &Probe,
    stop: &AtomicBool,
) -> Result<(Vec<i32>, Vec<i32>), Stop> {
    let changelog = backend.changelog(member);
    let mut asked = member.inputs.clone();
    asked.extend_from_slice(others);
    asked.extend(changelog.iter().map(|changelog| changelog.topic.to_string()));
    let mut inputs = until_answered("counting partitions", probe, stop, || backend.partitions(&asked))?;
    let found = changelog.is_some().then(|| inputs.pop()).flatten();
    let others = inputs.split_off(member.inputs.len());
    if let (Some(changelog), Some(found)) = (changelog, found) {
        let needed = changelog.slots(inputs.iter().copied().max().unwrap_or_default());
        if found < needed {
            return Err(Stop::Failed(format!(
                "changelog has too few partitions: topic={} partitions={found} needed={needed}",
                changelog.topic
            )));
        }
    }
    Ok((inputs, others))
}

/// Runs `count` workers, each on its own thread, until `stop` is set or one ends by itself; then the others are stopped too.
///
/// # Errors
/// The first reason why a worker could not go on.
pub fn run_workers(
    service: &'static str,
    count: usize,
    stop: &AtomicBool,
    telemetry: &Telemetry,
    worker: impl Fn(usize, Probe) -> Result<(), Stop> + Sync,
) -> Result<(), Stop> {
    let run = |index: usize| {
        let span = tracing::info_span!("worker", service, worker = index);
        let _entered = span.enter();
        let probe = telemetry.probe(service, index);
        let ended = probe.ending();
        let done = catch_unwind(AssertUnwindSafe(|| worker(index, probe)));
        let done = done.unwrap_or_else(|_| Err(Stop::Failed(format!("worker panicked: {service}-{index}"))));
        if done == Err(Stop::Asked) {
            return Ok(());
        }
        if let Err(error) = &done {
            ended(error);
            tracing::error!(service, worker = index, %error, "worker stopped");
            stop.store(true, Ordering::Relaxed);
        }
        done
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| {
                let name = format!("{service}-{index}");
                let run = &run;
                std::thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, move || run(index))
            })
            .collect();
        let mut first = Ok(());
        for thread in threads {
            let ended = match thread {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| Err(Stop::Failed("worker was lost".to_owned()))),
                Err(error) => Err(Stop::Failed(format!("thread cannot be started: {error}"))),
            };
            if first.is_ok() {
                first = ended;
            }
        }
        first
    })
}
