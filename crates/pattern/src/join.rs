//! The open runs of two journeys of one customer in one, and apart again.

use std::collections::BTreeSet;

use crate::{Instance, Kept, KeptRef, Run, Runs, Sighting};

impl Runs {
    /// Adds what a customer's other journey had open; its events get indexes behind `offset`, which no event of this one has reached, and
    /// are marked as `origin`'s. Returns what was left behind, because both journeys had some of one pattern and the same `by`: this
    /// one's goes on.
    pub fn join(&mut self, other: &Self, offset: u64, origin: Option<&str>) -> Self {
        if other.is_empty() {
            return Self::default();
        }
        let mut instances = self.instances();
        let (mut left, mut added) = (Vec::new(), Vec::new());
        for theirs in other.instances() {
            let is_same = |known: &Instance| known.pattern == theirs.pattern && known.by == theirs.by;
            if instances.iter().any(is_same) {
                left.push(theirs);
            } else {
                added.push(theirs);
            }
        }
        let (of_left, of_added) = (named(&left), named(&added));
        let kept = |indexes: &BTreeSet<u64>, offset, origin| {
            let events = other.events().filter(|kept| indexes.contains(&kept.index));
            events.map(|kept| kept.moved(offset, origin)).collect::<Vec<Kept>>()
        };
        let mine = self.events().map(Kept::from);
        let events: Vec<Kept> = mine.chain(kept(&of_added, offset, origin)).collect();
        instances.extend(added.into_iter().map(|instance| moved(instance, offset)));
        instances.sort_by(Instance::stands_before);
        *self = Self::restored(instances, events);
        Self::restored(left, kept(&of_left, 0, None))
    }

    /// Takes out what rests on events that came from other journeys, those whose keys are `theirs`. Returned is what rests on such events
    /// alone, under the indexes that it had here; what rests on both is dropped. A run that an event of theirs took the place of does not
    /// come back.
    pub fn part(&mut self, theirs: &dyn Fn(&str) -> bool) -> Self {
        let is_theirs = |kept: &KeptRef<'_>| kept.origin().is_some_and(theirs);
        let gone: BTreeSet<u64> = self.events().filter(is_theirs).map(|kept| kept.index).collect();
        if gone.is_empty() {
            return Self::default();
        }
        let (mut mine, mut out) = (Vec::new(), Vec::new());
        for instance in self.instances() {
            let all = named(std::slice::from_ref(&instance));
            if all.is_disjoint(&gone) {
                mine.push(instance);
            } else if all.is_subset(&gone) {
                out.push(instance);
            } else {
                out.extend(of(&instance, &|index| gone.contains(&index)));
                mine.extend(of(&instance, &|index| !gone.contains(&index)));
            }
        }
        let events = |of: &[Instance]| {
            let indexes = named(of);
            let events = self.events().filter(|kept| indexes.contains(&kept.index));
            events.map(Kept::from).collect::<Vec<Kept>>()
        };
        let (events_left, events_out) = (events(&mine), events(&out));
        *self = Self::restored(mine, events_left);
        Self::restored(out, events_out)
    }

    /// Drops runs whose wait is over by `now`; whoever had them meanwhile has decided on them.
    pub fn forget_due(&mut self, now: event::Millis) {
        let is_over = |run: &Run| run.deadline.is_some_and(|due| due <= now);
        if !self.instances().iter().flat_map(|instance| &instance.runs).any(is_over) {
            return;
        }
        let mut instances = self.instances();
        for instance in &mut instances {
            instance.runs.retain(|run| !is_over(run));
        }
        instances.retain(|instance| !instance.is_blank());
        let indexes = named(&instances);
        let events = self.events().filter(|kept| indexes.contains(&kept.index));
        let events = events.map(Kept::from).collect();
        *self = Self::restored(instances, events);
    }
}

/// The indexes of all events that instances name.
fn named(instances: &[Instance]) -> BTreeSet<u64> {
    let of_runs = instances.iter().flat_map(|instance| &instance.runs);
    let of_runs = of_runs.flat_map(|run| run.evidence.iter().copied());
    let sightings = instances.iter().flat_map(|instance| &instance.sightings);
    let usable = sightings.filter(|sighting| sighting.is_usable);
    of_runs.chain(usable.map(|sighting| sighting.index)).collect()
}

/// The part of an instance that rests on some events alone. What is only counted is known by no index, so nobody gets it.
fn of(instance: &Instance, is_in: &dyn Fn(u64) -> bool) -> Option<Instance> {
    let is_kept = |sighting: &Sighting| sighting.is_usable && is_in(sighting.index);
    let mut part = instance.clone();
    part.runs.retain(|run| run.evidence.iter().all(|index| is_in(*index)));
    part.sightings.retain(is_kept);
    let values = part.values.iter().zip(&instance.sightings);
    part.values = values
        .filter(|(_, sighting)| is_kept(sighting))
        .map(|(value, _)| value.clone())
        .collect();
    (!part.is_blank()).then_some(part)
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
