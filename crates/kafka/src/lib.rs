//! The log on Kafka, and the only user of its client library.
//!
//! The hot consumer is owned natively: on the library's safe consumer the batch call silently drops the assignment, since
//! rebalances are set up as events there.

mod admin;
mod changelog;
mod follow;
mod leftovers;
mod log;
mod native;
mod outcome;
mod producer;
mod publisher;
mod tail;
mod wire;
mod writer;

pub use admin::{Admin, AdminError, TopicState};
pub use follow::{Bystander, Follower, Outsider, Skipped};
pub use log::{KafkaConfig, KafkaLog};
pub use publisher::Publisher;
pub use tail::{From, Tail};
