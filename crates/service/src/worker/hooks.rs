//! What a service adds to the worker's loop, and what the loop tells it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stream::{Cause, KnownEnds, Membership, Millis, Output, Record, Stage, TopicPartition};

/// What a service adds to the loop. Every method has a default that does nothing.
pub trait Hooks<S: Stage> {
    /// The worker owns exactly these partitions from now on.
    fn owns(&mut self, _partitions: &[TopicPartition], _membership: Membership) {}

    /// Takes a record that was read and gives those that are to be processed next, in order.
    fn order(&mut self, record: Record, ready: &mut Vec<Record>) {
        ready.push(record);
    }

    /// A record is about to be processed. May write outputs before it, and set the clock of a stage without state.
    fn before(&mut self, _record: &Record, _outputs: &mut Vec<Output>) -> Option<Millis> {
        None
    }

    /// Nothing is left to read of a partition for now; the next offset, behind control records too.
    fn ended(&mut self, _partition: &TopicPartition, _next_offset: i64) {}

    /// How long from now, at the latest, until the loop is to come round although nothing was read.
    fn wakes(&self, _now: Millis) -> Option<Duration> {
        None
    }

    /// Whether the log is to be asked now where the partitions end; the answer comes in [`Hooks::told`].
    fn wants_ends(&mut self, _now: Millis) -> bool {
        false
    }

    /// The log has said where partitions ended at the moment of the question.
    fn told(&mut self, _ends: &KnownEnds) {}

    /// Reading of a partition begins at this offset, or begins again there.
    fn begins(&mut self, _partition: &TopicPartition, _offset: i64) {}

    /// What was read of this partition and not processed is to be forgotten: it will be read again, or by another.
    fn dropped(&mut self, _partition: &TopicPartition) {}

    /// Called once a turn; may write outputs, such as ticks.
    fn turn(&mut self, _now: Millis, _outputs: &mut Vec<Output>) {}

    /// Called between two epochs; returns the catalogue revision that the next one runs under.
    fn between_epochs(&mut self, _stage: &S) -> Option<i64> {
        None
    }

    /// An epoch ended.
    fn observe(&mut self, _what: &Observation<'_>) {}
}

/// No additions.
impl<S: Stage> Hooks<S> for () {}

/// What a worker tells its service, to be counted.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation<'a> {
    /// The loop goes round, or waits for a log that does not answer.
    Turned,
    /// Records were read from a topic.
    Read {
        /// The topic.
        topic: &'a str,
        /// How many.
        records: u64,
    },
    /// An epoch was committed.
    Committed {
        /// Committed outputs by topic.
        written: &'a BTreeMap<Arc<str>, u64>,
        /// Dead letters by source topic and reason code.
        dead: &'a BTreeMap<(String, String), u64>,
        /// From its first record to the call of commit.
        process: Duration,
        /// The commit itself.
        commit: Duration,
    },
    /// An epoch was aborted.
    Aborted,
    /// What was processed since the last commit is dropped and will be read again.
    Dropped,
    /// The outcome of an epoch was unknown.
    Unknown,
    /// The producer was replaced: `begin`, `abort`, `unknown`, `slow` or `fenced` was the cause.
    Recycled(&'static str),
    /// The group moved partitions: `assigned`, `revoked` or `lost`.
    Rebalanced(&'static str),
    /// Everything assigned is restored: partitions now owned.
    Assigned(usize),
    /// State is being restored from the changelog.
    Restoring {
        /// The partition of the changelog.
        partition: i32,
        /// Records of the changelog still to be read.
        remaining: u64,
    },
    /// A partition was given back: its number in the changelog.
    Given(i32),
    /// The state of one partition after an epoch.
    Partition {
        /// The input partition.
        partition: i32,
        /// Its clock.
        clock: Millis,
        /// Timers filed.
        timers: usize,
        /// Committed bytes in memory alone.
        overlay_bytes: usize,
        /// Bytes of the changelog since its last whole snapshot began.
        changelog_bytes: u64,
    },
    /// The group told of a partition where it stood earlier; the changelog knew better.
    ToldPast,
    /// Somebody else had gone on with a partition that this worker believed to have.
    MovedOn,
    /// What this worker had committed stood open, and was closed.
    Closed,
    /// A key was quarantined.
    Quarantined(Cause),
    /// A changelog was trimmed, or that was refused.
    Trimmed(bool),
    /// All partitions have been told.
    Seen,
}
