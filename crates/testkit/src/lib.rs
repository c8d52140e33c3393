//! A memory log and database with faults, and a real Kafka, for tests of what must survive.

pub mod broker;
pub mod memory;
pub mod sim;
pub mod waiting;
