//! Stepping one customer's runs: an event, or the clock.
//!
//! Work follows the programs that name the event's type and the runs this customer has. Existence is enough: per place (step,
//! count, captured values) the latest run is kept, because its events are, position by position, no earlier than those of any
//! other run there, so that whatever can complete another can complete it.

mod all;
mod matched;
mod pick;
mod sequence;
mod turn;

use std::{collections::BTreeMap, sync::Arc};

use event::{Absence, Attribute, Event, EventRef, Millis, Seen};

use crate::{
    Catalogue, Ignored, Instance, Kept, Note, Observer, Pattern, Run, Runs, Subject, Unobserved, Value,
    catalogue::{Entry, Program},
    value::assign,
};
use turn::{Memo, Turn};

/// What predicates and sentences may read beside events.
pub trait Facts {
    /// A scalar of the profile by dotted path.
    fn profile(&self, path: &str) -> Option<Value<'_>>;
    /// A scalar of the journey by dotted path.
    fn journey(&self, path: &str) -> Option<Value<'_>>;
}

/// Facts of a customer about whom nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn profile(&self, _: &str) -> Option<Value<'_>> {
        None
    }

    fn journey(&self, _: &str) -> Option<Value<'_>> {
        None
    }
}

/// An event as patterns see it.
#[derive(Debug, Clone, Copy)]
pub struct Occurrence<'a> {
    /// The record's event.
    pub event: &'a Event,
    /// Its type, or the type derived from it.
    pub kind: &'a str,
    /// Fields of a derived event, read before the event's own.
    pub extra: &'a [(&'a str, Attribute)],
    /// The customer's time.
    pub at: Millis,
    /// Strictly rising per customer; a derived event has one of its own.
    pub index: u64,
    /// `topic/partition/offset`.
    pub position: &'a str,
}

/// What came of a step. Reused from call to call, so that its memory is.
#[derive(Debug, Default)]
pub struct Stepped {
    /// Matches, in order of moment, pattern and by-key.
    pub matches: Vec<Match>,
    /// Runs dropped by a cap.
    pub capped: u32,
    /// Patterns a predicate of which failed (a missing field is no failure).
    pub failed: Vec<Arc<str>>,
    scratch: Scratch,
}

/// Memory that outlives an event.
#[derive(Debug, Default)]
struct Scratch {
    memo: Memo,
    fresh: Vec<Run>,
    runs: Vec<Run>,
    kept: Vec<Kept>,
    #[expect(
        clippy::vec_box,
        reason = "instances live in boxes, and it is the boxes that are reused"
    )]
    instances: Vec<Box<Instance>>,
}

/// How many runs and instances are kept for reuse.
const SPARE: usize = 2048;

/// A pattern matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The pattern.
    pub pattern: Arc<Pattern>,
    /// The values by which events were joined.
    pub by: BTreeMap<String, String>,
    /// The first event's time.
    pub opened_at: Millis,
    /// Completion.
    pub matched_at: Millis,
    /// Per `see` step what was seen.
    pub seen: Vec<Seen>,
    /// Per `absent` step what did not happen, and from when until when.
    pub absent: Vec<Absence>,
    /// Every event used, by `see` step, in order.
    pub evidence: Vec<Vec<EventRef>>,
    /// The sentence per language.
    pub because: BTreeMap<String, String>,
}

impl Catalogue {
    /// Steps a customer's runs by one event. Deadlines due by then must have been fired by [`Catalogue::on_time`] before.
    pub fn on_event(&self, runs: &mut Runs, of: &Occurrence<'_>, facts: &dyn Facts, out: &mut Stepped) {
        self.on_event_observed(runs, of, facts, out, &mut Unobserved);
    }

    /// As [`Catalogue::on_event`], telling an observer what was done and why.
    pub fn on_event_observed<O: Observer>(
        &self,
        runs: &mut Runs,
        of: &Occurrence<'_>,
        facts: &dyn Facts,
        out: &mut Stepped,
        observer: &mut O,
    ) {
        self.prepare(runs, of.at, facts, out, observer);
        let found = self.by_type.get(of.kind);
        if O::ACTIVE {
            self.tell_unnamed(found.map_or(&[], |found| &found.entries), of, observer);
        }
        let Some(found) = found else { return };
        out.scratch.memo.begin(found.shared.len());
        let (mut cursor, mut is_kept, mut moved_due) = (0, false, false);
        for entry in &found.entries {
            let program = &self.programs[entry.program as usize];
            let mut key = [Value::Null; 3];
            let missing = program.by.iter().zip(&mut key).find_map(|(field, slot)| {
                let value = field.read(of);
                *slot = value.unwrap_or(Value::Null);
                value.is_none().then_some(field)
            });
            if let Some(field) = missing {
                if O::ACTIVE {
                    let note = Note::Ignored(Ignored::By { field: field.name() });
                    observer.note(&subject(program, &[], of.at), &note);
                }
                continue;
            }
            let by = &key[..program.by.len()];
            let place = runs.locate(entry.program, by, cursor);
            let (Ok(index) | Err(index)) = place;
            cursor = index;
            if place.is_err() && !O::ACTIVE && (program.is_closing || !begins(program, entry)) {
                continue;
            }
            let mut new = place.is_err().then(|| out.scratch.blank(program, by, facts));
            let instance = match &mut new {
                Some(new) => &mut **new,
                None => &mut *runs.instances[index],
            };
            let (due, weight) = (instance.due, instance.weight);
            // Whatever else is of no concern here is not even read: catalogues are large, and caches small.
            let mut turn = Turn {
                program,
                entry,
                shared: &found.shared,
                of,
                facts,
                memo: &mut out.scratch.memo,
                fresh: &mut out.scratch.fresh,
                spare: &mut out.scratch.runs,
                observer,
                is_used: false,
                is_failed: false,
            };
            let complete = if program.is_all {
                turn.all(instance)
            } else {
                turn.sequence(instance)
            };
            let (is_used, is_failed) = (turn.is_used, turn.is_failed);
            if is_failed {
                out.failed.push(program.id.clone());
            }
            if is_used && !is_kept {
                is_kept = true;
                let kept = self.keep(of, &mut out.scratch.kept);
                runs.events.push(kept);
            }
            if let Some(run) = complete {
                let matched = matched::build(program, &run, instance, &runs.events, of.at, facts);
                tell_match(program, instance, &matched, observer);
                out.matches.push(matched);
                out.scratch.runs.push(run);
                instance.clear(&mut out.scratch.runs);
                if !program.siblings.is_empty() {
                    if let Some(new) = new.take() {
                        out.scratch.instances.push(new);
                    }
                    self.clear_siblings(runs, program, by, of.at, &mut out.scratch, observer);
                    cursor = 0;
                    moved_due = true;
                    continue;
                }
            }
            if program.has_waits {
                instance.due = instance.earliest();
                moved_due |= instance.due != due;
            }
            instance.weight = instance.weigh();
            let (now, is_blank) = (instance.weight, instance.is_blank());
            runs.weight = runs.weight + now - weight;
            match new {
                Some(new) if is_blank => out.scratch.instances.push(new),
                Some(new) => {
                    runs.is_dated |= program.is_dated;
                    runs.slots.insert(index, entry.program);
                    runs.instances.insert(index, new);
                }
                None if is_blank => {
                    runs.slots.remove(index);
                    out.scratch.instances.push(runs.instances.remove(index));
                }
                None => {}
            }
            if now > weight {
                moved_due |= self.cap(runs, entry.program, of.at, out, observer);
            }
        }
        if of.index.is_multiple_of(32) {
            self.expire(runs, of.at, &mut out.scratch);
        }
        if runs.events.len() >= runs.sweep_at || runs.instances.is_empty() {
            runs.sweep_into(&mut out.scratch.kept);
        }
        if moved_due {
            runs.refresh_due();
        }
        out.scratch.trim();
    }

    /// Fires every wait whose deadline is at or before `clock`, in order of deadline, pattern and by-key.
    pub fn on_time(&self, runs: &mut Runs, clock: Millis, facts: &dyn Facts, out: &mut Stepped) {
        self.on_time_observed(runs, clock, facts, out, &mut Unobserved);
    }

    /// As [`Catalogue::on_time`], telling an observer what was done and why.
    pub fn on_time_observed<O: Observer>(
        &self,
        runs: &mut Runs,
        clock: Millis,
        facts: &dyn Facts,
        out: &mut Stepped,
        observer: &mut O,
    ) {
        self.prepare(runs, clock, facts, out, observer);
        let mut has_fired = false;
        while let Some(due) = runs.due.filter(|due| *due <= clock) {
            has_fired = true;
            let place = runs.instances.iter().position(|instance| instance.due == Some(due));
            let Some(index) = place else {
                runs.refresh_due();
                continue;
            };
            let program = &self.programs[runs.slots[index] as usize];
            let instance = &mut *runs.instances[index];
            let complete = fire(program, instance, due, &mut out.scratch, observer);
            if let Some(run) = complete {
                let matched = matched::build(program, &run, instance, &runs.events, due, facts);
                tell_match(program, instance, &matched, observer);
                out.matches.push(matched);
                out.scratch.runs.push(run);
                instance.clear(&mut out.scratch.runs);
                if !program.siblings.is_empty() {
                    let by = instance.by.clone();
                    let by: Vec<Value<'_>> = by.iter().map(Value::from).collect();
                    self.clear_siblings(runs, program, &by, due, &mut out.scratch, observer);
                }
            } else {
                instance.due = instance.earliest();
            }
            self.drop_blanks(runs, &mut out.scratch);
            runs.refresh_due();
        }
        if has_fired {
            runs.sweep_into(&mut out.scratch.kept);
        }
        out.scratch.trim();
    }

    /// Finds places in this catalogue, and discards what began under another date of `during`.
    fn prepare<O: Observer>(
        &self,
        runs: &mut Runs,
        at: Millis,
        facts: &dyn Facts,
        out: &mut Stepped,
        observer: &mut O,
    ) {
        if runs.bound != Some(self.stamp) {
            runs.bind(self);
        }
        if !runs.is_dated {
            return;
        }
        for (instance, slot) in runs.instances.iter_mut().zip(&runs.slots) {
            let program = &self.programs[*slot as usize];
            let Some(during) = program.during() else {
                continue;
            };
            let date = facts.profile(&during.field).and_then(|value| value.date());
            if date == instance.date {
                continue;
            }
            instance.date = date;
            out.scratch.runs.append(&mut instance.runs);
            for sighting in &mut instance.sightings {
                sighting.is_usable = false;
            }
            instance.due = None;
            if O::ACTIVE {
                observer.note(&subject(program, &instance.by, at), &Note::DateChanged);
            }
        }
        runs.refresh_due();
    }

    /// Clears what other versions of a pattern have of the same by-key, or of every by-key if they join by other fields.
    fn clear_siblings<O: Observer>(
        &self,
        runs: &mut Runs,
        program: &Program,
        by: &[Value<'_>],
        at: Millis,
        scratch: &mut Scratch,
        observer: &mut O,
    ) {
        for (instance, slot) in runs.instances.iter_mut().zip(&runs.slots) {
            if !program.siblings.contains(slot) {
                continue;
            }
            let sibling = &self.programs[*slot as usize];
            let is_same = sibling.by != program.by || crate::runs::order(&instance.by, by).is_eq();
            if is_same {
                instance.clear(&mut scratch.runs);
                if O::ACTIVE {
                    let note = Note::OtherVersion {
                        version: program.version,
                    };
                    observer.note(&subject(sibling, &instance.by, at), &note);
                }
            }
        }
        self.drop_blanks(runs, scratch);
    }

    fn drop_blanks(&self, runs: &mut Runs, scratch: &mut Scratch) {
        runs.weight = 0;
        let mut left = 0;
        for index in 0..runs.instances.len() {
            let instance = &mut runs.instances[index];
            if instance.is_blank() {
                continue;
            }
            instance.weight = instance.weigh();
            runs.weight += instance.weight;
            runs.instances.swap(left, index);
            runs.slots.swap(left, index);
            left += 1;
        }
        runs.slots.truncate(left);
        scratch.instances.extend(runs.instances.drain(left..));
    }

    /// Drops what nothing can complete any more. Lazy: it changes no match.
    fn expire(&self, runs: &mut Runs, now: Millis, scratch: &mut Scratch) {
        let mut is_any_blank = false;
        for (instance, slot) in runs.instances.iter_mut().zip(&runs.slots) {
            let within = self.programs[*slot as usize].within;
            let gone = |run: &mut Run| run.deadline.is_none() && now.since(run.start) > within;
            scratch.runs.extend(instance.runs.extract_if(.., gone));
            if instance.due.is_none() {
                sequence::forget_old(instance, now, within);
            }
            is_any_blank |= instance.is_blank();
        }
        if is_any_blank {
            self.drop_blanks(runs, scratch);
        }
    }

    fn keep(&self, of: &Occurrence<'_>, spare: &mut Vec<Kept>) -> Kept {
        let mut kept = spare.pop().unwrap_or_default();
        let texts = [&of.event.id, &of.event.source, of.kind, of.position];
        let fields = self.kept_fields.iter();
        let fields = fields.filter_map(|field| Some((field.name(), field.read(of)?)));
        kept.fill(of.index, of.at, of.event.time, texts, fields);
        kept
    }

    /// Drops the oldest starts beyond the caps; whether one was dropped.
    fn cap<O: Observer>(&self, runs: &mut Runs, number: u32, at: Millis, out: &mut Stepped, observer: &mut O) -> bool {
        let mut has_dropped = false;
        loop {
            let first = runs.slots.partition_point(|slot| *slot < number);
            let same = runs.slots[first..].partition_point(|slot| *slot == number);
            let own = first..first + same;
            let weight: usize = runs.instances[own.clone()].iter().map(|instance| instance.weight).sum();
            let among = if weight > self.limits.per_pattern {
                own
            } else if runs.weight > self.limits.per_customer {
                0..runs.instances.len()
            } else {
                return has_dropped;
            };
            has_dropped = true;
            let oldest = among.min_by_key(|index| runs.instances[*index].oldest());
            let Some(index) = oldest else { return has_dropped };
            out.capped += 1;
            let program = &self.programs[runs.slots[index] as usize];
            let instance = &mut *runs.instances[index];
            if O::ACTIVE {
                observer.note(&subject(program, &instance.by, at), &Note::Capped { runs: 1 });
            }
            let oldest = instance.runs.iter().min_by_key(|run| (run.start, run.step)).cloned();
            match oldest {
                Some(oldest) => {
                    let gone = |run: &mut Run| run.is_grouped_with(&oldest);
                    out.scratch.runs.extend(instance.runs.extract_if(.., gone));
                    if instance.runs.is_empty() {
                        instance.clear(&mut out.scratch.runs);
                    }
                }
                None => instance.clear(&mut out.scratch.runs),
            }
            instance.due = instance.earliest();
            self.drop_blanks(runs, &mut out.scratch);
        }
    }

    fn tell_unnamed<O: Observer>(&self, entries: &[Entry], of: &Occurrence<'_>, observer: &mut O) {
        for (number, program) in self.programs.iter().enumerate() {
            if !entries.iter().any(|entry| entry.program as usize == number) {
                observer.note(&subject(program, &[], of.at), &Note::Ignored(Ignored::Type));
            }
        }
    }
}

/// Whether an event that an entry sees can begin a match.
fn begins(program: &Program, entry: &Entry) -> bool {
    if program.is_all {
        entry.sees != 0
    } else {
        entry.sees & 1 != 0
    }
}

fn subject<'a>(program: &'a Program, by: &'a [Attribute], at: Millis) -> Subject<'a> {
    Subject {
        pattern: &program.pattern,
        by,
        at,
    }
}

fn tell_match<O: Observer>(program: &Program, instance: &Instance, matched: &Match, observer: &mut O) {
    if O::ACTIVE {
        let ids = |events: &Vec<EventRef>| events.iter().map(|event| event.id.clone()).collect();
        let note = Note::Matched {
            since: matched.opened_at,
            events: matched.evidence.iter().map(ids).collect(),
        };
        observer.note(&subject(program, &instance.by, matched.matched_at), &note);
    }
}

/// Fires the waits of an instance that are due; the run that is complete by that, if one is.
fn fire<O: Observer>(
    program: &Program,
    instance: &mut Instance,
    due: Millis,
    scratch: &mut Scratch,
    observer: &mut O,
) -> Option<Run> {
    let mut ready = std::mem::take(&mut scratch.fresh);
    ready.extend(instance.runs.extract_if(.., |run| run.deadline == Some(due)));
    let during = program.pattern.when.during.as_ref();
    let is_inside = during.is_none_or(|during| during.holds(instance.date, due));
    let mut best: Option<Run> = None;
    for run in ready.drain(..) {
        if O::ACTIVE {
            let step = if program.pattern.when.any_order {
                program.waits[usize::from(run.step)].0
            } else {
                usize::from(run.step)
            };
            let note = Note::Held { step, since: run.done };
            observer.note(&subject(program, &instance.by, due), &note);
        }
        let complete = if program.pattern.when.any_order {
            all::fired(program, instance, run, due)
        } else {
            sequence::fired(program, instance, run, due, &mut scratch.runs, observer)
        };
        let Some(run) = complete else { continue };
        let is_better = best.as_ref().is_none_or(|best| run.evidence > best.evidence);
        if is_inside && due.since(run.start) <= program.within && is_better {
            scratch.runs.extend(best.replace(run));
        } else {
            scratch.runs.push(run);
        }
    }
    scratch.fresh = ready;
    best
}

impl Scratch {
    /// An instance without anything in it yet.
    fn blank(&mut self, program: &Program, by: &[Value<'_>], facts: &dyn Facts) -> Box<Instance> {
        let mut instance = self.instances.pop().unwrap_or_default();
        instance.clear(&mut self.runs);
        instance.pattern.clone_from(&program.id);
        instance.version = program.version;
        instance.weight = 0;
        instance.by.resize(by.len(), Attribute::Null);
        for (slot, value) in instance.by.iter_mut().zip(by) {
            assign(slot, *value);
        }
        let during = program.pattern.when.during.as_ref();
        instance.date = during.and_then(|during| facts.profile(&during.field)?.date());
        instance
    }

    fn trim(&mut self) {
        self.runs.truncate(SPARE);
        self.instances.truncate(SPARE);
        self.kept.truncate(SPARE);
    }
}
