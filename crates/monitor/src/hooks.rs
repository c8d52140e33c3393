//! What the monitor adds to the worker's loop: the catalogue from its topic, and counting.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use event::Millis;
use journey::{Counted, Said};
use service::{
    telemetry::Probe,
    wall,
    worker::{Hooks, Observation},
};
use stream::{LogError, TopicReader};

use crate::{Board, Monitor, Reloaded};

/// What the stage counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Repeats of events.
    pub duplicates: u64,
    /// Excess handled by a cap's rule, by cap.
    pub capped: BTreeMap<&'static str, u64>,
    /// Events behind their customer's clock, by channel.
    pub late: BTreeMap<&'static str, u64>,
    /// When the raw records of these events reached the broker; at wall clock only.
    pub arrived: Vec<Millis>,
    /// When these timers were due; at wall clock only.
    pub due: Vec<Millis>,
    /// Predicates that failed, by pattern.
    pub pattern_errors: BTreeMap<String, u64>,
    /// Matches by pattern and version.
    pub matches: BTreeMap<(String, i32), u64>,
    /// Interventions sent, by pattern and channel.
    pub interventions: BTreeMap<(String, &'static str), u64>,
    /// Interventions withheld, by pattern and reason.
    pub withheld: BTreeMap<(String, &'static str), u64>,
    /// Catalogue records by result.
    pub reloads: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(crate) fn count(&mut self, counted: &Counted, said: &[Said]) {
        self.duplicates += u64::from(counted.duplicates);
        let caps = [
            ("runs", counted.capped_runs),
            ("timeline", counted.capped_timeline),
            ("rate", counted.capped_rate),
        ];
        for (cap, excess) in caps {
            if excess > 0 {
                *self.capped.entry(cap).or_default() += u64::from(excess);
            }
        }
        for pattern in &counted.failed {
            *self.pattern_errors.entry(pattern.clone()).or_default() += 1;
        }
        for one in said {
            match one {
                Said::Signal(signal) => {
                    let of = (signal.pattern.clone(), signal.pattern_version);
                    *self.matches.entry(of).or_default() += 1;
                }
                Said::Intervention(sent) if sent.action == event::Action::Start => {
                    let of = (sent.pattern.clone(), sent.channel.as_str());
                    *self.interventions.entry(of).or_default() += 1;
                }
                Said::Withheld(kept) => {
                    let reason = kept.withheld.as_ref().map_or("unknown", |why| why.reason.as_str());
                    *self.withheld.entry((kept.pattern.clone(), reason)).or_default() += 1;
                }
                Said::Intervention(_) | Said::Profile(_) => {}
            }
        }
    }
}

/// Follows `journey.patterns`.
pub struct CatalogueHooks {
    reader: Box<dyn TopicReader>,
    board: Board,
    probe: Probe,
    stage: Arc<Monitor>,
    loaded: Option<i64>,
    reloads: BTreeMap<&'static str, u64>,
}

impl CatalogueHooks {
    /// Reads the catalogue to its end.
    ///
    /// # Errors
    /// [`LogError`] if that cannot be done within `budget`.
    pub fn open(
        mut reader: Box<dyn TopicReader>,
        budget: Duration,
        probe: Probe,
        stage: Arc<Monitor>,
    ) -> Result<Self, LogError> {
        let mut board = Board::default();
        let mut reloads = BTreeMap::new();
        let begun = std::time::Instant::now();
        let mut records = Vec::new();
        loop {
            reader.read(Duration::from_millis(20), &mut records)?;
            for record in records.drain(..) {
                take(&mut board, &record, &mut reloads);
            }
            if reader.is_at_end() {
                break;
            }
            if begun.elapsed() > budget {
                return Err(LogError::Retriable(
                    "patterns were not read to their end in time".to_owned(),
                ));
            }
        }
        Ok(Self {
            reader,
            board,
            probe,
            stage,
            loaded: None,
            reloads,
        })
    }

    /// What is in force.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }
}

fn take(board: &mut Board, record: &stream::Record, reloads: &mut BTreeMap<&'static str, u64>) {
    match board.take(record) {
        Reloaded::Taken => *reloads.entry("taken").or_default() += 1,
        Reloaded::Refused(why) => {
            *reloads.entry("refused").or_default() += 1;
            tracing::error!(reason = why, "pattern refused, the old catalogue stays in force");
        }
    }
}

impl Hooks<Monitor> for CatalogueHooks {
    fn between_epochs(&mut self, stage: &Monitor) -> Option<i64> {
        let mut records = Vec::new();
        if let Err(error) = self.reader.read(Duration::ZERO, &mut records) {
            tracing::warn!(%error, "patterns cannot be read for now");
        }
        for record in &records {
            take(&mut self.board, record, &mut self.reloads);
        }
        if self.loaded != Some(self.board.revision()) {
            stage.load(&self.board);
            self.loaded = Some(self.board.revision());
            let matched = self
                .board
                .patterns()
                .filter(|pattern| pattern.status.is_matched())
                .count();
            tracing::info!(
                revision = self.board.revision(),
                patterns = matched,
                "catalogue in force"
            );
        }
        let mut counters = stage.take_counters();
        counters.reloads = std::mem::take(&mut self.reloads);
        tell(&counters, &self.probe, wall());
        Some(self.board.revision())
    }

    fn observe(&mut self, what: &Observation<'_>) {
        if matches!(what, Observation::Dropped) {
            // It will be counted when it is read again.
            drop(self.stage.take_counters());
        }
        self.probe.observe(what);
    }
}

/// Tells what was counted up to a commit at `now`.
fn tell(counters: &Counters, probe: &Probe, now: Millis) {
    probe.count("waymark_discarded_events_total", &["duplicate"], counters.duplicates);
    for (cap, excess) in &counters.capped {
        probe.count("waymark_capped_total", &[cap], *excess);
    }
    for (channel, events) in &counters.late {
        probe.count("waymark_late_events_total", &[channel], *events);
    }
    for (pattern, errors) in &counters.pattern_errors {
        probe.count("waymark_pattern_errors_total", &[pattern], *errors);
    }
    for ((pattern, version), matches) in &counters.matches {
        probe.count(
            "waymark_pattern_matches_total",
            &[pattern, &version.to_string()],
            *matches,
        );
    }
    for ((pattern, channel), sent) in &counters.interventions {
        probe.count("waymark_interventions_total", &[pattern, channel], *sent);
    }
    for ((pattern, reason), kept) in &counters.withheld {
        probe.count("waymark_interventions_withheld_total", &[pattern, reason], *kept);
    }
    for (result, records) in &counters.reloads {
        probe.count("waymark_pattern_reloads_total", &[result], *records);
    }
    #[expect(clippy::cast_precision_loss, reason = "spans")]
    let seconds = |since: &Millis| now.since(*since).max(0) as f64 / 1000.0;
    for arrived in &counters.arrived {
        probe.record("waymark_decision_seconds", &[], seconds(arrived));
    }
    for due in &counters.due {
        probe.record("waymark_timer_lateness_seconds", &[], seconds(due));
    }
}
