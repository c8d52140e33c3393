//! How far a worker's raw partitions have been read, and when it must say so on the timeline.

use std::collections::{BTreeMap, VecDeque};

use event::Millis;
use stream::KnownEnds;

/// As many ends are remembered for a partition that lags; of more, every second one is forgotten, and those to come are taken half as
/// often.
const REMEMBERED: usize = 256;

/// The progress of one worker's raw partitions under `intake.clock = wall`.
///
/// The log is asked where partitions end. Once a partition has been read to the end that it had at the time of the question,
/// everything that had arrived by then, on this worker's own clock, has been read. No other clock is trusted, and a leader that
/// does not answer, or a partition that lags, holds the progress.
#[derive(Debug, Default)]
pub struct Progress {
    lanes: BTreeMap<(String, i32), Lane>,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// The next offset to read.
    next: i64,
    /// The arrival of the last record read: all that is known until the partition has once been read to an end.
    arrived: Option<Millis>,
    /// It was read to the end that it had at this time.
    read: Option<Millis>,
    /// Ends that have not been reached yet: when it was asked, and the end.
    ahead: VecDeque<(Millis, i64)>,
    /// They lie at least this far apart, in milliseconds.
    apart: i64,
}

impl Lane {
    fn reach(&mut self, next: i64) {
        self.next = self.next.max(next);
        while let Some((asked, end)) = self.ahead.front()
            && *end <= self.next
        {
            self.read = self.read.max(Some(*asked));
            self.ahead.pop_front();
        }
    }

    fn told(&mut self, asked: Millis, end: i64) {
        if self.ahead.len() >= REMEMBERED {
            let mut keep = false;
            self.ahead.retain(|_| {
                keep = !keep;
                keep
            });
            self.apart = (self.apart * 2).max(2000);
        }
        match self.ahead.back() {
            None => self.apart = 0,
            Some((before, _)) if asked.since(*before) < self.apart => return,
            Some(_) => {}
        }
        self.ahead.push_back((asked, end));
        self.reach(self.next);
    }

    /// Everything that arrived up to this time has been read, seen at `now`.
    fn progress(&self, now: Millis) -> Option<Millis> {
        // An arrival that lies ahead of this clock says that clocks differ: it says nothing then.
        self.read.or(self.arrived.filter(|arrived| *arrived <= now))
    }
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

    fn lane(&mut self, topic: &str, partition: i32) -> Option<&mut Lane> {
        self.lanes.get_mut(&(topic.to_owned(), partition))
    }

    /// Reading of a partition begins at `next`, all before it is committed; it is owned from now on. Without this, a partition that is at
    /// its end already, and whose end the client does not tell a second time, would hold the clock until its next record.
    pub fn begin(&mut self, topic: &str, partition: i32, next: i64) {
        let begun = Lane {
            next,
            ..Lane::default()
        };
        self.lanes.insert((topic.to_owned(), partition), begun);
    }

    /// A record that arrived at `arrival` has been read, and `next` follows it.
    pub fn read(&mut self, topic: &str, partition: i32, arrival: Millis, next: i64) {
        if let Some(lane) = self.lane(topic, partition) {
            lane.arrived = lane.arrived.max(Some(arrival));
            lane.reach(next);
        }
    }

    /// The partition has nothing more to read before `next`.
    pub fn at_end(&mut self, topic: &str, partition: i32, next: i64) {
        if let Some(lane) = self.lane(topic, partition) {
            lane.reach(next);
        }
    }

    /// The log said where partitions ended.
    pub fn told(&mut self, ends: &KnownEnds) {
        for (of, end) in &ends.ends {
            if let Some(lane) = self.lane(&of.topic, of.partition) {
                lane.told(ends.asked, *end);
            }
        }
    }

    /// What was read of this partition will be read again: it holds the clock until then.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        if let Some(lane) = self.lane(topic, partition) {
            *lane = Lane::default();
        }
    }

    /// How many partitions the worker owns.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.lanes.len()
    }

    /// Everything that arrived up to this time has been read; `None` while nothing is known of a partition.
    #[must_use]
    pub fn at(&self, now: Millis) -> Option<Millis> {
        let mut least = now;
        for lane in self.lanes.values() {
            least = least.min(lane.progress(now)?);
        }
        Some(least)
    }

    /// How far each partition has been read: topic, partition, time.
    pub fn each(&self, now: Millis) -> impl Iterator<Item = (&str, i32, Option<Millis>)> {
        let lanes = self.lanes.iter();
        lanes.map(move |((topic, partition), lane)| (topic.as_str(), *partition, lane.progress(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stream::TopicPartition;

    use super::*;

    fn told(progress: &mut Progress, asked: i64, ends: &[(&str, i64)]) {
        let of = |topic: &str| TopicPartition {
            topic: Arc::from(topic),
            partition: 0,
        };
        progress.told(&KnownEnds {
            asked: Millis(asked),
            ends: ends.iter().map(|(topic, end)| (of(topic), *end)).collect(),
        });
    }

    fn two() -> Progress {
        let mut progress = Progress::default();
        progress.own([("a".to_owned(), 0), ("b".to_owned(), 0)]);
        progress
    }

    #[test]
    fn the_slowest_partition_decides() {
        let mut progress = two();
        assert_eq!(progress.at(Millis(100)), None);
        told(&mut progress, 90, &[("a", 0), ("b", 5)]);
        assert_eq!(progress.at(Millis(100)), None, "nothing is known of b");
        progress.read("b", 0, Millis(40), 2);
        assert_eq!(progress.at(Millis(100)), Some(Millis(40)));
        progress.read("b", 0, Millis(60), 5);
        assert_eq!(progress.at(Millis(100)), Some(Millis(90)), "all that was there at 90");
        assert_eq!(progress.owned(), 2);
    }

    #[test]
    fn what_was_committed_before_need_not_be_read_again() {
        let mut progress = Progress::default();
        progress.begin("a", 0, 7);
        progress.own([("a".to_owned(), 0)]);
        told(&mut progress, 10, &[("a", 7)]);
        assert_eq!(progress.at(Millis(20)), Some(Millis(10)));
        progress.forget("a", 0);
        progress.begin("a", 0, 6);
        told(&mut progress, 30, &[("a", 7)]);
        assert_eq!(progress.at(Millis(40)), None, "one record is read again");
        progress.read("a", 0, Millis(5), 7);
        assert_eq!(progress.at(Millis(40)), Some(Millis(30)));
    }

    #[test]
    fn a_leader_that_does_not_answer_holds_the_progress() {
        let mut progress = two();
        told(&mut progress, 10, &[("a", 0), ("b", 0)]);
        told(&mut progress, 20, &[("a", 0)]);
        told(&mut progress, 30, &[("a", 0)]);
        assert_eq!(progress.at(Millis(40)), Some(Millis(10)));
        progress.at_end("b", 0, 7);
        assert_eq!(
            progress.at(Millis(40)),
            Some(Millis(10)),
            "an end found by reading has no time"
        );
        told(&mut progress, 40, &[("a", 0), ("b", 7)]);
        assert_eq!(progress.at(Millis(41)), Some(Millis(40)));
        progress.begin("b", 0, 3);
        told(&mut progress, 50, &[("a", 0), ("b", 7)]);
        assert_eq!(progress.at(Millis(51)), None, "four records are read again");
        progress.begin("b", 0, 7);
        told(&mut progress, 60, &[("a", 0), ("b", 7)]);
        assert_eq!(progress.at(Millis(61)), Some(Millis(60)), "it begins at its end");
    }

    #[test]
    fn a_partition_that_lags_moves_on_end_by_end_and_other_clocks_say_nothing() {
        let mut progress = Progress::default();
        progress.own([("a".to_owned(), 0)]);
        progress.read("a", 0, Millis(500), 1);
        assert_eq!(progress.at(Millis(100)), None, "the sender's clock is ahead");
        told(&mut progress, 100, &[("a", 1)]);
        for second in 2..2000 {
            told(&mut progress, second * 100, &[("a", second * 10)]);
        }
        assert!(progress.lanes.values().all(|lane| lane.ahead.len() <= REMEMBERED));
        progress.read("a", 0, Millis(900_000), 10_000);
        let at = progress.at(Millis(300_000)).expect("known").0;
        assert!((80_000..=100_000).contains(&at), "not later than what was read: {at}");
        progress.forget("a", 0);
        assert_eq!(progress.at(Millis(300_000)), None);
    }

    #[test]
    fn a_worker_without_partitions_holds_nobody_back() {
        assert_eq!(Progress::default().at(Millis(9)), Some(Millis(9)));
    }
}
