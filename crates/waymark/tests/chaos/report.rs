//! The result of a run, as one JSON object and as a table.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{faults::Done, schedule::Variant, verdict::Verdict};

/// Everything that a run found.
pub struct Report {
    pub seed: u64,
    pub brokers: usize,
    pub variant: Variant,
    pub events_asked: u64,
    pub faults_asked: usize,
    pub rate: u64,
    pub only: Option<String>,
    pub done: Vec<Done>,
    pub skipped: Vec<String>,
    pub verdict: Verdict,
    pub restarts: BTreeMap<String, u64>,
    pub halted: Vec<String>,
    /// What hung or ended otherwise than it should.
    pub stuck: Vec<String>,
    /// How `waymark audit` ended; `None` where this binary has none.
    pub audit: Option<i32>,
    pub lasted: Duration,
    pub loaded: Duration,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean()
            && self.halted.is_empty()
            && self.stuck.is_empty()
            && self.audit.is_none_or(|code| code == 0)
    }

    fn kinds(&self) -> BTreeMap<&'static str, u64> {
        let mut kinds = BTreeMap::new();
        for done in &self.done {
            *kinds.entry(done.fault.kind.name()).or_default() += 1;
        }
        kinds
    }

    /// The recovery times that were measured, in seconds and in order.
    fn recoveries(&self) -> Vec<f64> {
        let mut seconds: Vec<f64> = self
            .done
            .iter()
            .filter_map(|done| Some(done.recovery?.as_secs_f64()))
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    /// Events of the run per second of its load.
    fn per_second(&self) -> f64 {
        self.verdict.events as f64 / self.loaded.as_secs_f64().max(0.001)
    }

    /// The command that repeats the run.
    pub fn command(&self) -> String {
        let only = self
            .only
            .as_ref()
            .map_or(String::new(), |only| format!(" ONLY='{only}'"));
        format!(
            "make chaos EVENTS={} FAULTS={} SEED={} BROKERS={} RATE={}{only}",
            self.events_asked, self.faults_asked, self.seed, self.brokers, self.rate
        )
    }

    pub fn json(&self) -> Value {
        let verdict = &self.verdict;
        let recoveries = self.recoveries();
        let faults: Vec<Value> = self
            .done
            .iter()
            .map(|done| {
                json!({
                    "at_seconds": round(done.at.as_secs_f64()), "kind": done.fault.kind.name(), "target": done.target,
                    "lasted_seconds": round(done.lasted.as_secs_f64()),
                    "recovery_seconds": done.recovery.map(|recovery| round(recovery.as_secs_f64())),
                })
            })
            .collect();
        json!({
            "clean": self.is_clean(), "seed": self.seed, "brokers": self.brokers,
            "variant": {
                "order_window": self.variant.window, "static_members": self.variant.static_members,
                "workers": self.variant.workers, "profiles": self.variant.profiles,
            },
            "events": verdict.events, "signals": verdict.expected_signals,
            "faults": self.done.len(), "faults_by_kind": self.kinds(), "faults_skipped": self.skipped,
            "lost": verdict.lost, "duplicated": verdict.duplicated, "out_of_order": verdict.out_of_order,
            "early": verdict.early, "wrong": verdict.wrong, "load_at_fault": verdict.load_at_fault,
            "examples": verdict.examples,
            "restarts": self.restarts, "halts": self.halted, "stuck": self.stuck, "audit_exit": self.audit,
            "recovery_seconds": {
                "measured": recoveries.len(), "p50": percentile(&recoveries, 50).map(round),
                "p99": percentile(&recoveries, 99).map(round), "max": recoveries.last().copied().map(round),
            },
            "events_per_second": round(self.per_second()), "rate": self.rate,
            "duration_seconds": round(self.lasted.as_secs_f64()),
            "repeat": self.command(), "schedule": faults,
        })
    }

    pub fn table(&self) -> String {
        let verdict = &self.verdict;
        let recoveries = self.recoveries();
        let seconds =
            |percent| percentile(&recoveries, percent).map_or("-".to_owned(), |value| format!("{value:.1} s"));
        let mut rows: Vec<(String, String)> = vec![
            ("seed, brokers".to_owned(), format!("{}, {}", self.seed, self.brokers)),
            (
                "variant".to_owned(),
                format!(
                    "window {}, {} members, {} workers, profiles {}",
                    self.variant.window,
                    if self.variant.static_members {
                        "static"
                    } else {
                        "dynamic"
                    },
                    self.variant.workers,
                    if self.variant.profiles { "on" } else { "off" }
                ),
            ),
            ("events".to_owned(), verdict.events.to_string()),
            ("signals expected".to_owned(), verdict.expected_signals.to_string()),
            ("faults".to_owned(), self.done.len().to_string()),
        ];
        for (kind, count) in self.kinds() {
            rows.push((format!("  {kind}"), count.to_string()));
        }
        for skipped in &self.skipped {
            rows.push(("  skipped".to_owned(), skipped.clone()));
        }
        for (name, count) in [
            ("lost", verdict.lost),
            ("duplicated", verdict.duplicated),
            ("out of order", verdict.out_of_order),
            ("early", verdict.early),
            ("wrong", verdict.wrong),
            ("load at fault", verdict.load_at_fault),
            ("halts", self.halted.len() as u64),
            ("stuck", self.stuck.len() as u64),
            ("restarts", self.restarts.values().sum()),
        ] {
            rows.push((name.to_owned(), count.to_string()));
        }
        for (reason, count) in &self.restarts {
            rows.push(("  restarted".to_owned(), format!("{count} x {reason}")));
        }
        rows.push((
            "audit".to_owned(),
            self.audit
                .map_or("not in this binary".to_owned(), |code| format!("exit {code}")),
        ));
        rows.push((
            "recovery p50, p99".to_owned(),
            format!("{}, {} ({} measured)", seconds(50), seconds(99), recoveries.len()),
        ));
        rows.push(("events/s".to_owned(), format!("{:.0}", self.per_second())));
        rows.push(("duration".to_owned(), format!("{:.0} s", self.lasted.as_secs_f64())));
        let mut table = String::new();
        for (name, value) in rows {
            writeln!(table, "{name:<34} {value}").expect("a string takes all");
        }
        for line in self.halted.iter().chain(&self.stuck).chain(&verdict.examples) {
            writeln!(table, "! {line}").expect("a string takes all");
        }
        table
    }

    /// Writes the JSON into a folder; returns the file's name.
    pub fn write(&self, folder: &Path) -> std::path::PathBuf {
        std::fs::create_dir_all(folder).expect("the folder of results can be made");
        let file = folder.join(format!("{}-{}.json", self.seed, self.brokers));
        let text = serde_json::to_string_pretty(&self.json()).expect("values are JSON");
        std::fs::write(&file, text + "\n").expect("the result can be written");
        file
    }
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// The least value that so many percent do not exceed; `None` of nothing.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 50), Some(50.0));
        assert_eq!(percentile(&hundred, 99), Some(99.0));
        assert_eq!(percentile(&[3.0], 99), Some(3.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
