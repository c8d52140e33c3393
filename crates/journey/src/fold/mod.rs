//! An event into the journey: whom, where, which cart, which case, what was promised, what is remembered.

mod commerce;
mod read;
mod service;

use event::{
    Channel, ChannelUse, ConsentState, ConsentStatus, Event, EventRef, KnownIdentifier, LINK_FROM, Millis, Role,
    TimelineEntry,
};

use crate::{Journey, Recent, UNLINKED, effort, ids, mood, phases};
pub(crate) use commerce::value_of_cart;
use commerce::{contracts, orders};
use read::{string, title};
pub(crate) use service::overdue;
use service::{cases, conversations, promises, surveys};

const DAY: i64 = 86_400_000;
/// Events among which a repeat is noticed, and for how long.
const RECENT: usize = 32;
const REPEAT_WITHIN: i64 = DAY;
/// Equal neighbours on the timeline become one line within this span.
const COALESCE: i64 = 30 * 60_000;
const FEW: usize = 16;

/// Whether the event has been processed before; remembers it if not.
pub(crate) fn is_repeat(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let hash = ids::hash([event.source.as_bytes(), event.id.as_bytes()]);
    let recent = &mut journey.core.recent;
    recent.retain(|known| now.since(known.at) < REPEAT_WITHIN);
    if recent.iter().any(|known| known.hash == hash) {
        return true;
    }
    if recent.len() >= RECENT {
        recent.remove(0);
    }
    recent.push(Recent { hash, at: now });
    false
}

/// Folds an event; whether something changed that a reader of the profile acts on.
pub(crate) fn fold(journey: &mut Journey, event: &Event, reference: &EventRef, now: Millis, customer: &str) -> bool {
    let mut changed = false;
    let profile = &mut journey.profile;
    if profile.customer.is_empty() {
        customer.clone_into(&mut profile.customer);
        profile.tenant.clone_from(&event.tenant);
        changed = true;
    }
    // The end of a link names whom this is no longer.
    if event.kind != UNLINKED {
        changed |= identifiers(journey, event, now);
    }
    changed |= language(journey, event);
    changed |= consent(journey, event, now);
    changed |= orders(journey, event, now);
    changed |= phases::read(&mut journey.profile, event, now);
    changed |= contracts(journey, event);
    changed |= cases(journey, event, now);
    changed |= conversations(journey, event, now);
    changed |= promises(journey, event, reference, now);
    changed |= surveys(journey, event, now);
    changed |= mood::read(&mut journey.texts, event, reference, now);
    channel_use(journey, event, now);
    effort::read(&mut journey.efforts, event, now);
    if event.kind.starts_with("intervention.") {
        return changed;
    }
    let core = &mut journey.core;
    if !matches!(
        event.channel,
        Channel::Business | Channel::System | Channel::Agent | Channel::Unknown
    ) {
        core.channel = event.channel;
        core.seen_at = Some(now);
    }
    if event.session.is_some() {
        core.session.clone_from(&event.session);
    }
    if event.conversation.is_some() {
        core.conversation.clone_from(&event.conversation);
    }
    if let Some(trace) = &event.trace {
        core.traceparent = Some(trace.traceparent.clone());
    }
    if event.kind == "session.ended" {
        core.session = None;
        changed |= core.changed;
    }
    changed
}

/// Enters the event into the timeline, beside its like where that is the line before; drops the oldest beyond `limit`.
/// Returns how many were dropped.
pub(crate) fn remember(journey: &mut Journey, event: &Event, index: u64, limit: usize) -> u32 {
    let title = title(event);
    let score = event.sentiment.as_ref().and_then(|sentiment| sentiment.score);
    let origin = string(event, LINK_FROM);
    if let Some((_, last)) = journey.timeline.iter_mut().next_back() {
        let alike = last.kind == event.kind
            && last.title == title
            && last.channel == event.channel
            && last.conversation == event.conversation
            && last.origin.as_deref() == origin
            && event.time.since(last.time).abs() <= COALESCE
            && score.is_none()
            && last.score.is_none();
        if alike {
            last.count = last.count.saturating_add(1);
            return 0;
        }
    }
    let entry = TimelineEntry {
        time: event.time,
        channel: event.channel,
        kind: event.kind.clone(),
        title,
        count: 1,
        conversation: event.conversation.clone(),
        score,
        origin: origin.map(str::to_owned),
        event: Some(event.id.clone()),
    };
    journey.timeline.insert(index, entry);
    let mut dropped = 0;
    while journey.timeline.len() > limit {
        journey.timeline.pop_first();
        dropped += 1;
    }
    dropped
}

fn identifiers(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let mut changed = false;
    for identifier in event
        .identifiers
        .iter()
        .filter(|identifier| identifier.kind.strength().is_some())
    {
        let known = journey.profile.identifiers.iter_mut().find(|known| {
            let one = &known.identifier;
            (one.kind, &one.value, &one.namespace) == (identifier.kind, &identifier.value, &identifier.namespace)
        });
        if let Some(known) = known {
            known.last_seen = now;
            changed |= identifier.verified && !known.identifier.verified;
            known.identifier.verified |= identifier.verified;
            continue;
        }
        if journey.profile.identifiers.len() >= FEW {
            let oldest = journey
                .profile
                .identifiers
                .iter()
                .enumerate()
                .min_by_key(|(index, known)| (known.last_seen, *index));
            if let Some((index, _)) = oldest {
                journey.profile.identifiers.remove(index);
            }
        }
        journey.profile.identifiers.push(KnownIdentifier {
            identifier: identifier.clone(),
            key: String::new(),
            first_seen: now,
            last_seen: now,
            shared: false,
        });
        changed = true;
    }
    changed
}

fn language(journey: &mut Journey, event: &Event) -> bool {
    let spoken = event.text.as_ref().filter(|text| text.role == Role::Customer);
    let scored = event.sentiment.as_ref().and_then(|sentiment| sentiment.lang.clone());
    let told = scored
        .filter(|lang| lang != "und")
        .or_else(|| spoken.and_then(|text| text.lang.clone()));
    let hint = string(event, "locale")
        .and_then(|locale| locale.get(..2))
        .map(str::to_lowercase);
    let lang = match (told, &journey.profile.lang) {
        (Some(lang), _) => Some(lang),
        (None, None) => hint,
        (None, Some(_)) => None,
    };
    let changed = lang.is_some() && lang != journey.profile.lang;
    if changed {
        journey.profile.lang = lang;
    }
    if let Some(zone) = string(event, "time_zone") {
        journey.profile.time_zone = Some(zone.to_owned());
    }
    changed
}

fn consent(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let mut changed = false;
    let mut set = |purpose: &str, status: ConsentStatus, since: Option<Millis>, reference: Option<String>| {
        if status == ConsentStatus::Unknown {
            return;
        }
        let consent = &mut journey.profile.consent;
        if consent.len() >= FEW && !consent.contains_key(purpose) {
            return;
        }
        let known = consent.entry(purpose.to_owned()).or_default();
        // A later statement counts; of two at one time the stricter.
        let older = since < known.since;
        let laxer = since == known.since && known.status == ConsentStatus::Denied;
        if !older && !laxer && known.status != status {
            *known = ConsentState {
                status,
                since,
                reference,
            };
            changed = true;
        }
    };
    if let Some(stated) = &event.consent {
        let since = Some(stated.captured.unwrap_or(now).min(now));
        for (purpose, status) in &stated.purposes {
            set(purpose, *status, since, stated.reference.clone());
        }
    }
    if event.kind == "consent.changed"
        && let (Some(purpose), Some(status)) = (string(event, "purpose"), string(event, "status"))
        && let Some(status) = ConsentStatus::parse(status)
    {
        set(purpose, status, Some(now), Some(event.id.clone()));
    }
    changed
}

fn channel_use(journey: &mut Journey, event: &Event, now: Millis) {
    if matches!(event.channel, Channel::Unknown | Channel::System | Channel::Business) {
        return;
    }
    let channels = &mut journey.profile.channels;
    if !channels.iter().any(|known| known.channel == event.channel) {
        channels.push(ChannelUse {
            channel: event.channel,
            ..ChannelUse::default()
        });
    }
    if let Some(known) = channels.iter_mut().find(|known| known.channel == event.channel) {
        known.last_at = Some(now);
        if effort::is_contact(&event.kind) {
            known.contacts = known.contacts.saturating_add(1);
        }
    }
}
