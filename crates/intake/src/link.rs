//! An event under several identifiers links them: the journey of each weaker one is told, and hands itself over to the strongest one's.
//! The end of a link is told to it too, and it asks back what it had handed over.

use std::collections::BTreeSet;

use event::{Attribute, Event, Identifier, IdentifierKind, LINK_FROM, LINK_TO};

use crate::{Keys, Prepared, stage::Keyed};

const LINKED: &str = "identity.linked";
const UNLINKED: &str = "identity.unlinked";
/// The method of a link that nobody told: both identifiers stood on one event.
const SEEN: &str = "seen";

/// The links of one raw record. What many of its events show is written once; between records the weaker journey knows what it was told,
/// for intake keeps no state.
#[derive(Default)]
pub(crate) struct Links {
    seen: BTreeSet<(String, String)>,
}

impl Links {
    /// What goes to the journeys of an event's weaker identifiers: a link, or the copy of one that was told, or of its end. `first` is the
    /// identifier whose key the event itself goes to.
    ///
    /// Of two as strong the lesser key is the stronger, so that journeys cannot hand each other over in circles. Two customers are united
    /// by a link on the business topic alone; what stands beside two of them elsewhere goes to the one named first, as the event does.
    pub fn of(&mut self, event: &mut Event, first: (&Identifier, &str), topic: &str, keys: &Keys) -> Vec<Keyed> {
        // Nobody outside says where a journey goes, or where an event came from.
        event.attributes.remove(LINK_TO);
        event.attributes.remove(LINK_FROM);
        let event = &*event;
        if event.identifiers.len() < 2 {
            return Vec::new();
        }
        let is_told = matches!(event.kind.as_str(), LINKED | UNLINKED);
        // A key that a channel service echoes says where its report goes, and not who else is meant.
        if !is_told && first.0.kind == IdentifierKind::Key {
            return Vec::new();
        }
        let mut ranked: Vec<Ranked<'_>> = Vec::with_capacity(event.identifiers.len());
        for identifier in &event.identifiers {
            let Some(strength) = identifier.kind.strength() else {
                continue;
            };
            let key = if identifier == first.0 {
                first.1.to_owned()
            } else {
                keys.key(&event.tenant, identifier)
            };
            ranked.push(Ranked {
                strength,
                key,
                identifier,
            });
        }
        if !(is_told && topic == "business") {
            let mut customers = 0;
            ranked.retain(|one| {
                customers += usize::from(one.identifier.kind == IdentifierKind::Customer);
                one.identifier.kind != IdentifierKind::Customer || customers == 1
            });
        }
        ranked.sort_by(|one, other| (one.strength, &one.key).cmp(&(other.strength, &other.key)));
        let mut ranked = ranked.into_iter();
        let Some(to) = ranked.next() else {
            return Vec::new();
        };
        let mut copies = Vec::new();
        for weaker in ranked.filter(|weaker| weaker.key != to.key) {
            let mut copy = match event.kind.as_str() {
                LINKED => told(event, "link"),
                UNLINKED => Event {
                    // Who leaves.
                    identifiers: vec![weaker.identifier.clone()],
                    ..told(event, "unlink")
                },
                _ if self.seen.insert((weaker.key.clone(), to.key.clone())) => seen(event, &to, &weaker),
                _ => continue,
            };
            copy.attributes
                .insert(LINK_TO.to_owned(), Attribute::Text(to.key.clone()));
            copies.push(Keyed {
                key: weaker.key.into_bytes(),
                prepared: Prepared {
                    event: copy,
                    unredacted: None,
                    redactions: [0; 4],
                },
            });
        }
        copies
    }
}

struct Ranked<'a> {
    strength: u8,
    key: String,
    identifier: &'a Identifier,
}

/// A copy of what was told.
fn told(event: &Event, what: &str) -> Event {
    Event {
        id: format!("{}/{what}", event.id),
        text: None,
        ..event.clone()
    }
}

/// The link that an event shows, without anything else of it.
fn seen(event: &Event, to: &Ranked<'_>, weaker: &Ranked<'_>) -> Event {
    Event {
        id: format!("{}/link", event.id),
        source: event.source.clone(),
        kind: LINKED.to_owned(),
        time: event.time,
        received: event.received,
        tenant: event.tenant.clone(),
        channel: event.channel,
        identifiers: vec![to.identifier.clone(), weaker.identifier.clone()],
        causation: Some(event.id.clone()),
        attributes: [("method".to_owned(), Attribute::Text(SEEN.to_owned()))].into(),
        trace: event.trace.clone(),
        ..Event::default()
    }
}
