//! What the monitor adds to the worker's loop: the catalogue from its topic, and counting.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use event::Millis;
use journey::{Counted, Said};
use sentiment::LANGUAGES;
use service::{
    telemetry::Probe,
    wall,
    worker::{Hooks, Observation, Stop},
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
    /// Texts read again in the journey's language, by language and label.
    pub reread: BTreeMap<(&'static str, &'static str), u64>,
    /// Catalogue records by result.
    pub reloads: BTreeMap<&'static str, u64>,
    /// Open runs dropped because their pattern or its version is no longer in the catalogue, by pattern.
    pub dropped: BTreeMap<String, u64>,
}

impl Counters {
    /// Counts runs that were open before and are not after.
    pub(crate) fn count_dropped(&mut self, before: BTreeMap<Arc<str>, usize>, after: &BTreeMap<Arc<str>, usize>) {
        for (pattern, runs) in before {
            let gone = runs.saturating_sub(after.get(&pattern).copied().unwrap_or(0));
            if gone > 0 {
                *self.dropped.entry(pattern.to_string()).or_default() += gone as u64;
            }
        }
    }

    /// Counts runs that could not go over to another journey.
    pub(crate) fn count_left(&mut self, runs: u32) {
        if runs > 0 {
            *self.capped.entry("handed_over").or_default() += u64::from(runs);
        }
    }

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
                Said::Sentiment(again) => {
                    let found = again.score.lang.as_deref();
                    let language = LANGUAGES
                        .into_iter()
                        .find(|known| Some(*known) == found)
                        .unwrap_or("other");
                    *self.reread.entry((language, again.score.label.as_str())).or_default() += 1;
                }
                Said::Intervention(_) | Said::Profile(_) => {}
            }
        }
    }
}

/// `journey.patterns`, read to its end.
pub struct Catalogue {
    reader: Box<dyn TopicReader>,
    board: Board,
    reloads: BTreeMap<&'static str, u64>,
}

impl Catalogue {
    /// Reads the catalogue to its end.
    ///
    /// # Errors
    /// [`LogError`] if that cannot be done within `budget`.
    pub fn read(mut reader: Box<dyn TopicReader>, budget: Duration) -> Result<Self, LogError> {
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
        Ok(Self { reader, board, reloads })
    }

    fn follow(&mut self) -> Result<(), LogError> {
        let mut records = Vec::new();
        self.reader.read(Duration::ZERO, &mut records)?;
        for record in &records {
            take(&mut self.board, record, &mut self.reloads);
        }
        Ok(())
    }
}

/// Follows `journey.patterns`.
pub struct CatalogueHooks {
    catalogue: Catalogue,
    probe: Probe,
    stage: Arc<Monitor>,
    loaded: Option<i64>,
}

impl CatalogueHooks {
    /// Goes on behind what was read.
    #[must_use]
    pub fn new(catalogue: Catalogue, probe: Probe, stage: Arc<Monitor>) -> Self {
        Self {
            catalogue,
            probe,
            stage,
            loaded: None,
        }
    }

    /// What is in force.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.catalogue.board
    }

    /// Where this worker's figures go.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Waits until every value of the topic compiles here. At start there is no older engine that could go on: a worker that lacks a
    /// pattern would let customers pass whom it should have stopped, so it takes no partition before.
    ///
    /// # Errors
    /// [`Stop`] if the topic cannot be read any more, or `stop` is set.
    pub fn until_whole(&mut self, stop: &AtomicBool) -> Result<(), Stop> {
        let mut told = None;
        while !stop.load(Ordering::Relaxed) {
            self.probe.beat();
            match self.catalogue.follow() {
                Ok(()) | Err(LogError::Retriable(_)) => {}
                Err(error) => return Err(Stop::Failed(format!("reading patterns: {error}"))),
            }
            tell_reloads(&std::mem::take(&mut self.catalogue.reloads), &self.probe);
            match self.catalogue.board.missing() {
                None => return Ok(()),
                Some(why) if told.as_deref() != Some(why) => {
                    tracing::error!(
                        reason = why,
                        "waiting: a pattern of the catalogue does not compile here, and nothing older stands in its place"
                    );
                    told = Some(why.to_owned());
                }
                Some(_) => {}
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(Stop::Asked)
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
        if let Err(error) = self.catalogue.follow() {
            tracing::warn!(%error, "patterns cannot be read for now");
        }
        if self.loaded != Some(self.catalogue.board.revision()) {
            stage.load(&self.catalogue.board);
            self.loaded = Some(self.catalogue.board.revision());
            let matched = self
                .catalogue
                .board
                .patterns()
                .filter(|pattern| pattern.status.is_matched())
                .count();
            tracing::info!(
                revision = self.catalogue.board.revision(),
                patterns = matched,
                "catalogue in force"
            );
        }
        let mut counters = stage.take_counters();
        counters.reloads = std::mem::take(&mut self.catalogue.reloads);
        tell(&counters, &self.probe, wall());
        Some(self.catalogue.board.revision())
    }

    fn observe(&mut self, what: &Observation<'_>) {
        if matches!(what, Observation::Dropped) {
            // It will be counted when it is read again.
            drop(self.stage.take_counters());
        }
        self.probe.observe(what);
    }
}

fn tell_reloads(reloads: &BTreeMap<&'static str, u64>, probe: &Probe) {
    for (result, records) in reloads {
        probe.count("waymark_pattern_reloads_total", &[result], *records);
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
    for ((language, label), texts) in &counters.reread {
        probe.count("waymark_sentiment_reread_total", &[language, label], *texts);
    }
    tell_reloads(&counters.reloads, probe);
    for (pattern, runs) in &counters.dropped {
        probe.count("waymark_pattern_runs_dropped_total", &[pattern], *runs);
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
