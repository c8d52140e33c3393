//! A link, and its end, goes to the journey of each weaker identifier too, which hands itself over to the strongest one's or asks back
//! what it had handed over.

use event::{Attribute, Event, Identifier, IdentifierKind, LINK_FROM, LINK_TO};

use crate::{Keys, Prepared, stage::Keyed};

/// The copies of a link, or of its end, under the keys of its weaker identifiers. Of two as strong the lesser key is the stronger, so that
/// journeys cannot hand each other over in circles. Two customers are united on the business topic alone.
pub(crate) fn links(event: &mut Event, topic: &str, keys: &Keys) -> Vec<Keyed> {
    // Nobody outside says where a journey goes, or where an event came from.
    event.attributes.remove(LINK_TO);
    event.attributes.remove(LINK_FROM);
    let ending = match event.kind.as_str() {
        "identity.linked" => "link",
        "identity.unlinked" => "unlink",
        _ => return Vec::new(),
    };
    let event = &*event;
    let rank = |identifier: &Identifier| {
        let key = keys.key(&event.tenant, identifier);
        Some((identifier.kind.strength()?, key, identifier.clone()))
    };
    let mut ranked: Vec<(u8, String, Identifier)> = event.identifiers.iter().filter_map(rank).collect();
    ranked.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let Some((_, to, _)) = ranked.first().cloned() else {
        return Vec::new();
    };
    let customer = IdentifierKind::Customer.strength();
    let weaker = ranked
        .into_iter()
        .skip(1)
        .filter(|(strength, key, _)| *key != to && (Some(*strength) != customer || topic == "business"));
    weaker
        .map(|(_, key, identifier)| {
            let mut copy = Event {
                id: format!("{}/{ending}", event.id),
                text: None,
                ..event.clone()
            };
            if ending == "unlink" {
                // Who leaves.
                copy.identifiers = vec![identifier];
            }
            copy.attributes.insert(LINK_TO.to_owned(), Attribute::Text(to.clone()));
            Keyed {
                key: key.into_bytes(),
                prepared: Prepared {
                    event: copy,
                    unredacted: None,
                    redactions: [0; 4],
                },
            }
        })
        .collect()
}
