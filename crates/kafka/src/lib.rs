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
mod producer;
mod tail;

pub use admin::{Admin, AdminError, TopicState};
pub use follow::{Bystander, Follower, Outsider, Skipped};
pub use log::{KafkaConfig, KafkaLog};
pub use producer::Publisher;
pub use tail::{From, Tail};
