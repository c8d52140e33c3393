//! One partition of one service: records in, outputs and epochs out. No clock, no thread, no I/O but [`Db`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;

use crate::{
    Corrupt, Cx, Db, Marker, Millis, Output, PartitionEpoch, Record, Reject, Routed, Row, RowWriter, Rows, Stage,
    StoredRow, Tick, TopicPartition,
    bytes::{Reader, Writer},
    changelog::{Assembler, pack},
    clock::Clock,
    rows::{HEAD, Head, Key16, MARKER, POSITION, key16, read_timer, state_key, state_range, timer_key},
    snapshot::{ROWS, SnapshotRule},
};

/// Makes the dead letter of a refused record.
pub type DeadLetters = Arc<dyn Fn(&Record, &Reject) -> Output + Send + Sync>;

/// What distinguishes one task from another.
#[derive(Clone)]
pub struct TaskConfig {
    /// The input partition.
    pub input: TopicPartition,
    /// Records are grouped by arrival in windows of this many milliseconds and sorted by event time inside; 0 turns it off.
    pub window: i64,
    /// Whether the stage keeps state. One without has no marker, no changelog and no buckets.
    pub state: Statefulness,
    /// How many decoded keys stay in memory between epochs.
    pub cached_keys: usize,
    /// Makes dead letters.
    pub dead_letters: DeadLetters,
    /// When the changelog gets snapshots; `None` where the log is its own database and keeps no changelog.
    pub snapshots: Option<SnapshotRule>,
}

/// Whether a stage keeps state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statefulness {
    /// State by key, a changelog, a partition clock.
    Keyed,
    /// Nothing but the input offset; the clock is given with each record.
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

/// What was in hand when a stage panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InHand {
    /// The record at this offset.
    Record(i64),
    /// A timer.
    Timer,
}

/// At most this many timers of one key fire in one bucket; the rest wait for the next.
const TIMERS_PER_BUCKET: u32 = 16;
/// A bucket is split beyond this many records.
const BUCKET_RECORDS: usize = 10_000;
const POSITION_VERSION: u8 = 1;

/// One partition of one service.
pub struct Task<S: Stage> {
    stage: Arc<S>,
    config: TaskConfig,
    db: Box<dyn Db>,
    cache: HashMap<Key16, Entry<S::State>>,
    timers: BTreeSet<(Millis, Key16)>,
    /// Committed rows that the database does not hold yet.
    overlay: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    overlay_bytes: usize,
    assembler: Assembler,
    /// The last committed marker.
    committed: Marker,
    /// The changelog position behind the committed marker.
    changelog_next: i64,
    /// Records of the bucket that is not closed yet.
    bucket: Vec<Pending<S::Input>>,
    open: Open,
    skip: BTreeSet<i64>,
    in_hand: Option<InHand>,
    last_read: Option<i64>,
    /// The next epoch begins a snapshot.
    begins_snapshot: bool,
    /// The changelog may be trimmed to here, once what is committed is flushed.
    trim: Option<i64>,
    /// The first epoch that a restore from nothing accepts.
    first: u64,
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
        }
    }
}

struct Entry<T> {
    state: T,
    key: Vec<u8>,
    now: Millis,
    deadline: Option<Millis>,
    used: bool,
}

struct Pending<I> {
    offset: i64,
    timestamp: Millis,
    what: What<I>,
}

enum What<I> {
    Event { key: Vec<u8>, time: Millis, input: I },
    Tick(Tick),
    Refused(Box<Output>),
    Nothing,
}

impl<S: Stage> Task<S> {
    /// Opens a partition on what its database holds.
    ///
    /// # Errors
    /// [`TaskError`] if the database fails or holds rows that this binary does not know.
    pub fn open(stage: Arc<S>, config: TaskConfig, db: Box<dyn Db>) -> Result<Self, TaskError> {
        let mut committed = Marker::default();
        let mut changelog_next = 0;
        let mut timers = BTreeSet::new();
        if config.state == Statefulness::Keyed {
            let found = db.multi_get(&[MARKER, POSITION]).map_err(TaskError::Db)?;
            if let Some(Some(marker)) = found.first() {
                committed = Marker::decode(marker)?;
            }
            if let Some(Some(position)) = found.get(1) {
                let mut position = Reader::new("position", position, POSITION_VERSION)?;
                changelog_next = position.i64()?;
            }
            timers = stored_timers(db.as_ref())?;
        }
        let open = Open::behind(&committed);
        Ok(Self {
            stage,
            config,
            db,
            cache: HashMap::new(),
            timers,
            overlay: BTreeMap::new(),
            overlay_bytes: 0,
            assembler: Assembler::default(),
            committed,
            changelog_next,
            bucket: Vec::new(),
            open,
            skip: BTreeSet::new(),
            in_hand: None,
            last_read: None,
            begins_snapshot: false,
            trim: None,
            first: 1,
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

    /// Sets where a partition without marker begins.
    pub fn begin_at(&mut self, offset: i64) {
        self.committed.offset = offset;
        self.open = Open::behind(&self.committed);
    }

    /// Forgets everything and empties the database.
    ///
    /// # Errors
    /// [`TaskError::Db`] if it fails.
    pub fn reset(&mut self) -> Result<(), TaskError> {
        self.db.reset().map_err(TaskError::Db)?;
        self.cache.clear();
        self.timers.clear();
        self.overlay.clear();
        self.overlay_bytes = 0;
        self.assembler = Assembler::default();
        self.committed = Marker::default();
        self.changelog_next = 0;
        self.bucket.clear();
        self.open = Open::behind(&self.committed);
        (self.begins_snapshot, self.trim, self.first) = (false, None, 1);
        Ok(())
    }

    /// A restore from nothing begins at this place of the changelog, with this epoch.
    pub fn restore_from(&mut self, begin: i64, first: u64) {
        self.changelog_next = begin;
        self.first = first;
    }

    /// Takes the next committed changelog record while restoring; `next` is the position behind it.
    ///
    /// # Errors
    /// [`TaskError::Corrupt`] if it cannot be read, or an epoch is missing before it.
    pub fn restore(&mut self, value: &[u8], next: i64) -> Result<(), TaskError> {
        let Some(epoch) = self.assembler.push(value)? else {
            return Ok(());
        };
        let expected = match self.committed.epoch {
            0 => self.first,
            last => last + 1,
        };
        let found = epoch.marker.epoch;
        if found != expected {
            return Err(TaskError::Corrupt(format!(
                "gap in the changelog: found epoch={found} expected={expected}"
            )));
        }
        for (key, value) in epoch.rows {
            if let (Some(name), Some(value)) = (key.get(18..), &value)
                && name == HEAD
                && let Some(due) = Head::decode(value)?.deadline
            {
                let mut short = Key16::default();
                short.copy_from_slice(&key[2..18]);
                self.timers.insert((due, short));
                self.keep(timer_key(due, &short), Some(Vec::new()));
            }
            self.keep(key, value);
        }
        self.committed = epoch.marker;
        self.committed.snapshots.placed(self.changelog_next);
        self.keep(MARKER.to_vec(), Some(self.committed.encode()));
        self.changelog_next = next;
        self.open = Open::behind(&self.committed);
        Ok(())
    }

    /// Whether a snapshot should begin, and none is under way.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        let due = |rule| self.committed.snapshots.is_due(rule);
        !self.begins_snapshot && self.config.snapshots.is_some_and(due)
    }

    /// Whether a snapshot is under way.
    #[must_use]
    pub fn is_in_snapshot(&self) -> bool {
        self.begins_snapshot || self.committed.snapshots.open.is_some()
    }

    /// The next epoch that does anything begins a snapshot.
    pub fn begin_snapshot(&mut self) {
        self.begins_snapshot = true;
    }

    /// Where the changelog may be trimmed to, once: what is committed must be flushed before.
    pub fn take_trim(&mut self) -> Option<i64> {
        self.trim.take()
    }

    /// The next chunk of the snapshot under way: rows as they were committed when the epoch began, and where the one after begins.
    fn chunk(&self, from: &[u8], budget: usize) -> Result<(Vec<Row>, Vec<u8>), TaskError> {
        const PAGE: usize = 512;
        let end = ROWS.1.to_vec();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut from = from.to_vec();
        while from < end && bytes < budget {
            let page = self.db.scan(&from, &end, PAGE).map_err(TaskError::Db)?;
            // Behind a full page the database may hold more.
            let until = match page.last() {
                Some((last, _)) if page.len() == PAGE => [last.as_slice(), &[0]].concat(),
                _ => end.clone(),
            };
            let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
                page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let newer = self.overlay.range(from.clone()..until.clone());
            merged.extend(newer.map(|(key, value)| (key.clone(), value.clone())));
            from = until;
            for (key, value) in merged {
                let Some(value) = value else { continue };
                if bytes >= budget {
                    return Ok((rows, key));
                }
                bytes += key.len() + value.len();
                rows.push((key, Some(value)));
            }
        }
        Ok((rows, from))
    }

    /// Says that everything up to `next` of the changelog has been read, control records included.
    pub fn restored_to(&mut self, next: i64) {
        self.changelog_next = self.changelog_next.max(next);
    }

    fn keep(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.overlay_bytes += key.len() + value.as_ref().map_or(0, Vec::len) + 64;
        self.overlay.insert(key, value);
    }

    /// Takes the next record of the partition. `now` is the clock of a stage without state; others ignore it.
    ///
    /// # Errors
    /// [`TaskError`] if state cannot be loaded.
    pub fn handle(&mut self, record: &Record, now: Millis, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        self.in_hand = Some(InHand::Record(record.offset));
        let decoded = if self.skip.contains(&record.offset) {
            Err(Reject {
                stage: "process",
                reason: "panicked",
                message: "the stage failed on this record".to_owned(),
                field: None,
                schema: None,
            })
        } else {
            self.stage.decode(record)
        };
        let what = match decoded {
            Ok(Routed::Event { key, time, input }) => What::Event { key, time, input },
            Ok(Routed::Tick(tick)) => What::Tick(tick),
            Ok(Routed::Ignore) => What::Nothing,
            Err(reject) => What::Refused(Box::new((self.config.dead_letters)(record, &reject))),
        };
        let pending = Pending {
            offset: record.offset,
            timestamp: record.timestamp,
            what,
        };
        self.last_read = Some(record.offset);
        if self.config.state == Statefulness::None {
            self.pass(pending, now, outputs);
            self.in_hand = None;
            return Ok(());
        }
        let bucket = if self.config.window > 0 {
            record.timestamp.0.div_euclid(self.config.window).max(self.open.bucket)
        } else {
            self.open.bucket + 1
        };
        if bucket > self.open.bucket || self.bucket.len() >= BUCKET_RECORDS {
            self.close_bucket(outputs)?;
            self.open.bucket = bucket;
        }
        self.bucket.push(pending);
        if self.config.window == 0 {
            self.close_bucket(outputs)?;
        }
        self.in_hand = None;
        Ok(())
    }

    /// A record of a stage without state takes effect at once.
    fn pass(&mut self, pending: Pending<S::Input>, now: Millis, outputs: &mut Vec<Output>) {
        let first = outputs.len();
        match pending.what {
            What::Event { key, time, input } => {
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
            self.in_hand = Some(InHand::Record(pending.offset));
            match pending.what {
                What::Event { key, time, input } => {
                    self.event(&key, time, input, (pending.offset, pending.timestamp), outputs)?;
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
        self.in_hand = None;
        Ok(())
    }

    fn event(
        &mut self,
        key: &[u8],
        time: Millis,
        input: S::Input,
        (offset, timestamp): (i64, Millis),
        outputs: &mut Vec<Output>,
    ) -> Result<(), TaskError> {
        let short = key16(key);
        self.load(&short, key)?;
        let clock = self.open.clock.now();
        self.open.clock.event(time);
        let entry = self.cache.get_mut(&short).expect("loaded above");
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
        self.open.dirty.insert(short);
        self.file(&short);
        Ok(())
    }

    /// Files the key's deadline, if it moved earlier or is new. One that moved later is filed anew when its old entry comes up.
    fn file(&mut self, short: &Key16) {
        let Some(entry) = self.cache.get_mut(short) else { return };
        let deadline = self.stage.deadline(&entry.state);
        let earlier = match (entry.deadline, deadline) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(due)) => due < before,
        };
        entry.deadline = deadline;
        if let (true, Some(due)) = (earlier, deadline) {
            self.add_timer((due, *short));
        }
    }

    fn add_timer(&mut self, timer: (Millis, Key16)) {
        if self.timers.insert(timer) {
            self.open.timers.push((true, timer));
        }
    }

    /// Fires timers due by the clock, in (due, key) order.
    fn fire(&mut self, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        let clock = self.open.clock.now();
        let mut fired: HashMap<Key16, u32> = HashMap::new();
        let mut resting = Vec::new();
        while let Some(&(due, short)) = self.timers.first() {
            if due > clock {
                break;
            }
            self.timers.pop_first();
            self.open.timers.push((false, (due, short)));
            self.open.touched = true;
            if !self.load_stored(&short)? {
                continue;
            }
            let entry = self.cache.get_mut(&short).expect("loaded above");
            let Some(deadline) = self.stage.deadline(&entry.state) else {
                continue;
            };
            if deadline > due {
                self.add_timer((deadline, short));
                continue;
            }
            let count = fired.entry(short).or_default();
            if *count >= TIMERS_PER_BUCKET {
                resting.push((deadline, short));
                continue;
            }
            *count += 1;
            let now = deadline.max(entry.now);
            entry.now = now;
            self.in_hand = Some(InHand::Timer);
            let mut cx = Cx {
                now,
                clock,
                key: &entry.key,
                topic: &self.config.input.topic,
                partition: self.config.input.partition,
                offset: self.open.offset - 1,
                timestamp: now,
                revision: self.committed.revision,
                late: false,
                outputs,
            };
            self.stage.on_time(&mut entry.state, &mut cx);
            self.open.dirty.insert(short);
            let next = self.stage.deadline(&entry.state);
            entry.deadline = next;
            if let Some(next) = next {
                self.add_timer((next, short));
            }
        }
        for timer in resting {
            self.add_timer(timer);
        }
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
        };
        self.cache.insert(*short, fresh);
        Ok(())
    }

    /// Brings a key into the cache; false if it has no rows.
    fn load_stored(&mut self, short: &Key16) -> Result<bool, TaskError> {
        if let Some(entry) = self.cache.get_mut(short) {
            entry.used = true;
            return Ok(true);
        }
        let stored = self.rows_of(short)?;
        let Some(head) = stored.iter().find(|(name, _)| name == HEAD) else {
            return Ok(false);
        };
        let head = Head::decode(&head.1)?;
        let rows: Vec<(&[u8], &[u8])> = stored
            .iter()
            .map(|(name, value)| {
                (
                    name.as_slice(),
                    if name == HEAD { head.payload } else { value.as_slice() },
                )
            })
            .collect();
        let state = self.stage.load(Rows { rows: &rows })?;
        let deadline = self.stage.deadline(&state);
        let entry = Entry {
            state,
            key: head.key.to_vec(),
            now: head.now,
            deadline,
            used: true,
        };
        self.cache.insert(*short, entry);
        Ok(true)
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
        self.close_bucket(outputs)
    }

    /// Whether the open epoch has anything to commit.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.open.touched
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

    /// What the open epoch did, for the log to commit; `None` if it did nothing.
    ///
    /// # Errors
    /// [`TaskError::Db`] if the rows of a snapshot cannot be read.
    pub fn batch(&mut self) -> Result<Option<PartitionEpoch>, TaskError> {
        if !self.open.touched {
            return Ok(None);
        }
        if self.config.state == Statefulness::None {
            return Ok(Some(PartitionEpoch {
                input: self.config.input.clone(),
                offset: self.open.offset,
                metadata: String::new(),
                changelog: Vec::new(),
                rows: Vec::new(),
            }));
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut changed = Vec::new();
        for short in &self.open.dirty {
            let Some(entry) = self.cache.get_mut(short) else {
                continue;
            };
            changed.clear();
            self.stage.save(&mut entry.state, &mut RowWriter { rows: &mut changed });
            changed.sort_by(|one: &Row, other| one.0.cmp(&other.0));
            let payload = changed
                .iter()
                .find(|(name, _)| name == HEAD)
                .map(|(_, payload)| payload);
            let head = match payload {
                Some(None) => None,
                other => {
                    let payload = other.and_then(Option::as_deref).unwrap_or_default();
                    Some(
                        Head {
                            deadline: entry.deadline,
                            now: entry.now,
                            key: &entry.key,
                            payload,
                        }
                        .encode(),
                    )
                }
            };
            rows.push((state_key(short, HEAD), head));
            let others = changed.drain(..).filter(|(name, _)| name != HEAD);
            rows.extend(others.map(|(name, value)| (state_key(short, &name), value)));
        }
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        let mut marker = Marker {
            offset: self.open.offset,
            epoch: self.committed.epoch + 1,
            revision: self.committed.revision,
            bucket: self.open.bucket,
            clock: self.open.clock.clone(),
            outputs: self
                .open
                .outputs
                .iter()
                .map(|(topic, count)| (topic.clone(), *count))
                .collect(),
            snapshots: self.committed.snapshots.clone(),
        };
        let changelog = match self.config.snapshots {
            Some(rule) => self.packed(&mut marker, &rows, rule)?,
            None => Vec::new(),
        };
        let mut last: BTreeMap<(Millis, Key16), bool> = BTreeMap::new();
        for (added, timer) in &self.open.timers {
            last.insert(*timer, *added);
        }
        rows.extend(
            last.iter()
                .map(|((due, short), added)| (timer_key(*due, short), added.then(Vec::new))),
        );
        rows.push((MARKER.to_vec(), Some(marker.encode())));
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Some(PartitionEpoch {
            input: self.config.input.clone(),
            offset: marker.offset,
            metadata: marker.metadata(),
            changelog,
            rows,
        }))
    }

    /// The epoch's changelog parts, with the next chunk of a snapshot under way.
    fn packed(&self, marker: &mut Marker, rows: &[Row], rule: SnapshotRule) -> Result<Vec<Vec<u8>>, TaskError> {
        let size = |rows: &[Row]| -> usize {
            let of = |(key, value): &Row| key.len() + value.as_ref().map_or(0, Vec::len);
            rows.iter().map(of).sum()
        };
        if self.begins_snapshot {
            marker.snapshots.open(marker.epoch);
        }
        let own = size(rows);
        let (mut chunk, mut next) = (Vec::new(), None);
        if let Some(open) = &marker.snapshots.open {
            // As large as the epoch's own rows, or a service that lags would outrun it.
            let (found, then) = self.chunk(&open.next, own.max(rule.chunk))?;
            (chunk, next) = (found, Some(then));
        }
        marker.snapshots.wrote(own as u64, size(&chunk) as u64, next);
        Ok(pack(marker, &chunk.iter().chain(rows).collect::<Vec<_>>()))
    }

    /// The epoch is known to be committed. `changelog_next` is the position behind its last part; `None` where the log is its own
    /// database and has written the rows.
    ///
    /// # Errors
    /// [`TaskError::Corrupt`] if the epoch is not one that [`Task::batch`] made.
    pub fn committed(&mut self, epoch: PartitionEpoch, changelog_next: Option<i64>) -> Result<(), TaskError> {
        if self.config.state == Statefulness::None {
            self.committed.offset = epoch.offset;
        } else {
            let marker = epoch
                .rows
                .iter()
                .find(|(key, _)| key == MARKER)
                .and_then(|(_, value)| value.as_ref());
            let marker = marker.ok_or_else(|| TaskError::Corrupt("epoch has no marker".to_owned()))?;
            let before = self.committed.snapshots.begin;
            self.committed = Marker::decode(marker)?;
            self.begins_snapshot = false;
            if let Some(next) = changelog_next {
                // Behind the last epoch and before this one: exactly where a reader must begin to read this one first.
                self.committed.snapshots.placed(self.changelog_next);
                self.changelog_next = next;
                for (key, value) in epoch.rows {
                    self.keep(key, value);
                }
                self.keep(MARKER.to_vec(), Some(self.committed.encode()));
                let begin = self.committed.snapshots.begin;
                if begin > before {
                    self.trim = Some(begin);
                }
            }
        }
        let bucket = self.open.bucket;
        self.open = Open::behind(&self.committed);
        self.open.bucket = bucket;
        self.evict();
        Ok(())
    }

    /// Second-chance eviction (CLOCK); which keys stay changes no output.
    fn evict(&mut self) {
        if self.cache.len() > self.config.cached_keys {
            self.cache.retain(|_, entry| std::mem::take(&mut entry.used));
        }
        if self.cache.len() > self.config.cached_keys {
            self.cache.clear();
        }
    }

    /// The open epoch is dropped, with what waits in the bucket; returns the offset to read again from.
    pub fn aborted(&mut self) -> i64 {
        for short in std::mem::take(&mut self.open.dirty) {
            self.cache.remove(&short);
        }
        for (added, timer) in std::mem::take(&mut self.open.timers).into_iter().rev() {
            if added {
                self.timers.remove(&timer);
            } else {
                self.timers.insert(timer);
            }
        }
        self.bucket.clear();
        self.in_hand = None;
        self.last_read = None;
        self.open = Open::behind(&self.committed);
        self.committed.offset
    }

    /// What was in hand, for whoever caught a panic.
    #[must_use]
    pub fn in_hand(&self) -> Option<InHand> {
        self.in_hand
    }

    /// The record at this offset made the stage panic: it becomes a dead letter when it is read again.
    pub fn skip(&mut self, offset: i64) {
        self.skip.insert(offset);
    }

    /// Bytes of committed rows that only memory and changelog hold.
    #[must_use]
    pub fn overlay_bytes(&self) -> usize {
        self.overlay_bytes
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

    /// Writes committed rows, timers, marker and position to the database as one change. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`TaskError::Db`] if the disk fails; nothing is lost, the changelog has the rows.
    pub fn flush(&mut self) -> Result<(), TaskError> {
        if self.overlay.is_empty() {
            return Ok(());
        }
        let position = position_row(self.changelog_next);
        self.overlay.insert(POSITION.to_vec(), Some(position));
        let rows: Vec<Row> = std::mem::take(&mut self.overlay).into_iter().collect();
        self.overlay_bytes = 0;
        self.db.ingest(&rows).map_err(TaskError::Db)
    }
}

fn position_row(changelog_next: i64) -> Vec<u8> {
    let mut position = Writer::new(POSITION_VERSION);
    position.i64(changelog_next);
    position.done()
}

fn stored_timers(db: &dyn Db) -> Result<BTreeSet<(Millis, Key16)>, TaskError> {
    let mut timers = BTreeSet::new();
    let mut from = b"ti".to_vec();
    loop {
        let page = db.scan(&from, b"tj", 10_000).map_err(TaskError::Db)?;
        for (key, _) in &page {
            timers.insert(read_timer(key).ok_or_else(|| TaskError::Corrupt("timer row of unknown form".to_owned()))?);
        }
        match page.last() {
            Some((last, _)) => {
                from.clone_from(last);
                from.push(0);
            }
            None => return Ok(timers),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bytes_of_a_position_never_change() {
        assert_eq!(super::position_row(258), [1, 0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
