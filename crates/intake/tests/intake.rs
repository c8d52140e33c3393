//! Raw records through the worker to the timeline: on the memory log and on a real Kafka. Nothing is lost, nothing is skipped.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use intake::Intake;
use kafka::{Admin, From, KafkaConfig, KafkaLog, Publisher, Tail};
use service::{
    Machine,
    config::{Config, Sources},
    topics::Names,
    worker::{Clock, Start, Worker, WorkerConfig},
};
use stream::{Millis, Output, Record, SnapshotRule, Statefulness, TopicPartition};
use testkit::{
    broker::Kafka,
    memory::{Broker, Disk, Fuse, MemoryLog},
};

const RAW: &str = "journey.events.web";
/// 21 November 2026, 13:10:02 UTC.
const NOW: i64 = 1_795_266_602_000;

/// The configuration that nobody changed.
fn defaults() -> Config {
    let sources = Sources {
        file: None,
        variables: Vec::new(),
        flags: &[],
    };
    Config::read(&sources).expect("the defaults are valid")
}

fn stage() -> Arc<Intake> {
    Arc::new(intake::stage(&defaults(), &Names::new(""), b"waymark-demo", None))
}

/// The wall's clock stands, so that clamped times can be compared.
struct Standing(Machine);

impl Clock for Standing {
    fn wall(&self) -> Millis {
        Millis(NOW)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.0.sleep(time);
    }
}

fn config() -> WorkerConfig {
    let disk = Disk::default();
    WorkerConfig {
        epoch_interval: Duration::from_millis(20),
        epoch_records: 500,
        poll_records: 500,
        flush_bytes: 1 << 20,
        flush_interval: Duration::from_secs(1),
        window: 0,
        state: Statefulness::None,
        cached_keys: 20,
        timers_per_round: 1000,
        changelog: None,
        snapshots: SnapshotRule {
            after: 1 << 25,
            chunk: 1 << 20,
        },
        start: Start::Earliest,
        dead_letters: service::dead_letters("intake"),
        open_db: Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &Fuse::default())))),
        clock: Box::new(Standing(Machine::default())),
    }
}

fn canonical(id: usize, time: &str) -> Vec<u8> {
    format!(
        r#"{{"id":"{id}","source":"shop/web","type":"checkout.started","time":"{time}","identifiers":[{{"kind":"email","value":" Anna@Example.com "}}],"attributes":{{"value":3.5,"currency":"EUR"}}}}"#
    )
    .into_bytes()
}

/// Good records, each kind of rubbish, a long row of rubbish, and good records behind it; and how many are good.
fn input() -> (Vec<Vec<u8>>, usize, BTreeMap<&'static str, usize>) {
    let time = "2026-11-21T13:10:00Z";
    let mut avro = Vec::new();
    codec::encode_event(
        &codec::read_event(&canonical(1000, time)).expect("canonical"),
        &mut avro,
    );
    let mut unknown = avro.clone();
    unknown[4] ^= 1;
    let mut values = vec![canonical(1, time), avro.clone(), canonical(2, "2099-01-01T00:00:00Z")];
    let good = values.len();
    let rubbish: [(&str, Vec<u8>); 10] = [
        ("empty", Vec::new()),
        ("avro_malformed", avro[..avro.len() - 3].to_vec()),
        ("schema_unknown", unknown),
        ("json_malformed", b"{\"id\": ".to_vec()),
        ("format_unknown", b"hello".to_vec()),
        ("not_utf8", vec![b'{', 0xff, b'}']),
        (
            "field_invalid",
            String::from_utf8_lossy(&canonical(3, time))
                .replace("\"shop/web\"", "7")
                .into_bytes(),
        ),
        ("too_large", [canonical(4, time), vec![b' '; 1_258_291]].concat()),
        ("time_invalid", canonical(5, "tomorrow")),
        (
            "identifier_missing",
            String::from_utf8_lossy(&canonical(6, time))
                .replace(" Anna@Example.com ", "null")
                .into_bytes(),
        ),
    ];
    let mut reasons = BTreeMap::new();
    for (reason, value) in rubbish {
        *reasons.entry(reason).or_default() += 1;
        values.push(value);
    }
    for index in 0..10_000 {
        *reasons.entry("format_unknown").or_default() += 1;
        values.push(format!("rubbish {index}").into_bytes());
    }
    values.push(canonical(7, time));
    (values, good + 1, reasons)
}

fn records(values: &[Vec<u8>]) -> Vec<Output> {
    let record = |(index, value): (usize, &Vec<u8>)| Output {
        topic: Arc::from(RAW),
        partition: Some(i32::try_from(index % 2).expect("small")),
        timestamp: Some(Millis(NOW)),
        key: None,
        value: Some(value.clone()),
        headers: vec![("from".to_owned(), Some(b"test".to_vec()))],
    };
    values.iter().enumerate().map(record).collect()
}

fn check(
    values: &[Vec<u8>],
    good: usize,
    reasons: &BTreeMap<&'static str, usize>,
    timeline: &[Record],
    letters: &[Record],
) {
    assert_eq!((timeline.len(), timeline.len() + letters.len()), (good, values.len()));
    for record in timeline {
        // The test vector of the contract: an e-mail address under the secret `waymark-demo`.
        assert_eq!(record.key.as_deref(), Some(b"e.4pcsm62wtlnk5j2axdlwkld7fm".as_slice()));
        let event = codec::decode_event(record.value.as_deref().expect("a value")).expect("readable");
        assert_eq!(event.identifiers[0].value, "anna@example.com");
        let clamped = event.flags.iter().any(|flag| flag == event::flag::TIME_CLAMPED);
        assert_eq!(clamped, event.id == "2", "only the date in 2099 is clamped");
        assert!(event.time <= Millis(NOW));
    }
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in letters {
        let header = |name: &str| {
            let header = letter.headers.iter().find(|(known, _)| known == name);
            std::str::from_utf8(header.and_then(|(_, value)| value.as_deref()).unwrap_or_default()).expect("text")
        };
        *found.entry(header("waymark-dlq-reason")).or_default() += 1;
        assert_eq!(header("__connect.errors.topic"), RAW);
        assert_eq!(header("from"), "test", "the record's own headers stay");
        let partition: usize = header("__connect.errors.partition").parse().expect("a number");
        let offset: usize = header("__connect.errors.offset").parse().expect("a number");
        assert_eq!(
            letter.value.as_deref(),
            Some(values[offset * 2 + partition].as_slice()),
            "original bytes, true origin"
        );
    }
    assert_eq!(&found, reasons);
}

#[test]
fn every_record_becomes_an_event_or_a_dead_letter() {
    let (values, good, reasons) = input();
    let broker = Broker::default();
    for (topic, partitions) in [(RAW, 2), ("journey.timeline", 1), ("journey.events.web.dlq", 1)] {
        broker.create(topic, partitions);
    }
    broker.publish(records(&values));
    let log = MemoryLog::join(&broker, &Fuse::default(), "intake", &[RAW], None);
    let mut worker = Worker::new(log, stage(), (), config());
    for _ in 0..200 {
        worker.turn().expect("no faults");
    }
    worker.finish().expect("no faults");
    check(
        &values,
        good,
        &reasons,
        &broker.read("journey.timeline"),
        &broker.read("journey.events.web.dlq"),
    );
}

#[test]
fn the_same_on_a_real_kafka() {
    let Some(kafka) = Kafka::for_test() else { return };
    let address = kafka.address();
    let of = |id: &str| KafkaConfig {
        inputs: vec![RAW.to_owned()],
        ..KafkaConfig::new(address, "intake", id)
    };
    let admin = Admin::connect(&of("admin")).expect("settings are understood");
    let configs = BTreeMap::from([
        ("retention.ms".to_owned(), "-1".to_owned()),
        ("max.message.bytes".to_owned(), "2097152".to_owned()),
    ]);
    for (topic, partitions) in [(RAW, 2), ("journey.timeline", 1), ("journey.events.web.dlq", 1)] {
        assert!(
            admin.create(topic, partitions, 1, &configs).expect("broker answers"),
            "{topic}"
        );
    }
    let (values, good, reasons) = input();
    let mut publisher = Publisher::open(&of("publisher")).expect("broker answers");
    publisher.publish(&records(&values)).expect("published");
    let log = KafkaLog::open(of("intake-0")).expect("opens");
    let mut worker = Worker::new(log, stage(), (), config());
    let read = |topic: &str| {
        let mut tail = Tail::open(&of("tail"), &[topic], From::Start).expect("opens");
        tail.read_to_end(Duration::from_secs(20)).expect("broker answers")
    };
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        for _ in 0..50 {
            worker.turn().expect("no faults");
        }
        if read("journey.timeline").len() >= good || Instant::now() > until {
            break;
        }
    }
    worker.finish().expect("no faults");
    check(
        &values,
        good,
        &reasons,
        &read("journey.timeline"),
        &read("journey.events.web.dlq"),
    );
}
