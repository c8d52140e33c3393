//! Arms: who is dealt where, that raising a share only adds, and in which order reasons against a match are asked.

use std::sync::Arc;

use event::{
    Arm, ConsentState, ConsentStatus, Event, Identifier, IdentifierKind, KnownIdentifier, Millis, WithheldReason,
};
use journey::{Decision, Journey, decide};
use pattern::{Catalogue, Limits, NoFacts, Occurrence, Pattern, Policy, Runs, Stepped, arm_bucket, parse};
use sha2::Digest as _;

const PATTERN: &str = "pattern: cart
version: 1
title: Cart
owner: tests
status: live
when: { within: 30m, sequence: [ { see: cart.product_added } ] }
then: { intervene: notify, channels: [email], priority: 30, valid_for: 2h, because: { en: left a cart } }
guard: { consent: service, cooldown: 1h }
rollout: { percent: 100, holdout: 0, seed: cart-1 }
tests:
  - { name: adds, given: [ { at: 0s, is: cart.product_added } ], expect: [ { at: 0s, intervene: notify } ] }
  - { name: nothing, given: [], expect: [] }
";

const NOW: Millis = Millis(1_795_266_000_000);

fn bucket(seed: &str, customer: &str) -> i32 {
    arm_bucket(seed, customer, |bytes| sha2::Sha256::digest(bytes).into())
}

fn pattern(percent: i32, holdout: i32) -> Arc<Pattern> {
    let text = PATTERN.replace(
        "percent: 100, holdout: 0",
        &format!("percent: {percent}, holdout: {holdout}"),
    );
    Arc::new(parse("cart.yaml", &text).expect("valid"))
}

fn customer(key: &str) -> Journey {
    let mut journey = Journey::default();
    journey.profile.customer = key.to_owned();
    journey.profile.identifiers = vec![KnownIdentifier {
        identifier: Identifier {
            kind: IdentifierKind::Email,
            value: "ada@example.org".to_owned(),
            namespace: String::new(),
            verified: true,
        },
        ..KnownIdentifier::default()
    }];
    journey
}

fn decided(journey: &mut Journey, pattern: &Arc<Pattern>, policy: &Policy, now: Millis) -> Decision {
    let event = Event {
        kind: "cart.product_added".to_owned(),
        time: now,
        ..Event::default()
    };
    let of = Occurrence {
        event: &event,
        kind: &event.kind,
        extra: &[],
        at: now,
        index: 1,
        position: "t/0/0",
    };
    let mut out = Stepped::default();
    Catalogue::compile([Arc::clone(pattern)], Limits::default()).on_event(
        &mut Runs::default(),
        &of,
        &NoFacts,
        &mut out,
    );
    let found = out.matches.pop().expect("one event is a match");
    decide(journey, &found, policy, now)
}

fn reason(decision: &Decision) -> Option<WithheldReason> {
    decision.intervention.withheld.as_ref().map(|why| why.reason)
}

fn arm(decision: &Decision) -> Arm {
    decision.intervention.experiment.as_ref().expect("an experiment").arm
}

/// First 8 bytes of SHA-256 of seed, NUL and customer key, big-endian, modulo 10,000; figures made by another program.
#[test]
fn a_bucket_is_what_the_definition_says() {
    for (seed, customer, expected) in [
        ("cart-1", "c.x", 2543),
        ("checkout-hesitation-1", "48213", 8253),
        ("", "é", 9647),
        ("all-1", "customer:7", 9322),
    ] {
        assert_eq!(bucket(seed, customer), expected, "{seed} {customer}");
    }
}

/// Below 100 × holdout: holdout. Else below 100 × holdout + percent × (100 − holdout): treatment. Else rollout.
#[test]
fn customers_are_dealt_by_their_bucket() {
    for (percent, holdout) in [(0, 0), (100, 0), (100, 10), (37, 10), (1, 50), (50, 50)] {
        let pattern = pattern(percent, holdout);
        for number in 0..2000 {
            let key = format!("customer:{number}");
            let found = arm(&decided(&mut customer(&key), &pattern, &Policy::default(), NOW));
            let bucket = bucket("cart-1", &key);
            let expected = if bucket < 100 * holdout {
                Arm::Holdout
            } else if bucket < 100 * holdout + percent * (100 - holdout) {
                Arm::Treatment
            } else {
                Arm::Rollout
            };
            assert_eq!(found, expected, "{key} percent {percent} holdout {holdout}");
        }
    }
}

#[test]
fn raising_the_percent_only_adds_customers() {
    let mut treated: Vec<String> = Vec::new();
    for percent in [0, 1, 10, 50, 99, 100] {
        let pattern = pattern(percent, 20);
        let now: Vec<String> = (0..1000)
            .map(|number| format!("customer:{number}"))
            .filter(|key| arm(&decided(&mut customer(key), &pattern, &Policy::default(), NOW)) == Arm::Treatment)
            .collect();
        assert!(treated.iter().all(|key| now.contains(key)), "percent {percent}");
        let share = now.len() as i32 - percent * 8;
        assert!(
            share.abs() <= 60,
            "percent {percent}: {} of 1,000 in treatment",
            now.len()
        );
        treated = now;
    }
}

/// Of a customer for whom everything speaks against it, the first reason is told; once that is gone, the next.
#[test]
fn reasons_are_asked_in_the_order_that_is_published() {
    let policy_held = Policy {
        holdout: 100,
        seed: "all-1".to_owned(),
        cap_contacts: 0,
        ..Policy::default()
    };
    let policy_free = Policy {
        holdout: 0,
        ..policy_held.clone()
    };
    let open = Policy::default();
    // A key in the holdout of 50, and one outside of it.
    let key = |is_held: bool| {
        let mut keys = (0..).map(|number| format!("customer:{number}"));
        keys.find(|key| (bucket("cart-1", key) < 5000) == is_held)
            .expect("one of two")
    };
    let (held, free) = (key(true), key(false));
    let shadow = |percent: i32| {
        let text = PATTERN.replace("status: live", "status: shadow");
        let text = text.replace("percent: 100, holdout: 0", &format!("percent: {percent}, holdout: 50"));
        Arc::new(parse("cart.yaml", &text).expect("valid"))
    };
    let live = |percent: i32| pattern(percent, 50);
    use WithheldReason::{Cooldown, FrequencyCap, Holdout, NoConsent, Rollout, Shadow};
    for (denies, pattern, policy, key, rests, expected, scope) in [
        (true, shadow(0), &policy_held, &held, true, Some(NoConsent), "global"),
        (false, shadow(0), &policy_held, &held, true, Some(Shadow), "global"),
        (false, live(0), &policy_held, &held, true, Some(Holdout), "global"),
        (false, live(0), &policy_free, &held, true, Some(Holdout), "pattern"),
        (false, live(0), &policy_free, &free, true, Some(Rollout), "pattern"),
        (false, live(100), &policy_free, &free, true, Some(Cooldown), "pattern"),
        (
            false,
            live(100),
            &policy_free,
            &free,
            false,
            Some(FrequencyCap),
            "pattern",
        ),
        (false, live(100), &open, &free, false, None, "pattern"),
    ] {
        let mut journey = customer(key);
        if denies {
            let denied = ConsentState {
                status: ConsentStatus::Denied,
                ..ConsentState::default()
            };
            journey.profile.consent.insert("service".to_owned(), denied);
        }
        if rests {
            let decided = journey.decisions.by_pattern.entry("cart".to_owned()).or_default();
            decided.acted_at = Some(NOW.plus(-60_000));
        }
        let decision = decided(&mut journey, &pattern, policy, NOW);
        assert_eq!(reason(&decision), expected);
        let experiment = decision.intervention.experiment.expect("an experiment");
        assert_eq!(experiment.scope, scope, "{expected:?}");
    }
}

/// Identities merge: the journey goes on under another key, whose bucket is another.
#[test]
fn the_first_arm_stays_when_the_customer_gets_another_key() {
    let pattern = pattern(50, 20);
    let arms = |wanted: Arm| {
        let keys = (0..1000).map(|number| format!("customer:{number}"));
        let dealt = keys.filter(move |key| {
            let bucket = bucket("cart-1", key);
            wanted
                == match bucket {
                    ..2000 => Arm::Holdout,
                    2000..6000 => Arm::Treatment,
                    _ => Arm::Rollout,
                }
        });
        dealt.collect::<Vec<_>>()
    };
    let later = NOW.plus(3 * 3_600_000);
    for (first, then, stays) in [
        (Arm::Holdout, Arm::Treatment, Arm::Holdout),
        (Arm::Treatment, Arm::Holdout, Arm::Treatment),
        (Arm::Treatment, Arm::Rollout, Arm::Treatment),
        // Who was left out by the share alone was given no arm, so that raising it may add him.
        (Arm::Rollout, Arm::Treatment, Arm::Treatment),
        (Arm::Rollout, Arm::Holdout, Arm::Holdout),
    ] {
        let (before, after) = (&arms(first)[0], &arms(then)[0]);
        let mut journey = customer(before);
        assert_eq!(arm(&decided(&mut journey, &pattern, &Policy::default(), NOW)), first);
        journey.profile.customer.clone_from(after);
        let decision = decided(&mut journey, &pattern, &Policy::default(), later);
        assert_eq!(arm(&decision), stays, "{first:?} then {then:?}");
        // A share that is lowered again takes nobody out, and neither does a third key.
        journey.profile.customer.clone_from(before);
        let narrow = self::pattern(0, 20);
        let decision = decided(&mut journey, &narrow, &Policy::default(), later.plus(3 * 3_600_000));
        assert_eq!(arm(&decision), stays, "{first:?}, {then:?}, {first:?}");
    }
}

/// In shadow nobody is given anything, so what is changed before a pattern goes live holds for everybody.
#[test]
fn shadow_withholds_and_deals_no_arms() {
    let text = PATTERN
        .replace("status: live", "status: shadow")
        .replace("holdout: 0", "holdout: 50");
    let shadow = Arc::new(parse("cart.yaml", &text).expect("valid"));
    for number in 0..50 {
        let mut journey = customer(&format!("customer:{number}"));
        let decision = decided(&mut journey, &shadow, &Policy::default(), NOW);
        assert_eq!(reason(&decision), Some(WithheldReason::Shadow));
        assert_eq!(decision.signal.mode, event::Mode::Shadow);
        let decision = decided(&mut journey, &pattern(100, 0), &Policy::default(), NOW);
        assert_eq!((arm(&decision), reason(&decision)), (Arm::Treatment, None));
    }
}
