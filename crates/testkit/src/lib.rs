//! A memory log and database with faults, for tests of what must survive them.

pub mod memory;
