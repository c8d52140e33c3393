//! One worker: one thread, one consumer, one transactional producer, and the tasks of its partitions.
//!
//! Commit first, apply afterwards. What an epoch did becomes state only once its transaction is known to be committed; when the
//! outcome is unknown, positions are compared, never guessed.

mod hooks;
mod in_hand;
mod newest;
mod opening;
mod outcome;
mod poison;
mod recover;
mod stretch;

pub use hooks::{Hooks, Observation};
pub use in_hand::Hand;
pub use outcome::{GoesOn, Outcome, Position, goes_on, outcome};

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stream::{
    Batch, Change, ChangelogReader, Commit, CommitReport, Db, DeadLetters, Log, LogError, Membership, Millis, Output,
    SnapshotRule, Stage, Statefulness, Task, TaskConfig, TaskError, TopicPartition,
    mutant::{self, Mutant},
};

use self::{recover::AGAIN, stretch::Stretch};
use crate::{letters, topics::Changelog};

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
pub type OpenDb = Box<dyn FnMut(&TopicPartition) -> Result<Box<dyn Db>, String> + Send>;

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

/// A producer whose commit had a request that waited this long is replaced: librdkafka sends again after 0.8 of `retry.backoff.ms`, which
/// is 250.
const SUSPICIOUS: Duration = Duration::from_millis(200);
/// A name that is taken away this often within [`FENCED_WITHIN`] has another owner.
const FENCED_OFTEN: usize = 3;
/// Batches of records that are kept while a worker waits for its group.
const LISTENED: usize = 50;
const FENCED_WITHIN: Duration = Duration::from_secs(600);

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
            ended: now,
            suspect: None,
            leftovers: false,
            fenced: Vec::new(),
            compared: now,
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
        if self.leftovers && self.begun.is_none() {
            // Positions that wait for the end of a transaction keep others from opening their partitions.
            self.clean_up()?;
        }
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

    fn is_due(&self) -> bool {
        if !self.is_open() {
            return false;
        }
        let records: u64 = self.tasks.values().map(Task::open_records).sum();
        let (intervals, records_of) = if self.lags { self.stretch.now() } else { (1, 1) };
        let (interval, most) = (
            self.config.epoch_interval * intervals,
            self.config.epoch_records * records_of,
        );
        self.now().saturating_sub(self.ended) >= interval || records >= most
    }

    fn process(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        let mut ready = Vec::new();
        for of_topic in batch.records.chunk_by(|one, next| one.topic == next.topic) {
            self.hooks.observe(&Observation::Read {
                topic: &of_topic[0].topic,
                records: of_topic.len() as u64,
            });
        }
        for record in batch.records.drain(..) {
            self.hooks.order(record, &mut ready);
        }
        for (partition, offset) in batch.ends.drain(..) {
            self.hooks.ended(&partition, offset);
        }
        for told in batch.told.drain(..) {
            self.hooks.told(&told);
        }
        // One look at the clock for all that one poll brought: none of it arrived later.
        let wall = self.config.clock.wall();
        for record in ready {
            let partition = TopicPartition {
                topic: Arc::clone(&record.topic),
                partition: record.partition,
            };
            // What is due goes before the record: before it is looked at, and once its bucket's predecessor is closed.
            let way = self.step(&partition, |task, outputs| task.make_way(&record, outputs));
            if !way? || !self.fire_rest(&partition)? {
                // The epoch was aborted: what was read of it will be read again.
                return Ok(());
            }
            let mut outputs = std::mem::take(&mut self.outputs);
            let now = self.hooks.before(&record, &mut outputs).unwrap_or(wall);
            self.outputs = outputs;
            let handled = self.step(&partition, |task, outputs| task.handle(&record, now, outputs));
            if !handled? || !self.fire_rest(&partition)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has a partition do something, behind outputs that wait already, and sends what it says; false if the epoch was dropped.
    fn step(
        &mut self,
        partition: &TopicPartition,
        step: impl FnOnce(&mut Task<S>, &mut Vec<Output>) -> Result<(), TaskError>,
    ) -> Result<bool, Stop> {
        let Some(task) = self.tasks.get_mut(partition) else {
            return Ok(true);
        };
        let mut outputs = std::mem::take(&mut self.outputs);
        let Ok(done) = catch_unwind(AssertUnwindSafe(|| step(task, &mut outputs))) else {
            outputs.clear();
            self.outputs = outputs;
            self.panicked(partition)?;
            return Ok(false);
        };
        done?;
        let sent = self.send_all(&mut outputs);
        self.outputs = outputs;
        sent
    }

    /// Fires the timers of a partition that are due, round by round: between two the group is heard, and the epoch ends if it is time.
    /// False if an epoch was dropped.
    fn fire_rest(&mut self, partition: &TopicPartition) -> Result<bool, Stop> {
        while self.tasks.get(partition).is_some_and(Task::is_firing) {
            self.hooks.observe(&Observation::Turned);
            self.listen()?;
            let is_called = !self.later.changes.is_empty() || self.stop.load(Ordering::Relaxed);
            if is_called || self.is_due() {
                self.rewound = false;
                self.commit()?;
                if is_called && !self.rewound {
                    // What was read and not looked at is read again, by this worker or another.
                    self.rewind()?;
                }
                if self.rewound {
                    return Ok(false);
                }
            }
            if !self.step(partition, Task::fire_more)? {
                return Ok(false);
            }
        }
        let is_rest = |task: &Task<S>| task.marker().firing && task.is_touched();
        if self.tasks.get(partition).is_some_and(is_rest) {
            // What such an epoch says belongs to the input of the one before: none of its own goes with it, or nobody could count it.
            self.rewound = false;
            self.commit()?;
            return Ok(!self.rewound);
        }
        Ok(true)
    }

    /// The same for all partitions, such as one that was opened in the middle of it.
    fn fire_rests(&mut self) -> Result<bool, Stop> {
        let firing: Vec<TopicPartition> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.is_firing())
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in firing {
            if !self.fire_rest(&partition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends outputs; false if the epoch had to be aborted.
    fn send_all(&mut self, outputs: &mut Vec<Output>) -> Result<bool, Stop> {
        if outputs.is_empty() {
            return Ok(true);
        }
        self.begin()?;
        for output in outputs.drain(..) {
            let topic = Arc::clone(&output.topic);
            let letter = letters::source_and_reason(&output);
            match self.log.send(output) {
                Ok(()) => {
                    *self.written.entry(topic).or_default() += 1;
                    if let Some(letter) = letter {
                        *self.dead.entry(letter).or_default() += 1;
                    }
                }
                Err(error) => {
                    self.failed(&Commit::default(), error)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn begin(&mut self) -> Result<(), Stop> {
        if self.begun.is_some() {
            return Ok(());
        }
        self.clean_up()?;
        loop {
            match self.log.begin() {
                Ok(()) => break,
                Err(LogError::Fatal(message)) => return Err(Stop::Failed(message)),
                Err(LogError::Fenced(message)) => {
                    self.was_fenced(message)?;
                    self.recycle("fenced")?;
                }
                Err(error) => {
                    tracing::warn!(%error, "transaction could not begin, replacing the producer");
                    self.recycle("begin")?;
                }
            }
        }
        self.begun = Some(self.now());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Stop> {
        let mut epoch = Commit::default();
        // One partition at a time, so that chunks do not swell every epoch at once.
        if !self.tasks.values().any(Task::is_in_snapshot)
            && let Some(task) = self.tasks.values_mut().find(|task| task.wants_snapshot())
        {
            task.begin_snapshot();
        }
        if mutant::is_on(Mutant::CutInsideBucket) {
            let mut outputs = Vec::new();
            for task in self.tasks.values_mut() {
                task.close(&mut outputs)?;
            }
            if !self.send_all(&mut outputs)? {
                return Ok(());
            }
        }
        for (partition, task) in &mut self.tasks {
            let Ok(batch) = catch_unwind(AssertUnwindSafe(|| task.batch())) else {
                let partition = partition.clone();
                return self.panicked(&partition);
            };
            epoch.partitions.extend(batch?);
        }
        if epoch.partitions.is_empty() {
            if self.begun.is_none() {
                return Ok(());
            }
            // Outputs without input, such as ticks: any owned partition's position carries the transaction.
            let Some((partition, task)) = self.tasks.iter().next() else {
                return self.abort("no partition is owned");
            };
            epoch.partitions.push(stream::PartitionEpoch {
                input: partition.clone(),
                offset: task.marker().offset,
                metadata: match (self.config.state, &self.config.changelog) {
                    (Statefulness::None, None) => String::new(),
                    _ => task.marker().metadata(),
                },
                slot: self.slot(partition),
                changelog: Vec::new(),
                rows: Vec::new(),
            });
        }
        self.begin()?;
        let started = self.now();
        let process = started.saturating_sub(self.begun.unwrap_or(started));
        self.serve()?;
        let touched = epoch.partitions.iter();
        if touched.into_iter().any(|part| self.is_lost(&part.input)) {
            return self.abort("a partition of the epoch was lost");
        }
        if !self.offsets_stand()? {
            return Ok(());
        }
        if mutant::is_on(Mutant::ApplyBeforeCommit) && self.config.state == Statefulness::Keyed {
            for part in epoch.partitions.iter().filter(|part| !part.rows.is_empty()) {
                if let Some(task) = self.tasks.get_mut(&part.input) {
                    let next = task.changelog_next() + 1;
                    task.committed(part.clone(), Some(next))?;
                    task.flush()?;
                }
            }
        }
        match self.log.commit(&epoch) {
            Ok(report) => {
                let commit = self.now().saturating_sub(started);
                self.apply(epoch, &report, process, commit)
            }
            Err(error) => self.failed(&epoch, error),
        }
    }

    /// A send or a commit did not go through.
    fn failed(&mut self, epoch: &Commit, error: LogError) -> Result<(), Stop> {
        match error {
            LogError::Fatal(message) => Err(Stop::Failed(message)),
            LogError::Unknown(message) => self.unknown(epoch, &message),
            LogError::Fenced(message) => {
                // By another process of this name, or by the coordinator, because the transaction took too long.
                self.was_fenced(message)?;
                self.unknown(epoch, "the producer was fenced")
            }
            error => self.abort(&error.to_string()),
        }
    }

    /// Takes the name back, unless it is taken away again and again.
    fn was_fenced(&mut self, message: String) -> Result<(), Stop> {
        let now = self.now();
        self.fenced.retain(|at| now.saturating_sub(*at) < FENCED_WITHIN);
        self.fenced.push(now);
        if self.fenced.len() >= FENCED_OFTEN {
            return Err(Stop::Fenced(message));
        }
        tracing::warn!(error = message, "producer was fenced, taking the name back");
        Ok(())
    }

    /// Hears what the group has to say before an epoch is committed; what else comes belongs to the next epoch.
    fn serve(&mut self) -> Result<(), Stop> {
        self.hear(1)
    }

    /// The same for one who waits for the group. What it says stands behind records that were fetched before: taking them one by one
    /// it would not be heard for minutes.
    fn listen(&mut self) -> Result<(), Stop> {
        // What is taken is kept, so not without end.
        let most = LISTENED * self.config.poll_records;
        let held = self.later.records.len();
        self.hear(if held < most {
            held + self.config.poll_records
        } else {
            1
        })
    }

    fn hear(&mut self, most: usize) -> Result<(), Stop> {
        match self.log.poll(Duration::ZERO, most, &mut self.later) {
            Ok(()) | Err(LogError::Retriable(_)) => Ok(()),
            Err(LogError::Fenced(message)) => Err(Stop::Fenced(message)),
            Err(error) => Err(Stop::Failed(error.to_string())),
        }
    }

    /// Whether the group has taken a partition away without waiting, even if it has given it back since: what was done under the
    /// old assignment does not count under the new one.
    fn is_lost(&self, partition: &TopicPartition) -> bool {
        let takes = |change: &Change| matches!(change, Change::Lost(lost) if lost.contains(partition));
        let gives = |change: &Change| matches!(change, Change::Assigned(given) if given.contains(partition));
        if mutant::is_on(Mutant::OwnerInsteadOfSequence) && self.later.changes.iter().any(gives) {
            return false;
        }
        self.later.changes.iter().any(takes)
    }

    fn apply(&mut self, epoch: Commit, report: &CommitReport, process: Duration, commit: Duration) -> Result<(), Stop> {
        let may_be_late = report.longest_request >= SUSPICIOUS || report.is_disturbed;
        if may_be_late && !mutant::is_on(Mutant::ProducerKept) {
            self.suspect = Some("slow");
        }
        for (index, part) in epoch.partitions.into_iter().enumerate() {
            let counts = self.config.state == Statefulness::Keyed || self.config.changelog.is_some();
            let carries_ticks_only = counts && part.rows.is_empty();
            if carries_ticks_only {
                continue;
            }
            if let Some(task) = self.tasks.get_mut(&part.input) {
                task.committed(part, report.changelog_next.get(index).copied().flatten())?;
            }
        }
        self.begun = None;
        self.leftovers = false;
        self.ended = self.now();
        self.stretch.committed();
        self.tell_poison();
        self.trim()?;
        let written = std::mem::take(&mut self.written);
        let dead = std::mem::take(&mut self.dead);
        self.hooks.observe(&Observation::Committed {
            written: &written,
            dead: &dead,
            process,
            commit,
        });
        for (partition, task) in &self.tasks {
            self.hooks.observe(&Observation::Partition {
                partition: partition.partition,
                clock: task.clock(),
                timers: task.timers_pending(),
                overlay_bytes: task.overlay_bytes(),
                changelog_bytes: task.marker().snapshots.log_bytes,
            });
        }
        self.hooks.observe(&Observation::Seen);
        self.between_epochs();
        let bytes: usize = self.tasks.values().map(Task::overlay_bytes).sum();
        let now = self.now();
        if bytes >= self.config.flush_bytes || now.saturating_sub(self.flushed) >= self.config.flush_interval {
            self.flushed = now;
            for task in self.tasks.values_mut() {
                task.flush()?;
            }
        }
        Ok(())
    }

    fn between_epochs(&mut self) {
        if let Some(revision) = self.hooks.between_epochs(&self.stage) {
            self.tasks.values_mut().for_each(|task| task.set_revision(revision));
        }
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

    fn change(&mut self, change: Change) -> Result<(), Stop> {
        match change {
            Change::Assigned(partitions) => {
                self.hooks.observe(&Observation::Rebalanced("assigned"));
                self.assign(&partitions)?;
            }
            Change::Revoked(partitions) => {
                self.hooks.observe(&Observation::Rebalanced("revoked"));
                self.commit()?;
                self.close(&partitions)?;
            }
            Change::Lost(partitions) => {
                self.hooks.observe(&Observation::Rebalanced("lost"));
                self.abort("partitions were lost")?;
                self.close(&partitions)?;
            }
        }
        Ok(())
    }

    /// After changes: the service is told what this worker has, in which generation. A member that has been put out meanwhile is not
    /// listed, and hears of it only if it listens.
    fn settle(&mut self) -> Result<(), Stop> {
        let begun = self.now();
        loop {
            match self.log.membership() {
                Ok(membership) => {
                    self.owns(membership);
                    self.tell_assigned();
                    return Ok(());
                }
                Err(LogError::Retriable(why)) if self.is_patient(begun)? => {
                    self.hooks.observe(&Observation::Turned);
                    self.listen()?;
                    let more = std::mem::take(&mut self.later.changes);
                    if more.is_empty() {
                        tracing::warn!(why, "group membership is not known yet");
                        self.config.clock.sleep(AGAIN);
                    }
                    for change in more {
                        self.change(change)?;
                    }
                }
                Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
                Err(error) => return Err(Stop::Failed(format!("group membership: {error}"))),
            }
        }
    }

    fn owns(&mut self, membership: Membership) {
        let owned: Vec<TopicPartition> = self.tasks.keys().cloned().collect();
        self.membership = Some(membership);
        tracing::debug!(?membership, partitions = owned.len(), "place in the group");
        self.hooks.owns(&owned, membership);
    }

    /// A generation can pass without a change of what this worker has, and its ticks must name the newest one all the same, or no
    /// clock goes on.
    fn keep_up(&mut self) -> Result<(), Stop> {
        let known = match self.log.generation() {
            Ok(known) => known,
            Err(LogError::Retriable(_)) => return Ok(()),
            Err(error) => return Err(Stop::Failed(error.to_string())),
        };
        if known < 0 || self.membership.is_some_and(|told| told.generation == known) {
            return Ok(());
        }
        match self.log.membership() {
            Ok(membership) => self.owns(membership),
            // It is asked again the next time.
            Err(LogError::Retriable(why)) => tracing::debug!(why, "group membership is not known yet"),
            Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
            Err(error) => return Err(Stop::Failed(error.to_string())),
        }
        Ok(())
    }

    /// Says what is owned, once nothing of it is being restored; the partitions share the cache.
    fn tell_assigned(&mut self) {
        let share = self.config.cached_keys / self.tasks.len().max(1);
        self.tasks
            .values_mut()
            .for_each(|task| task.cache_at_most(share.max(1)));
        if !self.opening.is_busy() {
            self.hooks.observe(&Observation::Assigned(self.tasks.len()));
        }
    }

    fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), Stop> {
        for partition in partitions {
            self.settled.remove(partition);
            self.doubted.remove(partition);
            self.hooks.dropped(partition);
            self.hooks.observe(&Observation::Given(self.slot(partition)));
            self.forget_opening(partition)?;
            if let Some(mut task) = self.tasks.remove(partition) {
                task.aborted();
                task.flush()?;
            }
        }
        self.patiently("giving partitions back", |log| log.release(partitions))
    }
}
