//! The demo's customers.

pub mod generator;
