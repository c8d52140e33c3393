//! Patterns over a file of events: the journeys, the engine and the decisions that run live.

mod progress;
mod read;
mod sort;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use event::{Event, Millis, WithheldReason};
use journey::{Counted, Ears, Journey, Moment, Rules};
use pattern::{Catalogue, Limits, Match, Pattern, Policy, Unobserved};
use serde_json::{Value, json};

use progress::Progress;
pub use read::{MEMORY, read};
pub use sort::{Events, Sorted, Sorter};

/// A match of one customer.
#[derive(Debug, Clone)]
pub struct Found {
    /// The customer as the file names them.
    pub customer: Arc<str>,
    /// The match.
    pub matched: Match,
    /// Why nothing would have been done about it.
    pub withheld: Option<WithheldReason>,
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events in the file.
    pub events: u64,
    /// Events that repeat one of the same customer.
    pub duplicates: u64,
    /// Customers with an event.
    pub customers: usize,
    /// Waits that were open when the file ended.
    pub open_waits: usize,
    /// Runs dropped by a cap.
    pub capped: u64,
    /// Predicates that failed, by pattern.
    pub failed: BTreeMap<String, u64>,
    /// First and last event.
    pub span: Option<(Millis, Millis)>,
}

struct Customer {
    journey: Journey,
    last: Millis,
    due: Option<Millis>,
}

/// Every customer's journey so far.
struct Run {
    rules: Rules,
    /// The numbers of customers by name, and the customers; due times hold names, so that equal ones go in order of name.
    numbers: HashMap<Arc<str>, usize>,
    customers: Vec<Customer>,
    due: BTreeSet<(Millis, Arc<str>)>,
    /// Matches of the present moment, until time moves on and they can be put in order.
    held: Vec<Found>,
    counts: Counts,
}

/// What is backtested: every pattern that is not paused or retired; a draft as if it were in shadow.
#[must_use]
pub fn catalogue(patterns: &[Arc<Pattern>]) -> Catalogue {
    let matched = patterns.iter().map(|pattern| {
        if pattern.status == pattern::Status::Draft {
            let mut tried = (**pattern).clone();
            tried.status = pattern::Status::Shadow;
            Arc::new(tried)
        } else {
            Arc::clone(pattern)
        }
    });
    Catalogue::compile(matched, Limits::default())
}

/// Steps every customer's journey over events in order of time, and tells matches in order of completion, then customer, then
/// pattern. The clock moves to each event's time before the event, for all customers, and stops at the last one unless `drain`.
/// A robot's rate is not capped: when its events arrived is not known.
///
/// # Errors
/// A message where the events cannot be read back, or `tell` fails.
pub fn run(
    patterns: &[Arc<Pattern>],
    policy: &Policy,
    events: &Sorted,
    drain: bool,
    tell: &mut dyn FnMut(Found) -> Result<(), String>,
) -> Result<Counts, String> {
    let mut run = Run {
        rules: Rules {
            catalogue: Arc::new(catalogue(patterns)),
            policy: policy.clone(),
            timeline_events: 1,
            customer_rate: 1_000_000_000,
            publish_profiles: false,
            profile_interval: 30_000,
            read_again: None,
        },
        numbers: HashMap::new(),
        customers: Vec::new(),
        due: BTreeSet::new(),
        held: Vec::new(),
        counts: Counts::default(),
    };
    let mut progress = Progress::new("stepping", events.len());
    let unreadable = |error: std::io::Error| format!("a temporary file cannot be read: {error}");
    for event in events.events().map_err(unreadable)? {
        run.event(&event.map_err(unreadable)?, tell)?;
        if run.counts.events.is_multiple_of(256) {
            progress.at(run.counts.events);
        }
    }
    let end = if drain { Some(Millis(i64::MAX)) } else { events.last() };
    run.fire(end.unwrap_or_default(), tell)?;
    run.flush(tell)?;
    run.counts.customers = run.customers.len();
    let customers = run.customers.iter();
    run.counts.open_waits = customers.map(|customer| customer.journey.runs.open_waits()).sum();
    Ok(run.counts)
}

impl Run {
    fn event(&mut self, event: &Event, tell: &mut dyn FnMut(Found) -> Result<(), String>) -> Result<(), String> {
        let now = event.time;
        self.fire(now, tell)?;
        self.counts.events += 1;
        let first = self.counts.span.map_or(now, |(first, _)| first);
        self.counts.span = Some((first, now));
        let Some(name) = event.identifiers.first().map(|identifier| identifier.value.as_str()) else {
            return Ok(());
        };
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                self.customers.push(Customer {
                    journey: Journey::default(),
                    last: now,
                    due: None,
                });
                self.numbers.insert(Arc::from(name), self.customers.len() - 1);
                self.customers.len() - 1
            }
        };
        self.step(number, name, now, now, |journey, at, rules, counted, ears| {
            journey::hear_event(journey, event, at, rules, &mut Vec::new(), counted, ears);
        });
        Ok(())
    }

    /// Fires every deadline at or before `clock`, and tells what was matched before the last of them.
    fn fire(&mut self, clock: Millis, tell: &mut dyn FnMut(Found) -> Result<(), String>) -> Result<(), String> {
        while let Some((due, _)) = self.due.first().filter(|(due, _)| *due <= clock) {
            let due = *due;
            self.moved_to(due, tell)?;
            let Some((_, name)) = self.due.pop_first() else { break };
            let Some(number) = self.numbers.get(&name).copied() else {
                continue;
            };
            let now = due.max(self.customers[number].last);
            self.customers[number].due = None;
            self.step(number, &name, now, due, |journey, at, rules, counted, ears| {
                journey::hear_time(journey, at, rules, &mut Vec::new(), counted, ears);
            });
        }
        self.moved_to(clock, tell)
    }

    fn step(
        &mut self,
        number: usize,
        name: &str,
        now: Millis,
        clock: Millis,
        take: impl FnOnce(&mut Journey, &Moment<'_>, &Rules, &mut Counted, Ears<'_, Unobserved>),
    ) {
        let at = Moment {
            now,
            clock,
            customer: name,
            position: "",
            arrival: now,
        };
        let customer = &mut self.customers[number];
        customer.last = now;
        let (held, mut counted) = (&mut self.held, Counted::default());
        take(
            &mut customer.journey,
            &at,
            &self.rules,
            &mut counted,
            Ears {
                hear: &mut |matched, intervention| {
                    held.push(Found {
                        customer: Arc::from(name),
                        matched: matched.clone(),
                        withheld: intervention.withheld.as_ref().map(|withheld| withheld.reason),
                    });
                },
                observer: &mut Unobserved,
            },
        );
        self.counts.duplicates += u64::from(counted.duplicates);
        self.counts.capped += u64::from(counted.capped_runs);
        for pattern in counted.failed {
            *self.counts.failed.entry(pattern).or_default() += 1;
        }
        let due = journey::deadline(&customer.journey, &self.rules);
        if due == customer.due {
            return;
        }
        let Some((name, _)) = self.numbers.get_key_value(name) else {
            return;
        };
        if let Some(before) = customer.due {
            self.due.remove(&(before, Arc::clone(name)));
        }
        customer.due = due;
        self.due.extend(due.map(|due| (due, Arc::clone(name))));
    }

    /// Tells what was matched before `clock`.
    fn moved_to(&mut self, clock: Millis, tell: &mut dyn FnMut(Found) -> Result<(), String>) -> Result<(), String> {
        if self.held.first().is_some_and(|found| found.matched.matched_at < clock) {
            self.flush(tell)?;
        }
        Ok(())
    }

    fn flush(&mut self, tell: &mut dyn FnMut(Found) -> Result<(), String>) -> Result<(), String> {
        self.held.sort_by(Found::order);
        self.held.drain(..).try_for_each(tell)
    }
}

impl Found {
    /// Completion, then customer, then pattern.
    fn order(&self, other: &Self) -> Ordering {
        let key = |found: &Self| (found.matched.matched_at, Arc::clone(&found.customer));
        let id = |found: &Self| found.matched.pattern.id.clone();
        key(self).cmp(&key(other)).then_with(|| id(self).cmp(&id(other)))
    }

    /// The line that `pattern backtest` prints.
    #[must_use]
    pub fn json(&self) -> Value {
        let matched = &self.matched;
        let seen: Vec<Value> = matched
            .seen()
            .iter()
            .zip(matched.evidence())
            .map(|(seen, events)| {
                let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
                json!({ "step": seen.step, "count": seen.count, "events": ids })
            })
            .collect();
        let absent: Vec<Value> = matched
            .absent()
            .iter()
            .map(|absent| json!({ "step": absent.step, "since": codec::time(absent.since), "until": codec::time(absent.until) }))
            .collect();
        let by: serde_json::Map<String, Value> = matched
            .joined()
            .map(|(name, value)| (name.to_owned(), codec::attribute_json(value)))
            .collect();
        json!({
            "at": codec::time(matched.matched_at), "customer": &*self.customer, "pattern": matched.pattern.id,
            "version": matched.pattern.version, "by": by, "intervene": matched.pattern.then.intervene,
            "seen": seen, "absent": absent,
        })
    }
}
