//! What a producer has committed and has not yet seen to be visible.
//!
//! A coordinator of Kafka 4.3 or 4.4 that completes a transaction while a partition of it has no leader writes no marker there (KAFKA-20734).
//! What was committed stays open, and the next transaction of the same name that ends there decides over it too: an abort would take back what
//! was committed, and in some partitions only. So after every disturbance the producer looks whether all that it committed last is visible,
//! before anything of its name can be aborted, and closes what stands still with a commit (`docs/adr/0014-committed-is-seen-to-be-visible.md`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{Output, TopicPartition};

/// The key of a record that says nothing: it carries a transaction into a partition, so that its marker closes an earlier one of the same
/// producer there. It has no value; readers pass over it.
pub const FILLER: &[u8] = b"waymark.filler";

/// A record for this partition that is a [`FILLER`].
#[must_use]
pub fn filler(of: &TopicPartition) -> Output {
    Output {
        topic: Arc::clone(&of.topic),
        partition: Some(of.partition),
        timestamp: None,
        key: Some(FILLER.to_vec()),
        value: None,
        headers: Vec::new(),
    }
}

/// Whether a record is a [`FILLER`].
#[must_use]
pub fn is_filler(key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
    value.is_none() && key == Some(FILLER)
}

/// A client may notice a disturbance this long after it: what was committed since then is in doubt too. librdkafka counts once a second.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// What stands still after so many closings is not this producer's.
const CLOSINGS: u32 = 10;

/// What was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// All of it is visible.
    Visible,
    /// Not yet: look again.
    Wait,
    /// Here it stands behind a stable end that does not move: nobody is about to write a marker.
    Close(Vec<TopicPartition>),
    /// Here it has been closed again and again, and what holds the stable end is not ours: a transaction of a name that nobody has any more.
    Foreign(Vec<TopicPartition>),
}

/// Where a producer's last transactions wrote, as far as that was not seen to be visible.
#[derive(Debug, Default)]
pub struct Unconfirmed {
    /// The last offset in each partition, and when it was committed.
    written: BTreeMap<TopicPartition, (i64, Duration)>,
    /// The same of a transaction whose commit was asked for and whose outcome is not known.
    asked: BTreeMap<TopicPartition, i64>,
    is_in_doubt: bool,
    /// Stable ends that were seen to stand before what was written, and since when.
    standing: BTreeMap<TopicPartition, (i64, Duration)>,
    was_closed: bool,
    /// Where a closing may have left records of its own, as far as it is not known how far.
    unmeasured: BTreeSet<TopicPartition>,
    /// How often the present doubt was met by closing.
    closings: u32,
    /// Offsets of a commit that was in doubt may be pending still.
    owes_offsets: bool,
}

impl Unconfirmed {
    /// A commit is about to be asked for, of a transaction whose last record in each partition is this.
    pub fn asks(&mut self, last: BTreeMap<TopicPartition, i64>) {
        self.asked = last;
    }

    /// What was asked for was committed.
    pub fn committed(&mut self, now: Duration) {
        if !self.is_in_doubt {
            self.written
                .retain(|_, (_, at)| now.saturating_sub(*at) < NOTICED_WITHIN);
        }
        let asked = std::mem::take(&mut self.asked);
        self.written
            .extend(asked.into_iter().map(|(of, last)| (of, (last, now))));
    }

    /// What was asked for was not committed. An abort follows, which is dear if something was not noticed: what was committed before is in doubt.
    pub fn not_committed(&mut self) {
        self.asked.clear();
        self.doubt();
    }

    /// What was asked for, if its outcome was not told, was committed; with its markers or without.
    pub fn came_through(&mut self, now: Duration) {
        if self.is_unanswered() {
            self.committed(now);
            self.doubt();
        }
    }

    /// Whether a commit was asked for whose outcome nobody has told.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        !self.asked.is_empty()
    }

    /// There was a disturbance: markers may be missing.
    pub fn doubt(&mut self) {
        self.is_in_doubt |= !self.written.is_empty();
    }

    /// What was committed is over, with all its markers: the coordinator has taken records of another transaction, and nothing had broken.
    pub fn is_over(&mut self) {
        if !self.is_in_doubt {
            self.written.clear();
        }
    }

    /// Something stands open that a transaction which is known to be committed wrote: somewhere before the end, in each of these partitions.
    pub fn found_open(&mut self, ends: BTreeMap<TopicPartition, i64>, now: Duration) {
        for (of, end) in ends {
            self.unmeasured.remove(&of);
            let (last, _) = self.written.entry(of).or_insert((end - 1, now));
            *last = (*last).max(end - 1);
        }
        self.doubt();
    }

    /// Whether it is to be looked at before another transaction begins.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Whether the last transaction has not been seen to be over.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        !self.written.is_empty()
    }

    /// The partitions to look at.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.written.keys()
    }

    /// Judges by stable ends, those of them that answered: what has stood still for `still` everywhere is to be closed. An open transaction of
    /// somebody else that lasts longer makes one be closed in vain.
    pub fn look(&mut self, stable: &[(TopicPartition, i64)], now: Duration, still: Duration) -> Look {
        let mut stuck = Vec::new();
        for (of, stable) in stable {
            let Some((last, _)) = self.written.get(of) else {
                continue;
            };
            if stable > last {
                self.written.remove(of);
                self.standing.remove(of);
                continue;
            }
            let stands = self.standing.entry(of.clone()).or_insert((*stable, now));
            if stands.0 == *stable {
                stuck.push((of.clone(), stands.1));
            } else {
                *stands = (*stable, now);
            }
        }
        if self.written.is_empty() {
            self.settled();
            return Look::Visible;
        }
        let all_stand = stuck.len() == self.written.len();
        if all_stand && stuck.iter().all(|(_, since)| now.saturating_sub(*since) >= still) {
            let stuck = stuck.into_iter().map(|(of, _)| of).collect();
            if self.closings < CLOSINGS {
                return Look::Close(stuck);
            }
            self.written.clear();
            self.settled();
            return Look::Foreign(stuck);
        }
        Look::Wait
    }

    /// It is about to be closed where it stands. A closing can be completed without markers too, and what it has written there itself stands open
    /// then: whatever is there up to the end counts as written.
    pub fn closes(&mut self, partitions: &[TopicPartition]) {
        self.unmeasured.extend(partitions.iter().cloned());
    }

    /// Where a closing may have written behind what is known: as far as [`found_open`](Self::found_open) is told.
    #[must_use]
    pub fn unmeasured(&self) -> Vec<TopicPartition> {
        self.unmeasured.iter().cloned().collect()
    }

    /// It was closed where it stood: that is looked at in turn.
    pub fn closed(&mut self) {
        self.standing.clear();
        self.was_closed = true;
        self.closings += 1;
    }

    fn settled(&mut self) {
        self.standing.clear();
        self.is_in_doubt = false;
        self.closings = 0;
    }

    /// There was a doubt: offsets of what was committed may be pending still, too.
    pub fn owe_offsets(&mut self) {
        self.owes_offsets = true;
    }

    /// Whether committed offsets may be pending still.
    #[must_use]
    pub fn owes_offsets(&self) -> bool {
        self.owes_offsets
    }

    /// No committed offsets are pending.
    pub fn offsets_are_ended(&mut self) {
        self.owes_offsets = false;
    }

    /// Whether anything was closed since this was last asked.
    pub fn was_closed(&mut self) -> bool {
        std::mem::take(&mut self.was_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Duration = Duration::from_secs(2);

    fn of(topic: &str) -> TopicPartition {
        TopicPartition {
            topic: Arc::from(topic),
            partition: 0,
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn committed(last: &[(&str, i64)], now: Duration, what: &mut Unconfirmed) {
        what.asks(last.iter().map(|(topic, last)| (of(topic), *last)).collect());
        what.committed(now);
    }

    #[test]
    fn nothing_is_looked_at_without_a_disturbance() {
        let mut what = Unconfirmed::default();
        what.doubt();
        assert!(!what.is_in_doubt(), "nothing was written");
        committed(&[("a", 4)], secs(1), &mut what);
        assert!(what.is_owed() && !what.is_in_doubt());
        what.doubt();
        assert!(what.is_in_doubt());
    }

    #[test]
    fn what_is_visible_everywhere_is_done_with() {
        let mut what = Unconfirmed::default();
        committed(&[("a", 4), ("b", 9)], secs(1), &mut what);
        what.doubt();
        assert_eq!(what.look(&[(of("a"), 5), (of("b"), 9)], secs(2), STILL), Look::Wait);
        assert_eq!(what.look(&[(of("b"), 10)], secs(9), STILL), Look::Visible);
        assert!(!what.is_in_doubt() && !what.is_owed());
    }

    #[test]
    fn what_stands_still_is_closed_and_what_moves_or_does_not_answer_is_waited_for() {
        let mut what = Unconfirmed::default();
        committed(&[("a", 4), ("b", 9)], secs(1), &mut what);
        what.doubt();
        let both = |b| [(of("a"), 3), (of("b"), b)];
        assert_eq!(what.look(&both(7), secs(2), STILL), Look::Wait);
        assert_eq!(
            what.look(&both(8), secs(5), STILL),
            Look::Wait,
            "another's has moved on"
        );
        assert_eq!(
            what.look(&both(8)[..1], secs(9), STILL),
            Look::Wait,
            "one does not answer"
        );
        let closes = Look::Close(vec![of("a"), of("b")]);
        assert_eq!(what.look(&both(8), secs(9), STILL), closes);
        what.closed();
        assert!(what.was_closed() && what.is_in_doubt(), "until it is seen");
        assert_eq!(
            what.look(&both(8), secs(10), STILL),
            Look::Wait,
            "its markers take their time"
        );
        assert_eq!(
            what.look(&[(of("a"), 6), (of("b"), 12)], secs(10), STILL),
            Look::Visible
        );
        assert!(!what.is_in_doubt() && !what.was_closed());
    }

    #[test]
    fn a_disturbance_that_is_noticed_late_puts_earlier_commits_in_doubt_too() {
        let mut what = Unconfirmed::default();
        committed(&[("a", 4)], secs(1), &mut what);
        committed(&[("b", 9)], secs(2), &mut what);
        committed(&[("c", 1)], secs(4), &mut what);
        let asked: Vec<_> = what.partitions().cloned().collect();
        assert_eq!(asked, [of("b"), of("c")]);
    }

    #[test]
    fn what_nobody_closes_is_given_up_after_a_while() {
        let mut what = Unconfirmed::default();
        committed(&[("a", 4)], secs(1), &mut what);
        what.doubt();
        let stable = [(of("a"), 3)];
        for closing in 0..u64::from(CLOSINGS) {
            assert_eq!(what.look(&stable, secs(10 * closing), STILL), Look::Wait);
            let close = what.look(&stable, secs(10 * closing + 2), STILL);
            assert_eq!(close, Look::Close(vec![of("a")]));
            what.closed();
        }
        assert_eq!(what.look(&stable, secs(1000), STILL), Look::Wait);
        assert_eq!(what.look(&stable, secs(1002), STILL), Look::Foreign(vec![of("a")]));
        assert!(!what.is_in_doubt() && !what.is_owed());
    }

    #[test]
    fn what_the_coordinator_has_gone_on_behind_is_over_unless_it_is_in_doubt() {
        let mut what = Unconfirmed::default();
        committed(&[("a", 4)], secs(1), &mut what);
        what.is_over();
        assert!(!what.is_owed());
        committed(&[("a", 9)], secs(2), &mut what);
        what.doubt();
        what.is_over();
        committed(&[("b", 1)], secs(60), &mut what);
        let asked: Vec<_> = what.partitions().cloned().collect();
        assert_eq!(asked, [of("a"), of("b")], "however long ago");
    }

    #[test]
    fn an_unanswered_commit_counts_once_its_outcome_is_known() {
        let mut what = Unconfirmed::default();
        what.asks(BTreeMap::from([(of("a"), 4)]));
        assert!(what.is_unanswered() && !what.is_owed());
        what.not_committed();
        what.came_through(secs(1));
        assert!(!what.is_owed());
        what.asks(BTreeMap::from([(of("a"), 4)]));
        what.came_through(secs(1));
        assert!(what.is_owed() && what.is_in_doubt() && !what.is_unanswered());
        assert_eq!(what.look(&[(of("a"), 5)], secs(1), STILL), Look::Visible);
        what.found_open(BTreeMap::from([(of("a"), 5)]), secs(2));
        assert!(what.is_in_doubt());
        assert_eq!(what.look(&[(of("a"), 5)], secs(2), STILL), Look::Visible);
    }
}
