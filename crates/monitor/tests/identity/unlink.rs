//! Two journeys part again, through the stage that runs live and the rows that it stores.

use crate::world::{CUSTOMER, DEVICE, World, event, identifier, link, text, unlink};
use event::{Action, Event, Identifier, IdentifierKind, InterventionState, Label, Profile};

const DAYS: i64 = 24 * 60;

fn seven() -> Identifier {
    identifier(IdentifierKind::Customer, "7")
}

fn device() -> Identifier {
    identifier(IdentifierKind::Device, "a1")
}

/// An event that names the customer.
fn by_seven(minute: i64, kind: &str) -> Event {
    Event {
        identifiers: vec![seven()],
        ..event(minute, kind)
    }
}

fn by_device(event: Event) -> Event {
    Event {
        identifiers: vec![device()],
        ..event
    }
}

fn parts(world: &mut World, minute: i64) {
    unlink(world, minute, (CUSTOMER, seven()), (DEVICE, device()));
}

fn lines(profile: &Profile) -> Vec<(i64, &str, Option<&str>)> {
    let lines = profile.timeline.iter();
    lines
        .map(|line| (line.time.0 / 60_000, line.kind.as_str(), line.origin.as_deref()))
        .collect()
}

/// A device of three texts, the last one sent on, and a customer of one.
fn linked() -> World {
    let mut world = World::new();
    world.sends(DEVICE, by_device(text(0, -0.8)));
    world.sends(DEVICE, by_device(text(1, -0.6)));
    world.sends(
        CUSTOMER,
        Event {
            identifiers: vec![seven()],
            ..text(2, 0.5)
        },
    );
    world.sends(DEVICE, link(3, CUSTOMER));
    world.sends(DEVICE, by_device(event(4, "help.viewed")));
    world
}

#[test]
fn later_events_go_to_the_weaker_key_again() {
    let mut world = linked();
    parts(&mut world, 10);
    world.sends(DEVICE, by_device(event(11, "checkout.started")));
    let own = world.profile(DEVICE);
    assert_eq!(own.forwarded_to, None);
    assert!(lines(&own).contains(&(11, "checkout.started", None)), "{own:?}");
    world.sends(CUSTOMER, by_seven(20, "page.viewed"));
    assert!(!lines(&world.profile(CUSTOMER)).iter().any(|(minute, ..)| *minute == 11));
}

#[test]
fn within_thirty_days_it_gets_back_the_state_that_it_handed_over() {
    let mut world = linked();
    world.sends(DEVICE, by_device(event(5, "cart.viewed")));
    parts(&mut world, 29 * DAYS);
    world.sends(DEVICE, by_device(event(29 * DAYS + 1, "checkout.started")));
    let own = world.profile(DEVICE);
    let mood = own.sentiment.clone().expect("a mood");
    assert_eq!(
        (mood.n_texts, mood.n_scored, mood.worst, mood.negative_run, mood.label),
        (2, 2, Some(-0.8), 2, Label::Negative)
    );
    assert!(mood.mean.is_some_and(|mean| (mean + 0.7).abs() < 1e-9), "{mood:?}");
    assert_eq!(
        lines(&own),
        [
            (0, "message.received", None),
            (1, "message.received", None),
            (4, "help.viewed", None),
            (5, "cart.viewed", None),
            (29 * DAYS, "identity.unlinked", None),
            (29 * DAYS + 1, "checkout.started", None)
        ],
        "what was sent on goes back too"
    );
    assert!(own.identifiers.iter().any(|known| known.identifier == device()));
}

#[test]
fn entries_that_rest_on_it_leave_and_sums_are_taken_apart() {
    let mut world = linked();
    parts(&mut world, 10);
    world.sends(CUSTOMER, by_seven(20, "checkout.started"));
    let left = world.profile(CUSTOMER);
    assert_eq!(
        lines(&left),
        [
            (2, "message.received", None),
            (10, "identity.unlinked", None),
            (20, "checkout.started", None)
        ]
    );
    let mood = left.sentiment.expect("a mood");
    assert_eq!(
        (mood.n_texts, mood.n_scored, mood.negative_run, mood.label, mood.worst),
        (1, 1, 0, Label::Positive, Some(0.5))
    );
    for figure in [mood.mean, mood.ewma] {
        assert!(figure.is_some_and(|figure| (figure - 0.5).abs() < 1e-9), "{figure:?}");
    }
    let known: Vec<Identifier> = left.identifiers.into_iter().map(|known| known.identifier).collect();
    assert_eq!(known, [seven()], "its identifier is nobody's way to this customer");
}

#[test]
fn runs_that_rest_on_it_leave_and_go_on_where_they_began() {
    let check = |steps: &dyn Fn(&mut World), expected: &[(&str, [&str; 2])]| {
        let mut world = World::new();
        steps(&mut world);
        let found = world.signals();
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|signal| {
                let seen = signal.seen.iter().map(|seen| seen.first.id.as_str());
                (signal.customer.as_str(), seen.collect())
            })
            .collect();
        let expected: Vec<(&str, Vec<&str>)> = expected.iter().map(|(key, seen)| (*key, seen.to_vec())).collect();
        assert_eq!(found, expected);
    };
    let cart = |minute| by_device(event(minute, "cart.viewed"));
    let order = |minute| event(minute, "order.completed");
    // Handed over, and sent on.
    for (first, second) in [(0, 1), (2, 1)] {
        check(
            &|world: &mut World| {
                if first < second {
                    world.sends(DEVICE, cart(first));
                }
                world.sends(DEVICE, link(second, CUSTOMER));
                if first > second {
                    world.sends(DEVICE, cart(first));
                }
                parts(world, 3);
                world.sends(CUSTOMER, order(4));
                world.sends(DEVICE, order(5));
            },
            &[(DEVICE, [&format!("cart.viewed-{first}"), "order.completed-5"])],
        );
    }
    // The customer's own stays; the device's, which had to wait behind it, comes back as it was.
    check(
        &|world: &mut World| {
            world.sends(CUSTOMER, event(0, "cart.viewed"));
            world.sends(DEVICE, cart(1));
            world.sends(DEVICE, link(2, CUSTOMER));
            parts(world, 3);
            world.sends(DEVICE, order(4));
            world.sends(CUSTOMER, order(5));
        },
        &[
            (DEVICE, ["cart.viewed-1", "order.completed-4"]),
            (CUSTOMER, ["cart.viewed-0", "order.completed-5"]),
        ],
    );
    // One that was completed in the meantime is not completed again.
    check(
        &|world: &mut World| {
            world.sends(DEVICE, cart(0));
            world.sends(DEVICE, link(1, CUSTOMER));
            world.sends(CUSTOMER, order(2));
            parts(world, 3);
            world.sends(DEVICE, order(4));
            world.sends(CUSTOMER, order(5));
        },
        &[(CUSTOMER, ["cart.viewed-0", "order.completed-2"])],
    );
}

#[test]
fn open_interventions_that_rest_on_it_are_taken_back() {
    let taken = |world: &World| -> Vec<(String, String)> {
        let cancels = world.interventions().into_iter();
        cancels
            .filter(|one| one.action == Action::Cancel)
            .map(|one| (one.customer, one.cancel_cause.expect("a cause").reason))
            .collect()
    };
    let expected = [(CUSTOMER.to_owned(), "identity_unlinked".to_owned())];
    // Decided by the stronger journey on what the weaker one had seen.
    let mut world = World::new();
    world.sends(DEVICE, by_device(event(0, "cart.viewed")));
    world.sends(DEVICE, link(1, CUSTOMER));
    world.sends(CUSTOMER, by_seven(2, "order.completed"));
    let [start] = &world.interventions()[..] else {
        panic!("one intervention");
    };
    let id = start.id;
    parts(&mut world, 10);
    assert_eq!(taken(&world), expected);
    let cancel = world.interventions().pop().expect("a record");
    let cause = cancel.cancel_cause.expect("a cause").event.expect("an event");
    assert_eq!((cancel.id, cause.kind.as_str()), (id, "identity.unlinked"));
    world.sends(CUSTOMER, by_seven(20, "checkout.started"));
    let left = world.profile(CUSTOMER);
    assert!(left.interventions.is_empty() && left.at_risk.is_empty(), "{left:?}");
    // Decided by the weaker one before the two met.
    let mut world = World::new();
    world.sends(DEVICE, by_device(event(0, "cart.viewed")));
    let mail = identifier(IdentifierKind::Email, "anna@example.com");
    world.sends(
        DEVICE,
        Event {
            identifiers: vec![mail, device()],
            ..event(1, "order.completed")
        },
    );
    assert_eq!(world.interventions().len(), 1);
    world.sends(DEVICE, link(2, CUSTOMER));
    world.sends(CUSTOMER, by_seven(9, "checkout.started"));
    assert_eq!(world.profile(CUSTOMER).interventions.len(), 1);
    parts(&mut world, 10);
    assert_eq!(taken(&world), expected);
    world.sends(DEVICE, by_device(event(20, "checkout.started")));
    assert!(world.profile(DEVICE).interventions.is_empty(), "taken back is not open");
    // The customer's own stays.
    let mut world = World::new();
    world.sends(CUSTOMER, by_seven(0, "cart.viewed"));
    world.sends(CUSTOMER, by_seven(1, "order.completed"));
    world.sends(DEVICE, link(2, CUSTOMER));
    parts(&mut world, 10);
    assert!(taken(&world).is_empty());
    world.sends(CUSTOMER, by_seven(20, "checkout.started"));
    let open = world.profile(CUSTOMER).interventions;
    assert_eq!(
        open.iter().map(|pending| pending.state).collect::<Vec<_>>(),
        [InterventionState::Created]
    );
}

#[test]
fn after_thirty_days_only_the_future_is_parted() {
    let mut world = linked();
    let late = 3 + 30 * DAYS;
    parts(&mut world, late);
    world.sends(DEVICE, by_device(event(late + 1, "checkout.started")));
    world.sends(CUSTOMER, by_seven(late + 10, "checkout.started"));
    let (own, left) = (world.profile(DEVICE), world.profile(CUSTOMER));
    assert_eq!(own.sentiment.clone().expect("a mood").n_texts, 0);
    assert_eq!(
        lines(&own),
        [(late, "identity.unlinked", None), (late + 1, "checkout.started", None)]
    );
    assert_eq!(left.sentiment.clone().expect("a mood").n_texts, 3);
    assert!(lines(&left).contains(&(0, "message.received", Some(DEVICE))));
}

#[test]
fn what_cannot_come_back_any_more_is_forgotten_on_time() {
    let world = linked();
    let rows = &world.rows[CUSTOMER];
    assert!(rows.keys().any(|name| name.starts_with(b"or")));
    let due = world.deadline(CUSTOMER).expect("a timer");
    assert_eq!(due.0 / 60_000, 3 + 30 * DAYS);
    let mut world = world;
    world.wakes(CUSTOMER, due);
    assert!(!world.rows[CUSTOMER].keys().any(|name| name.starts_with(b"or")));
    assert_eq!(world.deadline(CUSTOMER), None);
}

#[test]
fn who_is_linked_again_counts_once() {
    let mut world = linked();
    for round in 1..4 {
        parts(&mut world, 10 * round);
        world.sends(DEVICE, link(10 * round + 5, CUSTOMER));
        world.sends(CUSTOMER, by_seven(10 * round + 6, "checkout.started"));
        let whole = world.profile(CUSTOMER);
        let mood = whole.sentiment.clone().expect("a mood");
        assert_eq!(
            (mood.n_texts, mood.n_scored, mood.worst),
            (3, 3, Some(-0.8)),
            "round {round}"
        );
        assert!(mood.mean.is_some_and(|mean| (mean + 0.3).abs() < 1e-9), "{mood:?}");
        let texts = whole.timeline.iter().filter(|line| line.kind == "message.received");
        assert_eq!(texts.count(), 3);
    }
}

#[test]
fn what_came_through_another_goes_with_it_and_can_leave_alone() {
    let mail = || identifier(IdentifierKind::Email, "anna@example.com");
    let chain = || {
        let mut world = World::new();
        world.sends(DEVICE, by_device(text(0, -0.8)));
        world.sends(
            "e.mail",
            Event {
                identifiers: vec![mail()],
                ..text(1, -0.4)
            },
        );
        world.sends(DEVICE, link(2, "e.mail"));
        world.sends("e.mail", link(3, CUSTOMER));
        world.sends(
            CUSTOMER,
            Event {
                identifiers: vec![seven()],
                ..text(4, 0.5)
            },
        );
        world
    };
    let texts = |world: &mut World, key: &str, minute| {
        world.sends(key, event(minute, "checkout.started"));
        let profile = world.profile(key);
        let mood = profile.sentiment.clone().expect("a mood");
        let own = profile.timeline.iter().filter(|line| line.kind == "message.received");
        (mood.n_texts, own.count(), mood.mean)
    };
    let near = |found: (i32, usize, Option<f64>), count: i32, mean: f64| {
        let is_near = found.2.is_some_and(|found| (found - mean).abs() < 1e-9);
        assert!(
            is_near && (found.0, found.1) == (count, usize::try_from(count).expect("few")),
            "{found:?}"
        );
    };
    // The mail address leaves with what the device had brought; the device stays with it.
    let mut world = chain();
    unlink(&mut world, 10, (CUSTOMER, seven()), ("e.mail", mail()));
    near(texts(&mut world, CUSTOMER, 20), 1, 0.5);
    near(texts(&mut world, "e.mail", 20), 2, -0.6);
    unlink(&mut world, 30, ("e.mail", mail()), (DEVICE, device()));
    near(texts(&mut world, DEVICE, 40), 1, -0.8);
    near(texts(&mut world, "e.mail", 40), 1, -0.4);
    // The device leaves, whoever holds its state by now; the address is parted later and takes its own alone.
    let mut world = chain();
    unlink(&mut world, 10, (CUSTOMER, seven()), (DEVICE, device()));
    near(texts(&mut world, DEVICE, 20), 1, -0.8);
    near(texts(&mut world, CUSTOMER, 20), 2, 0.05);
    unlink(&mut world, 30, (CUSTOMER, seven()), ("e.mail", mail()));
    near(texts(&mut world, CUSTOMER, 40), 1, 0.5);
    near(texts(&mut world, "e.mail", 40), 1, -0.4);
}

#[test]
fn the_end_of_what_never_was_changes_nothing() {
    let mut world = linked();
    unlink(
        &mut world,
        10,
        ("c.other", identifier(IdentifierKind::Customer, "8")),
        (DEVICE, device()),
    );
    world.sends(DEVICE, by_device(event(11, "checkout.started")));
    world.sends(CUSTOMER, by_seven(20, "checkout.started"));
    let whole = world.profile(CUSTOMER);
    assert_eq!(whole.sentiment.clone().expect("a mood").n_texts, 3);
    assert!(lines(&whole).contains(&(11, "checkout.started", Some(DEVICE))));
}

#[test]
fn what_comes_back_goes_where_its_owner_belongs_by_then() {
    let mut world = linked();
    world.sends(DEVICE, link(5, "c.newer"));
    parts(&mut world, 10);
    assert_eq!(world.profile(DEVICE).forwarded_to.as_deref(), Some("c.newer"));
    world.sends("c.newer", event(20, "checkout.started"));
    world.sends(CUSTOMER, by_seven(20, "checkout.started"));
    let n_texts = |key: &str| world.profile(key).sentiment.expect("a mood").n_texts;
    assert_eq!((n_texts("c.newer"), n_texts(CUSTOMER)), (2, 1));
}
