//! One worker: one thread, one consumer, one transactional producer, and the tasks of its partitions.
//!
//! Commit first, apply afterwards. What an epoch did becomes state only once its transaction is known to be committed; when the
//! outcome is unknown, positions are compared, never guessed.

mod epoch;
mod group;
mod hooks;
mod in_hand;
mod newest;
mod opening;
mod others;
mod outcome;
mod poison;
mod process;
mod recover;
mod stretch;

pub use hooks::{Hooks, Observation};
pub use in_hand::Hand;
pub use outcome::{GoesOn, Outcome, Position, goes_on, outcome};

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stream::{
    Batch, ChangelogReader, Db, DeadLetters, Log, LogError, Membership, Millis, OpenError, Output, SnapshotRule, Stage,
    Statefulness, Task, TaskConfig, TaskError, TopicPartition,
};

use self::stretch::Stretch;
use crate::topics::Changelog;

/// A worker's clocks, and its way to wait. The machine's are [`crate::Machine`]; a simulation has others.
pub trait Clock: Send {
    /// The time on the wall.
    fn wall(&self) -> Millis;

    /// The time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);
}

/// Opens the database of an input partition.
pub type OpenDb = Box<dyn FnMut(&TopicPartition) -> Result<Box<dyn Db>, OpenError> + Send>;

/// What a worker is told at its start.
pub struct WorkerConfig {
    /// Epochs of a worker that is live end this far apart at least, and stay open no longer: after a pause one ends at once.
    pub epoch_interval: Duration,
    /// An epoch is closed at this many records.
    pub epoch_records: u64,
    /// At most this many records a poll.
    pub poll_records: usize,
    /// Committed rows kept in memory before they are flushed, in bytes.
    pub flush_bytes: usize,
    /// Or flushed after this long.
    pub flush_interval: Duration,
    /// `order.window`, in milliseconds.
    pub window: i64,
    /// Whether the stage keeps state.
    pub state: Statefulness,
    /// Decoded keys kept in memory, shared by the partitions.
    pub cached_keys: usize,
    /// At most this many timers fire before the worker looks after its group and its epoch. In one partition it must stay the same, or
    /// timers of one key beyond sixteen may fire in another order.
    pub timers_per_round: usize,
    /// The changelog; `None` where the log is its own database.
    pub changelog: Option<Changelog>,
    /// When that changelog gets snapshots.
    pub snapshots: SnapshotRule,
    /// Where a group without committed offsets begins.
    pub start: Start,
    /// Makes dead letters.
    pub dead_letters: DeadLetters,
    /// Opens databases.
    pub open_db: OpenDb,
    /// Time.
    pub clock: Box<dyn Clock>,
}

/// Where a new group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record still there.
    Earliest,
    /// Behind the last.
    Latest,
}

/// Why a worker ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Positions contradict each other: nobody may guess. Keep the disk.
    Halted(String),
    /// Another process has this worker's name.
    Fenced(String),
    /// Log or disk refused.
    Failed(String),
    /// It was told to before it had begun, or while the log did not answer.
    Asked,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Halted(message) => write!(f, "halted: {message}"),
            Self::Fenced(message) => write!(f, "another process has this instance name: {message}"),
            Self::Failed(message) => f.write_str(message),
            Self::Asked => f.write_str("told to stop"),
        }
    }
}

impl std::error::Error for Stop {}

impl From<TaskError> for Stop {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Corrupt(message) => Self::Halted(message),
            TaskError::Db(message) => Self::Failed(format!("database failed: {message}")),
        }
    }
}

/// One worker.
pub struct Worker<L: Log, S: Stage, H: Hooks<S>> {
    log: L,
    stage: Arc<S>,
    hooks: H,
    config: WorkerConfig,
    tasks: BTreeMap<TopicPartition, Task<S>>,
    opening: opening::Opening<S>,
    changelogs: Option<Box<dyn ChangelogReader>>,
    /// When the open transaction began; `None` while there is none.
    begun: Option<Duration>,
    /// When the open epoch had its first record or output.
    first: Option<Duration>,
    /// When the last epoch ended.
    ended: Duration,
    /// Why the producer must be replaced before the next transaction.
    suspect: Option<&'static str>,
    /// The last transaction was not committed, and what the broker keeps of it has not been looked at.
    leftovers: bool,
    /// When this worker's name was taken away.
    fenced: Vec<Duration>,
    /// When committed offsets were last compared with what they should be.
    compared: Duration,
    /// Where partitions of the changelog end, of the tasks of which that is known.
    ends: BTreeMap<i32, RangeInclusive<i64>>,
    /// Where the group told that a partition stands, and where it stood when that was looked at: nothing is done about it again.
    settled: BTreeMap<TopicPartition, (Position, Position)>,
    /// Partitions that were opened anew because an epoch that was reported as committed, this one, was not seen.
    doubted: BTreeMap<TopicPartition, u64>,
    /// When such an epoch was last found not to have happened.
    differed: Option<Duration>,
    written: BTreeMap<Arc<str>, u64>,
    dead: BTreeMap<(String, String), u64>,
    flushed: Duration,
    batch: Batch,
    /// What the log said while an epoch was being committed: it belongs to the next one.
    later: Batch,
    outputs: Vec<Output>,
    /// The last poll brought as much as it may: more waits.
    lags: bool,
    /// How much longer epochs are while it lags.
    stretch: Stretch,
    /// The place in the group that the service was told of.
    membership: Option<Membership>,
    /// Partitions were sent back to what is committed: what was read of them before is void.
    rewound: bool,
    hand: Option<Hand>,
    /// Whether it is to end, and when it first saw that while it waited.
    stop: Arc<AtomicBool>,
    told_to_stop: Option<Duration>,
}

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// A worker on an open log.
    pub fn new(log: L, stage: Arc<S>, hooks: H, config: WorkerConfig) -> Self {
        let now = config.clock.monotonic();
        Self {
            log,
            stage,
            hooks,
            config,
            tasks: BTreeMap::new(),
            opening: opening::Opening::default(),
            changelogs: None,
            begun: None,
            first: None,
            ended: now,
            suspect: None,
            leftovers: false,
            fenced: Vec::new(),
            compared: now,
            ends: BTreeMap::new(),
            settled: BTreeMap::new(),
            doubted: BTreeMap::new(),
            differed: None,
            written: BTreeMap::new(),
            dead: BTreeMap::new(),
            flushed: now,
            batch: Batch::default(),
            later: Batch::default(),
            outputs: Vec::new(),
            lags: false,
            stretch: Stretch::default(),
            membership: None,
            rewound: false,
            hand: None,
            stop: Arc::default(),
            told_to_stop: None,
        }
    }

    /// Says in that file what is in hand, so that what kills the process again and again is found.
    #[must_use]
    pub fn with_hand(mut self, hand: Hand) -> Self {
        self.hand = Some(hand);
        self
    }

    fn now(&self) -> Duration {
        self.config.clock.monotonic()
    }

    /// The log, for tests that look behind it.
    pub fn log_mut(&mut self) -> &mut L {
        &mut self.log
    }

    /// The service's additions.
    pub fn hooks(&self) -> &H {
        &self.hooks
    }

    /// Turns until `stop` is set, then commits, flushes and leaves the group. A log that does not answer then is not waited for long.
    ///
    /// # Errors
    /// [`Stop`] if it cannot go on.
    pub fn run(&mut self, stop: &Arc<AtomicBool>) -> Result<(), Stop> {
        self.stop = Arc::clone(stop);
        let mut ended = Ok(());
        while ended.is_ok() && !stop.load(Ordering::Relaxed) {
            ended = self.turn();
        }
        let ended = ended.and_then(|()| self.finish());
        // One who lost the name has lost the membership too.
        if !matches!(ended, Err(Stop::Fenced(_)))
            && let Err(error) = self.log.leave()
        {
            tracing::warn!(%error, "group could not be left; it will notice by itself");
        }
        ended
    }

    /// Commits what is open and flushes what is committed.
    ///
    /// # Errors
    /// See [`Worker::run`].
    pub fn finish(&mut self) -> Result<(), Stop> {
        self.commit()?;
        for task in self.tasks.values_mut() {
            task.flush()?;
        }
        Ok(())
    }

    /// One round: read, process, commit if it is time.
    ///
    /// # Errors
    /// See [`Worker::run`].
    pub fn turn(&mut self) -> Result<(), Stop> {
        self.hooks.observe(&Observation::Turned);
        // Positions that wait for the end of a transaction keep others from opening their partitions.
        self.tidy()?;
        self.look_for_others()?;
        if !self.is_open() {
            // What is published while nothing happens holds for the next record already.
            self.between_epochs();
        }
        let wait = if self.opening.is_busy() {
            Duration::ZERO
        } else if self.is_open() {
            self.config
                .epoch_interval
                .saturating_sub(self.now().saturating_sub(self.ended))
        } else {
            self.config.epoch_interval
        };
        let wakes = self.hooks.wakes(self.config.clock.wall());
        let wait = wakes.map_or(wait, |wakes| wakes.min(wait));
        let spare = std::mem::take(&mut self.batch);
        let mut batch = std::mem::replace(&mut self.later, spare);
        match self.log.poll(wait, self.config.poll_records, &mut batch) {
            Ok(()) => {}
            Err(LogError::Retriable(message)) => {
                tracing::warn!(error = message, "log did not answer, trying again");
            }
            Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
            Err(error) => return Err(Stop::Failed(error.to_string())),
        }
        self.rewound = false;
        if !batch.changes.is_empty() {
            for change in std::mem::take(&mut batch.changes) {
                self.change(change)?;
            }
            self.settle()?;
        }
        self.open_some()?;
        if self.rewound {
            // What was read before stands behind the place where reading goes on.
            batch.records.clear();
            batch.ends.clear();
        }
        self.lags = batch.records.len() >= self.config.poll_records;
        if !self.fire_rests()? {
            batch.records.clear();
            batch.ends.clear();
        }
        let done = self.process(&mut batch);
        batch.records.clear();
        batch.ends.clear();
        self.batch = batch;
        done?;
        let now = self.config.clock.wall();
        if self.hooks.wants_ends(now) {
            self.keep_up()?;
            match self.log.ask_ends(now) {
                Ok(()) => {}
                Err(LogError::Retriable(message)) => tracing::warn!(error = message, "ends cannot be asked for"),
                Err(error) => return Err(Stop::Failed(error.to_string())),
            }
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        self.hooks.turn(now, &mut outputs);
        let sent = self.send_all(&mut outputs);
        self.outputs = outputs;
        if !sent? {
            return Ok(());
        }
        if self.is_due() { self.commit() } else { Ok(()) }
    }

    /// Whether there is anything to commit.
    fn is_open(&self) -> bool {
        self.begun.is_some() || self.tasks.values().any(Task::is_touched)
    }

    /// Something is about to be done: an epoch begins with it, if none is open.
    fn opens(&mut self) {
        if self.first.is_none() || !self.is_open() {
            self.first = Some(self.now());
        }
    }

    fn is_due(&self) -> bool {
        let (intervals, records_of) = self.lengths();
        self.lasts(self.ended, intervals, records_of)
    }

    /// Whether the epoch is to end in the middle of what one poll brought, which was begun then.
    fn is_overdue(&self, begun: Duration) -> bool {
        let (_, records_of) = self.lengths();
        self.lasts(begun.max(self.ended), self.stretch.longest(), records_of)
    }

    /// How many intervals an epoch may last, and how many times the usual number of records it may hold.
    fn lengths(&self) -> (u32, u64) {
        if self.lags { self.stretch.now() } else { (1, 1) }
    }

    /// Whether an epoch is open that has lasted so many intervals since then, or holds so many times the usual number of records.
    fn lasts(&self, since: Duration, intervals: u32, records_of: u64) -> bool {
        if !self.is_open() {
            return false;
        }
        let records: u64 = self.tasks.values().map(Task::open_records).sum();
        self.now().saturating_sub(since) >= self.config.epoch_interval * intervals
            || records >= self.config.epoch_records * records_of
    }

    fn task_config(&self, partition: &TopicPartition) -> TaskConfig {
        TaskConfig {
            input: partition.clone(),
            slot: self.slot(partition),
            window: self.config.window,
            state: self.config.state,
            cached_keys: self.config.cached_keys,
            timers_per_round: self.config.timers_per_round,
            dead_letters: Arc::clone(&self.config.dead_letters),
            snapshots: self.config.changelog.is_some().then_some(self.config.snapshots),
        }
    }
}
