//! Publishes whole batches, for tools and tests.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use stream::{LogError, Output, settle};

use crate::{leftovers::Leftovers, log::KafkaConfig, native::Consumer, writer::Writer};

/// How long a tool's producer waits for its name.
const NAMING: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(50);

/// What is known of the last batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Published,
    NotPublished,
    Unknown,
}

/// Publishes whole batches, each in one transaction.
pub struct Publisher {
    config: KafkaConfig,
    reader: Consumer,
    writer: Writer,
    last: Last,
}

impl Publisher {
    /// Connects under a transactional id; an earlier publisher of that name is fenced, and what it left open in the topics that the configuration
    /// names as outputs is ended as its coordinator has decided: published, or dropped.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if no broker answered in time.
    pub fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        let mut publisher = Self {
            config: config.clone(),
            reader: Consumer::new(&config.reader_settings("read_uncommitted"))?,
            writer: Writer::open(config, NAMING)?,
            last: Last::Unknown,
        };
        publisher.tidy()?;
        Ok(publisher)
    }

    /// Publishes all of `outputs`, or none.
    ///
    /// # Errors
    /// [`LogError`] if they were not, or if it is not known whether they were.
    pub fn publish(&mut self, outputs: &[Output]) -> Result<(), LogError> {
        self.tidy()?;
        self.writer.begin()?;
        let sent = outputs
            .iter()
            .try_for_each(|output| self.writer.producer()?.send(output, None))
            .and_then(|()| self.writer.producer()?.drain());
        match sent {
            Ok(()) => {
                self.last = Last::Unknown;
                self.writer.commit()?;
                self.last = Last::Published;
                Ok(())
            }
            Err(error) => {
                let known: BTreeSet<&str> = self.config.outputs.iter().map(String::as_str).collect();
                let topics: BTreeSet<&str> = outputs.iter().map(|output| output.topic.as_ref()).collect();
                let more: Vec<String> = topics.difference(&known).map(|topic| (*topic).to_owned()).collect();
                self.config.outputs.extend(more);
                self.last = Last::NotPublished;
                if self.writer.abort().is_err() {
                    self.writer.recycle()?;
                }
                Err(error)
            }
        }
    }

    /// What the last batch left is gone, and what it published is visible.
    fn tidy(&mut self) -> Result<(), LogError> {
        let begun = Instant::now();
        loop {
            match self.tidy_once() {
                Err(LogError::Retriable(_))
                    if self.writer.is_in_doubt() && begun.elapsed() < self.config.transaction_timeout * 2 =>
                {
                    std::thread::sleep(AGAIN);
                }
                done => return done,
            }
        }
    }

    fn tidy_once(&mut self) -> Result<(), LogError> {
        if self.last == Last::Unknown && self.writer.is_unanswered() {
            self.writer.recycle()?;
            self.writer.unconfirmed().not_committed();
        }
        let mut leftovers = Leftovers {
            config: &self.config,
            writer: &mut self.writer,
            reader: &self.reader,
            member: None,
        };
        match self.last {
            Last::Published => settle::confirm(&mut leftovers).map(drop),
            Last::NotPublished => settle::discard(&mut leftovers),
            Last::Unknown => settle::resolve(&mut leftovers),
        }?;
        self.last = Last::Published;
        Ok(())
    }
}
