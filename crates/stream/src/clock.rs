//! The clock of one partition: the least of what its log has seen and of how far the writers' inputs have been read.

use std::collections::BTreeMap;

use crate::{
    Millis, Tick,
    mutant::{self, Mutant},
};

/// The clock of one partition. It never goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The greatest time in the log, of events and ticks.
    pub high: Millis,
    /// The generation of writers that was complete last: progress by index.
    pub complete: Generation,
    /// Another one that has not ticked completely yet.
    pub forming: Generation,
    now: Millis,
}

/// The ticks of one generation of writers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number; −1 before the first.
    pub number: i32,
    /// What tells it from another of the same number; 0 where that is not known.
    pub assignment: i64,
    /// How many writers it has.
    pub members: i32,
    /// How many input partitions there are in all.
    pub partitions: i32,
    /// By the writer's index: its progress, and how many partitions it owns.
    pub rows: BTreeMap<i32, (Millis, i32)>,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            number: -1,
            assignment: 0,
            members: 0,
            partitions: 0,
            rows: BTreeMap::new(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::restored(Millis::MIN, Millis::MIN, Generation::default(), Generation::default())
    }
}

impl Clock {
    /// A clock as a marker says it stood.
    #[must_use]
    pub fn restored(now: Millis, high: Millis, complete: Generation, forming: Generation) -> Self {
        Self {
            high,
            complete,
            forming,
            now,
        }
    }

    /// Everything up to here has been read on every channel. [`Millis::MIN`] before the first complete generation.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Takes the time of an event.
    pub fn event(&mut self, time: Millis) {
        self.high = self.high.max(time);
    }

    /// Takes a tick. One without progress keeps its generation from becoming complete.
    ///
    /// Which generation is the newer one does not matter, and their numbers do not tell: what a writer once had read stays read, and the
    /// writers of one generation have each input partition once. So any one that is complete says how far everything has been read, and the
    /// clock takes what is more.
    pub fn tick(&mut self, tick: Tick) {
        if let Some(progress) = tick.progress {
            self.high = self.high.max(progress);
        }
        if mutant::is_on(Mutant::OlderGenerationsIgnored)
            && (tick.generation < self.complete.number || tick.generation < self.forming.number)
        {
            return;
        }
        if self.complete.is_of(&tick) {
            // Who has fewer than before speaks of those alone, and nobody reads the others until the next generation.
            let row = self.complete.rows.get_mut(&tick.index);
            if let (Some(progress), Some(row)) = (tick.progress, row.filter(|row| row.1 == tick.owned)) {
                row.0 = progress;
            }
            return;
        }
        if !self.forming.is_of(&tick) {
            self.forming = Generation {
                number: tick.generation,
                assignment: tick.assignment,
                members: tick.members,
                partitions: tick.partitions,
                rows: BTreeMap::new(),
            };
        }
        match tick.progress {
            Some(progress) => self.forming.rows.insert(tick.index, (progress, tick.owned)),
            None => self.forming.rows.remove(&tick.index),
        };
        if self.forming.is_complete() {
            self.complete = std::mem::take(&mut self.forming);
        }
    }

    /// Computes the clock anew, once per bucket.
    pub fn turn(&mut self) {
        if self.complete.number < 0 {
            return;
        }
        let read = self
            .complete
            .rows
            .values()
            .map(|(progress, _)| *progress)
            .min()
            .unwrap_or(Millis::MIN);
        self.now = self.now.max(read.min(self.high));
    }
}

impl Generation {
    fn is_of(&self, tick: &Tick) -> bool {
        (self.number, self.assignment) == (tick.generation, tick.assignment)
    }

    fn is_complete(&self) -> bool {
        if mutant::is_on(Mutant::ClockFromOneMember) {
            return !self.rows.is_empty();
        }
        // A writer that has no partition says nothing, and all is said without it.
        let owned: i32 = self.rows.values().map(|(_, owned)| *owned).sum();
        self.members > 0 && owned == self.partitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(generation: i32, index: i32, members: i32, owned: i32, progress: i64) -> Tick {
        Tick {
            progress: Some(Millis(progress)),
            generation,
            assignment: 0,
            index,
            members,
            owned,
            partitions: 4,
        }
    }

    fn now(clock: &mut Clock) -> i64 {
        clock.turn();
        clock.now().0
    }

    #[test]
    fn an_event_alone_moves_nothing_and_the_slowest_writer_decides() {
        let mut clock = Clock::default();
        clock.event(Millis(100));
        assert_eq!(now(&mut clock), i64::MIN);
        clock.tick(tick(1, 0, 2, 2, 90));
        assert_eq!(now(&mut clock), i64::MIN);
        clock.tick(tick(1, 1, 2, 2, 50));
        assert_eq!(now(&mut clock), 50);
        clock.tick(tick(1, 1, 2, 2, 95));
        assert_eq!(now(&mut clock), 90);
    }

    #[test]
    fn a_new_generation_counts_once_all_members_own_all_partitions() {
        let mut clock = Clock::default();
        clock.tick(tick(1, 0, 1, 4, 10));
        assert_eq!(now(&mut clock), 10);
        clock.tick(tick(2, 0, 2, 1, 20));
        clock.tick(tick(2, 1, 2, 2, 20));
        assert_eq!(now(&mut clock), 10);
        // What the only one of before had read is read.
        clock.tick(tick(1, 0, 1, 4, 15));
        assert_eq!(now(&mut clock), 15);
        clock.tick(tick(2, 0, 2, 2, 40));
        assert_eq!(now(&mut clock), 20);
    }

    #[test]
    fn a_number_that_comes_again_is_another_generation_if_others_are_in_it() {
        let mut clock = Clock::default();
        clock.tick(tick(85, 0, 1, 4, 10));
        assert_eq!(now(&mut clock), 10);
        // Its coordinator goes on from 84: three members, and only two of them have ticked.
        let again = |index, owned, progress| Tick {
            assignment: 7,
            ..tick(85, index, 3, owned, progress)
        };
        clock.tick(again(0, 1, 50));
        clock.tick(again(1, 1, 50));
        assert_eq!(now(&mut clock), 10, "two partitions have not been spoken of");
        clock.tick(again(2, 2, 40));
        assert_eq!(now(&mut clock), 40);
        // And from an older one.
        clock.tick(tick(69, 0, 1, 4, 60));
        assert_eq!(now(&mut clock), 60);
    }

    #[test]
    fn a_writer_that_has_no_partition_is_not_waited_for() {
        let mut clock = Clock::default();
        clock.tick(tick(1, 0, 3, 2, 10));
        assert_eq!(now(&mut clock), i64::MIN);
        clock.tick(tick(1, 2, 3, 2, 20));
        assert_eq!(now(&mut clock), 10);
    }

    #[test]
    fn a_writer_that_has_given_a_partition_back_holds_its_generation() {
        let mut clock = Clock::default();
        clock.tick(tick(1, 0, 2, 3, 10));
        clock.tick(tick(1, 1, 2, 1, 10));
        assert_eq!(now(&mut clock), 10);
        // Its third partition is nobody's for now, and what arrives there meanwhile has not been read.
        clock.tick(tick(1, 0, 2, 2, 90));
        clock.tick(tick(1, 1, 2, 1, 90));
        assert_eq!(now(&mut clock), 10);
        clock.tick(tick(2, 0, 2, 2, 95));
        clock.tick(tick(2, 1, 2, 2, 40));
        assert_eq!(now(&mut clock), 40);
    }

    #[test]
    fn a_writer_without_progress_holds_a_new_generation() {
        let mut clock = Clock::default();
        clock.tick(Tick {
            progress: None,
            ..tick(1, 0, 1, 4, 0)
        });
        assert_eq!(now(&mut clock), i64::MIN);
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut clock = Clock::default();
        clock.tick(tick(1, 0, 1, 4, 10));
        now(&mut clock);
        clock.tick(tick(1, 0, 1, 4, 5));
        assert_eq!(now(&mut clock), 10);
    }
}
