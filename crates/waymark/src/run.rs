//! `waymark run`: services until SIGTERM.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use console::SharedFeed;
use service::{backend::Backend, config::Config, telemetry::Telemetry, worker::Stop};

use crate::{
    cli::{Global, Role},
    context,
    report::{Exit, Failure},
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
        return watched(&config, &backend, roles, &stop);
    }
    let backend = context::kafka(&config)?;
    watched(&config, &backend, roles, &stop)
}

/// Runs services beside the listener of metrics and health. A service that halted keeps the process, live and not ready, until
/// it is told to stop: nothing may restart it before somebody has looked.
fn watched<B: Backend>(config: &Config, backend: &B, roles: &[Role], stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    let telemetry = telemetry(config, roles);
    let address = config.text("service.admin_listen");
    if address == "off" {
        return services(config, backend, roles, stop, &telemetry);
    }
    let listener = service::http::listen("service.admin_listen", address)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(address = %address, "metrics and health are served");
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let routes = service::admin::routes(telemetry.clone());
        let server = scope.spawn(|| service::http::serve(listener, routes, &ended));
        let working = Arc::new(AtomicBool::new(false));
        let served = std::thread::scope(|scope| {
            let services = scope.spawn({
                let working = Arc::clone(&working);
                let telemetry = &telemetry;
                move || services(config, backend, roles, &working, telemetry)
            });
            while !stop.load(Ordering::Relaxed) && !services.is_finished() {
                std::thread::sleep(LOOK);
            }
            working.store(true, Ordering::Relaxed);
            services
                .join()
                .unwrap_or_else(|_| Err(Failure::no_answer("services panicked")))
        });
        if let Err(failure) = &served
            && failure.exit == Exit::Halted
        {
            tracing::error!(
                reason = failure.message,
                "halted; keep the disk, and stop this process once somebody has looked"
            );
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
        }
        ended.store(true, Ordering::Relaxed);
        let listened = server.join().unwrap_or_else(|_| Err("HTTP server panicked".to_owned()));
        served.and(listened.map_err(Failure::no_answer))
    })
}

/// How often a waiting thread looks whether it is to stop.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// Metrics and health of these services.
#[must_use]
pub fn telemetry(config: &Config, roles: &[Role]) -> Telemetry {
    let services: Vec<&'static str> = roles.iter().map(|role| role.service()).collect();
    Telemetry::new(&services, &config.outputs_hash())
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
    telemetry: &Telemetry,
) -> Result<(), Failure> {
    let secret = if roles.contains(&Role::Intake) {
        context::secret(config)?
    } else {
        Vec::new()
    };
    tracing::info!(services = ?roles, config = config.outputs_hash(), "starting");
    let serve = |role: Role| -> Result<(), Stop> {
        match role {
            Role::Intake => intake::run(config, backend, &secret, stop, telemetry),
            Role::Console => {
                let address = config.text("console.listen");
                let listener = service::http::listen("console.listen", address).map_err(Stop::Failed)?;
                let is_inside = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
                if !is_inside && !config.is_on("http.tls_upstream") {
                    return Err(Stop::Failed(format!(
                        "console.listen: {address}: not a loopback address; put a proxy with TLS in front and set http.tls_upstream = true"
                    )));
                }
                console::run(backend, listener, &SharedFeed::default(), false, stop, telemetry)
            }
            Role::Monitor => monitor::run(config, backend, stop, telemetry),
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
    tracing::info!(
        matches = telemetry.total("waymark_pattern_matches_total"),
        interventions = telemetry.total("waymark_interventions_total"),
        withheld = telemetry.total("waymark_interventions_withheld_total"),
        duplicates = telemetry.total("waymark_discarded_events_total"),
        late = telemetry.total("waymark_late_events_total"),
        "stopped"
    );
    Ok(())
}
