//! What a service does to one record: pure, so that the same log gives the same outputs.

use std::sync::Arc;

use crate::{Millis, Output, Record};

/// What a service does to one record. Same state, input and clock: same writes and outputs.
pub trait Stage: Send + Sync {
    /// What `decode` makes of a record.
    type Input;
    /// What is kept for one key.
    type State: Default;

    /// Turns bytes into meaning: an event and the key that owns it, or a tick of the partition's clock.
    ///
    /// # Errors
    /// A [`Reject`] sends the record to the dead letters; it has touched nothing.
    fn decode(&self, record: &Record) -> Result<Routed<Self::Input>, Reject>;

    /// Processes one event of one key.
    fn on_event(&self, state: &mut Self::State, event: Self::Input, cx: &mut Cx<'_>);

    /// Processes the key's deadline, which has come.
    fn on_time(&self, state: &mut Self::State, cx: &mut Cx<'_>);

    /// When this key next wants to be woken. Timers are derived from state and so cannot disagree with it.
    fn deadline(&self, state: &Self::State) -> Option<Millis>;

    /// Turns rows into state, when a key is not in the cache.
    ///
    /// # Errors
    /// [`Corrupt`] if a row has a version or content that this binary does not know; the process stops.
    fn load(&self, rows: Rows<'_>) -> Result<Self::State, Corrupt>;

    /// Writes the rows that have changed since the last call, once per epoch.
    fn save(&self, state: &mut Self::State, rows: &mut RowWriter<'_>);
}

/// What a record is to the task.
#[derive(Debug, Clone, PartialEq)]
pub enum Routed<I> {
    /// An event of a key.
    Event {
        /// The key that owns the event.
        key: Vec<u8>,
        /// The event's own time.
        time: Millis,
        /// What the stage made of it.
        input: I,
    },
    /// A tick of the partition clock.
    Tick(Tick),
    /// Nothing to do, deliberately, such as a tombstone on a topic where it has no meaning. It is counted.
    Ignore,
}

/// How far one writer's inputs have been read. See `ARCHITECTURE.md`, "Time".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// All of the writer's inputs have been read up to this time; `None` while one has not.
    pub progress: Option<Millis>,
    /// The writers' group generation.
    pub generation: i32,
    /// What tells it from another of the same number, see [`crate::Membership::assignment`].
    pub assignment: i64,
    /// The writer's rank in its group.
    pub index: i32,
    /// The members of the group.
    pub members: i32,
    /// The input partitions that the writer owns.
    pub owned: i32,
    /// All input partitions.
    pub partitions: i32,
}

/// Why a record was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// `decode`, `validate` or `process`.
    pub stage: &'static str,
    /// One of the published reason codes.
    pub reason: &'static str,
    /// What is wrong and where; no customer data.
    pub message: String,
    /// The field at fault.
    pub field: Option<String>,
    /// The schema at fault.
    pub schema: Option<String>,
}

/// A stored row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt(
    /// What was found and what is known.
    pub String,
);

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "corrupt row: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

/// Where the record or timer in hand stands, and where its outputs go.
///
/// One is made per record or timer by the task; the stage pushes outputs, reads clocks and counts.
pub struct Cx<'a> {
    /// The key's clock: for an event the greatest of its time, the key's last `now` and the partition clock; for a
    /// timer the greater of its due time and the key's last `now`. Never goes back.
    pub now: Millis,
    /// The partition clock: everything up to here has been read on every channel.
    pub clock: Millis,
    /// The routed key.
    pub key: &'a [u8],
    /// Topic, partition and offset of the record that caused this call; for a timer, of the last record read.
    pub topic: &'a Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's own timestamp (arrival).
    pub timestamp: Millis,
    /// The revision of the catalogue in force.
    pub revision: i64,
    /// Whether the event lay behind the key's clock.
    pub late: bool,
    /// The outputs of this call, in order.
    pub outputs: &'a mut Vec<Output>,
}

/// All rows of one key, head first, as (kind and suffix, bytes with their version byte).
pub struct Rows<'a> {
    /// The rows in key order: `hd` is the head's payload; other kinds are two ASCII letters and a suffix.
    pub rows: &'a [(&'a [u8], &'a [u8])],
}

/// Takes the changed rows of one key.
pub struct RowWriter<'a> {
    /// Rows by (kind and suffix); `None` deletes. The head (`hd`) is always written if anything is.
    pub rows: &'a mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl RowWriter<'_> {
    /// Writes the row `name` (two ASCII letters of kind, then a suffix), version byte first.
    pub fn put(&mut self, name: &[u8], bytes: Vec<u8>) {
        self.rows.push((name.to_vec(), Some(bytes)));
    }

    /// Deletes the row `name`.
    pub fn delete(&mut self, name: &[u8]) {
        self.rows.push((name.to_vec(), None));
    }
}
