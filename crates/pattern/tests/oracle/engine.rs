//! The engine, driven over a case in all the ways in which it runs.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use event::{Attribute, Event, Millis};
use pattern::{
    Catalogue, Facts, Finding, Kept, Limits, Note, Observer, Occurrence, Pattern, Runs, Stepped, Subject, Value,
};

use crate::{
    case::{Case, Held, Key, Moment, Sent, yaml},
    definition::{Found, most},
};

/// How the engine is driven: all ways have the same outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// As it runs live.
    Live,
    /// With an observer, which sees every step.
    Observed,
    /// Live, and stored and restored after every moment.
    Restored,
    /// Each of these in turn.
    Mixed,
}

impl Drive {
    pub const ALL: [Self; 4] = [Self::Live, Self::Observed, Self::Restored, Self::Mixed];
}

/// What profile and journey say of the customer.
#[derive(Default)]
struct Known {
    date: Cell<Option<i64>>,
    fact: Cell<Option<i64>>,
}

impl Facts for Known {
    fn profile(&self, path: &str) -> Option<Value<'_>> {
        let known = match path {
            "renewal_date" => self.date.get(),
            "level" => self.fact.get(),
            _ => None,
        };
        known.map(Value::Long)
    }

    fn journey(&self, path: &str) -> Option<Value<'_>> {
        self.fact.get().filter(|_| path == "contacts_7d").map(Value::Long)
    }
}

struct Watching;

impl Observer for Watching {
    fn note(&mut self, _: &Subject<'_>, _: &Note<'_>) {}
}

/// The patterns of a case, compiled.
pub struct Compiled {
    /// What is in force at first, and from the change on.
    catalogues: Vec<Catalogue>,
}

/// Per moment that is one: its event.
pub fn events(case: &Case) -> Vec<Option<Event>> {
    let (mut number, mut record) = (0, None);
    let event = |moment: &Moment| {
        let made = match moment {
            Moment::Event(of) => {
                let mut attributes = BTreeMap::new();
                for (name, value) in [("x", of.x), ("z", of.z)] {
                    attributes.extend(value.map(|value| (name.to_owned(), Attribute::Long(value))));
                }
                for (name, value) in [("y", of.y), ("k", of.k)] {
                    let value = value.map(|value| match value {
                        Sent::Long(value) => Attribute::Long(value),
                        Sent::Halves(halves) => Attribute::Double(halves as f64 / 2.0),
                        Sent::Text(text) => Attribute::Text(text.to_owned()),
                    });
                    attributes.extend(value.map(|value| (name.to_owned(), value)));
                }
                record = Some(Event {
                    id: number.to_string(),
                    kind: format!("t.{}", of.kind),
                    time: Millis(of.at),
                    session: of.session.map(str::to_owned),
                    attributes,
                    ..Event::default()
                });
                record.clone()
            }
            // Of its own it has a type and fields, which are told beside it.
            Moment::Derived { .. } => record.clone().map(|record| Event {
                id: number.to_string(),
                ..record
            }),
            Moment::Clock(_) => None,
        };
        number += usize::from(made.is_some());
        made
    };
    case.moments.iter().map(event).collect()
}

impl Compiled {
    /// Compiles the patterns of a case.
    ///
    /// # Errors
    /// What the language forbids in one of them.
    pub fn of(case: &Case) -> Result<Self, (String, Vec<Finding>)> {
        let parsed = |id: usize, version: i32, of| {
            let text = yaml(id, version, of);
            let pattern = pattern::parse(&format!("random-{id}.yaml"), &text);
            pattern.map(Arc::new).map_err(|findings| (text, findings))
        };
        let limits = case
            .caps
            .map_or_else(Limits::default, |[per_pattern, per_customer]| Limits {
                per_pattern,
                per_customer,
            });
        let patterns = case.patterns.iter().enumerate().map(|(id, of)| parsed(id, 1, of));
        let mut patterns = patterns.collect::<Result<Vec<Arc<Pattern>>, _>>()?;
        let mut catalogues = vec![Catalogue::compile(patterns.clone(), limits)];
        if let Some((_, newer)) = &case.newer {
            patterns.push(parsed(0, 2, newer)?);
            catalogues.push(Catalogue::compile(patterns, limits));
        }
        Ok(Self { catalogues })
    }

    /// What the engine finds, and how many runs its caps dropped.
    pub fn run(&self, case: &Case, events: &[Option<Event>], drive: Drive) -> (Vec<Found>, u32) {
        let (mut runs, mut out, facts) = (Runs::default(), Stepped::default(), Known::default());
        let (mut clock, mut last, mut index) = (i64::MIN, i64::MIN, case.first_index);
        let mut found = Vec::new();
        for (position, moment) in case.moments.iter().enumerate() {
            let is_changed = case.newer.as_ref().is_some_and(|(from, _)| *from <= position);
            let catalogue = &self.catalogues[usize::from(is_changed)];
            let way = match drive {
                Drive::Mixed => Drive::ALL[(position + case.moments.len()) * 7 % 11 % 3],
                drive => drive,
            };
            let event = events[position].as_ref();
            match (moment, event) {
                (Moment::Clock(to), _) => {
                    clock = clock.max(*to);
                    if way == Drive::Observed {
                        catalogue.on_time_observed(&mut runs, Millis(clock), &facts, &mut out, &mut Watching);
                    } else {
                        catalogue.on_time(&mut runs, Millis(clock), &facts, &mut out);
                    }
                }
                (_, Some(event)) => {
                    last = last.max(event.time.0).max(clock);
                    let kind;
                    let mut extra = None;
                    if let Moment::Derived { kind: derived, x } = moment {
                        kind = format!("t.{derived}");
                        extra = x.map(|x| ("x", Attribute::Long(x)));
                    } else {
                        kind = event.kind.clone();
                    }
                    if let Moment::Event(of) = moment {
                        facts.date.set(of.date.unwrap_or(facts.date.get()));
                        facts.fact.set(of.fact.unwrap_or(facts.fact.get()));
                    }
                    let of = Occurrence {
                        event,
                        kind: &kind,
                        extra: extra.as_slice(),
                        at: Millis(last),
                        index,
                        position: "",
                    };
                    if way == Drive::Observed {
                        catalogue.on_event_observed(&mut runs, &of, &facts, &mut out, &mut Watching);
                    } else {
                        catalogue.on_event(&mut runs, &of, &facts, &mut out);
                    }
                    index += 1;
                }
                _ => {}
            }
            found.extend(out.matches.drain(..).map(|found| told(case, position, &found)));
            if way == Drive::Restored {
                let deadline = runs.deadline();
                runs = Runs::restored(runs.instances(), runs.events().map(Kept::from).collect());
                assert_eq!(deadline, runs.deadline(), "the deadline follows from what is stored");
            }
        }
        (found, out.capped)
    }
}

fn told(case: &Case, moment: usize, found: &pattern::Match) -> Found {
    let number = |id: &str| id.parse().expect("ids are numbers");
    let pattern = number(found.pattern.id.trim_start_matches("random-"));
    let held = |(_, value): (&str, &Attribute)| match value {
        Attribute::Long(value) => Held::Long(*value),
        // As it is told, so that a whole one is a difference.
        Attribute::Double(value) => Held::Halves((*value * 2.0) as i64),
        Attribute::Text(text) => Held::Text(Key::text(text)),
        _ => panic!("not a by-value: {value:?}"),
    };
    let evidence = found.evidence().into_iter();
    let evidence = evidence.map(|group| group.iter().map(|event| number(&event.id)).collect());
    let absent = found.absent().into_iter();
    let when = match (&case.newer, found.pattern.version) {
        (Some((_, newer)), 2) if pattern == 0 => newer,
        _ => &case.patterns[pattern],
    };
    assert_eq!(found.seen().len(), when.sees().count());
    Found {
        moment,
        pattern,
        version: found.pattern.version,
        by: found.joined().map(held).collect(),
        since: found.opened_at.0,
        at: found.matched_at.0,
        evidence: evidence.collect(),
        // Exact up to 64, or to `times`.
        counts: found
            .seen()
            .iter()
            .zip(when.sees())
            .map(|(seen, step)| seen.count.min(most(step)))
            .collect(),
        absent: absent.map(|absent| (absent.since.0, absent.until.0)).collect(),
        because: found.because().remove("en").expect("there is a sentence"),
    }
}
