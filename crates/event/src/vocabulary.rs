//! The listed event types, and which attributes each must carry.
//!
//! A name in angle brackets is an envelope field (`<session>`, `<conversation>`, `<text>`), not an attribute. Unlisted types
//! are accepted elsewhere, flagged and matchable.

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

/// Whether an attribute names a thing, so that `007` and `7` are two of them however they are written.
#[must_use]
pub fn is_name(attribute: &str) -> bool {
    const NAMES: [&str; 5] = ["id", "code", "coupon", "message_hash", "sku"];
    attribute.ends_with("_id") || NAMES.contains(&attribute)
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
}
