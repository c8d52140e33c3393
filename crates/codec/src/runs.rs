//! The row `ru`: open runs of patterns and the events that they name.
//!
//! Version 2 writes differences: indexes from the one before, times from those of the events, names from the part in which they
//! differ. Where a run stands follows from its events nearly always, so it takes a dozen bytes. Version 1 is read.

use std::{collections::BTreeMap, sync::Arc};

use event::{Attribute, EventRef, Millis};
use pattern::{Counted, Instance, Kept, KeptRef, Run, Runs, Sighting, Value};

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

/// When an event came, or `base` if it is not kept.
fn at(events: &[KeptRef<'_>], index: Option<&u64>, base: Millis) -> Millis {
    let found = index.and_then(|index| events.binary_search_by_key(index, |kept| kept.index).ok());
    found.map_or(base, |place| events[place].at)
}

/// Writes version 2, without the version itself.
pub(crate) fn put(out: &mut Vec<u8>, runs: &Runs) {
    let events: Vec<KeptRef<'_>> = runs.events().collect();
    let base = events.first().map_or(Millis(0), |kept| kept.at);
    let first = events.first().map_or(0, |kept| kept.index);
    put_count(out, events.len());
    let (mut before, mut time) = (0, Millis(0));
    for kept in &events {
        put_index(out, &mut before, kept.index);
        put_span(out, time, kept.at);
        time = kept.at;
        put_span(out, kept.at, kept.time);
        for text in kept.texts() {
            put_text(out, text);
        }
        put_map(out, &kept.fields(), put_attribute);
    }
    put_count(out, runs.instance_count());
    let mut name: Arc<str> = Arc::from("");
    runs.each(&mut |instance| {
        let shared = name
            .bytes()
            .zip(instance.pattern.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let shared = (0..=shared)
            .rev()
            .find(|at| instance.pattern.is_char_boundary(*at))
            .unwrap_or(0);
        put_count(out, shared);
        put_text(out, &instance.pattern[shared..]);
        name.clone_from(&instance.pattern);
        put_instance(out, instance, &events, base, first);
    });
}

fn put_instance(out: &mut Vec<u8>, instance: &Instance, events: &[KeptRef<'_>], base: Millis, first: u64) {
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
    let (mut before, mut time) = (first, base);
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
        put_run(out, run, events, base, first);
    }
}

fn put_run(out: &mut Vec<u8>, run: &Run, events: &[KeptRef<'_>], base: Millis, first: u64) {
    // A captured value or a gathered event is rare, and a deadline is not the rule.
    let flags = i64::from(run.deadline.is_some()) | i64::from(!(run.captured.is_empty() && run.tail.is_empty())) << 1;
    put_long(out, flags | i64::from(run.step) << 2 | i64::from(run.seen) << 6);
    put_count(out, run.evidence.len());
    let mut before = first;
    for index in &run.evidence {
        put_index(out, &mut before, *index);
    }
    let counts = run
        .counts
        .iter()
        .rposition(|count| *count != 0)
        .map_or(0, |last| last + 1);
    put_count(out, counts);
    for count in &run.counts[..counts] {
        put_long(out, i64::from(*count));
    }
    put_span(out, at(events, run.evidence.first(), base), run.start);
    let done = run.evidence.len().checked_sub(usize::from(run.seen) + 1);
    put_span(out, at(events, done.map(|last| &run.evidence[last]), base), run.done);
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
    let views: Vec<KeptRef<'_>> = events.iter().map(Kept::view).collect();
    let base = views.first().map_or(Millis(0), |kept| kept.at);
    let first = views.first().map_or(0, |kept| kept.index);
    let (mut instances, mut name) = (Vec::new(), String::new());
    for _ in 0..from.long()? {
        let shared: usize = small(from)?;
        if !name.is_char_boundary(shared) {
            return Err(from.malformed("a name does not fit the one before"));
        }
        name.truncate(shared);
        name.push_str(&from.text()?);
        instances.push(read_instance(from, Arc::from(name.as_str()), &views, base, first)?);
    }
    Ok(Runs::restored(instances, events))
}

fn kept(index: u64, at: Millis, event: &EventRef, fields: &BTreeMap<String, Attribute>) -> Kept {
    let fields = fields.iter().map(|(name, value)| (name.as_str(), Value::from(value)));
    Kept::new(index, at, event, fields)
}

fn read_instance(
    from: &mut Reader<'_>,
    pattern: Arc<str>,
    events: &[KeptRef<'_>],
    base: Millis,
    first: u64,
) -> Result<Instance, Refusal> {
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
    let (mut before, mut last) = (first, base);
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
        instance.runs.push(read_run(from, events, base, first)?);
    }
    Ok(instance)
}

fn read_run(from: &mut Reader<'_>, events: &[KeptRef<'_>], base: Millis, first: u64) -> Result<Run, Refusal> {
    let marks: u16 = small(from)?;
    let mut run = Run {
        step: (marks >> 2 & 15) as u8,
        seen: u8::try_from(marks >> 6).map_err(|_| from.malformed("a run has seen too much"))?,
        ..Run::default()
    };
    let mut before = first;
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
    run.start = time(from, at(events, run.evidence.first(), base))?;
    let done = run.evidence.len().checked_sub(usize::from(run.seen) + 1);
    run.done = time(from, at(events, done.map(|last| &run.evidence[last]), base))?;
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
