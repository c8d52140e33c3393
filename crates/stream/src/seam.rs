//! The two seams: a log that carries records and transactions, and a database that holds a view of what was committed.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use crate::{
    Millis, Output, Record, TopicPartition,
    mutant::{self, Mutant},
};

/// One row of state: its full key, and its value or a deletion.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// A row that lies elsewhere.
pub type RowRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// One row as it is stored: key and value.
pub type StoredRow = (Vec<u8>, Vec<u8>);

/// What one `poll` brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records in order per partition; none of a partition that `changes` takes away.
    pub records: Vec<Record>,
    /// Changes of the assignment, in order, to be handled before the records.
    pub changes: Vec<Change>,
    /// Partitions where nothing is left to read for now, with the next offset, behind control records too.
    pub ends: Vec<(TopicPartition, i64)>,
    /// Answers to [`Log::ask_ends`].
    pub told: Vec<KnownEnds>,
}

/// Where partitions ended when somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEnds {
    /// What the asker gave: its clock before the question went out. What lies before these ends was all there was then.
    pub asked: Millis,
    /// The stable end of each partition that answered.
    pub ends: Vec<(TopicPartition, i64)>,
}

/// A change of what this worker owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These partitions were given; they stay paused until [`Log::resume`].
    Assigned(Vec<TopicPartition>),
    /// These partitions are asked back: commit, then [`Log::release`]. The group waits.
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone: drop what is open, then [`Log::release`].
    Lost(Vec<TopicPartition>),
}

/// A committed position of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// What the worker wrote beside it.
    pub metadata: String,
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset still there.
    pub start: i64,
    /// The uncommitted end: the next offset that will be written.
    pub end: i64,
}

/// The worker's place in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The group's generation. Numbers can come again: a coordinator of Kafka 4.3.1 that has read its log in part goes on from an older one.
    pub generation: i32,
    /// What each of its members was given, hashed: what tells a generation from another of the same number. `None` while the group shares
    /// out anew.
    pub assignment: Option<i64>,
    /// Own rank among the members.
    pub index: i32,
    /// The number of members.
    pub members: i32,
}

/// What an epoch did to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionEpoch {
    /// The input partition.
    pub input: TopicPartition,
    /// The next input offset to read.
    pub offset: i64,
    /// What stands beside the offset in the group: epoch number and snapshot begin.
    pub metadata: String,
    /// The partition of the changelog that these parts go to.
    pub slot: i32,
    /// The packed epoch, in parts, for the changelog; empty where the log is its own database.
    pub changelog: Vec<Vec<u8>>,
    /// The same rows as they stand in a database: state rows, timers and marker, sorted by key, each key once. A log that is its
    /// own database writes these instead of the changelog.
    pub rows: Vec<Row>,
}

/// One epoch to be committed.
#[derive(Debug, Default)]
pub struct Commit {
    /// What it did to each partition that it touched. Never empty.
    pub partitions: Vec<PartitionEpoch>,
    /// Where partitions of the changelog end as far as this worker knows. Parts that are not placed right there, one behind the other, say
    /// that somebody else has written too.
    pub ends: BTreeMap<i32, RangeInclusive<i64>>,
}

impl From<Vec<PartitionEpoch>> for Commit {
    fn from(partitions: Vec<PartitionEpoch>) -> Self {
        Self {
            partitions,
            ends: BTreeMap::new(),
        }
    }
}

impl Commit {
    /// Whether a partition's parts, placed at these offsets, stand where this worker knows the changelog to end, with nobody's between them.
    ///
    /// # Errors
    /// [`LogError::Abort`] if not.
    pub fn is_alone(&self, part: &PartitionEpoch, first: i64, last: i64) -> Result<(), LogError> {
        let parts = i64::try_from(part.changelog.len()).unwrap_or(i64::MAX);
        let stands = self.ends.get(&part.slot).is_none_or(|ends| ends.contains(&first));
        if (stands && last - first + 1 == parts) || mutant::is_on(Mutant::OthersIgnored) {
            return Ok(());
        }
        Err(LogError::Abort(format!(
            "somebody else has written to the changelog: partition={} end={:?} placed={first}..={last} parts={parts}",
            part.slot,
            self.ends.get(&part.slot)
        )))
    }
}

/// What a commit reported, in the order of [`Commit::partitions`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitReport {
    /// The changelog position behind each partition's last part; `None` where nothing was written to a changelog.
    pub changelog_next: Vec<Option<i64>>,
    /// The longest that one request of the transaction's end waited for its answer. One that waited long may have been sent twice,
    /// and a late copy of it would hit the next transaction of the same producer (KIP-890).
    pub longest_request: Duration,
    /// A connection broke, a request timed out or was sent again since the transaction began, as far as the client says.
    pub is_disturbed: bool,
}

/// What went wrong, by what is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogError {
    /// Nothing happened; the same call may be repeated. Carries a message.
    Retriable(String),
    /// The transaction must be aborted; the epoch is dropped and its input read again.
    Abort(String),
    /// The outcome is unknown, or the producer is of no more use: [`Log::recycle`], then compare positions.
    Unknown(String),
    /// Another process has this worker's name.
    Fenced(String),
    /// The offset asked for is not there (trimmed or never written).
    OutOfRange(String),
    /// The process must end: wrong configuration, missing topic, no permission, disk.
    Fatal(String),
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retriable(message) => write!(f, "log answered with a passing error: {message}"),
            Self::Abort(message) => write!(f, "transaction must be aborted: {message}"),
            Self::Unknown(message) => write!(f, "outcome of the transaction is unknown: {message}"),
            Self::Fenced(message) => write!(f, "another process has this instance name: {message}"),
            Self::OutOfRange(message) => write!(f, "offset is not in the log: {message}"),
            Self::Fatal(message) => write!(f, "log refused: {message}"),
        }
    }
}

impl std::error::Error for LogError {}

/// Why a database was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// Somebody else in this process has it: a worker that has lost the partition and has not heard of it yet. Nothing was touched.
    InUse,
    /// The disk fails, or the database is another's.
    Failed(String),
}

impl From<String> for OpenError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse => f.write_str("another worker of this process has the database open"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for OpenError {}

/// A log as one worker sees it: one consumer of one group, and one transactional producer.
///
/// Every call has a deadline of its own. No call is made from a second thread.
pub trait Log {
    /// Reads what is there, waiting at most `wait` for the first record; at most `max` records. Serves the group meanwhile.
    ///
    /// # Errors
    /// [`LogError::Retriable`] while the log cannot be reached; [`LogError::Fatal`] if it never will be.
    fn poll(&mut self, wait: Duration, max: usize, batch: &mut Batch) -> Result<(), LogError>;

    /// The group's stable committed positions, in the order asked. A coordinator that has just begun may tell those of the past, and one
    /// that has read its log in part may go on to (Kafka 4.3.1 does, `docs/GUARANTEES.md`): what the changelog says counts for more.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn committed(&mut self, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError>;

    /// First and uncommitted end offset of any partition of any topic.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn bounds(&mut self, of: &TopicPartition) -> Result<Bounds, LogError>;

    /// Asks where the assigned partitions that flow end. Does not wait: the answer, if one comes, is in [`Batch::told`] of a later
    /// [`Log::poll`], with `now` as it was given here.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn ask_ends(&mut self, now: Millis) -> Result<(), LogError>;

    /// Sets the next offset to read of an assigned partition and lets it flow.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn resume(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError>;

    /// Stops reading an assigned partition; its position is set anew by [`Log::resume`].
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn pause(&mut self, partition: &TopicPartition) -> Result<(), LogError>;

    /// Gives partitions back after [`Change::Revoked`] or [`Change::Lost`].
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// The worker's place in its group.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn membership(&mut self) -> Result<Membership, LogError>;

    /// The generation of the group that this worker is in, as far as it knows; asks nobody. Negative while it is in none.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn generation(&mut self) -> Result<i32, LogError>;

    /// Begins the epoch's transaction.
    ///
    /// # Errors
    /// [`LogError::Unknown`] if the producer is of no more use.
    fn begin(&mut self) -> Result<(), LogError>;

    /// Sends one output in the open transaction. May return before it is delivered; [`Log::commit`] checks.
    ///
    /// # Errors
    /// [`LogError::Abort`] or [`LogError::Unknown`].
    fn send(&mut self, output: Output) -> Result<(), LogError>;

    /// Commits outputs, changelog (or rows) and offsets together, or none. The changelog is written first, and offsets only if
    /// [`Commit::is_alone`]: whoever else believes to have a partition waits then for this transaction's end, and sees it.
    ///
    /// # Errors
    /// [`LogError::Abort`]: nothing is visible, call [`Log::abort`]. [`LogError::Unknown`]: see there.
    fn commit(&mut self, epoch: &Commit) -> Result<CommitReport, LogError>;

    /// Drops the open transaction.
    ///
    /// # Errors
    /// [`LogError::Unknown`] if even that has no known outcome.
    fn abort(&mut self) -> Result<(), LogError>;

    /// Replaces the producer by a new one of the same name, which completes or aborts what the old one left open and fences it.
    ///
    /// # Errors
    /// [`LogError::Retriable`] while no coordinator answers; [`LogError::Fenced`] if another process has the name.
    fn recycle(&mut self) -> Result<(), LogError>;

    /// Makes sure that records and offsets of this name's transactions that did not go through never become visible, and those that did
    /// do. A log whose broker always ends what it says it has ended has nothing to do here. Call it only while no transaction is open and
    /// the last one is known not to have been committed.
    ///
    /// # Errors
    /// As [`Log::begin`], and [`Log::confirm`].
    fn discard(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// The same where nobody knows how the last transaction of this name ended: what of it stands open is ended as its coordinator decided.
    ///
    /// # Errors
    /// As [`Log::discard`].
    fn resolve(&mut self) -> Result<(), LogError> {
        self.discard()
    }

    /// Sees to it that what was committed last is visible, wherever there is a doubt of that ([`crate::Unconfirmed`]); asks nobody
    /// otherwise. True if it had to be closed, by another commit. Call it only while no transaction is open and the last one is known to have been
    /// committed.
    ///
    /// # Errors
    /// As [`Log::begin`], and [`LogError::Retriable`] while it is neither visible nor known to stand still.
    fn confirm(&mut self) -> Result<bool, LogError> {
        Ok(false)
    }

    /// A reader of the service's changelog, of no partition yet. `None` if this log keeps none, because it is its own database.
    ///
    /// # Errors
    /// As [`Log::poll`].
    fn changelog(&mut self) -> Result<Option<Box<dyn ChangelogReader>>, LogError>;

    /// Deletes a changelog's records before `before`.
    ///
    /// # Errors
    /// [`LogError::Retriable`], or [`LogError::Fatal`] if it is not permitted.
    fn trim(&mut self, partition: i32, before: i64) -> Result<(), LogError>;

    /// Leaves the group, so that others need not wait for the session's end. A static member stays, as its name says.
    ///
    /// # Errors
    /// As [`Log::poll`]; the worker ends all the same.
    fn leave(&mut self) -> Result<(), LogError>;
}

/// What one read of changelogs brought.
#[derive(Debug, Default)]
pub struct ChangelogBatch {
    /// Committed records in order per partition: partition, offset, value.
    pub records: Vec<(i32, i64, Vec<u8>)>,
    /// How far each partition has been read: the next offset, behind control records too.
    pub positions: Vec<(i32, i64)>,
    /// Partitions whose position is not in the log: trimmed meanwhile, or behind its end.
    pub out_of_range: Vec<i32>,
}

/// Reads committed records of a changelog, of several partitions at once.
pub trait ChangelogReader: Send {
    /// Begins to read a partition at an offset; one that is read already begins anew there.
    ///
    /// # Errors
    /// [`LogError`] if the log refuses.
    fn add(&mut self, partition: i32, from: i64) -> Result<(), LogError>;

    /// Reads a partition no longer.
    ///
    /// # Errors
    /// [`LogError`] if the log refuses.
    fn remove(&mut self, partition: i32) -> Result<(), LogError>;

    /// Appends what is there, waiting at most `wait` for the first record.
    ///
    /// # Errors
    /// [`LogError`] if reading cannot go on. A position that is not in the log is no error, but in [`ChangelogBatch::out_of_range`].
    fn read(&mut self, wait: Duration, into: &mut ChangelogBatch) -> Result<(), LogError>;
}

/// What a partition's database must do. It changes by whole sorted sets of rows, position included.
pub trait Db: Send {
    /// Values of keys, in the order asked.
    ///
    /// # Errors
    /// A message if the disk fails; the process ends.
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String>;

    /// At most `max` rows of `from..to` in key order.
    ///
    /// # Errors
    /// As [`Db::multi_get`].
    fn scan(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<StoredRow>, String>;

    /// Applies rows, sorted by key and each key once, as one atomic and durable change.
    ///
    /// # Errors
    /// As [`Db::multi_get`].
    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String>;

    /// Removes everything and begins anew, empty.
    ///
    /// # Errors
    /// As [`Db::multi_get`].
    fn reset(&mut self) -> Result<(), String>;
}

/// Reads committed records of whole topics without a group: catalogues, feeds, tools.
pub trait TopicReader: Send {
    /// The next records, waiting at most `wait`; in order per partition.
    ///
    /// # Errors
    /// [`LogError`] if reading cannot go on.
    fn read(&mut self, wait: Duration, into: &mut Vec<Record>) -> Result<(), LogError>;

    /// Whether everything that was committed when the reader was made has been read.
    fn is_at_end(&self) -> bool;
}
