//! A worker's log: its share of the partitions, and an epoch as one write batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rocksdb::WriteBatch;
use stream::{
    Batch, Bounds, Change, ChangelogReader, Commit, CommitReport, Committed, KnownEnds, Log, LogError, Membership,
    Millis, Output, TopicPartition,
};

use crate::{Shared, keys};

/// One worker's view of the log.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    group: String,
    service: String,
    membership: Membership,
    /// Given at the first poll.
    to_assign: Vec<TopicPartition>,
    flowing: BTreeMap<TopicPartition, i64>,
    /// Partitions whose end was told since something was last read of them.
    ended: BTreeSet<TopicPartition>,
    /// What is to be told of ends at the next poll.
    told: Vec<KnownEnds>,
    open: Option<Vec<Output>>,
}

impl EmbeddedLog {
    pub(crate) fn join(
        shared: Arc<Shared>,
        group: &str,
        service: &str,
        inputs: &[String],
        (index, members): (i32, i32),
    ) -> Result<Self, String> {
        let mut to_assign = Vec::new();
        {
            let ends = shared.ends();
            for input in inputs {
                let Some((topic, (partitions, _))) = ends.topics.get_key_value(input.as_str()) else {
                    return Err(format!("no such topic: {input}"));
                };
                to_assign.extend(
                    (0..*partitions)
                        .filter(|partition| partition % members == index)
                        .map(|partition| TopicPartition {
                            topic: Arc::clone(topic),
                            partition,
                        }),
                );
            }
        }
        let generation = shared.generation;
        Ok(Self {
            shared,
            group: group.to_owned(),
            service: service.to_owned(),
            membership: Membership {
                generation,
                assignment: Some(0),
                index,
                members,
            },
            to_assign,
            flowing: BTreeMap::new(),
            ended: BTreeSet::new(),
            told: Vec::new(),
            open: None,
        })
    }

    fn take(&mut self, max: usize, batch: &mut Batch) -> Result<(), LogError> {
        let lanes = self.flowing.len().max(1);
        let share = (max / lanes).max(1);
        for (of, position) in &mut self.flowing {
            if self.shared.end(of) > *position {
                *position = self
                    .shared
                    .read(of, *position, share, &mut batch.records)
                    .map_err(LogError::Fatal)?;
                self.ended.remove(of);
            }
            if self.shared.end(of) <= *position && self.ended.insert(of.clone()) {
                batch.ends.push((of.clone(), *position));
            }
        }
        Ok(())
    }
}

impl Log for EmbeddedLog {
    fn poll(&mut self, wait: Duration, max: usize, batch: &mut Batch) -> Result<(), LogError> {
        let given = std::mem::take(&mut self.to_assign);
        if !given.is_empty() {
            batch.changes.push(Change::Assigned(given));
            return Ok(());
        }
        batch.told.append(&mut self.told);
        let begun = Instant::now();
        loop {
            self.take(max, batch)?;
            let left = wait.saturating_sub(begun.elapsed());
            if !batch.records.is_empty() || !batch.told.is_empty() || left.is_zero() {
                return Ok(());
            }
            self.shared.wait(left);
        }
    }

    fn committed(&mut self, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError> {
        of.iter()
            .map(|of| {
                let stored = self.shared.db.get(keys::position(&self.group, of));
                let stored = stored.map_err(|error| LogError::Fatal(error.to_string()))?;
                stored
                    .map(|bytes| keys::read_position(&bytes))
                    .transpose()
                    .map_err(LogError::Fatal)
            })
            .collect()
    }

    fn bounds(&mut self, of: &TopicPartition) -> Result<Bounds, LogError> {
        Ok(Bounds {
            start: 0,
            end: self.shared.end(of),
        })
    }

    fn ask_ends(&mut self, now: Millis) -> Result<(), LogError> {
        let ends = self.flowing.keys().map(|of| (of.clone(), self.shared.end(of)));
        let ends = ends.collect();
        self.told.push(KnownEnds { asked: now, ends });
        Ok(())
    }

    fn resume(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        self.flowing.insert(partition.clone(), offset);
        self.ended.remove(partition);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        self.flowing.remove(partition);
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        for partition in partitions {
            self.flowing.remove(partition);
        }
        Ok(())
    }

    fn membership(&mut self) -> Result<Membership, LogError> {
        Ok(self.membership)
    }

    fn generation(&mut self) -> Result<i32, LogError> {
        Ok(self.membership.generation)
    }

    fn begin(&mut self) -> Result<(), LogError> {
        self.open = Some(Vec::new());
        Ok(())
    }

    fn send(&mut self, output: Output) -> Result<(), LogError> {
        let open = self
            .open
            .as_mut()
            .ok_or_else(|| LogError::Abort("no transaction is open".to_owned()))?;
        open.push(output);
        Ok(())
    }

    fn commit(&mut self, epoch: &Commit) -> Result<CommitReport, LogError> {
        let outputs = self
            .open
            .take()
            .ok_or_else(|| LogError::Abort("no transaction is open".to_owned()))?;
        let mut batch = WriteBatch::default();
        for part in &epoch.partitions {
            batch.put(
                keys::position(&self.group, &part.input),
                keys::write_position(part.offset, &part.metadata),
            );
            let prefix = keys::state(&self.service, part.input.partition);
            for (key, value) in &part.rows {
                let key = [prefix.as_slice(), key].concat();
                match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                }
            }
        }
        // A failed write ends the process; on reopening the batch is there or not.
        self.shared.write(&outputs, batch).map_err(LogError::Fatal)?;
        Ok(CommitReport {
            changelog_next: vec![None; epoch.partitions.len()],
            ..CommitReport::default()
        })
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.open = None;
        Ok(())
    }

    fn recycle(&mut self) -> Result<(), LogError> {
        self.open = None;
        Ok(())
    }

    fn changelog(&mut self) -> Result<Option<Box<dyn ChangelogReader>>, LogError> {
        Ok(None)
    }

    fn trim(&mut self, _: i32, _: i64) -> Result<(), LogError> {
        Ok(())
    }

    fn leave(&mut self) -> Result<(), LogError> {
        self.flowing.clear();
        Ok(())
    }
}
