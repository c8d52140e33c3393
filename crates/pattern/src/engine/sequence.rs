//! A sequence: runs that stand at a step, moved, broken, counted and replaced by an event or a deadline.

use event::{Attribute, Millis};

use super::{
    pick,
    place::{enter, gathered, insert, no_earlier, same_place, trim},
    turn::Turn,
};
use crate::{
    Ignored, Instance, Note, Observer, Run, Value,
    catalogue::Program,
    file::Step,
    runs::{Counted, Sighting},
};

impl<O: Observer> Turn<'_, '_, O> {
    /// Steps an instance of a sequence by the event; the run that is complete by it, if one is.
    pub(super) fn sequence(&mut self, instance: &mut Instance) -> Option<Run> {
        let (program, at) = (self.program, self.of.at);
        if self.entry.until && !instance.is_blank() {
            let runs = instance.runs.len().max(1);
            self.tell(&instance.by, &Note::Ended { runs });
            instance.clear(self.spare);
        }
        self.drop_old(instance);
        if self.program.is_closing && instance.closed.is_none() {
            instance.closed = Some(self.of.index);
        }
        let during = program.during();
        let is_inside = during.is_none_or(|during| during.holds(instance.date, at));
        let older = instance.runs.len();
        let mut sees = self.entry.sees;
        while sees != 0 {
            let step = 7 - sees.leading_zeros() as usize;
            sees &= !(1 << step);
            let mut is_awaited = step == 0;
            for place in 0..older {
                if usize::from(instance.runs[place].step) != step {
                    continue;
                }
                is_awaited = true;
                if !self.sees(step, &instance.runs[place].captured) {
                    if O::ACTIVE {
                        self.tell_unseen(&instance.by, step, &instance.runs[place].captured);
                    }
                    continue;
                }
                if is_inside {
                    self.advance(instance, place, step);
                } else {
                    self.tell(&instance.by, &Note::Ignored(Ignored::During { date: instance.date }));
                }
            }
            if step == 0 {
                self.first(instance, is_inside);
            } else if O::ACTIVE && !is_awaited {
                self.tell(&instance.by, &Note::Ignored(Ignored::NotAwaited { step }));
            }
        }
        if program.is_plain {
            self.count_plainly(instance, older);
        } else {
            self.revise(instance, older, is_inside);
        }
        if self.fresh.is_empty() {
            return None;
        }
        self.settle(instance)
    }

    /// Counts the event for the steps of older runs of a plain pattern, of which it breaks none. The first step is counted by its
    /// sightings.
    fn count_plainly(&mut self, instance: &mut Instance, older: usize) {
        if self.entry.sees >> 1 == 0 {
            return;
        }
        for place in 0..older {
            let run = &instance.runs[place];
            if run.evidence.last() == Some(&self.of.index) {
                // It was overwritten by this event.
                continue;
            }
            let step = usize::from(run.step);
            let own = self.sees(step, &[]);
            let before = step > 1 && self.sees(step - 1, &[]);
            let counts = &mut instance.runs[place].counts;
            counts[step] += u32::from(own);
            counts[step - 1] += u32::from(before);
        }
    }

    fn drop_old(&mut self, instance: &mut Instance) {
        let (within, at) = (self.program.within, self.of.at);
        // A wait may still complete at its own, earlier time.
        let is_old = |run: &Run| run.deadline.is_none() && at.since(run.start) > within;
        let mut place = 0;
        while place < instance.runs.len() {
            if is_old(&instance.runs[place]) {
                let run = instance.runs.remove(place);
                self.tell(
                    &instance.by,
                    &Note::Expired {
                        step: usize::from(run.step),
                        since: run.start,
                    },
                );
                self.spare.push(run);
            } else {
                place += 1;
            }
        }
        if instance.due.is_none() {
            forget_old(instance, at, within);
        }
    }

    /// What the event makes of the first step.
    fn first(&mut self, instance: &mut Instance, is_inside: bool) {
        let (program, of) = (self.program, self.of);
        if !self.sees(0, &[]) {
            if O::ACTIVE {
                self.tell_unseen(&instance.by, 0, &[]);
            }
            return;
        }
        // Of an older version only what had begun may finish, be it that its first step is half seen.
        let closed = instance.closed.unwrap_or(u64::MAX);
        let has_begun = |sighting: &Sighting| sighting.is_usable && sighting.index < closed;
        if program.is_closing && instance.runs.is_empty() && !instance.sightings.iter().any(has_begun) {
            self.tell(&instance.by, &Note::Ignored(Ignored::Version));
            return;
        }
        let times = usize::from(program.times[0]);
        let is_usable = is_inside && (!program.is_closing || times > 1);
        instance.sightings.push_back(Sighting {
            index: of.index,
            at: of.at,
            members: 1,
            // A single event is evidence of the run that it begins.
            is_usable: is_usable && times > 1,
        });
        let across = usize::from(program.at_least[0]);
        if across > 0 {
            let value = self.value(0).map_or(Attribute::Null, Attribute::from);
            instance.values.push(value);
        }
        let most = program.remembered + across;
        if instance.sightings.len() > most {
            let value = |event: usize| instance.values.get(event).map_or(Value::Null, Value::from);
            let gone = pick::needless(most + 1, value, program.remembered, across).unwrap_or(0);
            instance.sightings.remove(gone);
            if gone < instance.values.len() {
                instance.values.remove(gone);
            }
        }
        if !is_usable {
            let ignored = if is_inside {
                Ignored::Version
            } else {
                Ignored::During { date: instance.date }
            };
            self.tell(&instance.by, &Note::Ignored(ignored));
            return;
        }
        self.is_used = true;
        if times == 1 && program.is_plain && !O::ACTIVE && program.length > 1 {
            self.restart(instance);
            return;
        }
        let mut evidence = smallvec::SmallVec::<[u64; 4]>::new();
        let start;
        if times == 1 {
            evidence.push(of.index);
            start = of.at;
        } else {
            let usable: smallvec::SmallVec<[usize; 64]> = (0..instance.sightings.len())
                .filter(|place| instance.sightings[*place].is_usable)
                .filter(|place| of.at.since(instance.sightings[*place].at) <= program.within)
                .collect();
            if O::ACTIVE {
                let since = instance.sightings[usable[usable.len().saturating_sub(times)]].at;
                let values = usable.iter().filter_map(|place| instance.values.get(*place));
                let note = Note::Saw {
                    step: 0,
                    seen: usable.len().min(times),
                    times,
                    values: (across > 0).then(|| (pick::different(values.map(Value::from)), across)),
                    since,
                };
                self.tell(&instance.by, &note);
            }
            if usable.len() < times {
                return;
            }
            let Some(chosen) = first_events(instance, &usable, times, across, closed) else {
                return;
            };
            start = instance.sightings[chosen[0]].at;
            evidence.extend(chosen.iter().map(|place| instance.sightings[*place].index));
        }
        let mut run = self.blank();
        run.start = start;
        run.evidence = evidence;
        if O::ACTIVE && times == 1 {
            let note = Note::Saw {
                step: 0,
                seen: 1,
                times: 1,
                values: None,
                since: start,
            };
            self.tell(&instance.by, &note);
        }
        self.complete_step(instance, run, 0);
    }

    /// Begins a run of a plain pattern in the place of the one that began before, if there is one.
    fn restart(&mut self, instance: &mut Instance) {
        let place = instance.runs.iter().position(|run| run.step == 1);
        let place = place.unwrap_or_else(|| {
            let run = self.blank();
            instance.add(run);
            instance.runs.len() - 1
        });
        let run = &mut instance.runs[place];
        (run.step, run.start, run.done) = (1, self.of.at, self.of.at);
        run.counts[1] = 0;
        run.evidence.clear();
        run.evidence.push(self.of.index);
    }

    /// Moves a run of a plain pattern to the step behind the one it awaited, in the place of the run that is there. It also stays.
    fn overtake(&mut self, instance: &mut Instance, from: usize, step: usize) {
        let of = self.of;
        let before = self.counted_before(instance, &instance.runs[from], step);
        let next = step + 1;
        let place = instance.runs.iter().position(|run| usize::from(run.step) == next);
        let place = place.unwrap_or_else(|| {
            let run = self.blank();
            instance.add(run);
            instance.runs.len() - 1
        });
        let Ok([old, run]) = instance.runs.get_disjoint_mut([from, place]) else {
            return;
        };
        run.counts[..step].copy_from_slice(&old.counts[..step]);
        run.counts[step - 1] = before;
        run.counts[step] = old.counts[step] + 1;
        if let Some(count) = run.counts.get_mut(next) {
            *count = 0;
        }
        (run.step, run.start, run.done) = (u8::try_from(next).unwrap_or(u8::MAX), old.start, of.at);
        run.evidence.clear();
        run.evidence.extend_from_slice(&old.evidence);
        run.evidence.push(of.index);
        self.is_used = true;
    }

    /// A run without anything in it.
    fn blank(&mut self) -> Run {
        let mut run = self.spare.pop().unwrap_or_default();
        (run.step, run.seen, run.counts, run.deadline) = (0, 0, [0; 8], None);
        run.evidence.clear();
        run.tail.clear();
        run.captured.clear();
        run.captured.resize(self.program.slots.len(), None);
        run
    }

    /// What the event makes of a run that awaits the step that it matches. The run itself stays.
    fn advance(&mut self, instance: &mut Instance, place: usize, step: usize) {
        let (program, of) = (self.program, self.of);
        let old = &instance.runs[place];
        let span = of.at.since(old.start);
        if span > program.within {
            let note = Ignored::Window {
                step,
                span,
                within: program.within,
            };
            self.tell(&instance.by, &Note::Ignored(note));
            return;
        }
        if program.is_plain && !O::ACTIVE && step + 1 < usize::from(program.length) {
            if of.at.since(old.done) <= program.step_within[step] {
                self.overtake(instance, place, step);
            }
            return;
        }
        let Step::See(see) = &program.steps()[step] else { return };
        let (index, times) = (program.see_index[step], usize::from(see.times));
        let mut run = self.spare.pop().unwrap_or_default();
        run.assign(old);
        let before = self.counted_before(instance, old, index);
        run.counts[index] += 1;
        run.evidence.push(of.index);
        run.seen += 1;
        self.is_used = true;
        if program.is_gathered[step] {
            let value = self.value(step).map_or(Attribute::Null, Attribute::from);
            run.tail.push(Counted { before, value });
        }
        if O::ACTIVE {
            let values = || pick::different(run.tail.iter().map(|counted| Value::from(&counted.value)));
            let note = Note::Saw {
                step,
                seen: usize::from(run.seen).min(times),
                times,
                values: see
                    .across
                    .as_ref()
                    .map(|across| (values(), usize::from(across.at_least))),
                since: run.start,
            };
            self.tell(&instance.by, &note);
        }
        if program.is_gathered[step] {
            if !gathered(&mut run, see, index) {
                self.spare.push(run);
                return;
            }
        } else {
            if old.seen == 0 {
                run.counts[index - 1] = before;
            }
            if usize::from(run.seen) < times {
                self.fresh.push(run);
                return;
            }
        }
        if let Some(within) = see.within {
            let span = of.at.since(old.done);
            if span > within {
                self.tell(&instance.by, &Note::Ignored(Ignored::StepWindow { step, span, within }));
                self.spare.push(run);
                return;
            }
        }
        self.complete_step(instance, run, step);
    }

    /// How many events matched the `see` before `index`, up to this event.
    fn counted_before(&self, instance: &Instance, run: &Run, index: usize) -> u32 {
        match index {
            1 => counted(instance, self.program, self.of.at, self.of.index),
            _ => run.counts[index.saturating_sub(1)],
        }
    }

    fn complete_step(&mut self, instance: &Instance, mut run: Run, step: usize) {
        let (program, of) = (self.program, self.of);
        let index = program.see_index[step];
        for (slot, (see, field)) in program.slots.iter().enumerate() {
            if *see == index {
                run.captured[slot] = field.read(of).map(Attribute::from);
            }
        }
        enter(program, &mut run, step, of.at);
        if O::ACTIVE {
            let note = Note::Completed {
                step,
                next: program.next[step],
                deadline: run.deadline,
            };
            self.tell(&instance.by, &note);
        }
        self.fresh.push(run);
    }

    /// What the event does to runs that were there before it: absences it breaks, steps it counts for.
    fn revise(&mut self, instance: &mut Instance, older: usize, is_inside: bool) {
        let program = self.program;
        let (mut place, mut left) = (0, older);
        let mut has_gathered = false;
        while place < left {
            let run = &instance.runs[place];
            let step = usize::from(run.step);
            let steps = program.steps();
            let broken = match &steps[step] {
                Step::Wait(..) => Some(step).filter(|step| self.breaks(*step, &run.captured)),
                Step::See(_) if run.seen == 0 && step > 0 && matches!(steps[step - 1], Step::Guard(_)) => {
                    Some(step - 1).filter(|step| self.breaks(*step, &run.captured))
                }
                _ => None,
            };
            if let Some(step) = broken {
                let run = instance.runs.remove(place);
                self.tell(&instance.by, &Note::Broken { step, since: run.start });
                self.spare.push(run);
                left -= 1;
                continue;
            }
            let index = program.see_index[step];
            let is_see = matches!(steps[step], Step::See(_));
            // The first step is counted by its sightings.
            let matches_own = index > 0 && self.sees(program.see_steps[index], &run.captured);
            let is_open = is_see && index > 1 && (run.seen == 0 || program.is_gathered[step]);
            let matches_before = is_open && self.sees(program.see_steps[index - 1], &run.captured);
            let gathers = is_see && matches_own && program.is_gathered[step] && is_inside;
            if gathers {
                let before = self.counted_before(instance, &instance.runs[place], index);
                let value = self.value(step).map_or(Attribute::Null, Attribute::from);
                let Step::See(see) = &steps[step] else { continue };
                let run = &mut instance.runs[place];
                run.evidence.push(self.of.index);
                run.tail.push(Counted { before, value });
                run.seen += 1;
                trim(run, see);
                self.is_used = true;
                has_gathered = true;
            }
            let run = &mut instance.runs[place];
            run.counts[index] += u32::from(matches_own);
            if matches_before {
                run.counts[index - 1] += 1;
            }
            place += 1;
        }
        if has_gathered {
            self.merge_gathered(instance, left);
        }
    }

    /// Runs whose gathered events have become the same are in one place: the one that came there last stays.
    fn merge_gathered(&mut self, instance: &mut Instance, mut left: usize) {
        let mut place = 0;
        while place < left {
            let run = &instance.runs[place];
            let step = usize::from(run.step);
            let is_worse = self.program.is_gathered.get(step) == Some(&true)
                && instance.runs[..left].iter().enumerate().any(|(other, rival)| {
                    other != place
                        && same_place(rival, run)
                        && no_earlier(rival, run)
                        && (rival.evidence != run.evidence || other < place)
                });
            if is_worse {
                let run = instance.runs.remove(place);
                self.tell_replaced(&instance.by, &run);
                self.spare.push(run);
                left -= 1;
            } else {
                place += 1;
            }
        }
    }

    fn tell_replaced(&mut self, by: &[Attribute], run: &Run) {
        if O::ACTIVE {
            let note = Note::Replaced {
                step: usize::from(run.step),
                since: run.start,
            };
            self.tell(by, &note);
        }
    }

    /// Puts the runs that the event made into their places; the tightest complete one comes back.
    fn settle(&mut self, instance: &mut Instance) -> Option<Run> {
        let program = self.program;
        let mut best: Option<Run> = None;
        let mut fresh = std::mem::take(self.fresh);
        for mut run in fresh.drain(..) {
            if usize::from(run.step) < program.steps().len() {
                insert(program, instance, run, self.spare, self.of.at, self.observer);
            } else if best.as_ref().is_none_or(|best| run.evidence > best.evidence) {
                if program.see_steps.len() == 1 {
                    run.counts[0] = counted(instance, program, self.of.at, u64::MAX);
                }
                self.spare.extend(best.replace(run));
            } else {
                self.spare.push(run);
            }
        }
        *self.fresh = fresh;
        best
    }
}

/// The latest of the usable sightings that fill the first step, the newest among them, and one from before the event `closed`.
fn first_events(
    instance: &Instance,
    usable: &[usize],
    times: usize,
    across: usize,
    closed: u64,
) -> Option<smallvec::SmallVec<[usize; 4]>> {
    let is_open = |place: &usize| instance.sightings[*place].index < closed;
    let mut taken = smallvec::SmallVec::new();
    if across == 0 {
        taken.extend_from_slice(&usable[usable.len() - times..]);
        if !is_open(&taken[0]) {
            taken[0] = *usable.iter().rev().find(|place| is_open(place))?;
        }
        return Some(taken);
    }
    let mut chosen = Vec::new();
    let value = |event: usize| Value::from(&instance.values[usable[event]]);
    let newest = usable.len() - 1;
    let mut fills = |forced| {
        pick::latest(usable.len(), value, times, across, forced, &mut chosen)
            && chosen.last() == Some(&newest)
            && is_open(&usable[chosen[0]])
    };
    let old = (0..usable.len()).rev().filter(|event| is_open(&usable[*event]));
    if !fills(None) && (closed == u64::MAX || !old.map(Some).any(fills)) {
        return None;
    }
    taken.extend(chosen.iter().map(|event| usable[*event]));
    Some(taken)
}

/// Events of the first step in the last `within` before `until` and before the event `below`, as far as they are counted.
pub(super) fn counted(instance: &Instance, program: &Program, until: Millis, below: u64) -> u32 {
    sighted(instance, 1, until, program.within, below).min(program.most)
}

/// Events of the first step, or of a member of an `all`, in the last `within` before `until` and before the event `below`.
pub(super) fn sighted(instance: &Instance, members: u8, until: Millis, within: i64, below: u64) -> u32 {
    let recent = instance.sightings.iter().filter(|sighting| {
        sighting.members & members != 0 && sighting.index < below && until.since(sighting.at) <= within
    });
    u32::try_from(recent.count()).unwrap_or(u32::MAX)
}

/// Drops sightings that no match can use or count any more.
pub(super) fn forget_old(instance: &mut Instance, at: Millis, within: i64) {
    while instance
        .sightings
        .front()
        .is_some_and(|sighting| at.since(sighting.at) > within)
    {
        instance.sightings.pop_front();
        if !instance.values.is_empty() {
            instance.values.remove(0);
        }
    }
}
