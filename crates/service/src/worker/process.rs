//! What a worker does with what was read: record by record, with the timers that they make due.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use stream::{Batch, Commit, Log, Output, Stage, Task, TaskError, TopicPartition};

use super::{Hooks, Observation, Stop, Worker};
use crate::letters;

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    pub(super) fn process(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        let mut ready = Vec::new();
        for of_topic in batch.records.chunk_by(|one, next| one.topic == next.topic) {
            self.hooks.observe(&Observation::Read {
                topic: &of_topic[0].topic,
                records: of_topic.len() as u64,
            });
        }
        for record in batch.records.drain(..) {
            self.hooks.order(record, &mut ready);
        }
        for (partition, offset) in batch.ends.drain(..) {
            self.hooks.ended(&partition, offset);
        }
        for told in batch.told.drain(..) {
            self.hooks.told(&told);
        }
        // One look at the clock for all that one poll brought: none of it arrived later.
        let wall = self.config.clock.wall();
        let mut begun = self.now();
        for record in ready {
            if self.is_overdue(begun) {
                if !self.end_here()? {
                    return Ok(());
                }
                begun = self.now();
            }
            self.opens();
            let partition = TopicPartition {
                topic: Arc::clone(&record.topic),
                partition: record.partition,
            };
            // What is due goes before the record: before it is looked at, and once its bucket's predecessor is closed.
            let way = self.step(&partition, |task, outputs| task.make_way(&record, outputs));
            if !way? || !self.fire_rest(&partition)? {
                // The epoch was aborted: what was read of it will be read again.
                return Ok(());
            }
            let mut outputs = std::mem::take(&mut self.outputs);
            let now = self.hooks.before(&record, &mut outputs).unwrap_or(wall);
            self.outputs = outputs;
            let handled = self.step(&partition, |task, outputs| task.handle(&record, now, outputs));
            if !handled? || !self.fire_rest(&partition)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has a partition do something, behind outputs that wait already, and sends what it says; false if the epoch was dropped.
    fn step(
        &mut self,
        partition: &TopicPartition,
        step: impl FnOnce(&mut Task<S>, &mut Vec<Output>) -> Result<(), TaskError>,
    ) -> Result<bool, Stop> {
        let Some(task) = self.tasks.get_mut(partition) else {
            return Ok(true);
        };
        let mut outputs = std::mem::take(&mut self.outputs);
        let Ok(done) = catch_unwind(AssertUnwindSafe(|| step(task, &mut outputs))) else {
            outputs.clear();
            self.outputs = outputs;
            self.panicked(partition)?;
            return Ok(false);
        };
        done?;
        let sent = self.send_all(&mut outputs);
        self.outputs = outputs;
        sent
    }

    /// Fires the timers of a partition that are due, round by round: between two the group is heard, and the epoch ends if it is time.
    /// False as in [`Self::end_here`].
    fn fire_rest(&mut self, partition: &TopicPartition) -> Result<bool, Stop> {
        while self.tasks.get(partition).is_some_and(Task::is_firing) {
            self.hooks.observe(&Observation::Turned);
            self.listen()?;
            let ends = self.is_called() || self.is_due();
            if ends && !self.end_here()? {
                return Ok(false);
            }
            if !self.step(partition, Task::fire_more)? {
                return Ok(false);
            }
        }
        let is_rest = |task: &Task<S>| task.marker().firing && task.is_touched();
        if self.tasks.get(partition).is_some_and(is_rest) {
            // What such an epoch says belongs to the input of the one before: none of its own goes with it, or nobody could count it.
            self.rewound = false;
            self.commit()?;
            return Ok(!self.rewound);
        }
        Ok(true)
    }

    /// Whether the group, or who stops this worker, wants something of it.
    fn is_called(&self) -> bool {
        !self.later.changes.is_empty() || self.stop.load(Ordering::Relaxed)
    }

    /// Ends the epoch in the middle of what was read. False if the rest of that is not to be looked at: the epoch was dropped, or somebody
    /// calls and it is read again, by this worker or another. The commit hears the group, and takes no more records meanwhile than it must:
    /// what a turn works through would grow from turn to turn. Partitions that are being opened get their share here too: what one poll brought, and
    /// the timers that it made due, can take as long as many turns.
    fn end_here(&mut self) -> Result<bool, Stop> {
        self.hooks.observe(&Observation::Turned);
        self.rewound = false;
        self.commit()?;
        if !self.rewound {
            if self.is_called() {
                self.rewind()?;
            } else {
                self.open_some()?;
            }
        }
        Ok(!self.rewound)
    }

    /// [`Self::fire_rest`] of all partitions, such as one that was opened in the middle of it.
    pub(super) fn fire_rests(&mut self) -> Result<bool, Stop> {
        let firing: Vec<TopicPartition> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.is_firing())
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in firing {
            if !self.fire_rest(&partition)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends outputs; false if the epoch had to be aborted.
    pub(super) fn send_all(&mut self, outputs: &mut Vec<Output>) -> Result<bool, Stop> {
        if outputs.is_empty() {
            return Ok(true);
        }
        self.begin()?;
        for output in outputs.drain(..) {
            let topic = Arc::clone(&output.topic);
            let letter = letters::source_and_reason(&output);
            match self.log.send(output) {
                Ok(()) => {
                    *self.written.entry(topic).or_default() += 1;
                    if let Some(letter) = letter {
                        *self.dead.entry(letter).or_default() += 1;
                    }
                }
                Err(error) => {
                    self.failed(&Commit::default(), error)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
