//! Cases, conversations, promises and surveys.

use event::{Answer, Case, Channel, Conversation, Event, EventRef, Millis, Promise, PromiseStatus, Role};

use super::read::{amount, moment, number, string};
use crate::{Journey, effort};

const DAY: i64 = 86_400_000;
const FEW: usize = 16;
const PROMISES: usize = 32;

pub(super) fn cases(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let Some(what) = event.kind.strip_prefix("case.") else {
        return false;
    };
    let Some(id) = string(event, "case_id") else {
        return false;
    };
    let cases = &mut journey.profile.cases;
    let known = cases.iter().position(|case| case.case_id == id);
    match (what, known) {
        ("closed", Some(index)) => {
            cases.remove(index);
        }
        ("closed", None) => return false,
        (_, Some(index)) => {
            if what == "reopened" {
                cases[index].reopened = cases[index].reopened.saturating_add(1);
            }
        }
        (_, None) => {
            if cases.len() >= FEW {
                cases.remove(0);
            }
            cases.push(Case {
                case_id: id.to_owned(),
                opened_at: now,
                reason: string(event, "reason").map(ToOwned::to_owned),
                reopened: i32::from(what == "reopened"),
            });
        }
    }
    true
}

pub(super) fn conversations(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let Some(id) = &event.conversation else { return false };
    let open = &mut journey.profile.conversations;
    let known = open.iter().position(|conversation| &conversation.conversation == id);
    if matches!(event.kind.as_str(), "conversation.ended" | "call.ended") {
        if let Some(index) = known {
            open.remove(index);
        }
        return known.is_some();
    }
    let begins = effort::is_contact(&event.kind) || matches!(event.kind.as_str(), "message.received" | "queue.entered");
    // Mail and posts are answered hours later: nobody sits in them.
    let lasting = matches!(event.channel, Channel::Email | Channel::Social);
    if known.is_none() && begins && !lasting {
        if open.len() >= FEW {
            open.remove(0);
        }
        open.push(Conversation {
            conversation: id.clone(),
            channel: event.channel,
            started_at: now,
            ..Conversation::default()
        });
    }
    if let Some(one) = open.iter_mut().find(|conversation| &conversation.conversation == id) {
        one.last_at = Some(now);
        if let Some(text) = &event.text {
            one.last_from = text.role;
        }
        if let Some(agent) = string(event, "agent_id") {
            one.owner = Some(agent.to_owned());
        }
    }
    known.is_none() && begins && !lasting
}

pub(super) fn promises(journey: &mut Journey, event: &Event, reference: &EventRef, now: Millis) -> bool {
    let promises = &mut journey.profile.promises;
    let mut changed = false;
    let mut open = |id: String, kind: &str, due_at: Option<Millis>, of: Option<String>| {
        if promises.iter().any(|promise| promise.promise_id == id) {
            return;
        }
        if promises.len() >= PROMISES {
            promises.remove(0);
        }
        promises.push(Promise {
            promise_id: id,
            kind: kind.to_owned(),
            made_at: now,
            due_at,
            made_by: event.text.as_ref().map_or(Role::Unknown, |text| text.role),
            amount: amount(event, "value"),
            currency: string(event, "currency").map(ToOwned::to_owned),
            reference: of,
            status: PromiseStatus::Open,
            closed_by: None,
        });
        changed = true;
    };
    let of = |name: &str| string(event, name).map(ToOwned::to_owned);
    match event.kind.as_str() {
        "promise.made" => {
            if let Some(id) = of("promise_id") {
                let kind = of("kind").unwrap_or_default();
                open(id, &kind, moment(event, "due_at"), None);
            }
        }
        "cancellation.confirmed" if number(event, "fee") == Some(0.0) => {
            open(
                event.id.clone(),
                "no_charge",
                Some(now.plus(90 * DAY)),
                of("contract_id"),
            );
        }
        "return.received" => open(event.id.clone(), "refund", Some(now.plus(5 * DAY)), of("order_id")),
        "callback.requested" => open(event.id.clone(), "callback", Some(now.plus(DAY)), None),
        "shipment.delayed" => {
            if let Some(due) = moment(event, "eta").or_else(|| moment(event, "promised_at")) {
                open(event.id.clone(), "delivery", Some(due), of("order_id"));
            }
        }
        _ => {}
    }
    let mut close = |fits: &dyn Fn(&Promise) -> bool, status: PromiseStatus| {
        for promise in promises
            .iter_mut()
            .filter(|promise| promise.status == PromiseStatus::Open && fits(promise))
        {
            promise.status = status;
            promise.closed_by = Some(reference.clone());
            changed = true;
        }
    };
    let order = of("order_id");
    match event.kind.as_str() {
        "promise.kept" | "promise.released" => {
            let id = of("promise_id").unwrap_or_default();
            let status = if event.kind == "promise.kept" {
                PromiseStatus::Kept
            } else {
                PromiseStatus::Released
            };
            close(&|promise| promise.promise_id == id, status);
        }
        "order.refunded" => close(
            &|promise| promise.kind == "refund" && promise.reference == order,
            PromiseStatus::Kept,
        ),
        "shipment.delivered" => {
            close(
                &|promise| promise.kind == "delivery" && promise.reference == order,
                PromiseStatus::Kept,
            );
        }
        "agent.connected" => close(&|promise| promise.kind == "callback", PromiseStatus::Kept),
        "invoice.issued" if number(event, "value").is_some_and(|value| value > 0.0) => {
            close(&|promise| promise.kind == "no_charge", PromiseStatus::Broken);
        }
        _ => {}
    }
    changed
}

/// Promises whose time has come are broken; that of no charge is kept by silence. Whether any was.
pub(crate) fn overdue(journey: &mut Journey, now: Millis) -> bool {
    let mut changed = false;
    let due = journey
        .profile
        .promises
        .iter_mut()
        .filter(|promise| promise.status == PromiseStatus::Open && promise.due_at.is_some_and(|due| due <= now));
    for promise in due {
        promise.status = if promise.kind == "no_charge" {
            PromiseStatus::Kept
        } else {
            PromiseStatus::Broken
        };
        changed = true;
    }
    changed
}

pub(super) fn surveys(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    if event.kind != "survey.answered" {
        return false;
    }
    let surveys = &mut journey.profile.surveys;
    if surveys.len() >= FEW {
        surveys.remove(0);
    }
    surveys.push(Answer {
        survey_id: string(event, "survey_id").unwrap_or_default().to_owned(),
        kind: string(event, "kind").unwrap_or_default().to_owned(),
        score: number(event, "score").unwrap_or_default(),
        scale: number(event, "scale").unwrap_or_default(),
        time: now,
        agent_id: string(event, "agent_id").map(ToOwned::to_owned),
    });
    false
}
