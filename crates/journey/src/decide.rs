//! From a match to an intervention, or to one withheld with its reason.

use event::{
    Action, Arm, ConsentCheck, ConsentStatus, Effect, Experiment, Intervention, Millis, Mode, Offer, OutChannel,
    OutputId, Pressure, Route, Signal, TimelineEntry, Trace, Withheld, WithheldReason,
};
use pattern::{Match, Pattern, Policy, QuietHours, Status, arm_bucket, cooled};
use sha2::{Digest, Sha256};

use crate::{Journey, Open, Shown, channels, effort, feedback, ids::output_id, mood, unlink};

/// What follows from a match.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The match itself.
    pub signal: Signal,
    /// The intervention; withheld where [`Intervention::withheld`] says so.
    pub intervention: Intervention,
}

const DAY: i64 = 86_400_000;
/// A conversation in which nothing was said for this long is over, whether or not somebody closed it.
const CONVERSATION_QUIET: i64 = 2 * 3_600_000;
/// The most lines of the past that an intervention carries.
const LINES: usize = 20;

/// Kinds that help an agent or the staff and do not contact the customer anew.
const NO_NEW_CONTACT: [&str; 7] = [
    "agent_takeover",
    "supervisor_alert",
    "case_owner",
    "route",
    "csm_alert",
    "ops_alert",
    "assist",
];

/// Whether the customer is contacted anew by this kind on this channel.
#[must_use]
pub fn is_new_contact(kind: &str, channel: OutChannel) -> bool {
    !NO_NEW_CONTACT.contains(&kind) && !matches!(channel, OutChannel::Desktop | OutChannel::Csm)
}

/// Decides on a match at the customer's time `now`, and enters the decision into the journey.
pub fn decide(journey: &mut Journey, found: &Match, policy: &Policy, now: Millis) -> Decision {
    let pattern = &found.pattern;
    let customer = journey.profile.customer.clone();
    let signal_id = id_of("signal", pattern, &customer, found, "");
    let ranked = channels::rank(journey, pattern, now);
    let chosen = ranked.iter().find(|choice| choice.chosen).map(|choice| choice.channel);
    let channel = chosen
        .or_else(|| pattern.then.channels.first().copied())
        .unwrap_or_default();
    let experiment = experiment(pattern, policy, &customer, journey);
    let consent = consent(journey, pattern, now);
    let new_contact = is_new_contact(&pattern.then.intervene, channel);
    let facts = Facts {
        pattern,
        policy,
        now,
        matched_at: found.matched_at,
        new_contact,
        reachable: chosen.is_some(),
        experiment: &experiment,
        denied: consent.status == ConsentStatus::Denied,
    };
    let withheld = withheld(journey, &facts);
    let id = id_of("intervention", pattern, &customer, found, channel.as_str());
    let created_at = found.matched_at;
    let expires_at = created_at.plus(pattern.then.valid_for);
    let pressure = pressure(journey, now);
    let decided = journey.decisions.by_pattern.entry(pattern.id.clone()).or_default();
    // In shadow nobody is given anything: seed and holdout may still change.
    if !matches!(decided.arm, Arm::Holdout | Arm::Treatment) && pattern.status == Status::Live {
        decided.arm = experiment.arm;
    }
    if withheld.is_none() {
        decided.acted_at = Some(now);
        if new_contact {
            journey.decisions.shown.retain(|shown| now.since(shown.at) < 30 * DAY);
            journey.decisions.shown.push(Shown {
                intervention: id,
                at: now,
            });
        }
        feedback::open(
            journey,
            Open {
                intervention: id,
                pattern: pattern.id.clone(),
                pattern_version: pattern.version,
                kind: pattern.then.intervene.clone(),
                channel,
                state: event::InterventionState::Created,
                created_at,
                expires_at,
                cancel_on: pattern.then.cancel_on.clone(),
                priority: pattern.then.priority,
                new_contact,
                signal: signal_id,
            },
        );
        unlink::rest(journey, id, found.origins());
    }
    let reason = withheld.as_ref().map(|withheld| withheld.reason);
    let signal = signal(journey, found, signal_id, (id, reason));
    let intervention = Intervention {
        id,
        action: Action::Start,
        idempotency_key: format!("{id}/{channel}"),
        identifiers: channels::needed(journey, channel),
        verified: journey
            .profile
            .identifiers
            .iter()
            .any(|known| known.identifier.verified),
        session: journey.core.session.clone(),
        conversation: journey
            .profile
            .conversations
            .last()
            .map(|open| open.conversation.clone()),
        lang: journey.profile.lang.clone(),
        kind: pattern.then.intervene.clone(),
        channel,
        signal: Some(signal_id),
        effect: if pattern.then.offer.is_some() {
            Effect::Offer
        } else {
            Effect::Assist
        },
        automated: matches!(channel, OutChannel::Email | OutChannel::Sms | OutChannel::Web),
        created_at,
        not_before: None,
        expires_at,
        cancel_on: pattern.then.cancel_on.clone(),
        cancel_cause: None,
        timeline: recent(journey),
        references: references(journey, found),
        items: journey.profile.cart.clone(),
        value: journey.profile.value.as_ref().and_then(|value| value.cart),
        currency: journey
            .profile
            .value
            .as_ref()
            .map(|value| value.currency.clone())
            .filter(|code| !code.is_empty()),
        sentiment: Some(mood::state(&journey.texts)),
        effort: Some(effort::state(&journey.efforts).points),
        offer: offer(pattern, created_at),
        route: route(pattern),
        suggestion: None,
        channels: ranked,
        consent: Some(consent),
        pressure: Some(pressure),
        experiment: Some(experiment),
        withheld,
        trace: journey.core.traceparent.clone().map(|traceparent| Trace {
            traceparent,
            tracestate: None,
        }),
        tenant: signal.tenant.clone(),
        customer,
        pattern: signal.pattern.clone(),
        pattern_version: signal.pattern_version,
        priority: signal.priority,
        because: signal.because.clone(),
        seen: signal.seen.clone(),
        absent: signal.absent.clone(),
        phase: signal.phase,
    };
    Decision { signal, intervention }
}

fn id_of(what: &str, pattern: &Pattern, customer: &str, found: &Match, detail: &str) -> OutputId {
    let version = pattern.version.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![
        b"monitor",
        what.as_bytes(),
        pattern.id.as_bytes(),
        &version,
        customer.as_bytes(),
    ];
    for [source, id] in found.sources() {
        parts.push(source.as_bytes());
        parts.push(id.as_bytes());
    }
    parts.push(detail.as_bytes());
    output_id(parts)
}

fn signal(
    journey: &Journey,
    found: &Match,
    id: OutputId,
    (intervention, withheld): (OutputId, Option<WithheldReason>),
) -> Signal {
    let pattern = &found.pattern;
    Signal {
        id,
        tenant: journey.profile.tenant.clone(),
        customer: journey.profile.customer.clone(),
        pattern: pattern.id.clone(),
        pattern_version: pattern.version,
        title: pattern.title.clone(),
        mode: if pattern.status == Status::Live {
            Mode::Live
        } else {
            Mode::Shadow
        },
        opened_at: found.opened_at,
        matched_at: found.matched_at,
        by: found.by(),
        seen: found.seen(),
        absent: found.absent(),
        because: found.because(),
        priority: pattern.then.priority,
        phase: journey.profile.phase,
        intervention: Some(intervention),
        withheld,
    }
}

struct Facts<'a> {
    pattern: &'a Pattern,
    policy: &'a Policy,
    now: Millis,
    matched_at: Millis,
    new_contact: bool,
    reachable: bool,
    experiment: &'a Experiment,
    denied: bool,
}

/// The first reason against, in the order that is published.
fn withheld(journey: &Journey, facts: &Facts<'_>) -> Option<Withheld> {
    let because = |reason, until| {
        Some(Withheld {
            reason,
            detail: None,
            until,
        })
    };
    let (pattern, policy, now) = (facts.pattern, facts.policy, facts.now);
    if facts.denied {
        return because(WithheldReason::NoConsent, None);
    }
    if pattern.status == Status::Shadow {
        return because(WithheldReason::Shadow, None);
    }
    match facts.experiment.arm {
        Arm::Holdout => return because(WithheldReason::Holdout, None),
        Arm::Rollout => return because(WithheldReason::Rollout, None),
        _ => {}
    }
    let last = journey
        .decisions
        .by_pattern
        .get(&pattern.id)
        .and_then(|decided| decided.acted_at);
    if cooled(last, now, pattern.guard.cooldown) {
        return because(
            WithheldReason::Cooldown,
            last.map(|last| last.plus(pattern.guard.cooldown)),
        );
    }
    let valid_until = facts.matched_at.plus(pattern.then.valid_for);
    if now >= valid_until {
        return because(WithheldReason::Expired, None);
    }
    if facts.new_contact {
        let span = i64::from(policy.cap_days) * DAY;
        let mut counted = journey
            .decisions
            .shown
            .iter()
            .filter(|shown| now.since(shown.at) < span);
        let first = counted.clone().map(|shown| shown.at).min();
        if i32::try_from(counted.by_ref().count()).unwrap_or(i32::MAX) >= policy.cap_contacts {
            return because(WithheldReason::FrequencyCap, first.map(|at| at.plus(span)));
        }
        let zone = journey.profile.time_zone.as_deref().unwrap_or(&policy.time_zone);
        let hours = [pattern.guard.quiet_hours, policy.quiet_hours];
        if let Some(until) = hours
            .into_iter()
            .flatten()
            .find_map(|hours| quiet_until(hours, zone, now))
        {
            return because(WithheldReason::QuietHours, Some(until));
        }
        let talking = journey.profile.conversations.iter().any(|open| {
            open.last_at
                .or(Some(open.started_at))
                .is_some_and(|at| now.since(at) < CONVERSATION_QUIET)
        });
        if talking {
            return because(WithheldReason::ConversationOpen, None);
        }
    }
    let pending = journey.decisions.open.iter().find(|open| {
        open.expires_at > now
            && if facts.new_contact {
                open.new_contact
            } else {
                open.kind == pattern.then.intervene && !open.new_contact
            }
    });
    if let Some(pending) = pending {
        return because(WithheldReason::AlreadyPending, Some(pending.expires_at));
    }
    if !facts.reachable {
        return because(WithheldReason::NoChannel, None);
    }
    None
}

/// When quiet ends, if it is quiet now at the customer's.
fn quiet_until(hours: QuietHours, zone: &str, now: Millis) -> Option<Millis> {
    let zone = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let local = jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned_datetime(zone);
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).ok()?;
    if !hours.contains(minute) {
        return None;
    }
    let left = (i64::from(hours.to_minute) - i64::from(minute)).rem_euclid(1440);
    let into_minute = now.0.rem_euclid(60_000);
    Some(now.plus(left * 60_000 - into_minute))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The arm: the global holdout first, then the pattern's; the arm first given stays.
fn experiment(pattern: &Pattern, policy: &Policy, customer: &str, journey: &Journey) -> Experiment {
    let global = arm_bucket(&policy.seed, customer, sha256);
    if global < 100 * policy.holdout {
        return Experiment {
            arm: Arm::Holdout,
            scope: "global".to_owned(),
            bucket: global,
            percent: 100,
            holdout: policy.holdout,
            seed: policy.seed.clone(),
        };
    }
    let rollout = &pattern.rollout;
    let bucket = arm_bucket(&rollout.seed, customer, sha256);
    let held = 100 * rollout.holdout;
    let arm = match journey.decisions.by_pattern.get(&pattern.id).map(|decided| decided.arm) {
        Some(arm @ (Arm::Holdout | Arm::Treatment)) => arm,
        _ if bucket < held => Arm::Holdout,
        _ if bucket < held + rollout.percent * (100 - rollout.holdout) => Arm::Treatment,
        _ => Arm::Rollout,
    };
    Experiment {
        arm,
        scope: "pattern".to_owned(),
        bucket,
        percent: rollout.percent,
        holdout: rollout.holdout,
        seed: rollout.seed.clone(),
    }
}

/// `service` is allowed unless denied, every other purpose denied unless granted.
fn consent(journey: &Journey, pattern: &Pattern, now: Millis) -> ConsentCheck {
    let purpose = &pattern.guard.consent;
    let known = journey
        .profile
        .consent
        .get(purpose)
        .map(|state| state.status)
        .unwrap_or_default();
    let (status, basis) = match (known, purpose.as_str()) {
        (ConsentStatus::Unknown, "service") => (ConsentStatus::Granted, "service"),
        (ConsentStatus::Unknown, _) => (ConsentStatus::Denied, "none"),
        (known, _) => (known, "consent"),
    };
    ConsentCheck {
        purpose: purpose.clone(),
        status,
        basis: Some(basis.to_owned()),
        checked_at: now,
    }
}

fn pressure(journey: &Journey, now: Millis) -> Pressure {
    let within = |span: i64| {
        let count = journey
            .decisions
            .shown
            .iter()
            .filter(|shown| now.since(shown.at) < span)
            .count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    Pressure {
        shown_24h: within(DAY),
        shown_7d: within(7 * DAY),
        last_shown_at: journey.decisions.shown.last().map(|shown| shown.at),
    }
}

fn recent(journey: &Journey) -> Vec<TimelineEntry> {
    let mut lines: Vec<TimelineEntry> = journey.timeline.values().rev().take(LINES).cloned().collect();
    lines.reverse();
    lines
}

fn references(journey: &Journey, found: &Match) -> std::collections::BTreeMap<String, String> {
    let mut references = std::collections::BTreeMap::new();
    if let Some(cart) = &journey.profile.cart_id {
        references.insert("cart_id".to_owned(), cart.clone());
    }
    if let Some(case) = journey.profile.cases.last() {
        references.insert("case_id".to_owned(), case.case_id.clone());
    }
    if let Some(conversation) = journey.profile.conversations.last() {
        references.insert("conversation".to_owned(), conversation.conversation.clone());
    }
    references.extend(found.by().into_iter().filter(|(name, _)| name.ends_with("_id")));
    references
}

fn offer(pattern: &Pattern, created_at: Millis) -> Option<Offer> {
    let spec = pattern.then.offer.as_ref()?;
    Some(Offer {
        kind: spec.kind.clone(),
        percent: spec.percent,
        amount: spec.amount,
        currency: spec.currency.clone(),
        code_pool: spec.code_pool.clone(),
        valid_until: spec.valid_for.map(|span| created_at.plus(span)),
        mandate: spec.mandate.clone(),
    })
}

/// Until there is a router, what needs a person goes to its channel without one.
fn route(pattern: &Pattern) -> Option<Route> {
    let spec = pattern.then.route.as_ref()?;
    Some(Route {
        queue: spec.queue.clone(),
        skills: spec.skills.clone(),
        ..Route::default()
    })
}
