//! The worker on a real Kafka: killed in the middle, again and again, it says what an undisturbed one says.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use kafka::{Admin, From, KafkaConfig, KafkaLog, Publisher, Tail};
use service::{
    Machine,
    topics::Changelog,
    worker::{Hand, Start, Worker, WorkerConfig},
};
use stream::{
    Batch, Change, ChangelogBatch, Commit, Log, LogError, Millis, Output, Record, SnapshotRule, Statefulness,
    TopicPartition,
};
use testkit::{
    broker::Kafka,
    memory::{Broker, Disk, Fuse, MemoryLog},
    waiting::{Waiting, dead_letter},
};

const PARTITIONS: i32 = 2;
const BUDGET: Duration = Duration::from_secs(90);

fn worker_config(disk: Disk, start: Start) -> WorkerConfig {
    WorkerConfig {
        epoch_interval: Duration::from_millis(20),
        epoch_records: 20,
        poll_records: 15,
        flush_bytes: 1 << 20,
        flush_interval: Duration::from_millis(200),
        window: 0,
        state: Statefulness::Keyed,
        cached_keys: 20,
        timers_per_round: 1000,
        changelog: Some(Changelog::new("log", vec!["in".to_owned()])),
        snapshots: SnapshotRule {
            after: 3000,
            chunk: 400,
        },
        start,
        dead_letters: Arc::new(dead_letter),
        open_db: Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &Fuse::default())))),
        clock: Box::new(Machine::default()),
    }
}

fn kafka_config(address: &str, id: &str) -> KafkaConfig {
    KafkaConfig {
        static_member: true,
        inputs: vec!["in".to_owned()],
        changelog: Some("log".to_owned()),
        ..KafkaConfig::new(address, "g", id)
    }
}

fn create_topics(address: &str) {
    let admin = Admin::connect(&kafka_config(address, "admin")).expect("settings are understood");
    // The test's times are old, and retention counts from record timestamps: the broker would delete what was just written.
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    for (topic, partitions) in [("in", PARTITIONS), ("out", 2), ("log", PARTITIONS), ("in.dlq", 1)] {
        let created = admin.create(topic, partitions, 1, &configs).expect("broker answers");
        assert!(created, "{topic}");
    }
    assert!(
        !admin.create("in", 1, 1, &BTreeMap::new()).expect("broker answers"),
        "a second time it is there"
    );
}

/// Deterministic input: six keys a partition, ticks, and rubbish between.
fn history() -> Vec<Output> {
    let mut outputs = Vec::new();
    for partition in 0..PARTITIONS {
        let mut push = |value: String, at: i64| {
            outputs.push(Output {
                topic: Arc::from("in"),
                partition: Some(partition),
                timestamp: Some(Millis(1_700_000_000_000 + at)),
                key: None,
                value: Some(value.into_bytes()),
                headers: vec![("from".to_owned(), Some(b"test".to_vec())), ("empty".to_owned(), None)],
            });
        };
        for step in 0..3000_i64 {
            let at = step * 3;
            let kind = if step % 5 == 1 { "b" } else { "a" };
            match step {
                _ if step % 37 == 0 => push("rubbish".to_owned(), at),
                _ if step % 11 == 0 => push(format!("tick - {at}"), at),
                _ => push(format!("{kind} p{partition}k{} {at}", step * 7 % 6), at),
            }
        }
        push("tick - 100000".to_owned(), 100_000);
    }
    outputs
}

/// What an undisturbed worker says, from the memory log.
fn expected(history: &[Output]) -> Vec<String> {
    let broker = Broker::default();
    for (topic, partitions) in [("in", 2), ("out", 2), ("log", 2), ("in.dlq", 1)] {
        broker.create(topic, partitions);
    }
    broker.publish(history.iter().cloned());
    let log = MemoryLog::join(&broker, &Fuse::default(), "g", &["in"], Some("log"));
    let mut worker = Worker::new(
        log,
        Arc::new(Waiting),
        (),
        worker_config(Disk::default(), Start::Earliest),
    );
    for _ in 0..history.len() {
        worker.turn().expect("no faults");
    }
    worker.finish().expect("no faults");
    let mut all = broker.read("out");
    all.extend(broker.read("in.dlq"));
    said(&all)
}

/// Outputs in order per partition and key, keys sorted, so that two runs can be compared.
fn said(records: &[Record]) -> Vec<String> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let mut by_key: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for record in records {
        let lane = if record.topic.as_ref() == "out" {
            record.partition
        } else {
            0
        };
        by_key
            .entry((format!("{}/{lane}", record.topic), text(&record.key)))
            .or_default()
            .push(text(&record.value));
    }
    by_key
        .into_iter()
        .flat_map(|((lane, key), values)| values.into_iter().map(move |value| format!("{lane} {key}: {value}")))
        .collect()
}

fn read(address: &str, topics: &[&str]) -> Vec<Record> {
    let mut tail = Tail::open(&kafka_config(address, "tail"), topics, From::Start).expect("broker answers");
    tail.read_to_end(BUDGET).expect("topics end")
}

fn start_child(address: &str, data_dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("the test is a file"))
        .args(["--exact", "a_worker_of_its_own", "--nocapture"])
        .env("WAYMARK_TEST_WORKER", address)
        .env("WAYMARK_TEST_DATA", data_dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test can run itself")
}

/// The body of the processes that are killed: run by the tests below with the broker's address, a look at an unset variable else.
#[test]
fn a_worker_of_its_own() {
    let Ok(address) = std::env::var("WAYMARK_TEST_WORKER") else {
        return;
    };
    let log = KafkaLog::open(kafka_config(&address, "g-0")).expect("broker answers");
    let worker = Worker::new(
        log,
        Arc::new(Waiting),
        (),
        worker_config(Disk::default(), Start::Earliest),
    );
    let data_dir = std::env::var_os("WAYMARK_TEST_DATA").expect("set beside the address");
    let mut worker = worker.with_hand(Hand::open(Path::new(&data_dir), "g", 0));
    worker
        .run(&Arc::new(AtomicBool::new(false)))
        .expect("no faults but its end");
}

#[test]
fn killed_in_the_middle_it_says_what_an_undisturbed_worker_says() {
    let Some(kafka) = Kafka::for_test() else { return };
    create_topics(kafka.address());
    let history = history();
    let expected = expected(&history);
    let mut publisher = Publisher::open(&kafka_config(kafka.address(), "publisher")).expect("broker answers");
    for batch in history.chunks(500) {
        publisher.publish(batch).expect("published");
    }

    let data_dir = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let mut kills = 0;
    let mut progress = Vec::new();
    // Each life gets a little longer, so that deaths fall into start, restore, epochs and commits alike.
    for life in 0..12 {
        let mut child = start_child(kafka.address(), data_dir.path());
        std::thread::sleep(Duration::from_millis(900 + life * 150));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        kills += 1;
        progress.push(read(kafka.address(), &["out", "in.dlq"]).len());
        if progress.last() >= Some(&expected.len()) {
            break;
        }
    }
    let mut child = start_child(kafka.address(), data_dir.path());
    let mut found = Vec::new();
    while found.len() < expected.len() && begun.elapsed() < BUDGET {
        std::thread::sleep(Duration::from_millis(200));
        found = read(kafka.address(), &["out", "in.dlq"]);
    }
    // What would be said twice would be said now.
    std::thread::sleep(Duration::from_millis(500));
    found = read(kafka.address(), &["out", "in.dlq"]);
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    eprintln!(
        "kills {kills}, outputs after each {progress:?}, expected {}",
        expected.len()
    );
    assert_eq!(said(&found), expected);
}

#[test]
fn what_aborts_the_process_three_times_is_a_dead_letter() {
    let Some(kafka) = Kafka::for_test() else { return };
    create_topics(kafka.address());
    let mut inputs = Vec::new();
    let mut push = |value: String| {
        inputs.push(Output {
            topic: Arc::from("in"),
            partition: Some(0),
            timestamp: Some(Millis(1_700_000_000_000)),
            key: None,
            value: Some(value.into_bytes()),
            headers: Vec::new(),
        });
    };
    for step in 0..100 {
        push(format!("b k{} {step}", step % 4));
    }
    // The record and the timer that end the process, with innocents around them.
    for value in [
        "abort k0 100",
        "b k1 101",
        "tick - 110",
        "a bomb 120",
        "b k2 130",
        "tick - 300",
        "b bomb 310",
    ] {
        push(value.to_owned());
    }
    for step in 400..500 {
        push(format!("b k{} {step}", step % 4));
    }
    let mut publisher = Publisher::open(&kafka_config(kafka.address(), "publisher")).expect("broker answers");
    publisher.publish(&inputs).expect("published");

    let data_dir = tempfile::tempdir().expect("a directory");
    let begun = Instant::now();
    let mut deaths = 0;
    let mut child = start_child(kafka.address(), data_dir.path());
    let mut found = Vec::new();
    while found.len() < inputs.len() - 2 && begun.elapsed() < BUDGET {
        std::thread::sleep(Duration::from_millis(100));
        if child.try_wait().expect("it can be asked").is_some() {
            deaths += 1;
            child = start_child(kafka.address(), data_dir.path());
        } else if deaths >= 6 {
            found = read(kafka.address(), &["out", "in.dlq"]);
        }
    }
    // A seventh death, or what would be said twice, would come now.
    std::thread::sleep(Duration::from_millis(500));
    let lives = child.try_wait().expect("it can be asked").is_none();
    let found = read(kafka.address(), &["out", "in.dlq"]);
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    assert_eq!((deaths, lives), (6, true), "three for the record, three for the timer");
    let (letters, said): (Vec<Record>, Vec<Record>) =
        found.into_iter().partition(|record| record.topic.as_ref() == "in.dlq");
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| {
            let reason = letter.headers.iter().find(|(name, _)| name == "reason");
            let text =
                |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
            (reason.map(|(_, reason)| text(reason)), text(&letter.value))
        })
        .collect();
    let expected = [("crash_loop", "abort k0 100"), ("quarantined", "b bomb 310")];
    assert_eq!(
        letters,
        expected.map(|(reason, value)| (Some(reason.to_owned()), value.to_owned()))
    );
    let of = |key: &str| {
        said.iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
            .count()
    };
    let counts = ["k0", "k1", "k2", "k3", "bomb"].map(of);
    assert_eq!(counts, [50, 51, 51, 50, 1], "each event exactly once");
    let last = said.iter().rfind(|record| record.key.as_deref() == Some(b"k1"));
    let last = last.and_then(|record| record.value.as_deref());
    assert_eq!(last, Some(&b"b 51 at 497"[..]));
}

#[test]
fn an_aborted_transaction_shows_nothing_and_a_successor_fences_its_predecessor() {
    let Some(kafka) = Kafka::for_test() else { return };
    create_topics(kafka.address());
    let output = |text: &str| Output {
        topic: Arc::from("out"),
        partition: None,
        timestamp: None,
        key: Some(b"key".to_vec()),
        value: Some(text.as_bytes().to_vec()),
        headers: vec![("h".to_owned(), Some(b"v".to_vec())), ("none".to_owned(), None)],
    };
    let mut zombie = KafkaLog::open(kafka_config(kafka.address(), "g-0")).expect("broker answers");
    zombie.begin().expect("begins");
    zombie.send(output("aborted")).expect("queued");
    zombie.abort().expect("aborts");
    zombie.begin().expect("begins again");
    zombie.send(output("never")).expect("queued");
    let mut publisher = Publisher::open(&kafka_config(kafka.address(), "g-0")).expect("fences the first");
    publisher.publish(&[output("seen")]).expect("published");
    let records = read(kafka.address(), &["out"]);
    assert_eq!(
        said(&records),
        [format!("out/{} key: seen", stream::partition_of(b"key", 2))]
    );
    assert_eq!(records[0].headers, output("").headers);

    let epoch = Commit::from(vec![stream::PartitionEpoch {
        input: input(),
        offset: 1,
        metadata: String::new(),
        slot: 0,
        changelog: Vec::new(),
        rows: Vec::new(),
    }]);
    let refused = zombie
        .commit(&epoch)
        .expect_err("it does not own the partition, and is fenced");
    assert!(
        matches!(refused, LogError::Abort(_) | LogError::Fenced(_) | LogError::Unknown(_)),
        "{refused}"
    );
}

/// Partition 0 of the input.
fn input() -> TopicPartition {
    TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    }
}

/// A record of partition 0, without key.
fn record(topic: &str, value: &str) -> Output {
    Output {
        topic: Arc::from(topic),
        partition: Some(0),
        timestamp: None,
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

fn own(log: &mut KafkaLog, input: &TopicPartition) {
    let (begun, mut batch) = (Instant::now(), Batch::default());
    let gives = |change: &Change| matches!(change, Change::Assigned(given) if given.contains(input));
    while !batch.changes.iter().any(gives) {
        assert!(begun.elapsed() < BUDGET, "the group gives nothing");
        let polled = log.poll(Duration::from_millis(100), 10, &mut batch);
        polled.expect("broker answers");
    }
}

#[test]
fn an_epoch_is_committed_only_where_its_worker_knows_the_changelog_to_end() {
    let Some(kafka) = Kafka::for_test() else { return };
    create_topics(kafka.address());
    let mut log = KafkaLog::open(kafka_config(kafka.address(), "g-0")).expect("broker answers");
    let input = input();
    own(&mut log, &input);
    let mut commit = |offset: i64, ends: RangeInclusive<i64>, parts: &[&str]| {
        let mut epoch = Commit::from(vec![stream::PartitionEpoch {
            input: input.clone(),
            offset,
            metadata: String::new(),
            slot: 0,
            changelog: parts.iter().map(|part| part.as_bytes().to_vec()).collect(),
            rows: Vec::new(),
        }]);
        epoch.ends.insert(0, ends);
        log.begin().expect("begins");
        let done = log.commit(&epoch);
        if done.is_err() {
            log.abort().expect("aborts");
        }
        let told = log.committed(std::slice::from_ref(&input)).expect("broker answers");
        let told = told[0].as_ref().map(|told| told.offset);
        (done.map(|report| report.changelog_next), told)
    };
    assert_eq!(commit(1, 0..=0, &["one", "two"]), (Ok(vec![Some(2)]), Some(1)));
    // Behind an own commit stands the end of its transaction.
    assert_eq!(commit(2, 2..=3, &["three"]), (Ok(vec![Some(4)]), Some(2)));
    let mut other = Publisher::open(&kafka_config(kafka.address(), "other")).expect("broker answers");
    other.publish(&[record("log", "foreign")]).expect("published");
    let (refused, told) = commit(3, 4..=5, &["four"]);
    let refused = refused.expect_err("somebody else has written");
    let says = "somebody else has written to the changelog: partition=0 end=Some(4..=5) placed=7..=7 parts=1";
    assert_eq!(refused, LogError::Abort(says.to_owned()));
    assert_eq!(told, Some(2), "nothing was committed");
    assert_eq!(commit(3, 9..=9, &["four"]), (Ok(vec![Some(10)]), Some(3)));
}

#[test]
fn a_trimmed_changelog_begins_later_and_reading_before_it_is_refused() {
    let Some(kafka) = Kafka::for_test() else { return };
    create_topics(kafka.address());
    let entry = |value: &str| record("log", value);
    let mut publisher = Publisher::open(&kafka_config(kafka.address(), "publisher")).expect("broker answers");
    publisher
        .publish(&[entry("zero"), entry("one"), entry("two")])
        .expect("published");
    let mut log = KafkaLog::open(kafka_config(kafka.address(), "g-0")).expect("broker answers");
    let of = TopicPartition {
        topic: Arc::from("log"),
        partition: 0,
    };
    let bounds = log.bounds(&of).expect("broker answers");
    assert_eq!(
        (bounds.start, bounds.end),
        (0, 4),
        "three records and the transaction's marker"
    );

    assert!(log.trim(0, -1).is_err(), "an offset of -1 would delete everything");
    log.trim(0, 2).expect("trimmed");
    assert_eq!(log.bounds(&of).expect("broker answers").start, 2);
    let mut reader = log.changelog().expect("opens").expect("kafka has changelogs");
    let mut read = |from: i64| {
        reader.add(0, from).expect("can be read");
        let (mut batch, begun) = (ChangelogBatch::default(), Instant::now());
        let is_done = |batch: &ChangelogBatch| {
            let at_end = batch.positions.last().is_some_and(|(_, position)| *position >= 4);
            at_end || !batch.out_of_range.is_empty()
        };
        while !is_done(&batch) && begun.elapsed() < BUDGET {
            reader.read(Duration::from_millis(100), &mut batch).expect("reads");
        }
        batch
    };
    let whole = read(2);
    assert_eq!(whole.records, [(0, 2, b"two".to_vec())]);
    assert_eq!((whole.positions.last(), whole.out_of_range.len()), (Some(&(0, 4)), 0));
    let trimmed = read(0);
    assert_eq!((trimmed.records.len(), trimmed.out_of_range), (0, vec![0]));
}
