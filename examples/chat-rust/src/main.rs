//! A chat service that acts on Waymark's interventions. See `examples/README.md` for what it honours.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use apache_avro::{Schema, reader::datum::GenericDatumReader};
use clap::Parser;
use jiff::Timestamp;
use rdkafka::{
    ClientConfig, ClientContext, Message as _,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    message::{BorrowedMessage, DeliveryResult, Headers as _},
    producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Acts on `journey.interventions.chat`, and reports to `journey.events.business`.
#[derive(Parser)]
struct Options {
    /// host:port, comma-separated
    #[arg(long)]
    brokers: String,
    /// File in which the chat platform keeps what it has shown
    #[arg(long)]
    shown: PathBuf,
    /// Consumer group
    #[arg(long, default_value = "chat-rust")]
    group: String,
    /// Seconds until the customer says yes
    #[arg(long, default_value_t = 2.0)]
    answer_after: f64,
}

/// What this service needs of an intervention; the schema has more.
#[derive(Debug, Clone, Deserialize)]
struct Intervention {
    id: String,
    action: String,
    idempotency_key: String,
    customer: String,
    effect: String,
    lang: Option<String>,
    because: BTreeMap<String, String>,
    not_before: Option<i64>,
    expires_at: i64,
}

const SCHEMA: &str = include_str!("../../../schemas/intervention.avsc");
/// Avro single-object encoding: two marker bytes, then the schema's fingerprint.
const HEAD: usize = 10;
const REMEMBERED: usize = 10_000;

/// The chat platform: what it was once asked to show it never shows again, whoever asks.
struct Chat {
    path: PathBuf,
    shown: BTreeSet<String>,
}

impl Chat {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let shown = if path.exists() {
            std::fs::read_to_string(&path)?.lines().map(ToOwned::to_owned).collect()
        } else {
            BTreeSet::new()
        };
        Ok(Self { path, shown })
    }

    fn show(&mut self, idempotency_key: &str, sentence: &str) -> anyhow::Result<()> {
        if self.shown.insert(idempotency_key.to_owned()) {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            writeln!(file, "{idempotency_key}")?;
            println!("shown: {sentence}");
        }
        Ok(())
    }

    fn withdraw(&mut self, idempotency_key: &str) {
        println!("withdrawn: {idempotency_key}");
    }
}

/// Notices a report that the broker did not take.
struct Delivery(Arc<AtomicBool>);

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

struct Reports {
    producer: ThreadedProducer<Delivery>,
    failed: Arc<AtomicBool>,
    source: String,
}

impl Reports {
    fn send(&self, about: &Intervention, what: &str, mut attributes: Value) -> anyhow::Result<()> {
        attributes["intervention_id"] = about.id.clone().into();
        attributes["channel"] = "chat".into();
        let event = json!({
            // The same report has the same id: sent again, it counts once.
            "id": format!("{}/{what}", about.id), "source": self.source, "type": format!("intervention.{what}"),
            "time": Timestamp::now().to_string(), "channel": "chat",
            "identifiers": [{ "kind": "key", "value": about.customer }], "attributes": attributes,
        });
        let body = event.to_string();
        let record = BaseRecord::<str, str>::to("journey.events.business").payload(&body);
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// Waits until the broker has everything.
    fn flush(&self) -> anyhow::Result<()> {
        self.producer
            .flush(Duration::from_secs(10))
            .context("reports were not taken in time")?;
        ensure!(!self.failed.load(Ordering::Relaxed), "a report was not taken");
        Ok(())
    }
}

struct Service {
    chat: Chat,
    reports: Reports,
    answer_after: Duration,
    seen: BTreeSet<String>,
    order: VecDeque<String>,
    /// Shown and not yet answered, with the moment when the customer says yes.
    open: BTreeMap<String, (Intervention, Instant)>,
}

impl Service {
    fn take(&mut self, intervention: Intervention, ce_id: &str, now: Timestamp) -> anyhow::Result<()> {
        if !self.seen.insert(ce_id.to_owned()) {
            return Ok(());
        }
        self.order.push_back(ce_id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        if intervention.action == "cancel" {
            if self.open.remove(&intervention.id).is_some() {
                self.chat.withdraw(&intervention.idempotency_key);
                self.reports
                    .send(&intervention, "cancelled", json!({ "was_shown": true }))?;
            }
            return Ok(());
        }
        if intervention.action != "start" || !matches!(intervention.effect.as_str(), "assist" | "offer") {
            let why = json!({ "code": "not_understood", "retryable": false });
            return self.reports.send(&intervention, "failed", why);
        }
        let micros = now.as_microsecond();
        if intervention.expires_at <= micros || intervention.not_before.is_some_and(|from| from > micros) {
            return Ok(());
        }
        let because = &intervention.because;
        let lang = intervention.lang.as_deref().unwrap_or("en");
        let sentence = because.get(lang).or_else(|| because.values().next());
        self.chat
            .show(&intervention.idempotency_key, sentence.map_or("", String::as_str))?;
        self.reports
            .send(&intervention, "shown", json!({ "surface": "chat" }))?;
        let due = Instant::now() + self.answer_after;
        self.open.insert(intervention.id.clone(), (intervention, due));
        Ok(())
    }

    fn answers(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let due: Vec<String> = self
            .open
            .iter()
            .filter(|(_, (_, due))| *due <= Instant::now())
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let Some((intervention, _)) = self.open.remove(&id) else {
                continue;
            };
            if intervention.expires_at > now.as_microsecond() {
                self.reports.send(&intervention, "accepted", json!({}))?;
            }
        }
        Ok(())
    }
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let schema = Schema::parse_str(SCHEMA)?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.brokers)
        .set("group.id", &options.group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let failed = Arc::new(AtomicBool::new(false));
    let producer = ClientConfig::new()
        .set("bootstrap.servers", &options.brokers)
        .set("enable.idempotence", "true")
        .create_with_context(Delivery(Arc::clone(&failed)))?;
    let mut service = Service {
        chat: Chat::open(options.shown)?,
        reports: Reports {
            producer,
            failed,
            source: format!("examples/{}", options.group),
        },
        answer_after: Duration::from_secs_f64(options.answer_after),
        seen: BTreeSet::new(),
        order: VecDeque::new(),
        open: BTreeMap::new(),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    consumer.subscribe(&["journey.interventions.chat"])?;
    println!("ready");
    while !stop.load(Ordering::Relaxed) {
        let message = match consumer.poll(Duration::from_millis(200)) {
            Some(Err(error)) => {
                eprintln!("warning: {error}");
                None
            }
            Some(Ok(message)) => Some(message),
            None => None,
        };
        let now = Timestamp::now();
        // A record without a value says nothing (`docs/AUDIT.md`, Transactions).
        if let Some(message) = &message
            && let Some(value) = message.payload()
        {
            let place = || format!("{}/{}/{}", message.topic(), message.partition(), message.offset());
            let Some(mut datum) = value.get(HEAD..) else {
                bail!("a record is too short: {}", place());
            };
            let value = reader.read_value(&mut datum).with_context(place)?;
            let intervention: Intervention = apache_avro::from_value(&value).with_context(place)?;
            let ce_id = header(message, "ce_id").unwrap_or_default();
            service.take(intervention, ce_id, now)?;
        }
        service.answers(now)?;
        service.reports.flush()?;
        if let Some(message) = &message {
            consumer.commit_message(message, CommitMode::Sync)?;
        }
    }
    Ok(())
}
