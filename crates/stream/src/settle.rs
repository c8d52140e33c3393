//! What is left of the transactions of one name is settled: what was committed becomes visible, what was not never does.
//!
//! A coordinator of Kafka 4.3 or 4.4 may end a transaction without a marker in a partition (KAFKA-20734): what was written there stays open, and
//! so may offsets of a group. The next transaction of that name that ends there decides over both. So the order counts in which they are ended, and
//! it stands here once, for every client that a worker may have (`docs/adr/0014-committed-is-seen-to-be-visible.md`).

use std::{collections::BTreeMap, time::Duration};

use crate::{
    LogError, Look, TopicPartition, Unconfirmed,
    mutant::{self, Mutant},
};

/// Markers of a transaction are mostly there within some milliseconds: this long they are waited for in one call.
const MARKERS: Duration = Duration::from_secs(1);
/// Those of an abort are waited for this long: a client may notice a second later that a connection has broken.
const ABORTED: Duration = Duration::from_secs(2);

/// Partitions with the stable end that they stand at, and the end at the first look: whatever stood open then lies before that.
pub type Stuck = BTreeMap<TopicPartition, (i64, i64)>;

/// How the last transactions of a name were decided, as its coordinator has written it down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// The last that wrote to a partition: whether it was committed.
    pub by_partition: BTreeMap<TopicPartition, bool>,
    /// The last of which it cannot be read any more where it wrote.
    pub elsewhere: Option<bool>,
    /// The last of all.
    pub last: Option<bool>,
}

impl Outcomes {
    /// Whether what the name left open in a partition was committed.
    #[must_use]
    pub fn is_committed(&self, of: &TopicPartition) -> bool {
        self.by_partition.get(of).copied().or(self.elsewhere).unwrap_or(false)
    }

    /// Whether the last transaction of the name was aborted.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.last == Some(false)
    }
}

/// What a client sees and does of the transactions of its name. Nothing of it is called while a transaction is open.
pub trait Settle {
    /// What was committed and has not been seen to be visible.
    fn unconfirmed(&mut self) -> &mut Unconfirmed;

    /// Puts what was committed last in doubt if something has broken since this was last asked; true if so.
    fn notice(&mut self) -> bool;

    /// A time that only goes on.
    fn now(&self) -> Duration;

    /// Waits a little, between two looks.
    fn wait(&mut self);

    /// A stable end that has not moved for so long stands still.
    fn still(&self) -> Duration;

    /// Stable ends of those of these partitions that answer.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if none does.
    fn stable_ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError>;

    /// Where those of these partitions end that answer, committed or not.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if none does.
    fn ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError>;

    /// Closes what was committed and stands open in partitions, by another commit of the name.
    ///
    /// # Errors
    /// [`LogError`] if it was not closed, or nobody knows.
    fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Takes the name anew, behind a commit that closed something.
    ///
    /// # Errors
    /// As `Log::recycle`.
    fn renew(&mut self) -> Result<(), LogError>;

    /// These partitions are held open by a transaction of another name, which nobody ends: for the operator.
    fn report_foreign(&self, partitions: &[TopicPartition]);

    /// These partitions are held open still behind an abort, by another name's transaction, which may take its time.
    fn report_held(&self, partitions: &[TopicPartition]);

    /// Looks whether committed offsets are pending without their marker, and ends them by another commit if they are.
    ///
    /// # Errors
    /// [`LogError`] if they were not ended, or nobody knows.
    fn end_offsets(&mut self) -> Result<(), LogError>;

    /// Outputs that stand open, though nobody has a transaction under way there.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if a partition does not answer.
    fn stuck(&mut self) -> Result<Stuck, LogError>;

    /// How the last transactions of the name were decided.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if that cannot be read now.
    fn outcomes(&mut self) -> Result<Outcomes, LogError>;

    /// Aborts a transaction that touches partitions and the group's offsets: its markers end what earlier ones of the name left open there. False if
    /// a copy of its requests may still be on its way.
    ///
    /// # Errors
    /// [`LogError`] if it was not ended, or nobody knows.
    fn abort_in(&mut self, partitions: &[TopicPartition]) -> Result<bool, LogError>;
}

/// Sees to it that what is known to be committed is visible, where there is a doubt of that.
///
/// # Errors
/// [`LogError::Retriable`] while it is neither visible nor known to stand still, and as [`Settle::close`].
pub fn see_visible(name: &mut impl Settle) -> Result<(), LogError> {
    name.notice();
    if !name.unconfirmed().is_in_doubt() || mutant::is_on(Mutant::MarkersTrusted) {
        return Ok(());
    }
    name.unconfirmed().owe_offsets();
    let begun = name.now();
    loop {
        let unmeasured = name.unconfirmed().unmeasured();
        if !unmeasured.is_empty() {
            let ends = ends_of_all(name, &unmeasured)?;
            let now = name.now();
            name.unconfirmed().found_open(ends, now);
        }
        let of: Vec<TopicPartition> = name.unconfirmed().partitions().cloned().collect();
        let stable = name.stable_ends(&of)?;
        let (now, still) = (name.now(), name.still());
        match name.unconfirmed().look(&stable, now, still) {
            Look::Visible => return Ok(()),
            Look::Wait if now.saturating_sub(begun) < MARKERS => name.wait(),
            Look::Wait => {
                return Err(LogError::Retriable(
                    "what was committed is not visible everywhere yet".to_owned(),
                ));
            }
            Look::Close(partitions) => {
                name.unconfirmed().closes(&partitions);
                name.close(&partitions)?;
                name.unconfirmed().closed();
                name.renew()?;
            }
            Look::Foreign(partitions) => {
                name.report_foreign(&partitions);
                return Ok(());
            }
        }
    }
}

/// Where each of these partitions ends.
fn ends_of_all(name: &mut impl Settle, of: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    let ends: BTreeMap<TopicPartition, i64> = name.ends(of)?.into_iter().collect();
    if ends.len() < of.len() {
        return Err(LogError::Retriable("not every partition says where it ends".to_owned()));
    }
    Ok(ends)
}

/// The last transaction is known to have been committed: it is seen to be visible, with its offsets. True if something had to be closed.
///
/// # Errors
/// As [`see_visible`], and [`Settle::end_offsets`].
pub fn confirm(name: &mut impl Settle) -> Result<bool, LogError> {
    let now = name.now();
    name.unconfirmed().came_through(now);
    see_visible(name)?;
    end_offsets(name)?;
    Ok(name.unconfirmed().was_closed())
}

/// The last transaction is known not to have been committed: nothing of it will ever be visible.
///
/// # Errors
/// As [`confirm`], and [`Settle::abort_in`].
pub fn discard(name: &mut impl Settle) -> Result<(), LogError> {
    if mutant::is_on(Mutant::LeftoversKept) {
        return Ok(());
    }
    name.unconfirmed().not_committed();
    see_visible(name)?;
    end_offsets(name)?;
    // Also where nothing is seen: a late copy of earlier offsets would be published by the next commit, were its name's producer not a
    // newer one by then.
    let stuck = name.stuck()?;
    drop_in(name, stuck.into_keys())
}

/// Nobody knows how the last transaction ended: what stands open is ended as its coordinator decided.
///
/// # Errors
/// As [`discard`], and [`Settle::outcomes`].
pub fn resolve(name: &mut impl Settle) -> Result<(), LogError> {
    if mutant::is_on(Mutant::LeftoversKept) {
        return Ok(());
    }
    see_visible(name)?;
    let stuck = name.stuck()?;
    let is_left = !stuck.is_empty() || name.unconfirmed().owes_offsets();
    let decided = if is_left && !mutant::is_on(Mutant::OutcomeGuessed) {
        name.outcomes()?
    } else {
        Outcomes::default()
    };
    let (committed, others): (Stuck, Stuck) = stuck.into_iter().partition(|(of, _)| decided.is_committed(of));
    let others = others.into_keys();
    if decided.is_aborted() {
        // Offsets that are pending are that one's, and a commit would publish them.
        drop_in(name, others)?;
        show(name, committed)
    } else {
        show(name, committed)?;
        drop_in(name, others)
    }
}

/// Ends by a commit what was committed and stands open, and offsets.
fn show(name: &mut impl Settle, committed: Stuck) -> Result<(), LogError> {
    if !committed.is_empty() {
        let now = name.now();
        let ends = committed.into_iter().map(|(of, (_, end))| (of, end)).collect();
        name.unconfirmed().found_open(ends, now);
        see_visible(name)?;
    }
    end_offsets(name)
}

/// Drops what the name left open in partitions, and its pending offsets.
fn drop_in(name: &mut impl Settle, partitions: impl Iterator<Item = TopicPartition>) -> Result<(), LogError> {
    let partitions: Vec<TopicPartition> = partitions.collect();
    name.notice();
    let is_alone = name.abort_in(&partitions)?;
    let dropped = see_dropped(name, &partitions);
    if !is_alone {
        // A copy of these offsets that is still on its way must not meet the next transaction.
        name.renew()?;
    }
    dropped
}

/// A coordinator answers before the markers of an abort are written, and could lose those too: then what stands open is still to be dropped.
fn see_dropped(name: &mut impl Settle, partitions: &[TopicPartition]) -> Result<(), LogError> {
    if partitions.is_empty() {
        return Ok(());
    }
    let ends = ends_of_all(name, partitions)?;
    let begun = name.now();
    loop {
        let stable: BTreeMap<TopicPartition, i64> = name.stable_ends(partitions)?.into_iter().collect();
        let is_open = |of: &&TopicPartition| stable.get(*of).is_none_or(|stable| *stable < ends[*of]);
        let open: Vec<TopicPartition> = partitions.iter().filter(is_open).cloned().collect();
        if open.is_empty() {
            return Ok(());
        }
        if name.now().saturating_sub(begun) < ABORTED {
            name.wait();
            continue;
        }
        if name.notice() && !mutant::is_on(Mutant::AbortsTrusted) {
            return Err(LogError::Retriable(
                "what was aborted stands open, its markers may be lost".to_owned(),
            ));
        }
        name.report_held(&open);
        return Ok(());
    }
}

fn end_offsets(name: &mut impl Settle) -> Result<(), LogError> {
    if name.unconfirmed().owes_offsets() {
        name.end_offsets()?;
        name.unconfirmed().offsets_are_ended();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A name that writes down what is done in it. What is closed or aborted is settled at once.
    #[derive(Default)]
    struct Name {
        unconfirmed: Unconfirmed,
        now: Duration,
        still: Duration,
        stuck: Stuck,
        outcomes: Outcomes,
        /// Where a transaction stays open that no closing of this name ends.
        foreign: bool,
        /// So many of its next transactions get no markers; a connection breaks with each.
        unmarked: usize,
        has_broken: bool,
        steps: Vec<String>,
    }

    impl Name {
        fn stands(&mut self, topic: &str, was: Option<bool>) {
            self.stuck.insert(of(topic), (5, 9));
            self.outcomes.by_partition.extend(was.map(|was| (of(topic), was)));
        }

        /// A transaction of the name ends in these partitions, behind a record that says nothing.
        fn ends_in(&mut self, partitions: &[TopicPartition]) {
            if self.unmarked > 0 {
                self.unmarked -= 1;
                self.has_broken = true;
                for of in partitions {
                    // Whoever else stood there has come to an end.
                    let end = self.stuck.get(of).map_or(9, |(_, end)| *end);
                    self.stuck.insert(of.clone(), (end, end + 1));
                }
            } else if !self.foreign {
                self.stuck.retain(|of, _| !partitions.contains(of));
            }
        }

        fn step(&mut self, what: &str, partitions: &[TopicPartition]) {
            let topics: Vec<&str> = partitions.iter().map(|of| of.topic.as_ref()).collect();
            let step = format!("{what} {}", topics.join(" "));
            self.steps.push(step.trim_end().to_owned());
        }
    }

    impl Settle for Name {
        fn unconfirmed(&mut self) -> &mut Unconfirmed {
            &mut self.unconfirmed
        }

        fn notice(&mut self) -> bool {
            std::mem::take(&mut self.has_broken)
        }

        fn now(&self) -> Duration {
            self.now
        }

        fn wait(&mut self) {
            self.now += Duration::from_millis(10);
        }

        fn still(&self) -> Duration {
            self.still
        }

        fn stable_ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError> {
            let end = |of: &TopicPartition| self.stuck.get(of).map_or(i64::MAX, |(stable, _)| *stable);
            Ok(of.iter().map(|of| (of.clone(), end(of))).collect())
        }

        fn ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError> {
            let end = |of: &TopicPartition| self.stuck.get(of).map_or(0, |(_, end)| *end);
            Ok(of.iter().map(|of| (of.clone(), end(of))).collect())
        }

        fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
            self.step("close", partitions);
            self.ends_in(partitions);
            Ok(())
        }

        fn renew(&mut self) -> Result<(), LogError> {
            self.step("renew", &[]);
            Ok(())
        }

        fn report_foreign(&self, partitions: &[TopicPartition]) {
            assert!(self.foreign, "{partitions:?}");
        }

        fn report_held(&self, partitions: &[TopicPartition]) {
            assert!(self.foreign, "{partitions:?}");
        }

        fn end_offsets(&mut self) -> Result<(), LogError> {
            self.step("offsets", &[]);
            Ok(())
        }

        fn stuck(&mut self) -> Result<Stuck, LogError> {
            Ok(self.stuck.clone())
        }

        fn outcomes(&mut self) -> Result<Outcomes, LogError> {
            self.step("outcomes", &[]);
            Ok(self.outcomes.clone())
        }

        fn abort_in(&mut self, partitions: &[TopicPartition]) -> Result<bool, LogError> {
            self.step("abort", partitions);
            self.ends_in(partitions);
            Ok(true)
        }
    }

    fn of(topic: &str) -> TopicPartition {
        TopicPartition {
            topic: Arc::from(topic),
            partition: 0,
        }
    }

    /// It has committed something in a partition, as far as it knows.
    fn committed(topic: &str) -> Name {
        let mut name = Name::default();
        name.unconfirmed.asks(BTreeMap::from([(of(topic), 8)]));
        name.unconfirmed.committed(name.now);
        name
    }

    #[test]
    fn a_name_in_calm_asks_nobody_whether_its_commit_is_visible() {
        let mut name = committed("a");
        assert_eq!(confirm(&mut name), Ok(false));
        assert!(name.steps.is_empty(), "{:?}", name.steps);
    }

    #[test]
    fn a_commit_that_was_not_answered_is_closed_where_it_stands_still() {
        let mut name = Name::default();
        name.unconfirmed.asks(BTreeMap::from([(of("a"), 8), (of("b"), 3)]));
        name.stands("a", None);
        assert_eq!(confirm(&mut name), Ok(true));
        assert_eq!(name.steps, ["close a", "renew", "offsets"]);
        assert_eq!(confirm(&mut name), Ok(false), "it is settled");
        assert_eq!(name.steps.len(), 3);
    }

    #[test]
    fn what_is_not_visible_yet_is_waited_for_in_more_than_one_call() {
        let mut name = Name {
            still: Duration::from_secs(60),
            ..Name::default()
        };
        name.unconfirmed.asks(BTreeMap::from([(of("a"), 8)]));
        name.stands("a", None);
        assert!(matches!(confirm(&mut name), Err(LogError::Retriable(_))));
        assert!(name.now >= MARKERS && name.steps.is_empty(), "{:?}", name.steps);
        name.stuck.clear();
        assert_eq!(confirm(&mut name), Ok(false));
        assert_eq!(name.steps, ["offsets"]);
    }

    #[test]
    fn a_closing_that_loses_its_own_markers_is_closed_in_turn() {
        let mut name = committed("a");
        name.unconfirmed.doubt();
        name.stands("a", None);
        name.unmarked = 1;
        while let Err(error) = see_visible(&mut name) {
            assert!(matches!(error, LogError::Retriable(_)), "{error}");
        }
        assert_eq!(name.steps, ["close a", "renew", "close a", "renew"]);
        assert!(name.stuck.is_empty(), "{:?}", name.stuck);
    }

    #[test]
    fn an_abort_that_loses_its_own_markers_is_done_again() {
        let mut name = Name::default();
        name.stands("a", None);
        name.unmarked = 1;
        assert!(matches!(discard(&mut name), Err(LogError::Retriable(_))));
        assert_eq!(discard(&mut name), Ok(()));
        assert_eq!(name.steps, ["abort a", "abort a"]);
        assert!(name.stuck.is_empty(), "{:?}", name.stuck);
    }

    #[test]
    fn an_abort_is_not_repeated_where_another_name_holds_the_partition() {
        let mut name = Name {
            foreign: true,
            ..Name::default()
        };
        name.stands("a", None);
        assert_eq!(discard(&mut name), Ok(()));
        assert_eq!(name.steps, ["abort a"]);
        assert!(name.now >= ABORTED);
    }

    #[test]
    fn what_another_name_holds_open_is_given_up() {
        let mut name = committed("a");
        name.foreign = true;
        name.stands("a", None);
        name.unconfirmed.doubt();
        while name.unconfirmed.is_in_doubt() {
            if let Err(error) = confirm(&mut name) {
                assert!(matches!(error, LogError::Retriable(_)), "{error}");
            }
        }
        assert!(name.steps.iter().filter(|step| *step == "close a").count() > 1);
    }

    #[test]
    fn what_was_not_committed_is_aborted_behind_what_was_committed_before() {
        let mut name = committed("a");
        name.unconfirmed.asks(BTreeMap::from([(of("b"), 8)]));
        name.stands("a", None);
        name.stands("b", None);
        assert_eq!(discard(&mut name), Ok(()));
        assert_eq!(name.steps, ["close a", "renew", "offsets", "abort b"]);
    }

    #[test]
    fn offsets_are_aborted_also_where_nothing_stands_open() {
        let mut name = Name::default();
        assert_eq!(discard(&mut name), Ok(()));
        assert_eq!(resolve(&mut name), Ok(()));
        assert_eq!(name.steps, ["abort", "abort"]);
    }

    #[test]
    fn what_nobody_knows_of_is_ended_as_its_coordinator_decided() {
        let mut name = Name::default();
        name.stands("a", Some(true));
        name.stands("b", Some(false));
        name.stands("c", None);
        name.outcomes.last = Some(true);
        assert_eq!(resolve(&mut name), Ok(()));
        assert_eq!(name.steps, ["outcomes", "close a", "renew", "offsets", "abort b c"]);
    }

    #[test]
    fn pending_offsets_of_an_aborted_transaction_are_dropped_before_anything_is_committed() {
        let mut name = Name::default();
        name.stands("a", Some(true));
        name.stands("b", Some(false));
        name.outcomes.last = Some(false);
        assert_eq!(resolve(&mut name), Ok(()));
        assert_eq!(name.steps, ["outcomes", "abort b", "close a", "renew", "offsets"]);
    }

    #[test]
    fn an_outcome_that_cannot_be_read_any_more_where_it_wrote_counts_everywhere() {
        let outcomes = Outcomes {
            by_partition: BTreeMap::from([(of("a"), false)]),
            elsewhere: Some(true),
            last: Some(true),
        };
        assert!(outcomes.is_committed(&of("b")) && !outcomes.is_committed(&of("a")));
        assert!(!outcomes.is_aborted() && !Outcomes::default().is_aborted());
        assert!(!Outcomes::default().is_committed(&of("a")));
    }
}
