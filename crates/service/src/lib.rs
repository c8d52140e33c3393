//! What every service shares: topic names and settings, and the worker loop.

pub mod topics;
pub mod worker;
