//! Reads any partitions from given offsets and says how far each has been read; and asks, as an outsider, where partitions begin and
//! end and where a group stands. Joins no group, writes nothing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use stream::{Bounds, Committed, LogError, Millis, Record, TopicPartition};

use crate::{
    log::KafkaConfig,
    native::{Consumer, OFFSET_INVALID, Partitions, Polled},
};

/// The batch call waits for its whole time unless the batch is full.
const SLICE: Duration = Duration::from_millis(20);

/// Records that were deleted before they could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The partition.
    pub of: TopicPartition,
    /// The offset that was to be read next.
    pub from: i64,
    /// The first one still there; reading went on at it.
    pub to: i64,
}

/// A reader of committed records of single partitions. One whose next record was deleted meanwhile goes on at the first one left.
pub struct Follower {
    consumer: Consumer,
    outsider: Outsider,
    /// The next offset of each partition, behind control records too.
    positions: BTreeMap<TopicPartition, i64>,
    /// A partition's next record is gone, and which one's is not known yet.
    lost: bool,
}

impl Follower {
    /// Connects; nothing is read yet.
    ///
    /// # Errors
    /// [`LogError::Fatal`] if a client setting is refused.
    pub fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        Ok(Self {
            consumer: Consumer::new(&config.reader_settings("read_committed"))?,
            outsider: Outsider::open(config)?,
            positions: BTreeMap::new(),
            lost: false,
        })
    }

    /// Reads these partitions too, each from its offset.
    ///
    /// # Errors
    /// [`LogError::Retriable`] or [`LogError::Fatal`] if the client refuses.
    pub fn add(&mut self, partitions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = Partitions::new();
        for (of, offset) in partitions {
            list.add(of, *offset, None);
            self.positions.insert(of.clone(), *offset);
        }
        self.consumer.incremental_assign(&list)
    }

    /// The next offset to read of a partition; `None` if it is not followed.
    #[must_use]
    pub fn position(&self, of: &TopicPartition) -> Option<i64> {
        self.positions.get(of).copied()
    }

    /// The next records, in order per partition, waiting at most `wait`; and what was deleted before it could be read.
    ///
    /// # Errors
    /// [`LogError`] if reading cannot go on; an answer that fails in passing is waited for.
    pub fn poll(&mut self, wait: Duration, into: &mut Vec<Record>) -> Result<Vec<Skipped>, LogError> {
        let begun = Instant::now();
        let before = into.len();
        if self.lost {
            return self.skip();
        }
        loop {
            let mut failed = None;
            let positions = &mut self.positions;
            self.consumer.poll(SLICE.min(wait), 4096, |polled| match polled {
                Polled::Record(record) => {
                    let of = TopicPartition {
                        topic: Arc::clone(&record.topic),
                        partition: record.partition,
                    };
                    if let Some(position) = positions.get_mut(&of)
                        && record.offset >= *position
                    {
                        *position = record.offset + 1;
                        into.push(record);
                    }
                }
                Polled::End(of, offset) => {
                    if let Some(position) = positions.get_mut(&of) {
                        *position = offset.max(*position);
                    }
                }
                Polled::Failed(_, LogError::Retriable(_)) => {}
                Polled::Failed(_, error) => failed = Some(error),
                Polled::Unreadable(_, why) => failed = Some(LogError::Fatal(why)),
            });
            match failed {
                Some(LogError::OutOfRange(_)) => {
                    self.lost = true;
                    return self.skip();
                }
                Some(error) => return Err(error),
                None => {}
            }
            if into.len() > before || begun.elapsed() >= wait {
                return Ok(Vec::new());
            }
        }
    }

    /// The client stops reading a partition whose next offset is gone, and does not say which. While no broker says where partitions
    /// begin it is asked again.
    fn skip(&mut self) -> Result<Vec<Skipped>, LogError> {
        let mut skipped = Vec::new();
        for (of, position) in &mut self.positions {
            let start = match self.outsider.bounds(of) {
                Ok(bounds) => bounds.start,
                Err(LogError::Retriable(_)) => return Ok(skipped),
                Err(error) => return Err(error),
            };
            if *position >= start {
                continue;
            }
            skipped.push(Skipped {
                of: of.clone(),
                from: *position,
                to: start,
            });
            *position = start;
            // Taking the partition out of the assignment and putting it back starts another fetcher.
            self.consumer
                .incremental_unassign(&Partitions::of([of], OFFSET_INVALID))?;
            self.consumer.incremental_assign(&Partitions::of([of], start))?;
        }
        self.lost = false;
        Ok(skipped)
    }
}

/// Asks where partitions begin and end, with the eyes of a reader of everything.
pub struct Outsider {
    uncommitted: Consumer,
}

impl Outsider {
    /// Connects; nothing is asked yet.
    ///
    /// # Errors
    /// [`LogError::Fatal`] if a client setting is refused.
    pub fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        Ok(Self {
            uncommitted: Consumer::new(&config.reader_settings("read_uncommitted"))?,
        })
    }

    /// First and uncommitted end offset of a partition.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if no broker answers, or the partition has no leader.
    pub fn bounds(&self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let (start, end) = self.uncommitted.watermarks(of)?;
        Ok(Bounds { start, end })
    }

    /// The first offset of each partition whose record is not older than `time`; `None` where none is.
    ///
    /// # Errors
    /// As [`Outsider::bounds`].
    pub fn at_time(&self, partitions: &[TopicPartition], time: Millis) -> Result<Vec<Option<i64>>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.uncommitted
            .offsets_for_times(&Partitions::of(partitions, time.0.max(0)))
    }
}

/// Asks where another service's group stands, without joining it.
pub struct Bystander {
    consumer: Consumer,
}

impl Bystander {
    /// Connects under the group's name; nothing is asked yet.
    ///
    /// # Errors
    /// [`LogError::Fatal`] if a client setting is refused.
    pub fn open(config: &KafkaConfig, group: &str) -> Result<Self, LogError> {
        Self::with(config, group, "read_committed")
    }

    /// The same for one who cannot wait: an open transaction's offsets are passed over, and the ones before are told.
    ///
    /// # Errors
    /// As [`Bystander::open`].
    pub fn open_impatient(config: &KafkaConfig, group: &str) -> Result<Self, LogError> {
        Self::with(config, group, "read_uncommitted")
    }

    fn with(config: &KafkaConfig, group: &str, isolation: &str) -> Result<Self, LogError> {
        let mut settings = config.reader_settings(isolation);
        settings.insert("group.id".to_owned(), group.to_owned());
        Ok(Self {
            consumer: Consumer::new(&settings)?,
        })
    }

    /// The group's committed positions, in the order asked. Offsets of an open transaction are waited for, unless it was opened by
    /// [`Bystander::open_impatient`].
    ///
    /// # Errors
    /// [`LogError::Retriable`] if no coordinator answers in time.
    pub fn committed(&self, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.consumer.committed(&Partitions::of(of, OFFSET_INVALID))?;
        Ok(found
            .into_iter()
            .map(|found| found.map(|(offset, metadata)| Committed { offset, metadata }))
            .collect())
    }
}
