//! What was committed stays committed, whatever a broker forgets: one is killed right behind commits, before it has written their markers,
//! and the next transaction of the same name is aborted where they wrote.
//!
//! `WAYMARK_KILLS=40` kills more often than a test has time for.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::{Admin, From, KafkaConfig, KafkaLog, Tail};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use stream::{Batch, Change, Commit, Log, LogError, Output, PartitionEpoch, TopicPartition, is_filler};
use testkit::broker::Kafka;

/// What an open commit is closed with: nothing, where brokers are reached without logging in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closes {
    WithNothing,
    WithRecords,
}

const LANES: i32 = 12;
const BUDGET: Duration = Duration::from_secs(90);

fn config(address: &str, closes: Closes) -> KafkaConfig {
    let properties = match closes {
        Closes::WithNothing => BTreeMap::new(),
        Closes::WithRecords => BTreeMap::from([("security.protocol".to_owned(), "plaintext".to_owned())]),
    };
    KafkaConfig {
        properties,
        static_member: true,
        inputs: vec!["in".to_owned()],
        outputs: vec!["out".to_owned(), "log".to_owned()],
        changelog: Some("log".to_owned()),
        transaction_timeout: Duration::from_secs(6),
        session_timeout: Duration::from_secs(6),
        ..KafkaConfig::new(address, "g", "g-0")
    }
}

fn output(partition: i32, value: &str) -> Output {
    Output {
        topic: Arc::from("out"),
        partition: Some(partition),
        timestamp: None,
        key: Some(b"key".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// Repeats what a log answers with a passing error.
fn patiently<T>(what: &str, mut call: impl FnMut() -> Result<T, LogError>) -> T {
    let begun = Instant::now();
    loop {
        match call() {
            Ok(value) => return value,
            Err(LogError::Retriable(_)) if begun.elapsed() < BUDGET => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// The same where a producer may be of no more use.
fn persistently(log: &mut KafkaLog, what: &str, call: impl Fn(&mut KafkaLog) -> Result<(), LogError>) {
    let begun = Instant::now();
    loop {
        match call(log) {
            Ok(()) => return,
            Err(error) => {
                assert!(begun.elapsed() < BUDGET, "{what}: {error}");
                if !matches!(error, LogError::Retriable(_)) {
                    patiently("a new producer", || log.recycle());
                }
            }
        }
    }
}

fn own(log: &mut KafkaLog, input: &TopicPartition) {
    let (begun, mut batch) = (Instant::now(), Batch::default());
    let gives = |change: &Change| matches!(change, Change::Assigned(given) if given.contains(input));
    while !batch.changes.iter().any(gives) {
        assert!(begun.elapsed() < BUDGET, "the group gives nothing");
        patiently("poll", || log.poll(Duration::from_millis(100), 10, &mut batch));
    }
}

#[test]
fn what_was_committed_is_seen_though_a_broker_dies_before_it_has_marked_it() {
    tried(Closes::WithNothing);
}

#[test]
fn where_brokers_are_not_plain_records_that_say_nothing_do_it() {
    tried(Closes::WithRecords);
}

fn tried(closes: Closes) {
    let Some(mut kafka) = Kafka::for_test() else { return };
    let address = kafka.address().to_owned();
    let admin = Admin::connect(&config(&address, closes)).expect("settings are understood");
    for (topic, partitions) in [("in", 1), ("out", LANES), ("log", 1)] {
        admin
            .create(topic, partitions, 1, &BTreeMap::new())
            .expect("broker answers");
    }
    let input = TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    };
    if let Ok(filter) = std::env::var("WAYMARK_LOG") {
        let filter = tracing_subscriber::EnvFilter::new(filter);
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init();
    }
    let kills: u32 = std::env::var("WAYMARK_KILLS").map_or(4, |kills| kills.parse().expect("a number"));
    for kill in 0..kills {
        let mut log = patiently("open", || KafkaLog::open(config(&address, closes)));
        own(&mut log, &input);
        let epoch = Commit::from(vec![PartitionEpoch {
            input: input.clone(),
            offset: 0,
            metadata: format!("epoch {kill}"),
            slot: 0,
            changelog: vec![format!("part {kill}").into_bytes()],
            rows: Vec::new(),
        }]);
        log.begin().expect("begins");
        for lane in 0..LANES {
            log.send(output(lane, &format!("told {kill}"))).expect("is sent");
        }
        log.commit(&epoch).expect("commits");
        let (successor, in_flight, is_replaced) = (kill % 4 == 1, kill % 4 == 2, kill % 4 == 3);
        if in_flight {
            // The next transaction has begun when the broker dies.
            persistently(&mut log, "confirm", |log| log.confirm().map(drop));
            log.begin().expect("begins");
            for lane in 0..LANES {
                log.send(output(lane, "junk")).expect("is sent");
            }
        }
        kafka.kill();
        if is_replaced {
            // As behind a commit that was slow.
            let _ = log.recycle();
        }
        let mut same = (!successor).then_some(log);
        std::thread::scope(|scope| {
            let broker = scope.spawn(|| kafka.resume());
            while !broker.is_finished() {
                // As a worker does: it hears what has broken.
                if let Some(log) = &mut same {
                    let _ = log.poll(Duration::from_millis(50), 10, &mut Batch::default());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            broker.join().expect("does not panic").expect("comes back");
        });
        let mut log = same.unwrap_or_else(|| patiently("open", || KafkaLog::open(config(&address, closes))));
        persistently(&mut log, "confirm", |log| {
            log.confirm()
                .map(|was_closed| assert!(!(was_closed && successor), "resolved when it was opened"))
        });
        // What would take it back.
        persistently(&mut log, "junk", |log| {
            log.begin()?;
            (0..LANES).try_for_each(|lane| log.send(output(lane, "junk")))
        });
        if log.abort().is_err() {
            patiently("a new producer", || log.recycle());
        }
        persistently(&mut log, "discard", Log::discard);
        // One who was put out meanwhile has left.
        let _ = log.leave();
    }
    let fillers = fillers(&address);
    eprintln!("{kills} kills; closed with {fillers} records that say nothing");
    assert!(closes == Closes::WithRecords || fillers == 0);
    let mut tail = Tail::open(&config(&address, closes), &["out"], From::Start).expect("broker answers");
    let mut seen: BTreeMap<String, i32> = BTreeMap::new();
    for record in tail.read_to_end(BUDGET).expect("reads") {
        let text = String::from_utf8_lossy(record.value.as_deref().expect("fillers are passed over")).into_owned();
        *seen.entry(text).or_default() += 1;
    }
    let expected: BTreeMap<String, i32> = (0..kills).map(|kill| (format!("told {kill}"), LANES)).collect();
    assert_eq!(seen, expected);
}

/// How many records of `out` that say nothing are visible.
fn fillers(address: &str) -> usize {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", "fillers")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .expect("settings are understood");
    let mut all = TopicPartitionList::new();
    for lane in 0..LANES {
        all.add_partition_offset("out", lane, Offset::Beginning)
            .expect("is an offset");
    }
    reader.assign(&all).expect("can be read");
    let (mut found, mut ended, begun) = (0, 0, Instant::now());
    while ended < LANES {
        assert!(begun.elapsed() < BUDGET, "the topic does not end");
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => found += usize::from(is_filler(message.key(), message.payload())),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            _ => {}
        }
    }
    found
}
