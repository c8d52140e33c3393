//! The services' own workers, hooks and stages as processes of a simulation.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use intake::WallClock;
use monitor::{Catalogue, CatalogueHooks, Monitor};
use service::{
    config::{Config, Sources},
    telemetry::Probe,
    topics::{Changelog, Counts, Names, topics},
    worker::{Clock, Start, Stop, Worker, WorkerConfig},
};
use stream::{LogError, Millis, Output, SnapshotRule, Statefulness, TopicPartition};
use testkit::sim::{Host, Job, Member, Sim, SimDb, SimLog, SimReader};

use crate::scenario::{INTAKES, MONITORS, PROCESSES, Scenario};

/// Partitions of the timeline.
pub const TIMELINE: i32 = 3;
/// Partitions of each raw topic.
const RAW: i32 = 2;

pub const PATTERNS: [(&str, &str); 2] = [
    ("sim-hesitation", include_str!("hesitation.yaml")),
    ("sim-interest", include_str!("interest.yaml")),
];

struct SimClock(Host);

impl Clock for SimClock {
    fn wall(&self) -> Millis {
        self.0.wall()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.0.sleep(time);
    }
}

pub fn config() -> Config {
    let set = [
        "profiles.interval=1s".to_owned(),
        "topics.partitions=3".to_owned(),
        "topics.raw_partitions=2".to_owned(),
    ];
    let sources = Sources {
        file: None,
        variables: Vec::new(),
        flags: &set,
    };
    Config::read(&sources).expect("valid")
}

/// The topics, the catalogue, and what customers do.
pub fn furnish(sim: &Sim, scenario: &Scenario) {
    sim.let_rejoin(scenario.rejoining);
    let names = Names::new("");
    let counts = Counts {
        timeline: TIMELINE,
        raw: RAW,
        output: 2,
        retention: 0,
    };
    for spec in topics(&names, counts) {
        sim.create(&spec.name, usize::try_from(spec.partitions).expect("positive"));
    }
    for (id, pattern) in PATTERNS {
        sim.append_at(
            1,
            Output {
                topic: Arc::from(names.patterns()),
                partition: Some(0),
                timestamp: None,
                key: Some(id.as_bytes().to_vec()),
                value: Some(pattern.as_bytes().to_vec()),
                headers: Vec::new(),
            },
        );
    }
    for sent in &scenario.sent {
        sim.append_at(sent.at, sent.output());
    }
    for (at, fault) in &scenario.faults {
        sim.fault_at(*at, fault.clone());
    }
}

fn inputs(service: &str) -> Vec<String> {
    let names = Names::new("");
    match service {
        "intake" => names.all_raw(),
        _ => vec![names.timeline()],
    }
}

/// A service's changelog.
pub fn changelog(service: &str) -> Changelog {
    Changelog::new(&Names::new("").changelog(service), inputs(service))
}

fn settings(host: &Host, scenario: &Settings, service: &'static str, state: Statefulness) -> WorkerConfig {
    let opened = host.clone();
    WorkerConfig {
        epoch_interval: Duration::from_millis(100),
        epoch_records: 15,
        poll_records: 30,
        flush_bytes: 30_000,
        flush_interval: Duration::from_millis(1500),
        window: scenario.window,
        state,
        cached_keys: 3,
        timers_per_round: 2,
        changelog: Some(changelog(service)),
        snapshots: SnapshotRule {
            after: 6000,
            chunk: 700,
        },
        start: scenario.start,
        dead_letters: service::dead_letters(service),
        open_db: Box::new(move |of: &TopicPartition| Ok(Box::new(SimDb::open(&opened, of)))),
        clock: Box::new(SimClock(host.clone())),
    }
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    window: i64,
    is_static: bool,
    start: Start,
}

fn join(host: &Host, settings: Settings, service: &str) -> Result<SimLog, Stop> {
    let names = Names::new("");
    let group = names.group(service);
    loop {
        let member = Member {
            name: format!("{group}-{}", host.process()),
            group: group.clone(),
            is_static: settings.is_static,
            inputs: inputs(service),
            outputs: names.outputs(service),
            changelog: Some(names.changelog(service)),
        };
        match SimLog::join(host, member) {
            Ok(log) => return Ok(log),
            Err(LogError::Retriable(why)) => {
                tracing::debug!(why, "log cannot be opened yet");
                host.sleep(Duration::from_millis(300));
            }
            Err(error) => return Err(Stop::Failed(error.to_string())),
        }
    }
}

fn intake(host: &Host, settings_of: Settings, stop: &Arc<AtomicBool>) -> Result<(), Stop> {
    let names = Names::new("");
    let stage = Arc::new(intake::stage(&config(), &names, b"simulated", None));
    let inputs = i32::try_from(names.all_raw().len()).expect("few") * RAW;
    let log = join(host, settings_of, "intake")?;
    let hooks = WallClock::new(Arc::clone(&stage), TIMELINE, inputs, Probe::unwatched("intake"));
    let own = settings(host, &settings_of, "intake", Statefulness::None);
    Worker::new(log, stage, hooks, own).run(stop)
}

fn monitor(host: &Host, settings_of: Settings, stop: &Arc<AtomicBool>) -> Result<(), Stop> {
    let names = Names::new("");
    let log = join(host, settings_of, "monitor")?;
    let reader = Box::new(SimReader::open(host, &[&names.patterns()]));
    let stage = Arc::new(Monitor::new(&names, monitor::settings(&config())));
    let failed = |error: LogError| Stop::Failed(error.to_string());
    let budget = Duration::from_secs(3600);
    let catalogue = Catalogue::read(reader, budget).map_err(failed)?;
    let hooks = CatalogueHooks::new(catalogue, Probe::unwatched("monitor"), Arc::clone(&stage));
    let whole = Settings {
        start: Start::Earliest,
        ..settings_of
    };
    let own = settings(host, &whole, "monitor", Statefulness::Keyed);
    Worker::new(log, stage, hooks, own).run(stop)
}

/// All processes.
pub fn jobs(scenario: &Scenario) -> Vec<Job> {
    let settings = Settings {
        window: scenario.window,
        is_static: scenario.is_static,
        start: scenario.start,
    };
    let said = |ended: Result<(), Stop>| ended.map_or_else(|stop| stop.to_string(), |()| "stopped".to_owned());
    let all = (0..PROCESSES).map(|process| {
        let is_late = process == INTAKES[2] || process == MONITORS[2];
        let begins = if is_late { scenario.late } else { 0 };
        if INTAKES.contains(&process) {
            let body = move |host: &Host, stop: &Arc<AtomicBool>| said(intake(host, settings, stop));
            Job {
                body: Box::new(body),
                skew: scenario.skew,
                begins,
            }
        } else {
            let body = move |host: &Host, stop: &Arc<AtomicBool>| said(monitor(host, settings, stop));
            Job {
                body: Box::new(body),
                skew: 0,
                begins,
            }
        }
    });
    all.collect()
}
