//! Stepping one customer's runs: an event, or the clock.
//!
//! Work follows the programs that name the event's type and the runs this customer has. Existence is enough: per place (step,
//! count, captured values) the latest run is kept, because its events are, position by position, no earlier than those of any
//! other run there, so that whatever can complete another can complete it.

use std::{collections::BTreeMap, sync::Arc};

use event::{Absence, Attribute, Event, EventRef, Millis, Seen};

use crate::{
    Catalogue, Instance, Kept, Pattern, Run, Runs,
    catalogue::Program,
    cel::{self, Expr, Fault, Path, Reads, Root},
    file::{See, Step},
    template::{Fill, Place},
};

/// What predicates and sentences may read beside events.
pub trait Facts {
    /// A scalar of the profile by dotted path.
    fn profile(&self, path: &str) -> Option<Attribute>;
    /// A scalar of the journey by dotted path.
    fn journey(&self, path: &str) -> Option<Attribute>;
}

/// Facts of a customer about whom nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn profile(&self, _: &str) -> Option<Attribute> {
        None
    }

    fn journey(&self, _: &str) -> Option<Attribute> {
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

/// What came of a step. Reused from call to call.
#[derive(Debug, Default)]
pub struct Stepped {
    /// Matches, in order of moment, pattern and by-key.
    pub matches: Vec<Match>,
    /// Runs dropped by a cap.
    pub capped: u32,
    /// Patterns a predicate of which failed (a missing field is no failure).
    pub failed: Vec<Arc<str>>,
}

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

/// A field of an occurrence: envelope first, then what was derived, then attributes.
pub(crate) fn field(of: &Occurrence<'_>, name: &str) -> Option<Attribute> {
    let text = |value: &str| Some(Attribute::Text(value.to_owned()));
    let event = of.event;
    match name {
        "type" => return text(of.kind),
        "channel" => return text(event.channel.as_str()),
        "medium" if event.medium.is_some() => return event.medium.clone().map(Attribute::Text),
        "session" if event.session.is_some() => return event.session.clone().map(Attribute::Text),
        "conversation" if event.conversation.is_some() => return event.conversation.clone().map(Attribute::Text),
        "role" => {
            if let Some(said) = &event.text {
                return text(said.role.as_str());
            }
        }
        _ => {}
    }
    if let Some((_, value)) = of.extra.iter().find(|(known, _)| *known == name) {
        return Some(value.clone());
    }
    if let (Some(part), Some(sentiment)) = (name.strip_prefix("sentiment."), &event.sentiment) {
        match part {
            "label" => return text(sentiment.label.as_str()),
            "score" => return sentiment.score.map(Attribute::Double),
            "confidence" => return sentiment.confidence.map(Attribute::Double),
            _ => {}
        }
    }
    event.attributes.get(name).cloned()
}

struct View<'a> {
    of: &'a Occurrence<'a>,
    captured: &'a [Option<Attribute>],
    facts: &'a dyn Facts,
}

impl Reads for View<'_> {
    fn read(&self, path: &Path) -> Option<Attribute> {
        match path.root {
            Root::Event => field(self.of, &path.field),
            Root::Captured(_) => self.captured.get(path.slot).cloned().flatten(),
            Root::Journey => self.facts.journey(&path.field),
            Root::Profile => self.facts.profile(&path.field),
        }
    }
}

/// One event against one program.
struct Turn<'a> {
    program: &'a Program,
    of: &'a Occurrence<'a>,
    facts: &'a dyn Facts,
    failed: bool,
}

impl Turn<'_> {
    fn fits(&mut self, types: &[String], condition: Option<&Expr>, captured: &[Option<Attribute>]) -> bool {
        if !types.iter().any(|kind| kind == self.of.kind) {
            return false;
        }
        let Some(condition) = condition else { return true };
        match cel::holds(
            condition,
            &View {
                of: self.of,
                captured,
                facts: self.facts,
            },
        ) {
            Ok(holds) => holds,
            Err(Fault::Missing) => false,
            Err(Fault::Failed) => {
                self.failed = true;
                false
            }
        }
    }

    fn sees(&mut self, see: &See, captured: &[Option<Attribute>]) -> bool {
        self.fits(&see.types, see.condition.as_ref(), captured)
    }

    /// The run that this event makes of `run`, which awaits step `step` and whose `where` holds.
    fn advanced(&self, run: &Run, step: usize, see: &See, first: &[Millis]) -> Option<Run> {
        let (when, at) = (&self.program.pattern.when, self.of.at);
        let mut next = run.clone();
        if next.evidence.is_empty() {
            next.start = at;
        }
        if at.since(next.start) > when.within {
            return None;
        }
        let index = self.program.see_index[step];
        if run.seen == 0 && index == 1 {
            next.counts[0] = counted(first, at, when.within);
        }
        if index > 0 {
            next.counts[index] += 1;
        }
        next.evidence.push(self.of.index);
        next.seen += 1;
        if next.seen < see.times {
            return Some(next);
        }
        if see.within.is_some_and(|within| at.since(run.done) > within) {
            return None;
        }
        for (slot, (of, name)) in when.slots.iter().enumerate() {
            if *of == index {
                next.captured[slot] = field(self.of, name);
            }
        }
        next.enter(self.program, step, at);
        Some(next)
    }
}

fn counted(first: &[Millis], until: Millis, within: i64) -> u32 {
    let recent = first.iter().filter(|at| until.since(**at) <= within).count();
    u32::try_from(recent).unwrap_or(u32::MAX)
}

impl Run {
    fn fresh(program: &Program) -> Self {
        Self {
            counts: vec![0],
            captured: vec![None; program.pattern.when.slots.len()],
            ..Self::default()
        }
    }

    /// Moves behind a completed step. A run that is behind the last step has `step` equal to the number of steps.
    fn enter(&mut self, program: &Program, completed: usize, at: Millis) {
        self.done = at;
        self.seen = 0;
        self.deadline = None;
        let Some(next) = program.next(completed) else {
            self.step = u8::try_from(program.steps().len()).unwrap_or(u8::MAX);
            return;
        };
        self.step = u8::try_from(next).unwrap_or(u8::MAX);
        for (value, live) in self.captured.iter_mut().zip(&program.live_slots[next]) {
            if !live {
                *value = None;
            }
        }
        match &program.steps()[next] {
            Step::Wait(_, wait) => self.deadline = Some(at.plus(*wait)),
            _ => self.counts.push(0),
        }
    }

    fn is_complete(&self, program: &Program) -> bool {
        usize::from(self.step) == program.steps().len()
    }

    /// Whether the other run stands in the same place.
    fn same_place(&self, other: &Self) -> bool {
        self.step == other.step && self.seen == other.seen && self.captured == other.captured
    }

    fn no_earlier_than(&self, other: &Self) -> bool {
        self.evidence
            .iter()
            .zip(&other.evidence)
            .all(|(mine, theirs)| mine >= theirs)
    }
}

/// Puts a run into its place, where runs that it makes superfluous go.
fn insert(runs: &mut Vec<Run>, run: Run, program: &Program) {
    let last = usize::from(run.step) + 1 == program.steps().len();
    if let Some(deadline) = run.deadline {
        if deadline.since(run.start) > program.pattern.when.within {
            return;
        }
        if last {
            // Whatever breaks the earliest wait breaks every later one too.
            if runs
                .iter()
                .any(|other| other.same_place(&run) && other.deadline < run.deadline)
            {
                return;
            }
            runs.retain(|other| !(other.same_place(&run) && other.deadline > run.deadline));
        }
    }
    let rival = |other: &Run| other.same_place(&run) && other.deadline == run.deadline;
    if runs.iter().any(|other| rival(other) && other.no_earlier_than(&run)) {
        return;
    }
    runs.retain(|other| !(rival(other) && run.no_earlier_than(other)));
    runs.push(run);
}

impl Catalogue {
    /// Steps a customer's runs by one event. Deadlines due by then must have been fired by [`Catalogue::on_time`] before.
    pub fn on_event(&self, runs: &mut Runs, of: &Occurrence<'_>, facts: &dyn Facts, out: &mut Stepped) {
        let Some(programs) = self.by_type.get(of.kind) else {
            return;
        };
        let mut changed = false;
        for number in programs {
            let program = &self.programs[*number as usize];
            let by: Option<Vec<Attribute>> = program.pattern.when.by.iter().map(|name| field(of, name)).collect();
            let Some(by) = by else { continue };
            let found = runs.find(&program.id, &by);
            let mut instance = match found {
                Ok(index) => runs.instances[index].take(),
                Err(_) => Instance::new(program, by),
            };
            if instance.version != program.pattern.version {
                instance = Instance::new(program, instance.by);
            }
            let mut turn = Turn {
                program,
                of,
                facts,
                failed: false,
            };
            let complete = turn.step(&mut instance);
            if turn.failed {
                out.failed.push(program.id.clone());
            }
            if complete.is_some() || instance.runs.iter().any(|run| run.evidence.last() == Some(&of.index)) {
                runs.events.insert(of.index, self.keep(of));
            }
            if let Some(run) = complete {
                out.matches
                    .push(self.matched(program, &run, &instance.by, &runs.events, of.at, facts));
                instance.runs.clear();
                instance.first.clear();
            }
            changed |= runs.put(instance, found.is_ok());
            out.capped += self.cap(runs, &program.id);
        }
        if of.index.is_multiple_of(32) {
            self.expire(runs, of.at);
            changed = true;
        }
        if changed {
            runs.prune();
        }
    }

    /// Fires every wait whose deadline is at or before `clock`, in order of deadline, pattern and by-key.
    pub fn on_time(&self, runs: &mut Runs, clock: Millis, facts: &dyn Facts, out: &mut Stepped) {
        let mut fired = false;
        while let Some((due, index)) = runs.next_due().filter(|(due, _)| *due <= clock) {
            fired = true;
            let Ok(number) = self
                .programs
                .binary_search_by(|program| program.id.cmp(&runs.instances[index].pattern))
            else {
                runs.instances.remove(index);
                continue;
            };
            let program = &self.programs[number];
            let instance = &mut runs.instances[index];
            let mut best: Option<Run> = None;
            let (ready, waiting): (Vec<Run>, Vec<Run>) = std::mem::take(&mut instance.runs)
                .into_iter()
                .partition(|run| run.deadline == Some(due));
            instance.runs = waiting;
            for mut run in ready {
                let step = usize::from(run.step);
                run.held.push((run.step, run.done, due));
                if program.see_index[step] == 0 && program.next(step).is_none() {
                    run.counts[0] = counted(&instance.first, due, program.pattern.when.within);
                }
                run.enter(program, step, due);
                if !run.is_complete(program) {
                    insert(&mut instance.runs, run, program);
                } else if due.since(run.start) <= program.pattern.when.within
                    && best.as_ref().is_none_or(|best| run.evidence > best.evidence)
                {
                    best = Some(run);
                }
            }
            if let Some(run) = best {
                let by = instance.by.clone();
                out.matches
                    .push(self.matched(program, &run, &by, &runs.events, due, facts));
                runs.instances.remove(index);
            }
        }
        if fired {
            runs.prune();
        }
    }

    /// Drops instances in which nothing can complete any more. Lazy: it changes no match.
    fn expire(&self, runs: &mut Runs, now: Millis) {
        runs.instances.retain_mut(|instance| {
            let within = self.get(&instance.pattern).map_or(0, |pattern| pattern.when.within);
            instance
                .runs
                .retain(|run| run.deadline.is_some() || now.since(run.start) <= within);
            !instance.runs.is_empty() || instance.first.last().is_some_and(|last| now.since(*last) <= within)
        });
    }

    fn keep(&self, of: &Occurrence<'_>) -> Kept {
        let fields = self
            .kept_fields
            .iter()
            .filter_map(|name| Some((name.clone(), field(of, name)?)));
        Kept {
            event: EventRef {
                id: of.event.id.clone(),
                source: of.event.source.clone(),
                kind: of.kind.to_owned(),
                time: of.event.time,
                position: of.position.to_owned(),
            },
            at: of.at,
            fields: fields.collect(),
        }
    }

    fn matched(
        &self,
        program: &Program,
        run: &Run,
        by: &[Attribute],
        events: &BTreeMap<u64, Kept>,
        at: Millis,
        facts: &dyn Facts,
    ) -> Match {
        let pattern = &program.pattern;
        let kept = |index: &u64| events.get(index).cloned().unwrap_or_default();
        let (mut seen, mut absent, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
        let (mut fields, mut used, mut since) = (Vec::new(), 0, run.start);
        let mut held = run.held.iter();
        for (index, step) in program.steps().iter().enumerate() {
            let number = i32::try_from(index).unwrap_or(i32::MAX);
            match step {
                Step::See(see) => {
                    let times = usize::from(see.times);
                    let events: Vec<Kept> = run.evidence[used..used + times].iter().map(kept).collect();
                    used += times;
                    let (Some(first), Some(last)) = (events.first(), events.last()) else {
                        continue;
                    };
                    seen.push(Seen {
                        step: number,
                        types: see.types.clone(),
                        count: run
                            .counts
                            .get(seen.len())
                            .map_or(0, |count| i32::try_from(*count).unwrap_or(i32::MAX)),
                        first: first.event.clone(),
                        last: Some(last.event.clone()),
                    });
                    since = last.at;
                    fields.push((first.fields.clone(), last.fields.clone()));
                    evidence.push(events.into_iter().map(|kept| kept.event).collect());
                }
                Step::Guard(guard) => {
                    let until = run.evidence.get(used).map(kept).unwrap_or_default().at;
                    absent.push(Absence {
                        step: number,
                        types: guard.types.clone(),
                        since,
                        until,
                    });
                }
                Step::Wait(wait, _) => {
                    if let Some((_, from, until)) = held.next() {
                        absent.push(Absence {
                            step: number,
                            types: wait.types.clone(),
                            since: *from,
                            until: *until,
                        });
                        since = *until;
                    }
                }
            }
        }
        let names = &pattern.when.by;
        let by: BTreeMap<String, String> = names.iter().cloned().zip(by.iter().map(shown)).collect();
        let filling = Filling {
            seen: &seen,
            fields: &fields,
            by: &by,
            facts,
        };
        let because = pattern.then.because.iter();
        let because = because
            .map(|(lang, template)| (lang.clone(), template.render(lang, &filling)))
            .collect();
        Match {
            pattern: pattern.clone(),
            by,
            opened_at: run.start,
            matched_at: at,
            seen,
            absent,
            evidence,
            because,
        }
    }

    /// Drops the oldest starts beyond the caps. The counts of a step are one run.
    fn cap(&self, runs: &mut Runs, pattern: &Arc<str>) -> u32 {
        let of_pattern = |instance: &&Instance| instance.pattern == *pattern;
        let mut dropped = 0;
        while groups(runs.instances.iter().filter(of_pattern)) > self.limits.per_pattern {
            dropped += runs.drop_oldest(|instance| instance.pattern == *pattern);
        }
        let total: usize = runs.instances.iter().map(|instance| instance.runs.len()).sum();
        if total > self.limits.per_customer {
            while groups(runs.instances.iter()) > self.limits.per_customer {
                dropped += runs.drop_oldest(|_| true);
            }
        }
        dropped
    }
}

fn groups<'a>(instances: impl Iterator<Item = &'a Instance>) -> usize {
    let mut groups = 0;
    for instance in instances {
        for (index, run) in instance.runs.iter().enumerate() {
            let same = |other: &Run| {
                other.step == run.step && other.deadline == run.deadline && other.captured == run.captured
            };
            groups += usize::from(!instance.runs[..index].iter().any(same));
        }
    }
    groups
}

impl Turn<'_> {
    /// Steps one instance; returns the run that completed, if one did.
    fn step(&mut self, instance: &mut Instance) -> Option<Run> {
        let program = self.program;
        let when = &program.pattern.when;
        if when.until.iter().any(|kind| kind == self.of.kind) {
            instance.runs.clear();
            instance.first.clear();
        }
        let within = when.within;
        let at = self.of.at;
        // A wait may still complete at its own, earlier time.
        instance
            .runs
            .retain(|run| run.deadline.is_some() || at.since(run.start) <= within);
        let start = Run::fresh(program);
        let mut fresh: Vec<Run> = Vec::new();
        for (step, what) in program.steps().iter().enumerate().rev() {
            let Step::See(see) = what else { continue };
            for run in instance.runs.iter().filter(|run| usize::from(run.step) == step) {
                if self.sees(see, &run.captured) {
                    fresh.extend(self.advanced(run, step, see, &instance.first));
                }
            }
            if step == 0 && self.sees(see, &start.captured) {
                let most = usize::from(see.times).max(64);
                instance.first.push(at);
                if instance.first.len() > most {
                    instance.first.remove(0);
                }
                fresh.extend(self.advanced(&start, 0, see, &instance.first));
            }
        }
        // Runs that were there before: what they count, and what breaks them.
        let mut kept = Vec::with_capacity(instance.runs.len());
        for mut run in std::mem::take(&mut instance.runs) {
            if !self.breaks(&run) {
                self.count(&mut run);
                kept.push(run);
            }
        }
        instance.runs = kept;
        let mut best: Option<Run> = None;
        for mut run in fresh {
            if !run.is_complete(program) {
                insert(&mut instance.runs, run, program);
            } else if best.as_ref().is_none_or(|best| run.evidence > best.evidence) {
                if program.pattern.when.see_count() == 1 {
                    run.counts[0] = counted(&instance.first, at, within);
                }
                best = Some(run);
            }
        }
        best
    }

    fn breaks(&mut self, run: &Run) -> bool {
        let step = usize::from(run.step);
        let steps = self.program.steps();
        match &steps[step] {
            Step::Wait(absent, _) => self.fits(&absent.types, absent.condition.as_ref(), &run.captured),
            Step::See(_) if run.seen == 0 && step > 0 => match &steps[step - 1] {
                Step::Guard(absent) => self.fits(&absent.types, absent.condition.as_ref(), &run.captured),
                _ => false,
            },
            _ => false,
        }
    }

    /// Counts the event for the steps of an older run that it matches. The first step is counted from its times instead.
    fn count(&mut self, run: &mut Run) {
        let step = usize::from(run.step);
        let steps = self.program.steps();
        let index = self.program.see_index[step];
        let awaited = matches!(steps[step], Step::See(_));
        let sees: Vec<&See> = self.program.pattern.when.sees().collect();
        let mut open = vec![index];
        if awaited && run.seen == 0 && index > 0 {
            open.push(index - 1);
        }
        for see in open.into_iter().filter(|see| *see > 0) {
            if self.sees(sees[see], &run.captured) {
                run.counts[see] += 1;
            }
        }
    }
}

impl Instance {
    fn new(program: &Program, by: Vec<Attribute>) -> Self {
        let version = program.pattern.version;
        Self {
            pattern: program.id.clone(),
            version,
            by,
            first: Vec::new(),
            runs: Vec::new(),
        }
    }
}

/// A value as a by-key prints it.
fn shown(value: &Attribute) -> String {
    match value {
        Attribute::Null => "null".to_owned(),
        Attribute::Bool(value) => value.to_string(),
        Attribute::Long(value) => value.to_string(),
        Attribute::Double(value) => value.to_string(),
        Attribute::Text(text) => text.clone(),
        Attribute::List(list) => list.join(","),
    }
}

/// What is kept of an event for sentences.
type Fields = BTreeMap<String, Attribute>;

struct Filling<'a> {
    seen: &'a [Seen],
    fields: &'a [(Fields, Fields)],
    by: &'a BTreeMap<String, String>,
    facts: &'a dyn Facts,
}

impl Fill for Filling<'_> {
    fn fill(&self, place: &Place) -> Option<Attribute> {
        match place {
            Place::Count(step) => Some(Attribute::Long(i64::from(self.seen.get(*step)?.count))),
            Place::First(step, name) => self.fields.get(*step)?.0.get(name).cloned(),
            Place::Last(step, name) => self.fields.get(*step)?.1.get(name).cloned(),
            Place::By(name) => self.by.get(name).cloned().map(Attribute::Text),
            Place::Journey(path) => self.facts.journey(path),
            Place::Profile(path) => self.facts.profile(path),
        }
    }
}
