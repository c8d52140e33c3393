//! One raw partition: a few bytes for each of its records that is not judged yet.

use std::collections::{BTreeMap, VecDeque};

use stream::Millis;

/// What a raw record must bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// No such record was read.
    #[default]
    Absent,
    /// Nothing: it is for the service itself, or an empty batch.
    Nothing,
    /// This many events on the timeline.
    Events(u16),
    /// A dead letter.
    Letter,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot {
    pub(super) expect: Expect,
    /// Records of its first event.
    pub(super) first: u8,
    pub(super) letters: u8,
    /// Scores that events carry, less scores that were published.
    pub(super) scores: i8,
}

/// One raw partition.
pub(super) struct Raw {
    pub(super) place: String,
    /// The offset of the first slot: everything before is judged, or was never asked for.
    pub(super) base: i64,
    pub(super) slots: VecDeque<Slot>,
    /// How often each event behind the first was seen, by offset.
    pub(super) more: BTreeMap<i64, Vec<u8>>,
    /// The greatest offset that an output names, and the one when the cut began.
    pub(super) highest: Option<i64>,
    pub(super) at_cut: Option<i64>,
    /// What was already said to be ahead of the group.
    pub(super) told: Option<i64>,
    pub(super) committed: Option<i64>,
    /// The offset of the newest marker that was read, and the number of its epoch, if it is known what must follow.
    pub(super) marked: i64,
    pub(super) epoch: Option<u64>,
    /// Where the group stood at the first cut: what comes later was not deleted before.
    pub(super) live: Option<i64>,
    /// Offset and time of some of the records that stand on the timeline, in order.
    pub(super) samples: Samples,
    pub(super) read: u64,
    pub(super) events: u64,
    pub(super) letters: u64,
    pub(super) judged: Option<(i64, i64)>,
}

impl Raw {
    /// A partition `topic/partition` that is read from `offset`.
    pub(super) fn new(place: String, offset: i64) -> Self {
        Self {
            place,
            base: offset,
            slots: VecDeque::new(),
            more: BTreeMap::new(),
            highest: None,
            at_cut: None,
            told: None,
            committed: None,
            marked: 0,
            epoch: None,
            live: None,
            samples: Samples::default(),
            read: 0,
            events: 0,
            letters: 0,
            judged: None,
        }
    }

    /// The place of an offset; `None` before the first or far beyond what there can be.
    pub(super) fn slot(&mut self, offset: i64) -> Option<&mut Slot> {
        /// Records that may wait in one partition; more are not audited.
        const WAITING: usize = 1 << 25;
        let index = usize::try_from(offset - self.base)
            .ok()
            .filter(|index| *index < WAITING)?;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        self.slots.get_mut(index)
    }

    /// Counts an event; returns how often it has been seen, 0 where that is not known.
    pub(super) fn saw_event(&mut self, offset: i64, index: u32, is_scored: bool) -> u8 {
        let Some(slot) = self.slot(offset) else { return 0 };
        slot.scores = slot.scores.saturating_add(i8::from(is_scored));
        if index == 0 {
            slot.first = slot.first.saturating_add(1);
            return slot.first;
        }
        // A batch holds a few thousand calls at most: it is one record of 1 MiB.
        let Some(index) = usize::try_from(index - 1)
            .ok()
            .filter(|index| *index < usize::from(u16::MAX))
        else {
            return 0;
        };
        let counts = self.more.entry(offset).or_default();
        if index >= counts.len() {
            counts.resize(index + 1, 0);
        }
        counts[index] = counts[index].saturating_add(1);
        counts[index]
    }

    /// Drops what lies before an offset; returns the range dropped.
    pub(super) fn drop_to(&mut self, to: i64) -> (i64, i64) {
        let from = self.base;
        while self.base < to && self.slots.pop_front().is_some() {
            self.base += 1;
        }
        self.base = self.base.max(to);
        self.more = self.more.split_off(&self.base);
        (from, self.base)
    }
}

/// Some of the pairs of offset and time seen, first ones first: few enough to keep, close enough to find a beginning.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pairs: Vec<(i64, Millis)>,
    step: i64,
}

impl Samples {
    pub(super) fn add(&mut self, offset: i64, time: Millis) {
        const MOST: usize = 4096;
        if self.pairs.last().is_some_and(|(last, _)| offset < last + self.step) {
            let first = self.pairs.first_mut();
            // A copy of an old record comes late and says nothing of when that was processed.
            if let Some(first) = first.filter(|first| offset < first.0 && time <= first.1) {
                *first = (offset, time);
            }
            return;
        }
        self.step = self.step.max(1);
        self.pairs.push((offset, time));
        if self.pairs.len() > MOST {
            self.step *= 2;
            let mut index = 0;
            self.pairs.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// The first offset known whose time is not earlier.
    pub(super) fn first(&self, time: Millis) -> Option<i64> {
        self.pairs.iter().find(|(_, at)| *at >= time).map(|(offset, _)| *offset)
    }
}
