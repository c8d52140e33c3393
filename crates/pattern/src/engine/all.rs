//! An `all`: events in any order, absences from the first of them on.

use event::{Attribute, Millis};

use super::{
    pick::{self, Places},
    sequence::{forget_old, sighted},
    turn::Turn,
};
use crate::{
    Ignored, Instance, Note, Observer, Run, Value,
    catalogue::Program,
    file::{See, Step},
    runs::Sighting,
};

impl<O: Observer> Turn<'_, '_, O> {
    /// Steps an instance of an `all` by the event; the match that is complete by it, if one is.
    pub(super) fn all(&mut self, instance: &mut Instance) -> Option<Run> {
        let (program, of) = (self.program, self.of);
        if self.entry.until && !instance.is_blank() {
            let runs = instance.runs.len().max(1);
            self.tell(&instance.by, &Note::Ended { runs });
            instance.clear(self.spare);
        }
        if instance.due.is_none() {
            forget_old(instance, of.at, program.within);
        }
        if program.is_closing && instance.closed.is_none() {
            instance.closed = Some(of.index);
        }
        self.break_absences(instance);
        let members = self.members(instance);
        if members == 0 {
            return None;
        }
        if program.is_closing && instance.is_blank() {
            self.tell(&instance.by, &Note::Ignored(Ignored::Version));
            return None;
        }
        let during = program.during();
        let is_usable = during.is_none_or(|during| during.holds(instance.date, of.at));
        self.remember(instance, members, is_usable);
        if !is_usable {
            self.tell(&instance.by, &Note::Ignored(Ignored::During { date: instance.date }));
            return None;
        }
        self.is_used = true;
        // Whatever breaks a wait breaks every later one too, so only the earliest deadline counts; of equal ones the later events.
        if instance.runs.first().is_some_and(|waiting| waiting.done < of.at) {
            return None;
        }
        let run = self.choose(instance)?;
        if program.waits.is_empty() {
            return Some(self.with_counts(instance, run, of.at, instance.cut));
        }
        let longest = program.waits.last().map_or(0, |(_, wait)| *wait);
        let span = of.at.plus(longest).since(run.start);
        if span > program.within {
            let note = Ignored::Window {
                step: program.waits[0].0,
                span,
                within: program.within,
            };
            self.tell(&instance.by, &Note::Ignored(note));
            self.spare.push(run);
            return None;
        }
        instance.waiting_cut = instance.cut;
        self.spare.append(&mut instance.runs);
        instance.runs.push(run);
        None
    }

    fn break_absences(&mut self, instance: &mut Instance) {
        let program = self.program;
        let mut absents = self.entry.absents;
        while absents != 0 {
            let step = absents.trailing_zeros() as usize;
            absents &= absents - 1;
            if !self.breaks(step, &[]) {
                continue;
            }
            // A wait that has held is not broken any more.
            let waits = |run: &Run| {
                program.waits[usize::from(run.step)..]
                    .iter()
                    .any(|(wait, _)| *wait == step)
            };
            let since = instance.oldest();
            if let Some(since) = since {
                self.tell(&instance.by, &Note::Broken { step, since });
            }
            self.spare.extend(instance.runs.extract_if(.., |run| waits(run)));
            instance.cut = self.of.index;
        }
        if instance.runs.is_empty() {
            instance.due = None;
            // What came before the cut is neither evidence nor counted.
            let old = instance
                .sightings
                .partition_point(|sighting| sighting.index < instance.cut);
            instance.sightings.drain(..old);
            let old = old.min(instance.values.len());
            instance.values.drain(..old);
        }
    }

    /// The members that the event matches, a bit each.
    fn members(&mut self, instance: &Instance) -> u8 {
        let mut members = 0;
        let mut sees = self.entry.sees;
        while sees != 0 {
            let step = sees.trailing_zeros() as usize;
            sees &= sees - 1;
            if self.sees(step, &[]) {
                members |= 1 << self.program.see_index[step];
            } else if O::ACTIVE {
                self.tell_unseen(&instance.by, step, &[]);
            }
        }
        members
    }

    fn remember(&mut self, instance: &mut Instance, members: u8, is_usable: bool) {
        let (program, of) = (self.program, self.of);
        instance.sightings.push_back(Sighting {
            index: of.index,
            at: of.at,
            members,
            is_usable,
        });
        if program.across.iter().any(Option::is_some) {
            let own =
                |index: &usize| members & (1 << program.see_index[*index]) != 0 && program.across[*index].is_some();
            let step = (0..program.steps().len()).find(own);
            let value = step.and_then(|step| self.value(step));
            instance.values.push(value.map_or(Attribute::Null, Attribute::from));
        }
        if instance.sightings.len() > program.remembered
            && let Some(gone) = needless(program, instance)
        {
            instance.sightings.remove(gone);
            if gone < instance.values.len() {
                instance.values.remove(gone);
            }
        }
        if O::ACTIVE {
            for (index, step) in program.see_steps.iter().enumerate() {
                if members & (1 << index) == 0 {
                    continue;
                }
                let see = see(program, *step);
                let times = see.map_or(1, |see| usize::from(see.times));
                let own = instance.sightings.iter().enumerate();
                let own =
                    own.filter(|(_, sighting)| sighting.members & (1 << index) != 0 && sighting.index >= instance.cut);
                let values = own.clone().filter_map(|(place, _)| instance.values.get(place));
                let across = see.and_then(|see| see.across.as_ref());
                let note = Note::Saw {
                    step: *step,
                    seen: own.clone().count().min(times),
                    times,
                    values: across.map(|across| {
                        let found = super::pick::different(values.map(Value::from));
                        (found, usize::from(across.at_least))
                    }),
                    since: own.map(|(_, sighting)| sighting.at).min().unwrap_or(of.at),
                };
                self.tell(&instance.by, &note);
            }
        }
    }

    /// The tightest events that fill every member, the newest event among them.
    fn choose(&mut self, instance: &Instance) -> Option<Run> {
        let (program, of) = (self.program, self.of);
        let usable: smallvec::SmallVec<[usize; 64]> = (0..instance.sightings.len())
            .filter(|place| {
                let sighting = &instance.sightings[*place];
                sighting.is_usable && sighting.index >= instance.cut && of.at.since(sighting.at) <= program.within
            })
            .collect();
        let mut needs = [0u8; 8];
        let mut across = 0u8;
        for (index, step) in program.see_steps.iter().enumerate() {
            let see = see(program, *step)?;
            let own = usable
                .iter()
                .filter(|place| instance.sightings[**place].members & (1 << index) != 0);
            if own.count() < usize::from(see.times) {
                return None;
            }
            if see.across.is_some() {
                across |= 1 << index;
            } else {
                needs[index] = see.times;
            }
        }
        let closed = instance.closed;
        let is_open = |places: &[(usize, u8)]| {
            closed.is_none_or(|closed| {
                places
                    .iter()
                    .any(|(place, _)| instance.sightings[*place].index < closed)
            })
        };
        let mut chosen = fill(instance, &usable, needs, across, program, None)?;
        if !is_open(&chosen) {
            // Of an older version only what had begun may finish.
            let old = usable
                .iter()
                .rev()
                .filter(|place| closed.is_some_and(|closed| instance.sightings[**place].index < closed));
            chosen = old
                .filter_map(|place| fill(instance, &usable, needs, across, program, Some(*place)))
                .find(|chosen| is_open(chosen))?;
        }
        let mut run = self.spare.pop().unwrap_or_default();
        (run.step, run.seen, run.counts) = (0, 0, [0; 8]);
        run.captured.clear();
        run.tail.clear();
        run.evidence.clear();
        let times = chosen.iter().map(|(place, _)| instance.sightings[*place].at);
        run.start = times.min().unwrap_or(of.at);
        run.done = of.at;
        run.deadline = program.waits.first().map(|(_, wait)| of.at.plus(*wait));
        chosen.sort_by_key(|(place, member)| (*member, *place));
        run.evidence
            .extend(chosen.iter().map(|(place, _)| instance.sightings[*place].index));
        if O::ACTIVE {
            for (number, step) in program.see_steps.iter().enumerate() {
                let is_final = number + 1 == program.see_steps.len();
                let note = Note::Completed {
                    step: *step,
                    next: program.waits.first().map(|(step, _)| *step).filter(|_| is_final),
                    deadline: run.deadline.filter(|_| is_final),
                };
                self.tell(&instance.by, &note);
            }
        }
        Some(run)
    }

    fn with_counts(&self, instance: &Instance, mut run: Run, at: Millis, cut: u64) -> Run {
        count(self.program, instance, &mut run, at, cut);
        run
    }
}

fn see(program: &Program, step: usize) -> Option<&See> {
    match &program.steps()[step] {
        Step::See(see) => Some(see),
        _ => None,
    }
}

/// Sightings and the members they serve. `forced` is one that must be among them.
fn fill(
    instance: &Instance,
    usable: &[usize],
    needs: [u8; 8],
    across: u8,
    program: &Program,
    forced: Option<usize>,
) -> Option<Vec<(usize, u8)>> {
    let mut all = Vec::new();
    for (index, step) in program
        .see_steps
        .iter()
        .enumerate()
        .filter(|(index, _)| across & (1 << index) != 0)
    {
        let see = see(program, *step)?;
        let at_least = see.across.as_ref().map_or(0, |across| usize::from(across.at_least));
        let own: Vec<usize> = usable
            .iter()
            .copied()
            .filter(|place| instance.sightings[*place].members & (1 << index) != 0)
            .collect();
        let mut chosen = Vec::new();
        let value = |event: usize| Value::from(&instance.values[own[event]]);
        let forced = forced.and_then(|forced| own.iter().position(|place| *place == forced));
        if !pick::latest(own.len(), value, usize::from(see.times), at_least, forced, &mut chosen) {
            return None;
        }
        let member = u8::try_from(index).unwrap_or(u8::MAX);
        all.extend(chosen.into_iter().map(|event| (own[event], member)));
    }
    let masks: Vec<u8> = usable
        .iter()
        .map(|place| instance.sightings[*place].members & !across)
        .collect();
    let mut places = Places::new(&masks, needs);
    if let Some(forced) = forced {
        let event = usable.iter().position(|place| *place == forced)?;
        places.admit(event);
    }
    for event in (0..masks.len()).rev() {
        if places.is_full() {
            break;
        }
        places.admit(event);
    }
    if !places.is_full() {
        return None;
    }
    let taken: Vec<usize> = (0..masks.len())
        .filter(|event| places.serves(*event).is_some())
        .collect();
    let taken_masks: Vec<u8> = taken.iter().map(|event| masks[*event]).collect();
    let members = pick::tidied(&taken_masks, needs);
    all.extend(
        taken
            .iter()
            .zip(members)
            .map(|(event, member)| (usable[*event], member)),
    );
    Some(all)
}

/// The oldest sighting that nothing can need any more: each of its members has enough later ones for counts, which is as many as
/// evidence may take, and of an `across` it is not the last of one of the last values that count.
fn needless(program: &Program, instance: &Instance) -> Option<usize> {
    let mut later = [0; 8];
    let mut values: [smallvec::SmallVec<[Value<'_>; 4]>; 8] = Default::default();
    let mut gone = None;
    for (place, sighting) in instance.sightings.iter().enumerate().rev() {
        let mut is_needed = false;
        for member in (0..program.see_steps.len()).filter(|member| sighting.members & (1 << member) != 0) {
            later[member] += 1;
            is_needed |= later[member] <= program.remembered;
            let at_least = usize::from(program.at_least[program.see_steps[member]]);
            if values[member].len() < at_least {
                let value = instance.values.get(place).map_or(Value::Null, Value::from);
                if !values[member].iter().any(|known| known.order(&value).is_eq()) {
                    values[member].push(value);
                    is_needed = true;
                }
            }
        }
        if !is_needed {
            gone = Some(place);
        }
    }
    gone
}

fn count(program: &Program, instance: &Instance, run: &mut Run, at: Millis, cut: u64) {
    for index in 0..program.see_steps.len() {
        let all = sighted(instance, 1 << index, at, program.within, u64::MAX);
        let cut_off = sighted(instance, 1 << index, at, program.within, cut);
        run.counts[index] = (all - cut_off).min(program.most);
    }
}

/// Moves a run behind the wait that has held; it comes back if that was the longest one.
pub(super) fn fired(program: &Program, instance: &mut Instance, mut run: Run, due: Millis) -> Option<Run> {
    run.step += 1;
    if let Some((_, wait)) = program.waits.get(usize::from(run.step)) {
        run.deadline = Some(run.done.plus(*wait));
        instance.runs.push(run);
        return None;
    }
    count(program, instance, &mut run, due, instance.waiting_cut);
    Some(run)
}
