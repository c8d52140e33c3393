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
    /// Nanoseconds of this thread's own time, the median of the rounds: what the machine's other work does not add to.
    pub(super) own_ns: f64,
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
        "one core of {cores}, load {load}; median of {ROUNDS} rounds\n\n{:32} {:>9} {:>17} {:>9} {:>8} {:>11} {:>9} verdict\n",
        "cell", "ns", "least-most", "thread ns", "ns/byte", "per second", "target ns"
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
            "{:32} {:9.0} {:>17} {:9.0} {:>8} {:11.0} {:>9} {verdict}",
            cell.name,
            cell.ns,
            format!("{least:.0}-{most:.0}"),
            cell.own_ns,
            shown(per_byte, 1),
            1e9 / cell.ns,
            shown(cell.target, 0),
        );
        rows.push(json!({
            "cell": cell.name, "ns": cell.ns, "least_ns": least, "most_ns": most, "thread_ns": cell.own_ns, "bytes": cell.bytes, "ns_per_byte": per_byte,
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

/// What an operation took: the median of the rounds, the quickest and the slowest, and the median of this thread's own time.
pub(super) struct Timed {
    pub(super) ns: f64,
    pub(super) spread: [f64; 2],
    pub(super) own_ns: f64,
}

/// This thread's own time, in seconds, by the kernel's account to the last tick; the machine's other threads do not add to it.
/// `NaN` where the kernel keeps none.
fn own_time() -> f64 {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = account.split(' ').next().and_then(|time| time.parse().ok());
    nanoseconds.map_or(f64::NAN, |time: f64| time / 1e9)
}

/// Times an operation: as many a round as fill it, after one round to warm up.
pub(super) fn time(mut operation: impl FnMut()) -> Timed {
    let mut round = |count: u32| {
        let (begin, own) = (Instant::now(), own_time());
        for _ in 0..count {
            operation();
        }
        [begin.elapsed().as_secs_f64(), own_time() - own]
    };
    let mut count = 16_u32;
    while round(count)[0] < ROUND / 4.0 && count < u32::MAX / 4 {
        count *= 2;
    }
    let count = count.saturating_mul(4);
    let rounds: Vec<[f64; 2]> = (0..ROUNDS)
        .map(|_| round(count).map(|took| took * 1e9 / f64::from(count)))
        .collect();
    let sorted = |which: usize| {
        let mut took: Vec<f64> = rounds.iter().map(|round| round[which]).collect();
        took.sort_by(f64::total_cmp);
        took
    };
    let (wall, own) = (sorted(0), sorted(1));
    Timed {
        ns: wall[ROUNDS / 2],
        spread: [wall[0], wall[ROUNDS - 1]],
        own_ns: own[ROUNDS / 2],
    }
}
