//! What follows from a match: every reason against, and what takes an intervention back.

use std::sync::Arc;

use event::{
    Action, Attribute, Channel, Consent, ConsentStatus, Event, EventSentiment, Identifier, IdentifierKind, Label,
    Millis, Role, Text, WithheldReason,
};
use journey::{Counted, Journey, Moment, Rules, Said, deadline, on_event, on_time};
use pattern::{Catalogue, Limits, Policy, parse, parse_policy};
use sha2::Digest as _;

/// 21 November 2026, 13:00 UTC.
const ONE: i64 = 1_795_266_000_000;
const MINUTE: i64 = 60_000;

const PATTERN: &str = r#"
pattern: cart
version: 1
title: Cart
owner: tests
status: live
when:
  within: 30m
  sequence:
    - see: cart.product_added
    - absent: order.completed
      for: 10m
then:
  intervene: notify
  channels: [email]
  priority: 30
  valid_for: 2h
  cancel_on: [order.completed]
  because: { en: "left a cart" }
guard: { consent: service, cooldown: 1h }
rollout: { percent: 100, holdout: 0, seed: cart-1 }
tests:
  - name: quiet
    given: [ { at: 0s, is: cart.product_added } ]
    expect: [ { at: 10m, intervene: notify } ]
  - name: buys
    given: [ { at: 0s, is: cart.product_added }, { at: 1m, is: order.completed } ]
    expect: []
"#;

struct World {
    journey: Journey,
    rules: Rules,
    said: Vec<Said>,
    counted: Counted,
    next: u32,
}

impl World {
    fn new(pattern: &str, policy: &str) -> Self {
        let pattern = parse("cart.yaml", pattern).expect("valid");
        let policy = match policy {
            "" => Policy::default(),
            text => parse_policy("policy.yaml", text).expect("valid"),
        };
        Self {
            journey: Journey::default(),
            rules: Rules {
                catalogue: Arc::new(Catalogue::compile([Arc::new(pattern)], Limits::default())),
                policy,
                timeline_events: 5,
                customer_rate: 200,
                publish_profiles: true,
                profile_interval: 30_000,
                read_again: None,
            },
            said: Vec::new(),
            counted: Counted::default(),
            next: 0,
        }
    }

    fn sends(&mut self, minute: i64, kind: &str, change: impl FnOnce(&mut Event)) {
        self.passes(minute);
        self.next += 1;
        let customer = Identifier {
            kind: IdentifierKind::Customer,
            value: "7".to_owned(),
            ..Identifier::default()
        };
        let mut event = Event {
            id: self.next.to_string(),
            source: "test".to_owned(),
            kind: kind.to_owned(),
            time: Millis(ONE + minute * MINUTE),
            channel: Channel::Web,
            identifiers: vec![customer],
            ..Event::default()
        };
        change(&mut event);
        let at = moment(event.time);
        on_event(
            &mut self.journey,
            &event,
            &at,
            &self.rules,
            &mut self.said,
            &mut self.counted,
        );
    }

    /// Fires what is due up to a minute.
    fn passes(&mut self, minute: i64) {
        let until = Millis(ONE + minute * MINUTE);
        while let Some(due) = deadline(&self.journey, &self.rules).filter(|due| *due <= until) {
            on_time(
                &mut self.journey,
                &moment(due),
                &self.rules,
                &mut self.said,
                &mut self.counted,
            );
        }
    }

    fn adds(&mut self, minute: i64) {
        self.sends(minute, "cart.product_added", |_| {});
    }

    /// What was decided since the last call: `None` for an intervention that went out.
    fn decided(&mut self) -> Vec<Option<WithheldReason>> {
        let said = std::mem::take(&mut self.said);
        let decided = said.iter().filter_map(|said| match said {
            Said::Intervention(sent) if sent.action == Action::Start => Some(None),
            Said::Withheld(kept) => Some(kept.withheld.as_ref().map(|why| why.reason)),
            _ => None,
        });
        decided.collect()
    }

    fn profiles(&mut self) -> usize {
        let said = std::mem::take(&mut self.said);
        said.iter().filter(|said| matches!(said, Said::Profile(_))).count()
    }
}

fn moment(at: Millis) -> Moment<'static> {
    Moment {
        now: at,
        clock: at,
        customer: "c.x",
        position: "t/0/0",
        arrival: at,
    }
}

fn first(pattern: &str, policy: &str, change: impl FnOnce(&mut Event)) -> Vec<Option<WithheldReason>> {
    let mut world = World::new(pattern, policy);
    world.sends(0, "cart.product_added", change);
    world.passes(11);
    world.decided()
}

#[test]
fn a_match_goes_out_unless_something_speaks_against_it() {
    use WithheldReason::{FrequencyCap, Holdout, NoConsent, QuietHours, Rollout, Shadow};
    let with = |from: &str, to: &str| {
        assert!(PATTERN.contains(from));
        PATTERN.replace(from, to)
    };
    let nothing = |_: &mut Event| {};
    assert_eq!(first(PATTERN, "", nothing), [None]);
    let denies = |event: &mut Event| {
        event.consent = Some(Consent {
            purposes: [("service".to_owned(), ConsentStatus::Denied)].into(),
            ..Consent::default()
        });
    };
    assert_eq!(first(PATTERN, "", denies), [Some(NoConsent)]);
    assert_eq!(
        first(&with("consent: service", "consent: marketing"), "", nothing),
        [Some(NoConsent)]
    );
    assert_eq!(
        first(&with("status: live", "status: shadow"), "", nothing),
        [Some(Shadow)]
    );
    let bucket = pattern::arm_bucket("cart-1", "c.x", |bytes| sha2::Sha256::digest(bytes).into());
    let held = first(&with("holdout: 0", "holdout: 50"), "", nothing);
    assert_eq!(held, [(bucket < 5000).then_some(Holdout)]);
    assert_eq!(first(&with("percent: 100", "percent: 0"), "", nothing), [Some(Rollout)]);
    let capped = "policy: 1\nfrequency_cap: { contacts: 0, days: 7 }\n";
    assert_eq!(first(PATTERN, capped, nothing), [Some(FrequencyCap)]);
    // Ten past one in the afternoon in UTC is ten past two in Amsterdam.
    let quiet = |zone: &str| format!("policy: 1\nquiet_hours: 14:00-15:00\ntime_zone: {zone}\n");
    assert_eq!(first(PATTERN, &quiet("Europe/Amsterdam"), nothing), [Some(QuietHours)]);
    assert_eq!(first(PATTERN, &quiet("UTC"), nothing), [None]);
}

#[test]
fn cooldown_and_what_is_pending_hold_the_next_one_back() {
    let mut world = World::new(PATTERN, "");
    world.adds(0);
    world.adds(20);
    world.passes(40);
    assert_eq!(world.decided(), [None, Some(WithheldReason::Cooldown)]);
    // After the cooldown the first is still valid: two hours from its tenth minute.
    world.adds(70);
    world.passes(81);
    assert_eq!(world.decided(), [Some(WithheldReason::AlreadyPending)]);
    world.adds(140);
    world.passes(151);
    assert_eq!(world.decided(), [None]);
}

#[test]
fn an_open_conversation_holds_back_a_new_contact_alone() {
    let talks = |event: &mut Event| {
        event.channel = Channel::Chat;
        event.conversation = Some("k".to_owned());
    };
    for (kind, expected) in [("notify", Some(WithheldReason::ConversationOpen)), ("case_owner", None)] {
        let mut world = World::new(&PATTERN.replace("intervene: notify", &format!("intervene: {kind}")), "");
        world.sends(0, "conversation.started", talks);
        world.adds(1);
        world.passes(12);
        assert_eq!(world.decided(), [expected], "{kind}");
    }
}

#[test]
fn what_was_awaited_takes_the_intervention_back_once() {
    let mut world = World::new(PATTERN, "");
    world.adds(0);
    world.passes(11);
    assert_eq!(world.decided(), [None]);
    world.sends(12, "order.completed", |_| {});
    world.sends(13, "order.completed", |_| {});
    let is_cancel = |said: &&Said| matches!(said, Said::Intervention(sent) if sent.action == Action::Cancel);
    assert_eq!(world.said.iter().filter(is_cancel).count(), 1);
    assert!(world.journey.decisions.open.is_empty());
}

#[test]
fn feedback_moves_the_intervention_on() {
    let mut world = World::new(PATTERN, "");
    world.adds(0);
    world.passes(11);
    let id = world.journey.decisions.open[0].intervention.to_string();
    let about = |event: &mut Event| {
        event.channel = Channel::Business;
        event.attributes = [("intervention_id".to_owned(), Attribute::Text(id.clone()))].into();
    };
    world.sends(12, "intervention.shown", about);
    assert_eq!(world.journey.decisions.open[0].state, event::InterventionState::Shown);
    world.sends(13, "intervention.accepted", about);
    // What was accepted goes on, and is not taken back.
    world.said.clear();
    world.sends(14, "order.completed", |_| {});
    assert!(!world.said.iter().any(|said| matches!(said, Said::Intervention(_))));
    world.sends(15, "intervention.handled", about);
    assert!(world.journey.decisions.open.is_empty());
}

#[test]
fn repeats_floods_and_long_pasts_are_counted() {
    let mut world = World::new(PATTERN, "");
    world.adds(0);
    world.next -= 1;
    world.adds(0);
    assert_eq!(world.counted.duplicates, 1);
    for index in 0..10 {
        world.sends(1, "page.viewed", |event| {
            event.attributes = [("name".to_owned(), Attribute::Text(index.to_string()))].into();
        });
    }
    assert_eq!((world.journey.timeline.len(), world.counted.capped_timeline), (5, 6));
    for _ in 0..3000 {
        world.sends(1, "page.viewed", |_| {});
    }
    assert!(world.counted.capped_rate > 900, "{}", world.counted.capped_rate);
}

#[test]
fn profiles_are_published_when_something_matters_and_not_more_often_than_allowed() {
    let mut world = World::new(PATTERN, "");
    world.adds(0);
    assert_eq!(world.profiles(), 1, "a new customer");
    world.sends(0, "page.viewed", |_| {});
    assert_eq!(world.profiles(), 0, "a mere view");
    world.sends(0, "checkout.started", |_| {});
    assert_eq!(world.profiles(), 0, "another phase, too early");
    world.passes(1);
    assert_eq!(world.profiles(), 1, "by timer");
    assert_eq!(world.journey.profile.revision, 2);
}

/// The dip of a mood, through the pattern that ships for it.
#[test]
fn a_dip_is_two_negative_texts_or_one_strong_signal_and_never_one_hit() {
    type Told<'a> = (Label, f64, &'a [(&'a str, f64)]);
    let decided = |texts: &[Told<'_>]| {
        let mut world = World::new(include_str!("../../../patterns/mood-dip.yaml"), "");
        for (minute, (label, score, signals)) in (0..).zip(texts) {
            world.sends(minute, "message.received", |event| {
                event.channel = Channel::Chat;
                event.conversation = Some("c1".to_owned());
                event.text = Some(Text {
                    role: Role::Customer,
                    ..Text::default()
                });
                event.sentiment = Some(EventSentiment {
                    label: *label,
                    score: (*label != Label::Unscored).then_some(*score),
                    signals: signals
                        .iter()
                        .map(|(name, strength)| ((*name).to_owned(), *strength))
                        .collect(),
                    ..EventSentiment::default()
                });
            });
        }
        world.passes(60);
        world.decided().len()
    };
    let negative = (Label::Negative, -0.9, [].as_slice());
    let churns = (Label::Unscored, 0.0, [("churn_intent", 0.8)].as_slice());
    let complains = (Label::Negative, -0.9, [("complaint", 0.9)].as_slice());
    assert_eq!(decided(&[negative]), 0, "one negative text");
    assert_eq!(decided(&[complains]), 0, "a complaint is no dip by itself");
    assert_eq!(
        decided(&[negative, (Label::Positive, 0.8, &[]), negative]),
        0,
        "not in a row"
    );
    assert_eq!(decided(&[negative, negative]), 1);
    assert_eq!(decided(&[churns]), 1, "it need not be scored");
}
