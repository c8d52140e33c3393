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

/// One thing counted.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// What it is.
    pub(super) name: String,
    /// How much.
    pub(super) value: f64,
    /// Of what.
    pub(super) unit: &'static str,
    /// How much it may be, if it has a target.
    pub(super) target: Option<f64>,
}

/// Rounds of one cell.
const ROUNDS: usize = 7;
/// How long a round takes, in seconds.
const ROUND: f64 = 0.15;

/// What a bench of cells and figures prints. The exit code is 1 if a target is missed.
///
/// # Errors
/// [`Failure`] if there is neither, because a name fits none.
pub(super) fn report(command: &'static str, cells: &[Cell], figures: &[Figure]) -> Result<Report, Failure> {
    if cells.is_empty() && figures.is_empty() {
        return Err(Failure::invalid("no such cell"));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load
        .as_deref()
        .and_then(|load| load.split(' ').next())
        .unwrap_or("unknown");
    let width = cells
        .iter()
        .map(|cell| cell.name.len())
        .chain(figures.iter().map(|figure| figure.name.len()))
        .max()
        .map_or(32, |longest| longest.max(32));
    let mut text = format!(
        "one core of {cores}, load {load}; {}, median of {ROUNDS} rounds\n\n{:width$} {:>9} {:>17} {:>8} {:>11} {:>9} verdict\n",
        Clock::of_thread().measures(),
        "cell",
        "ns",
        "least-most",
        "ns/byte",
        "per second",
        "target ns"
    );
    let mut rows = Vec::new();
    let mut missed = false;
    for cell in cells {
        let per_byte = cell
            .bytes
            .map(|bytes| cell.ns / f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
        let met = cell.target.map(|target| cell.ns <= target);
        missed |= met == Some(false);
        let verdict = verdict(met);
        let shown = |figure: Option<f64>, places: usize| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.places$}"))
        };
        let [least, most] = cell.spread;
        let _ = writeln!(
            text,
            "{:width$} {:>9} {:>17} {:>8} {:11.0} {:>9} {verdict}",
            cell.name,
            few(cell.ns),
            format!("{}-{}", few(least), few(most)),
            shown(per_byte, 1),
            1e9 / cell.ns,
            shown(cell.target, 0),
        );
        rows.push(json!({
            "cell": cell.name, "ns": cell.ns, "least_ns": least, "most_ns": most, "bytes": cell.bytes, "ns_per_byte": per_byte,
            "per_second": 1e9 / cell.ns, "target_ns": cell.target, "met": met,
        }));
    }
    let mut counted = Vec::new();
    for figure in figures {
        let met = figure.target.map(|target| figure.value <= target);
        missed |= met == Some(false);
        let target = figure
            .target
            .map_or_else(String::new, |target| format!(", target {target}"));
        let _ = writeln!(
            text,
            "{:width$} {:>9} {}{target} {}",
            figure.name,
            few(figure.value),
            figure.unit,
            verdict(met)
        );
        counted.push(json!({
            "figure": figure.name, "value": figure.value, "unit": figure.unit, "target": figure.target, "met": met,
        }));
    }
    let exit = if missed { Exit::Findings } else { Exit::Done };
    let data = json!({ "cores": cores, "load": load, "rounds": ROUNDS, "cells": rows, "figures": counted });
    Ok(Report {
        command,
        exit,
        findings: Vec::new(),
        data,
        text,
    })
}

/// A figure with as many places after the point as tell something.
fn few(figure: f64) -> String {
    let places = match figure.abs() {
        0.0 | 100.0.. => 0,
        1.0.. => 1,
        _ => 4,
    };
    format!("{figure:.places$}")
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        None => "",
        Some(true) => "met",
        Some(false) => "MISSED",
    }
}

/// Times an operation: as many a round as fill it, after one round to warm up. What counts is the time for which this thread was on a
/// processor, so that what else runs on the machine weighs little.
pub(super) fn time(mut operation: impl FnMut()) -> (f64, [f64; 2]) {
    let clock = Clock::of_thread();
    let mut round = |count: u32| {
        let begin = clock.now();
        for _ in 0..count {
            operation();
        }
        clock.now() - begin
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

/// A clock for what this thread does.
pub(super) struct Clock {
    begun: Instant,
    is_cpu: bool,
}

impl Clock {
    /// The thread's time on a processor; on a system that does not tell it, the time that passes.
    pub(super) fn of_thread() -> Self {
        Self {
            begun: Instant::now(),
            is_cpu: on_processor().is_some(),
        }
    }

    /// Seconds since some moment.
    pub(super) fn now(&self) -> f64 {
        match on_processor().filter(|_| self.is_cpu) {
            Some(nanoseconds) => nanoseconds / 1e9,
            None => self.begun.elapsed().as_secs_f64(),
        }
    }

    /// What it measures, for people.
    pub(super) fn measures(&self) -> &'static str {
        if self.is_cpu { "thread CPU time" } else { "wall time" }
    }
}

/// Nanoseconds for which this thread has been on a processor, where the system tells it.
fn on_processor() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok()
}
