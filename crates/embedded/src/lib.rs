//! The log on one machine without a broker: records, offsets and state in one RocksDB database, one write batch per epoch.
//!
//! The same contract as Kafka's: what a commit writes is visible at once and whole, or not at all. There are no aborted records and
//! no changelog, since state and offsets are written together.

mod db;
mod keys;
mod log;
mod reader;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rocksdb::{DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use stream::{Millis, Output, Record, TopicPartition, partition_of};

pub use db::EmbeddedDb;
pub use log::EmbeddedLog;
pub use reader::Reader;

/// Whether a topic keeps every record or the newest of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Every record.
    All,
    /// The newest of each key.
    Newest,
}

/// The log of one directory; clones share it.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    db: DB,
    /// Each opening is a new generation of every group.
    generation: i32,
    ends: Mutex<Ends>,
    grown: Condvar,
    wall: Box<dyn Fn() -> Millis + Send + Sync>,
}

#[derive(Default)]
struct Ends {
    topics: BTreeMap<Arc<str>, (i32, Kept)>,
    next: BTreeMap<TopicPartition, i64>,
}

impl Embedded {
    /// Opens or makes the log in a directory. A second process is refused by RocksDB's lock.
    ///
    /// # Errors
    /// A message if the disk fails, or another process has the directory.
    pub fn open(dir: &Path, wall: impl Fn() -> Millis + Send + Sync + 'static) -> Result<Self, String> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_keep_log_file_num(1);
        options.set_stats_dump_period_sec(0);
        options.set_write_buffer_size(32 << 20);
        options.set_compression_type(rocksdb::DBCompressionType::Lz4);
        let db = DB::open(&options, dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let before = db.get(keys::GENERATION).map_err(|error| error.to_string())?;
        let generation = 1 + before.map(|bytes| keys::read_i64(&bytes)).transpose()?.unwrap_or(0);
        db.put(keys::GENERATION, generation.to_be_bytes())
            .map_err(|error| error.to_string())?;
        let mut ends = Ends::default();
        for row in db.iterator(IteratorMode::From(keys::TOPIC, Direction::Forward)) {
            let (key, value) = row.map_err(|error| error.to_string())?;
            let Some(name) = key.strip_prefix(keys::TOPIC) else {
                break;
            };
            let topic: Arc<str> = Arc::from(String::from_utf8_lossy(name));
            let (partitions, kept) = keys::read_topic(&value)?;
            for partition in 0..partitions {
                let of = TopicPartition {
                    topic: Arc::clone(&topic),
                    partition,
                };
                let next = match db.get(keys::end(&of)).map_err(|error| error.to_string())? {
                    Some(bytes) => keys::read_i64(&bytes)?,
                    None => 0,
                };
                ends.next.insert(of, next);
            }
            ends.topics.insert(topic, (partitions, kept));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                db,
                generation: i32::try_from(generation).unwrap_or(i32::MAX),
                ends: Mutex::new(ends),
                grown: Condvar::new(),
                wall: Box::new(wall),
            }),
        })
    }

    /// Makes a topic; one that exists must have as many partitions.
    ///
    /// # Errors
    /// A message if the disk fails or the partition count differs.
    pub fn create(&self, topic: &str, partitions: i32, kept: Kept) -> Result<(), String> {
        let mut ends = self.shared.ends();
        if let Some((known, _)) = ends.topics.get(topic) {
            if *known == partitions {
                return Ok(());
            }
            return Err(format!(
                "topic has another partition count: topic={topic} found={known} expected={partitions}"
            ));
        }
        self.shared
            .db
            .put([keys::TOPIC, topic.as_bytes()].concat(), keys::topic(partitions, kept))
            .map_err(|error| error.to_string())?;
        let topic: Arc<str> = Arc::from(topic);
        for partition in 0..partitions {
            let of = TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            };
            ends.next.insert(of, 0);
        }
        ends.topics.insert(topic, (partitions, kept));
        Ok(())
    }

    /// The number of partitions of a topic, if it exists.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.shared.ends().topics.get(topic).map(|(partitions, _)| *partitions)
    }

    /// Writes records at once, outside any epoch: for producers.
    ///
    /// # Errors
    /// A message if the disk fails or a topic does not exist.
    pub fn publish(&self, outputs: &[Output]) -> Result<(), String> {
        self.shared.write(outputs, WriteBatch::default())
    }

    /// A reader of whole topics.
    ///
    /// # Errors
    /// A message if a topic does not exist.
    pub fn reader(&self, topics: &[&str], from_start: bool) -> Result<Reader, String> {
        Reader::open(Arc::clone(&self.shared), topics, from_start)
    }

    /// How many records of these topics a group has not committed yet.
    ///
    /// # Errors
    /// A message if the disk fails.
    pub fn lag(&self, group: &str, topics: &[String]) -> Result<i64, String> {
        let ends: Vec<(TopicPartition, i64)> = {
            let ends = self.shared.ends();
            let of = ends
                .next
                .iter()
                .filter(|(of, _)| topics.iter().any(|topic| **topic == *of.topic));
            of.map(|(of, end)| (of.clone(), *end)).collect()
        };
        let mut lag = 0;
        for (of, end) in ends {
            let stored = self
                .shared
                .db
                .get(keys::position(group, &of))
                .map_err(|error| error.to_string())?;
            let position = stored.map(|bytes| keys::read_position(&bytes)).transpose()?;
            lag += end - position.map_or(0, |position| position.offset);
        }
        Ok(lag)
    }

    /// The state of one partition of a service.
    #[must_use]
    pub fn db(&self, service: &str, partition: i32) -> EmbeddedDb {
        EmbeddedDb::new(Arc::clone(&self.shared), service, partition)
    }

    /// A worker's log: member `index` of `members` of a group, which reads its share of the inputs' partitions.
    ///
    /// # Errors
    /// A message if the disk fails or a topic does not exist.
    pub fn join(
        &self,
        group: &str,
        service: &str,
        inputs: &[String],
        index: i32,
        members: i32,
    ) -> Result<EmbeddedLog, String> {
        EmbeddedLog::join(Arc::clone(&self.shared), group, service, inputs, (index, members))
    }
}

impl Shared {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives outputs their offsets and writes them with the rest of the batch, durably. Offsets are dealt out here alone.
    fn write(&self, outputs: &[Output], mut batch: WriteBatch) -> Result<(), String> {
        let mut ends = self.ends();
        let now = (self.wall)();
        let mut next: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let mut newest: BTreeMap<Vec<u8>, (TopicPartition, i64)> = BTreeMap::new();
        for output in outputs {
            let Some((partitions, kept)) = ends.topics.get(&output.topic).copied() else {
                return Err(format!("no such topic: {}", output.topic));
            };
            let partition = match (output.partition, &output.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_of(key, partitions),
                (None, None) => 0,
            };
            let of = TopicPartition {
                topic: Arc::clone(&output.topic),
                partition,
            };
            let Some(end) = ends.next.get(&of) else {
                return Err(format!("no such partition: {}/{partition}", output.topic));
            };
            let offset = *next.entry(of.clone()).or_insert(*end);
            batch.put(keys::record(&of, offset), keys::write_record(output, now));
            if let (Kept::Newest, Some(key)) = (kept, &output.key) {
                let index = keys::newest(&of, key);
                let before = match newest.get(&index) {
                    Some((_, before)) => Some(*before),
                    None => {
                        let stored = self.db.get(&index).map_err(|error| error.to_string())?;
                        stored.map(|bytes| keys::read_i64(&bytes)).transpose()?
                    }
                };
                if let Some(before) = before {
                    batch.delete(keys::record(&of, before));
                }
                batch.put(&index, offset.to_be_bytes());
                newest.insert(index, (of.clone(), offset));
            }
            next.insert(of, offset + 1);
        }
        for (of, end) in &next {
            batch.put(keys::end(of), end.to_be_bytes());
        }
        let mut how = WriteOptions::default();
        how.set_sync(true);
        self.db.write_opt(batch, &how).map_err(|error| error.to_string())?;
        ends.next.extend(next);
        drop(ends);
        self.grown.notify_all();
        Ok(())
    }

    fn end(&self, of: &TopicPartition) -> i64 {
        self.ends().next.get(of).copied().unwrap_or(0)
    }

    /// At most `max` records from an offset on, and the position behind them.
    fn read(&self, of: &TopicPartition, from: i64, max: usize, into: &mut Vec<Record>) -> Result<i64, String> {
        let end = self.end(of);
        let mut read = rocksdb::ReadOptions::default();
        read.set_iterate_upper_bound(keys::record(of, end));
        let mut position = from;
        let start = keys::record(of, from);
        let mut taken = 0;
        for row in self
            .db
            .iterator_opt(IteratorMode::From(&start, Direction::Forward), read)
        {
            let (key, value) = row.map_err(|error| error.to_string())?;
            let offset = keys::read_i64(&key[key.len() - 8..])?;
            into.push(keys::read_record(of, offset, &value)?);
            position = offset + 1;
            taken += 1;
            if taken >= max {
                return Ok(position);
            }
        }
        // Compacted topics have gaps, at their end too.
        Ok(position.max(end))
    }

    /// Waits until something was written, at most `wait`.
    fn wait(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let ends = self.ends();
        let _ = self.grown.wait_timeout(ends, wait);
    }
}
