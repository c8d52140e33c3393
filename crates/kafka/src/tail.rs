//! Reads committed records of any topics without a group, for tools, catalogues and tests.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use stream::{LogError, Record, TopicPartition, TopicReader};

use crate::{
    log::{KafkaConfig, hasty_reader},
    native::{Consumer, Partitions, Polled},
};

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the first record still there.
    Start,
    /// Behind the last.
    Now,
}

/// A reader of whole topics.
pub struct Tail {
    consumer: Consumer,
    /// Per partition: the stable end when the reader was made, and the position reached.
    lanes: BTreeMap<TopicPartition, (i64, i64)>,
    /// Until when it reads as somebody who waits for the end.
    hasty_until: Option<(Instant, KafkaConfig)>,
}

/// So long a reader waits for the end of what it reads.
const HASTE: Duration = Duration::from_secs(5);

impl Tail {
    /// Opens all partitions of the topics.
    ///
    /// # Errors
    /// [`LogError::Fatal`] if a topic does not exist; [`LogError::Retriable`] if no broker answers.
    pub fn open(config: &KafkaConfig, topics: &[&str], from: From) -> Result<Self, LogError> {
        let consumer = hasty_reader(config)?;
        let known = consumer.topics()?;
        let mut list = Partitions::new();
        let mut lanes = BTreeMap::new();
        for topic in topics {
            let found = known.iter().find(|(name, _)| name == topic);
            let (_, partitions) = found.ok_or_else(|| LogError::Fatal(format!("no such topic: {topic}")))?;
            let topic: Arc<str> = Arc::from(*topic);
            for partition in 0..*partitions {
                let of = TopicPartition {
                    topic: Arc::clone(&topic),
                    partition,
                };
                let (start, end) = consumer.watermarks(&of)?;
                let begin = match from {
                    From::Start => start,
                    From::Now => end,
                };
                list.add(&of, begin, None);
                lanes.insert(of, (end, begin));
            }
        }
        consumer.assign(&list)?;
        Ok(Self {
            consumer,
            lanes,
            hasty_until: Some((Instant::now() + HASTE, config.clone())),
        })
    }

    /// Reads on as somebody who has time, once everything was read that was there.
    fn calm(&mut self) -> Result<(), LogError> {
        if !self.is_at_end() {
            return Ok(());
        }
        let Some((_, config)) = self.hasty_until.take_if(|(until, _)| *until <= Instant::now()) else {
            return Ok(());
        };
        let consumer = Consumer::new(&config.reader_settings("read_committed"))?;
        let mut list = Partitions::new();
        for (of, (_, position)) in &self.lanes {
            list.add(of, *position, None);
        }
        consumer.assign(&list)?;
        self.consumer = consumer;
        Ok(())
    }

    /// The next records, waiting at most `wait`.
    ///
    /// # Errors
    /// [`LogError`] if reading cannot go on.
    pub fn poll(&mut self, wait: Duration, into: &mut Vec<Record>) -> Result<(), LogError> {
        self.calm()?;
        let begun = Instant::now();
        let mut failed = None;
        let before = into.len();
        loop {
            let lanes = &mut self.lanes;
            self.consumer
                .poll(Duration::from_millis(20).min(wait), 4096, |polled| match polled {
                    Polled::Record(record) => {
                        let of = TopicPartition {
                            topic: Arc::clone(&record.topic),
                            partition: record.partition,
                        };
                        if let Some((_, position)) = lanes.get_mut(&of) {
                            *position = record.offset + 1;
                        }
                        into.push(record);
                    }
                    Polled::End(of, offset) => {
                        if let Some((_, position)) = lanes.get_mut(&of) {
                            *position = offset.max(*position);
                        }
                    }
                    Polled::Failed(_, LogError::Retriable(_)) => {}
                    Polled::Failed(_, error) => failed = Some(error),
                    Polled::Unreadable(_, why) => failed = Some(LogError::Fatal(why)),
                });
            if let Some(error) = failed {
                return Err(error);
            }
            if into.len() > before || begun.elapsed() >= wait {
                return Ok(());
            }
        }
    }

    /// Whether everything that was committed when the reader was made has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.lanes.values().all(|(end, position)| position >= end)
    }

    /// Reads to the end that the topics had when the reader was made.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if that takes longer than `budget`.
    pub fn read_to_end(&mut self, budget: Duration) -> Result<Vec<Record>, LogError> {
        let begun = Instant::now();
        let mut records = Vec::new();
        while !self.is_at_end() {
            if begun.elapsed() > budget {
                return Err(LogError::Retriable(
                    "topics were not read to their end in time".to_owned(),
                ));
            }
            self.poll(Duration::from_millis(100), &mut records)?;
        }
        Ok(records)
    }
}

impl TopicReader for Tail {
    fn read(&mut self, wait: Duration, into: &mut Vec<Record>) -> Result<(), LogError> {
        self.poll(wait, into)
    }

    fn is_at_end(&self) -> bool {
        Self::is_at_end(self)
    }
}
