//! How far a worker's raw partitions have been read, and when it must say so on the timeline.

use std::collections::BTreeMap;

use event::Millis;

/// The progress of one worker's raw partitions under `intake.clock = wall`.
#[derive(Debug, Default)]
pub struct Progress {
    lanes: BTreeMap<(String, i32), Lane>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// The arrival of the last record read.
    read: Option<Millis>,
    /// The partition's end was reached, and nothing read since.
    at_end: bool,
}

impl Progress {
    /// The worker owns exactly these partitions from now on.
    pub fn own(&mut self, partitions: impl IntoIterator<Item = (String, i32)>) {
        let mut before = std::mem::take(&mut self.lanes);
        self.lanes = partitions
            .into_iter()
            .map(|partition| {
                let lane = before.remove(&partition).unwrap_or_default();
                (partition, lane)
            })
            .collect();
    }

    /// A record that arrived at `arrival` has been read.
    pub fn read(&mut self, topic: &str, partition: i32, arrival: Millis) {
        if let Some(lane) = self.lanes.get_mut(&(topic.to_owned(), partition)) {
            lane.read = lane.read.max(Some(arrival));
            lane.at_end = false;
        }
    }

    /// The partition has nothing more to read.
    pub fn at_end(&mut self, topic: &str, partition: i32) {
        if let Some(lane) = self.lanes.get_mut(&(topic.to_owned(), partition)) {
            lane.at_end = true;
        }
    }

    /// What was read of this partition will be read again: it holds the clock until then.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        if let Some(lane) = self.lanes.get_mut(&(topic.to_owned(), partition)) {
            *lane = Lane::default();
        }
    }

    /// How many partitions the worker owns.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.lanes.len()
    }

    /// Everything that arrived up to this time has been read; `None` while a partition was neither read nor found at its end.
    ///
    /// `heard` says whether the broker answered lately: at a partition's end only then is there nothing unread.
    #[must_use]
    pub fn at(&self, now: Millis, heard: bool) -> Option<Millis> {
        let mut least = now;
        for lane in self.lanes.values() {
            let reached = if lane.at_end && heard { now } else { lane.read? };
            least = least.min(reached);
        }
        Some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_partition_decides() {
        let mut progress = Progress::default();
        progress.own([("a".to_owned(), 0), ("b".to_owned(), 0)]);
        assert_eq!(progress.at(Millis(100), true), None);
        progress.at_end("a", 0);
        assert_eq!(progress.at(Millis(100), true), None);
        progress.read("b", 0, Millis(40));
        assert_eq!(progress.at(Millis(100), true), Some(Millis(40)));
        progress.at_end("b", 0);
        assert_eq!(progress.at(Millis(100), true), Some(Millis(100)));
        assert_eq!(progress.at(Millis(100), false), None);
        progress.read("b", 0, Millis(50));
        progress.own([("b".to_owned(), 0)]);
        assert_eq!(progress.at(Millis(100), true), Some(Millis(50)));
        assert_eq!(progress.owned(), 1);
    }

    #[test]
    fn a_worker_without_partitions_holds_nobody_back() {
        assert_eq!(Progress::default().at(Millis(9), true), Some(Millis(9)));
    }
}
