//! What channel services report, and what takes an intervention back.

use event::{Attribute, Event, InterventionState, Millis, OutputId};

use crate::{Journey, Open, channels::carries};

/// Decided-upon interventions kept beyond their end, so that late answers still count.
const OPEN: usize = 32;

/// Takes an `intervention.*` event; whether a state changed.
pub(crate) fn read(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let Some(what) = event.kind.strip_prefix("intervention.") else {
        return false;
    };
    let Some(Attribute::Text(id)) = event.attributes.get("intervention_id") else {
        return false;
    };
    let Some(id) = OutputId::parse(id) else { return false };
    let state = match what {
        "delivered" => InterventionState::Delivered,
        "shown" => InterventionState::Shown,
        "accepted" => InterventionState::Accepted,
        "declined" => InterventionState::Declined,
        "ignored" => InterventionState::Ignored,
        "expired" => InterventionState::Expired,
        "cancelled" => InterventionState::Cancelled,
        "failed" => InterventionState::Failed,
        "handled" => InterventionState::Handled,
        _ => return false,
    };
    let Some(index) = journey.decisions.open.iter().position(|open| open.intervention == id) else {
        return false;
    };
    let open = &mut journey.decisions.open[index];
    if rank(state) <= rank(open.state) {
        return false;
    }
    open.state = state;
    let open = open.clone();
    match state {
        InterventionState::Shown => {
            if let Some(shown) = journey
                .decisions
                .shown
                .iter_mut()
                .find(|shown| shown.intervention == id)
            {
                shown.at = now;
            }
        }
        // A contact that never happened weighs on nobody.
        InterventionState::Failed | InterventionState::Expired => {
            journey.decisions.shown.retain(|shown| shown.intervention != id);
        }
        _ => {}
    }
    answered(journey, &open, state);
    if is_closed(state) {
        journey.decisions.open.remove(index);
    }
    true
}

/// The offered channel's answers, as a share: preference = accepted ÷ offered, with two answers' worth of doubt.
fn answered(journey: &mut Journey, open: &Open, state: InterventionState) {
    let used = journey
        .profile
        .channels
        .iter_mut()
        .find(|known| carries(known.channel, open.channel));
    let Some(used) = used else { return };
    match state {
        InterventionState::Shown => used.offered = used.offered.saturating_add(1),
        InterventionState::Accepted => used.accepted = used.accepted.saturating_add(1),
        InterventionState::Declined | InterventionState::Ignored => used.ignored = used.ignored.saturating_add(1),
        _ => return,
    }
    used.preference = f64::from(used.accepted) / (f64::from(used.offered.max(used.accepted + used.ignored)) + 2.0);
}

fn rank(state: InterventionState) -> u8 {
    match state {
        InterventionState::Unknown => 0,
        InterventionState::Created | InterventionState::Withheld => 1,
        InterventionState::Delivered => 2,
        InterventionState::Shown => 3,
        InterventionState::Accepted | InterventionState::Declined | InterventionState::Ignored => 4,
        InterventionState::Expired | InterventionState::Cancelled => 4,
        InterventionState::Failed | InterventionState::Handled => 5,
    }
}

/// Whether nothing more is awaited.
pub(crate) fn is_closed(state: InterventionState) -> bool {
    rank(state) >= 4 && state != InterventionState::Accepted
}

/// Takes out those whose goal an event of this type is; a contact that was accepted goes on.
pub(crate) fn cancelled_by(journey: &mut Journey, kind: &str) -> Vec<Open> {
    let (gone, stay): (Vec<Open>, Vec<Open>) = std::mem::take(&mut journey.decisions.open)
        .into_iter()
        .partition(|open| open.state != InterventionState::Accepted && open.cancel_on.iter().any(|one| one == kind));
    journey.decisions.open = stay;
    gone
}

/// Takes out those whose time is over; whether there were any. A contact that nobody reported as shown still weighs: better one
/// message too few than one too many.
pub(crate) fn expire(journey: &mut Journey, now: Millis) -> bool {
    let before = journey.decisions.open.len();
    journey.decisions.open.retain(|open| open.expires_at > now);
    before != journey.decisions.open.len()
}

/// Enters a new one; the oldest goes beyond a bound.
pub(crate) fn open(journey: &mut Journey, open: Open) {
    if journey.decisions.open.len() >= OPEN {
        journey.decisions.open.remove(0);
    }
    journey.decisions.open.push(open);
}
