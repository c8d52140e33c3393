//! `waymark bench recovery`: a monitor is killed under load, with its disk and without.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rig::{Process, Rig};
use crate::{
    cli::{BenchRecovery, Global, Role},
    report::{Exit, Failure, Report},
};

/// What one death cost.
struct Death {
    /// Whether the state directory was deleted.
    without_disk: bool,
    /// From the start of the process until it processed an event, in seconds; its log says so.
    event: Option<f64>,
    /// From the start of the process to its first committed epoch, which shows what that event led to, in seconds.
    epoch: f64,
    /// From the start of the process until it lagged no more than before its death.
    level: f64,
    /// What was read of the changelog: records, and milliseconds of the slowest partition.
    restored: (u64, u64),
}

pub(super) fn run(global: &Global, options: &BenchRecovery) -> Result<Report, Failure> {
    let rig = Rig::new(global, &[format!("topics.partitions={}", options.partitions)])?;
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (deaths, lag) = std::thread::scope(|scope| {
        let load = rig.load();
        let (sent, stop) = (&sent, &stop);
        let load = scope.spawn(move || load.send(options.rate, options.customers, sent, stop));
        let measured = measure(&rig, options);
        stop.store(true, Ordering::Relaxed);
        let loaded = load
            .join()
            .unwrap_or_else(|_| Err(Failure::no_answer("the load panicked")));
        loaded.and(measured)
    })?;
    let mut text = format!(
        "{} partitions, {} events/s, {} customers, {} events sent; lag before {lag} records\n\
         disk      first event   first epoch   level   restored\n",
        options.partitions,
        options.rate,
        options.customers,
        sent.load(Ordering::Relaxed)
    );
    let mut rows: Vec<Value> = Vec::new();
    for death in &deaths {
        let (records, millis) = death.restored;
        let disk = if death.without_disk { "deleted" } else { "intact" };
        text.push_str(&format!(
            "{disk:8} {:>10} s {:11.2} s {:5.2} s   {records} records in {millis} ms\n",
            death
                .event
                .map_or_else(|| "?".to_owned(), |event| format!("{event:.2}")),
            death.epoch,
            death.level
        ));
        rows.push(json!({
            "disk": disk, "first_event_s": death.event, "first_epoch_s": death.epoch, "level_s": death.level,
            "restored_records": records, "restore_ms": millis,
        }));
    }
    Ok(Report {
        command: "bench recovery",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({
            "partitions": options.partitions, "rate": options.rate, "customers": options.customers,
            "sent": sent.load(Ordering::Relaxed), "lag_before": lag, "deaths": rows,
        }),
        text,
    })
}

/// Every death, and the greatest lag before the first.
fn measure(rig: &Rig, options: &BenchRecovery) -> Result<(Vec<Death>, i64), Failure> {
    let _intake = rig.start(Role::Intake)?;
    let mut monitor = rig.start(Role::Monitor)?;
    let enough = i64::try_from(options.rate).unwrap_or(i64::MAX);
    rig.until("the monitor begins", &mut monitor, |rig| {
        Ok(rig.committed()?.iter().sum::<i64>() > enough)
    })?;
    let begun = Instant::now();
    let mut lag = 0;
    while begun.elapsed() < options.warm {
        std::thread::sleep(Duration::from_millis(50));
        if options.warm.saturating_sub(begun.elapsed()) < Duration::from_secs(5) {
            lag = rig.lag()?.max(lag);
        }
    }
    let mut deaths = Vec::new();
    for round in 0..options.rounds * 2 {
        let without_disk = round % 2 == 1;
        monitor.kill();
        let before = rig.committed()?;
        let logged = fs::metadata(monitor.log()).map_or(0, |file| file.len());
        if without_disk {
            let state = rig.state(Role::Monitor);
            fs::remove_dir_all(&state).map_err(|error| format!("{}: {error}", state.display()))?;
        }
        let (started, at) = (Instant::now(), Timestamp::now());
        monitor = rig.start(Role::Monitor)?;
        rig.until("a first epoch", &mut monitor, |rig| {
            Ok(rig.committed()?.iter().zip(&before).any(|(now, before)| now > before))
        })?;
        let epoch = started.elapsed().as_secs_f64();
        rig.until("the lag is gone", &mut monitor, |rig| Ok(rig.lag()? <= lag))?;
        let level = started.elapsed().as_secs_f64();
        let said = said(&monitor, logged);
        deaths.push(Death {
            without_disk,
            event: first_event(&said, at),
            epoch,
            level,
            restored: restored(&said),
        });
        std::thread::sleep(Duration::from_secs(5));
    }
    Ok((deaths, lag))
}

/// What the process logged, behind what its log held before.
fn said(monitor: &Process, behind: u64) -> Vec<Value> {
    let text = fs::read(monitor.log()).unwrap_or_default();
    let from = usize::try_from(behind).unwrap_or(usize::MAX).min(text.len());
    text[from..]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

/// How many records were read of the changelog, and the milliseconds of the slowest partition.
fn restored(said: &[Value]) -> (u64, u64) {
    said.iter()
        .filter(|line| line["message"] == "state restored from the changelog")
        .fold((0, 0), |(records, slowest), line| {
            let read = |field: &str| line[field].as_u64().unwrap_or_default();
            (records + read("records"), slowest.max(read("millis")))
        })
}

/// When the first of the workers began to process, in seconds behind the start: its first epoch tells when it ended and how long it took.
fn first_event(said: &[Value], started: Timestamp) -> Option<f64> {
    let began = |line: &Value| {
        let committed: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
        let took = line["process_millis"].as_f64()? + line["commit_millis"].as_f64()?;
        Some(committed.duration_since(started).as_secs_f64() - took / 1e3)
    };
    said.iter()
        .filter(|line| line["message"] == "first epoch committed")
        .filter_map(began)
        .min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_the_one_of_the_worker_that_began_first() {
        let line = |second: u32, process: u64, message: &str| {
            json!({
                "timestamp": format!("2026-11-28T04:00:{second:02}.500000Z"), "message": message,
                "process_millis": process, "commit_millis": 50,
            })
        };
        let started: Timestamp = "2026-11-28T04:00:00Z".parse().expect("a time");
        let first = "first epoch committed";
        let event = first_event(
            &[line(0, 450, "another"), line(1, 250, first), line(2, 1950, first)],
            started,
        );
        assert!((event.expect("an event") - 0.5).abs() < 1e-9, "{event:?}");
        assert_eq!(first_event(&[line(0, 0, "another")], started), None);
    }
}
