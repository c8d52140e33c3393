//! Where the customer stands: each order or contract has its phase, and the most pressing one counts.

use event::{Attribute, Event, Millis, Phase, PhaseState, Profile};

const DAY: i64 = 86_400_000;
/// A purchase that nothing more was heard of for a day has ended.
const PURCHASE_QUIET: i64 = DAY;
const ONBOARDING: i64 = 30 * DAY;
const AFTER_ACTIVATION: i64 = 7 * DAY;
/// Phases kept per customer; the oldest goes.
const PHASES: usize = 16;

/// Brings the phases to `now` and takes an event; whether the most pressing phase changed.
pub(crate) fn read(profile: &mut Profile, event: &Event, now: Millis) -> bool {
    let before = profile.phase;
    advance(profile, now);
    let of = |name: &str| match event.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text.clone()),
        _ => None,
    };
    match event.kind.as_str() {
        "checkout.started"
        | "checkout.step_viewed"
        | "checkout.step_completed"
        | "payment.entered"
        | "payment.failed" => {
            let reference = of("cart_id").or_else(|| event.correlation.clone());
            let known = profile.phases.iter_mut().find(|state| state.phase == Phase::Purchase);
            let until = Some(now.plus(PURCHASE_QUIET));
            match known {
                Some(state) => state.until = until,
                None if event.kind == "checkout.started" => begin(profile, Phase::Purchase, now, until, reference),
                None => {}
            }
        }
        "order.completed" => {
            profile.phases.retain(|state| state.phase != Phase::Purchase);
            let first = profile.value.as_ref().is_none_or(|value| value.orders <= 1);
            if first {
                begin(
                    profile,
                    Phase::Onboarding,
                    now,
                    Some(now.plus(ONBOARDING)),
                    of("order_id"),
                );
            } else {
                begin_service(profile, now, of("order_id"));
            }
        }
        "contract.started" => {
            begin(
                profile,
                Phase::Onboarding,
                now,
                Some(now.plus(ONBOARDING)),
                of("contract_id"),
            );
        }
        "service.activated" => {
            let reference = of("contract_id").or_else(|| of("order_id"));
            let onboarding = profile
                .phases
                .iter_mut()
                .filter(|state| state.phase == Phase::Onboarding);
            for state in onboarding.filter(|state| reference.is_none() || state.reference == reference) {
                let end = now.plus(AFTER_ACTIVATION);
                state.until = Some(state.until.map_or(end, |until| until.min(end)));
            }
        }
        "renewal.due" | "cancellation.page_viewed" | "cancellation.requested" => {
            let reference = of("contract_id");
            let known = profile
                .phases
                .iter()
                .any(|state| state.phase == Phase::Loyalty && state.reference == reference);
            if !known {
                begin(profile, Phase::Loyalty, now, None, reference);
            }
        }
        "contract.renewed" => {
            profile.phases.retain(|state| state.phase != Phase::Loyalty);
            begin_service(profile, now, of("contract_id"));
        }
        "cancellation.confirmed" => {
            let reference = of("contract_id");
            profile
                .phases
                .retain(|state| state.reference != reference || state.phase == Phase::Purchase);
            profile.phases.retain(|state| state.phase != Phase::Loyalty);
        }
        _ => {}
    }
    profile.phase = pressing(profile);
    profile.phase != before
}

/// Ends what has run out by `now`: a purchase is over, an onboarding becomes service.
pub(crate) fn advance(profile: &mut Profile, now: Millis) {
    for state in &mut profile.phases {
        if state.phase == Phase::Onboarding
            && let Some(until) = state.until
            && until <= now
        {
            state.phase = Phase::Service;
            state.since = until;
            state.until = None;
        }
    }
    profile
        .phases
        .retain(|state| state.until.is_none_or(|until| until > now));
    let mut service = false;
    profile
        .phases
        .retain(|state| state.phase != Phase::Service || !std::mem::replace(&mut service, true));
    profile.phase = pressing(profile);
}

fn begin(profile: &mut Profile, phase: Phase, now: Millis, until: Option<Millis>, reference: Option<String>) {
    if profile.phases.len() >= PHASES {
        profile.phases.remove(0);
    }
    profile.phases.push(PhaseState {
        phase,
        since: now,
        until,
        reference,
    });
}

fn begin_service(profile: &mut Profile, now: Millis, reference: Option<String>) {
    if !profile.phases.iter().any(|state| state.phase == Phase::Service) {
        begin(profile, Phase::Service, now, None, reference);
    }
}

fn pressing(profile: &Profile) -> Phase {
    const ORDER: [Phase; 4] = [Phase::Purchase, Phase::Loyalty, Phase::Onboarding, Phase::Service];
    let has = |phase: &Phase| profile.phases.iter().any(|state| state.phase == *phase);
    ORDER.into_iter().find(has).unwrap_or(Phase::Evaluation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Attribute::Text((*value).to_owned())));
        Event {
            kind: kind.to_owned(),
            attributes: attributes.collect(),
            ..Event::default()
        }
    }

    #[test]
    fn a_life_from_evaluation_to_loyalty_and_back() {
        let mut profile = Profile::default();
        let mut at = |kind: &str, day: i64| {
            read(&mut profile, &event(kind, &[("contract_id", "k1")]), Millis(day * DAY));
            profile.phase
        };
        assert_eq!(at("page.viewed", 0), Phase::Evaluation);
        assert_eq!(at("checkout.started", 0), Phase::Purchase);
        assert_eq!(at("page.viewed", 2), Phase::Evaluation);
        assert_eq!(at("contract.started", 3), Phase::Onboarding);
        assert_eq!(at("service.activated", 4), Phase::Onboarding);
        assert_eq!(at("page.viewed", 12), Phase::Service);
        assert_eq!(at("checkout.started", 13), Phase::Purchase);
        assert_eq!(at("renewal.due", 15), Phase::Loyalty);
        assert_eq!(at("contract.renewed", 16), Phase::Service);
        assert_eq!(at("cancellation.requested", 17), Phase::Loyalty);
        assert_eq!(at("cancellation.confirmed", 18), Phase::Evaluation);
    }
}
