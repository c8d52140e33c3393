//! What SREs see: metrics and health of every service in this process.

mod health;
mod table;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use prometheus::{
    Encoder as _, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder, core::Collector,
};

pub use health::Check;
pub use table::{Kind, METRICS, Metric};

use crate::{
    wall,
    worker::{Observation, Stop},
};

/// The edges of spans, in seconds: 5 ms to 10 minutes, with one on every objective.
const SECONDS: [f64; 16] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// The edges of scores.
const SCORES: [f64; 9] = [-0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8];

enum Family {
    Counter(IntCounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// Metrics and health of this process. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    families: BTreeMap<&'static str, Family>,
    services: Vec<&'static str>,
    hearts: Mutex<Vec<Arc<Heart>>>,
}

/// One worker's signs of life.
struct Heart {
    name: String,
    service: &'static str,
    turned: AtomicI64,
    started: AtomicBool,
    restoring: AtomicBool,
    halted: AtomicBool,
}

impl Telemetry {
    /// For the services that this process runs; `config` is the hash of the options that change outputs.
    ///
    /// # Panics
    /// If two metrics of the table have one name, which a test rules out.
    #[must_use]
    pub fn new(services: &[&'static str], config: &str) -> Self {
        let registry = Registry::new();
        let mut families = BTreeMap::new();
        for metric in METRICS {
            let mut labels = vec!["service"];
            labels.extend(metric.labels);
            // Bold names of alerts are for the documentation.
            let help = metric.meaning.replace("**", "");
            let family = match metric.kind {
                Kind::Counter => Family::Counter(registered(
                    &registry,
                    |opts| IntCounterVec::new(opts, &labels),
                    metric,
                    help,
                )),
                Kind::Gauge => Family::Gauge(registered(&registry, |opts| GaugeVec::new(opts, &labels), metric, help)),
                Kind::Seconds | Kind::Score => {
                    let edges = if metric.kind == Kind::Score {
                        SCORES.to_vec()
                    } else {
                        SECONDS.to_vec()
                    };
                    let make = |opts: Opts| HistogramVec::new(HistogramOpts::from(opts).buckets(edges), &labels);
                    Family::Histogram(registered(&registry, make, metric, help))
                }
            };
            families.insert(metric.name, family);
        }
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry
            .register(Box::new(process))
            .expect("process metrics are registered once");
        let telemetry = Self {
            shared: Arc::new(Shared {
                registry,
                families,
                services: services.to_vec(),
                hearts: Mutex::default(),
            }),
        };
        for service in services {
            for metric in METRICS.iter().filter(|metric| metric.services.contains(service)) {
                for labels in metric.zeros {
                    telemetry.touch(metric.name, service, labels);
                }
            }
            telemetry.set(service, "waymark_build_info", &[env!("CARGO_PKG_VERSION"), config], 1.0);
        }
        telemetry
    }

    /// A probe for one worker of a service.
    #[must_use]
    pub fn probe(&self, service: &'static str, worker: usize) -> Probe {
        let heart = Arc::new(Heart {
            name: format!("{service}-{worker}"),
            service,
            turned: AtomicI64::new(wall().0),
            started: AtomicBool::new(false),
            restoring: AtomicBool::new(false),
            halted: AtomicBool::new(false),
        });
        let mut hearts = self.shared.hearts.lock().unwrap_or_else(PoisonError::into_inner);
        hearts.retain(|known| known.name != heart.name);
        hearts.push(Arc::clone(&heart));
        Probe {
            telemetry: self.clone(),
            heart,
            summed: BTreeMap::new(),
            timers: BTreeMap::new(),
        }
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.shared.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    /// The sum of a counter over all series of this process.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        let Some(Family::Counter(family)) = self.shared.families.get(name) else {
            return 0;
        };
        let series = family.collect().into_iter().flat_map(|mut family| family.take_metric());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole and not negative"
        )]
        series.map(|series| series.get_counter().get_value() as u64).sum()
    }

    /// Measures one request.
    pub fn request(&self, service: &'static str, route: &str, status: u16, seconds: f64) {
        let class = format!("{}xx", status / 100);
        self.record(service, "waymark_http_request_seconds", &[route, &class], seconds);
    }

    fn touch(&self, name: &str, service: &str, labels: &[&str]) {
        let values = with_service(service, labels);
        match self.shared.families.get(name) {
            Some(Family::Counter(family)) => drop(family.with_label_values(&values)),
            Some(Family::Gauge(family)) => drop(family.with_label_values(&values)),
            Some(Family::Histogram(family)) => drop(family.with_label_values(&values)),
            None => {}
        }
    }

    fn count(&self, service: &str, name: &'static str, labels: &[&str], more: u64) {
        match self.shared.families.get(name) {
            Some(Family::Counter(family)) => family.with_label_values(&with_service(service, labels)).inc_by(more),
            _ => debug_assert!(false, "no such counter: {name}"),
        }
    }

    fn set(&self, service: &str, name: &'static str, labels: &[&str], value: f64) {
        match self.shared.families.get(name) {
            Some(Family::Gauge(family)) => family.with_label_values(&with_service(service, labels)).set(value),
            _ => debug_assert!(false, "no such gauge: {name}"),
        }
    }

    fn add(&self, service: &str, name: &'static str, labels: &[&str], difference: f64) {
        match self.shared.families.get(name) {
            Some(Family::Gauge(family)) => family.with_label_values(&with_service(service, labels)).add(difference),
            _ => debug_assert!(false, "no such gauge: {name}"),
        }
    }

    /// Ends a series: another process has what it measured.
    fn end(&self, service: &str, name: &'static str, labels: &[&str]) {
        if let Some(Family::Gauge(family)) = self.shared.families.get(name) {
            // A series that never began need not end.
            let _ = family.remove_label_values(&with_service(service, labels));
        }
    }

    fn record(&self, service: &str, name: &'static str, labels: &[&str], value: f64) {
        match self.shared.families.get(name) {
            Some(Family::Histogram(family)) => family.with_label_values(&with_service(service, labels)).observe(value),
            _ => debug_assert!(false, "no such histogram: {name}"),
        }
    }
}

fn with_service<'a>(service: &'a str, labels: &[&'a str]) -> Vec<&'a str> {
    std::iter::once(service).chain(labels.iter().copied()).collect()
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    make: impl FnOnce(Opts) -> prometheus::Result<C>,
    metric: &Metric,
    help: String,
) -> C {
    let family = make(Opts::new(metric.name, help)).expect("names and labels of the table are valid");
    registry
        .register(Box::new(family.clone()))
        .expect("each name stands once in the table");
    family
}

/// What one worker tells. Every worker has its own.
pub struct Probe {
    telemetry: Telemetry,
    heart: Arc<Heart>,
    /// This worker's part of gauges that are sums over workers.
    summed: BTreeMap<&'static str, f64>,
    /// Timers and bytes by partition.
    timers: BTreeMap<i32, (usize, usize)>,
}

impl Probe {
    /// A probe that nobody looks at, for tests and tools.
    #[must_use]
    pub fn unwatched(service: &'static str) -> Self {
        Telemetry::new(&[service], "").probe(service, 0)
    }

    /// The worker is alive.
    pub fn beat(&self) {
        self.heart.turned.store(wall().0, Ordering::Relaxed);
    }

    /// The worker does its work: what it needs has been read.
    pub fn started(&self) {
        self.heart.started.store(true, Ordering::Relaxed);
    }

    /// Counts.
    pub fn count(&self, name: &'static str, labels: &[&str], more: u64) {
        if more > 0 {
            self.telemetry.count(self.heart.service, name, labels, more);
        }
    }

    /// Sets a gauge.
    pub fn set(&self, name: &'static str, labels: &[&str], value: f64) {
        self.telemetry.set(self.heart.service, name, labels, value);
    }

    /// Ends a series: what it spoke of is not this process's any more.
    pub fn end(&self, name: &'static str, labels: &[&str]) {
        self.telemetry.end(self.heart.service, name, labels);
    }

    /// Puts a value into a histogram.
    pub fn record(&self, name: &'static str, labels: &[&str], value: f64) {
        self.telemetry.record(self.heart.service, name, labels, value);
    }

    /// Sets this worker's part of a gauge that is a sum over workers.
    fn sum(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let before = self.summed.insert(name, value).unwrap_or(0.0);
        self.telemetry.add(self.heart.service, name, labels, value - before);
    }

    /// To be called with the reason, should the worker end by itself.
    pub fn ending(&self) -> impl Fn(&Stop) + use<> {
        let (telemetry, heart) = (self.telemetry.clone(), Arc::clone(&self.heart));
        move |stop| {
            if matches!(stop, Stop::Halted(_)) {
                heart.halted.store(true, Ordering::Relaxed);
                telemetry.set(heart.service, "waymark_halted", &[], 1.0);
            }
        }
    }

    /// Takes what the worker's loop tells.
    pub fn observe(&mut self, what: &Observation<'_>) {
        match what {
            Observation::Turned => self.beat(),
            Observation::Read { topic, records } => self.count("waymark_records_read_total", &[topic], *records),
            Observation::Committed {
                written,
                dead,
                process,
                commit,
            } => {
                self.beat();
                self.count("waymark_epochs_total", &["committed"], 1);
                self.record("waymark_epoch_seconds", &["process"], process.as_secs_f64());
                self.record("waymark_epoch_seconds", &["commit"], commit.as_secs_f64());
                for (topic, records) in *written {
                    self.count("waymark_records_written_total", &[topic], *records);
                }
                for ((topic, reason), letters) in *dead {
                    self.count("waymark_dead_letters_total", &[topic, reason], *letters);
                }
            }
            Observation::Aborted => self.count("waymark_epochs_total", &["aborted"], 1),
            Observation::Dropped => {}
            Observation::Unknown => self.count("waymark_epochs_total", &["unknown"], 1),
            Observation::Recycled(cause) => self.count("waymark_producers_recycled_total", &[cause], 1),
            Observation::Rebalanced(kind) => self.count("waymark_rebalances_total", &[kind], 1),
            Observation::Assigned(partitions) => {
                self.heart.restoring.store(false, Ordering::Relaxed);
                self.started();
                #[expect(clippy::cast_precision_loss, reason = "few partitions")]
                self.sum("waymark_partitions_assigned", &[], *partitions as f64);
            }
            Observation::Restoring { partition, remaining } => {
                self.beat();
                self.heart.restoring.store(*remaining > 0, Ordering::Relaxed);
                #[expect(clippy::cast_precision_loss, reason = "a gauge")]
                self.set(
                    "waymark_restore_remaining_records",
                    &[&partition.to_string()],
                    *remaining as f64,
                );
            }
            Observation::Given(partition) => {
                self.timers.remove(partition);
                self.sum_partitions();
                for name in [
                    "waymark_clock_timestamp_seconds",
                    "waymark_changelog_bytes",
                    "waymark_restore_remaining_records",
                ] {
                    self.telemetry.end(self.heart.service, name, &[&partition.to_string()]);
                }
            }
            Observation::Partition {
                partition,
                clock,
                timers,
                overlay_bytes,
                changelog_bytes,
            } => {
                if self.heart.service == "monitor" && clock.0 > 0 {
                    #[expect(clippy::cast_precision_loss, reason = "milliseconds until the year 287,396")]
                    let seconds = clock.0 as f64 / 1000.0;
                    self.set("waymark_clock_timestamp_seconds", &[&partition.to_string()], seconds);
                    self.timers.insert(*partition, (*timers, *overlay_bytes));
                    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
                    let bytes = *changelog_bytes as f64;
                    self.set("waymark_changelog_bytes", &[&partition.to_string()], bytes);
                }
            }
            Observation::ToldPast => self.count("waymark_group_behind_total", &[], 1),
            Observation::MovedOn => self.count("waymark_partitions_moved_on_total", &[], 1),
            Observation::Closed => self.count("waymark_unmarked_commits_total", &[], 1),
            Observation::Quarantined(cause) => self.count("waymark_quarantined_total", &[cause.code()], 1),
            Observation::Trimmed(done) => {
                let result = if *done { "done" } else { "refused" };
                self.count("waymark_changelog_trims_total", &[result], 1);
            }
            Observation::Seen => self.sum_partitions(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    fn sum_partitions(&mut self) {
        if self.heart.service != "monitor" {
            return;
        }
        let (timers, bytes) = self
            .timers
            .values()
            .fold((0, 0), |(timers, bytes), one| (timers + one.0, bytes + one.1));
        self.sum("waymark_timers_pending", &[], timers as f64);
        self.sum("waymark_state_bytes", &["overlay"], bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use event::Millis;

    use super::*;

    /// The table of `docs/METRICS.md`.
    fn documented() -> String {
        let mut text = String::new();
        for metric in METRICS {
            let labels = if metric.labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", metric.labels.join(", "))
            };
            text.push_str(&format!(
                "| `{}{labels}` | {} | {} | {} |\n",
                metric.name,
                metric.kind.as_str(),
                metric.services.join(", "),
                metric.meaning
            ));
        }
        text
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let page = include_str!("../../../../docs/METRICS.md");
        let rows: String = page
            .lines()
            .filter(|line| line.starts_with("| `waymark_"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(rows, documented(), "docs/METRICS.md and the table differ");
    }

    #[test]
    fn names_follow_the_rules() {
        for metric in METRICS {
            assert!(metric.name.starts_with("waymark_"), "{}", metric.name);
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(
                metric.name.ends_with("_total"),
                is_counter,
                "_total on counters alone: {}",
                metric.name
            );
            for never in ["customer", "session", "conversation", "event", "offset", "agent", "url"] {
                assert!(!metric.labels.contains(&never), "{} has the label {never}", metric.name);
            }
            assert!(
                metric.zeros.iter().all(|zero| zero.len() == metric.labels.len()),
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn what_a_worker_tells_is_exported_with_its_service() {
        let telemetry = Telemetry::new(&["monitor"], "abc");
        let (mut one, mut two) = (telemetry.probe("monitor", 0), telemetry.probe("monitor", 1));
        one.observe(&Observation::Assigned(3));
        two.observe(&Observation::Assigned(2));
        one.observe(&Observation::Assigned(1));
        one.observe(&Observation::Read {
            topic: "journey.timeline",
            records: 7,
        });
        one.count("waymark_interventions_total", &["bot-loop", "chat"], 2);
        one.observe(&Observation::Partition {
            partition: 3,
            clock: Millis(5000),
            timers: 1,
            overlay_bytes: 1,
            changelog_bytes: 1,
        });
        let text = String::from_utf8(telemetry.text()).expect("text");
        for line in [
            "waymark_partitions_assigned{service=\"monitor\"} 3",
            "waymark_records_read_total{service=\"monitor\",topic=\"journey.timeline\"} 7",
            "waymark_interventions_total{channel=\"chat\",pattern=\"bot-loop\",service=\"monitor\"} 2",
            "waymark_epochs_total{result=\"aborted\",service=\"monitor\"} 0",
            "waymark_halted{service=\"monitor\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes"));
        let clock = "waymark_clock_timestamp_seconds{partition=\"3\",service=\"monitor\"} 5";
        assert!(text.contains(clock), "{text}");
        one.observe(&Observation::Given(3));
        let text = String::from_utf8(telemetry.text()).expect("text");
        assert!(
            !text.contains(clock),
            "a partition that another process has stands still here"
        );
        assert_eq!(telemetry.total("waymark_interventions_total"), 2);
    }

    #[test]
    fn readiness_follows_the_workers_life() {
        let telemetry = Telemetry::new(&["intake", "monitor"], "");
        let passes = |checks: &[Check]| checks.iter().all(|check| check.reason.is_none());
        let now = wall();
        assert!(passes(&telemetry.live(now)), "a process without workers yet is live");
        assert!(!passes(&telemetry.ready()), "and not ready");
        let (mut intake, mut monitor) = (telemetry.probe("intake", 0), telemetry.probe("monitor", 0));
        intake.observe(&Observation::Assigned(0));
        assert!(!passes(&telemetry.started()), "monitor has not joined");
        monitor.observe(&Observation::Assigned(4));
        assert!(passes(&telemetry.started()) && passes(&telemetry.ready()));
        monitor.observe(&Observation::Restoring {
            partition: 1,
            remaining: 10,
        });
        assert!(!passes(&telemetry.ready()) && passes(&telemetry.live(now)));
        monitor.observe(&Observation::Assigned(4));
        monitor.ending()(&Stop::Halted("positions differ".to_owned()));
        let checks = telemetry.ready();
        assert_eq!(checks[1].reason, Some("halted: keep the disk"));
        assert!(passes(&telemetry.live(now)), "a halted process is live");
        let later = now.plus(31_000);
        assert_eq!(telemetry.live(later)[0].reason, Some("worker has not turned for 30 s"));
    }
}
