//! What every service shares: topic names and settings, dead letters, ticks, and the worker loop.

pub mod admin;
pub mod backend;
pub mod config;
pub mod http;
mod letters;
mod run;
pub mod telemetry;
pub mod texts;
pub mod ticks;
pub mod topics;
pub mod worker;

pub use letters::{dead_letters, refused};
pub use run::{Machine, in_hand, order_window, partitions_of, run_workers, until_answered, wall, worker_config};
