//! A reader of single partitions on a real Kafka: ends that lie behind control records, records deleted under it, places by time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::{Admin, Bystander, Follower, From, KafkaConfig, Outsider, Publisher, Skipped, Tail};
use stream::{Bounds, Millis, Output, Record, TopicPartition};
use testkit::broker::Kafka;

const TOPIC: &str = "followed";

fn publish(publisher: &mut Publisher, times: &[i64]) {
    let output = |time: &i64| Output {
        topic: Arc::from(TOPIC),
        partition: Some(0),
        timestamp: Some(Millis(*time)),
        key: None,
        value: Some(time.to_string().into_bytes()),
        headers: Vec::new(),
    };
    let outputs: Vec<Output> = times.iter().map(output).collect();
    publisher.publish(&outputs).expect("written");
}

/// Reads to a position; returns the offsets read and what was skipped.
fn read_to(follower: &mut Follower, of: &TopicPartition, end: i64) -> (Vec<i64>, Vec<Skipped>) {
    let until = Instant::now() + Duration::from_secs(30);
    let (mut records, mut skipped): (Vec<Record>, Vec<Skipped>) = (Vec::new(), Vec::new());
    while follower.position(of).is_none_or(|position| position < end) {
        assert!(Instant::now() < until, "not read to {end}: {:?}", follower.position(of));
        skipped.extend(follower.poll(Duration::from_millis(50), &mut records).expect("read"));
    }
    (records.iter().map(|record| record.offset).collect(), skipped)
}

#[test]
fn a_partition_is_followed_behind_control_records_and_deleted_ones() {
    let Some(kafka) = Kafka::for_test() else { return };
    let config = KafkaConfig::new(kafka.address(), "tools", "publisher");
    let admin = Admin::connect(&config).expect("connected");
    // The test's times are old, and retention counts from record timestamps.
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    admin.create(TOPIC, 1, 1, &configs).expect("made");
    let of = TopicPartition {
        topic: Arc::from(TOPIC),
        partition: 0,
    };
    let outsider = Outsider::open(&config).expect("connected");
    let mut publisher = Publisher::open(&config).expect("connected");
    publish(&mut publisher, &[1000, 2000]);
    publish(&mut publisher, &[3000]);
    // Offsets 2 and 4 are control records: the end lies behind the last one.
    assert_eq!(outsider.bounds(&of).expect("asked"), Bounds { start: 0, end: 5 });
    let mut follower = Follower::open(&config).expect("connected");
    follower.add(&[(of.clone(), 0)]).expect("assigned");
    assert_eq!(read_to(&mut follower, &of, 5), (vec![0, 1, 3], Vec::new()));
    publish(&mut publisher, &[4000]);
    assert_eq!(read_to(&mut follower, &of, 7), (vec![5], Vec::new()));

    // Another that begins where records are gone says so and goes on at the first one left.
    admin.delete_records(TOPIC, 0, 3).expect("deleted");
    assert_eq!(outsider.bounds(&of).expect("asked"), Bounds { start: 3, end: 7 });
    let mut late = Follower::open(&config).expect("connected");
    late.add(&[(of.clone(), 1)]).expect("assigned");
    let gone = Skipped {
        of: of.clone(),
        from: 1,
        to: 3,
    };
    assert_eq!(read_to(&mut late, &of, 7), (vec![3, 5], vec![gone]));

    let partitions = std::slice::from_ref(&of);
    let at = |time: i64| outsider.at_time(partitions, Millis(time)).expect("asked")[0];
    assert_eq!(at(2500), Some(3));
    assert_eq!(at(i64::MAX / 2), None, "nothing is that young, control records neither");
    let nobody = Bystander::open(&config, "nobody").expect("connected");
    assert_eq!(nobody.committed(partitions).expect("asked"), [None]);
}

#[test]
fn a_topic_is_read_on_without_a_gap_by_a_reader_that_is_not_in_a_hurry_any_more() {
    let Some(kafka) = Kafka::for_test() else { return };
    let config = KafkaConfig::new(kafka.address(), "tools", "publisher");
    let admin = Admin::connect(&config).expect("connected");
    let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    admin.create(TOPIC, 1, 1, &configs).expect("made");
    let mut publisher = Publisher::open(&config).expect("connected");
    publish(&mut publisher, &[1000, 2000]);
    let mut tail = Tail::open(&config, &[TOPIC], From::Start).expect("connected");
    let mut records = tail.read_to_end(Duration::from_secs(30)).expect("read");
    let begun = Instant::now();
    // It takes another client after some seconds.
    for time in 0..16 {
        publish(&mut publisher, &[3000 + time]);
        while begun.elapsed() < Duration::from_millis(500 * u64::try_from(time + 1).expect("small")) {
            tail.poll(Duration::from_millis(50), &mut records).expect("read");
        }
    }
    let until = Instant::now() + Duration::from_secs(30);
    while records.len() < 18 && Instant::now() < until {
        tail.poll(Duration::from_millis(50), &mut records).expect("read");
    }
    let times: Vec<i64> = records.iter().map(|record| record.timestamp.0).collect();
    let all: Vec<i64> = [1000, 2000].into_iter().chain(3000..3016).collect();
    assert_eq!(times, all);
}
