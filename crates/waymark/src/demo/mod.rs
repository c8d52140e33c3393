//! `waymark demo`: generated customers, all services on an embedded log, and a view of what happens.

pub mod generator;
mod truth;
mod view;

use std::{
    io::IsTerminal as _,
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use console::SharedFeed;
use event::Millis;
use generator::Plan;
use serde::{Deserialize, Serialize};
use service::{
    backend::{Backend, EmbeddedBackend},
    config::Config,
};
use stream::Record;
use view::{Place, View};

use crate::{
    catalogue,
    cli::{Demo, Format, Global, Role},
    context,
    replay::{send::Sender, wait_until_read},
    report::{Exit, Failure, Report},
    run::{services, telemetry},
};

/// Monday 5 January 2026, 09:00 UTC: outside quiet hours, and the same for every run.
const START: Millis = Millis(1_767_603_600_000);
/// How long time goes on behind the last event, so that what does not happen is noticed too.
const SETTLE: i64 = 3_600_000;
/// How often the generator sends what has become due.
const STEP: Duration = Duration::from_millis(100);
const SENDER: &str = "demo";

/// `waymark demo`.
///
/// # Errors
/// [`Failure`] if patterns or the folder are wrong, or a service cannot go on.
pub fn run(global: &Global, options: &Demo) -> Result<Report, Failure> {
    let begun = Instant::now();
    let patterns = catalogue::read(std::slice::from_ref(&options.patterns))?;
    let (_temporary, dir) = match &options.keep {
        Some(dir) => (None, dir.clone()),
        None => {
            let made = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
            let path = made.path().to_owned();
            (Some(made), path)
        }
    };
    Kept::check(&dir, options)?;
    let config = context::small(global, &dir, &["telemetry.log=warn"])?;
    context::start_logging(&config);
    let listener = page(global, &config)?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("console.listen: {error}"))?;
    let plan = generator::plan(options.seed, options.customers, START);
    eprintln!(
        "Waymark demo: seed {}, {} customers, {} times as fast as life\nPage: http://{address}/\nStarting …",
        options.seed, options.customers, options.speed
    );
    let backend = context::embedded(&config, &dir.join("log"))?;
    catalogue::publish(&backend, &patterns)?;
    let stop = context::stop_switch()?;
    let ended = Arc::new(AtomicBool::new(false));
    let feed = SharedFeed::default();
    let telemetry = telemetry(&config, &[Role::Intake, Role::Monitor, Role::Console]);
    let place = match (global.output, std::io::stdout().is_terminal()) {
        (Format::Json, _) => Place::Stderr,
        (Format::Text, true) => Place::Terminal,
        (Format::Text, false) => Place::Stdout,
    };
    let mut view = View::new(place, begun);
    let title = format!(
        "Waymark demo · seed {} · {}× · http://{address}/ · Ctrl-C ends it",
        options.seed, options.speed
    );
    let played = std::thread::scope(|scope| {
        let served = scope.spawn({
            let (config, backend, telemetry, ended) = (&config, &backend, &telemetry, Arc::clone(&ended));
            move || services(config, backend, &[Role::Intake, Role::Monitor], &ended, telemetry)
        });
        let shown = scope.spawn({
            let (backend, feed, ended, telemetry) = (&backend, &feed, &ended, &telemetry);
            move || console::run(backend, listener, feed, true, ended, telemetry)
        });
        let stopped = || stop.load(Ordering::Relaxed) || ended.load(Ordering::Relaxed);
        let played = play(&backend, &plan, options.speed, &stopped, &mut |rows| {
            feed.with(|feed| view.show(feed, &title, rows, plan.events.len()));
        });
        if played.is_ok() && !stop.load(Ordering::Relaxed) {
            wait_until_read(&backend, &stop)?;
        }
        feed.with(|feed| view.show(feed, &title, plan.events.len(), plan.events.len()));
        let whole = !stopped();
        let mut report = played.and_then(|()| report(&backend, view.first_intervention(), whole));
        if let Ok(report) = &mut report
            && whole
            && view.is_terminal()
        {
            println!(
                "{}\nThe page stays until Ctrl-C: http://{address}/",
                std::mem::take(&mut report.text)
            );
            while !stopped() {
                std::thread::sleep(STEP);
            }
        }
        ended.store(true, Ordering::Relaxed);
        let lost = || Err(Failure::no_answer("a service panicked"));
        served.join().unwrap_or_else(|_| lost())?;
        shown
            .join()
            .map_or_else(|_| lost(), |shown| shown.map_err(Failure::from))?;
        report
    });
    drop(backend);
    played
}

/// The page's socket. Where nobody chose an address and the usual one is taken, any free port will do.
fn page(global: &Global, config: &Config) -> Result<TcpListener, Failure> {
    let address = config.text("console.listen");
    let chosen = global.set.iter().any(|set| set.starts_with("console.listen="));
    match service::http::listen("console.listen", address) {
        Ok(listener) => Ok(listener),
        Err(message) if chosen => Err(Failure::invalid(message)),
        Err(_) => Ok(service::http::listen("console.listen", "127.0.0.1:0")?),
    }
}

/// Sends the plan as time goes by, from where an earlier run stood, and then nothing but time.
fn play(
    backend: &EmbeddedBackend,
    plan: &Plan,
    speed: u32,
    stopped: &dyn Fn() -> bool,
    shown: &mut dyn FnMut(usize),
) -> Result<(), Failure> {
    let mut sender = Sender::open(backend, SENDER)?;
    let last = plan.end.plus(SETTLE);
    let from = sender.time().max(START);
    let begun = Instant::now();
    while sender.time() < last && !stopped() {
        let passed = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = from.plus(passed.saturating_mul(speed.into())).min(last);
        let rest = plan.events.get(sender.rows()..).unwrap_or_default();
        let due = rest.partition_point(|event| event.time <= now);
        sender.send(&rest[..due], now)?;
        shown(sender.rows());
        std::thread::sleep(STEP);
    }
    Ok(())
}

/// Reads the whole log once more and compares it with what the generator stated. Ended early, a difference is no finding.
fn report(backend: &EmbeddedBackend, first: Option<Duration>, whole: bool) -> Result<Report, Failure> {
    let names = backend.names();
    let compared = truth::compare(
        &all(backend, &names.timeline())?,
        &all(backend, &names.topic("journey.signals"))?,
    );
    let mut text = compared.table();
    if let Some(first) = first {
        text.push_str(&format!(
            "\nfirst intervention {:.1} s after start",
            first.as_secs_f64()
        ));
    }
    if !whole {
        text.push_str("\nended early: what was still awaited counts as missed");
    }
    Ok(Report {
        command: "demo",
        exit: if whole && !compared.is_equal() {
            Exit::Findings
        } else {
            Exit::Done
        },
        findings: Vec::new(),
        data: compared.json(first),
        text,
    })
}

fn all(backend: &EmbeddedBackend, topic: &str) -> Result<Vec<Record>, Failure> {
    let mut reader = backend.reader(&[topic], true)?;
    let mut records = Vec::new();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(100), &mut records)?;
    }
    Ok(records)
}

/// What a kept folder was made with: other customers cannot go on in it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    seed: u64,
    customers: u32,
}

impl Kept {
    fn check(dir: &Path, options: &Demo) -> Result<(), Failure> {
        let path = dir.join("demo.toml");
        let now = Self {
            version: 1,
            seed: options.seed,
            customers: options.customers,
        };
        let failed = |error: &dyn std::fmt::Display| Failure::invalid(format!("{}: {error}", path.display()));
        if !path.is_file() {
            std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
            let text = toml::to_string(&now).map_err(|error| failed(&error))?;
            return std::fs::write(&path, text).map_err(|error| failed(&error));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let kept: Self = toml::from_str(&text).map_err(|error| failed(&error))?;
        if kept == now {
            return Ok(());
        }
        Err(Failure {
            exit: Exit::Unsafe,
            message: format!(
                "{}: holds another demo: --seed {} --customers {}; asked for --seed {} --customers {}",
                path.display(),
                kept.seed,
                kept.customers,
                now.seed,
                now.customers
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_folder_goes_on_with_the_same_customers_only() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut options = Demo {
            seed: 7,
            speed: 600,
            customers: 20,
            patterns: "patterns".into(),
            keep: None,
        };
        Kept::check(folder.path(), &options).expect("a new folder");
        Kept::check(folder.path(), &options).expect("the same demo");
        let text = std::fs::read_to_string(folder.path().join("demo.toml")).expect("readable");
        assert_eq!(text, "version = 1\nseed = 7\ncustomers = 20\n");
        options.seed = 8;
        let refused = Kept::check(folder.path(), &options).expect_err("another seed");
        assert_eq!(refused.exit, Exit::Unsafe);
        assert!(refused.message.contains("holds another demo: --seed 7"));
    }
}
