//! The table of options. `docs/CONFIG.md` lists the same; a test compares.

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Pairs `a=b`, comma-separated.
    Pairs,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A span: `500ms`, `30s`, `28d`.
    Span,
    /// A size: `64MiB`.
    Bytes,
    /// A whole number between these, both included.
    Whole(i64, i64),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// `section.key`.
    pub key: &'static str,
    /// The default; `None` where nothing is set.
    pub default: Option<&'static str>,
    /// What a value must look like.
    pub kind: Kind,
    /// Whether outputs depend on it, so that all instances must agree.
    pub changes_outputs: bool,
    /// What it means.
    pub meaning: &'static str,
}

const fn option(key: &'static str, default: &'static str, kind: Kind, meaning: &'static str) -> Opt {
    Opt {
        key,
        default: if default.is_empty() { None } else { Some(default) },
        kind,
        changes_outputs: false,
        meaning,
    }
}

const fn output(key: &'static str, default: &'static str, kind: Kind, meaning: &'static str) -> Opt {
    let mut option = option(key, default, kind, meaning);
    option.changes_outputs = true;
    option
}

use Kind::{Bytes, Choice, Pairs, Span, Switch, Text, Whole};

/// Every option, in the order of the documentation.
pub const OPTIONS: &[Opt] = &[
    option(
        "service.log",
        "kafka",
        Choice(&["kafka", "embedded"]),
        "where records live; `embedded` is one process without a broker",
    ),
    option(
        "service.instance",
        "",
        Text,
        "stable name of this instance; the host's name where none is set",
    ),
    option(
        "service.static_members",
        "false",
        Switch,
        "`true` where the instance's name survives a restart",
    ),
    option(
        "service.workers",
        "0",
        Whole(0, 256),
        "threads per service, each a member of its own; 0 is one for each core",
    ),
    option(
        "service.admin_listen",
        "127.0.0.1:9600",
        Text,
        "`host:port` of metrics and health; `off` for none",
    ),
    option("service.data_dir", "./waymark-data", Text, "state on disk"),
    option(
        "kafka.brokers",
        "",
        Text,
        "`host:port`, comma-separated; required with `service.log = kafka`",
    ),
    option(
        "kafka.prefix",
        "",
        Text,
        "before every topic, group and transactional id",
    ),
    option(
        "kafka.session_timeout",
        "60s",
        Span,
        "after this long without a heartbeat the group takes partitions away",
    ),
    option(
        "kafka.transaction_timeout",
        "10s",
        Span,
        "after this long the broker aborts an open transaction",
    ),
    option(
        "topics.partitions",
        "48",
        Whole(1, 4096),
        "partitions of timeline, profiles and the changelog of monitor; fixed for life",
    ),
    option(
        "topics.raw_partitions",
        "24",
        Whole(1, 4096),
        "partitions of each raw topic; the changelog of intake has eight times as many",
    ),
    option(
        "topics.output_partitions",
        "12",
        Whole(1, 4096),
        "partitions of all other topics",
    ),
    option(
        "topics.replication",
        "3",
        Whole(1, 16),
        "copies of each partition; one less must be in sync, at least one",
    ),
    option(
        "topics.retention",
        "28d",
        Span,
        "upper bound for all but compacted topics and changelogs; `0` keeps for ever (replays of old files)",
    ),
    output(
        "intake.clock",
        "wall",
        Choice(&["wall", "events"]),
        "`events` for replays and the demo",
    ),
    option(
        "intake.start",
        "latest",
        Choice(&["latest", "earliest"]),
        "where a new group begins",
    ),
    output(
        "intake.strict",
        "false",
        Switch,
        "refuse a listed type that lacks a required attribute",
    ),
    output(
        "intake.keep_text",
        "redacted",
        Choice(&["redacted", "full", "none"]),
        "how much of a text reaches the timeline",
    ),
    output(
        "intake.url_parameters",
        "",
        Text,
        "query parameters that addresses keep, comma-separated",
    ),
    output(
        "intake.types",
        "",
        Pairs,
        "names of foreign types in the vocabulary, as `com.shop.order.v1=order.completed`, comma-separated",
    ),
    output(
        "intake.consent_categories",
        "",
        Pairs,
        "categories of a consent platform and their purposes, as `Advertising=marketing`, comma-separated",
    ),
    output(
        "sentiment.models_dir",
        "",
        Text,
        "folder of trained models `<lang>.model` and of lexicon rows `<lang>.tsv` that add to and replace those that ship",
    ),
    output(
        "sentiment.transformer",
        "",
        Text,
        "weights of a transformer of your own, `.onnx` or `.safetensors`, with `tokenizer.json` and `config.json` beside them; needs the cargo feature `onnx` or `safetensors`",
    ),
    output(
        "sentiment.transformer_sha256",
        "",
        Pairs,
        "the SHA-256 of each of its three files, as `model.onnx=…,tokenizer.json=…,config.json=…`, and of `calibration.tsv` if it is in use; another file stops the start",
    ),
    output(
        "sentiment.transformer_labels",
        "",
        Pairs,
        "what its classes mean, as `LABEL_0=negative`: negative, neutral, positive, or a number from -1 to 1; stars and these names are known",
    ),
    output(
        "sentiment.transformer_languages",
        "en,nl,it,de,fr,es",
        Text,
        "languages that it reads, comma-separated",
    ),
    output(
        "sentiment.transformer_below",
        "60",
        Whole(0, 100),
        "texts reach it whose first reading is less sure than this, in per cent; 0 for none",
    ),
    output(
        "sentiment.transformer_sample",
        "0",
        Whole(0, 10_000),
        "so many of 10,000 texts reach it too, by a hash of source and id",
    ),
    output(
        "sentiment.transformer_tokens",
        "128",
        Whole(3, 8192),
        "tokens after which a text is cut for it",
    ),
    option(
        "registry.url",
        "",
        Text,
        "schema registry, for records in Confluent's framings",
    ),
    option("registry.username", "", Text, "its user"),
    option("registry.password_file", "", Text, "file with the user's password"),
    option(
        "registry.ca_file",
        "",
        Text,
        "PEM file with the authority to trust, where it is a private one",
    ),
    output(
        "identity.placeholders",
        "",
        Text,
        "values that identify nobody, beside the built-in ones, comma-separated",
    ),
    option("epoch.interval", "100ms", Span, "how long an epoch stays open at most"),
    output(
        "order.window",
        "500ms",
        Span,
        "records are grouped by arrival and sorted by event time inside; 0 turns it off",
    ),
    output(
        "limits.runs_per_pattern",
        "64",
        Whole(1, 65535),
        "open runs per customer and pattern",
    ),
    output(
        "limits.runs_per_customer",
        "1024",
        Whole(1, 65535),
        "open runs per customer",
    ),
    output(
        "limits.timeline_events",
        "512",
        Whole(1, 65535),
        "timeline entries per customer",
    ),
    output(
        "limits.customer_rate",
        "200",
        Whole(1, 1_000_000),
        "events per customer and second; ten times as many at once",
    ),
    option(
        "limits.epoch_bytes",
        "32MiB",
        Bytes,
        "committed rows a worker keeps in memory before it flushes",
    ),
    output(
        "profiles.publish",
        "true",
        Switch,
        "whether `journey.profiles` is written",
    ),
    output(
        "profiles.interval",
        "30s",
        Span,
        "least span between two profiles of one customer",
    ),
    option(
        "state.cached_keys",
        "50000",
        Whole(1, 100_000_000),
        "decoded customers that a worker keeps in memory, 10 to 20 KiB each",
    ),
    option(
        "state.flush_interval",
        "30s",
        Span,
        "committed rows reach the disk at least this often",
    ),
    option(
        "state.snapshot_bytes",
        "32MiB",
        Bytes,
        "a changelog gets a snapshot, and is trimmed to it, when it is longer than this and than twice the last one",
    ),
    option("state.rocksdb_bytes", "512MiB", Bytes, "block cache of all partitions"),
    option(
        "console.listen",
        "127.0.0.1:8700",
        Text,
        "`host:port` of the console's page; it shows no identifiers, and asks nobody who they are",
    ),
    option(
        "http.tls_upstream",
        "false",
        Switch,
        "a proxy in front ends TLS and asks who is there; without it the page listens on loopback addresses alone",
    ),
    option(
        "privacy.key_secret_file",
        "",
        Text,
        "file with the secret of customer keys, which `intake` needs; `demo` makes one",
    ),
    option(
        "telemetry.log",
        "info",
        Text,
        "what is logged, as in `info,stream=debug`",
    ),
    option(
        "telemetry.format",
        "auto",
        Choice(&["auto", "text", "json"]),
        "JSON off a terminal",
    ),
];

/// An option by its key.
#[must_use]
pub(super) fn find(key: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.key == key)
}
