//! A log and a database in memory, with a seam at every call where the process can die.
//!
//! A death makes every later call fail until [`Fuse::mend`]; what was committed or ingested before stays, as on a real broker
//! and a real disk. A commit can die before it takes effect or behind it: the two that a client cannot tell apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stream::{
    Batch, Bounds, Change, ChangelogBatch, ChangelogReader, Commit, CommitReport, Committed, Db, KnownEnds, Log,
    LogError, Membership, Millis, Output, Record, RowRef, StoredRow, TopicPartition, partition_of,
};

/// Decides at which step the process dies.
#[derive(Debug, Clone, Default)]
pub struct Fuse {
    state: Arc<Mutex<FuseState>>,
}

#[derive(Debug, Default)]
struct FuseState {
    steps: u64,
    dies_at: Option<u64>,
    dead: bool,
}

impl Fuse {
    /// Steps taken since the last [`Fuse::mend`].
    #[must_use]
    pub fn steps(&self) -> u64 {
        lock(&self.state).steps
    }

    /// Makes everything work again, and dies at that step, counted from 1; never if `None`.
    pub fn mend(&self, dies_at: Option<u64>) {
        *lock(&self.state) = FuseState {
            steps: 0,
            dies_at,
            dead: false,
        };
    }

    /// One step. False from the step at which the process dies on.
    fn step(&self) -> bool {
        let mut state = lock(&self.state);
        state.steps += 1;
        if Some(state.steps) == state.dies_at {
            state.dead = true;
        }
        !state.dead
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const DEAD: &str = "the process died here";

/// Topics, groups and committed offsets, shared by all logs on it.
#[derive(Debug, Clone, Default)]
pub struct Broker {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Partitions of a topic; a `None` is a control record, which takes an offset and is never read.
    topics: BTreeMap<Arc<str>, Vec<Vec<Option<Record>>>>,
    /// The first offset still there, where something was trimmed.
    starts: BTreeMap<TopicPartition, i64>,
    offsets: BTreeMap<(String, TopicPartition), Committed>,
    groups: BTreeMap<String, Group>,
    clock: Millis,
    /// So many calls of logs are answered still.
    answers: Option<u64>,
}

#[derive(Debug, Default)]
struct Group {
    generation: i32,
    next_member: u64,
    members: BTreeSet<u64>,
    owners: BTreeMap<TopicPartition, u64>,
}

impl Broker {
    /// Creates a topic; one that exists is left as it is.
    pub fn create(&self, topic: &str, partitions: usize) {
        lock(&self.inner)
            .topics
            .entry(Arc::from(topic))
            .or_insert_with(|| vec![Vec::new(); partitions]);
    }

    /// The timestamp of records that bring none.
    pub fn set_clock(&self, clock: Millis) {
        lock(&self.inner).clock = clock;
    }

    /// So many calls of logs are answered still, then none, as when all brokers are gone.
    pub fn fall_silent_after(&self, calls: u64) {
        lock(&self.inner).answers = Some(calls);
    }

    /// Has a group tell that from now on, as a coordinator does that takes its partition for what it was.
    pub fn tell(&self, group: &str, of: &TopicPartition, committed: Committed) {
        let mut inner = lock(&self.inner);
        inner.offsets.insert((group.to_owned(), of.clone()), committed);
    }

    /// Writes records outside any transaction.
    ///
    /// # Panics
    /// If a topic does not exist.
    pub fn publish(&self, outputs: impl IntoIterator<Item = Output>) {
        let mut inner = lock(&self.inner);
        for output in outputs {
            inner.append(output).expect("topic was created before");
        }
    }

    /// All records of a topic in offset order, partition by partition.
    #[must_use]
    pub fn read(&self, topic: &str) -> Vec<Record> {
        let inner = lock(&self.inner);
        let partitions = inner.topics.get(topic).map(Vec::as_slice).unwrap_or_default();
        partitions.iter().flatten().flatten().cloned().collect()
    }

    /// What a group has committed.
    #[must_use]
    pub fn committed(&self, group: &str, of: &TopicPartition) -> Option<Committed> {
        lock(&self.inner).offsets.get(&(group.to_owned(), of.clone())).cloned()
    }
}

impl Inner {
    fn append(&mut self, output: Output) -> Result<TopicPartition, String> {
        let clock = self.clock;
        let (topic, partitions) = self
            .topics
            .get_key_value(&output.topic)
            .ok_or_else(|| format!("unknown topic: {}", output.topic))?;
        let count = i32::try_from(partitions.len()).expect("few partitions");
        let partition = match (output.partition, &output.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, count),
            (None, None) => 0,
        };
        let topic = Arc::clone(topic);
        let partitions = self.topics.get_mut(&topic).expect("found above");
        let lane = partitions
            .get_mut(usize::try_from(partition).unwrap_or(usize::MAX))
            .ok_or_else(|| format!("unknown partition: {topic}/{partition}"))?;
        lane.push(Some(Record {
            topic: Arc::clone(&topic),
            partition,
            offset: i64::try_from(lane.len()).expect("small"),
            timestamp: output.timestamp.unwrap_or(clock),
            key: output.key,
            value: output.value,
            headers: output.headers,
        }));
        Ok(TopicPartition { topic, partition })
    }

    fn lane(&self, of: &TopicPartition) -> Result<&Vec<Option<Record>>, LogError> {
        let index = usize::try_from(of.partition).unwrap_or(usize::MAX);
        let lane = self.topics.get(&of.topic).and_then(|partitions| partitions.get(index));
        lane.ok_or_else(|| LogError::Fatal(format!("unknown partition: {}/{}", of.topic, of.partition)))
    }
}

/// One member of a group on a [`Broker`].
pub struct MemoryLog {
    broker: Broker,
    fuse: Fuse,
    group: String,
    member: u64,
    inputs: Vec<String>,
    changelog: Option<Arc<str>>,
    positions: BTreeMap<TopicPartition, Option<usize>>,
    revoking: BTreeSet<TopicPartition>,
    told: Vec<KnownEnds>,
    open: Option<Vec<Output>>,
}

impl MemoryLog {
    /// Joins a group.
    #[must_use]
    pub fn join(broker: &Broker, fuse: &Fuse, group: &str, inputs: &[&str], changelog: Option<&str>) -> Self {
        let mut inner = lock(&broker.inner);
        let state = inner.groups.entry(group.to_owned()).or_default();
        state.generation += 1;
        state.next_member += 1;
        let member = state.next_member;
        state.members.insert(member);
        drop(inner);
        Self {
            broker: broker.clone(),
            fuse: fuse.clone(),
            group: group.to_owned(),
            member,
            inputs: inputs.iter().map(|topic| (*topic).to_owned()).collect(),
            changelog: changelog.map(Arc::from),
            positions: BTreeMap::new(),
            revoking: BTreeSet::new(),
            told: Vec::new(),
            open: None,
        }
    }

    fn step(&self) -> Result<(), LogError> {
        if !self.fuse.step() {
            return Err(LogError::Fatal(DEAD.to_owned()));
        }
        match &mut lock(&self.broker.inner).answers {
            Some(0) => return Err(LogError::Retriable("no broker answers".to_owned())),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn changes(&mut self) -> Vec<Change> {
        let mut inner = lock(&self.broker.inner);
        let all: Vec<TopicPartition> = self
            .inputs
            .iter()
            .flat_map(|topic| {
                let topic: Arc<str> = Arc::from(topic.as_str());
                let count = inner.topics.get(&topic).map_or(0, Vec::len);
                (0..count).map(move |partition| TopicPartition {
                    topic: Arc::clone(&topic),
                    partition: i32::try_from(partition).expect("few partitions"),
                })
            })
            .collect();
        let Some(group) = inner.groups.get_mut(&self.group) else {
            return Vec::new();
        };
        let members: Vec<u64> = group.members.iter().copied().collect();
        let mut assigned = Vec::new();
        let mut revoked = Vec::new();
        for (index, partition) in all.into_iter().enumerate() {
            let wanted = members[index % members.len()] == self.member;
            let held = self.positions.contains_key(&partition);
            if wanted && !held && !group.owners.contains_key(&partition) {
                group.owners.insert(partition.clone(), self.member);
                self.positions.insert(partition.clone(), None);
                assigned.push(partition);
            } else if !wanted && held && self.revoking.insert(partition.clone()) {
                revoked.push(partition);
            }
        }
        let mut changes = Vec::new();
        if !revoked.is_empty() {
            changes.push(Change::Revoked(revoked));
        }
        if !assigned.is_empty() {
            changes.push(Change::Assigned(assigned));
        }
        changes
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        let mut inner = lock(&self.broker.inner);
        if let Some(group) = inner.groups.get_mut(&self.group) {
            group.generation += 1;
            group.members.remove(&self.member);
            group.owners.retain(|_, owner| *owner != self.member);
        }
    }
}

impl Log for MemoryLog {
    fn poll(&mut self, _wait: Duration, max: usize, batch: &mut Batch) -> Result<(), LogError> {
        self.step()?;
        batch.changes.extend(self.changes());
        batch.told.append(&mut self.told);
        let inner = lock(&self.broker.inner);
        let mut left = max;
        for (partition, position) in &mut self.positions {
            let Some(position) = position else { continue };
            if self.revoking.contains(partition) {
                continue;
            }
            let lane = inner.lane(partition)?;
            while left > 0 && *position < lane.len() {
                if let Some(record) = &lane[*position] {
                    batch.records.push(record.clone());
                    left -= 1;
                }
                *position += 1;
            }
            if *position >= lane.len() {
                batch
                    .ends
                    .push((partition.clone(), i64::try_from(*position).expect("small")));
            }
        }
        Ok(())
    }

    fn committed(&mut self, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError> {
        self.step()?;
        Ok(of
            .iter()
            .map(|partition| self.broker.committed(&self.group, partition))
            .collect())
    }

    fn bounds(&mut self, of: &TopicPartition) -> Result<Bounds, LogError> {
        self.step()?;
        let inner = lock(&self.broker.inner);
        let end = inner.lane(of)?.len();
        Ok(Bounds {
            start: inner.starts.get(of).copied().unwrap_or(0),
            end: i64::try_from(end).expect("small"),
        })
    }

    fn ask_ends(&mut self, now: Millis) -> Result<(), LogError> {
        self.step()?;
        let inner = lock(&self.broker.inner);
        let flowing = self.positions.iter().filter(|(_, position)| position.is_some());
        let mut ends = Vec::new();
        for (of, _) in flowing {
            ends.push((of.clone(), i64::try_from(inner.lane(of)?.len()).expect("small")));
        }
        self.told.push(KnownEnds { asked: now, ends });
        Ok(())
    }

    fn resume(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        self.step()?;
        let offset = usize::try_from(offset).map_err(|_| LogError::OutOfRange(offset.to_string()))?;
        self.positions.insert(partition.clone(), Some(offset));
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        self.step()?;
        self.positions.insert(partition.clone(), None);
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.step()?;
        let mut inner = lock(&self.broker.inner);
        for partition in partitions {
            self.positions.remove(partition);
            self.revoking.remove(partition);
            if let Some(group) = inner.groups.get_mut(&self.group) {
                group.owners.remove(partition);
            }
        }
        Ok(())
    }

    fn membership(&mut self) -> Result<Membership, LogError> {
        self.step()?;
        let inner = lock(&self.broker.inner);
        let group = inner
            .groups
            .get(&self.group)
            .ok_or_else(|| LogError::Fatal("no such group".to_owned()))?;
        let index = group
            .members
            .iter()
            .position(|member| *member == self.member)
            .unwrap_or(0);
        Ok(Membership {
            generation: group.generation,
            assignment: Some(0),
            index: i32::try_from(index).expect("small"),
            members: i32::try_from(group.members.len()).expect("small"),
        })
    }

    fn generation(&mut self) -> Result<i32, LogError> {
        let inner = lock(&self.broker.inner);
        Ok(inner.groups.get(&self.group).map_or(-1, |group| group.generation))
    }

    fn begin(&mut self) -> Result<(), LogError> {
        self.step()?;
        self.open = Some(Vec::new());
        Ok(())
    }

    fn send(&mut self, output: Output) -> Result<(), LogError> {
        self.step()?;
        match &mut self.open {
            Some(open) => open.push(output),
            None => return Err(LogError::Fatal("send outside a transaction".to_owned())),
        }
        Ok(())
    }

    fn commit(&mut self, epoch: &Commit) -> Result<CommitReport, LogError> {
        self.step()?;
        let outputs = self
            .open
            .take()
            .ok_or_else(|| LogError::Fatal("commit outside a transaction".to_owned()))?;
        let mut touched = BTreeSet::new();
        let mut report = CommitReport::default();
        {
            let mut inner = lock(&self.broker.inner);
            for part in epoch.partitions.iter().filter(|part| !part.changelog.is_empty()) {
                let Some(topic) = &self.changelog else { continue };
                let at = TopicPartition {
                    topic: Arc::clone(topic),
                    partition: part.slot,
                };
                let first = i64::try_from(inner.lane(&at)?.len()).expect("small");
                let parts = i64::try_from(part.changelog.len()).expect("small");
                epoch.is_alone(part, first, first + parts - 1)?;
            }
            for output in outputs {
                touched.insert(inner.append(output).map_err(LogError::Fatal)?);
            }
            for part in &epoch.partitions {
                let mut next = None;
                for value in &part.changelog {
                    let Some(topic) = &self.changelog else { continue };
                    let output = Output {
                        topic: Arc::clone(topic),
                        partition: Some(part.slot),
                        timestamp: None,
                        key: None,
                        value: Some(value.clone()),
                        headers: Vec::new(),
                    };
                    let at = inner.append(output).map_err(LogError::Fatal)?;
                    next = Some(i64::try_from(inner.lane(&at)?.len()).expect("small"));
                    touched.insert(at);
                }
                report.changelog_next.push(next);
                let committed = Committed {
                    offset: part.offset,
                    metadata: part.metadata.clone(),
                };
                inner
                    .offsets
                    .insert((self.group.clone(), part.input.clone()), committed);
            }
            for partition in &touched {
                let index = usize::try_from(partition.partition).expect("appended above");
                if let Some(lanes) = inner.topics.get_mut(&partition.topic) {
                    lanes[index].push(None);
                }
            }
        }
        self.step()?;
        Ok(report)
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.step()?;
        self.open = None;
        Ok(())
    }

    fn recycle(&mut self) -> Result<(), LogError> {
        self.step()?;
        self.open = None;
        Ok(())
    }

    fn changelog(&mut self) -> Result<Option<Box<dyn ChangelogReader>>, LogError> {
        self.step()?;
        let Some(topic) = self.changelog.clone() else {
            return Ok(None);
        };
        Ok(Some(Box::new(MemoryChangelog {
            broker: self.broker.clone(),
            fuse: self.fuse.clone(),
            topic,
            positions: BTreeMap::new(),
        })))
    }

    fn trim(&mut self, partition: i32, before: i64) -> Result<(), LogError> {
        self.step()?;
        let Some(topic) = self.changelog.clone() else {
            return Ok(());
        };
        let of = TopicPartition { topic, partition };
        let mut inner = lock(&self.broker.inner);
        let end = i64::try_from(inner.lane(&of)?.len()).expect("small");
        if before <= 0 || before > end {
            return Err(LogError::Retriable(format!(
                "offset to trim to is not in the log: {before}"
            )));
        }
        let start = inner.starts.entry(of).or_default();
        *start = before.max(*start);
        drop(inner);
        self.step()
    }

    fn leave(&mut self) -> Result<(), LogError> {
        self.step()
    }
}

struct MemoryChangelog {
    broker: Broker,
    fuse: Fuse,
    topic: Arc<str>,
    positions: BTreeMap<i32, i64>,
}

impl ChangelogReader for MemoryChangelog {
    fn add(&mut self, partition: i32, from: i64) -> Result<(), LogError> {
        self.positions.insert(partition, from);
        Ok(())
    }

    fn remove(&mut self, partition: i32) -> Result<(), LogError> {
        self.positions.remove(&partition);
        Ok(())
    }

    fn read(&mut self, _wait: Duration, into: &mut ChangelogBatch) -> Result<(), LogError> {
        if !self.fuse.step() {
            return Err(LogError::Fatal(DEAD.to_owned()));
        }
        let inner = lock(&self.broker.inner);
        for (partition, position) in &mut self.positions {
            let of = TopicPartition {
                topic: Arc::clone(&self.topic),
                partition: *partition,
            };
            if inner.starts.get(&of).is_some_and(|start| *position < *start) {
                into.out_of_range.push(*partition);
                continue;
            }
            let from = usize::try_from(*position).unwrap_or(usize::MAX);
            // Small pages, so that a death can fall between two.
            for slot in inner.lane(&of)?.iter().skip(from).take(3) {
                if let Some(record) = slot {
                    let value = record.value.clone().unwrap_or_default();
                    into.records.push((*partition, record.offset, value));
                }
                *position += 1;
            }
            into.positions.push((*partition, *position));
        }
        Ok(())
    }
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A disk that survives deaths, and can be lost.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    databases: Arc<Mutex<BTreeMap<TopicPartition, Rows>>>,
    resets: Arc<AtomicU64>,
}

impl Disk {
    /// The database of a partition.
    #[must_use]
    pub fn open(&self, of: &TopicPartition, fuse: &Fuse) -> MemoryDb {
        MemoryDb {
            disk: self.clone(),
            of: of.clone(),
            fuse: fuse.clone(),
        }
    }

    /// How often a database was emptied.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Deletes everything.
    pub fn lose(&self) {
        lock(&self.databases).clear();
    }
}

/// The database of one partition on a [`Disk`].
pub struct MemoryDb {
    disk: Disk,
    of: TopicPartition,
    fuse: Fuse,
}

impl MemoryDb {
    fn step(&self) -> Result<(), String> {
        if self.fuse.step() { Ok(()) } else { Err(DEAD.to_owned()) }
    }
}

impl Db for MemoryDb {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        self.step()?;
        let databases = lock(&self.disk.databases);
        let rows = databases.get(&self.of);
        Ok(keys
            .iter()
            .map(|key| rows.and_then(|rows| rows.get(*key)).cloned())
            .collect())
    }

    fn scan(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<StoredRow>, String> {
        self.step()?;
        let databases = lock(&self.disk.databases);
        let Some(rows) = databases.get(&self.of) else {
            return Ok(Vec::new());
        };
        let range = rows.range(from.to_vec()..to.to_vec()).take(max);
        Ok(range.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        self.step()?;
        {
            let mut databases = lock(&self.disk.databases);
            let stored = databases.entry(self.of.clone()).or_default();
            for (key, value) in rows {
                match value {
                    Some(value) => stored.insert(key.to_vec(), value.to_vec()),
                    None => stored.remove(key),
                };
            }
        }
        self.step()
    }

    fn reset(&mut self) -> Result<(), String> {
        self.step()?;
        lock(&self.disk.databases).remove(&self.of);
        self.disk.resets.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
