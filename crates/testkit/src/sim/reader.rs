//! Readers without a group: of whole topics, and of a changelog.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stream::{ChangelogBatch, ChangelogReader, LogError, Record, TopicPartition, TopicReader};

use super::{
    Host,
    broker::{Request, Response},
    client::{AGAIN, dead},
};

/// A changelog is read in pages of so many records, this far apart, so that much can happen in between.
const PAGE: usize = 5;
const TURN: Duration = Duration::from_millis(4);
/// How long one fetch is waited for.
const FETCH: u64 = 1_000_000;

/// Reads whole topics from their start.
pub struct SimReader {
    host: Host,
    life: u64,
    positions: BTreeMap<TopicPartition, i64>,
    /// Where they ended when the reader was made.
    ends: BTreeMap<TopicPartition, i64>,
}

impl SimReader {
    /// Opens topics.
    #[must_use]
    pub fn open(host: &Host, topics: &[&str]) -> Self {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (positions, ends) = {
            let world = host.sim().lock();
            let all = world.broker.partitions(&topics);
            let ends = all.iter().map(|of| (of.clone(), world.broker.end(of))).collect();
            (all.into_iter().map(|of| (of, 0)).collect(), ends)
        };
        Self {
            host: host.clone(),
            life: host.life(),
            positions,
            ends,
        }
    }
}

/// Fetches once; nothing if nobody answers.
fn fetch(
    host: &Host,
    life: u64,
    positions: &BTreeMap<TopicPartition, i64>,
    max: usize,
) -> Result<Vec<super::broker::Fetched>, LogError> {
    let request = Request::Fetch {
        positions: positions.iter().map(|(of, position)| (of.clone(), *position)).collect(),
        max,
    };
    let answer = host.ask(&request, AGAIN, FETCH);
    if host.life() != life {
        return Err(dead());
    }
    match answer {
        Some(Response::Fetched(fetched)) => Ok(fetched),
        _ => Ok(Vec::new()),
    }
}

impl TopicReader for SimReader {
    fn read(&mut self, _wait: Duration, into: &mut Vec<Record>) -> Result<(), LogError> {
        for fetched in fetch(&self.host, self.life, &self.positions, 20)? {
            into.extend(fetched.records);
            self.positions.insert(fetched.of, fetched.next);
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.positions
            .iter()
            .all(|(of, position)| self.ends.get(of) <= Some(position))
    }
}

/// Reads a changelog.
pub(super) struct SimChangelog {
    pub host: Host,
    pub life: u64,
    pub topic: Arc<str>,
    pub positions: BTreeMap<TopicPartition, i64>,
    /// A reader that skips ahead when its position was trimmed: wrong, to see it caught.
    pub skips: bool,
}

impl SimChangelog {
    fn of(&self, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topic),
            partition,
        }
    }
}

impl ChangelogReader for SimChangelog {
    fn add(&mut self, partition: i32, from: i64) -> Result<(), LogError> {
        self.positions.insert(self.of(partition), from);
        Ok(())
    }

    fn remove(&mut self, partition: i32) -> Result<(), LogError> {
        self.positions.remove(&self.of(partition));
        Ok(())
    }

    fn read(&mut self, _wait: Duration, into: &mut ChangelogBatch) -> Result<(), LogError> {
        self.host.sleep(TURN);
        for fetched in fetch(&self.host, self.life, &self.positions, PAGE)? {
            let partition = fetched.of.partition;
            if fetched.is_out_of_range {
                if self.skips {
                    let start = self.host.sim().start(&fetched.of);
                    self.positions.insert(fetched.of, start);
                } else {
                    into.out_of_range.push(partition);
                }
                continue;
            }
            let records = fetched.records.into_iter();
            into.records
                .extend(records.map(|record| (partition, record.offset, record.value.unwrap_or_default())));
            into.positions.push((partition, fetched.next));
            self.positions.insert(fetched.of, fetched.next);
        }
        Ok(())
    }
}
