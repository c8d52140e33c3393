//! The sans-I/O partition task: stages, epochs, timers, and the seams to a log and a database.
//!
//! Nothing here reads a clock, a file or a socket. A log and a database are reached through [`Log`] and [`Db`] alone.

pub mod bytes;
pub mod changelog;
pub mod clock;
mod marker;
pub mod mutant;
mod record;
pub mod rows;
mod seam;
pub mod settle;
mod snapshot;
mod stage;
mod task;
mod unconfirmed;

pub use event::Millis;
pub use marker::Marker;
pub use record::{Header, Output, Record, TopicPartition, partition_of};
pub use rows::Cause;
pub use seam::{
    Batch, Bounds, Change, ChangelogBatch, ChangelogReader, Commit, CommitReport, Committed, Db, KnownEnds, Log,
    LogError, Membership, OpenError, PartitionEpoch, Row, RowRef, StoredRow, TopicReader,
};
pub use snapshot::{OpenSnapshot, SnapshotRule, Snapshots};
pub use stage::{Corrupt, Cx, Reject, Routed, RowWriter, Rows, Stage, Tick};
pub use task::{DeadLetters, InHand, Statefulness, Task, TaskConfig, TaskError, Watch};
pub use unconfirmed::{FILLER, Look, Unconfirmed, filler, is_filler};
