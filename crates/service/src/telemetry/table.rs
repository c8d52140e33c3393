//! Every metric that exists. `docs/METRICS.md` is this table, compared by a test.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Spans, in seconds.
    Seconds,
    /// Scores, −1 to 1.
    Score,
}

impl Kind {
    /// As the documentation calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Seconds | Self::Score => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels beside `service`.
    pub labels: &'static [&'static str],
    /// The services that have it.
    pub services: &'static [&'static str],
    /// Series that are there from the start, at zero.
    pub zeros: &'static [&'static [&'static str]],
    /// What it means; what to alert on.
    pub meaning: &'static str,
}

const ALL: &[&str] = &["intake", "monitor", "console"];
const WORKERS: &[&str] = &["intake", "monitor"];
const INTAKE: &[&str] = &["intake"];
const MONITOR: &[&str] = &["monitor"];
const NONE: &[&[&str]] = &[];
/// Without labels: the one series is there from the start.
const ONE: &[&[&str]] = &[&[]];

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    services: &'static [&'static str],
    zeros: &'static [&'static [&'static str]],
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        services,
        zeros,
        meaning,
    }
}

use Kind::{Counter, Gauge, Score, Seconds};

/// Every metric, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    metric(
        "waymark_records_read_total",
        Counter,
        &["topic"],
        WORKERS,
        NONE,
        "consumed, dead letters included",
    ),
    metric(
        "waymark_records_written_total",
        Counter,
        &["topic"],
        WORKERS,
        NONE,
        "committed outputs",
    ),
    metric(
        "waymark_dead_letters_total",
        Counter,
        &["topic", "reason"],
        WORKERS,
        NONE,
        "refused records by source topic; **WaymarkDeadLetters**: over 0.1 % of read, 10 min",
    ),
    metric(
        "waymark_quarantined_total",
        Counter,
        &["cause"],
        MONITOR,
        &[&["panicked"], &["crash_loop"]],
        "customers kept from the stage, whose timer or rows made it panic or the process die: panicked, crash_loop; **WaymarkPoison**: any, or a dead letter for either reason",
    ),
    metric(
        "waymark_late_events_total",
        Counter,
        &["channel"],
        MONITOR,
        NONE,
        "behind the customer's clock",
    ),
    metric(
        "waymark_discarded_events_total",
        Counter,
        &["cause"],
        MONITOR,
        &[&["duplicate"]],
        "read and not folded: duplicate",
    ),
    metric(
        "waymark_flagged_events_total",
        Counter,
        &["channel", "flag"],
        INTAKE,
        NONE,
        "**WaymarkSenderClock**: `time_clamped` over 1 %",
    ),
    metric(
        "waymark_capped_total",
        Counter,
        &["cap"],
        MONITOR,
        &[&["runs"], &["timeline"], &["rate"]],
        "excess handled by a cap's rule: runs, timeline, rate",
    ),
    metric(
        "waymark_redactions_total",
        Counter,
        &["kind"],
        INTAKE,
        &[&["email"], &["phone"], &["iban"], &["card"]],
        "taken out of texts: email, phone, iban, card",
    ),
    metric(
        "waymark_clock_timestamp_seconds",
        Gauge,
        &["partition"],
        MONITOR,
        NONE,
        "the partition's clock, Unix time; **WaymarkClockStuck**: 30 s behind now",
    ),
    metric(
        "waymark_input_progress_timestamp_seconds",
        Gauge,
        &["topic", "partition"],
        INTAKE,
        NONE,
        "everything that had arrived by then has been read, Unix time, at wall clock; 0 while nothing is known of the partition; the least of them holds every clock",
    ),
    metric(
        "waymark_decision_seconds",
        Seconds,
        &[],
        MONITOR,
        ONE,
        "from the broker's time of the raw record to the commit of what came of it, at wall clock; **WaymarkDecisionsSlow**: burn rate of 95 % within 5 s",
    ),
    metric(
        "waymark_timer_lateness_seconds",
        Seconds,
        &[],
        MONITOR,
        ONE,
        "from when a timer was due to the commit of what it did, at wall clock",
    ),
    metric(
        "waymark_epoch_seconds",
        Seconds,
        &["phase"],
        WORKERS,
        NONE,
        "process, commit",
    ),
    metric(
        "waymark_epochs_total",
        Counter,
        &["result"],
        WORKERS,
        &[&["committed"], &["aborted"], &["unknown"]],
        "committed, aborted, unknown; **WaymarkEpochsFailing**: over 5 % not committed",
    ),
    metric(
        "waymark_producers_recycled_total",
        Counter,
        &["cause"],
        WORKERS,
        &[&["begin"], &["abort"], &["unknown"], &["slow"], &["fenced"]],
        "producers replaced: begin, abort, unknown, slow (a copy of a request may be on its way), fenced",
    ),
    metric(
        "waymark_rebalances_total",
        Counter,
        &["kind"],
        WORKERS,
        &[&["assigned"], &["revoked"], &["lost"]],
        "assigned, revoked, lost; **WaymarkRebalances**: over 6 an hour",
    ),
    metric(
        "waymark_group_behind_total",
        Counter,
        &[],
        WORKERS,
        ONE,
        "a partition's committed offset was told as it stood earlier, and reading went on where the changelog stands; a coordinator that reads its log in part does that",
    ),
    metric(
        "waymark_partitions_moved_on_total",
        Counter,
        &[],
        WORKERS,
        ONE,
        "a worker that believed to have a partition found in its changelog that another had gone on with it, committed nothing, and opened it anew where that one stood; one that stood still and whose group's coordinator has read its log in part does that",
    ),
    metric(
        "waymark_unmarked_commits_total",
        Counter,
        &[],
        WORKERS,
        ONE,
        "a transaction that was committed stood open because its markers were missing, and was closed; a broker that dies behind a commit does that where a partition has no other replica (KAFKA-20734)",
    ),
    metric(
        "waymark_partitions_assigned",
        Gauge,
        &[],
        WORKERS,
        ONE,
        "input partitions owned by this process",
    ),
    metric(
        "waymark_halted",
        Gauge,
        &[],
        WORKERS,
        ONE,
        "**WaymarkHalted**: 1; page, keep the disk",
    ),
    metric(
        "waymark_timers_pending",
        Gauge,
        &[],
        MONITOR,
        ONE,
        "customers with a deadline",
    ),
    metric(
        "waymark_state_bytes",
        Gauge,
        &["kind"],
        MONITOR,
        &[&["overlay"]],
        "overlay: committed rows in memory alone",
    ),
    metric(
        "waymark_changelog_bytes",
        Gauge,
        &["partition"],
        MONITOR,
        NONE,
        "log since the last whole snapshot began, before compression",
    ),
    metric(
        "waymark_changelog_trims_total",
        Counter,
        &["result"],
        WORKERS,
        &[&["done"], &["refused"]],
        "done, refused; **WaymarkChangelogUntrimmed**: any refused",
    ),
    metric(
        "waymark_restore_remaining_records",
        Gauge,
        &["partition"],
        WORKERS,
        NONE,
        "of the changelog; **WaymarkRestoreStuck**: above 0, not falling, 5 min",
    ),
    metric(
        "waymark_pattern_matches_total",
        Counter,
        &["pattern", "version"],
        MONITOR,
        NONE,
        "complete matches, live and shadow",
    ),
    metric(
        "waymark_pattern_errors_total",
        Counter,
        &["pattern"],
        MONITOR,
        NONE,
        "a predicate had no result (a field that is missing, a wrong type, an overflow, a division of whole numbers by zero) and counted as no match; **WaymarkPatternErrors**: any in 15 min",
    ),
    metric(
        "waymark_pattern_runs_dropped_total",
        Counter,
        &["pattern"],
        MONITOR,
        NONE,
        "open runs dropped because their pattern, or the version under which they began, is no longer in the catalogue",
    ),
    metric(
        "waymark_pattern_reloads_total",
        Counter,
        &["result"],
        MONITOR,
        &[&["taken"], &["refused"]],
        "records of the catalogue: taken, refused; **WaymarkReloadRefused**: any refused",
    ),
    metric(
        "waymark_interventions_total",
        Counter,
        &["pattern", "channel"],
        MONITOR,
        NONE,
        "emitted to a channel",
    ),
    metric(
        "waymark_interventions_withheld_total",
        Counter,
        &["pattern", "reason"],
        MONITOR,
        NONE,
        "decided against, by reason",
    ),
    metric(
        "waymark_sentiment_scored_total",
        Counter,
        &["language", "tier", "label"],
        INTAKE,
        NONE,
        "texts; `unscored` apart from `neutral`; languages without a lexicon are `other`",
    ),
    metric(
        "waymark_sentiment_score",
        Score,
        &["language", "tier"],
        INTAKE,
        NONE,
        "scores; watch for drift",
    ),
    metric(
        "waymark_sentiment_reread_total",
        Counter,
        &["language", "label"],
        MONITOR,
        NONE,
        "texts scored again in the language of their journey",
    ),
    metric(
        "waymark_sentiment_model_info",
        Gauge,
        &["language", "tier", "version"],
        INTAKE,
        NONE,
        "1 for each model in use",
    ),
    metric(
        "waymark_schema_fetches_total",
        Counter,
        &["result"],
        INTAKE,
        &[&["fetched"], &["failed"], &["unknown"], &["unusable"]],
        "questions to the registry: fetched, failed, unknown, unusable; **WaymarkRegistryDown**: failures, none fetched, 5 min",
    ),
    metric(
        "waymark_http_request_seconds",
        Seconds,
        &["route", "status"],
        ALL,
        NONE,
        "route template, status class",
    ),
    metric(
        "waymark_build_info",
        Gauge,
        &["version", "config"],
        ALL,
        NONE,
        "1; `config` is a hash of the options that change outputs; **WaymarkConfigSplit**: several per service",
    ),
];
