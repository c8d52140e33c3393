//! What became of an epoch whose commit was not answered, told by where its group stands.

use stream::{
    Committed, Marker, PartitionEpoch,
    mutant::{self, Mutant},
};

/// What a committed offset says of an epoch whose commit was not answered.
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

/// Judges an epoch by where its partition's group stands; `before` is the marker that it began behind. Offset and epoch number must
/// both agree: an epoch that only fired timers moves no offset.
#[must_use]
pub fn outcome(part: &PartitionEpoch, found: Option<&Committed>, before: Option<&Marker>) -> Outcome {
    let epoch = Marker::epoch_of(&part.metadata).unwrap_or_default();
    let is_new = found.is_some_and(|found| stands_at(part.offset, epoch, found));
    let is_old = match (found, before) {
        (None, _) => true,
        (Some(found), Some(before)) => stands_at(before.offset, before.epoch, found),
        (Some(_), None) => false,
    };
    match (is_new, is_old) {
        (true, true) => Outcome::Either,
        (true, false) => Outcome::CameThrough,
        (false, true) => Outcome::DidNot,
        (false, false) => Outcome::Neither,
    }
}

/// Whether a group stands behind that epoch, which ends at `offset`.
pub(super) fn stands_at(offset: i64, epoch: u64, found: &Committed) -> bool {
    let is_of_epoch = Marker::epoch_of(&found.metadata).unwrap_or_default() == epoch;
    found.offset == offset && (is_of_epoch || mutant::is_on(Mutant::EpochNotCompared))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stream::TopicPartition;

    use super::*;

    #[test]
    fn an_epoch_that_only_fired_timers_is_told_by_its_number() {
        let marker = |epoch| Marker {
            offset: 7,
            epoch,
            ..Marker::default()
        };
        let part = PartitionEpoch {
            input: TopicPartition {
                topic: Arc::from("journey.timeline"),
                partition: 0,
            },
            offset: 7,
            metadata: marker(4).metadata(),
            changelog: Vec::new(),
            rows: Vec::new(),
        };
        let judged = |epoch| {
            let found = Committed {
                offset: 7,
                metadata: marker(epoch).metadata(),
            };
            outcome(&part, Some(&found), Some(&marker(3)))
        };
        assert_eq!(judged(4), Outcome::CameThrough);
        assert_eq!(judged(3), Outcome::DidNot);
        assert_eq!(judged(5), Outcome::Neither, "somebody else went on");
        assert_eq!(outcome(&part, None, Some(&marker(3))), Outcome::DidNot);
    }
}
