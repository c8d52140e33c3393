//! The service: raw topics to the timeline, on either log.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use codec::Terms;
use sentiment::LANGUAGES;
use service::{
    backend::{Backend, Member},
    config::Config,
    dead_letters, in_hand, partitions_of, run_workers,
    telemetry::Telemetry,
    texts::Readings,
    topics::Names,
    until_answered,
    worker::{Stop, Worker},
    worker_config,
};
use stream::Statefulness;

use crate::{Clock, EventClock, Intake, KeepText, Keys, Redactor, Registry, Rules, Texts, WallClock};

/// The service's name in groups, ids and metrics.
pub const SERVICE: &str = "intake";

/// The stage as the configuration wants it; `secret` is the key of customer pseudonyms.
#[must_use]
pub fn stage(config: &Config, names: &Names, secret: &[u8], registry: Option<Arc<Registry>>) -> Intake {
    let words = |key: &str| -> Vec<String> {
        let words = config
            .text(key)
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        words.map(ToOwned::to_owned).collect()
    };
    let rules = Rules {
        strict: config.is_on("intake.strict"),
        keep_text: match config.text("intake.keep_text") {
            "full" => KeepText::Full,
            "none" => KeepText::None,
            _ => KeepText::Redacted,
        },
        url_parameters: words("intake.url_parameters"),
        placeholders: words("identity.placeholders")
            .iter()
            .map(|word| word.to_lowercase())
            .collect(),
        voice_tone: false,
    };
    Intake {
        keys: Keys::new(secret),
        rules,
        redactor: Redactor::default(),
        timeline: Arc::from(names.timeline()),
        sentiment: Arc::from(names.topic("journey.sentiment")),
        texts: Texts::default(),
        terms: Terms {
            types: config.pairs("intake.types"),
            consent_categories: config.pairs("intake.consent_categories"),
        },
        registry,
        counters: Mutex::default(),
        clock: clock(config),
        raw_prefix: names.topic("journey.events."),
    }
}

fn clock(config: &Config) -> Clock {
    match config.text("intake.clock") {
        "events" => Clock::Events,
        _ => Clock::Wall,
    }
}

/// Runs the service until `stop` is set.
///
/// # Errors
/// [`Stop`] if a worker cannot go on.
pub fn run<B: Backend>(
    config: &Config,
    backend: &B,
    secret: &[u8],
    stop: &Arc<AtomicBool>,
    telemetry: &Telemetry,
) -> Result<(), Stop> {
    let names = backend.names();
    let raw = names.all_raw();
    let readings = Readings::of(config).map_err(Stop::Failed)?;
    let registry = Registry::of(config, stop).map_err(Stop::Failed)?.map(Arc::new);
    // A replay is merged by one worker.
    let members = match clock(config) {
        Clock::Events => 1,
        Clock::Wall => config.workers(),
    };
    run_workers(SERVICE, members, stop, telemetry, |index, probe| {
        let member = Member {
            service: SERVICE,
            index,
            members,
            inputs: raw.clone(),
        };
        let (inputs, timeline) = partitions_of(backend, &member, &[names.timeline()], &probe, stop)?;
        let (inputs, timeline) = (inputs.iter().sum(), timeline.iter().sum());
        // The group forms while lexicons are loaded.
        let log = std::thread::scope(|scope| {
            scope.spawn(|| readings.get());
            until_answered("joining the group", &probe, stop, || backend.join(&member))
        })?;
        // Each worker's own: what one counts, another's dropped epoch must not take away.
        let mut stage = stage(config, names, secret, registry.clone());
        stage.texts = Texts::new(readings.get());
        let stage = Arc::new(stage);
        for lang in LANGUAGES {
            for (tier, version) in stage.models_of(lang) {
                probe.set("waymark_sentiment_model_info", &[lang, tier.as_str(), version], 1.0);
            }
        }
        let settings = worker_config(config, backend, &member, Statefulness::None, dead_letters(SERVICE));
        let hand = in_hand(config, SERVICE, index);
        match stage.clock {
            Clock::Wall => {
                let hooks = WallClock::new(Arc::clone(&stage), timeline, inputs, probe);
                Worker::new(log, Arc::clone(&stage), hooks, settings)
                    .with_hand(hand)
                    .run(stop)
            }
            Clock::Events => {
                let hooks = EventClock::new(Arc::clone(&stage), timeline, inputs, probe);
                Worker::new(log, Arc::clone(&stage), hooks, settings)
                    .with_hand(hand)
                    .run(stop)
            }
        }
    })
}
