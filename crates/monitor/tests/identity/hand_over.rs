//! Two journeys of one person become one, through the stage that runs live: what the monitor puts back on the timeline it reads again.

use std::sync::Arc;

use crate::world::{CUSTOMER, DEVICE, World, event, identifier, link, text};
use event::{Attribute, Consent, ConsentStatus, Event, IdentifierKind, Label, Millis, flag};
use stream::{Record, Stage};

#[test]
fn what_the_device_knew_the_customer_knows() {
    let mut world = World::new();
    let denies = |status| {
        Some(Consent {
            purposes: [("marketing".to_owned(), status)].into(),
            ..Consent::default()
        })
    };
    world.sends(
        DEVICE,
        Event {
            consent: denies(ConsentStatus::Denied),
            ..text(0, -0.8)
        },
    );
    world.sends(
        DEVICE,
        Event {
            identifiers: vec![identifier(IdentifierKind::Device, "a1")],
            ..text(1, -0.6)
        },
    );
    world.sends(
        CUSTOMER,
        Event {
            consent: denies(ConsentStatus::Granted),
            ..text(2, 0.5)
        },
    );
    world.sends(DEVICE, link(3, CUSTOMER));
    let left = world.profile(DEVICE);
    assert_eq!(left.forwarded_to.as_deref(), Some(CUSTOMER));
    assert!(left.timeline.is_empty() && left.identifiers.is_empty(), "{left:?}");
    // The next event publishes what was folded in meanwhile.
    world.sends(CUSTOMER, event(9, "checkout.started"));
    let whole = world.profile(CUSTOMER);
    let mood = whole.sentiment.expect("a mood");
    assert_eq!((mood.n_texts, mood.n_scored, mood.worst), (3, 3, Some(-0.8)));
    assert!(mood.mean.is_some_and(|mean| (mean + 0.3).abs() < 1e-9), "{mood:?}");
    assert_eq!(
        (mood.label, mood.negative_run),
        (Label::Positive, 0),
        "the later side's"
    );
    let lines: Vec<(i64, Option<&str>)> = whole
        .timeline
        .iter()
        .map(|line| (line.time.0 / 60_000, line.origin.as_deref()))
        .collect();
    assert_eq!(
        lines,
        [(0, Some(DEVICE)), (1, Some(DEVICE)), (2, None), (9, None)],
        "in order of time, with their origin"
    );
    assert_eq!(
        whole.consent["marketing"].status,
        ConsentStatus::Denied,
        "the stricter holds"
    );
    assert!(
        whole
            .identifiers
            .iter()
            .any(|known| known.identifier.kind == IdentifierKind::Device)
    );
}

#[test]
fn a_run_goes_on_in_the_other_journey_and_its_evidence_is_named() {
    let mut world = World::new();
    world.sends(CUSTOMER, event(0, "page.viewed"));
    world.sends(DEVICE, event(1, "cart.viewed"));
    world.sends(DEVICE, link(2, CUSTOMER));
    world.sends(CUSTOMER, event(3, "order.completed"));
    let signals = world.signals();
    let [signal] = &signals[..] else {
        panic!("one match: {signals:?}");
    };
    assert_eq!(signal.customer, CUSTOMER);
    let seen: Vec<&str> = signal.seen.iter().map(|seen| seen.first.id.as_str()).collect();
    assert_eq!(seen, ["cart.viewed-1", "order.completed-3"]);
    let mut apart = World::new();
    apart.sends(DEVICE, event(1, "cart.viewed"));
    apart.sends(CUSTOMER, event(3, "order.completed"));
    assert!(apart.signals().is_empty(), "without the link there is none");
}

#[test]
fn what_arrives_later_is_forwarded_once_and_a_repeated_link_changes_nothing() {
    let mut world = World::new();
    world.sends(DEVICE, text(0, -0.8));
    world.sends(DEVICE, link(1, CUSTOMER));
    world.sends(
        DEVICE,
        Event {
            id: "again".to_owned(),
            ..link(2, CUSTOMER)
        },
    );
    world.sends(DEVICE, event(3, "cart.viewed"));
    world.sends(DEVICE, event(3, "cart.viewed"));
    world.sends(CUSTOMER, event(4, "order.completed"));
    assert_eq!(world.signals().len(), 1, "a run began with the forwarded event");
    let whole = world.profile(CUSTOMER);
    assert_eq!(whole.sentiment.expect("a mood").n_texts, 1, "handed over once");
    let carts = whole.timeline.iter().filter(|line| line.kind == "cart.viewed");
    assert_eq!(
        carts.map(|line| line.count).sum::<i32>(),
        1,
        "a repeat is one there too"
    );
    assert_eq!(flag::FORWARDED, "forwarded");
}

#[test]
fn a_device_seen_with_another_customer_takes_nothing_along_and_one_of_three_is_shared() {
    let mut world = World::new();
    world.sends(DEVICE, text(0, -0.8));
    world.sends(DEVICE, link(1, "c.first"));
    world.sends(DEVICE, link(2, "c.second"));
    world.sends(DEVICE, event(3, "cart.viewed"));
    world.sends("c.second", event(10, "checkout.started"));
    let second = world.profile("c.second");
    assert_eq!(second.sentiment.expect("a mood").n_texts, 0, "the first one's texts");
    assert!(
        second.timeline.iter().any(|line| line.kind == "cart.viewed"),
        "to the newest"
    );
    world.sends(DEVICE, link(11, "c.third"));
    world.sends(DEVICE, event(12, "checkout.started"));
    let own = world.profile(DEVICE);
    assert_eq!(own.forwarded_to, None, "shared by three, so nothing goes through it");
    assert!(own.timeline.iter().any(|line| line.kind == "checkout.started"));
    assert!(!world.rows.contains_key("c.third"));
}

#[test]
fn an_unlink_keeps_later_events() {
    let mut world = World::new();
    world.sends(DEVICE, event(0, "page.viewed"));
    world.sends(DEVICE, link(1, CUSTOMER));
    world.sends(DEVICE, event(2, "identity.unlinked"));
    world.sends(DEVICE, event(3, "checkout.started"));
    assert_eq!(world.profile(DEVICE).forwarded_to, None);
    assert!(
        world
            .profile(DEVICE)
            .timeline
            .iter()
            .any(|line| line.kind == "checkout.started")
    );
}

#[test]
fn a_journey_goes_through_two_hands() {
    let mut world = World::new();
    world.sends("e.mail", event(0, "page.viewed"));
    world.sends("e.mail", link(1, CUSTOMER));
    world.sends(DEVICE, event(2, "cart.viewed"));
    world.sends(DEVICE, link(3, "e.mail"));
    world.sends(CUSTOMER, event(4, "order.completed"));
    assert_eq!(world.signals().len(), 1, "the parcel was forwarded");
}

#[test]
fn a_parcel_that_cannot_be_read_is_refused() {
    let world = World::new();
    let mut broken = event(0, "journey.handed_over");
    broken.payload = Some(vec![9, 9]);
    broken.attributes = [("origin".to_owned(), Attribute::Text(DEVICE.to_owned()))].into();
    let mut value = Vec::new();
    codec::encode_event(&broken, &mut value);
    let record = Record {
        topic: Arc::from("journey.timeline"),
        partition: 0,
        offset: 0,
        timestamp: Millis(0),
        key: Some(CUSTOMER.as_bytes().to_vec()),
        value: Some(value),
        headers: Vec::new(),
    };
    let refused = world.monitor.decode(&record).expect_err("refused");
    assert!(refused.message.contains("found=9"), "{}", refused.message);
}
