//! Stepping one customer's runs: an event, or the clock.
//!
//! Work follows the programs that name the event's type and the runs this customer has. Existence is enough: per place (step,
//! count, captured values) the latest run is kept, because its events are, position by position, no earlier than those of any
//! other run there, so that whatever can complete another can complete it.

mod all;
mod chain;
mod matched;
mod pick;
mod place;
mod sequence;
mod turn;
mod upkeep;

use std::sync::Arc;

use event::{Attribute, Event, Millis};

use crate::{
    Catalogue, Ignored, Instance, Note, Observer, Run, Runs, Subject, Unobserved, Value,
    catalogue::{Entry, Program},
    runs::{MOST, Marks},
    value::assign,
};
pub use matched::Match;
use turn::Turn;
pub(crate) use turn::{Memo, Sight};

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
    /// Patterns a predicate of which had no result: a field was missing, a type wrong, a number too large, a divisor zero.
    pub failed: Vec<Arc<str>>,
    scratch: Scratch,
}

/// Memory that outlives an event.
#[derive(Debug, Default)]
struct Scratch {
    memo: Memo,
    fresh: Vec<Run>,
    runs: Vec<Run>,
    marks: Marks,
    #[expect(
        clippy::vec_box,
        reason = "instances live in boxes, and it is the boxes that are reused"
    )]
    instances: Vec<Box<Instance>>,
}

/// How many runs and instances are kept for reuse.
const SPARE: usize = 2048;

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
        let mut memo = std::mem::take(&mut out.scratch.memo);
        let mut sight = Sight::new(of, facts, found, &mut memo);
        let first_match = out.matches.len();
        let entries = if O::ACTIVE { &found.entries } else { &found.others };
        let mut is_kept = false;
        if O::ACTIVE {
            // One way to step them all is told of: chains are stepped as what they stand for.
            runs.thaw();
        } else if !found.moves.is_empty() {
            is_kept = self.step_chains(runs, &mut sight, out);
        }
        let (mut cursor, mut moved_due) = (0, false);
        for entry in entries {
            let program = &self.programs[entry.program as usize];
            let mut key = [Value::Null; 3];
            let missing = program.by.iter().zip(&mut key).find_map(|(field, slot)| {
                let value = field.read(of);
                *slot = value.map_or(Value::Null, Value::unified);
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
                of,
                sight: &mut sight,
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
                self.keep(of, &mut runs.events);
            }
            if let Some(run) = complete {
                let matched = matched::build(program, &run, &instance.by, &runs.events, of.at, facts);
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
            // Chains are capped behind the event, watched or not.
            if now > weight && !program.is_chain && self.cap(runs, Some(entry.program), of.at, out, observer) {
                (cursor, moved_due) = (0, true);
            }
        }
        out.scratch.memo = memo;
        if O::ACTIVE {
            runs.freeze(self);
        }
        if runs.weight + runs.chains.len() > self.limits.per_customer.min(MOST) {
            moved_due |= self.cap(runs, None, of.at, out, observer);
        }
        if out.matches.len() > first_match + 1 {
            out.matches[first_match..].sort_by(|a, b| a.pattern.id.cmp(&b.pattern.id));
        }
        if of.index.is_multiple_of(32) {
            self.expire(runs, of.at, &mut out.scratch);
        }
        if runs.events.len() >= runs.sweep_at || runs.is_empty() {
            runs.sweep(&mut out.scratch.marks);
        }
        if moved_due {
            runs.refresh_due();
        }
        if !entries.is_empty() {
            out.scratch.trim();
        }
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
            let Some(first) = place else {
                runs.refresh_due();
                continue;
            };
            let index = self.next_due(runs, first, due);
            let program = &self.programs[runs.slots[index] as usize];
            let instance = &mut *runs.instances[index];
            let complete = fire(program, instance, due, &mut out.scratch, observer);
            if let Some(run) = complete {
                let matched = matched::build(program, &run, &instance.by, &runs.events, due, facts);
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
            runs.sweep(&mut out.scratch.marks);
        }
        out.scratch.trim();
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
        let ids = |events: &Vec<event::EventRef>| events.iter().map(|event| event.id.clone()).collect();
        let note = Note::Matched {
            since: matched.opened_at,
            events: matched.evidence().iter().map(ids).collect(),
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
            place::fired(program, instance, run, due, &mut scratch.runs, observer)
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
    }
}
