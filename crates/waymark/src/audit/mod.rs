//! `waymark audit`: reads the topics as an outsider and compares what the services count with what is visible.
//!
//! A cluster that lives moves while it is read. So the audit works in *cuts*: it notes what it has read, asks where the groups stand,
//! asks where every topic ends, with the eyes of a reader of everything, and reads on until all have been read that far. Whatever
//! belonged to the transactions noted stood in the topics before those ends, so what is not visible then never will be.

mod finding;
mod keyed;
mod ledger;
mod part;
mod show;
mod stateless;
mod watch;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use stream::Millis;

use crate::{
    cli::{Audit, Audited, Format, Global},
    context,
    report::{Exit, Failure, Report},
};

use watch::Watch;

/// How long a reader may stand still before the audit gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an audit that is told to stop goes on reading, to judge what it has seen.
const LAST: Duration = Duration::from_secs(10);
/// A cut begins this long after the last one ended, while a cluster is followed.
const BETWEEN: Duration = Duration::from_secs(1);

/// `waymark audit`.
///
/// # Errors
/// [`Failure`] if the brokers do not answer, or a topic that the services need is not there.
pub fn run(global: &Global, options: &Audit) -> Result<Report, Failure> {
    let config = context::config(global)?;
    if config.text("service.log") == "embedded" {
        return Err(Failure::invalid(
            "service.log: audit reads Kafka; on the embedded log an epoch is one write batch, and the database refuses a torn one",
        ));
    }
    context::start_logging(&config);
    let stop = context::stop_switch()?;
    let since = options
        .since
        .map(|span| Millis(service::wall().0.saturating_sub(span.as_millis() as i64)));
    let mut watch = Watch::open(&config, options.service, since)?;
    let late = match options.follow {
        Some(span) => follow(&mut watch, &stop, span, global.output)?,
        None => once(&mut watch, &stop)?,
    };
    watch.finish();
    let mut report = show::report(&watch, &late);
    if !late.is_empty() && report.exit == Exit::Done {
        report.exit = Exit::NoAnswer;
    }
    Ok(report)
}

/// Audits what is there. What is visible but not counted shows with the second cut: only then is it known that its marker should have
/// been read. Returns what could not be read to its end.
fn once(watch: &mut Watch, stop: &AtomicBool) -> Result<Vec<String>, Failure> {
    for _ in 0..2 {
        let late = cut(watch, stop, PATIENCE)?;
        if !late.is_empty() {
            return Ok(late);
        }
    }
    Ok(Vec::new())
}

/// Goes on for a span, or until told to stop; brokers that do not answer meanwhile are asked again.
fn follow(watch: &mut Watch, stop: &AtomicBool, span: Duration, output: Format) -> Result<Vec<String>, Failure> {
    let begun = Instant::now();
    while begun.elapsed() < span && !stop.load(Ordering::Relaxed) {
        match cut(watch, stop, PATIENCE) {
            Ok(late) if late.is_empty() => {}
            Ok(late) => tracing::warn!(late = late.join(", "), "not everything could be read, trying again"),
            Err(failure) => tracing::warn!(error = failure.message, "brokers do not answer, trying again"),
        }
        tell(watch, output);
        let until = Instant::now() + BETWEEN.min(span.saturating_sub(begun.elapsed()));
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            watch.read(Duration::from_millis(50))?;
        }
    }
    // A signal has been answered by leaving the loop, and what was read is judged; a second signal ends the process.
    let patience = if stop.load(Ordering::Relaxed) { LAST } else { PATIENCE };
    let mut late = Vec::new();
    for _ in 0..2 {
        late = cut(watch, &AtomicBool::new(false), patience).unwrap_or_else(|failure| vec![failure.message]);
        if !late.is_empty() {
            break;
        }
    }
    tell(watch, output);
    Ok(late)
}

/// One cut. Returns what could not be read far enough; then nothing is judged.
fn cut(watch: &mut Watch, stop: &AtomicBool, patience: Duration) -> Result<Vec<String>, Failure> {
    let targets = watch.cut()?;
    if watch.read_to(&targets, stop, patience)? {
        watch.settle();
        return Ok(Vec::new());
    }
    Ok(watch.behind(&targets))
}

/// Says what has become certain, while it is read on.
fn tell(watch: &mut Watch, output: Format) {
    for finding in watch.findings.fresh() {
        match output {
            Format::Text => eprintln!("{finding}"),
            Format::Json => eprintln!("{}", finding.json()),
        }
    }
}

impl Audited {
    /// Whether the promises of `intake` are audited.
    #[must_use]
    pub fn intake(self) -> bool {
        matches!(self, Self::Intake | Self::All)
    }

    /// Whether the promises of `monitor` are audited.
    #[must_use]
    pub fn monitor(self) -> bool {
        matches!(self, Self::Monitor | Self::All)
    }
}
