//! What is done to a customer's runs beside stepping them: binding, expiry, caps, what other versions have.

use std::cmp::Reverse;

use event::{LINK_FROM, Millis};

use super::{Facts, Occurrence, Scratch, Stepped, sequence, subject};
use crate::{
    Catalogue, Ignored, Note, Observer, Run, Runs, Value,
    catalogue::{Entry, Program},
    runs::{Events, Link, MOST},
};

impl Catalogue {
    /// Finds places in this catalogue, and discards what began under another date of `during`.
    #[inline]
    pub(super) fn prepare<O: Observer>(
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
        if runs.is_dated {
            self.redate(runs, at, facts, out, observer);
        }
    }

    #[cold]
    fn redate<O: Observer>(&self, runs: &mut Runs, at: Millis, facts: &dyn Facts, out: &mut Stepped, observer: &mut O) {
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
    pub(super) fn clear_siblings<O: Observer>(
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

    /// Of the instances of one pattern that are due, whatever their versions: the first by-key's, `first` being the first in place.
    pub(super) fn next_due(&self, runs: &Runs, first: usize, due: Millis) -> usize {
        let program = &self.programs[runs.slots[first] as usize];
        if program.siblings.is_empty() {
            return first;
        }
        let own = (first..runs.instances.len())
            .take_while(|index| self.programs[runs.slots[*index] as usize].id == program.id)
            .filter(|index| runs.instances[*index].due == Some(due));
        let by_key = |a: &usize, b: &usize| {
            let key: Vec<Value<'_>> = runs.instances[*b].by.iter().map(Value::from).collect();
            crate::runs::order(&runs.instances[*a].by, &key)
        };
        own.min_by(by_key).unwrap_or(first)
    }

    pub(super) fn drop_blanks(&self, runs: &mut Runs, scratch: &mut Scratch) {
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
    pub(super) fn expire(&self, runs: &mut Runs, now: Millis, scratch: &mut Scratch) {
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
        runs.chains.expire(now, |program| self.spans[program as usize]);
    }

    /// Keeps an event, since something names it.
    #[inline]
    pub(super) fn keep(&self, of: &Occurrence<'_>, events: &mut Events) {
        let texts = [&of.event.id, &of.event.source, of.kind, of.position];
        let fields = self.kept_fields.iter();
        let fields = fields.filter_map(|field| Some((field.name(), field.read(of)?)));
        // What was sent on by another journey is told apart when the two part.
        let origin = of.event.attributes.get(LINK_FROM);
        let fields = fields.chain(origin.map(|key| (LINK_FROM, Value::from(key))));
        events.push(of.index, of.at, of.event.time, texts, fields);
    }

    /// Drops the oldest starts beyond a cap: of a program that of its own runs, else that of all; whether instances may have moved.
    pub(super) fn cap<O: Observer>(
        &self,
        runs: &mut Runs,
        number: Option<u32>,
        at: Millis,
        out: &mut Stepped,
        observer: &mut O,
    ) -> bool {
        let (mut has_dropped, mut is_expired) = (false, false);
        loop {
            // A customer's cap is that of all runs behind the event: however they are kept meanwhile, the same ones go.
            let (among, is_beyond) = if let Some(number) = number {
                let first = runs.slots.partition_point(|slot| *slot < number);
                let own = first..first + runs.slots[first..].partition_point(|slot| *slot == number);
                let weight: usize = runs.instances[own.clone()].iter().map(|instance| instance.weight).sum();
                (own, weight > self.limits.per_pattern)
            } else {
                let weight = runs.weight + runs.chains.len();
                (0..runs.instances.len(), weight > self.limits.per_customer.min(MOST))
            };
            if !is_beyond {
                return has_dropped;
            }
            if !is_expired {
                // What has expired takes nobody's place.
                self.expire(runs, at, &mut out.scratch);
                self.drop_blanks(runs, &mut out.scratch);
                (has_dropped, is_expired) = (true, true);
                continue;
            }
            let oldest = among.min_by_key(|index| runs.instances[*index].oldest());
            let oldest = oldest.map(|index| (runs.instances[index].oldest(), index));
            // Of equal starts in a chain the later step goes: the run that awaits the second step is the last to go.
            let chained = |link: &Link| (link.start, link.program(), Reverse(link.step()));
            let link = if number.is_none() {
                runs.chains.iter().min_by_key(|link| chained(link))
            } else {
                None
            };
            out.capped += 1;
            if let Some(link) = link
                && oldest.is_none_or(|(start, _)| start > Some(link.start))
            {
                if O::ACTIVE {
                    let program = &self.programs[link.program() as usize];
                    observer.note(&subject(program, &[], at), &Note::Capped { runs: 1 });
                }
                if let Some(place) = runs.chains.find(link.key) {
                    runs.chains.remove(place);
                }
                continue;
            }
            let Some((_, index)) = oldest else { return has_dropped };
            has_dropped = true;
            self.drop_oldest(runs, index, at, out, observer);
        }
    }

    /// Drops the oldest run of an instance and those that the caps count with it.
    fn drop_oldest<O: Observer>(&self, runs: &mut Runs, index: usize, at: Millis, out: &mut Stepped, observer: &mut O) {
        let program = &self.programs[runs.slots[index] as usize];
        let instance = &mut *runs.instances[index];
        if O::ACTIVE {
            observer.note(&subject(program, &instance.by, at), &Note::Capped { runs: 1 });
        }
        let order = |run: &&Run| {
            (
                run.start,
                if program.is_chain {
                    7 - run.step.min(7)
                } else {
                    run.step
                },
            )
        };
        let oldest = instance.runs.iter().min_by_key(order).cloned();
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

    pub(super) fn tell_unnamed<O: Observer>(&self, entries: &[Entry], of: &Occurrence<'_>, observer: &mut O) {
        for (number, program) in self.programs.iter().enumerate() {
            if !entries.iter().any(|entry| entry.program as usize == number) {
                observer.note(&subject(program, &[], of.at), &Note::Ignored(Ignored::Type));
            }
        }
    }
}
