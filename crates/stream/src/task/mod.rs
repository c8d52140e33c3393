//! One partition of one service: records in, outputs and epochs out. No clock, no thread, no I/O but [`Db`].

mod epoch;
mod quarantine;
mod restore;
mod timers;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasherDefault,
    sync::Arc,
};

use hashbrown::HashMap;

pub use quarantine::{InHand, Watch};
use restore::stored_timers;

use crate::{
    Corrupt, Cx, Db, Marker, Millis, Output, Record, Reject, Routed, Stage, StoredRow, Tick, TopicPartition,
    changelog::Assembler,
    clock::Clock,
    mutant::{self, Mutant},
    rows::{Cause, Key16, MARKER, POSITION, Quarantine, ShortHasher, key16, state_range},
    snapshot::SnapshotRule,
};

/// Makes the dead letter of a refused record.
pub type DeadLetters = Arc<dyn Fn(&Record, &Reject) -> Output + Send + Sync>;

/// What distinguishes one task from another.
#[derive(Clone)]
pub struct TaskConfig {
    /// The input partition.
    pub input: TopicPartition,
    /// The partition of the changelog that its epochs go to.
    pub slot: i32,
    /// Records are grouped by arrival in windows of this many milliseconds and sorted by event time inside; 0 turns it off.
    pub window: i64,
    /// Whether the stage keeps state. One without has no rows and no buckets: its epochs in the changelog are markers alone.
    pub state: Statefulness,
    /// How many decoded keys stay in memory between epochs.
    pub cached_keys: usize,
    /// At most this many timers fire in one round.
    pub timers_per_round: usize,
    /// Makes dead letters.
    pub dead_letters: DeadLetters,
    /// When the changelog gets snapshots; `None` where the log is its own database and keeps no changelog.
    pub snapshots: Option<SnapshotRule>,
}

/// Whether a stage keeps state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statefulness {
    /// State by key, a partition clock.
    Keyed,
    /// Nothing but the place where reading goes on; the clock is given with each record.
    None,
}

/// Why a task cannot go on. Nothing of it is retried: the process or the partition stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskError {
    /// A stored row or changelog record cannot be read, or contradicts another.
    Corrupt(String),
    /// The database failed.
    Db(String),
}

impl std::fmt::Display for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt(message) => write!(f, "stored state cannot be used: {message}"),
            Self::Db(message) => write!(f, "database failed: {message}"),
        }
    }
}

impl std::error::Error for TaskError {}

impl From<Corrupt> for TaskError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt.0)
    }
}

/// At most this many timers of one key fire in one round; the rest wait for the next, or for the next bucket.
const TIMERS_PER_ROUND: u32 = 16;
/// A bucket is split beyond this many records.
const BUCKET_RECORDS: usize = 10_000;

/// One partition of one service.
pub struct Task<S: Stage> {
    stage: Arc<S>,
    config: TaskConfig,
    db: Box<dyn Db>,
    cache: HashMap<Key16, Entry<S::State>, BuildHasherDefault<ShortHasher>>,
    timers: BTreeSet<(Millis, Key16)>,
    /// Committed rows that the database does not hold yet.
    overlay: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    overlay_bytes: usize,
    /// Restored rows that the database does not hold yet.
    assembler: Assembler,
    /// Timers of the heads restored so far.
    restored_timers: Vec<(Millis, Key16)>,
    /// An epoch was restored, and neither flushed nor taken into the overlay.
    is_restoring: bool,
    /// The last committed marker.
    committed: Marker,
    /// The changelog position behind the committed marker.
    changelog_next: i64,
    /// Records of the bucket that is not closed yet.
    bucket: Vec<Pending<S::Input>>,
    open: Open,
    /// What must not reach the stage when it comes again.
    poison: BTreeMap<InHand, Cause>,
    watch: Option<Watch>,
    in_hand: Option<InHand>,
    /// Why keys were quarantined in committed epochs that nobody has asked about yet.
    quarantined: Vec<Cause>,
    last_read: Option<i64>,
    /// Where it begins is not committed yet.
    begins: bool,
    /// The next epoch begins a snapshot.
    begins_snapshot: bool,
    /// The changelog may be trimmed to here, once what is committed is flushed.
    trim: Option<i64>,
    /// The first epoch that a restore from nothing accepts; `None` for any.
    first: Option<u64>,
    /// Where the last committed epoch begins in the changelog.
    changelog_last: i64,
    doubt: Doubt,
}

/// Whether what the database holds is what the changelog says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// The last epoch is to be compared.
    Open,
    /// It is another one there.
    Justified,
}

/// What the open epoch has changed so far, beside cache entries.
struct Open {
    /// The next offset behind the last closed bucket.
    offset: i64,
    bucket: i64,
    clock: Clock,
    touched: bool,
    dirty: BTreeSet<Key16>,
    /// Timers added (true) and removed (false), in order.
    timers: Vec<(bool, (Millis, Key16))>,
    outputs: BTreeMap<String, u64>,
    records: u64,
    /// Why keys were quarantined.
    quarantined: Vec<Cause>,
    /// Timers are due that the next round fires.
    firing: bool,
}

impl Open {
    fn behind(marker: &Marker) -> Self {
        Self {
            offset: marker.offset,
            bucket: marker.bucket,
            clock: marker.clock.clone(),
            touched: false,
            dirty: BTreeSet::new(),
            timers: Vec::new(),
            outputs: BTreeMap::new(),
            records: 0,
            quarantined: Vec::new(),
            firing: marker.firing,
        }
    }
}

struct Entry<T> {
    state: T,
    key: Vec<u8>,
    now: Millis,
    deadline: Option<Millis>,
    used: bool,
    quarantine: Option<Quarantine>,
    /// Its rows are not written: it is quarantined, and nothing has changed them since they were.
    rows_stay: bool,
}

struct Pending<I> {
    offset: i64,
    timestamp: Millis,
    what: What<I>,
}

impl<I> Pending<I> {
    fn of(record: &Record, what: What<I>) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            what,
        }
    }
}

enum What<I> {
    Event {
        short: Key16,
        key: Vec<u8>,
        time: Millis,
        input: I,
    },
    Tick(Tick),
    Refused(Box<Output>),
    Nothing,
}

/// What a row of the overlay takes, in bytes.
fn row_size(key: &[u8], value: Option<&[u8]>) -> usize {
    key.len() + value.map_or(0, <[u8]>::len) + 64
}

impl<S: Stage> Task<S> {
    /// Opens a partition on what its database holds.
    ///
    /// # Errors
    /// [`TaskError`] if the database fails or holds rows that this binary does not know.
    pub fn open(stage: Arc<S>, config: TaskConfig, db: Box<dyn Db>) -> Result<Self, TaskError> {
        let mut committed = Marker::default();
        let (mut changelog_next, mut changelog_last) = (0, 0);
        let mut timers = BTreeSet::new();
        if config.state == Statefulness::Keyed {
            let found = db.multi_get(&[MARKER, POSITION]).map_err(TaskError::Db)?;
            if let Some(Some(marker)) = found.first() {
                committed = Marker::decode(marker)?;
            }
            if let Some(Some(position)) = found.get(1) {
                (changelog_next, changelog_last) = epoch::read_position(position)?;
            }
            timers = stored_timers(db.as_ref())?;
        }
        let open = Open::behind(&committed);
        Ok(Self {
            stage,
            config,
            db,
            cache: HashMap::default(),
            timers,
            overlay: BTreeMap::new(),
            overlay_bytes: 0,
            assembler: Assembler::default(),
            restored_timers: Vec::new(),
            is_restoring: false,
            committed,
            changelog_next,
            bucket: Vec::new(),
            open,
            poison: BTreeMap::new(),
            watch: None,
            in_hand: None,
            quarantined: Vec::new(),
            last_read: None,
            begins: false,
            begins_snapshot: false,
            trim: None,
            first: Some(1),
            changelog_last,
            doubt: Doubt::None,
        })
    }

    /// The last committed marker; its epoch is 0 where there is none.
    #[must_use]
    pub fn marker(&self) -> &Marker {
        &self.committed
    }

    /// The changelog position that belongs to the marker.
    #[must_use]
    pub fn changelog_next(&self) -> i64 {
        self.changelog_next
    }

    /// Where the epoch of the marker begins in the changelog; behind it, where it is not known because the epoch was read by another.
    #[must_use]
    pub fn changelog_last(&self) -> i64 {
        self.changelog_last
    }

    /// Sets where a partition without marker begins.
    pub fn begin_at(&mut self, offset: i64) {
        self.committed.offset = offset;
        self.open = Open::behind(&self.committed);
    }

    /// The same, and the first epoch says so, whether or not it brings anything: whoever opened the partition next would begin elsewhere.
    pub fn begin_anew(&mut self, offset: i64) {
        self.begin_at(offset);
        self.begins = !mutant::is_on(Mutant::BeginLeftOpen);
    }

    fn keep(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.overlay_bytes += row_size(&key, value.as_deref());
        self.overlay.insert(key, value);
    }

    /// Takes the next record of the partition. `now` is the clock of a stage without state; others ignore it.
    ///
    /// # Errors
    /// [`TaskError`] if state cannot be loaded.
    pub fn handle(&mut self, record: &Record, now: Millis, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        debug_assert!(!self.is_restoring, "a partition runs once it is restored");
        self.fire_all(outputs)?;
        let decoded = match self.hold(InHand::Record(record.offset)) {
            Some(cause) => Err(Self::reject(cause)),
            None => self.stage.decode(record),
        };
        let mut what = match decoded {
            Ok(Routed::Event { key, time, input }) => What::Event {
                short: key16(&key),
                key,
                time,
                input,
            },
            Ok(Routed::Tick(tick)) => What::Tick(tick),
            Ok(Routed::Ignore) => What::Nothing,
            Err(reject) => What::Refused(Box::new((self.config.dead_letters)(record, &reject))),
        };
        self.last_read = Some(record.offset);
        if self.config.state == Statefulness::None {
            self.pass(Pending::of(record, what), now, outputs);
            self.let_go();
            return Ok(());
        }
        if self.config.window > 0 {
            self.make_way(record, outputs)?;
            self.fire_all(outputs)?;
        } else {
            self.open.bucket += 1;
        }
        // Only the timers of a bucket before can have quarantined the key, and these have been fired.
        if let What::Event { short, key, .. } = &what
            && self.is_quarantined(short, key)?
        {
            what = What::Refused(Box::new(self.refuse_quarantined(record)));
        }
        self.bucket.push(Pending::of(record, what));
        if self.config.window == 0 {
            self.close_bucket(outputs)?;
        }
        self.let_go();
        Ok(())
    }

    /// Closes the bucket that a record does not belong to any more; timers may be left for further rounds then.
    ///
    /// # Errors
    /// [`TaskError`] if state cannot be loaded.
    pub fn make_way(&mut self, record: &Record, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        if self.config.state == Statefulness::None || self.config.window == 0 {
            return Ok(());
        }
        let bucket = record.timestamp.0.div_euclid(self.config.window).max(self.open.bucket);
        if bucket > self.open.bucket || self.bucket.len() >= BUCKET_RECORDS {
            self.close_bucket(outputs)?;
            self.open.bucket = bucket;
        }
        Ok(())
    }

    /// A record of a stage without state takes effect at once.
    fn pass(&mut self, pending: Pending<S::Input>, now: Millis, outputs: &mut Vec<Output>) {
        let first = outputs.len();
        match pending.what {
            What::Event { key, time, input, .. } => {
                let mut state = S::State::default();
                let mut cx = Cx {
                    now,
                    clock: now,
                    key: &key,
                    topic: &self.config.input.topic,
                    partition: self.config.input.partition,
                    offset: pending.offset,
                    timestamp: pending.timestamp,
                    revision: self.committed.revision,
                    late: time < now,
                    outputs,
                };
                self.stage.on_event(&mut state, input, &mut cx);
            }
            What::Refused(letter) => outputs.push(*letter),
            What::Tick(_) | What::Nothing => {}
        }
        self.open.touched = true;
        self.open.records += 1;
        self.open.offset = pending.offset + 1;
        self.count(&outputs[first..]);
    }

    fn count(&mut self, outputs: &[Output]) {
        for output in outputs {
            match self.open.outputs.get_mut(output.topic.as_ref()) {
                Some(count) => *count += 1,
                None => {
                    self.open.outputs.insert(output.topic.to_string(), 1);
                }
            }
        }
    }

    /// Processes what waits in the bucket: events by (time, offset), then ticks, then the timers that are due.
    fn close_bucket(&mut self, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        if self.bucket.is_empty() {
            return Ok(());
        }
        let mut bucket = std::mem::take(&mut self.bucket);
        bucket.sort_by_key(|pending| match &pending.what {
            What::Event { time, .. } => (0, time.0, pending.offset),
            What::Refused(_) | What::Nothing => (1, 0, pending.offset),
            What::Tick(_) => (2, 0, pending.offset),
        });
        let next = bucket
            .iter()
            .map(|pending| pending.offset + 1)
            .max()
            .unwrap_or(self.open.offset);
        self.open.touched = true;
        self.open.records += bucket.len() as u64;
        let first = outputs.len();
        for pending in bucket {
            // Whether it may reach the stage was asked when it was read.
            self.hold(InHand::Record(pending.offset));
            match pending.what {
                What::Event {
                    short,
                    key,
                    time,
                    input,
                } => {
                    let place = (pending.offset, pending.timestamp);
                    self.event((&short, &key), time, input, place, outputs)?;
                }
                What::Tick(tick) => self.open.clock.tick(tick),
                What::Refused(letter) => outputs.push(*letter),
                What::Nothing => {}
            }
        }
        self.open.offset = next;
        self.open.clock.turn();
        self.fire(outputs)?;
        self.count(&outputs[first..]);
        self.let_go();
        Ok(())
    }

    fn event(
        &mut self,
        (short, key): (&Key16, &[u8]),
        time: Millis,
        input: S::Input,
        (offset, timestamp): (i64, Millis),
        outputs: &mut Vec<Output>,
    ) -> Result<(), TaskError> {
        self.load(short, key)?;
        // Before the stage is called: should it panic halfway, the abort must drop what it did to the cached state.
        self.open.dirty.insert(*short);
        let clock = self.open.clock.now();
        self.open.clock.event(time);
        let entry = self.cache.get_mut(short).expect("loaded above");
        let behind = entry.now.max(clock);
        let now = time.max(behind);
        entry.now = now;
        let mut cx = Cx {
            now,
            clock,
            key,
            topic: &self.config.input.topic,
            partition: self.config.input.partition,
            offset,
            timestamp,
            revision: self.committed.revision,
            late: time < behind,
            outputs,
        };
        self.stage.on_event(&mut entry.state, input, &mut cx);
        self.file(short);
        Ok(())
    }

    fn load(&mut self, short: &Key16, key: &[u8]) -> Result<(), TaskError> {
        if self.load_stored(short)? {
            return Ok(());
        }
        let fresh = Entry {
            state: S::State::default(),
            key: key.to_vec(),
            now: Millis::MIN,
            deadline: None,
            used: true,
            quarantine: None,
            rows_stay: false,
        };
        self.cache.insert(*short, fresh);
        Ok(())
    }

    /// The committed rows of a key, by name: the overlay's before the database's, its deletions too.
    fn rows_of(&self, short: &Key16) -> Result<Vec<StoredRow>, TaskError> {
        let (from, to) = state_range(short);
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = self
            .db
            .scan(&from, &to, usize::MAX)
            .map_err(TaskError::Db)?
            .into_iter()
            .collect();
        if mutant::is_on(Mutant::LoadedPastOverlay) {
            let rows = rows.into_iter();
            return Ok(rows.map(|(key, value)| (key[18..].to_vec(), value)).collect());
        }
        for (key, value) in self.overlay.range(from..to) {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows
            .into_iter()
            .map(|(key, value)| (key[18..].to_vec(), value))
            .collect())
    }

    /// Closes the bucket that waits, for a log that will bring nothing more for now. Only a tick of a later bucket or the
    /// end of a replay may ask for it, or order would depend on when records happened to be read.
    ///
    /// # Errors
    /// [`TaskError`] if state cannot be loaded.
    pub fn close(&mut self, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        self.fire_all(outputs)?;
        self.close_bucket(outputs)?;
        self.fire_all(outputs)
    }

    /// How many decoded keys stay in memory between epochs from now on.
    pub fn cache_at_most(&mut self, keys: usize) {
        self.config.cached_keys = keys;
    }

    /// Whether the open epoch has anything to commit.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.open.touched || self.begins
    }

    /// The records that the open epoch has taken in.
    #[must_use]
    pub fn open_records(&self) -> u64 {
        self.open.records
    }

    /// The offset behind the last closed bucket, whether or not it is committed.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.open.offset
    }

    /// Sets the catalogue revision for what comes; between two epochs only.
    pub fn set_revision(&mut self, revision: i64) {
        self.committed.revision = revision;
    }

    /// Bytes of committed rows that only memory and changelog hold.
    #[must_use]
    pub fn overlay_bytes(&self) -> usize {
        self.overlay_bytes + self.assembler.len()
    }

    /// Timers that are filed.
    #[must_use]
    pub fn timers_pending(&self) -> usize {
        self.timers.len()
    }

    /// The partition clock of the open epoch.
    #[must_use]
    pub fn clock(&self) -> Millis {
        self.open.clock.now()
    }
}
