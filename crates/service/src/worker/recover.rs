//! What a worker does when a log does not answer, and when a transaction did not simply succeed.

use std::{sync::atomic::Ordering, time::Duration};

use stream::{
    Commit, CommitReport, Log, LogError, PartitionEpoch, Stage, Task, TopicPartition,
    mutant::{self, Mutant},
};

use super::{
    Hooks, Observation, Stop, Worker,
    newest::{Found, Seen},
    outcome::{Outcome, Position, outcome},
};

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
    pub(super) fn wait_out(&mut self, what: &str, begun: Duration, error: LogError) -> Result<(), Stop> {
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

    /// Between transactions: what the last one may have left is gone then, and what it committed is visible.
    pub(super) fn tidy(&mut self) -> Result<(), Stop> {
        if self.begun.is_some() {
            return Ok(());
        }
        if self.leftovers {
            return self.clean_up();
        }
        self.confirm()
    }

    /// Before a transaction begins: what the one before may have left is gone then, or what it committed is visible.
    pub(super) fn clean_up(&mut self) -> Result<(), Stop> {
        if let Some(cause) = self.suspect {
            self.recycle(cause)?;
        }
        if self.leftovers { self.discard() } else { self.confirm() }
    }

    /// Behind a transaction that was not committed: a broker may say that it has aborted it and leave records of it
    /// open, which the next commit of the same name would publish (Kafka 4.3 does, KAFKA-20734, where no replica of a partition is
    /// left while the coordinator starts).
    fn discard(&mut self) -> Result<(), Stop> {
        self.ends.clear();
        self.persistently("what a transaction left", L::discard)?;
        self.leftovers = false;
        Ok(())
    }

    /// Behind a transaction that was committed: a broker may say so and leave records of it open, which the next abort of the same name
    /// would take back.
    fn confirm(&mut self) -> Result<(), Stop> {
        if self.persistently("what was committed", L::confirm)? {
            self.hooks.observe(&Observation::Closed);
            // The changelog goes on behind what closed it.
            self.ends.clear();
        }
        Ok(())
    }

    /// Behind a transaction of which that is not known: what stands open of it is ended as its coordinator has decided.
    pub(super) fn resolve(&mut self) -> Result<(), Stop> {
        self.ends.clear();
        self.persistently("how the last transaction ended", L::resolve)
    }

    /// Repeats a call between transactions, with a new producer where the one there is of no more use, however long brokers are away.
    fn persistently<T>(&mut self, what: &str, mut call: impl FnMut(&mut L) -> Result<T, LogError>) -> Result<T, Stop> {
        loop {
            match call(&mut self.log) {
                Ok(value) => return Ok(value),
                Err(LogError::Fenced(message)) => {
                    self.was_fenced(message)?;
                    self.recycle("fenced")?;
                }
                Err(error @ (LogError::Retriable(_) | LogError::Fatal(_))) => {
                    let now = self.now();
                    self.wait_out(what, now, error)?;
                    self.listen()?;
                }
                Err(error) => {
                    tracing::warn!(%error, what, "producer is of no more use, replacing it");
                    self.recycle("abort")?;
                }
            }
        }
    }

    pub(super) fn rewind(&mut self) -> Result<(), Stop> {
        self.hooks.observe(&Observation::Dropped);
        self.first = None;
        self.ended = self.now();
        self.written.clear();
        self.dead.clear();
        self.outputs.clear();
        // What was read before stands behind the place where reading goes on.
        self.rewound = true;
        // Where the changelog ends after a transaction that was not committed, and who has written to it, is to be looked up.
        self.ends.clear();
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
        self.resolve()?;
        if mutant::is_on(Mutant::UnknownIsAborted) {
            return self.rewind();
        }
        if mutant::is_on(Mutant::UnknownIsCommitted) {
            let report = self.ends_of_changelogs(&epoch.partitions)?;
            let partitions = epoch.partitions.clone();
            return self.apply(Commit::from(partitions), &report, Duration::ZERO, Duration::ZERO);
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
            let found = self.found(&kept)?;
            let outcomes: Vec<Outcome> = kept
                .iter()
                .zip(&found)
                .map(|(part, found)| outcome(part, found.position, self.tasks.get(&part.input).map(Task::marker)))
                .collect();
            if outcomes.contains(&Outcome::Neither) && self.config.changelog.is_none() {
                let contradiction = "what is committed is neither the epoch nor the one before";
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
            let mut moved = Vec::new();
            let mut report = CommitReport::default();
            let mut partitions = Vec::new();
            for ((part, found), outcome) in kept.into_iter().zip(found).zip(outcomes) {
                if outcome == Outcome::Neither {
                    moved.push(part.input.clone());
                } else {
                    partitions.push(part.clone());
                    report.changelog_next.push(found.next);
                }
            }
            if came_through {
                self.apply(Commit::from(partitions), &report, Duration::ZERO, Duration::ZERO)?;
            } else {
                self.leftovers = true;
            }
            // What was read of partitions with which somebody else has gone on is his to process.
            if !came_through || !moved.is_empty() {
                self.rewind()?;
            }
            return self.moved_on(moved);
        }
    }

    /// Where partitions stand now, and the place behind that in their changelog. Where there is none the group tells it.
    fn found(&mut self, parts: &[&PartitionEpoch]) -> Result<Vec<Found>, Stop> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        if self.config.changelog.is_none() {
            let asked: Vec<TopicPartition> = parts.iter().map(|part| part.input.clone()).collect();
            let told = self.patiently("committed offsets", |log| log.committed(&asked))?;
            let found = told.iter().map(|told| Found {
                position: told.as_ref().map(Position::from),
                next: None,
            });
            return Ok(found.collect());
        }
        let behind = |part: &&PartitionEpoch| {
            let task = self.tasks.get(&part.input);
            (part.slot, task.map_or(0, Task::changelog_next))
        };
        let asked: Vec<(i32, i64)> = parts.iter().map(behind).collect();
        let seen = self.newest(&asked)?;
        let found = parts.iter().zip(seen).map(|(part, seen)| {
            let (position, next) = match seen {
                Seen::Marker(marker, next) => (Some(Position::from(&*marker)), Some(next)),
                Seen::Nothing => (self.tasks.get(&part.input).map(|task| task.marker().into()), None),
                Seen::Trimmed => (Some(Position { offset: -1, epoch: 0 }), None),
            };
            Found { position, next }
        });
        Ok(found.collect())
    }

    fn ends_of_changelogs(&mut self, parts: &[PartitionEpoch]) -> Result<CommitReport, Stop> {
        let mut report = CommitReport::default();
        for part in parts {
            let bounds = self.changelog_bounds(part.slot)?;
            let next = bounds.filter(|_| !part.changelog.is_empty()).map(|bounds| bounds.end);
            report.changelog_next.push(next);
        }
        Ok(report)
    }

    /// Once a second, before a commit: the group must say of every partition what this worker committed last. librdkafka has
    /// been seen to report a commit that was none (its issue 4697). False if it does not: the epoch is dropped then. If the changelog
    /// does not have the marker either the partition is opened anew; if it has, the group tells the past.
    pub(super) fn offsets_stand(&mut self) -> Result<bool, Stop> {
        let now = self.now();
        // It would mend that mutant.
        if now.saturating_sub(self.compared) < COMPARE || mutant::is_on(Mutant::UnknownIsAborted) {
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
        let told = asked.into_iter().zip(found);
        let differing: Vec<(TopicPartition, Position)> = told
            .filter_map(|(partition, told)| told.map(|told| (partition, Position::from(&told))))
            .filter(|(partition, told)| !self.stands(partition, *told))
            .collect();
        if differing.is_empty() {
            return Ok(true);
        }
        let is_member = self.log.membership().is_ok();
        self.listen()?;
        self.abort("committed offsets are not those of the last epoch")?;
        if !is_member || differing.iter().any(|(partition, _)| self.is_lost(partition)) {
            return Ok(false);
        }
        let differing = self.without_past(differing)?;
        if differing.is_empty() {
            return Ok(false);
        }
        tracing::error!(
            partitions = differing.len(),
            "a commit that was reported is not there, opening partitions anew"
        );
        self.recycle("unknown")?;
        for partition in &differing {
            if let Some(task) = self.tasks.get(partition) {
                self.doubted.insert(partition.clone(), task.marker().epoch);
            }
        }
        self.open_anew(&differing)?;
        Ok(false)
    }

    /// Opens partitions again as if they were given now. What their tasks hold is not flushed: it was perhaps never committed.
    pub(super) fn open_anew(&mut self, partitions: &[TopicPartition]) -> Result<(), Stop> {
        // What was heard meanwhile was read from where they stood.
        let stays = |topic: &str, partition: i32| {
            !partitions
                .iter()
                .any(|of| of.partition == partition && *of.topic == *topic)
        };
        self.later
            .records
            .retain(|record| stays(&record.topic, record.partition));
        self.later.ends.retain(|(of, _)| stays(&of.topic, of.partition));
        for partition in partitions {
            self.hooks.dropped(partition);
            self.patiently("pausing", |log| log.pause(partition))?;
            self.ends.remove(&self.slot(partition));
            drop(self.tasks.remove(partition));
        }
        self.assign(partitions)
    }

    /// Leaves out the partitions whose changelog shows what was committed last: of those the group tells the past.
    fn without_past(&mut self, told: Vec<(TopicPartition, Position)>) -> Result<Vec<TopicPartition>, Stop> {
        if self.config.changelog.is_none() {
            return Ok(told.into_iter().map(|(partition, _)| partition).collect());
        }
        let last = |(partition, _): &(TopicPartition, Position)| {
            let task = self.tasks.get(partition);
            (self.slot(partition), task.map_or(0, Task::changelog_last))
        };
        let asked: Vec<(i32, i64)> = told.iter().map(last).collect();
        let seen = self.newest(&asked)?;
        let mut differing = Vec::new();
        for ((partition, told), seen) in told.into_iter().zip(seen) {
            let own = self.tasks.get(&partition).map(|task| Position::from(task.marker()));
            match (own, seen) {
                (Some(own), Seen::Marker(marker, _)) if own == Position::from(&*marker) => {
                    self.told_past(&partition, told, own);
                    self.settled.insert(partition, (told, own));
                }
                _ => differing.push(partition),
            }
        }
        Ok(differing)
    }

    /// What the group told of a partition is of the past.
    pub(super) fn told_past(&mut self, partition: &TopicPartition, told: Position, own: Position) {
        tracing::warn!(
            topic = %partition.topic,
            partition = partition.partition,
            %told,
            committed = %own,
            "group tells an old position, going on where the changelog stands"
        );
        self.hooks.observe(&Observation::ToldPast);
    }

    /// A partition that was opened anew stands before an epoch that was reported as committed.
    pub(super) fn did_not_happen(&mut self, partition: &TopicPartition) -> Result<(), Stop> {
        let now = self.now();
        let again = self
            .differed
            .is_some_and(|before| now.saturating_sub(before) < DIFFERED_WITHIN);
        if again {
            return Err(Stop::Halted(
                "committed offsets differ from what was committed, again".to_owned(),
            ));
        }
        self.differed = Some(now);
        tracing::error!(topic = %partition.topic, partition = partition.partition, "a commit that was reported did not happen");
        Ok(())
    }

    /// Whether the group says of a partition what this worker committed last, or what is known to be of the past.
    fn stands(&self, partition: &TopicPartition, told: Position) -> bool {
        let Some(task) = self.tasks.get(partition) else {
            return true;
        };
        let own = Position::from(task.marker());
        told.is(own) || self.settled.get(partition) == Some(&(told, own))
    }
}
