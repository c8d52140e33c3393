//! A link goes to the journey of each weaker identifier, which then hands itself over to the strongest one's.

use event::{Attribute, Event, Identifier, IdentifierKind, LINK_TO};

use crate::{Keys, Prepared, stage::Keyed};

/// The copies of a link under the keys of its weaker identifiers. Of two as strong the lesser key is the stronger, so that journeys cannot
/// hand each other over in circles. Two customers are united on the business topic alone.
pub(crate) fn links(event: &mut Event, topic: &str, keys: &Keys) -> Vec<Keyed> {
    if event.kind != "identity.linked" {
        return Vec::new();
    }
    // Nobody outside says where a journey goes.
    event.attributes.remove(LINK_TO);
    let event = &*event;
    let rank = |identifier: &Identifier| Some((identifier.kind.strength()?, keys.key(&event.tenant, identifier)));
    let mut ranked: Vec<(u8, String)> = event.identifiers.iter().filter_map(rank).collect();
    ranked.sort();
    let Some((_, to)) = ranked.first().cloned() else {
        return Vec::new();
    };
    let customer = IdentifierKind::Customer.strength();
    let weaker = ranked
        .into_iter()
        .skip(1)
        .filter(|(strength, key)| *key != to && (Some(*strength) != customer || topic == "business"));
    weaker
        .map(|(_, key)| {
            let mut copy = Event {
                id: format!("{}/link", event.id),
                text: None,
                ..event.clone()
            };
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
