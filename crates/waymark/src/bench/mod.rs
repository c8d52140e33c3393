//! `waymark bench`: figures of this machine. Nothing here is a test; compare figures of one machine, taken in one run.

mod cells;
mod lateness;
mod length;
mod monitor;
mod pattern;
mod recovery;
mod rig;
mod sentiment;

use crate::{
    cli::{BenchCommand, Global},
    report::{Failure, Report},
};

/// Runs one bench.
///
/// # Errors
/// [`Failure`] if the brokers do not answer, or a service does not run.
pub fn run(global: &Global, command: &BenchCommand) -> Result<Report, Failure> {
    match command {
        BenchCommand::Recovery(options) => recovery::run(global, options),
        BenchCommand::Lateness(options) => lateness::run(global, options),
        BenchCommand::Changelog(options) => length::run(global, options),
        BenchCommand::Sentiment { cell } => cells::report("bench sentiment", &sentiment::cells(cell.as_deref()), &[]),
        BenchCommand::Pattern { cell } => pattern::run(cell.as_deref()),
        BenchCommand::Monitor(options) => monitor::run(global, options),
    }
}

/// The value below which `share` of the sorted values lie; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}
