//! `waymark audit` on a real Kafka: a live pipeline is clean while it runs, through trims and a kill, and after its end; whoever
//! tampers with a topic is found out.

mod binary;

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use binary::{Producer, Running, done, event, eventually, hesitation, settings, tap, waymark};
use kafka::{Admin, Bystander, Follower, KafkaConfig, KafkaLog, Publisher};
use serde_json::{Value, json};
use stream::{Batch, Change, Commit, Log as _, Output, PartitionEpoch, Record, TopicPartition, partition_of};
use testkit::broker::Kafka;

const CUSTOMERS: usize = 60;

/// Audits; returns the exit code and the report.
fn audit(set: &[String], words: &[&str]) -> (i32, Value) {
    let words: Vec<&str> = ["audit", "--output", "json"].iter().chain(words).copied().collect();
    let output = waymark(set, &words).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().expect("it ends by itself"), report)
}

fn clean(set: &[String], words: &[&str]) -> Value {
    let (code, report) = audit(set, words);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["ok"], true);
    report
}

/// The sum of a member over everything counted for a topic.
fn total(report: &Value, topic: &str, member: &str) -> u64 {
    let partitions = report["data"]["services"]["monitor"].as_array().expect("partitions");
    let topics = partitions
        .iter()
        .flat_map(|of| of["topics"].as_array().expect("topics"));
    topics
        .filter(|of| of["topic"] == topic)
        .map(|of| of[member].as_u64().expect("a count"))
        .sum()
}

/// Exactly one finding, of this kind, with these words.
fn one(report: &Value, kind: &str, words: &str) {
    let found = report["data"]["found"].as_array().expect("findings");
    let fits = |of: &Value| of["kind"] == kind && of.to_string().contains(words);
    assert!(found.len() == 1 && fits(&found[0]), "{kind}, {words}: {report:#}");
}

/// Everything committed in a topic.
fn records(config: &KafkaConfig, topic: &str) -> Vec<Record> {
    let mut tail = kafka::Tail::open(config, &[topic], kafka::From::Start).expect("the topic is there");
    tail.read_to_end(Duration::from_secs(30)).expect("read")
}

fn copy(record: &Record, partition: i32) -> Output {
    Output {
        topic: Arc::clone(&record.topic),
        partition: Some(partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
    }
}

/// A message with words that are scored, a batch of calls, an empty one, and rubbish.
fn send(producer: &mut Producer, number: usize) {
    let customer = format!("customer-{number}");
    producer.send("web", event(&customer, "checkout.started"));
    if number.is_multiple_of(3) {
        producer.send("web", event(&customer, "order.completed"));
    }
    let message = json!({
        "id": format!("m-{number}"), "source": "shop/chat", "type": "message.received", "channel": "chat",
        "time": codec::time(service::wall()), "conversation": format!("c-{number}"),
        "identifiers": [{ "kind": "customer", "value": customer }],
        "text": { "body": "terrible service and nobody answers", "role": "customer", "lang": "en" },
    });
    producer.send("chat", message.to_string().into_bytes());
    if number.is_multiple_of(5) {
        let call = |name: &str| json!({ "type": "track", "event": name, "userId": customer, "messageId": format!("{number}-{name}") });
        let batch = json!({ "batch": [call("Product Viewed"), call("Product Added"), call("Gift Card Redeemed")] });
        producer.send("mobile", batch.to_string().into_bytes());
        producer.send("mobile", json!({ "batch": [] }).to_string().into_bytes());
        producer.send("web", b"rubbish".to_vec());
        // The monitor reads what nobody should write there, too.
        producer.publish("journey.timeline", b"rubbish".to_vec(), Vec::new());
    }
}

#[test]
fn a_living_pipeline_is_clean_and_tampering_is_found() {
    let Some(kafka) = Kafka::for_test() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let patterns = hesitation(dir.path(), 2);
    // Snapshots and trims all the time, profiles at every event.
    let more = [
        "state.snapshot_bytes=16KiB",
        "kafka.session_timeout=6s",
        "profiles.interval=0",
        "service.workers=2",
    ];
    let set = settings(&kafka, dir.path(), &more);
    done(waymark(&set, &["topics", "apply", "--yes"]));
    done(waymark(&set, &["pattern", "apply", &patterns, "--yes"]));
    clean(&set, &[]);

    // Follows from before the first event, while the monitor is killed and comes back with an empty disk.
    let mut following = waymark(&set, &["audit", "--follow", "10m", "--output", "json"]);
    let following = following
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let intake = Running::start(&set, &["intake"], "i", dir.path());
    let monitor = Running::start(&set, &["monitor"], "m", dir.path());
    let mut producer = Producer::open(kafka.address());
    for number in 0..CUSTOMERS / 2 {
        send(&mut producer, number);
    }
    eventually("signals", || tap(&set, "journey.signals").len() >= 3);
    clean(&set, &[]);
    monitor.kill();
    std::fs::remove_dir_all(dir.path().join("m")).expect("its state was there");
    for number in CUSTOMERS / 2..CUSTOMERS {
        send(&mut producer, number);
        if number.is_multiple_of(10) {
            clean(&set, &["--service", "intake"]);
        }
    }
    let monitor = Running::start(&set, &["monitor"], "m", dir.path());
    let expected = CUSTOMERS - CUSTOMERS / 3;
    eventually("all signals", || tap(&set, "journey.signals").len() >= expected);
    let report = clean(&set, &["--since", "1h"]);
    assert!(
        report["data"]["services"]["intake"]
            .as_array()
            .is_some_and(|rows| !rows.is_empty())
    );

    // SIGTERM ends it with a summary; it has seen every epoch although the changelog was trimmed meanwhile.
    let pid = i32::try_from(following.id()).expect("a process id");
    // SAFETY: the process is our own child and not yet waited for.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    let output = following.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(
        total(&report, "journey.signals", "counted"),
        expected as u64,
        "{report:#}"
    );
    assert_eq!(total(&report, "journey.signals", "visible"), expected as u64);
    let letters = (CUSTOMERS / 5) as u64;
    assert_eq!(total(&report, "journey.timeline.dlq", "counted"), letters);
    let rows = report["data"]["services"]["intake"].as_array().expect("raw partitions");
    let sum = |member: &str| rows.iter().filter_map(|row| row[member].as_u64()).sum::<u64>();
    assert_eq!(sum("dead_letters"), letters);
    assert_eq!(
        sum("events"),
        (CUSTOMERS + CUSTOMERS / 3 + CUSTOMERS) as u64 + 3 * letters,
        "{report:#}"
    );

    assert_eq!(monitor.stop(), Some(0));
    assert_eq!(intake.stop(), Some(0));
    let report = clean(&set, &[]);
    let trimmed = report["data"]["not_covered"].as_array().expect("a list");
    assert!(
        trimmed
            .iter()
            .any(|of| of["reason"] == "epochs before the first that was read"),
        "a changelog was trimmed, and the audit says so: {report:#}"
    );
    tamper(&kafka, &set);
}

/// Each act is found, and found alone where a first audit has not seen the one before.
fn tamper(kafka: &Kafka, set: &[String]) {
    let mut config = KafkaConfig::new(kafka.address(), "tamper", "tamper");
    config.session_timeout = Duration::from_secs(6);
    let mut publisher = Publisher::open(&config).expect("a publisher");
    let admin = Admin::connect(&config).expect("connected");

    // A marker that counts an output which nobody wrote: an epoch of timers, behind the last one.
    let last = |partition: i32| {
        let changelog = records(&config, "journey.changelog.monitor");
        let last = changelog.into_iter().rfind(|record| record.partition == partition);
        let last = last.expect("an epoch");
        let marker = stream::changelog::Assembler::default().push(last.value.as_deref().expect("a part"));
        (marker.expect("whole").expect("one part"), last)
    };
    let (marker, record) = last(1);
    let counts = stream::Marker {
        epoch: marker.epoch + 1,
        outputs: vec![("journey.signals".to_owned(), 1)],
        ..marker
    };
    let mut output = copy(&record, 1);
    output.value = Some(stream::changelog::pack(&counts, &[]).remove(0));
    publisher.publish(&[output]).expect("written");
    let (code, report) = audit(set, &["--service", "monitor"]);
    assert_eq!(code, 1);
    assert_eq!(
        report["data"]["counts"],
        json!({ "lost": 1, "disagrees": 1 }),
        "{report:#}"
    );
    let found = report["data"]["found"].to_string();
    assert!(
        found.contains("fewer records of journey.signals than its markers count"),
        "{report:#}"
    );

    // An epoch's number is skipped.
    let (marker, record) = last(0);
    let skipped = stream::Marker {
        epoch: marker.epoch + 2,
        outputs: Vec::new(),
        ..marker
    };
    let mut output = copy(&record, 0);
    output.value = Some(stream::changelog::pack(&skipped, &[]).remove(0));
    publisher.publish(&[output]).expect("written");
    let (code, report) = audit(set, &["--service", "monitor"]);
    assert_eq!(code, 1);
    assert_eq!(
        report["data"]["counts"],
        json!({ "lost": 1, "gap": 1, "disagrees": 2 }),
        "{report:#}"
    );
    let found = report["data"]["found"].to_string();
    assert!(found.contains("epoch numbers skip"), "{report:#}");
    assert!(found.contains("committed offset and marker differ"), "{report:#}");

    // A signal is published again, while nothing else is wrong with the raw side.
    clean(set, &["--service", "intake"]);
    let signals = records(&config, "journey.signals");
    let signal = signals.last().expect("a signal");
    publisher.publish(&[copy(signal, signal.partition)]).expect("written");
    let (code, report) = audit(set, &["--service", "monitor"]);
    assert_eq!(code, 1);
    let found = report["data"]["found"].to_string();
    assert!(
        found.contains("\"duplicated\"") && found.contains("output id comes again"),
        "{report:#}"
    );

    // Signals are deleted: nobody can say that they were lost, and the audit says that it cannot.
    for partition in 0..2 {
        let of = signals.iter().filter(|record| record.partition == partition);
        if let Some(last) = of.map(|record| record.offset).max() {
            admin
                .delete_records("journey.signals", partition, last + 1)
                .expect("deleted");
        }
    }
    let (_, report) = audit(set, &["--service", "monitor"]);
    assert!(report["data"]["counts"].get("lost").is_none(), "{report:#}");
    assert_eq!(report["data"]["counts"]["gap"], 1, "{report:#}");
    let not_covered = report["data"]["not_covered"].to_string();
    assert!(
        not_covered.contains("journey.signals from journey.timeline"),
        "{report:#}"
    );
    assert!(not_covered.contains("records of the topic were deleted"), "{report:#}");

    // An event of the timeline is published again: to the customer's own partition, far behind.
    let timeline = records(&config, "journey.timeline");
    let caused = |record: &&Record| record.headers.iter().any(|(name, _)| name == "waymark-source");
    let event = timeline.iter().find(caused).expect("an event");
    let partition = partition_of(event.key.as_deref().expect("a key"), 4);
    assert_eq!(partition, event.partition);
    publisher.publish(&[copy(event, partition)]).expect("written");
    let (code, report) = audit(set, &["--service", "intake"]);
    assert_eq!(code, 1);
    one(
        &report,
        "duplicated",
        "an event of this raw record stands twice on the timeline",
    );

    // A raw record that no intake has read yet is not lost.
    let of = TopicPartition {
        topic: Arc::from("journey.events.email"),
        partition: 0,
    };
    let mut raw = copy(event, 0);
    raw.topic = Arc::clone(&of.topic);
    raw.headers = Vec::new();
    publisher.publish(&[raw]).expect("written");
    let mut follower = Follower::open(&config).expect("connected");
    follower.add(&[(of.clone(), 0)]).expect("assigned");
    let mut read = Vec::new();
    let until = Instant::now() + Duration::from_secs(30);
    while read.is_empty() && Instant::now() < until {
        follower.poll(Duration::from_millis(100), &mut read).expect("read");
    }
    assert_eq!(follower.position(&of), Some(1));
    let (_, report) = audit(set, &["--service", "intake"]);
    one(
        &report,
        "duplicated",
        "an event of this raw record stands twice on the timeline",
    );
    let waits = report["data"]["services"]["intake"].to_string();
    assert!(
        !waits.contains("journey.events.email/0"),
        "the group has not passed it: {report:#}"
    );

    // An intake that passes it and writes nothing has lost it.
    forget(&config, &of);
    let group = Bystander::open(&config, "waymark-intake").expect("connected");
    let committed = group.committed(std::slice::from_ref(&of)).expect("asked");
    assert_eq!(committed[0].as_ref().map(|committed| committed.offset), Some(1));
    let (code, report) = audit(set, &["--service", "intake"]);
    assert_eq!(code, 1);
    assert_eq!(
        report["data"]["counts"],
        json!({ "lost": 1, "duplicated": 1 }),
        "{report:#}"
    );
    let found = report["data"]["found"].to_string();
    assert!(found.contains("journey.events.email/0/0"), "{report:#}");
}

/// Joins intake's group, reads the first record of a partition and commits that it was read.
fn forget(config: &KafkaConfig, of: &TopicPartition) {
    let config = KafkaConfig {
        group: "waymark-intake".to_owned(),
        transactional_id: "forgetful".to_owned(),
        inputs: vec![of.topic.to_string()],
        ..config.clone()
    };
    let mut log = KafkaLog::open(config).expect("connected");
    let until = Instant::now() + Duration::from_secs(60);
    let mut owned = false;
    while !owned {
        assert!(Instant::now() < until, "the group gives the partition");
        let mut batch = Batch::default();
        log.poll(Duration::from_millis(200), 10, &mut batch).expect("polled");
        let given = |change: &Change| matches!(change, Change::Assigned(given) if given.contains(of));
        owned = batch.changes.iter().any(given);
    }
    log.resume(of, 0).expect("it flows");
    log.begin().expect("begun");
    let epoch = PartitionEpoch {
        input: of.clone(),
        offset: 1,
        metadata: String::new(),
        slot: 0,
        changelog: Vec::new(),
        rows: Vec::new(),
    };
    log.commit(&Commit::from(vec![epoch])).expect("committed");
}
