//! `waymark bench lateness`: how long after its deadline an absence is visible, on a log where nothing else happens.

use std::time::{Duration, Instant};

use codec::Published as _;
use event::Signal;
use kafka::Tail;
use serde_json::json;
use service::{backend::Backend as _, wall};

use super::{
    quantile,
    rig::{ABSENCE, Rig},
};
use crate::{
    cli::{BenchLateness, Global, Role},
    report::{Exit, Failure, Report},
};

pub(super) fn run(global: &Global, options: &BenchLateness) -> Result<Report, Failure> {
    let rig = Rig::new(global, &["topics.partitions=4".to_owned(), "order.window=0".to_owned()])?;
    let signals = rig.backend.names().topic("journey.signals");
    let mut tail = Tail::open(&rig.backend.connection(), &[&signals], kafka::From::Now)?;
    let load = rig.load();
    let _intake = rig.start(Role::Intake)?;
    let mut monitor = rig.start(Role::Monitor)?;
    rig.backend
        .publish("bench", &[load.event("warm", "warm", "checkout.started")])?;
    let mut records = Vec::new();
    // The first one shows that all runs; it is not counted.
    rig.until("the first absence", &mut monitor, |_| {
        tail.poll(Duration::from_millis(20), &mut records)?;
        Ok(!records.is_empty())
    })?;
    records.clear();
    let gap = Duration::from_secs_f64(1.0 / options.rate.max(0.1));
    let begun = Instant::now();
    let (mut sent, mut late) = (0, Vec::new());
    while late.len() < options.absences {
        if sent < options.absences && begun.elapsed() >= gap.mul_f64(sent as f64) {
            let name = format!("q{sent}");
            rig.backend
                .publish("bench", &[load.event(&name, &name, "checkout.started")])?;
            sent += 1;
        }
        tail.poll(Duration::from_millis(5), &mut records)?;
        let now = wall();
        for record in records.drain(..) {
            let signal = Signal::decode(&record.value.unwrap_or_default())
                .map_err(|refused| format!("a signal that cannot be read: {refused:?}"))?;
            late.push((now.0 - signal.matched_at.0) as f64);
        }
        if begun.elapsed() > gap.mul_f64(options.absences as f64) + Duration::from_millis(ABSENCE.unsigned_abs()) * 20 {
            return Err(Failure::no_answer(format!(
                "absences did not fire in time: {} of {}",
                late.len(),
                options.absences
            )));
        }
    }
    late.sort_by(f64::total_cmp);
    let early = late.iter().filter(|late| **late < 0.0).count();
    let (p50, p90, p99) = (quantile(&late, 0.5), quantile(&late, 0.9), quantile(&late, 0.99));
    let greatest = late.last().copied().unwrap_or_default();
    Ok(Report {
        command: "bench lateness",
        exit: if early == 0 { Exit::Done } else { Exit::Findings },
        findings: Vec::new(),
        data: json!({
            "absences": late.len(), "rate": options.rate, "early": early,
            "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": greatest,
        }),
        text: format!(
            "{} absences of {} s at {} a second, order.window 0; early {early}\n\
             visible after the deadline: p50 {p50:.0} ms, p90 {p90:.0} ms, p99 {p99:.0} ms, at most {greatest:.0} ms\n",
            late.len(),
            ABSENCE / 1000,
            options.rate
        ),
    })
}
