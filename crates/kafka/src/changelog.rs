//! Reads a changelog's partitions through one consumer without a group.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stream::{ChangelogBatch, ChangelogReader, LogError, TopicPartition};

use crate::native::{Consumer, Partitions, Polled};

/// At most so many records a read: one of them may hold half a megabyte.
const RECORDS: usize = 1000;

/// A reader of one changelog.
pub(crate) struct Changelog {
    consumer: Consumer,
    topic: Arc<str>,
    positions: BTreeMap<i32, i64>,
    /// A position is not in the log, and which one is not known yet.
    is_astray: bool,
}

impl Changelog {
    pub(crate) fn new(consumer: Consumer, topic: &str) -> Self {
        Self {
            consumer,
            topic: Arc::from(topic),
            positions: BTreeMap::new(),
            is_astray: false,
        }
    }

    fn of(&self, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topic),
            partition,
        }
    }

    fn list(&self, partition: i32, offset: i64) -> Partitions {
        Partitions::of([&self.of(partition)], offset)
    }

    /// Whose position is not in the log: the client does not say it. Either it is before its partition's start, or behind its end.
    fn astray(&self) -> Result<Vec<i32>, LogError> {
        let mut astray = Vec::new();
        for (partition, position) in &self.positions {
            let (start, end) = self.consumer.watermarks(&self.of(*partition))?;
            if *position < start || *position > end {
                astray.push(*partition);
            }
        }
        Ok(astray)
    }
}

impl ChangelogReader for Changelog {
    fn add(&mut self, partition: i32, from: i64) -> Result<(), LogError> {
        self.remove(partition)?;
        self.consumer.incremental_assign(&self.list(partition, from))?;
        self.positions.insert(partition, from);
        Ok(())
    }

    fn remove(&mut self, partition: i32) -> Result<(), LogError> {
        if self.positions.remove(&partition).is_some() {
            self.consumer.incremental_unassign(&self.list(partition, 0))?;
        }
        Ok(())
    }

    fn read(&mut self, wait: Duration, into: &mut ChangelogBatch) -> Result<(), LogError> {
        let (mut failed, mut unreadable, mut is_astray) = (None, None, false);
        let (positions, before) = (&mut self.positions, into.records.len());
        self.consumer.poll(wait, RECORDS, |polled| match polled {
            Polled::Record(record) => {
                // What was fetched before a partition was added anew is behind or ahead of its position.
                if let Some(position) = positions.get_mut(&record.partition)
                    && record.offset >= *position
                {
                    *position = record.offset + 1;
                    into.records
                        .push((record.partition, record.offset, record.value.unwrap_or_default()));
                }
            }
            // The end's offset lies behind transaction markers too, which no record shows.
            Polled::End(of, offset) => {
                if let Some(position) = positions.get_mut(&of.partition) {
                    *position = offset.max(*position);
                }
            }
            Polled::Failed(_, LogError::Retriable(_)) => {}
            Polled::Failed(_, LogError::OutOfRange(_)) => is_astray = true,
            Polled::Failed(_, error) => failed = Some(error),
            Polled::Unreadable(_, why) => unreadable = Some(LogError::Fatal(why)),
        });
        self.is_astray |= is_astray;
        into.positions.extend(
            self.positions
                .iter()
                .map(|(partition, position)| (*partition, *position)),
        );
        if self.is_astray {
            match self.astray() {
                Ok(astray) => {
                    self.is_astray = false;
                    into.out_of_range.extend(astray);
                }
                // The client does not say it again: it is looked up with the next read.
                Err(LogError::Retriable(_)) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (unreadable, failed) {
            // What was read may lie behind it.
            (Some(error), _) => Err(error),
            (None, Some(error)) if into.records.len() == before => Err(error),
            _ => Ok(()),
        }
    }
}
