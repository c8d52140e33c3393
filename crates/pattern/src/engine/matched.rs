//! A complete run as a match: evidence, absences, counts, sentences.

use std::collections::BTreeMap;

use event::{Absence, Attribute, EventRef, Millis, Seen};

use super::{Facts, Match};
use crate::{
    Instance, Kept, Run, Runs, Value,
    catalogue::Program,
    file::Step,
    template::{Fill, Place},
};

pub(super) fn build(
    program: &Program,
    run: &Run,
    instance: &Instance,
    events: &[Kept],
    at: Millis,
    facts: &dyn Facts,
) -> Match {
    let pattern = &program.pattern;
    let is_all = pattern.when.any_order;
    let kept = |index: &u64| Runs::event(events, *index);
    let (mut seen, mut absent, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
    let mut used = 0;
    // Completion of the step before.
    let mut since = run.start;
    for (index, step) in program.steps().iter().enumerate() {
        let number = i32::try_from(index).unwrap_or(i32::MAX);
        match step {
            Step::See(see) => {
                let own = &run.evidence[used..used + usize::from(see.times)];
                used += own.len();
                let refs: Vec<EventRef> = own.iter().filter_map(|index| kept(index).map(Kept::event)).collect();
                seen.push(Seen {
                    step: number,
                    types: see.types.clone(),
                    count: i32::try_from(run.counts[seen.len()]).unwrap_or(i32::MAX),
                    first: refs.first().cloned().unwrap_or_default(),
                    last: Some(refs.last().cloned().unwrap_or_default()),
                });
                since = own.last().and_then(kept).map_or(since, |kept| kept.at);
                evidence.push(refs);
            }
            Step::Guard(guard) => {
                let next = run.evidence.get(used).and_then(kept).map_or(since, |kept| kept.at);
                absent.push(Absence {
                    step: number,
                    types: guard.types.clone(),
                    since: if is_all { run.start } else { since },
                    until: if is_all { run.done } else { next },
                });
            }
            Step::Wait(wait, length) => {
                let begun = if is_all { run.done } else { since };
                let until = begun.plus(*length);
                absent.push(Absence {
                    step: number,
                    types: wait.types.clone(),
                    since: begun,
                    until,
                });
                since = until;
            }
        }
    }
    let names = pattern.when.by.iter().cloned();
    let by = names
        .zip(instance.by.iter().map(|value| Value::from(value).shown()))
        .collect();
    let filling = Filling {
        program,
        run,
        events,
        seen: &seen,
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

struct Filling<'a> {
    program: &'a Program,
    run: &'a Run,
    events: &'a [Kept],
    seen: &'a [Seen],
    by: &'a BTreeMap<String, String>,
    facts: &'a dyn Facts,
}

impl Filling<'_> {
    fn field(&self, step: usize, is_first: bool, name: &str) -> Option<Attribute> {
        let mut times = self.program.pattern.when.sees().map(|see| usize::from(see.times));
        let before: usize = times.by_ref().take(step).sum();
        let own = times.next()?;
        let place = if is_first { before } else { before + own - 1 };
        let kept = Runs::event(self.events, *self.run.evidence.get(place)?)?;
        kept.fields().remove(name)
    }
}

impl Fill for Filling<'_> {
    fn fill(&self, place: &Place) -> Option<Attribute> {
        match place {
            Place::Count(step) => Some(Attribute::Long(i64::from(self.seen.get(*step)?.count))),
            Place::First(step, name) => self.field(*step, true, name),
            Place::Last(step, name) => self.field(*step, false, name),
            Place::By(name) => self.by.get(name).cloned().map(Attribute::Text),
            Place::Journey(path) => self.facts.journey(path).map(Attribute::from),
            Place::Profile(path) => self.facts.profile(path).map(Attribute::from),
        }
    }
}
