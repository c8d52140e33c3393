//! What the embedded log promises: whole epochs, gap-free offsets, compaction, and everything still there after a restart.

use std::{sync::Arc, time::Duration};

use embedded::{Embedded, Kept};
use stream::{Batch, Change, Commit, Db, Log, Millis, Output, PartitionEpoch, Record, TopicPartition, TopicReader};

fn output(topic: &str, key: &str, value: Option<&str>) -> Output {
    Output {
        topic: Arc::from(topic),
        partition: None,
        timestamp: None,
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

fn open(dir: &std::path::Path) -> Embedded {
    let log = Embedded::open(dir, || Millis(7)).expect("opens");
    log.create("in", 2, Kept::All).expect("made");
    log.create("out", 1, Kept::All).expect("made");
    log.create("newest", 1, Kept::Newest).expect("made");
    log
}

fn read(log: &Embedded, topic: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut reader = log.reader(&[topic], true).expect("opens");
    reader.read(Duration::ZERO, &mut records).expect("reads");
    assert!(reader.is_at_end());
    records
}

#[test]
fn an_epoch_is_whole_or_not_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let input = TopicPartition {
        topic: Arc::from("in"),
        partition: 0,
    };
    {
        let log = open(dir.path());
        let records: Vec<Output> = (0..10)
            .map(|n| Output {
                partition: Some(0),
                ..output("in", "k", Some(&n.to_string()))
            })
            .collect();
        log.publish(&records).expect("written");
        let mut worker = log.join("g", "monitor", &["in".to_owned()], 0, 1).expect("joins");
        let mut batch = Batch::default();
        worker.poll(Duration::ZERO, 100, &mut batch).expect("polls");
        assert!(matches!(&batch.changes[..], [Change::Assigned(given)] if given.len() == 2));
        worker.resume(&input, 0).expect("resumes");
        worker.poll(Duration::ZERO, 100, &mut batch).expect("polls");
        assert_eq!(
            (batch.records.len(), batch.records[9].offset, batch.ends.len()),
            (10, 9, 1)
        );
        // One that is aborted leaves nothing.
        worker.begin().expect("begins");
        worker.send(output("out", "k", Some("lost"))).expect("sent");
        worker.abort().expect("aborts");
        worker.begin().expect("begins");
        worker.send(output("out", "k", Some("kept"))).expect("sent");
        let part = PartitionEpoch {
            input: input.clone(),
            offset: 10,
            metadata: "m".to_owned(),
            slot: 0,
            changelog: Vec::new(),
            rows: vec![(b"st1".to_vec(), Some(b"v".to_vec()))],
        };
        worker.commit(&Commit::from(vec![part])).expect("commits");
        // One that is open when the process ends leaves nothing either.
        worker.begin().expect("begins");
        worker.send(output("out", "k", Some("lost"))).expect("sent");
        assert!(
            Embedded::open(dir.path(), || Millis(7)).is_err(),
            "a second opening is refused"
        );
    }
    let log = open(dir.path());
    let out = read(&log, "out");
    assert_eq!(
        (out.len(), out[0].value.as_deref(), out[0].timestamp),
        (1, Some(b"kept".as_slice()), Millis(7))
    );
    assert_eq!(
        log.db("monitor", 0).multi_get(&[b"st1"]).expect("reads"),
        [Some(b"v".to_vec())]
    );
    assert_eq!(log.db("monitor", 1).multi_get(&[b"st1"]).expect("reads"), [None]);
    let mut worker = log.join("g", "monitor", &["in".to_owned()], 0, 1).expect("joins");
    let committed = worker.committed(&[input]).expect("reads").remove(0).expect("committed");
    assert_eq!((committed.offset, committed.metadata.as_str()), (10, "m"));
    assert_eq!(worker.membership().expect("a member").generation, 2);
    assert!(log.create("in", 3, Kept::All).is_err());
}

#[test]
fn a_compacted_topic_keeps_the_newest_of_each_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let write = |key: &str, value: Option<&str>| log.publish(&[output("newest", key, value)]).expect("written");
    write("a", Some("1"));
    write("b", Some("2"));
    log.publish(&[output("newest", "a", Some("3")), output("newest", "a", Some("4"))])
        .expect("written");
    write("b", None);
    let found = read(&log, "newest");
    let shown: Vec<(i64, Option<&[u8]>)> = found
        .iter()
        .map(|record| (record.offset, record.value.as_deref()))
        .collect();
    assert_eq!(shown, [(3, Some(b"4".as_slice())), (4, None)]);
}

#[test]
fn members_share_the_partitions() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path());
    let given = |index| {
        let mut batch = Batch::default();
        let mut worker = log.join("g", "monitor", &["in".to_owned()], index, 2).expect("joins");
        worker.poll(Duration::ZERO, 1, &mut batch).expect("polls");
        match batch.changes.remove(0) {
            Change::Assigned(given) => given.iter().map(|of| of.partition).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((given(0), given(1)), (vec![0], vec![1]));
}
