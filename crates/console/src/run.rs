//! The service: output topics into the feed, the feed onto the page.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use codec::Published as _;
use event::{Intervention, Sentiment, Signal};
use service::{
    backend::Backend,
    telemetry::{Probe, Telemetry},
    topics::Names,
    until_answered,
    worker::Stop,
};
use stream::{LogError, Record};

use crate::{Feed, SharedFeed, routes};

/// The service's name in ids and metrics.
pub const SERVICE: &str = "console";
const SIGNALS: &str = "journey.signals";
const INTERVENTIONS: &str = "journey.interventions.";
const SENTIMENT: &str = "journey.sentiment";
const WAIT: Duration = Duration::from_millis(200);

/// What the console reads.
fn inputs(names: &Names) -> Vec<String> {
    let mut topics = vec![names.timeline(), names.topic(SIGNALS), names.topic(SENTIMENT)];
    topics.extend(names.all_interventions());
    topics
}

/// Takes one record into the feed; `topic` is its name without prefix. What cannot be read is left to who wrote it.
fn take(feed: &mut Feed, topic: &str, record: &Record) {
    let value = record.value.as_deref().unwrap_or_default();
    if topic == Names::TIMELINE {
        // Ticks have no key.
        if record.key.is_some() {
            feed.event(record.timestamp);
        }
    } else if topic == SIGNALS {
        if let Ok(signal) = Signal::decode(value) {
            feed.signal(&signal);
        }
    } else if topic == SENTIMENT {
        if let Ok(sentiment) = Sentiment::decode(value) {
            feed.sentiment(&sentiment);
        }
    } else if topic.starts_with(INTERVENTIONS)
        && let Ok(intervention) = Intervention::decode(value)
    {
        feed.intervention(&intervention);
    }
}

/// Follows the topics from now on, or from their start.
fn follow<B: Backend>(
    backend: &B,
    feed: &SharedFeed,
    from_start: bool,
    stop: &AtomicBool,
    probe: &Probe,
) -> Result<(), Stop> {
    let names = backend.names();
    let topics = inputs(names);
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut reader = until_answered("reading topics", probe, stop, || backend.reader(&topics, from_start))?;
    probe.started();
    let mut records = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        probe.beat();
        match reader.read(WAIT, &mut records) {
            Ok(()) => {}
            Err(LogError::Retriable(message)) => {
                tracing::warn!(message, "topics cannot be read now");
                std::thread::sleep(WAIT);
            }
            Err(error) => return Err(Stop::Failed(error.to_string())),
        }
        feed.with(|feed| {
            for record in records.drain(..) {
                take(feed, names.without_prefix(&record.topic), &record);
            }
        });
    }
    Ok(())
}

/// Serves the page of a feed that is filled from the topics, until `stop` is set.
///
/// # Errors
/// [`Stop`] if the topics or the socket cannot be read any more.
pub fn run<B: Backend>(
    backend: &B,
    listener: TcpListener,
    feed: &SharedFeed,
    from_start: bool,
    stop: &AtomicBool,
    telemetry: &Telemetry,
) -> Result<(), Stop> {
    let probe = telemetry.probe(SERVICE, 0);
    let page = service::http::measured(routes(feed.clone()), telemetry.clone(), SERVICE);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(service = SERVICE, address = %address, "page is served");
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| service::http::serve(listener, page, &ended));
        let followed = follow(backend, feed, from_start, stop, &probe);
        ended.store(true, Ordering::Relaxed);
        let served = server.join().unwrap_or_else(|_| Err("HTTP server panicked".to_owned()));
        if followed != Err(Stop::Asked) {
            followed?;
        }
        served.map_err(Stop::Failed)
    })
}
