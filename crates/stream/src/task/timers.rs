//! Timers: derived from deadlines, fired by the partition's clock.

use hashbrown::HashMap;

use super::{InHand, TIMERS_PER_ROUND, Task, TaskError};
use crate::{Cx, Millis, Output, Stage, rows::Key16};

impl<S: Stage> Task<S> {
    /// Files the key's deadline, if it moved earlier or is new. One that moved later is filed anew when its old entry comes up.
    pub(super) fn file(&mut self, short: &Key16) {
        let Some(entry) = self.cache.get_mut(short) else { return };
        let deadline = self.stage.deadline(&entry.state);
        let earlier = match (entry.deadline, deadline) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(due)) => due < before,
        };
        entry.deadline = deadline;
        if let (true, Some(due)) = (earlier, deadline) {
            self.add_timer((due, *short));
        }
    }

    pub(super) fn add_timer(&mut self, timer: (Millis, Key16)) {
        if self.timers.insert(timer) {
            self.open.timers.push((true, timer));
        }
    }

    /// Fires timers due by the clock, in (due, key) order: one round of them. After an outage a single tick can make hundreds of
    /// thousands due; an epoch may end between two rounds, and nothing else happens before the last one is through.
    pub(super) fn fire(&mut self, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        let clock = self.open.clock.now();
        let mut fired: HashMap<Key16, u32> = HashMap::new();
        let mut resting = Vec::new();
        let mut taken = 0;
        self.open.firing = false;
        while let Some(&(due, short)) = self.timers.first() {
            if due > clock {
                break;
            }
            if taken == self.config.timers_per_round {
                self.open.firing = true;
                break;
            }
            taken += 1;
            self.timers.pop_first();
            self.open.timers.push((false, (due, short)));
            self.open.touched = true;
            if !self.load_stored(&short)? {
                continue;
            }
            let poison = self.hold(InHand::Timer {
                key: short,
                offset: self.open.offset,
            });
            let entry = self.cache.get_mut(&short).expect("loaded above");
            if entry.quarantine.is_some() {
                continue;
            }
            if let Some(cause) = poison {
                self.quarantine(&short, cause);
                continue;
            }
            let Some(deadline) = self.stage.deadline(&entry.state) else {
                continue;
            };
            if deadline > due {
                self.add_timer((deadline, short));
                continue;
            }
            let count = fired.entry(short).or_default();
            if *count >= TIMERS_PER_ROUND {
                resting.push((deadline, short));
                continue;
            }
            *count += 1;
            // As for an event: what a panic leaves half done must not stay in the cache.
            self.open.dirty.insert(short);
            let now = deadline.max(entry.now);
            entry.now = now;
            let mut cx = Cx {
                now,
                clock,
                key: &entry.key,
                topic: &self.config.input.topic,
                partition: self.config.input.partition,
                offset: self.open.offset - 1,
                timestamp: now,
                revision: self.committed.revision,
                late: false,
                outputs,
            };
            self.stage.on_time(&mut entry.state, &mut cx);
            let next = self.stage.deadline(&entry.state);
            entry.deadline = next;
            if let Some(next) = next {
                self.add_timer((next, short));
            }
        }
        for timer in resting {
            self.add_timer(timer);
        }
        self.open.records += taken as u64;
        Ok(())
    }

    /// Whether timers are due that the next round fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.open.firing
    }

    /// Fires another round of timers, if there is one.
    ///
    /// # Errors
    /// [`TaskError`] if state cannot be loaded.
    pub fn fire_more(&mut self, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        if self.open.firing {
            let first = outputs.len();
            self.fire(outputs)?;
            self.count(&outputs[first..]);
            self.let_go();
        }
        Ok(())
    }

    /// Fires whatever is due.
    pub(super) fn fire_all(&mut self, outputs: &mut Vec<Output>) -> Result<(), TaskError> {
        while self.open.firing {
            self.fire_more(outputs)?;
        }
        Ok(())
    }
}
