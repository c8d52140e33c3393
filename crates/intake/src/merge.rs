//! Merges raw partitions by event time, for replays and demos, where arrival says nothing about when things happened.
//!
//! A sender writes `progress` to every raw partition behind each batch: "all up to this time is sent". The least head goes
//! first; a partition without a head holds the others back until its progress has passed them.

use std::collections::VecDeque;

use event::Millis;

/// What lies at the front of a raw partition, as far as the merge must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// An event (or a record that will be refused) at this time.
    At(Millis),
    /// Everything before and at this time has been sent.
    Progress(Millis),
}

impl Head {
    /// Orders by time; at one time events go before the progress that vouches for them.
    const fn rank(self) -> (Millis, u8) {
        match self {
            Self::At(time) => (time, 0),
            Self::Progress(time) => (time, 1),
        }
    }

    /// The time it stands for.
    #[must_use]
    pub const fn time(self) -> Millis {
        self.rank().0
    }
}

/// The partitions being merged, each a queue of records of type `T` with their heads.
///
/// Nothing is remembered of records that have come out: a merge that begins again at any set of offsets gives the same
/// order from there on, so a restart can neither reorder nor stall it.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: Vec<VecDeque<(Head, T)>>,
}

impl<T> Merge<T> {
    /// A merge of `lanes` partitions, in the order that breaks ties.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| VecDeque::new()).collect(),
        }
    }

    /// Adds the next record of a lane.
    pub fn push(&mut self, lane: usize, head: Head, record: T) {
        self.lanes[lane].push_back((head, record));
    }

    /// Takes over what waits in the lanes of another merge, as (old lane, new lane).
    pub fn take_over(&mut self, mut old: Self, lanes: impl IntoIterator<Item = (usize, usize)>) {
        for (from, to) in lanes {
            self.lanes[to] = std::mem::take(&mut old.lanes[from]);
        }
    }

    /// Drops what waits in a lane, because its records will be read again.
    pub fn clear(&mut self, lane: usize) {
        self.lanes[lane].clear();
    }

    /// The records that wait in one lane.
    #[must_use]
    pub fn waiting(&self, lane: usize) -> usize {
        self.lanes[lane].len()
    }

    /// The next record in event-time order, or `None` while a lane without a head holds the rest back.
    ///
    /// Among equals the lower lane goes first. Progress records come out too, since they move their partition's offset.
    pub fn pop(&mut self) -> Option<(usize, Head, T)> {
        let mut least: Option<((Millis, u8), usize)> = None;
        for (index, lane) in self.lanes.iter().enumerate() {
            let (head, _) = lane.front()?;
            if least.is_none_or(|(rank, _)| head.rank() < rank) {
                least = Some((head.rank(), index));
            }
        }
        let (_, index) = least?;
        let (head, record) = self.lanes[index].pop_front()?;
        Some((index, head, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(merge: &mut Merge<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| merge.pop().map(|(_, _, record)| record)).collect()
    }

    #[test]
    fn events_come_out_by_time_and_an_empty_lane_holds_them_back() {
        let mut merge = Merge::new(2);
        merge.push(0, Head::At(Millis(5)), "b");
        assert_eq!(drain(&mut merge), Vec::<&str>::new());
        merge.push(1, Head::At(Millis(3)), "a");
        assert_eq!(drain(&mut merge), vec!["a"]);
        merge.push(1, Head::Progress(Millis(4)), "p4");
        assert_eq!(drain(&mut merge), vec!["p4"]);
        merge.push(1, Head::Progress(Millis(5)), "p5");
        assert_eq!(drain(&mut merge), vec!["b"]);
        assert_eq!((merge.waiting(0), merge.waiting(1)), (0, 1));
    }

    #[test]
    fn a_merge_that_begins_again_anywhere_goes_on_in_the_same_order() {
        let lanes: [&[(Head, &'static str)]; 2] = [
            &[
                (Head::At(Millis(1)), "a"),
                (Head::At(Millis(4)), "d"),
                (Head::Progress(Millis(9)), "x"),
            ],
            &[
                (Head::At(Millis(2)), "b"),
                (Head::At(Millis(3)), "c"),
                (Head::Progress(Millis(9)), "y"),
            ],
        ];
        let run = |from: [usize; 2]| {
            let mut merge = Merge::new(2);
            for (lane, records) in lanes.iter().enumerate() {
                for (head, record) in &records[from[lane]..] {
                    merge.push(lane, *head, *record);
                }
            }
            drain(&mut merge)
        };
        let whole = run([0, 0]);
        assert_eq!(whole, vec!["a", "b", "c", "d", "x"]);
        let mut from = [0, 0];
        for (done, record) in whole.iter().enumerate() {
            assert_eq!(run(from), whole[done..], "after {done} records");
            from[usize::from(matches!(*record, "b" | "c" | "y"))] += 1;
        }
    }
}
