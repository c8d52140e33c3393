//! `waymark bench changelog`: the changelog's length while events come, as the snapshot rule bounds it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

use super::rig::Rig;
use crate::{
    cli::{BenchChangelog, Global, Role},
    report::{Exit, Failure, Report},
};

/// Points of the curve.
const POINTS: u32 = 60;

pub(super) fn run(global: &Global, options: &BenchChangelog) -> Result<Report, Failure> {
    let rig = Rig::new(global, &["topics.partitions=4".to_owned()])?;
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let curve = std::thread::scope(|scope| {
        let load = rig.load();
        let (sent, stop) = (&sent, &stop);
        let load = scope.spawn(move || load.send(options.rate, options.customers, sent, stop));
        let curve = follow(&rig, options, sent);
        stop.store(true, Ordering::Relaxed);
        let loaded = load
            .join()
            .unwrap_or_else(|_| Err(Failure::no_answer("the load panicked")));
        loaded.and(curve)
    })?;
    let greatest = curve.iter().map(|(_, _, length)| *length).max().unwrap_or_default();
    let mut text = format!(
        "{} events/s, {} customers, 4 partitions\n   time     events   changelog records\n",
        options.rate, options.customers
    );
    for (at, events, length) in &curve {
        let bar = "#".repeat(usize::try_from(length * 40 / greatest.max(1)).unwrap_or_default());
        text.push_str(&format!("{at:6.0} s {events:10} {length:9} {bar}\n"));
    }
    let rows: Vec<_> = curve
        .iter()
        .map(|(at, events, length)| json!({ "at_s": at, "events": events, "records": length }))
        .collect();
    Ok(Report {
        command: "bench changelog",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({ "rate": options.rate, "customers": options.customers, "curve": rows }),
        text,
    })
}

/// Seconds, events sent, and length of the changelog in records.
fn follow(rig: &Rig, options: &BenchChangelog, sent: &AtomicU64) -> Result<Vec<(f64, u64, i64)>, Failure> {
    let _intake = rig.start(Role::Intake)?;
    let mut monitor = rig.start(Role::Monitor)?;
    let begun = Instant::now();
    let mut curve = Vec::new();
    for point in 1..=POINTS {
        let due = options.span.mul_f64(f64::from(point) / f64::from(POINTS));
        // Looks often, so that a service that ended is noticed.
        while let Some(left) = due.checked_sub(begun.elapsed()) {
            rig.until("the monitor runs", &mut monitor, |_| Ok(true))?;
            std::thread::sleep(left.min(Duration::from_secs(1)));
        }
        curve.push((
            begun.elapsed().as_secs_f64(),
            sent.load(Ordering::Relaxed),
            rig.changelog()?,
        ));
    }
    Ok(curve)
}
