//! The service: the timeline to everything that is said, on either log.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use pattern::Limits;
use service::{
    backend::{Backend, Member},
    config::Config,
    dead_letters, in_hand, partitions_of, run_workers,
    telemetry::Telemetry,
    texts::Readings,
    until_answered,
    worker::{Stop, Worker},
    worker_config,
};
use stream::{Log as _, Statefulness};

use crate::{Catalogue, CatalogueHooks, Monitor, Settings};

/// The service's name in groups, ids and metrics.
pub const SERVICE: &str = "monitor";
/// How long the catalogue may take to be read at start.
const CATALOGUE: Duration = Duration::from_secs(60);

/// What the configuration says for all customers.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    let size = |key: &str| usize::try_from(config.number(key)).unwrap_or(usize::MAX);
    Settings {
        limits: Limits {
            per_pattern: size("limits.runs_per_pattern"),
            per_customer: size("limits.runs_per_customer"),
        },
        timeline_events: size("limits.timeline_events"),
        customer_rate: config.number("limits.customer_rate"),
        publish_profiles: config.is_on("profiles.publish"),
        profile_interval: config.number("profiles.interval"),
        is_live: config.text("intake.clock") == "wall",
    }
}

/// Runs the service until `stop` is set.
///
/// # Errors
/// [`Stop`] if a worker cannot go on.
pub fn run<B: Backend>(
    config: &Config,
    backend: &B,
    stop: &Arc<AtomicBool>,
    telemetry: &Telemetry,
) -> Result<(), Stop> {
    let names = backend.names();
    let members = config.workers();
    let readings = Arc::new(Readings::of(config).map_err(Stop::Failed)?);
    run_workers(SERVICE, members, stop, telemetry, |index, probe| {
        let member = Member {
            service: SERVICE,
            index,
            members,
            inputs: vec![names.timeline()],
        };
        let patterns = names.patterns();
        // The group forms while the catalogue is read.
        let (counted, catalogue, log) = std::thread::scope(|scope| {
            let count = scope.spawn(|| partitions_of(backend, &member, &[], &probe, stop));
            let read = scope.spawn(|| {
                let reader = until_answered("reading patterns", &probe, stop, || backend.reader(&[&patterns], true))?;
                Catalogue::read(reader, CATALOGUE).map_err(|error| Stop::Failed(error.to_string()))
            });
            let log = until_answered("joining the group", &probe, stop, || backend.join(&member));
            (count.join(), read.join(), log)
        });
        counted.unwrap_or_else(|_| Err(Stop::Failed("partitions could not be counted".to_owned())))?;
        let catalogue =
            catalogue.unwrap_or_else(|_| Err(Stop::Failed("the catalogue could not be read".to_owned())))?;
        let mut log = log?;
        let stage = Arc::new(Monitor::new(names, settings(config)).reading_by(Arc::clone(&readings)));
        let mut hooks = CatalogueHooks::new(catalogue, probe, Arc::clone(&stage));
        if hooks.board().missing().is_some() {
            // Its partitions go to others meanwhile, who may know what this one does not.
            if let Err(error) = log.leave() {
                tracing::warn!(%error, "group could not be left; it will notice by itself");
            }
            drop(log);
            hooks.until_whole(stop)?;
            log = until_answered("joining the group", hooks.probe(), stop, || backend.join(&member))?;
        }
        let state = Statefulness::Keyed;
        let worker = worker_config(config, backend, &member, state, dead_letters(SERVICE));
        let hand = in_hand(config, SERVICE, index);
        Worker::new(log, stage, hooks, worker).with_hand(hand).run(stop)
    })
}
