//! Records that stay open although their transaction has ended.
//!
//! A coordinator of Kafka 4.3 or 4.4 that ends a transaction while a partition of it has no leader, as when all its replicas start
//! again, takes the partition for deleted and writes no marker there (KAFKA-20734). The records stay open, and the next transaction
//! of the same name that ends there decides over them too: a commit would publish what was aborted. So a transaction that was not
//! committed is followed by one that is aborted in the same partitions.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use stream::{LogError, TopicPartition};

use crate::{
    log::KafkaConfig,
    native::{Consumer, GroupMetadata, Isolation, Partitions, ends_now},
    producer::Producer,
};

/// A transaction of another producer that is well moves on within this time.
const OTHERS: Duration = Duration::from_millis(150);
/// Markers of an aborted transaction are there within this time, once its producer was told that it is aborted.
const MARKED: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);
/// In a question for offsets: the end.
const OFFSET_LATEST: i64 = -1;

/// Partitions with the stable end that they stand at.
pub(crate) type Stuck = BTreeMap<TopicPartition, i64>;

/// Output partitions whose stable end stands before their end and does not move: an open transaction holds them.
pub(crate) fn stuck(config: &KafkaConfig, reader: &Consumer) -> Result<Stuck, LogError> {
    let first = held(config, reader)?;
    if first.is_empty() {
        return Ok(first);
    }
    std::thread::sleep(OTHERS);
    let mut second = held(config, reader)?;
    second.retain(|of, stable| first.get(of) == Some(stable));
    Ok(second)
}

/// Output partitions whose stable end stands before their end now.
fn held(config: &KafkaConfig, reader: &Consumer) -> Result<Stuck, LogError> {
    if config.outputs.is_empty() {
        return Ok(Stuck::new());
    }
    let topics = reader.topics()?;
    let outputs = topics.into_iter().filter(|(topic, _)| config.outputs.contains(topic));
    let all: Vec<TopicPartition> = outputs
        .flat_map(|(topic, partitions)| {
            let topic: Arc<str> = Arc::from(topic);
            (0..partitions).map(move |partition| TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            })
        })
        .collect();
    let asked = Partitions::of(&all, OFFSET_LATEST);
    let stable = ends_now(reader, &asked, Isolation::Stable)?;
    let ends: Stuck = ends_now(reader, &asked, Isolation::Uncommitted)?.into_iter().collect();
    if stable.len() < all.len() || ends.len() < all.len() {
        return Err(LogError::Retriable("not every partition says where it ends".to_owned()));
    }
    let is_held = |(of, stable): &(TopicPartition, i64)| ends.get(of).is_some_and(|end| end > stable);
    Ok(stable.into_iter().filter(is_held).collect())
}

/// Drops what this producer's name left open in partitions, and its pending offsets. No transaction may be open.
pub(crate) fn drop_in(
    config: &KafkaConfig,
    reader: &Consumer,
    producer: &mut Producer,
    stuck: &Stuck,
    offsets: Option<(Partitions, GroupMetadata)>,
) -> Result<(), LogError> {
    producer.abort_in(stuck.keys(), offsets)?;
    let begun = Instant::now();
    // The coordinator answers before the markers are written, and could lose them again.
    while !stuck.is_empty() {
        let mut held = held(config, reader)?;
        held.retain(|of, stable| stuck.get(of) == Some(stable));
        if held.is_empty() {
            tracing::warn!(
                partitions = stuck.len(),
                "records of an ended transaction were open, dropped them"
            );
            break;
        }
        if begun.elapsed() > MARKED {
            // Another's transaction takes its time, or has the same trouble; what was this one's is closed.
            tracing::warn!(
                partitions = held.len(),
                "a transaction of another producer holds partitions open"
            );
            break;
        }
        std::thread::sleep(AGAIN);
    }
    Ok(())
}
