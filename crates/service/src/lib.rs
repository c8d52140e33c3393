//! What every service shares: topic names and settings, dead letters, ticks, and the worker loop.

pub mod config;
mod letters;
pub mod ticks;
pub mod topics;
pub mod worker;

pub use letters::{dead_letters, refused};
