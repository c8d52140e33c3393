//! Reads whole topics without a group.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stream::{LogError, Record, TopicPartition, TopicReader};

use crate::Shared;

/// A reader of whole topics.
pub struct Reader {
    shared: Arc<Shared>,
    /// Per partition: the end when the reader was made, and the position reached.
    lanes: BTreeMap<TopicPartition, (i64, i64)>,
}

const AT_ONCE: usize = 4096;

impl Reader {
    pub(crate) fn open(shared: Arc<Shared>, topics: &[&str], from_start: bool) -> Result<Self, String> {
        let mut lanes = BTreeMap::new();
        let ends = shared.ends();
        for topic in topics {
            let Some((name, (partitions, _))) = ends.topics.get_key_value(*topic) else {
                return Err(format!("no such topic: {topic}"));
            };
            for partition in 0..*partitions {
                let of = TopicPartition {
                    topic: Arc::clone(name),
                    partition,
                };
                let end = ends.next.get(&of).copied().unwrap_or(0);
                lanes.insert(of, (end, if from_start { 0 } else { end }));
            }
        }
        drop(ends);
        Ok(Self { shared, lanes })
    }

    fn take(&mut self, into: &mut Vec<Record>) -> Result<(), LogError> {
        for (of, (_, position)) in &mut self.lanes {
            if self.shared.end(of) > *position {
                *position = self
                    .shared
                    .read(of, *position, AT_ONCE, into)
                    .map_err(LogError::Fatal)?;
            }
        }
        Ok(())
    }
}

impl TopicReader for Reader {
    fn read(&mut self, wait: Duration, into: &mut Vec<Record>) -> Result<(), LogError> {
        let before = into.len();
        self.take(into)?;
        if into.len() == before {
            self.shared.wait(wait);
            self.take(into)?;
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.lanes.values().all(|(end, position)| position >= end)
    }
}
