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

use stream::{
    LogError, TopicPartition, Unconfirmed,
    settle::{Outcomes, Settle, Stuck},
};

use crate::{
    log::{KafkaConfig, PENDING},
    native::{Consumer, Isolation, OFFSET_INVALID, OFFSET_LATEST, Partitions, ends_now},
    outcome,
    writer::Writer,
};

/// A transaction of another producer that is well moves on within this time.
const OTHERS: Duration = Duration::from_millis(150);
/// Others' transactions that go on and on are not watched longer than this.
const PASSING: Duration = Duration::from_secs(2);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(10);

/// The transactions of a producer's name, as its clients see and end them.
pub(crate) struct Leftovers<'a> {
    /// Its outputs are looked at.
    pub config: &'a KafkaConfig,
    pub writer: &'a mut Writer,
    /// Sees what is not committed.
    pub reader: &'a Consumer,
    /// The member of the group whose offsets are committed; none where no offsets are.
    pub member: Option<&'a Consumer>,
}

impl Settle for Leftovers<'_> {
    fn unconfirmed(&mut self) -> &mut Unconfirmed {
        self.writer.unconfirmed()
    }

    fn notice(&mut self) -> bool {
        self.writer.notice()
    }

    fn now(&self) -> Duration {
        self.writer.now()
    }

    fn wait(&mut self) {
        std::thread::sleep(AGAIN);
    }

    fn still(&self) -> Duration {
        self.config.transaction_timeout / 2
    }

    fn stable_ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        ends_now(self.reader, &Partitions::of(of, OFFSET_LATEST), Isolation::Stable)
    }

    fn ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        ends_now(self.reader, &Partitions::of(of, OFFSET_LATEST), Isolation::Uncommitted)
    }

    fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.writer.close(partitions)
    }

    fn renew(&mut self) -> Result<(), LogError> {
        self.writer.recycle()
    }

    fn report_foreign(&self, partitions: &[TopicPartition]) {
        for of in partitions {
            tracing::error!(
                topic = %of.topic,
                partition = of.partition,
                "a transaction that is not this producer's stays open; kafka-transactions.sh --find-hanging names whose"
            );
        }
    }

    /// Whoever asks for offsets that are pending without their marker waits. Another commit ends them, of an offset that says nothing.
    fn end_offsets(&mut self) -> Result<(), LogError> {
        let Some(member) = self.member else {
            return Ok(());
        };
        let inputs = partitions_of(&self.config.inputs, self.reader)?;
        let asked = Partitions::of(&inputs, OFFSET_INVALID);
        if member.committed_within(&asked, PENDING).is_err() {
            self.writer.end_offsets(no_offsets(self.config))?;
            tracing::warn!("committed offsets were pending without their marker, ended them");
        }
        Ok(())
    }

    fn stuck(&mut self) -> Result<Stuck, LogError> {
        stuck(self.config, self.reader)
    }

    fn outcomes(&mut self) -> Result<Outcomes, LogError> {
        outcome::of_name(self.config)
    }

    fn report_held(&self, partitions: &[TopicPartition]) {
        tracing::warn!(
            partitions = partitions.len(),
            "a transaction of another producer holds partitions open"
        );
    }

    fn abort_in(&mut self, partitions: &[TopicPartition]) -> Result<bool, LogError> {
        let offsets = match self.member {
            Some(member) => {
                let group = match member.generation() {
                    Ok(generation) if generation >= 0 => member.metadata()?,
                    _ => Consumer::outsider(&self.config.group),
                };
                Some((no_offsets(self.config), group))
            }
            None if partitions.is_empty() => return Ok(true),
            None => None,
        };
        let has_offsets = offsets.is_some();
        let is_over = self.writer.producer()?.abort_in(partitions.iter(), offsets)?;
        if !partitions.is_empty() {
            tracing::warn!(
                partitions = partitions.len(),
                "records of an ended transaction stood open, dropped them"
            );
        }
        Ok(is_over || !has_offsets)
    }
}

/// Offsets that say nothing, as part of a transaction that is aborted: its marker ends those of an earlier one that are pending still. Should
/// they be committed all the same, by a late copy that a coordinator forgets to drop, they are of a topic that the group does not read.
fn no_offsets(config: &KafkaConfig) -> Partitions {
    let unread = config.changelog.as_ref().or(config.inputs.first());
    let any = unread.map(|topic| TopicPartition {
        topic: Arc::from(topic.as_str()),
        partition: 0,
    });
    Partitions::of(&any, 0)
}

/// Output partitions that an open transaction of nobody holds: what stood there at the first look stays behind the stable end, and that
/// does not move. Transactions of others that are well pass by meanwhile, one after the other.
fn stuck(config: &KafkaConfig, reader: &Consumer) -> Result<Stuck, LogError> {
    let begun = Instant::now();
    let mut watched: BTreeMap<TopicPartition, Watched> = held(config, reader)?
        .into_iter()
        .map(|(of, (stable, end))| {
            let since = Instant::now();
            (of, Watched { stable, end, since })
        })
        .collect();
    while !watched.is_empty() {
        let all_stand = watched.values().all(|one| one.since.elapsed() >= OTHERS);
        if all_stand || begun.elapsed() >= PASSING {
            break;
        }
        std::thread::sleep(AGAIN);
        let asked = Partitions::of(watched.keys(), OFFSET_LATEST);
        for (of, stable) in ends_now(reader, &asked, Isolation::Stable)? {
            let Some(one) = watched.get_mut(&of) else { continue };
            if stable >= one.end {
                watched.remove(&of);
            } else if stable > one.stable {
                *one = Watched {
                    stable,
                    since: Instant::now(),
                    ..*one
                };
            }
        }
    }
    Ok(watched
        .into_iter()
        .map(|(of, one)| (of, (one.stable, one.end)))
        .collect())
}

/// A partition whose stable end stands before its end.
#[derive(Clone, Copy)]
struct Watched {
    stable: i64,
    /// The end at the first look.
    end: i64,
    /// When the stable end was first seen there.
    since: Instant,
}

/// Output partitions whose stable end stands before their end now, with both.
fn held(config: &KafkaConfig, reader: &Consumer) -> Result<BTreeMap<TopicPartition, (i64, i64)>, LogError> {
    let all = partitions_of(&config.outputs, reader)?;
    if all.is_empty() {
        return Ok(BTreeMap::new());
    }
    let asked = Partitions::of(&all, OFFSET_LATEST);
    let stable = ends_now(reader, &asked, Isolation::Stable)?;
    let ends: BTreeMap<TopicPartition, i64> = ends_now(reader, &asked, Isolation::Uncommitted)?.into_iter().collect();
    if stable.len() < all.len() || ends.len() < all.len() {
        return Err(LogError::Retriable("not every partition says where it ends".to_owned()));
    }
    let both = stable.into_iter().filter_map(|(of, stable)| {
        let end = *ends.get(&of)?;
        (end > stable).then_some((of, (stable, end)))
    });
    Ok(both.collect())
}

/// All partitions of these topics.
fn partitions_of(names: &[String], client: &Consumer) -> Result<Vec<TopicPartition>, LogError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let topics = client.topics()?;
    let named = topics.into_iter().filter(|(topic, _)| names.contains(topic));
    let all = named.flat_map(|(topic, partitions)| {
        let topic: Arc<str> = Arc::from(topic);
        (0..partitions).map(move |partition| TopicPartition {
            topic: Arc::clone(&topic),
            partition,
        })
    });
    Ok(all.collect())
}
