//! A complete run as a match. Its parts are put together when they are asked for: most who take a match read some of them.

use std::{collections::BTreeMap, sync::Arc};

use event::{Absence, Attribute, EventRef, Millis, Seen};
use smallvec::SmallVec;

use super::Facts;
use crate::{
    Pattern, Run, Value,
    catalogue::Program,
    file::Step,
    runs::Events,
    template::{Fill, Place},
};

/// A pattern matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The pattern.
    pub pattern: Arc<Pattern>,
    /// The first event's time.
    pub opened_at: Millis,
    /// Completion.
    pub matched_at: Millis,
    /// When the last event of an `all` came.
    done: Millis,
    /// Per `see` step how many events matched it.
    counts: [u32; 8],
    /// Every event used, by `see` step, in order.
    evidence: Events,
    /// The values by which events were joined.
    by: Vec<Attribute>,
    /// What sentences read of journey and profile, as it was then.
    read: Vec<(Place, Option<Attribute>)>,
}

/// A run that is complete.
pub(super) struct Complete<'a> {
    pub program: &'a Program,
    pub start: Millis,
    pub done: Millis,
    pub counts: [u32; 8],
    pub by: &'a [Attribute],
}

impl Complete<'_> {
    /// The match, at the moment of its completion.
    pub fn matched(self, evidence: &[u64], events: &Events, at: Millis, facts: &dyn Facts) -> Match {
        let reads = self.program.reads.iter();
        let read = reads.map(|place| {
            let value = match place {
                Place::Journey(path) => facts.journey(path),
                Place::Profile(path) => facts.profile(path),
                _ => None,
            };
            (place.clone(), value.map(Attribute::from))
        });
        Match {
            pattern: self.program.pattern.clone(),
            opened_at: self.start,
            matched_at: at,
            done: self.done,
            counts: self.counts,
            evidence: events.chosen(evidence),
            by: self.by.to_vec(),
            read: read.collect(),
        }
    }
}

pub(super) fn build(
    program: &Program,
    run: &Run,
    by: &[Attribute],
    events: &Events,
    at: Millis,
    facts: &dyn Facts,
) -> Match {
    let complete = Complete {
        program,
        start: run.start,
        done: run.done,
        counts: run.counts,
        by,
    };
    complete.matched(&run.evidence, events, at, facts)
}

impl Match {
    /// The fields of `by` with the values by which events were joined, as they are but that 1.0 is told as 1, which it equals; `"1"` differs.
    pub fn joined(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.pattern.when.by.iter().map(String::as_str).zip(&self.by)
    }

    /// The values by which events were joined, as texts.
    #[must_use]
    pub fn by(&self) -> BTreeMap<String, String> {
        let names = self.pattern.when.by.iter().cloned();
        names
            .zip(self.by.iter().map(|value| Value::from(value).shown()))
            .collect()
    }

    /// Every event used, by `see` step, in order.
    #[must_use]
    pub fn evidence(&self) -> Vec<Vec<EventRef>> {
        let mut used = 0;
        let sees = self.pattern.when.sees();
        sees.map(|see| {
            let own = used..used + usize::from(see.times);
            used = own.end;
            own.filter_map(|place| self.evidence.nth(place))
                .map(|kept| kept.event())
                .collect()
        })
        .collect()
    }

    /// Source and id of every event used, in the order of [`Match::evidence`].
    pub fn sources(&self) -> impl Iterator<Item = [&str; 2]> {
        self.evidence.named().map(|kept| {
            let [id, source, ..] = kept.texts();
            [source, id]
        })
    }

    /// Keys of the journeys from which events used were handed over or sent on; one may be told twice.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.evidence.named().filter_map(|kept| kept.origin())
    }

    /// Per `see` step what was seen.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        let (mut used, mut seen) = (0, Vec::new());
        for (index, step) in self.pattern.when.steps.iter().enumerate() {
            let Step::See(see) = step else { continue };
            let mut own = (used..used + usize::from(see.times)).filter_map(|place| self.evidence.nth(place));
            used += usize::from(see.times);
            let first = own.next().map(|kept| kept.event()).unwrap_or_default();
            let last = own.next_back().map(|kept| kept.event());
            seen.push(Seen {
                step: number(index),
                types: see.types.clone(),
                count: self.count(seen.len()),
                last: Some(last.unwrap_or_else(|| first.clone())),
                first,
            });
        }
        seen
    }

    /// Per `absent` step what did not happen, and from when until when.
    #[must_use]
    pub fn absent(&self) -> Vec<Absence> {
        let is_all = self.pattern.when.any_order;
        let (mut used, mut absent) = (0, Vec::new());
        let time = |place: usize| self.evidence.nth(place).map(|kept| kept.at);
        // Completion of the step before.
        let mut since = self.opened_at;
        for (index, step) in self.pattern.when.steps.iter().enumerate() {
            let (types, begun, until) = match step {
                Step::See(see) => {
                    used += usize::from(see.times);
                    since = time(used - 1).unwrap_or(since);
                    continue;
                }
                Step::Guard(guard) if is_all => (&guard.types, self.opened_at, self.done),
                Step::Guard(guard) => (&guard.types, since, time(used).unwrap_or(since)),
                Step::Wait(wait, length) => {
                    let begun = if is_all { self.done } else { since };
                    since = begun.plus(*length);
                    (&wait.types, begun, since)
                }
            };
            absent.push(Absence {
                step: number(index),
                types: types.clone(),
                since: begun,
                until,
            });
        }
        absent
    }

    /// The sentence per language.
    #[must_use]
    pub fn because(&self) -> BTreeMap<String, String> {
        let because = self.pattern.then.because.iter();
        because
            .map(|(lang, template)| (lang.clone(), template.render(lang, self)))
            .collect()
    }

    fn count(&self, see: usize) -> i32 {
        i32::try_from(self.counts[see]).unwrap_or(i32::MAX)
    }

    fn field(&self, step: usize, is_first: bool, name: &str) -> Option<Attribute> {
        let mut times = self.pattern.when.sees().map(|see| usize::from(see.times));
        let before: usize = times.by_ref().take(step).sum();
        let own = times.next()?;
        let place = if is_first { before } else { before + own - 1 };
        self.evidence.nth(place)?.fields().remove(name)
    }
}

fn number(step: usize) -> i32 {
    i32::try_from(step).unwrap_or(i32::MAX)
}

impl Fill for Match {
    fn fill(&self, place: &Place) -> Option<Attribute> {
        match place {
            Place::Count(step) if *step < self.pattern.when.see_count() => {
                Some(Attribute::Long(i64::from(self.count(*step))))
            }
            Place::Count(_) => None,
            Place::First(step, name) => self.field(*step, true, name),
            Place::Last(step, name) => self.field(*step, false, name),
            Place::By(name) => {
                let place = self.pattern.when.by.iter().position(|by| by == name)?;
                Some(Attribute::Text(Value::from(self.by.get(place)?).shown()))
            }
            Place::Journey(_) | Place::Profile(_) => {
                let (_, value) = self.read.iter().find(|(known, _)| known == place)?;
                value.clone()
            }
        }
    }
}

/// Indexes of a match's events.
pub(super) type Indexes = SmallVec<[u64; 8]>;
