//! What the worker does about what makes its stage panic.

use stream::{InHand, Log, Stage, Task, TopicPartition};

use super::{Hooks, Observation, Stop, Worker};

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// A stage panicked: the epoch is dropped, and what was in hand is kept from the stage when it comes again.
    pub(super) fn panicked(&mut self, partition: &TopicPartition) -> Result<(), Stop> {
        let place = format!("{}/{}", partition.topic, partition.partition);
        let task = self.tasks.get_mut(partition);
        let Some((task, what)) = task.and_then(|task| task.in_hand().map(|what| (task, what))) else {
            return Err(Stop::Failed(format!(
                "the service panicked with nothing in hand: {place}"
            )));
        };
        // No key: that would be a customer.
        let (what_it_was, offset) = match what {
            InHand::Record(offset) => ("record", offset),
            InHand::Timer { offset, .. } => ("timer", offset),
            InHand::Key(_) => ("rows of a key", task.offset()),
        };
        if !task.poisoned(what) {
            return Err(Stop::Failed(format!(
                "the service panicked again although its {what_it_was} was kept from it: {place} offset={offset}"
            )));
        }
        tracing::error!(
            topic = %partition.topic,
            partition = partition.partition,
            offset,
            in_hand = what_it_was,
            "the service panicked, what was in hand is kept from it"
        );
        self.abort("the service panicked")
    }

    /// An epoch is committed: tells of the keys that it quarantined, and clears suspects.
    pub(super) fn tell_poison(&mut self) {
        if let Some(hand) = &self.hand {
            hand.committed();
        }
        let of = |task: &mut Task<S>| task.take_quarantined();
        for cause in self.tasks.values_mut().flat_map(of) {
            tracing::error!(cause = cause.code(), "a key is quarantined");
            self.hooks.observe(&Observation::Quarantined(cause));
        }
    }

    /// What the task of a partition has in hand is said in the worker's file.
    pub(super) fn watched(&self, partition: &TopicPartition, task: &mut Task<S>) {
        if let Some(hand) = &self.hand {
            task.watched_by(hand.watch(partition));
        }
    }
}
