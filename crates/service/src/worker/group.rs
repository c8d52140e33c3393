//! What a worker hears from its group, and what becomes of its partitions then.

use std::time::Duration;

use stream::{
    Change, Log, LogError, Membership, Stage, TopicPartition,
    mutant::{self, Mutant},
};

use super::{Hooks, Observation, Stop, Worker, recover::AGAIN};

/// Batches of records that are kept while a worker waits for its group.
const LISTENED: usize = 50;

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// Hears what the group has to say before an epoch is committed; what else comes belongs to the next epoch.
    pub(super) fn serve(&mut self) -> Result<(), Stop> {
        self.hear(1)
    }

    /// The same for one who waits for the group. What it says stands behind records that were fetched before: taking them one by one
    /// it would not be heard for minutes.
    pub(super) fn listen(&mut self) -> Result<(), Stop> {
        // What is taken is kept, so not without end.
        let most = LISTENED * self.config.poll_records;
        let held = self.later.records.len();
        self.hear(if held < most {
            held + self.config.poll_records
        } else {
            1
        })
    }

    fn hear(&mut self, most: usize) -> Result<(), Stop> {
        match self.log.poll(Duration::ZERO, most, &mut self.later) {
            Ok(()) | Err(LogError::Retriable(_)) => Ok(()),
            Err(LogError::Fenced(message)) => Err(Stop::Fenced(message)),
            Err(error) => Err(Stop::Failed(error.to_string())),
        }
    }

    /// Whether the group has taken a partition away without waiting, even if it has given it back since: what was done under the
    /// old assignment does not count under the new one.
    pub(super) fn is_lost(&self, partition: &TopicPartition) -> bool {
        let takes = |change: &Change| matches!(change, Change::Lost(lost) if lost.contains(partition));
        let gives = |change: &Change| matches!(change, Change::Assigned(given) if given.contains(partition));
        if mutant::is_on(Mutant::OwnerInsteadOfSequence) && self.later.changes.iter().any(gives) {
            return false;
        }
        self.later.changes.iter().any(takes)
    }

    pub(super) fn change(&mut self, change: Change) -> Result<(), Stop> {
        match change {
            Change::Assigned(partitions) => {
                self.hooks.observe(&Observation::Rebalanced("assigned"));
                self.assign(&partitions)?;
            }
            Change::Revoked(partitions) => {
                self.hooks.observe(&Observation::Rebalanced("revoked"));
                self.commit()?;
                self.close(&partitions)?;
            }
            Change::Lost(partitions) => {
                self.hooks.observe(&Observation::Rebalanced("lost"));
                self.abort("partitions were lost")?;
                self.close(&partitions)?;
            }
        }
        Ok(())
    }

    /// After changes: the service is told what this worker has, in which generation. A member that has been put out meanwhile is not
    /// listed, and hears of it only if it listens.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        let begun = self.now();
        loop {
            match self.log.membership() {
                Ok(membership) => {
                    self.owns(membership);
                    self.tell_assigned();
                    return Ok(());
                }
                Err(LogError::Retriable(why)) if self.is_patient(begun)? => {
                    self.hooks.observe(&Observation::Turned);
                    self.listen()?;
                    let more = std::mem::take(&mut self.later.changes);
                    if more.is_empty() {
                        tracing::warn!(why, "group membership is not known yet");
                        self.config.clock.sleep(AGAIN);
                    }
                    for change in more {
                        self.change(change)?;
                    }
                }
                Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
                Err(error) => return Err(Stop::Failed(format!("group membership: {error}"))),
            }
        }
    }

    pub(super) fn owns(&mut self, membership: Membership) {
        let owned: Vec<TopicPartition> = self.tasks.keys().cloned().collect();
        self.membership = Some(membership);
        tracing::debug!(?membership, partitions = owned.len(), "place in the group");
        self.hooks.owns(&owned, membership);
    }

    /// A generation can pass without a change of what this worker has, and its ticks must name the newest one all the same, or no
    /// clock goes on.
    pub(super) fn keep_up(&mut self) -> Result<(), Stop> {
        let known = match self.log.generation() {
            Ok(known) => known,
            Err(LogError::Retriable(_)) => return Ok(()),
            Err(error) => return Err(Stop::Failed(error.to_string())),
        };
        let is_told = |told: Membership| told.generation == known && told.assignment.is_some();
        if known < 0 || self.membership.is_some_and(is_told) {
            return Ok(());
        }
        match self.log.membership() {
            Ok(membership) => self.owns(membership),
            // It is asked again the next time.
            Err(LogError::Retriable(why)) => tracing::debug!(why, "group membership is not known yet"),
            Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
            Err(error) => return Err(Stop::Failed(error.to_string())),
        }
        Ok(())
    }

    /// Says what is owned, once nothing of it is being restored; the partitions share the cache.
    pub(super) fn tell_assigned(&mut self) {
        let share = self.config.cached_keys / self.tasks.len().max(1);
        self.tasks
            .values_mut()
            .for_each(|task| task.cache_at_most(share.max(1)));
        if !self.opening.is_busy() {
            self.hooks.observe(&Observation::Assigned(self.tasks.len()));
        }
    }

    fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), Stop> {
        for partition in partitions {
            self.settled.remove(partition);
            self.doubted.remove(partition);
            self.hooks.dropped(partition);
            self.hooks.observe(&Observation::Given(self.slot(partition)));
            self.forget_opening(partition)?;
            self.ends.remove(&self.slot(partition));
            if let Some(mut task) = self.tasks.remove(partition) {
                task.aborted();
                task.flush()?;
            }
        }
        self.patiently("giving partitions back", |log| log.release(partitions))
    }
}
