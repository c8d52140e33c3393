//! One person, two journeys: the weaker identifier's journey hands its state to the stronger one's and leaves a forwarding address.

use crate::{Core, Journey, Moment, Rules, Said, phases, step::publish, unlink};
use event::{
    Attribute, ConsentState, ConsentStatus, CustomerValue, Decimal, Event, IdentifierKind, LINK_FROM, LINK_TO, Millis,
    OutputId, Profile, TimelineEntry,
};

/// The type of a link.
pub const LINKED: &str = "identity.linked";
/// The type of a link's end.
pub const UNLINKED: &str = "identity.unlinked";
/// The type of a journey in transit.
pub const HANDED_OVER: &str = "journey.handed_over";

const DAY: i64 = 86_400_000;
/// So long a link is counted against an identifier that many customers share.
const LINKS_COUNT: i64 = 30 * DAY;
const FEW: usize = 16;
const PROMISES: usize = 32;
const CART: usize = 50;
const EFFORTS: usize = 128;
const RECENT: usize = 32;

/// A customer that this journey's identifier was linked with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The customer's key.
    pub to: String,
    /// The last link.
    pub at: Millis,
}

/// Where an event of a key belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belongs {
    /// To this journey.
    Here,
    /// To none: a link that is known, that goes through an identifier which too many share, or the end of one that never was.
    Nowhere,
    /// To the journey with this key, which this one has been handed to.
    There(String),
    /// Here, and what is here belongs to the journey with this key from now on.
    HandsOver(String),
    /// Here; what was handed over to the journey with this key is asked back.
    AsksBack(String),
    /// To this journey, which gives back what the one with this key had handed over.
    GivesBack(String),
}

/// The letter of a key's kind.
fn kind(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

/// How many customers may share an identifier of this key before no link goes through it.
fn shared_from(key: &str) -> usize {
    match kind(key) {
        "p" | "e" => 5,
        "c" | "k" => usize::MAX,
        _ => 3,
    }
}

fn key_in<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    match event.attributes.get(name) {
        Some(Attribute::Text(key)) => Some(key),
        _ => None,
    }
}

/// Where an event belongs, by the links that this journey has seen; remembers a new link, and forgets one that has ended.
pub fn belongs(journey: &mut Journey, event: &Event, customer: &str, now: Millis) -> Belongs {
    let forward = journey.profile.forwarded_to.clone();
    let to = key_in(event, LINK_TO).filter(|to| *to != customer);
    match (event.kind.as_str(), to) {
        (LINKED, Some(to)) => linked(journey, to, customer, now),
        (UNLINKED, _) => match (key_in(event, LINK_FROM), key_in(event, LINK_TO)) {
            (Some(from), Some(_)) => forward.map_or_else(|| Belongs::GivesBack(from.to_owned()), Belongs::There),
            (_, Some(to)) => unlinked(journey, to),
            // It names nobody else: from whomever it is linked with now.
            _ if event.identifiers.len() < 2 && forward.is_some() => unlinked(journey, &forward.unwrap_or_default()),
            _ => forward.map_or(Belongs::Here, Belongs::There),
        },
        _ => forward.map_or(Belongs::Here, Belongs::There),
    }
}

fn linked(journey: &mut Journey, to: &str, customer: &str, now: Millis) -> Belongs {
    let links = &mut journey.links;
    links.retain(|link| now.since(link.at) < LINKS_COUNT);
    match links.iter_mut().find(|link| link.to == to) {
        // Links are told again and again; to the day is near enough, and the row stays as it is.
        Some(link) if now.since(link.at) < DAY => {}
        Some(link) => link.at = now,
        None => links.push(Link {
            to: to.to_owned(),
            at: now,
        }),
    }
    // One customer has a phone, a mail address and a number, so only those of one kind are different customers.
    let customers = links.iter().filter(|link| kind(&link.to) == kind(to)).count();
    keep_last(links, FEW);
    if customers >= shared_from(customer) {
        // Its own events stay with it from now on.
        journey.core.changed |= journey.profile.forwarded_to.take().is_some();
        return Belongs::Nowhere;
    }
    if journey.profile.forwarded_to.as_deref() == Some(to) {
        return Belongs::Nowhere;
    }
    // Seen with another customer: it forwards to the newest, and takes nothing along.
    Belongs::HandsOver(to.to_owned())
}

/// Ends the link with a stronger journey. One that was never linked with any of that kind may have come there through the one that it
/// forwards to, which it parts from then.
fn unlinked(journey: &mut Journey, to: &str) -> Belongs {
    let forward = journey.profile.forwarded_to.clone();
    let is_known = forward.as_deref() == Some(to) || journey.links.iter().any(|link| link.to == to);
    let through = || {
        let of_kind = |key: &str| kind(key) == kind(to);
        forward
            .as_deref()
            .filter(|forward| !of_kind(forward) && !journey.links.iter().any(|link| of_kind(&link.to)))
    };
    let Some(from) = (if is_known { Some(to) } else { through() }).map(str::to_owned) else {
        return Belongs::Nowhere;
    };
    journey.links.retain(|link| link.to != from);
    if forward.as_deref() == Some(&*from) {
        journey.profile.forwarded_to = None;
        journey.core.changed = true;
    }
    Belongs::AsksBack(from)
}

/// Parts with everything that is known, keeps a forwarding address, and publishes it. Returns what goes to `to`.
pub fn hand_over(journey: &mut Journey, to: &str, at: &Moment<'_>, rules: &Rules, out: &mut Vec<Said>) -> Journey {
    let rest = Journey {
        core: Core {
            next_index: journey.core.next_index,
            recent: journey.core.recent.clone(),
            tokens: journey.core.tokens,
            tokens_at: journey.core.tokens_at,
            ..Core::default()
        },
        profile: Profile {
            tenant: journey.profile.tenant.clone(),
            customer: at.customer.to_owned(),
            revision: journey.profile.revision,
            forwarded_to: Some(to.to_owned()),
            ..Profile::default()
        },
        links: std::mem::take(&mut journey.links),
        ..Journey::default()
    };
    let given = std::mem::replace(journey, rest);
    publish(journey, true, true, at, rules, out);
    given
}

/// Folds a weaker journey in: runs continue, counters add, lines of the timeline keep their origin, the stricter consent holds. It is
/// remembered for thirty days, should the two part again; what comes back then, under this journey's own key, is not. Returns the number
/// of runs that were left behind, because both journeys had some of one pattern and the same `by`: the stronger's go on.
pub fn take_over(
    journey: &mut Journey,
    mut weaker: Journey,
    origin: &str,
    at: &Moment<'_>,
    rules: &Rules,
    out: &mut Vec<Said>,
) -> u32 {
    if journey.profile.customer.is_empty() {
        at.customer.clone_into(&mut journey.profile.customer);
        journey.profile.tenant.clone_from(&weaker.profile.tenant);
    }
    let mark = Some(origin).filter(|origin| *origin != at.customer);
    let offset = journey.core.next_index;
    journey.core.next_index += weaker.core.next_index;
    let left = journey.runs.join(&weaker.runs, offset, mark);
    let dropped = left
        .instances()
        .iter()
        .map(|instance| instance.runs.len())
        .sum::<usize>();
    if mark.is_some() {
        unlink::remember(journey, unlink::origin(&weaker, origin, left, at.now));
    } else {
        for (_, origin) in std::mem::take(&mut weaker.origins) {
            journey.origins.insert(journey.core.next_index, origin);
            journey.core.next_index += 1;
        }
    }
    timeline(journey, weaker.timeline.into_values(), origin, rules.timeline_events);
    core(&mut journey.core, weaker.core);
    journey.texts = std::mem::take(&mut journey.texts).merge(weaker.texts);
    journey.languages = std::mem::take(&mut journey.languages).merge(weaker.languages);
    journey.efforts.extend(weaker.efforts);
    journey.efforts.sort_by_key(|entry| entry.at);
    keep_last(&mut journey.efforts, EFFORTS);
    let decisions = &mut journey.decisions;
    for (pattern, decided) in weaker.decisions.by_pattern {
        let known = decisions.by_pattern.entry(pattern).or_insert_with(|| decided.clone());
        known.acted_at = known.acted_at.max(decided.acted_at);
    }
    decisions.shown.extend(weaker.decisions.shown);
    decisions.shown.sort_by_key(|shown| shown.at);
    let opened: Vec<OutputId> = weaker.decisions.open.iter().map(|open| open.intervention).collect();
    decisions.open.extend(weaker.decisions.open);
    journey.rests.extend(weaker.rests);
    for intervention in opened {
        unlink::rest(journey, intervention, mark.into_iter());
    }
    profile(&mut journey.profile, weaker.profile, at.now);
    publish(journey, true, false, at, rules, out);
    u32::try_from(dropped).unwrap_or(u32::MAX)
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

fn core(core: &mut Core, weaker: Core) {
    core.recent.extend(weaker.recent);
    core.recent.sort_by_key(|recent| recent.at);
    keep_last(&mut core.recent, RECENT);
    if weaker.seen_at > core.seen_at {
        core.channel = weaker.channel;
        core.seen_at = weaker.seen_at;
        core.session = weaker.session.or(core.session.take());
        core.conversation = weaker.conversation.or(core.conversation.take());
        core.traceparent = weaker.traceparent.or(core.traceparent.take());
    }
}

/// Both pasts in order of time under new indexes, the oldest dropped beyond `most`.
fn timeline(journey: &mut Journey, weaker: impl Iterator<Item = TimelineEntry>, origin: &str, most: usize) {
    let mut lines: Vec<TimelineEntry> = std::mem::take(&mut journey.timeline).into_values().collect();
    let own = journey.profile.customer.as_str();
    lines.extend(weaker.map(|line| {
        TimelineEntry {
            origin: line
                .origin
                .or_else(|| Some(origin.to_owned()))
                .filter(|origin| origin != own),
            ..line
        }
    }));
    lines.sort_by_key(|line| line.time);
    keep_last(&mut lines, most);
    for line in lines {
        journey.timeline.insert(journey.core.next_index, line);
        journey.core.next_index += 1;
    }
}

/// Adds those of a list that the other does not know.
fn join<T, K: PartialEq>(list: &mut Vec<T>, others: Vec<T>, most: usize, key: impl Fn(&T) -> K) {
    for other in others {
        if list.len() < most && list.iter().all(|known| key(known) != key(&other)) {
            list.push(other);
        }
    }
}

fn profile(profile: &mut Profile, weaker: Profile, now: Millis) {
    for known in weaker.identifiers {
        let one = &known.identifier;
        let same = profile.identifiers.iter().position(|mine| {
            let mine = &mine.identifier;
            (mine.kind, &mine.value, &mine.namespace) == (one.kind, &one.value, &one.namespace)
        });
        match same {
            Some(place) => {
                let mine = &mut profile.identifiers[place];
                mine.first_seen = mine.first_seen.min(known.first_seen);
                mine.last_seen = mine.last_seen.max(known.last_seen);
                mine.identifier.verified |= known.identifier.verified;
            }
            None if profile.identifiers.len() < FEW && known.identifier.kind != IdentifierKind::Key => {
                profile.identifiers.push(known);
            }
            None => {}
        }
    }
    profile.lang = profile.lang.take().or(weaker.lang);
    profile.time_zone = profile.time_zone.take().or(weaker.time_zone);
    profile.renewal_date = profile.renewal_date.or(weaker.renewal_date);
    profile.cart_id = profile.cart_id.take().or(weaker.cart_id);
    join(&mut profile.cart, weaker.cart, CART, |item| item.product_id.clone());
    join(&mut profile.phases, weaker.phases, FEW, |state| {
        (state.phase, state.reference.clone())
    });
    join(&mut profile.promises, weaker.promises, PROMISES, |promise| {
        promise.promise_id.clone()
    });
    join(&mut profile.contracts, weaker.contracts, FEW, |contract| {
        contract.contract_id.clone()
    });
    join(&mut profile.cases, weaker.cases, FEW, |case| case.case_id.clone());
    join(&mut profile.conversations, weaker.conversations, FEW, |talk| {
        talk.conversation.clone()
    });
    join(&mut profile.at_risk, weaker.at_risk, FEW, |risk| risk.pattern.clone());
    join(&mut profile.surveys, weaker.surveys, FEW, |answer| {
        (answer.survey_id.clone(), answer.time)
    });
    for other in weaker.channels {
        match profile.channels.iter_mut().find(|mine| mine.channel == other.channel) {
            Some(mine) => {
                mine.contacts = mine.contacts.saturating_add(other.contacts);
                mine.offered = mine.offered.saturating_add(other.offered);
                mine.accepted = mine.accepted.saturating_add(other.accepted);
                mine.ignored = mine.ignored.saturating_add(other.ignored);
                mine.last_at = mine.last_at.max(other.last_at);
            }
            None => profile.channels.push(other),
        }
    }
    for (purpose, theirs) in weaker.consent {
        let mine = profile.consent.entry(purpose).or_default();
        *mine = stricter(std::mem::take(mine), theirs);
    }
    for (name, value) in weaker.preferences {
        profile.preferences.entry(name).or_insert(value);
    }
    if let Some(theirs) = weaker.value {
        let mine = profile.value.take();
        profile.value = Some(match mine {
            Some(mine) => sum(mine, theirs),
            None => theirs,
        });
    }
    phases::advance(profile, now);
}

/// A denial before a grant, a statement before none, of two alike the later.
fn stricter(one: ConsentState, other: ConsentState) -> ConsentState {
    let rank = |state: &ConsentState| match state.status {
        ConsentStatus::Denied => 2,
        ConsentStatus::Granted => 1,
        ConsentStatus::Unknown => 0,
    };
    if (rank(&other), other.since) > (rank(&one), one.since) {
        other
    } else {
        one
    }
}

/// Counters add; money too, unless the currencies differ: sums of two mean nothing, and the stronger side's is kept.
fn sum(mine: CustomerValue, theirs: CustomerValue) -> CustomerValue {
    let is_alike = theirs.currency.is_empty() || mine.currency.is_empty() || mine.currency == theirs.currency;
    let add = |one: Option<Decimal>, other: Option<Decimal>| match (one, other.filter(|_| is_alike)) {
        (Some(one), Some(other)) => Some(Decimal(one.0.saturating_add(other.0))),
        (one, other) => one.or(other),
    };
    CustomerValue {
        currency: if mine.currency.is_empty() {
            theirs.currency
        } else {
            mine.currency
        },
        orders: mine.orders.saturating_add(theirs.orders),
        lifetime: add(mine.lifetime, theirs.lifetime),
        cart: add(mine.cart, theirs.cart),
        monthly: add(mine.monthly, theirs.monthly),
        last_order_at: mine.last_order_at.max(theirs.last_order_at),
        band: mine.band.max(theirs.band),
    }
}
