//! The command line: services are run, patterns checked and published, files replayed, topics made and looked at.

pub mod allocations;
pub mod audit;
pub mod backtest;
pub mod bench;
pub mod catalogue;
pub mod cli;
pub mod context;
pub mod demo;
pub mod files;
pub mod looking;
pub mod patterns;
pub mod replay;
pub mod report;
pub mod run;
pub mod sentiment;
pub mod setup;
