//! Links: an event under several identifiers tells the journey of each weaker one where it belongs.

mod stage;

use event::{Attribute, Event};
use stage::outputs_of;

/// The events of the timeline that a raw record becomes, with their keys.
fn timeline(topic: &str, raw: &str) -> Vec<(String, Event)> {
    let outputs = outputs_of(topic, raw).into_iter();
    outputs
        .filter(|output| &*output.topic == "journey.timeline")
        .map(|output| {
            let event = codec::decode_event(output.value.as_deref().expect("a value")).expect("an event");
            (String::from_utf8(output.key.expect("a key")).expect("text"), event)
        })
        .collect()
}

fn raw(kind: &str, identifiers: &[(&str, &str)]) -> String {
    let identifiers = identifiers.iter();
    let identifiers: Vec<String> = identifiers
        .map(|(kind, value)| format!(r#"{{"kind":"{kind}","value":"{value}"}}"#))
        .collect();
    format!(
        r#"{{"id":"x-1","source":"shop/web","type":"{kind}","time":"2026-11-21T13:10:00Z","session":"s","identifiers":[{}],
        "attributes":{{"method":"login","link_to":"c.victim","link_from":"d.victim","cart_id":"k"}},
        "text":{{"body":"waar blijft mijn bestelling","role":"customer"}}}}"#,
        identifiers.join(",")
    )
}

fn to(event: &Event) -> Option<&str> {
    match event.attributes.get("link_to") {
        Some(Attribute::Text(to)) => Some(to),
        _ => None,
    }
}

/// The kinds of the keys that get a link, each with that of the key that it names.
fn links(topic: &str, raw: &str) -> Vec<(String, String)> {
    let all = timeline(topic, raw);
    assert_eq!(
        to(&all[0].1),
        None,
        "the event itself, and nobody outside says where to"
    );
    let copies = all[1..].iter().map(|(key, event)| {
        assert_eq!(event.kind, "identity.linked");
        (key[..1].to_owned(), to(event).expect("where to")[..1].to_owned())
    });
    copies.collect()
}

#[test]
fn every_event_links_each_weaker_identifier_to_the_strongest() {
    let check = |identifiers: &[(&str, &str)], expected: &[(&str, &str)]| {
        let found = links("chat", &raw("cart.viewed", identifiers));
        let found: Vec<(&str, &str)> = found.iter().map(|(key, to)| (key.as_str(), to.as_str())).collect();
        assert_eq!(found, expected, "{identifiers:?}");
    };
    let (customer, device, mail, phone) = (
        ("customer", "7"),
        ("device", "a1"),
        ("email", "anna@example.com"),
        ("phone", "+31612345678"),
    );
    check(&[customer], &[]);
    check(&[device], &[]);
    check(&[device, customer], &[("d", "c")]);
    check(&[device, mail], &[("d", "e")]);
    check(&[device, mail, customer, phone], &[("p", "c"), ("e", "c"), ("d", "c")]);
    // One written in two ways is one.
    check(&[mail, ("email", " Anna@Example.com ")], &[]);
    check(&[customer, ("device", "null")], &[]);
}

#[test]
fn a_link_that_was_seen_carries_whom_it_links_and_nothing_else() {
    let all = timeline("chat", &raw("cart.viewed", &[("device", "a1"), ("customer", "7")]));
    let [(strong, event), (weak, link)] = &all[..] else {
        panic!("one event and one link: {all:?}");
    };
    assert!(strong.starts_with("c.") && weak.starts_with("d."));
    assert_eq!((event.id.as_str(), event.kind.as_str()), ("x-1", "cart.viewed"));
    assert_eq!(
        (link.id.as_str(), link.causation.as_deref(), link.time),
        ("x-1/link", Some("x-1"), event.time)
    );
    let attributes: Vec<(&str, &Attribute)> = link
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    assert_eq!(
        attributes,
        [
            ("link_to", &Attribute::Text(strong.clone())),
            ("method", &Attribute::Text("seen".to_owned()))
        ]
    );
    assert!(link.text.is_none() && link.sentiment.is_none() && link.session.is_none());
    assert_eq!(link.identifiers.len(), 2);
    assert!(!event.attributes.contains_key("link_from"));
}

#[test]
fn one_record_writes_a_link_once() {
    let call = |id: u32, user: &str| {
        format!(
            r#"{{"type":"track","event":"Cart Viewed","messageId":"{id}","userId":"{user}","anonymousId":"d","originalTimestamp":"2026-11-21T13:09:59Z","properties":{{"cart_id":"k"}}}}"#
        )
    };
    let calls: Vec<String> = [(1, "u"), (2, "u"), (3, "v"), (4, "u")]
        .map(|(id, user)| call(id, user))
        .into();
    let batch = format!(r#"{{"sentAt":"2026-11-21T13:10:00Z","batch":[{}]}}"#, calls.join(","));
    let all = timeline("web", &batch);
    let ids: Vec<&str> = all.iter().map(|(_, event)| event.id.as_str()).collect();
    assert_eq!(ids, ["1", "1/link", "2", "3", "3/link", "4"]);
}

#[test]
fn two_customers_on_one_event_stay_two() {
    let identifiers = [("customer", "7"), ("customer", "8"), ("device", "a1")];
    for topic in ["web", "business"] {
        let all = timeline(topic, &raw("cart.viewed", &identifiers));
        let keys: Vec<&str> = all.iter().map(|(key, _)| &key[..1]).collect();
        assert_eq!(keys, ["c", "d"], "{topic}");
        assert_eq!(
            to(&all[1].1),
            Some(all[0].0.as_str()),
            "to the one that the event goes to"
        );
    }
    let turned = [identifiers[1], identifiers[0], identifiers[2]];
    let (one, two) = (
        timeline("web", &raw("cart.viewed", &identifiers)),
        timeline("web", &raw("cart.viewed", &turned)),
    );
    assert_ne!(to(&one[1].1), to(&two[1].1));
}

#[test]
fn keys_and_agents_link_nothing() {
    let key = timeline("web", &raw("cart.viewed", &[("customer", "7")])).remove(0).0;
    let echoed = raw("intervention.shown", &[("key", &key), ("device", "a1")]);
    assert!(links("business", &echoed).is_empty());
    assert!(links("agents", &raw("note.written", &[("agent", "x"), ("customer", "7")])).is_empty());
}

/// The keys that an event goes to, with the key that it names as the stronger one.
fn linked(topic: &str, identifiers: &str) -> Vec<(String, Option<event::Attribute>)> {
    let event = format!(
        r#"{{"id":"l-1","source":"shop/web","type":"identity.linked","time":"2026-11-21T13:10:00Z","identifiers":[{identifiers}],
        "attributes":{{"method":"login","link_to":"c.victim"}}}}"#
    );
    let outputs = outputs_of(topic, &event);
    let keys = outputs.iter().map(|output| {
        let event = codec::decode_event(output.value.as_deref().expect("a value")).expect("an event");
        let key = String::from_utf8(output.key.clone().expect("a key")).expect("text");
        (key, event.attributes.get("link_to").cloned())
    });
    keys.collect()
}

#[test]
fn a_link_goes_to_each_weaker_journey_too() {
    let customer = |id: u32| format!(r#"{{"kind":"customer","value":"{id}"}}"#);
    let device = r#"{"kind":"device","value":"a1"}"#;
    let mail = r#"{"kind":"email","value":"anna@example.com"}"#;
    let found = linked("web", &format!("{device},{},{mail}", customer(7)));
    let letters: Vec<&str> = found.iter().map(|(key, _)| &key[..2]).collect();
    assert_eq!(letters, ["c.", "e.", "d."]);
    let to = Some(event::Attribute::Text(found[0].0.clone()));
    assert_eq!(
        (&found[0].1, &found[1].1, &found[2].1),
        (&None, &to, &to),
        "and nobody outside says where to"
    );
    assert_eq!(linked("web", device).len(), 1);
    // Two customers are one person only if the business says so, and the same one comes first whatever the order.
    let (one, two) = (customer(7), customer(8));
    assert_eq!(linked("web", &format!("{one},{two}")).len(), 1);
    let targets = |order: &str| {
        linked("business", order)
            .into_iter()
            .filter_map(|(_, to)| to)
            .collect::<Vec<_>>()
    };
    let (straight, turned) = (targets(&format!("{one},{two}")), targets(&format!("{two},{one}")));
    assert!(straight.len() == 1 && straight == turned, "{straight:?} {turned:?}");
}

#[test]
fn the_end_of_a_link_goes_to_the_weaker_journey_and_names_it_alone() {
    let event = |topic: &str| {
        let event = r#"{"id":"u-1","source":"crm","type":"identity.unlinked","time":"2026-11-21T13:10:00Z",
        "identifiers":[{"kind":"device","value":"a1"},{"kind":"customer","value":"7"}],"attributes":{"method":"agent","link_from":"d.victim"}}"#;
        outputs_of(topic, event)
    };
    let found: Vec<(String, event::Event)> = event("business")
        .into_iter()
        .map(|output| {
            let event = codec::decode_event(output.value.as_deref().expect("a value")).expect("an event");
            (String::from_utf8(output.key.expect("a key")).expect("text"), event)
        })
        .collect();
    let [(strong, told), (weak, copy)] = &found[..] else {
        panic!("one event and one copy: {found:?}");
    };
    assert!(strong.starts_with("c.") && weak.starts_with("d."));
    assert_eq!(
        (told.id.as_str(), told.identifiers.len(), told.attributes.len()),
        ("u-1", 2, 1)
    );
    assert_eq!(copy.id, "u-1/unlink");
    assert_eq!(copy.identifiers.len(), 1);
    assert_eq!(copy.identifiers[0].value, "a1");
    let to = event::Attribute::Text(strong.clone());
    assert_eq!(
        (copy.attributes.get("link_to"), copy.attributes.get("link_from")),
        (Some(&to), None)
    );
}
