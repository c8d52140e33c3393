//! Whether this worker alone writes the changelogs of its partitions.
//!
//! The group is no witness of that: a coordinator that has read its log in part takes members for what they were, and lets one commit whose
//! partition is another's now (`docs/adr/0013-commits-compare-the-end-of-the-changelog.md`). So every epoch is placed where its worker knows the
//! changelog to end, or not committed (`Commit::is_alone`); what is not known any more, because a transaction was not committed, is looked up
//! here before the next one.

use stream::{
    Log, Stage, TopicPartition,
    mutant::{self, Mutant},
};

use super::{Hooks, Observation, Stop, Worker, newest::Seen};

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// Between transactions: looks up where changelogs end of which that is not known. A partition with which somebody else has gone on is
    /// opened anew, where that one stands.
    pub(super) fn look_for_others(&mut self) -> Result<(), Stop> {
        if self.begun.is_some() || self.config.changelog.is_none() {
            return Ok(());
        }
        let unknown = |(partition, _): &(&TopicPartition, _)| !self.ends.contains_key(&self.slot(partition));
        let (partitions, asked): (Vec<TopicPartition>, Vec<(i32, i64)>) = self
            .tasks
            .iter()
            .filter(unknown)
            .map(|(partition, task)| (partition.clone(), (self.slot(partition), task.changelog_next())))
            .unzip();
        if asked.is_empty() {
            return Ok(());
        }
        let seen = self.newest(&asked)?;
        if mutant::is_on(Mutant::OthersIgnored) {
            return Ok(());
        }
        let moved = partitions.into_iter().zip(seen);
        let moved = moved.filter_map(|(partition, seen)| (!matches!(seen, Seen::Nothing)).then_some(partition));
        let moved = moved.collect();
        self.moved_on(moved)
    }

    /// Somebody else has gone on with these partitions.
    pub(super) fn moved_on(&mut self, mut partitions: Vec<TopicPartition>) -> Result<(), Stop> {
        for partition in &partitions {
            let slot = self.slot(partition);
            self.ends.remove(&slot);
            self.hooks.observe(&Observation::MovedOn);
            tracing::warn!(
                topic = %partition.topic,
                partition = partition.partition,
                "somebody else has gone on with this partition, opening it anew"
            );
        }
        // Those that were taken away are closed when that is heard.
        partitions.retain(|partition| !self.is_lost(partition));
        if partitions.is_empty() {
            return Ok(());
        }
        self.open_anew(&partitions)
    }
}
