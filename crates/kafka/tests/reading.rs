//! What a worker's log reads: from where it is resumed, nothing left out, whatever happened to a partition before.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::{Admin, From, KafkaConfig, KafkaLog, Publisher, Tail};
use stream::{Batch, Change, Commit, Log, LogError, Output, PartitionEpoch, TopicPartition};
use testkit::broker::Kafka;

const PARTITIONS: i32 = 4;
const BUDGET: Duration = Duration::from_secs(60);
/// What comes at all has come within this time.
const A_WHILE: Duration = Duration::from_secs(3);

fn config(address: &str, id: &str) -> KafkaConfig {
    KafkaConfig {
        inputs: vec!["in".to_owned()],
        ..KafkaConfig::new(address, "g", id)
    }
}

/// The same, known to the group by its name.
fn of_static(name: &str, kafka: &Kafka) -> KafkaConfig {
    KafkaConfig {
        static_member: true,
        ..config(kafka.address(), name)
    }
}

fn input() -> TopicPartition {
    TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    }
}

fn record(partition: i32, text: &str) -> Output {
    Output {
        topic: Arc::from("in"),
        partition: Some(partition),
        timestamp: None,
        key: None,
        value: Some(text.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// A broker with the input, and somebody who writes to it.
fn rig() -> Option<(Kafka, Publisher)> {
    let kafka = Kafka::for_test()?;
    let admin = Admin::connect(&config(kafka.address(), "admin")).expect("settings are understood");
    let created = admin.create("in", PARTITIONS, 1, &BTreeMap::new());
    created.expect("broker answers");
    let publisher = Publisher::open(&config(kafka.address(), "publisher")).expect("broker answers");
    Some((kafka, publisher))
}

fn poll(log: &mut KafkaLog, batch: &mut Batch) {
    let polled = log.poll(Duration::from_millis(50), 100, batch);
    polled.expect("broker answers");
}

/// What the group gives next.
fn given(batch: &mut Batch) -> Vec<TopicPartition> {
    let mut given = Vec::new();
    batch.changes.retain(|change| match change {
        Change::Assigned(partitions) => {
            given.extend(partitions.iter().cloned());
            false
        }
        _ => true,
    });
    given
}

/// Until the group has given all of the input.
fn own_all(log: &mut KafkaLog, batch: &mut Batch, owned: &mut Vec<TopicPartition>) {
    let begun = Instant::now();
    while owned.len() < PARTITIONS as usize {
        assert!(begun.elapsed() < BUDGET, "the group gives only these: {owned:?}");
        poll(log, batch);
        owned.extend(given(batch));
    }
}

#[test]
fn a_partition_is_read_from_where_it_is_resumed_whatever_was_fetched_before() {
    const RECORDS: i64 = 3000;
    let Some((kafka, mut publisher)) = rig() else { return };
    let records: Vec<Output> = (0..RECORDS).map(|number| record(0, &number.to_string())).collect();
    publisher.publish(&records).expect("published");
    let input = input();
    // The group stands at its start, then at 1000, where fetching begins.
    for (polls, from) in [(0, 0), (0, 1000), (3, 1000), (0, 400), (3, 400), (0, 2500), (3, 2500)] {
        let mut log = KafkaLog::open(of_static("g-0", &kafka)).expect("broker answers");
        let (mut batch, mut owned) = (Batch::default(), Vec::new());
        own_all(&mut log, &mut batch, &mut owned);
        // Time enough for what is fetched ahead to be here.
        std::thread::sleep(Duration::from_millis(300));
        for _ in 0..polls {
            poll(&mut log, &mut batch);
        }
        assert_eq!(batch.records, [], "nothing flows yet");
        log.resume(&input, from).expect("resumes");
        let begun = Instant::now();
        while batch.records.last().is_none_or(|last| last.offset < RECORDS - 1) {
            assert!(
                begun.elapsed() < BUDGET,
                "{polls} polls, from {from}: nothing more comes"
            );
            let polled = log.poll(Duration::from_millis(100), 10_000, &mut batch);
            polled.expect("broker answers");
        }
        let offsets: Vec<i64> = batch.records.iter().map(|record| record.offset).collect();
        let expected: Vec<i64> = (from..RECORDS).collect();
        assert_eq!(offsets, expected, "{polls} polls, from {from}");
        let epoch = Commit::from(vec![PartitionEpoch {
            input: input.clone(),
            offset: 1000,
            metadata: String::new(),
            slot: 0,
            changelog: Vec::new(),
            rows: Vec::new(),
        }]);
        log.begin().expect("begins");
        log.commit(&epoch).expect("commits");
        log.leave().expect("leaves");
    }
}

#[test]
fn who_has_lost_its_name_hears_it_though_records_are_held() {
    let Some((kafka, mut publisher)) = rig() else { return };
    publisher.publish(&[record(0, "held")]).expect("published");
    let mut log = KafkaLog::open(of_static("g-0", &kafka)).expect("broker answers");
    let (begun, mut batch, mut owned) = (Instant::now(), Batch::default(), Vec::new());
    own_all(&mut log, &mut batch, &mut owned);
    log.resume(&input(), 0).expect("resumes");
    while batch.records.is_empty() {
        assert!(begun.elapsed() < BUDGET, "nothing comes");
        poll(&mut log, &mut batch);
    }
    let _successor = KafkaLog::open(of_static("g-0", &kafka)).expect("broker answers");
    let told = loop {
        assert!(begun.elapsed() < BUDGET, "nobody tells");
        if let Err(error) = log.poll(Duration::from_millis(100), 100, &mut batch) {
            break error;
        }
    };
    assert!(matches!(told, LogError::Fenced(_)), "{told}");
    assert_eq!(batch.records.len(), 1, "what was read stays");
}

#[test]
fn a_partition_that_was_held_is_read_when_it_is_given_again() {
    let Some((kafka, mut publisher)) = rig() else { return };
    let records: Vec<Output> = (0..PARTITIONS).map(|partition| record(partition, "waits")).collect();
    publisher.publish(&records).expect("published");
    let mut one = KafkaLog::open(config(kafka.address(), "g-0")).expect("broker answers");
    let (begun, mut batch, mut owned) = (Instant::now(), Batch::default(), Vec::new());
    own_all(&mut one, &mut batch, &mut owned);
    // What is fetched comes too early for all of them.
    let held = Instant::now();
    while held.elapsed() < A_WHILE / 3 {
        poll(&mut one, &mut batch);
    }
    assert_eq!(batch.records, [], "nothing flows yet");
    let mut other = KafkaLog::open(config(kafka.address(), "g-1")).expect("broker answers");
    let (mut of_other, mut others) = (Batch::default(), Vec::new());
    while others.is_empty() {
        assert!(begun.elapsed() < BUDGET, "the group gives the other nothing");
        poll(&mut one, &mut batch);
        for change in batch.changes.drain(..) {
            if let Change::Revoked(partitions) = change {
                owned.retain(|of| !partitions.contains(of));
                one.release(&partitions).expect("released");
            }
        }
        poll(&mut other, &mut of_other);
        others = given(&mut of_other);
    }
    other.leave().expect("leaves");
    own_all(&mut one, &mut batch, &mut owned);
    for of in &owned {
        one.resume(of, 0).expect("resumes");
    }
    while batch.records.len() < PARTITIONS as usize {
        let come: Vec<i32> = batch.records.iter().map(|record| record.partition).collect();
        assert!(
            begun.elapsed() < BUDGET,
            "of all but these nothing comes: {come:?}; {others:?} went and came"
        );
        poll(&mut one, &mut batch);
    }
}

#[test]
fn what_cannot_be_read_is_not_passed_over() {
    let Some((kafka, mut publisher)) = rig() else { return };
    for text in ["first", "damaged", "last"] {
        publisher.publish(&[record(0, text)]).expect("published");
    }
    let segment = kafka.segment("in", 0);
    let whole = fs::read(&segment).expect("a file of the broker");
    let mut damaged = whole.clone();
    let at = whole
        .windows(7)
        .position(|bytes| bytes == b"damaged")
        .expect("a record as it was sent");
    damaged[at] = b'D';
    // In place: the broker has it open.
    let write = |bytes: &[u8]| {
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().write(true).open(&segment).expect("opens");
        file.write_all(bytes).expect("is written");
    };
    write(&damaged);
    let mut tail = Tail::open(&config(kafka.address(), "tail"), &["in"], From::Start).expect("broker answers");
    let error = tail.read_to_end(BUDGET).expect_err("what lies between is damaged");
    assert!(matches!(error, LogError::Fatal(_)), "{error}");
    let told = error.to_string();
    assert!(
        told.contains("topic=in partition=0") && told.contains("offset 2"),
        "{told}"
    );
    let mut log = KafkaLog::open(config(kafka.address(), "g-0")).expect("broker answers");
    let (begun, mut batch, mut owned) = (Instant::now(), Batch::default(), Vec::new());
    own_all(&mut log, &mut batch, &mut owned);
    for of in &owned {
        log.resume(of, 0).expect("resumes");
    }
    publisher.publish(&[record(1, "another")]).expect("published");
    let resumed = Instant::now();
    while resumed.elapsed() < A_WHILE {
        poll(&mut log, &mut batch);
    }
    let texts = |batch: &Batch| -> Vec<String> {
        let values = batch
            .records
            .iter()
            .map(|record| record.value.as_deref().unwrap_or_default());
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    };
    let mut before = texts(&batch);
    before.sort();
    assert_eq!(before, ["another", "first"], "other partitions go on");
    write(&whole);
    while batch.records.len() < 4 {
        assert!(begun.elapsed() < BUDGET, "it is not tried again: {:?}", texts(&batch));
        poll(&mut log, &mut batch);
    }
    assert_eq!(texts(&batch)[2..], ["damaged", "last"]);
}
