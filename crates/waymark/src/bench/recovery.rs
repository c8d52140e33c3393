//! `waymark bench recovery`: a monitor is killed under load, with its disk and without.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

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
    /// From the start of the process to its first committed epoch, in seconds.
    first: f64,
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
         disk      first epoch   level   restored\n",
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
            "{disk:8} {:9.2} s {:7.2} s   {records} records in {millis} ms\n",
            death.first, death.level
        ));
        rows.push(json!({
            "disk": disk, "first_epoch_s": death.first, "level_s": death.level,
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
        let started = Instant::now();
        monitor = rig.start(Role::Monitor)?;
        rig.until("a first epoch", &mut monitor, |rig| {
            Ok(rig.committed()?.iter().zip(&before).any(|(now, before)| now > before))
        })?;
        let first = started.elapsed().as_secs_f64();
        rig.until("the lag is gone", &mut monitor, |rig| Ok(rig.lag()? <= lag))?;
        deaths.push(Death {
            without_disk,
            first,
            level: started.elapsed().as_secs_f64(),
            restored: restored(&monitor, logged),
        });
        std::thread::sleep(Duration::from_secs(5));
    }
    Ok((deaths, lag))
}

/// What the process said of restores, behind what its log held before.
fn restored(monitor: &Process, behind: u64) -> (u64, u64) {
    let text = fs::read(monitor.log()).unwrap_or_default();
    let from = usize::try_from(behind).unwrap_or(usize::MAX).min(text.len());
    let (mut records, mut slowest) = (0, 0);
    for line in text[from..].split(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        if line["message"] == "state restored from the changelog" {
            records += line["records"].as_u64().unwrap_or_default();
            slowest = line["millis"].as_u64().unwrap_or_default().max(slowest);
        }
    }
    (records, slowest)
}
