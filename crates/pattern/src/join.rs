//! The open runs of two journeys of one customer in one.

use std::cmp::Ordering;

use crate::{Instance, Kept, Runs, Value, runs::order};

impl Runs {
    /// Adds what a customer's other journey had open; its events get indexes behind `offset`, which no event of this one has reached. Returns
    /// the number of runs that were dropped, because both journeys had some of one pattern and the same `by`: this one's go on.
    pub fn join(&mut self, other: &Self, offset: u64) -> u32 {
        if other.is_empty() {
            return 0;
        }
        let mut dropped = 0;
        let mut instances = self.instances();
        for theirs in other.instances() {
            let is_same = |known: &Instance| known.pattern == theirs.pattern && known.by == theirs.by;
            if instances.iter().any(is_same) {
                dropped += u32::try_from(theirs.runs.len()).unwrap_or(u32::MAX);
            } else {
                instances.push(moved(theirs, offset));
            }
        }
        instances.sort_by(stands_before);
        let mine = self.events().map(Kept::from);
        let theirs = other.events().map(|mut kept| {
            kept.index += offset;
            Kept::from(kept)
        });
        let events: Vec<Kept> = mine.chain(theirs).collect();
        *self = Self::restored(instances, events);
        dropped
    }
}

/// By pattern, then the newer version first, then by-key.
fn stands_before(one: &Instance, two: &Instance) -> Ordering {
    let by: Vec<Value<'_>> = two.by.iter().map(Value::from).collect();
    one.pattern
        .cmp(&two.pattern)
        .then(two.version.cmp(&one.version))
        .then_with(|| order(&one.by, &by))
}

/// The same under later indexes. An index of 0 that says "none" stays.
fn moved(mut instance: Instance, offset: u64) -> Instance {
    for sighting in &mut instance.sightings {
        sighting.index += offset;
    }
    for none_or_some in [&mut instance.cut, &mut instance.waiting_cut] {
        if *none_or_some > 0 {
            *none_or_some += offset;
        }
    }
    instance.closed = instance.closed.map(|index| index + offset);
    for index in instance.runs.iter_mut().flat_map(|run| &mut run.evidence) {
        *index += offset;
    }
    instance
}
