//! The sans-I/O partition task: stages, epochs, timers, and the seams to a log and a database.
//!
//! Nothing here reads a clock, a file or a socket. A log and a database are reached through [`Log`] and [`Db`] alone.

mod record;
mod seam;
mod stage;

pub use event::Millis;
pub use record::{Header, Output, Record, TopicPartition, partition_of};
pub use seam::{
    Batch, Bounds, Change, ChangelogReader, Commit, CommitReport, Committed, Db, Log, LogError, Membership,
    PartitionEpoch, Row,
};
pub use stage::{Corrupt, Cx, Reject, Routed, RowWriter, Rows, Stage, Tick};
