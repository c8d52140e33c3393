//! What is true of a partition: where it goes on, and what became of an epoch whose commit was not answered.
//!
//! A marker that is visible in the changelog was committed, and with it what its group was told. So the changelog decides, where there is
//! one. The group may tell the past: its coordinator answers while it still reads its log, and one that has read it in part goes on to
//! (seen with Kafka 4.3.1, `docs/GUARANTEES.md`). It can never be ahead of what was read up to the changelog's end.

use stream::{
    Committed, Marker, PartitionEpoch, Statefulness,
    mutant::{self, Mutant},
};

/// A place in the input, and the epoch that ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch's number; 0 before the first, and where nobody counts.
    pub epoch: u64,
}

impl From<&Marker> for Position {
    fn from(marker: &Marker) -> Self {
        Self {
            offset: marker.offset,
            epoch: marker.epoch,
        }
    }
}

impl From<&Committed> for Position {
    fn from(committed: &Committed) -> Self {
        Self {
            offset: committed.offset,
            epoch: Marker::epoch_of(&committed.metadata).unwrap_or_default(),
        }
    }
}

impl Position {
    /// Offset and epoch number must both agree: an epoch that only fired timers moves no offset.
    pub(super) fn is(self, other: Self) -> bool {
        let is_of_epoch = self.epoch == other.epoch || mutant::is_on(Mutant::EpochNotCompared);
        self.offset == other.offset && is_of_epoch
    }

    /// Whether it lies behind another that follows it.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.epoch < other.epoch && self.offset <= other.offset
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.offset, self.epoch)
    }
}

/// Where a partition goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    /// Here.
    At(i64),
    /// Here, where the marker stands; its group tells the past.
    Past(i64),
    /// Nobody was here before.
    Anew,
    /// Marker and group cannot both be true.
    Contradiction,
}

/// Judges by the newest marker and by what the group tells.
#[must_use]
pub fn goes_on(marker: &Marker, told: Option<&Committed>, state: Statefulness) -> GoesOn {
    let Some(told) = told else {
        // Offsets of a group expire.
        return if marker.epoch > 0 {
            GoesOn::At(marker.offset)
        } else {
            GoesOn::Anew
        };
    };
    if mutant::is_on(Mutant::OffsetsBelieved) || mutant::is_on(Mutant::RestoreNotCompared) {
        return GoesOn::At(told.offset);
    }
    let (own, group) = (Position::from(marker), Position::from(told));
    if Marker::epoch_of(&told.metadata).is_none() {
        return match state {
            Statefulness::Keyed => GoesOn::Contradiction,
            // By a version that wrote no markers, or where the log is its own database.
            Statefulness::None if marker.epoch > 0 && group.offset < own.offset => GoesOn::Past(own.offset),
            Statefulness::None => GoesOn::At(group.offset),
        };
    }
    if group.is(own) || (marker.epoch == 0 && group.epoch == 0 && state == Statefulness::None) {
        // Before the first epoch only outputs without input can have been committed, at the place where it begins.
        return GoesOn::At(group.offset);
    }
    if group.is_before(own) {
        return GoesOn::Past(own.offset);
    }
    GoesOn::Contradiction
}

/// What a position says of an epoch whose commit was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It stands where the epoch ends.
    CameThrough,
    /// It stands where the epoch began.
    DidNot,
    /// The epoch moved nothing here.
    Either,
    /// It stands elsewhere: another has moved it, or something is wrong.
    Neither,
}

/// Judges an epoch by where its partition stands now; `before` is the marker that it began behind.
#[must_use]
pub fn outcome(part: &PartitionEpoch, found: Option<Position>, before: Option<&Marker>) -> Outcome {
    let ends = Position {
        offset: part.offset,
        epoch: Marker::epoch_of(&part.metadata).unwrap_or_default(),
    };
    let is_new = found.is_some_and(|found| found.is(ends));
    let is_old = match (found, before) {
        (None, _) => true,
        (Some(found), Some(before)) => found.is(before.into()),
        (Some(_), None) => false,
    };
    match (is_new, is_old) {
        (true, true) => Outcome::Either,
        (true, false) => Outcome::CameThrough,
        (false, true) => Outcome::DidNot,
        (false, false) => Outcome::Neither,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stream::TopicPartition;

    use super::*;

    fn marker(offset: i64, epoch: u64) -> Marker {
        Marker {
            offset,
            epoch,
            ..Marker::default()
        }
    }

    fn told(offset: i64, epoch: u64) -> Committed {
        let metadata = marker(offset, epoch).metadata();
        Committed { offset, metadata }
    }

    #[test]
    fn an_epoch_that_only_fired_timers_is_told_by_its_number() {
        let part = PartitionEpoch {
            input: TopicPartition {
                topic: Arc::from("journey.timeline"),
                partition: 0,
            },
            offset: 7,
            metadata: marker(7, 4).metadata(),
            slot: 0,
            changelog: Vec::new(),
            rows: Vec::new(),
        };
        let judged = |epoch| outcome(&part, Some(Position { offset: 7, epoch }), Some(&marker(7, 3)));
        assert_eq!(judged(4), Outcome::CameThrough);
        assert_eq!(judged(3), Outcome::DidNot);
        assert_eq!(judged(5), Outcome::Neither, "somebody else went on");
        assert_eq!(outcome(&part, None, Some(&marker(7, 3))), Outcome::DidNot);
    }

    #[test]
    fn a_group_that_tells_the_past_is_not_believed_and_one_that_is_ahead_contradicts() {
        for state in [Statefulness::Keyed, Statefulness::None] {
            let judged = |told: Option<Committed>| goes_on(&marker(70, 9), told.as_ref(), state);
            assert_eq!(judged(Some(told(70, 9))), GoesOn::At(70));
            assert_eq!(judged(None), GoesOn::At(70), "its offsets have expired");
            assert_eq!(judged(Some(told(60, 8))), GoesOn::Past(70));
            assert_eq!(judged(Some(told(70, 8))), GoesOn::Past(70), "timers alone moved it");
            assert_eq!(judged(Some(told(0, 0))), GoesOn::Past(70));
            assert_eq!(judged(Some(told(80, 10))), GoesOn::Contradiction, "epochs are gone");
            assert_eq!(judged(Some(told(80, 8))), GoesOn::Contradiction);
            assert_eq!(judged(Some(told(60, 9))), GoesOn::Contradiction);
        }
    }

    #[test]
    fn before_the_first_epoch_the_group_decides_for_a_stage_without_state() {
        let nothing = Marker::default();
        let judged = |told: Committed, state| goes_on(&nothing, Some(&told), state);
        assert_eq!(goes_on(&nothing, None, Statefulness::None), GoesOn::Anew);
        assert_eq!(judged(told(5, 0), Statefulness::None), GoesOn::At(5), "ticks alone");
        assert_eq!(
            judged(told(5, 1), Statefulness::None),
            GoesOn::Contradiction,
            "no history"
        );
        assert_eq!(judged(told(5, 0), Statefulness::Keyed), GoesOn::Contradiction);
    }

    #[test]
    fn what_was_committed_without_an_epoch_counts_if_it_is_further() {
        let old = |offset| Committed {
            offset,
            metadata: String::new(),
        };
        let judged = |offset, state| goes_on(&marker(70, 9), Some(&old(offset)), state);
        assert_eq!(judged(80, Statefulness::None), GoesOn::At(80));
        assert_eq!(judged(60, Statefulness::None), GoesOn::Past(70));
        assert_eq!(judged(80, Statefulness::Keyed), GoesOn::Contradiction);
    }
}
