//! The row `ru`: open runs of patterns and the events that they name, all in one. What is large is written in parts, see `parts`.
//!
//! Version 2 writes differences: indexes from the one before, times from those of the events, names from the part in which they
//! differ. Where a run stands follows from its events nearly always, so it takes a dozen bytes. Version 1 is read.

use std::{collections::BTreeMap, sync::Arc};

use event::{Attribute, EventRef, Millis};
use pattern::{ChainRuns, Counted, Instance, Kept, KeptRef, Run, Runs, Sighting, Value};

use crate::{
    Refusal,
    avro::{put_attribute, read_attribute},
    record::Wire,
    wire::{Reader, put_count, put_list, put_long, put_map, put_option, put_text},
};

/// The version that is written.
pub(crate) const VERSION: u8 = 2;

/// What an instance has beyond what all have, a bit each.
mod has {
    pub const BY: i64 = 1;
    pub const DATE: i64 = 2;
    pub const CUT: i64 = 4;
    pub const CLOSED: i64 = 8;
    pub const VALUES: i64 = 16;
}

fn put_index(out: &mut Vec<u8>, before: &mut u64, index: u64) {
    put_long(out, index.wrapping_sub(*before).cast_signed());
    *before = index;
}

fn index(from: &mut Reader<'_>, before: &mut u64) -> Result<u64, Refusal> {
    *before = before.wrapping_add(from.long()?.cast_unsigned());
    Ok(*before)
}

fn put_span(out: &mut Vec<u8>, from: Millis, to: Millis) {
    put_long(out, to.0.wrapping_sub(from.0));
}

fn time(from: &mut Reader<'_>, base: Millis) -> Result<Millis, Refusal> {
    Ok(Millis(base.0.wrapping_add(from.long()?)))
}

fn small<T: TryFrom<i64>>(from: &mut Reader<'_>) -> Result<T, Refusal> {
    let found = from.long()?;
    T::try_from(found).map_err(|_| from.malformed("a number is out of range"))
}

/// When the events of a customer came, by their indexes.
pub(crate) struct Times {
    indexes: Vec<u64>,
    times: Vec<Millis>,
    /// Where indexes lie near each other: by the distance from the first one, one more than the place of the event.
    near: Vec<u16>,
    /// Times of events that are not kept, and of first events, are told from here; indexes from `first`.
    pub base: Millis,
    pub first: u64,
}

/// Indexes that lie nearer than this are found without a search.
const NEAR: u64 = 4096;

impl Times {
    /// Times and indexes are told from those of the first event.
    pub fn of(events: impl ExactSizeIterator<Item = (u64, Millis)>) -> Self {
        let (indexes, times): (Vec<u64>, Vec<Millis>) = events.unzip();
        let first = indexes.first().copied().unwrap_or_default();
        let mut near = Vec::new();
        let span = indexes.last().map_or(0, |last| last.wrapping_sub(first) + 1);
        if span <= NEAR {
            near.resize(usize::try_from(span).unwrap_or(0), 0);
            for (index, place) in indexes.iter().zip(1..) {
                if let Some(near) = near.get_mut(usize::try_from(index.wrapping_sub(first)).unwrap_or(usize::MAX)) {
                    *near = place;
                }
            }
        }
        Self {
            base: times.first().copied().unwrap_or_default(),
            first,
            near,
            indexes,
            times,
        }
    }

    /// When an event came, or the base if it is not kept.
    fn at(&self, index: Option<u64>) -> Millis {
        index
            .and_then(|index| self.place(index))
            .map_or(self.base, |place| self.times[place])
    }

    fn place(&self, index: u64) -> Option<usize> {
        let first = self.indexes.first()?;
        if self.near.is_empty() {
            return self.indexes.binary_search(&index).ok();
        }
        let near = self.near.get(usize::try_from(index.wrapping_sub(*first)).ok()?)?;
        usize::from(*near).checked_sub(1)
    }
}

/// Writes events, and how many there are.
pub(crate) fn put_events<'a>(out: &mut Vec<u8>, events: impl ExactSizeIterator<Item = KeptRef<'a>>) {
    put_count(out, events.len());
    let (mut before, mut time) = (0, Millis(0));
    for kept in events {
        put_index(out, &mut before, kept.index);
        put_span(out, time, kept.at);
        time = kept.at;
        put_span(out, kept.at, kept.time);
        for text in kept.texts() {
            put_text(out, text);
        }
        put_map(out, &kept.fields(), put_attribute);
    }
}

/// Writes instances behind each other.
pub(crate) struct Writer {
    pub out: Vec<u8>,
    pub times: Times,
    /// Of the pattern before.
    pub name: Arc<str>,
}

impl Writer {
    fn put_name(&mut self, name: &Arc<str>) {
        let shared = self.name.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let shared = (0..=shared).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        put_count(&mut self.out, shared);
        put_text(&mut self.out, &name[shared..]);
        self.name.clone_from(name);
    }

    pub fn instance(&mut self, instance: &Instance) {
        self.put_name(&instance.pattern);
        put_instance(&mut self.out, instance, &self.times);
    }

    pub fn chain(&mut self, instance: &ChainRuns<'_>) {
        self.put_name(instance.pattern);
        let Self { out, times, .. } = self;
        put_long(out, instance.version.into());
        // It has nothing beyond what all have.
        put_long(out, 0);
        match instance.sightings() {
            None => put_count(out, 0),
            Some((index, first_events)) => {
                put_count(out, first_events.clone().count());
                let (mut before, mut time) = (times.first, times.base);
                for at in first_events {
                    put_index(out, &mut before, index);
                    put_span(out, time, at);
                    time = at;
                    put_long(out, 1 << 1 | 1);
                }
            }
        }
        let runs = instance.runs();
        put_count(out, runs.len());
        for run in runs {
            put_long(out, i64::from(run.step()) << 2);
            let evidence = run.evidence();
            put_count(out, evidence.len());
            let (mut before, mut ends) = (times.first, (None, None));
            for index in evidence {
                put_index(out, &mut before, index);
                ends = (ends.0.or(Some(index)), Some(index));
            }
            put_counts(out, &run.counts());
            put_span(out, times.at(ends.0), run.start());
            put_span(out, times.at(ends.1), run.done());
        }
    }
}

fn put_instance(out: &mut Vec<u8>, instance: &Instance, times: &Times) {
    put_long(out, instance.version.into());
    let has_cut = instance.cut != 0 || instance.waiting_cut != 0;
    let flags = [
        (has::BY, !instance.by.is_empty()),
        (has::DATE, instance.date.is_some()),
        (has::CUT, has_cut),
        (has::CLOSED, instance.closed.is_some()),
        (has::VALUES, !instance.values.is_empty()),
    ];
    put_long(
        out,
        flags.iter().filter(|(_, is_set)| *is_set).map(|(bit, _)| bit).sum(),
    );
    if !instance.by.is_empty() {
        put_list(out, &instance.by, put_attribute);
    }
    if let Some(date) = instance.date {
        put_long(out, date.0);
    }
    if has_cut {
        put_long(out, instance.cut.cast_signed());
        put_long(out, instance.waiting_cut.cast_signed());
    }
    if let Some(closed) = instance.closed {
        put_long(out, closed.cast_signed());
    }
    put_count(out, instance.sightings.len());
    let (mut before, mut time) = (times.first, times.base);
    for sighting in &instance.sightings {
        put_index(out, &mut before, sighting.index);
        put_span(out, time, sighting.at);
        time = sighting.at;
        put_long(out, i64::from(sighting.members) << 1 | i64::from(!sighting.is_usable));
    }
    if !instance.values.is_empty() {
        put_list(out, &instance.values, put_attribute);
    }
    put_count(out, instance.runs.len());
    for run in &instance.runs {
        put_run(out, run, times);
    }
}

/// Counts up to the last one that is not 0.
fn put_counts<T: Copy + Into<i64>>(out: &mut Vec<u8>, counts: &[T; 8]) {
    let last = counts.iter().rposition(|count| (*count).into() != 0);
    let counts = &counts[..last.map_or(0, |last| last + 1)];
    put_count(out, counts.len());
    for count in counts {
        put_long(out, (*count).into());
    }
}

fn put_run(out: &mut Vec<u8>, run: &Run, times: &Times) {
    // A captured value or a gathered event is rare, and a deadline is not the rule.
    let flags = i64::from(run.deadline.is_some()) | i64::from(!(run.captured.is_empty() && run.tail.is_empty())) << 1;
    put_long(out, flags | i64::from(run.step) << 2 | i64::from(run.seen) << 6);
    put_count(out, run.evidence.len());
    let mut before = times.first;
    for index in &run.evidence {
        put_index(out, &mut before, *index);
    }
    put_counts(out, &run.counts);
    put_span(out, times.at(run.evidence.first().copied()), run.start);
    let done = run.evidence.len().checked_sub(usize::from(run.seen) + 1);
    put_span(out, times.at(done.map(|last| run.evidence[last])), run.done);
    if let Some(deadline) = run.deadline {
        put_span(out, run.done, deadline);
    }
    if !(run.captured.is_empty() && run.tail.is_empty()) {
        put_list(out, &run.captured, |out, value| {
            put_option(out, value.as_ref(), put_attribute)
        });
        put_list(out, &run.tail, |out, counted| {
            put_long(out, i64::from(counted.before));
            put_attribute(out, &counted.value);
        });
    }
}

/// Reads a row of either version.
pub(crate) fn get(version: u8, from: &mut Reader<'_>) -> Result<Runs, Refusal> {
    if version == 1 {
        first_version(from)
    } else {
        second_version(from)
    }
}

fn second_version(from: &mut Reader<'_>) -> Result<Runs, Refusal> {
    let events = read_events(from)?;
    let times = Times::of(events.iter().map(Kept::view).map(|kept| (kept.index, kept.at)));
    let (mut instances, mut name) = (Vec::new(), String::new());
    for _ in 0..from.long()? {
        instances.push(read_named(from, &mut name, &times)?);
    }
    Ok(Runs::restored(instances, events))
}

/// Reads what [`put_events`] wrote.
pub(crate) fn read_events(from: &mut Reader<'_>) -> Result<Vec<Kept>, Refusal> {
    let mut events: Vec<Kept> = Vec::new();
    let (mut before, mut last) = (0, Millis(0));
    for _ in 0..from.long()? {
        let index = index(from, &mut before)?;
        let at = time(from, last)?;
        last = at;
        let own = time(from, at)?;
        let event = EventRef {
            id: from.text()?,
            source: from.text()?,
            kind: from.text()?,
            time: own,
            position: from.text()?,
        };
        events.push(kept(index, at, &event, &from.map(read_attribute)?));
    }
    Ok(events)
}

/// Reads an instance behind its name, which is told from the one before.
pub(crate) fn read_named(from: &mut Reader<'_>, name: &mut String, times: &Times) -> Result<Instance, Refusal> {
    let shared: usize = small(from)?;
    if !name.is_char_boundary(shared) {
        return Err(from.malformed("a name does not fit the one before"));
    }
    name.truncate(shared);
    name.push_str(&from.text()?);
    read_instance(from, Arc::from(name.as_str()), times)
}

fn kept(index: u64, at: Millis, event: &EventRef, fields: &BTreeMap<String, Attribute>) -> Kept {
    let fields = fields.iter().map(|(name, value)| (name.as_str(), Value::from(value)));
    Kept::new(index, at, event, fields)
}

fn read_instance(from: &mut Reader<'_>, pattern: Arc<str>, times: &Times) -> Result<Instance, Refusal> {
    let mut instance = Instance {
        pattern,
        version: small(from)?,
        ..Instance::default()
    };
    let flags = from.long()?;
    if flags & !(has::BY | has::DATE | has::CUT | has::CLOSED | has::VALUES) != 0 {
        return Err(from.malformed("an instance has unknown parts"));
    }
    if flags & has::BY != 0 {
        instance.by = from.list(read_attribute)?;
    }
    if flags & has::DATE != 0 {
        instance.date = Some(Millis(from.long()?));
    }
    if flags & has::CUT != 0 {
        instance.cut = from.long()?.cast_unsigned();
        instance.waiting_cut = from.long()?.cast_unsigned();
    }
    if flags & has::CLOSED != 0 {
        instance.closed = Some(from.long()?.cast_unsigned());
    }
    let (mut before, mut last) = (times.first, times.base);
    for _ in 0..from.long()? {
        let index = index(from, &mut before)?;
        let at = time(from, last)?;
        last = at;
        let marks: u16 = small(from)?;
        instance.sightings.push_back(Sighting {
            index,
            at,
            members: u8::try_from(marks >> 1).map_err(|_| from.malformed("an event has unknown members"))?,
            is_usable: marks & 1 == 0,
        });
    }
    if flags & has::VALUES != 0 {
        instance.values = from.list(read_attribute)?;
        if instance.values.len() != instance.sightings.len() {
            return Err(from.malformed("values and events differ in number"));
        }
    }
    for _ in 0..from.long()? {
        instance.runs.push(read_run(from, times)?);
    }
    Ok(instance)
}

fn read_run(from: &mut Reader<'_>, times: &Times) -> Result<Run, Refusal> {
    let marks: u16 = small(from)?;
    let mut run = Run {
        step: (marks >> 2 & 15) as u8,
        seen: u8::try_from(marks >> 6).map_err(|_| from.malformed("a run has seen too much"))?,
        ..Run::default()
    };
    let mut before = times.first;
    for _ in 0..from.long()? {
        run.evidence.push(index(from, &mut before)?);
    }
    if run.evidence.len() < usize::from(run.seen) {
        return Err(from.malformed("a run names too few events"));
    }
    let counts: usize = small(from)?;
    for place in 0..counts {
        let count = small(from)?;
        *run.counts
            .get_mut(place)
            .ok_or_else(|| from.malformed("a run counts too many steps"))? = count;
    }
    run.start = time(from, times.at(run.evidence.first().copied()))?;
    let done = run.evidence.len().checked_sub(usize::from(run.seen) + 1);
    run.done = time(from, times.at(done.map(|last| run.evidence[last])))?;
    if marks & 1 != 0 {
        run.deadline = Some(time(from, run.done)?);
    }
    if marks & 2 != 0 {
        run.captured = from.list(|from| from.option(read_attribute))?;
        run.tail = from.list(|from| {
            Ok(Counted {
                before: small(from)?,
                value: read_attribute(from)?,
            })
        })?;
    }
    Ok(run)
}

/// Version 1 had a run for every count of a step, also of the first one, and times alone for what the first step counts.
fn first_version(from: &mut Reader<'_>) -> Result<Runs, Refusal> {
    let instances = from.list(|from| {
        let mut instance = Instance {
            pattern: Arc::from(from.text()?),
            version: i32::get(from)?,
            by: from.list(read_attribute)?,
            ..Instance::default()
        };
        let times: Vec<Millis> = Wire::get(from)?;
        let runs = from.list(first_run)?;
        // Of the events of the first step the last ones are known by their index: the longest run has them.
        let begun = runs.iter().filter(|run| run.step == 0).max_by_key(|run| run.seen);
        let known = begun.map_or(&[][..], |run| &run.evidence[..]);
        let skipped = times.len().saturating_sub(known.len());
        for (place, at) in times.into_iter().enumerate() {
            let index = place.checked_sub(skipped).and_then(|place| known.get(place).copied());
            instance.sightings.push_back(Sighting {
                index: index.unwrap_or(0),
                at,
                members: 1,
                is_usable: index.is_some(),
            });
        }
        instance.runs = runs.into_iter().filter(|run| run.step > 0).collect();
        Ok(instance)
    })?;
    let mut events = Vec::new();
    for _ in 0..from.long()? {
        let index = from.long()?.cast_unsigned();
        let event: EventRef = Wire::get(from)?;
        let at = Millis::get(from)?;
        let fields = from.map(read_attribute)?;
        events.push(kept(index, at, &event, &fields));
    }
    Ok(Runs::restored(instances, events))
}

fn first_run(from: &mut Reader<'_>) -> Result<Run, Refusal> {
    let mut run = Run {
        step: u8::get(from)?,
        seen: u8::get(from)?,
        ..Run::default()
    };
    run.evidence = from.list(|from| from.long().map(i64::cast_unsigned))?.into();
    let counts: Vec<u32> = Wire::get(from)?;
    for (slot, count) in run.counts.iter_mut().zip(&counts) {
        *slot = *count;
    }
    run.start = Millis::get(from)?;
    run.done = Millis::get(from)?;
    run.deadline = from.option(|from| Millis::get(from))?;
    run.captured = from.list(|from| from.option(read_attribute))?;
    // Waits that held: they follow from the pattern now.
    from.list(|from| Ok((u8::get(from)?, Millis::get(from)?, Millis::get(from)?)))?;
    let before = counts.len().checked_sub(2).map_or(0, |place| counts[place]);
    let counted = Counted {
        before,
        value: Attribute::Null,
    };
    run.tail = vec![counted; usize::from(run.seen)];
    Ok(run)
}
