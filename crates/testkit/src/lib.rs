//! A memory log and database with faults, and a real Kafka, for tests of what must survive.

mod ask;
pub mod broker;
pub mod cluster;
pub mod memory;
mod node;
pub mod sim;
pub mod waiting;
