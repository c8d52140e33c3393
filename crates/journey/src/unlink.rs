//! Two journeys part again: what one had handed over goes back, and what rests on it leaves the other.

use std::collections::{BTreeMap, BTreeSet};

use event::{CustomerValue, Decimal, Event, EventRef, Identifier, Millis, OutputId, Profile, TimelineEntry};

use crate::{
    Core, Journey, Moment, Rules, Said,
    fold::value_of_cart,
    phases,
    step::{publish, withdrawal},
};

const DAY: i64 = 86_400_000;
/// So long after a hand-over an unlink gives back what was handed over.
pub(crate) const GIVES_BACK: i64 = 30 * DAY;
/// Journeys handed over that are remembered; an unlink from one before them parts the future alone.
const ORIGINS: usize = 16;

/// A journey that was handed over to this one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// The key that it had.
    pub key: String,
    /// The key of the journey that had handed it on to this one, if it came through another.
    pub through: Option<String>,
    /// When it was handed over, on this journey's clock.
    pub at: Millis,
    /// What it was, but for what lives on here under its mark: its past, and those of its runs that went on here.
    pub journey: Box<Journey>,
}

/// That an open intervention rests on what another journey brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rest {
    /// The intervention.
    pub intervention: OutputId,
    /// The key of that journey.
    pub origin: String,
}

/// Enters what an open intervention rests on, and forgets what others rested on that are open no longer.
pub(crate) fn rest<'a>(journey: &mut Journey, intervention: OutputId, origins: impl Iterator<Item = &'a str>) {
    let open = &journey.decisions.open;
    journey
        .rests
        .retain(|known| open.iter().any(|open| open.intervention == known.intervention));
    for origin in origins {
        let rest = Rest {
            intervention,
            origin: origin.to_owned(),
        };
        if !journey.rests.contains(&rest) {
            journey.rests.push(rest);
        }
    }
}

/// Remembers a journey that was handed over, and those that it had been given itself.
pub(crate) fn remember(journey: &mut Journey, mut origin: Origin) {
    let nested = std::mem::take(&mut origin.journey.origins);
    // An identifier that goes to and fro between two customers hands over nothing most times.
    if is_blank(&origin.journey) {
        let is_same = |known: &Origin| known.key == origin.key && known.through.is_none() && is_blank(&known.journey);
        journey.origins.retain(|_, known| !is_same(known));
    }
    let through = origin.key.clone();
    let mut enter = |origin: Origin| {
        journey.origins.insert(journey.core.next_index, origin);
        journey.core.next_index += 1;
    };
    enter(origin);
    for (_, mut origin) in nested {
        origin.through = origin.through.or_else(|| Some(through.clone()));
        enter(origin);
    }
    while journey.origins.len() > ORIGINS {
        journey.origins.pop_first();
    }
}

/// Whether nothing is in a journey that was handed over.
fn is_blank(journey: &Journey) -> bool {
    let nothing = Journey {
        core: journey.core.clone(),
        profile: Profile {
            tenant: journey.profile.tenant.clone(),
            customer: journey.profile.customer.clone(),
            revision: journey.profile.revision,
            updated_at: journey.profile.updated_at,
            forwarded_to: journey.profile.forwarded_to.clone(),
            phase: journey.profile.phase,
            ..Profile::default()
        },
        ..Journey::default()
    };
    *journey == nothing
}

/// When the oldest of them can be forgotten.
pub(crate) fn deadline(journey: &Journey) -> Option<Millis> {
    let at = journey.origins.values().map(|origin| origin.at).min();
    at.map(|at| at.plus(GIVES_BACK))
}

/// Forgets those that no unlink gives back any more.
pub(crate) fn forget(journey: &mut Journey, now: Millis) {
    journey.origins.retain(|_, origin| now.since(origin.at) < GIVES_BACK);
}

/// Parts with what the journey `key` brought, if it was handed over in the last thirty days: entries, runs and open interventions that
/// rest on it leave, what was added up is taken apart again as far as it was kept. Returns what goes back to it, in order.
pub fn part(
    journey: &mut Journey,
    key: &str,
    unlink: &Event,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
) -> Vec<Journey> {
    forget(journey, at.now);
    let mut gone = BTreeSet::from([key]);
    let pairs: Vec<(String, Option<String>)> = journey
        .origins
        .values()
        .map(|origin| (origin.key.clone(), origin.through.clone()))
        .collect();
    if !pairs.iter().any(|(known, _)| known == key) {
        return Vec::new();
    }
    // What had come through it goes with it, unless it is linked with this journey too.
    let is_direct = |key: &str| pairs.iter().any(|(known, through)| known == key && through.is_none());
    while let Some((next, _)) = pairs.iter().find(|(known, through)| {
        let comes_through = through.as_deref().is_some_and(|through| gone.contains(through));
        comes_through && !gone.contains(known.as_str()) && !is_direct(known)
    }) {
        gone.insert(next);
    }
    withdraw(journey, &gone, unlink, at, out);
    let runs = journey.runs.part(&|origin| gone.contains(origin));
    let rests = |line: &TimelineEntry| line.origin.as_deref().is_some_and(|origin| gone.contains(origin));
    let (timeline, own) = std::mem::take(&mut journey.timeline)
        .into_iter()
        .partition(|(_, line)| rests(line));
    journey.timeline = own;
    let (left, stay): (BTreeMap<u64, Origin>, _) = std::mem::take(&mut journey.origins)
        .into_iter()
        .partition(|(_, origin)| gone.contains(origin.key.as_str()));
    journey.origins = stay;
    for stays in journey.origins.values_mut() {
        stays.through.take_if(|through| gone.contains(through.as_str()));
    }
    let (mut back, mut nested) = (Vec::new(), BTreeMap::new());
    for (index, origin) in left {
        if origin.key == key {
            take_out(journey, &origin.journey, at.now);
            leave_others(journey, &origin, &gone, at.now);
            back.push(*origin.journey);
        } else {
            let through = origin.through.filter(|through| through != key);
            nested.insert(index, Origin { through, ..origin });
        }
    }
    // One that stays may have changed. What stands under an index is written once.
    for origin in std::mem::take(&mut journey.origins).into_values() {
        journey.origins.insert(journey.core.next_index, origin);
        journey.core.next_index += 1;
    }
    let names = |known: &Identifier, named: &Identifier| {
        (known.kind, &known.value, &known.namespace) == (named.kind, &named.value, &named.namespace)
    };
    let known = &mut journey.profile.identifiers;
    known.retain(|known| !unlink.identifiers.iter().any(|named| names(&known.identifier, named)));
    phases::advance(&mut journey.profile, at.now);
    publish(journey, true, false, at, rules, out);
    if let Some(first) = back.first_mut() {
        // What rests on it alone has come further here than it had when it was handed over.
        let offset = first.core.next_index;
        first.runs.forget_due(at.now);
        first.runs.join(&runs, offset, None);
        first.core.next_index += journey.core.next_index;
        first.timeline = timeline;
        first.origins = nested;
    }
    back
}

/// Takes a journey out of those through which it came, which hold it too.
fn leave_others(journey: &mut Journey, origin: &Origin, gone: &BTreeSet<&str>, now: Millis) {
    let mut through = origin.through.clone();
    // Each came through a stronger one, so there are no more of them than journeys.
    for _ in 0..ORIGINS {
        let Some(key) = through.take() else { return };
        for other in journey.origins.values_mut().filter(|other| other.key == key) {
            take_out(&mut other.journey, &origin.journey, now);
            other.journey.runs.part(&|origin| gone.contains(origin));
            through = through.or_else(|| other.through.clone());
        }
    }
}

/// Takes back the interventions that rest on journeys that leave.
fn withdraw(journey: &mut Journey, gone: &BTreeSet<&str>, unlink: &Event, at: &Moment<'_>, out: &mut Vec<Said>) {
    let reference = EventRef {
        id: unlink.id.clone(),
        source: unlink.source.clone(),
        kind: unlink.kind.clone(),
        time: unlink.time,
        position: at.position.to_owned(),
    };
    let (left, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut journey.rests)
        .into_iter()
        .partition(|rest| gone.contains(rest.origin.as_str()));
    journey.rests = stay;
    let opened = std::mem::take(&mut journey.decisions.open);
    let (taken, open) = opened
        .into_iter()
        .partition(|open| left.iter().any(|rest| rest.intervention == open.intervention));
    journey.decisions.open = open;
    let taken: Vec<crate::Open> = taken;
    for open in taken {
        journey.profile.at_risk.retain(|risk| risk.pattern != open.pattern);
        let cause = ("identity_unlinked", &reference);
        out.push(Said::Intervention(Box::new(withdrawal(journey, &open, cause, at.now))));
    }
}

/// Takes one of `list` away for each of `theirs`.
fn remove_each<T: PartialEq>(list: &mut Vec<T>, theirs: &[T]) {
    for one in theirs {
        if let Some(place) = list.iter().position(|known| known == one) {
            list.remove(place);
        }
    }
}

/// Undoes what `take_over` added up. Consent stays as strict as it was, a cooldown holds on, arms of experiments stay.
fn take_out(journey: &mut Journey, theirs: &Journey, now: Millis) {
    journey.texts.take_out(&theirs.texts);
    journey.languages.take_out(&theirs.languages);
    remove_each(&mut journey.efforts, &theirs.efforts);
    remove_each(&mut journey.decisions.shown, &theirs.decisions.shown);
    let (mine, theirs) = (&mut journey.profile, &theirs.profile);
    mine.identifiers.retain(|known| {
        let is_same = |one: &Identifier, other: &Identifier| {
            (one.kind, &one.value, &one.namespace) == (other.kind, &other.value, &other.namespace)
        };
        let their = &mut theirs.identifiers.iter();
        !their.any(|their| is_same(&their.identifier, &known.identifier))
    });
    remove_each(&mut mine.cart, &theirs.cart);
    remove_each(&mut mine.phases, &theirs.phases);
    remove_each(&mut mine.promises, &theirs.promises);
    remove_each(&mut mine.contracts, &theirs.contracts);
    remove_each(&mut mine.cases, &theirs.cases);
    remove_each(&mut mine.conversations, &theirs.conversations);
    remove_each(&mut mine.at_risk, &theirs.at_risk);
    remove_each(&mut mine.surveys, &theirs.surveys);
    if mine.cart_id == theirs.cart_id {
        mine.cart_id = None;
    }
    for other in &theirs.channels {
        let Some(known) = mine.channels.iter_mut().find(|known| known.channel == other.channel) else {
            continue;
        };
        known.contacts = (known.contacts - other.contacts).max(0);
        known.offered = (known.offered - other.offered).max(0);
        known.accepted = (known.accepted - other.accepted).max(0);
        known.ignored = (known.ignored - other.ignored).max(0);
    }
    if let (Some(value), Some(other)) = (&mut mine.value, &theirs.value) {
        less(value, other);
    }
    let running = mine.contracts.iter().filter(|known| known.status != "cancelled");
    mine.renewal_date = running.filter_map(|known| known.ends_at).min();
    phases::advance(mine, now);
    if journey.profile.value.is_some() {
        value_of_cart(journey);
    }
}

/// Counts and sums without the other's; of two currencies none was added.
fn less(mine: &mut CustomerValue, theirs: &CustomerValue) {
    mine.orders = (mine.orders - theirs.orders).max(0);
    if !theirs.currency.is_empty() && mine.currency != theirs.currency {
        return;
    }
    let less = |one: &mut Option<Decimal>, other: Option<Decimal>| {
        let left = one.zip(other).map(|(one, other)| one.0.saturating_sub(other.0));
        if let Some(left) = left {
            *one = (left > 0).then_some(Decimal(left));
        }
    };
    less(&mut mine.lifetime, theirs.lifetime);
    less(&mut mine.monthly, theirs.monthly);
}

/// What is remembered of a journey that was folded in: all but what lives on under its mark.
pub(crate) fn origin(weaker: &Journey, key: &str, left: pattern::Runs, now: Millis) -> Origin {
    let mut journey = Journey {
        core: Core {
            next_index: weaker.core.next_index,
            ..Core::default()
        },
        timeline: BTreeMap::new(),
        rests: Vec::new(),
        runs: left,
        ..weaker.clone()
    };
    // They went over, and are taken back where they are if it comes to that.
    journey.decisions.open.clear();
    Origin {
        key: key.to_owned(),
        through: None,
        at: now,
        journey: Box::new(journey),
    }
}
