//! The command line: patterns are checked, tested and run over files of events; customers are generated.

pub mod backtest;
pub mod cli;
pub mod demo;
pub mod files;
pub mod patterns;
pub mod replay;
pub mod report;
