//! Cells: what one operation costs on one core, beside its target.

use std::{fmt::Write as _, time::Instant};

use serde_json::json;

use crate::report::{Exit, Failure, Report};

/// One thing measured.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// What it is.
    pub(super) name: String,
    /// Nanoseconds an operation, the median of the rounds.
    pub(super) ns: f64,
    /// Those of the quickest and of the slowest round.
    pub(super) spread: [f64; 2],
    /// What it works on, in bytes, if that tells something.
    pub(super) bytes: Option<usize>,
    /// Nanoseconds that it may take, if it has a target.
    pub(super) target: Option<f64>,
}

/// Rounds of one cell.
const ROUNDS: usize = 7;
/// How long a round takes, in seconds.
const ROUND: f64 = 0.15;

/// What a bench of cells prints. The exit code is 1 if a target is missed.
///
/// # Errors
/// [`Failure`] if there is no cell, because a name fits none.
pub(super) fn report(command: &'static str, cells: &[Cell]) -> Result<Report, Failure> {
    if cells.is_empty() {
        return Err(Failure::invalid("no such cell"));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load
        .as_deref()
        .and_then(|load| load.split(' ').next())
        .unwrap_or("unknown");
    let mut text = format!(
        "one core of {cores}, load {load}; median of {ROUNDS} rounds\n\n{:32} {:>9} {:>17} {:>8} {:>11} {:>9} verdict\n",
        "cell", "ns", "least-most", "ns/byte", "per second", "target ns"
    );
    let mut rows = Vec::new();
    let mut missed = false;
    for cell in cells {
        let per_byte = cell
            .bytes
            .map(|bytes| cell.ns / f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
        let met = cell.target.map(|target| cell.ns <= target);
        missed |= met == Some(false);
        let verdict = match met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let shown = |figure: Option<f64>, places: usize| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.places$}"))
        };
        let [least, most] = cell.spread;
        let _ = writeln!(
            text,
            "{:32} {:9.0} {:>17} {:>8} {:11.0} {:>9} {verdict}",
            cell.name,
            cell.ns,
            format!("{least:.0}-{most:.0}"),
            shown(per_byte, 1),
            1e9 / cell.ns,
            shown(cell.target, 0),
        );
        rows.push(json!({
            "cell": cell.name, "ns": cell.ns, "least_ns": least, "most_ns": most, "bytes": cell.bytes, "ns_per_byte": per_byte,
            "per_second": 1e9 / cell.ns, "target_ns": cell.target, "met": met,
        }));
    }
    let exit = if missed { Exit::Findings } else { Exit::Done };
    let data = json!({ "cores": cores, "load": load, "rounds": ROUNDS, "cells": rows });
    Ok(Report {
        command,
        exit,
        findings: Vec::new(),
        data,
        text,
    })
}

/// Times an operation: as many a round as fill it, after one round to warm up.
pub(super) fn time(mut operation: impl FnMut()) -> (f64, [f64; 2]) {
    let mut round = |count: u32| {
        let begin = Instant::now();
        for _ in 0..count {
            operation();
        }
        begin.elapsed().as_secs_f64()
    };
    let mut count = 16_u32;
    while round(count) < ROUND / 4.0 && count < u32::MAX / 4 {
        count *= 2;
    }
    let count = count.saturating_mul(4);
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(count) * 1e9 / f64::from(count)).collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], [rounds[0], rounds[ROUNDS - 1]])
}
