//! One customer's journey, stepped by the functions that run live, with what the engine says written down.

use std::sync::Arc;

use codec::time;
use event::{Event, Intervention, Millis};
use journey::{Counted, Ears, Journey, Moment, Rules};
use pattern::{Match, Note, Observer, Pattern, Policy, Subject};

use super::{Account, Line, Told};
use crate::backtest;

/// The rules of one pattern alone.
pub(super) fn rules(pattern: &Arc<Pattern>, policy: &Policy) -> Rules {
    Rules {
        catalogue: Arc::new(backtest::catalogue(std::slice::from_ref(pattern))),
        policy: policy.clone(),
        timeline_events: 1,
        customer_rate: 1_000_000_000,
        publish_profiles: false,
        profile_interval: 30_000,
        read_again: None,
    }
}

/// Steps the events of a customer, in order of time. The clock stops at `end`, the last event of all customers, unless `drain`.
pub(super) fn explained(rules: &Rules, customer: &str, events: &[Event], end: Option<Millis>, drain: bool) -> Account {
    let mut walk = Walk::default();
    for event in events {
        let now = walk.last.map_or(event.time, |last: Millis| last.max(event.time));
        walk.fire(rules, customer, now);
        walk.event(rules, customer, event, now, now);
    }
    let end = if drain {
        Some(Millis(i64::MAX))
    } else {
        end.max(walk.last)
    };
    if let Some(end) = end {
        walk.fire(rules, customer, end);
    }
    walk.done(customer)
}

/// A journey, and what was told of it so far.
#[derive(Default)]
pub(super) struct Walk {
    journey: Journey,
    told: Vec<Told>,
    last: Option<Millis>,
}

impl Walk {
    /// Takes an event at the customer's time `now`; the partition's clock stands at `clock`.
    pub(super) fn event(&mut self, rules: &Rules, customer: &str, event: &Event, now: Millis, clock: Millis) {
        let mut notes = Notes::default();
        if event.time < now {
            let text = format!("late: its own time is {}, it counts as happening now", time(event.time));
            notes.add("late", String::new(), text);
        }
        let before = notes.lines.len();
        let counted = notes.step(&mut self.journey, rules, customer, (now, clock), Some(event));
        if counted.duplicates > 0 {
            let text = "repeats an event of the last 24 hours and is not counted".to_owned();
            notes.add("repeated", String::new(), text);
        }
        if notes.lines.len() == before {
            let text = "nothing is open that it could move or break".to_owned();
            notes.add("ignored", String::new(), text);
        }
        self.told.push(Told {
            at: now,
            event: Some((event.id.clone(), event.kind.clone())),
            notes: notes.lines,
        });
        self.last = Some(now);
    }

    /// Takes the deadline that has come.
    pub(super) fn deadline(&mut self, rules: &Rules, customer: &str, now: Millis, clock: Millis) {
        let mut notes = Notes::default();
        notes.step(&mut self.journey, rules, customer, (now, clock), None);
        // Deadlines that are not the pattern's own say nothing.
        if !notes.lines.is_empty() {
            self.told.push(Told {
                at: now,
                event: None,
                notes: notes.lines,
            });
        }
    }

    /// When the journey next wants to be woken.
    pub(super) fn due(&self, rules: &Rules) -> Option<Millis> {
        journey::deadline(&self.journey, rules)
    }

    /// Fires every deadline at or before `clock`.
    pub(super) fn fire(&mut self, rules: &Rules, customer: &str, clock: Millis) {
        while let Some(due) = self.due(rules).filter(|due| *due <= clock) {
            self.deadline(rules, customer, due, due);
        }
    }

    /// Whether no event came.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    pub(super) fn done(self, customer: &str) -> Account {
        Account {
            customer: customer.to_owned(),
            told: self.told,
            open: self.journey.runs.deadline(),
        }
    }
}

#[derive(Default)]
struct Notes {
    lines: Vec<Line>,
}

impl Notes {
    fn add(&mut self, kind: &'static str, by: String, text: String) {
        self.lines.push(Line { kind, by, text });
    }

    fn step(
        &mut self,
        journey: &mut Journey,
        rules: &Rules,
        customer: &str,
        (now, clock): (Millis, Millis),
        event: Option<&Event>,
    ) -> Counted {
        let at = Moment {
            now,
            clock,
            customer,
            position: "",
            arrival: now,
        };
        let mut decided = Vec::new();
        let mut hear = |_: &Match, intervention: &Intervention| {
            decided.push(decision(intervention));
        };
        let (mut said, mut counted) = (Vec::new(), Counted::default());
        let ears = Ears {
            hear: &mut hear,
            observer: self,
        };
        match event {
            Some(event) => journey::hear_event(journey, event, &at, rules, &mut said, &mut counted, ears),
            None => journey::hear_time(journey, &at, rules, &mut said, &mut counted, ears),
        }
        for text in decided {
            self.add("decided", String::new(), text);
        }
        counted
    }
}

/// What was decided on a match and, if nothing is done about it, why not.
fn decision(intervention: &Intervention) -> String {
    let Some(withheld) = &intervention.withheld else {
        return format!("decided: {} by {}", intervention.kind, intervention.channel.as_str());
    };
    let mut text = format!("decided: withheld, {}", withheld.reason.as_str());
    use event::WithheldReason::{Holdout, NoConsent, Rollout};
    match (withheld.reason, &intervention.experiment, &intervention.consent) {
        (NoConsent, _, Some(consent)) => text.push_str(&format!(": purpose {}", consent.purpose)),
        (Holdout | Rollout, Some(arm), _) => text.push_str(&format!(
            ": bucket {} of 10000, {} holdout {} percent, then {} percent of the others",
            arm.bucket, arm.scope, arm.holdout, arm.percent
        )),
        _ => {}
    }
    if let Some(until) = withheld.until {
        text.push_str(&format!(", until {}", time(until)));
    }
    text
}

impl Observer for Notes {
    fn note(&mut self, of: &Subject<'_>, note: &Note<'_>) {
        self.add(note.kind(), of.by_in_words(), note.in_words(&time));
    }
}
