//! What every command begins with: configuration, logging, the log, the secret, and the signal to stop.

use std::{
    io::IsTerminal,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use embedded::{Embedded, Kept};
use service::{
    backend::{EmbeddedBackend, KafkaBackend},
    config::{Config, Sources},
    topics::{Counts, Names, TopicSpec, topics},
    wall,
};

use crate::{cli::Global, report::Failure};

/// Reads the configuration: the named file, or `waymark.toml` where it exists; variables; flags.
///
/// # Errors
/// [`Failure`] with everything that is wrong, a line each.
pub fn config(global: &Global) -> Result<Config, Failure> {
    let default = Path::new("waymark.toml");
    let path = match &global.config {
        Some(path) => Some(path.as_path()),
        None => default.is_file().then_some(default),
    };
    let file = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::invalid(format!("{}: {error}", path.display())))?;
            Some((path.display().to_string(), text))
        }
        None => None,
    };
    let sources = Sources {
        file: file.as_ref().map(|(name, text)| (name.as_str(), text.as_str())),
        variables: std::env::vars().collect(),
        flags: &global.set,
    };
    Config::read(&sources).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::invalid(lines.join("\n"))
    })
}

/// Sends logs to stderr, as JSON where it is no terminal or the configuration says so.
pub fn start_logging(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_new(config.text("telemetry.log"))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let json = match config.text("telemetry.format") {
        "json" => true,
        "text" => false,
        _ => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start in one process, as tests do, keeps the first.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
}

/// The secret of customer keys.
///
/// # Errors
/// [`Failure`] if no file is named or it cannot be read or is empty.
pub fn secret(config: &Config) -> Result<Vec<u8>, Failure> {
    let Some(path) = config.get("privacy.key_secret_file") else {
        return Err(Failure::invalid(
            "privacy.key_secret_file: required: a file with the secret of customer keys; another secret is another deployment",
        ));
    };
    let secret =
        std::fs::read(path).map_err(|error| Failure::invalid(format!("privacy.key_secret_file: {path}: {error}")))?;
    let secret = secret.trim_ascii().to_vec();
    if secret.is_empty() {
        return Err(Failure::invalid(format!(
            "privacy.key_secret_file: {path}: file is empty"
        )));
    }
    Ok(secret)
}

/// Connects to Kafka as configured; opens no connection yet.
///
/// # Errors
/// [`Failure`] if no broker is named.
pub fn kafka(config: &Config) -> Result<KafkaBackend, Failure> {
    if config.get("kafka.brokers").is_none() {
        return Err(Failure::invalid(
            "kafka.brokers: required, as host:port: set it in the file, or --set kafka.brokers=…",
        ));
    }
    Ok(KafkaBackend::new(config))
}

/// The figures that the deployment chose for topics.
#[must_use]
pub fn counts(config: &Config) -> Counts {
    let int = |key: &str| i32::try_from(config.number(key)).unwrap_or(i32::MAX);
    Counts {
        timeline: int("topics.partitions"),
        raw: int("topics.raw_partitions"),
        output: int("topics.output_partitions"),
        retention: config.number("topics.retention"),
    }
}

/// Every topic as it ought to be.
#[must_use]
pub fn specs(config: &Config) -> Vec<TopicSpec> {
    topics(&Names::new(config.text("kafka.prefix")), counts(config))
}

/// Opens the embedded log in a directory and makes its topics.
///
/// # Errors
/// [`Failure`] if the disk fails, another process has it, or it has other partition counts.
pub fn embedded(config: &Config, dir: &Path) -> Result<EmbeddedBackend, Failure> {
    let backend = embedded_as_is(config, dir)?;
    for spec in specs(config) {
        let compacted = spec
            .configs
            .get("cleanup.policy")
            .is_some_and(|policy| policy == "compact");
        let kept = if compacted { Kept::Newest } else { Kept::All };
        backend.log().create(&spec.name, spec.partitions, kept)?;
    }
    Ok(backend)
}

/// Opens the embedded log in a directory with the topics that it has.
///
/// # Errors
/// [`Failure`] if the disk fails or another process has it.
pub fn embedded_as_is(config: &Config, dir: &Path) -> Result<EmbeddedBackend, Failure> {
    std::fs::create_dir_all(dir).map_err(|error| Failure::invalid(format!("{}: {error}", dir.display())))?;
    let log = Embedded::open(dir, wall)?;
    Ok(EmbeddedBackend::new(log, Names::new(config.text("kafka.prefix"))))
}

/// A switch that SIGTERM and Ctrl-C turn; a second signal ends the process at once.
///
/// # Errors
/// [`Failure`] if signals cannot be caught.
pub fn stop_switch() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let failed = |error: std::io::Error| Failure::invalid(format!("signals cannot be caught: {error}"));
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).map_err(failed)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    Ok(stop)
}

/// The configuration of a demo or an embedded replay in a directory: small, on the events' clock, with a secret of its own. What the
/// user sets goes over it.
///
/// # Errors
/// As [`config`] and [`kept_secret`].
pub fn small(global: &Global, dir: &Path, more: &[&str]) -> Result<Config, Failure> {
    let small = [
        "service.log=embedded",
        "intake.clock=events",
        "intake.start=earliest",
        "topics.partitions=4",
        "topics.raw_partitions=2",
        "topics.output_partitions=2",
    ];
    let mut global = global.clone();
    let first = small.iter().chain(more).map(|set| (*set).to_owned());
    global.set.splice(0..0, first.collect::<Vec<_>>());
    let secret = kept_secret(dir)?;
    global.set.push(format!("privacy.key_secret_file={}", secret.display()));
    config(&global)
}

/// The secret of a directory of a demo or an embedded replay; made at its first use.
///
/// # Errors
/// [`Failure`] if the disk fails.
fn kept_secret(dir: &Path) -> Result<std::path::PathBuf, Failure> {
    let path = dir.join("key-secret");
    if !path.is_file() {
        std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        std::fs::write(&path, b"waymark-demo\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(path)
}
