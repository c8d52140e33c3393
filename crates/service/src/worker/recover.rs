//! What a worker does when a log does not answer, and when a transaction did not simply succeed.

use std::{sync::atomic::Ordering, time::Duration};

use stream::{
    Commit, CommitReport, Committed, Log, LogError, PartitionEpoch, Stage, Task, TopicPartition,
    mutant::{self, Mutant},
};

use super::{
    Hooks, Observation, Stop, Worker,
    outcome::{Outcome, outcome, stands_at},
};

/// Committed offsets that are told so soon after something was written are told by the coordinator that took it: to begin, and to be
/// found, another takes longer.
const PROMPT: Duration = Duration::from_millis(100);
/// How long offsets of a transaction that has ended may stay pending.
const PENDING: Duration = Duration::from_secs(10);
/// How long a passing error may last before the worker gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The same once the worker was told to stop: what is not committed by then is dropped, and its input read again by the next.
const STOPPING: Duration = Duration::from_secs(5);
/// How long to wait before asking a log again that gave a passing error.
pub(super) const AGAIN: Duration = Duration::from_millis(200);
/// How often committed offsets are compared with what they should be.
const COMPARE: Duration = Duration::from_secs(1);
/// Committed offsets that differ a second time within this are not an accident.
const DIFFERED_WITHIN: Duration = Duration::from_secs(3600);

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// Repeats a call while its error is a passing one.
    pub(super) fn patiently<T>(
        &mut self,
        what: &str,
        mut call: impl FnMut(&mut L) -> Result<T, LogError>,
    ) -> Result<T, Stop> {
        let begun = self.now();
        loop {
            match call(&mut self.log) {
                Ok(value) => return Ok(value),
                Err(error) => self.wait_out(what, begun, error)?,
            }
        }
    }

    /// Tells of a passing error, and waits a moment. Any other error, and one that has lasted too long, ends the worker.
    fn wait_out(&mut self, what: &str, begun: Duration, error: LogError) -> Result<(), Stop> {
        match error {
            LogError::Retriable(message) if self.is_patient(begun)? => {
                tracing::warn!(error = message, what, "log did not answer, trying again");
                self.hooks.observe(&Observation::Turned);
                self.config.clock.sleep(AGAIN);
                Ok(())
            }
            LogError::Fenced(message) => Err(Stop::Fenced(message)),
            error => Err(Stop::Failed(format!("{what}: {error}"))),
        }
    }

    /// Whether one who has waited since then may wait on.
    pub(super) fn is_patient(&mut self, begun: Duration) -> Result<bool, Stop> {
        let now = self.now();
        if self.stop.load(Ordering::Relaxed) {
            let told = *self.told_to_stop.get_or_insert(now);
            if now.saturating_sub(told) >= STOPPING {
                return Err(Stop::Asked);
            }
        }
        Ok(now.saturating_sub(begun) < PATIENCE)
    }

    /// Drops the open epoch and reads its input again.
    pub(super) fn abort(&mut self, why: &str) -> Result<(), Stop> {
        if self.is_open() {
            tracing::warn!(why, "epoch aborted");
        }
        if self.begun.take().is_some() {
            self.stretch.aborted();
            // A copy of what ended this transaction may still be on its way.
            self.suspect = Some("abort");
            self.leftovers = true;
            match self.log.abort() {
                Ok(()) => {}
                Err(LogError::Fenced(message)) => {
                    self.was_fenced(message)?;
                    self.recycle("fenced")?;
                }
                Err(error) => {
                    tracing::warn!(%error, "abort failed, replacing the producer");
                    self.recycle("abort")?;
                }
            }
        }
        self.hooks.observe(&Observation::Aborted);
        self.rewind()
    }

    /// Before a transaction begins behind one that was not committed: a broker may say that it has aborted it and leave records of it
    /// open, which the next commit of the same name would publish (Kafka 4.3 does, KAFKA-20734, where no replica of a partition is
    /// left while the coordinator starts).
    pub(super) fn discard(&mut self) -> Result<(), Stop> {
        let begun = self.now();
        while self.leftovers {
            self.leftovers = !self.drops(begun, L::discard)?;
        }
        Ok(())
    }

    /// Has the group's coordinator take something, which one that is only starting does not.
    fn fence(&mut self) -> Result<(), Stop> {
        let begun = self.now();
        while !self.drops(begun, L::fence)? {}
        self.leftovers = false;
        Ok(())
    }

    /// Whether a transaction that is given up went through; if not, a moment was waited, or the producer replaced.
    fn drops(&mut self, begun: Duration, call: impl Fn(&mut L) -> Result<(), LogError>) -> Result<bool, Stop> {
        match call(&mut self.log) {
            Ok(()) => return Ok(true),
            Err(LogError::Fenced(message)) => {
                self.was_fenced(message)?;
                self.recycle("fenced")?;
            }
            Err(error @ (LogError::Retriable(_) | LogError::Fatal(_))) => {
                self.wait_out("what a transaction left", begun, error)?;
            }
            Err(error) => {
                tracing::warn!(%error, "what a transaction left could not be dropped, replacing the producer");
                self.recycle("abort")?;
            }
        }
        Ok(false)
    }

    fn rewind(&mut self) -> Result<(), Stop> {
        self.hooks.observe(&Observation::Dropped);
        self.ended = self.now();
        self.written.clear();
        self.dead.clear();
        self.outputs.clear();
        // What was read before stands behind the place where reading goes on.
        self.rewound = true;
        self.later.records.clear();
        self.later.ends.clear();
        let mut positions = Vec::new();
        for (partition, task) in &mut self.tasks {
            positions.push((partition.clone(), task.aborted()));
        }
        for (partition, offset) in positions {
            self.hooks.dropped(&partition);
            self.hooks.begins(&partition, offset);
            self.patiently("seeking", |log| log.resume(&partition, offset))?;
        }
        Ok(())
    }

    /// Replaces the producer, however long its coordinator is away.
    pub(super) fn recycle(&mut self, cause: &'static str) -> Result<(), Stop> {
        self.begun = None;
        self.hooks.observe(&Observation::Recycled(cause));
        loop {
            let now = self.now();
            self.is_patient(now)?;
            self.hooks.observe(&Observation::Turned);
            match self.log.recycle() {
                Ok(()) => break,
                Err(LogError::Fenced(message)) => self.was_fenced(message)?,
                Err(LogError::Fatal(message)) => return Err(Stop::Failed(message)),
                Err(error) => tracing::warn!(%error, "no new producer yet, trying again"),
            }
            self.config.clock.sleep(AGAIN);
        }
        self.suspect = None;
        Ok(())
    }

    /// The outcome of a commit is unknown: a new producer settles it, then positions say what it was.
    pub(super) fn unknown(&mut self, epoch: &Commit, why: &str) -> Result<(), Stop> {
        tracing::warn!(why, "outcome of the transaction is unknown, comparing positions");
        self.hooks.observe(&Observation::Unknown);
        self.recycle("unknown")?;
        if mutant::is_on(Mutant::UnknownIsAborted) {
            return self.rewind();
        }
        if mutant::is_on(Mutant::UnknownIsCommitted) {
            return self.came_through(epoch.partitions.clone());
        }
        let begun = self.now();
        loop {
            self.listen()?;
            // What a partition that was lost meanwhile says is another's doing, and decides nothing here.
            let kept: Vec<&PartitionEpoch> = epoch
                .partitions
                .iter()
                .filter(|part| !self.is_lost(&part.input))
                .collect();
            let asked: Vec<TopicPartition> = kept.iter().map(|part| part.input.clone()).collect();
            let found = if asked.is_empty() {
                Vec::new()
            } else {
                self.stable_offsets(&asked)?;
                self.fresh_offsets(&asked)?
            };
            let outcomes: Vec<Outcome> = kept
                .iter()
                .zip(&found)
                .map(|(part, found)| outcome(part, found.as_ref(), self.tasks.get(&part.input).map(Task::marker)))
                .collect();
            if outcomes.contains(&Outcome::Neither) {
                let contradiction = "committed offset is neither the epoch's nor the one before";
                let membership = self.log.membership();
                self.listen()?;
                let all_stand = asked.iter().all(|partition| !self.is_lost(partition));
                match membership {
                    Ok(_) if all_stand => return Err(Stop::Halted(contradiction.to_owned())),
                    Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
                    _ if self.is_patient(begun)? => self.config.clock.sleep(AGAIN),
                    _ => {
                        return Err(Stop::Failed(format!("{contradiction}, and the group does not answer")));
                    }
                }
                continue;
            }
            let came_through = outcomes.contains(&Outcome::CameThrough);
            if came_through && outcomes.contains(&Outcome::DidNot) {
                return Err(Stop::Halted("a transaction was published in part".to_owned()));
            }
            if !came_through {
                self.leftovers = true;
                return self.rewind();
            }
            let kept = kept.into_iter().cloned().collect();
            return self.came_through(kept);
        }
    }

    /// Where the group stands, told by a coordinator that is not just starting: one that still reads its log answers with offsets of the
    /// past (seen with Kafka 4.3.1). So something is written to it first, offsets in a transaction that is given up. An open transaction
    /// is ended before. What this does not help against is in `docs/GUARANTEES.md`.
    pub(super) fn fresh_offsets(&mut self, asked: &[TopicPartition]) -> Result<Vec<Option<Committed>>, Stop> {
        if self.begun.is_some() {
            self.commit()?;
        }
        let mut before = None;
        loop {
            let begun = self.now();
            if mutant::is_on(Mutant::OffsetsBelieved) {
                return self.patiently("committed offsets", |log| log.committed(asked));
            }
            self.fence()?;
            let found = self.patiently("committed offsets", |log| log.committed(asked))?;
            tracing::debug!(?found, took = ?self.now().saturating_sub(begun), "committed offsets told");
            // After so short a time it is the same coordinator. Else the one after must say the same: two that are started in between are
            // no accident any more.
            if self.now().saturating_sub(begun) < PROMPT || before.as_ref() == Some(&found) {
                return Ok(found);
            }
            before = Some(found);
        }
    }

    /// Where the group stands behind a transaction that has ended. While its offsets stay pending all the same, nothing of it was
    /// marked, and it is dropped.
    fn stable_offsets(&mut self, asked: &[TopicPartition]) -> Result<Vec<Option<Committed>>, Stop> {
        let begun = self.now();
        let mut is_dropped = false;
        loop {
            let error = match self.log.committed(asked) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if !is_dropped && self.now().saturating_sub(begun) >= PENDING && matches!(error, LogError::Retriable(_)) {
                is_dropped = true;
                self.leftovers = true;
                self.discard()?;
            }
            self.wait_out("committed offsets", begun, error)?;
        }
    }

    fn came_through(&mut self, partitions: Vec<PartitionEpoch>) -> Result<(), Stop> {
        let mut report = CommitReport::default();
        for part in &partitions {
            let next = match (self.config.changelog_topic.clone(), part.changelog.is_empty()) {
                (Some(topic), false) => {
                    let changelog = TopicPartition {
                        topic,
                        partition: part.input.partition,
                    };
                    // This worker alone writes it, so its end lies behind the epoch's last part.
                    let bounds = self.patiently("offsets of the changelog", |log| log.bounds(&changelog))?;
                    Some(bounds.end)
                }
                _ => None,
            };
            report.changelog_next.push(next);
        }
        self.apply(Commit { partitions }, &report, Duration::ZERO, Duration::ZERO)
    }

    /// Once a second, before a commit: the group must say of every partition what this worker committed last. librdkafka has
    /// been seen to report a commit that was none (its issue 4697). False if it does not: the epoch is dropped then, and the
    /// partitions are opened anew.
    pub(super) fn offsets_stand(&mut self) -> Result<bool, Stop> {
        let now = self.now();
        if now.saturating_sub(self.compared) < COMPARE {
            return Ok(true);
        }
        let asked: Vec<TopicPartition> = self.tasks.keys().cloned().collect();
        let found = match self.log.committed(&asked) {
            Ok(found) => found,
            Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
            Err(LogError::Fatal(message)) => return Err(Stop::Failed(message)),
            // It is asked again before the next commit.
            Err(_) => return Ok(true),
        };
        self.compared = now;
        let differing: Vec<TopicPartition> = asked
            .into_iter()
            .zip(&found)
            .filter(|(partition, found)| !self.stands(partition, found.as_ref()))
            .map(|(partition, _)| partition)
            .collect();
        if differing.is_empty() {
            return Ok(true);
        }
        let is_member = self.log.membership().is_ok();
        self.listen()?;
        self.abort("committed offsets are not those of the last epoch")?;
        if !is_member || differing.iter().any(|partition| self.is_lost(partition)) {
            return Ok(false);
        }
        let found = self.fresh_offsets(&differing)?;
        if differing
            .iter()
            .zip(&found)
            .all(|(partition, found)| self.stands(partition, found.as_ref()))
        {
            return Ok(false);
        }
        if self
            .differed
            .is_some_and(|before| now.saturating_sub(before) < DIFFERED_WITHIN)
        {
            return Err(Stop::Halted(
                "committed offsets differ from what was committed, again".to_owned(),
            ));
        }
        self.differed = Some(now);
        tracing::error!(
            partitions = differing.len(),
            "a commit that was reported did not happen, opening partitions anew"
        );
        self.recycle("unknown")?;
        for partition in &differing {
            self.patiently("pausing", |log| log.pause(partition))?;
            // Not flushed: what it holds was never committed.
            self.tasks.remove(partition);
        }
        self.assign(&differing)?;
        Ok(false)
    }

    /// Whether the group says of a partition what this worker committed last.
    fn stands(&self, partition: &TopicPartition, found: Option<&Committed>) -> bool {
        let marker = self.tasks.get(partition).map(Task::marker);
        marker
            .zip(found)
            .is_none_or(|(marker, found)| stands_at(marker.offset, marker.epoch, found))
    }
}
