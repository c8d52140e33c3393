//! The listed event types, which attributes each must carry, and what attributes hold.
//!
//! A name in angle brackets is an envelope field (`<session>`, `<conversation>`, `<text>`), not an attribute. Unlisted types
//! are accepted elsewhere, flagged and matchable.

use crate::{Attribute, Attributes};

/// Every listed type with what it requires, in alphabetical order.
pub const VOCABULARY: &[(&str, &[&str])] = &[
    ("agent.capacity_changed", &["agent_id", "channel", "free"]),
    ("agent.connected", &["<conversation>", "agent_id", "queue"]),
    ("agent.presence_changed", &["agent_id", "state", "queues", "skills"]),
    ("app.crashed", &["message_hash"]),
    ("app.opened", &[]),
    ("bot.fallback", &["<conversation>"]),
    ("bot.intent_detected", &["<conversation>", "intent", "confidence"]),
    ("call.ended", &["<conversation>", "disconnect"]),
    ("call.started", &["<conversation>", "direction"]),
    ("call.transferred", &["<conversation>", "kind"]),
    ("callback.requested", &["<conversation>", "queue"]),
    ("cancellation.confirmed", &["contract_id", "fee"]),
    ("cancellation.page_viewed", &[]),
    ("cancellation.requested", &["contract_id"]),
    ("cart.product_added", &["product_id"]),
    ("cart.product_removed", &["product_id"]),
    ("cart.viewed", &["cart_id"]),
    ("case.assigned", &["case_id", "reason"]),
    ("case.closed", &["case_id", "reason"]),
    ("case.opened", &["case_id", "reason"]),
    ("case.reopened", &["case_id", "reason"]),
    ("charge.disputed", &["value", "currency"]),
    ("checkout.started", &["value", "currency"]),
    ("checkout.step_completed", &["step"]),
    ("checkout.step_viewed", &["step"]),
    ("click.died", &["target"]),
    ("click.raged", &["target", "count"]),
    ("cobrowse.ended", &["<conversation>", "agent_id"]),
    ("cobrowse.started", &["<conversation>", "agent_id"]),
    ("complaint.filed", &["reason"]),
    ("consent.changed", &["purpose", "status"]),
    ("contact.wrapped_up", &["<conversation>", "code", "agent_id"]),
    ("contract.downgraded", &["contract_id"]),
    ("contract.renewed", &["contract_id", "ends_at"]),
    ("contract.started", &["contract_id", "ends_at"]),
    ("conversation.ended", &["<conversation>"]),
    ("conversation.started", &["<conversation>"]),
    ("coupon.applied", &["coupon"]),
    ("coupon.denied", &["coupon", "reason"]),
    ("credit.issued", &["value", "currency"]),
    ("customer.flagged", &["agent_id", "reason"]),
    ("email.bounced", &["campaign"]),
    ("email.delivered", &["campaign"]),
    ("email.link_clicked", &["campaign"]),
    ("email.opened", &["campaign"]),
    ("email.received", &["<text>"]),
    ("erasure.requested", &["request_id"]),
    ("exception.raised", &["message_hash"]),
    ("exit.intended", &["url"]),
    ("form.abandoned", &["form"]),
    ("form.submitted", &["form"]),
    ("handover.requested", &["<conversation>"]),
    ("help.viewed", &["topic"]),
    ("hold.ended", &["<conversation>", "held_ms"]),
    ("hold.started", &["<conversation>", "agent_id"]),
    ("identity.linked", &["method"]),
    ("identity.unlinked", &["method"]),
    ("intervention.accepted", &["intervention_id"]),
    ("intervention.assigned", &["intervention_id", "agent_id"]),
    ("intervention.cancelled", &["intervention_id"]),
    ("intervention.declined", &["intervention_id"]),
    ("intervention.delivered", &["intervention_id"]),
    ("intervention.expired", &["intervention_id"]),
    ("intervention.failed", &["intervention_id"]),
    ("intervention.handled", &["intervention_id"]),
    ("intervention.ignored", &["intervention_id"]),
    ("intervention.shown", &["intervention_id"]),
    ("invoice.issued", &["invoice_id", "value", "currency"]),
    ("ivr.input_failed", &["<conversation>", "step", "attempt"]),
    ("ivr.step_entered", &["<conversation>", "step"]),
    ("ivr.task_completed", &["<conversation>", "task"]),
    ("life_event.reported", &["kind"]),
    ("login.failed", &["reason"]),
    ("mention.posted", &["<text>", "network", "public"]),
    ("message.received", &["<conversation>", "<text>"]),
    ("message.sent", &["<conversation>", "<text>"]),
    ("order.cancelled", &["order_id"]),
    ("order.completed", &["order_id", "value", "currency"]),
    ("order.refunded", &["order_id"]),
    ("order.updated", &["order_id"]),
    ("outage.ended", &["service", "region"]),
    ("outage.started", &["service", "region"]),
    ("page.viewed", &["url"]),
    ("payment.entered", &[]),
    ("payment.failed", &["error", "hard"]),
    ("payment.overdue", &["invoice_id", "value", "currency"]),
    ("pickup.ready", &["order_id"]),
    ("product.list_viewed", &["category"]),
    ("product.viewed", &["product_id"]),
    ("products.searched", &["query", "results"]),
    ("promise.kept", &["promise_id"]),
    ("promise.made", &["promise_id", "kind", "due_at"]),
    ("promise.released", &["promise_id"]),
    ("push.received", &["campaign"]),
    ("push.tapped", &["campaign"]),
    ("queue.abandoned", &["<conversation>", "queue", "waited_ms"]),
    ("queue.entered", &["<conversation>", "queue"]),
    ("renewal.due", &["contract_id", "ends_at"]),
    ("request.failed", &["status"]),
    ("return.received", &["order_id"]),
    ("return.requested", &["order_id"]),
    ("review.posted", &["network", "rating"]),
    ("screen.viewed", &["screen"]),
    ("service.activated", &[]),
    ("session.ended", &["<session>"]),
    ("session.started", &["<session>"]),
    ("shipment.delayed", &["order_id", "promised_at", "eta"]),
    ("shipment.delivered", &["order_id"]),
    ("survey.answered", &["survey_id", "kind", "score", "scale"]),
    ("survey.expired", &["survey_id", "kind"]),
    ("survey.offered", &["survey_id", "kind"]),
    ("usage.recorded", &["service"]),
];

/// What a listed type requires; `None` for one that is not listed.
#[must_use]
pub fn required(kind: &str) -> Option<&'static [&'static str]> {
    let found = VOCABULARY.binary_search_by_key(&kind, |(listed, _)| listed).ok()?;
    Some(VOCABULARY[found].1)
}

/// Whether every event of a type carries a field of the envelope or an attribute; `None` for a type that is not listed.
#[must_use]
pub fn carries(kind: &str, field: &str) -> Option<bool> {
    if matches!(field, "type" | "channel") {
        return Some(true);
    }
    let required = match kind {
        "sentiment.scored" => &["<text>", "score", "label", "confidence"],
        _ => required(kind)?,
    };
    Some(match field {
        "role" => required.contains(&"<text>"),
        "session" => required.contains(&"<session>"),
        "conversation" => required.contains(&"<conversation>"),
        _ => required.contains(&field),
    })
}

/// Whether an attribute names a thing, so that `007` and `7` are two of them however they are written.
#[must_use]
pub fn is_name(attribute: &str) -> bool {
    const NAMES: [&str; 5] = ["id", "code", "coupon", "message_hash", "sku"];
    attribute.ends_with("_id") || NAMES.contains(&attribute)
}

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A text, as every name of a thing is.
    Text,
    /// A whole number.
    Long,
    /// Any number.
    Double,
    /// A truth value.
    Boolean,
}

impl Holds {
    /// As documents call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Long => "whole number",
            Self::Double => "number",
            Self::Boolean => "true or false",
        }
    }
}

/// What attributes of listed types hold, in alphabetical order. What one sender writes as a number and another as a word (a step, a
/// status) or as a time in one of two ways (`ends_at`) is not listed.
pub const HOLDS: &[(&str, Holds)] = &[
    ("attempt", Holds::Long),
    ("brand", Holds::Text),
    ("campaign", Holds::Text),
    ("category", Holds::Text),
    ("code", Holds::Text),
    ("confidence", Holds::Double),
    ("count", Holds::Long),
    ("coupon", Holds::Text),
    ("direction", Holds::Text),
    ("disconnect", Holds::Text),
    ("disposition", Holds::Text),
    ("error", Holds::Text),
    ("fee", Holds::Double),
    ("form", Holds::Text),
    ("free", Holds::Long),
    ("handle_ms", Holds::Long),
    ("hard", Holds::Boolean),
    ("held_ms", Holds::Long),
    ("intent", Holds::Text),
    ("kind", Holds::Text),
    ("label", Holds::Text),
    ("message_hash", Holds::Text),
    ("method", Holds::Text),
    ("name", Holds::Text),
    ("network", Holds::Text),
    ("price", Holds::Double),
    ("public", Holds::Boolean),
    ("purpose", Holds::Text),
    ("quantity", Holds::Double),
    ("query", Holds::Text),
    ("queue", Holds::Text),
    ("rating", Holds::Double),
    ("reason", Holds::Text),
    ("region", Holds::Text),
    ("repeated", Holds::Boolean),
    ("resolved", Holds::Boolean),
    ("results", Holds::Long),
    ("scale", Holds::Double),
    ("score", Holds::Double),
    ("screen", Holds::Text),
    ("service", Holds::Text),
    ("sku", Holds::Text),
    ("state", Holds::Text),
    ("surface", Holds::Text),
    ("target", Holds::Text),
    ("task", Holds::Text),
    ("to_queue", Holds::Text),
    ("topic", Holds::Text),
    ("url", Holds::Text),
    ("variant", Holds::Text),
    ("waited_ms", Holds::Long),
    ("wrap_up_ms", Holds::Long),
];

/// Types that stand on no topic: they are offered to patterns behind the record from which they are derived.
pub const DERIVED: [&str; 1] = ["sentiment.scored"];

/// Whether a type is listed, or derived from one that is.
#[must_use]
pub fn is_listed(kind: &str) -> bool {
    required(kind).is_some() || DERIVED.contains(&kind)
}

/// What an attribute of an event of this type holds; `None` where the vocabulary does not say. Ids, money and scores hold the same on
/// types of one's own.
#[must_use]
pub fn holds(kind: &str, attribute: &str) -> Option<Holds> {
    match attribute {
        "value" | "sentiment.score" | "sentiment.confidence" => return Some(Holds::Double),
        "currency" => return Some(Holds::Text),
        _ if attribute.ends_with("_id") => return Some(Holds::Text),
        _ if !is_listed(kind) => return None,
        _ => {}
    }
    let found = HOLDS.binary_search_by_key(&attribute, |(name, _)| name).ok()?;
    Some(HOLDS[found].1)
}

/// Gives numbers the type that the vocabulary says: writers of JSON print 2 for 2.0, and senders write ids as numbers, some as 7.0. A
/// whole number becomes a double or a text, a double without fraction a whole number or the text of one. Everything else stays as it
/// was sent.
pub fn conform(kind: &str, attributes: &mut Attributes) {
    for (name, value) in attributes {
        let conformed = match (&*value, holds(kind, name)) {
            #[expect(clippy::cast_precision_loss, reason = "the double nearest to it")]
            (Attribute::Long(whole), Some(Holds::Double)) => Attribute::Double(*whole as f64),
            (Attribute::Long(whole), Some(Holds::Text)) => Attribute::Text(whole.to_string()),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and far below 2^63")]
            (Attribute::Double(number), Some(wanted @ (Holds::Long | Holds::Text)))
                if number.fract() == 0.0 && number.abs() < 1e15 =>
            {
                let whole = *number as i64;
                if wanted == Holds::Text {
                    Attribute::Text(whole.to_string())
                } else {
                    Attribute::Long(whole)
                }
            }
            _ => continue,
        };
        *value = conformed;
    }
}

/// Whether a text has the form of a type: `object.verb`, lower snake case.
#[must_use]
pub fn is_type(text: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split_once('.')
        .is_some_and(|(object, verb)| word(object) && word(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_each_type_once() {
        assert!(VOCABULARY.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(
            required("order.completed"),
            Some(["order_id", "value", "currency"].as_slice())
        );
        assert_eq!(required("gift.card_redeemed"), None);
    }
    #[test]
    fn numbers_become_what_the_vocabulary_says() {
        assert!(HOLDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let conformed = |kind: &str, name: &str, value: Attribute| {
            let mut attributes = Attributes::from([(name.to_owned(), value)]);
            conform(kind, &mut attributes);
            attributes.remove(name).expect("there")
        };
        let text = |text: &str| Attribute::Text(text.to_owned());
        for (kind, name, sent, expected) in [
            ("order.completed", "value", Attribute::Long(2), Attribute::Double(2.0)),
            ("own.type", "value", Attribute::Long(2), Attribute::Double(2.0)),
            ("product.viewed", "product_id", Attribute::Long(7), text("7")),
            ("own.type", "gift_id", Attribute::Long(7), text("7")),
            ("order.completed", "order_id", Attribute::Double(7.0), text("7")),
            ("order.completed", "order_id", Attribute::Double(-0.0), text("0")),
            (
                "order.completed",
                "order_id",
                Attribute::Double(7.5),
                Attribute::Double(7.5),
            ),
            (
                "order.completed",
                "order_id",
                Attribute::Double(1e15),
                Attribute::Double(1e15),
            ),
            ("own.type", "count", Attribute::Double(7.0), Attribute::Double(7.0)),
            ("click.raged", "count", Attribute::Double(7.0), Attribute::Long(7)),
            ("click.raged", "count", Attribute::Double(7.5), Attribute::Double(7.5)),
            ("order.completed", "value", text("2"), text("2")),
            (
                "sentiment.scored",
                "score",
                Attribute::Long(-1),
                Attribute::Double(-1.0),
            ),
            ("checkout.step_viewed", "step", Attribute::Long(2), Attribute::Long(2)),
        ] {
            assert_eq!(conformed(kind, name, sent), expected, "{kind} {name}");
        }
    }

    #[test]
    fn it_is_known_what_a_listed_type_carries() {
        for (kind, field, expected) in [
            ("order.completed", "value", Some(true)),
            ("order.completed", "channel", Some(true)),
            ("order.completed", "reason", Some(false)),
            ("order.completed", "conversation", Some(false)),
            ("message.sent", "conversation", Some(true)),
            ("message.sent", "role", Some(true)),
            ("message.sent", "sentiment.score", Some(false)),
            ("sentiment.scored", "score", Some(true)),
            ("own.type", "type", Some(true)),
            ("own.type", "value", None),
        ] {
            assert_eq!(carries(kind, field), expected, "{kind} {field}");
        }
    }

    #[test]
    fn a_type_is_two_words_and_a_dot() {
        for (text, expected) in [
            ("a.b", true),
            ("cart.product_added", true),
            ("a1.b2", true),
            ("a", false),
            ("A.b", false),
            ("a.b.c", false),
            ("a.", false),
            ("_a.b", false),
            ("a b.c", false),
        ] {
            assert_eq!(is_type(text), expected, "{text}");
        }
    }
}
