//! `waymark run`: services until SIGTERM.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use console::SharedFeed;
use monitor::{Counters, Told};
use service::{backend::Backend, config::Config, worker::Stop};

use crate::{
    cli::{Global, Role},
    context,
    report::Failure,
};

/// Runs services until told to stop.
///
/// # Errors
/// [`Failure`] if the configuration is wrong or a service cannot go on.
pub fn run(global: &Global, roles: &[Role]) -> Result<(), Failure> {
    let config = context::config(global)?;
    context::start_logging(&config);
    let stop = context::stop_switch()?;
    if config.text("service.log") == "embedded" {
        let needed = [Role::Intake, Role::Monitor];
        if !needed.iter().all(|role| roles.contains(role)) {
            return Err(Failure::invalid(
                "service.log = \"embedded\" is one process: waymark run intake monitor",
            ));
        }
        let dir = std::path::Path::new(config.text("service.data_dir")).join("log");
        let backend = context::embedded(&config, &dir)?;
        return services(&config, &backend, roles, &stop);
    }
    let backend = context::kafka(&config)?;
    services(&config, &backend, roles, &stop)
}

/// Runs services on an open log, each on threads of its own, until `stop` is set or one of them cannot go on.
///
/// # Errors
/// [`Failure`] of the first service that could not.
pub fn services<B: Backend>(
    config: &Config,
    backend: &B,
    roles: &[Role],
    stop: &Arc<AtomicBool>,
) -> Result<(), Failure> {
    let secret = if roles.contains(&Role::Intake) {
        context::secret(config)?
    } else {
        Vec::new()
    };
    tracing::info!(services = ?roles, config = config.outputs_hash(), "starting");
    let totals = Arc::new(Mutex::new(Totals::default()));
    let serve = |role: Role| -> Result<(), Stop> {
        match role {
            Role::Intake => intake::run(config, backend, &secret, stop, &|| Box::new(|_| {})),
            Role::Console => {
                let address = config.text("console.listen");
                let listener = service::http::listen("console.listen", address).map_err(Stop::Failed)?;
                console::run(backend, listener, &SharedFeed::default(), false, stop)
            }
            Role::Monitor => monitor::run(config, backend, stop, &|| {
                let totals = Arc::clone(&totals);
                Box::new(move |told| {
                    if let Told::Counted(counted) = told {
                        totals.lock().unwrap_or_else(PoisonError::into_inner).add(counted);
                    }
                })
            }),
        }
    };
    let one = |role: Role| -> Result<(), Stop> {
        let done = serve(role);
        if done.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        done
    };
    let results: Vec<Result<(), Stop>> = std::thread::scope(|scope| {
        let threads: Vec<_> = roles.iter().map(|role| scope.spawn(move || one(*role))).collect();
        let lost = || Err(Stop::Failed("service panicked".to_owned()));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| lost()))
            .collect()
    });
    for result in results {
        result?;
    }
    let totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
    tracing::info!(
        matches = totals.matches,
        interventions = totals.interventions,
        withheld = totals.withheld,
        duplicates = totals.duplicates,
        late = totals.late,
        "stopped"
    );
    Ok(())
}

/// What a process counted while it ran; an epoch that was read again counts again.
#[derive(Default)]
struct Totals {
    matches: u64,
    interventions: u64,
    withheld: u64,
    duplicates: u64,
    late: u64,
}

impl Totals {
    fn add(&mut self, counted: &Counters) {
        self.matches += counted.matches.values().sum::<u64>();
        self.interventions += counted.interventions.values().sum::<u64>();
        self.withheld += counted.withheld.values().sum::<u64>();
        self.duplicates += counted.duplicates;
        self.late += counted.late;
    }
}
