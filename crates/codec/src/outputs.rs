//! What Waymark publishes beside the timeline: Avro single-object encoding under the schemas of `schemas/`, and JSON for people.

use event::{
    Absence, Action, Answer, Arm, Band, CancelCause, Candidate, Case, Channel, ChannelChoice, ChannelUse, ConsentCheck,
    ConsentState, ConsentStatus, Contract, Conversation, CustomerValue, Effect, Effort, EventRef, Evidence, Experiment,
    Identifier, IdentifierKind, Intervention, InterventionState, KnownIdentifier, Label, LangSource, Mandate, Modality,
    Mode, Offer, OutChannel, Outcome, Pending, Phase, PhaseState, Pressure, Product, Profile, Promise, PromiseStatus,
    Risk, Role, Route, Score, Seen, Sentiment, SentimentState, Signal, Suggestion, Survey, Tier, TimelineEntry, Trace,
    TrendLabel, Withheld, WithheldReason,
};
use serde_json::Value;

use crate::{
    Refusal,
    avro::{body, head},
    record::{Wire, record, symbols},
    wire::Reader,
};

symbols!(
    Action,
    Arm,
    Band,
    Channel,
    ConsentStatus,
    Effect,
    IdentifierKind,
    InterventionState,
    Label,
    LangSource,
    Modality,
    Mode,
    OutChannel,
    Phase,
    PromiseStatus,
    Role,
    Tier,
    TrendLabel,
    WithheldReason,
);

record!(Identifier {
    kind,
    value,
    namespace,
    verified
});
record!(Product {
    product_id,
    sku,
    name,
    variant,
    category,
    brand,
    price,
    currency,
    quantity,
    coupon,
    url
});
record!(Trace {
    traceparent,
    tracestate
});
record!(EventRef { id, source, kind as "type", time, position });
record!(Seen {
    step,
    types,
    count,
    first,
    last
});
record!(Absence {
    step,
    types,
    since,
    until
});
record!(Signal {
    id,
    tenant,
    customer,
    pattern,
    pattern_version,
    title,
    mode,
    opened_at,
    matched_at,
    by,
    seen,
    absent,
    because,
    priority,
    phase,
    intervention,
    withheld,
});
record!(CancelCause { reason, event });
record!(TimelineEntry { time, channel, kind as "type", title, count, conversation, score, origin, event });
record!(Offer {
    kind,
    percent,
    amount,
    currency,
    code_pool,
    valid_until,
    mandate
});
record!(Mandate {
    level,
    max_percent,
    max_amount,
    escalate_to
});
record!(Route {
    queue,
    skills,
    agent_id,
    reserved_until,
    owner,
    candidates
});
record!(Candidate {
    agent_id,
    score,
    reason
});
record!(Suggestion {
    opening,
    tone,
    articles,
    cobrowse
});
record!(ChannelChoice {
    channel,
    score,
    chosen,
    reason
});
record!(ConsentCheck {
    purpose,
    status,
    basis,
    checked_at
});
record!(Pressure {
    shown_24h,
    shown_7d,
    last_shown_at
});
record!(Experiment {
    arm,
    scope,
    bucket,
    percent,
    holdout,
    seed
});
record!(Withheld { reason, detail, until });
record!(Intervention {
    id,
    action,
    idempotency_key,
    tenant,
    customer,
    identifiers,
    verified,
    session,
    conversation,
    lang,
    kind,
    channel,
    pattern,
    pattern_version,
    signal,
    effect,
    automated,
    priority,
    created_at,
    not_before,
    expires_at,
    cancel_on,
    cancel_cause,
    because,
    seen,
    absent,
    phase,
    timeline,
    references,
    items,
    value,
    currency,
    sentiment,
    effort,
    offer,
    route,
    suggestion,
    channels,
    consent,
    pressure,
    experiment,
    withheld,
    trace,
});
record!(SentimentState {
    label,
    mean,
    ewma,
    trend,
    trend_label,
    worst,
    n_texts,
    n_scored,
    negative_run,
    signals,
    last_negative,
    updated_at,
});
record!(KnownIdentifier {
    identifier,
    key,
    first_seen,
    last_seen,
    shared
});
record!(PhaseState {
    phase,
    since,
    until,
    reference
});
record!(CustomerValue {
    currency,
    orders,
    lifetime,
    cart,
    monthly,
    last_order_at,
    band
});
record!(Effort {
    points,
    contacts,
    repeats,
    channel_switches,
    transfers,
    menu_steps,
    input_failures,
    bot_fallbacks,
    queues_abandoned,
    cases_reopened,
    rage_clicks,
    errors,
    waited_ms,
    held_ms,
    wrap_up_ms,
    goal,
});
record!(Promise {
    promise_id,
    kind,
    made_at,
    due_at,
    made_by,
    amount,
    currency,
    reference,
    status,
    closed_by
});
record!(Contract {
    contract_id,
    product,
    started_at,
    ends_at,
    auto_renew,
    monthly,
    currency,
    status
});
record!(Case {
    case_id,
    opened_at,
    reason,
    reopened
});
record!(Conversation {
    conversation,
    channel,
    started_at,
    owner,
    last_from,
    last_at
});
record!(ChannelUse {
    channel,
    contacts,
    last_at,
    offered,
    accepted,
    ignored,
    preference
});
record!(ConsentState {
    status,
    since,
    reference
});
record!(Pending {
    intervention,
    pattern,
    channel,
    state,
    created_at,
    expires_at
});
record!(Risk {
    pattern,
    since,
    priority,
    because
});
record!(Answer {
    survey_id,
    kind,
    score,
    scale,
    time,
    agent_id
});
record!(Profile {
    tenant,
    customer,
    revision,
    updated_at,
    forwarded_to,
    identifiers,
    lang,
    time_zone,
    phase,
    phases,
    value,
    sentiment,
    effort,
    promises,
    contracts,
    renewal_date,
    cases,
    conversations,
    cart_id,
    cart,
    channels,
    consent,
    interventions,
    at_risk,
    surveys,
    preferences,
    timeline,
    erased_at,
    quarantined,
});
record!(Evidence {
    start,
    end,
    weight,
    rule,
    entry
});
record!(Score {
    lang,
    lang_source,
    label,
    score,
    confidence,
    neg,
    pos,
    mixed,
    coverage,
    tier,
    model,
    model_version,
    calibration,
    evidence,
    signals,
    abstain_reason,
    truncated,
});
record!(Survey {
    kind,
    score,
    scale,
    time
});
record!(Outcome {
    intervention, revision, is_final as "final", tenant, customer, pattern, pattern_version, kind, channel, arm, withheld, state,
    created_at, delivered_at, shown_at, answered_at, handled_at, closed_at, window_until, goal, converted, conversion, value,
    currency, resolved, survey, agent_id, queue, category, disposition, handle_ms, offer_used, offer_cost, complained, withdrew,
});

/// In the schema the score's fields stand beside the others.
impl Wire for Sentiment {
    fn put(&self, out: &mut Vec<u8>) {
        self.tenant.put(out);
        self.customer.put(out);
        self.text_ref.put(out);
        self.channel.put(out);
        self.session.put(out);
        self.conversation.put(out);
        self.role.put(out);
        self.modality.put(out);
        self.score.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, Refusal> {
        // Fields are read in the order in which they stand here.
        Ok(Self {
            tenant: Wire::get(from)?,
            customer: Wire::get(from)?,
            text_ref: Wire::get(from)?,
            channel: Wire::get(from)?,
            session: Wire::get(from)?,
            conversation: Wire::get(from)?,
            role: Wire::get(from)?,
            modality: Wire::get(from)?,
            score: Wire::get(from)?,
        })
    }

    fn json(&self) -> Value {
        let mut entries = serde_json::Map::new();
        let fields = [
            ("tenant", self.tenant.json()),
            ("customer", self.customer.json()),
            ("text_ref", self.text_ref.json()),
            ("channel", self.channel.json()),
            ("session", self.session.json()),
            ("conversation", self.conversation.json()),
            ("role", self.role.json()),
            ("modality", self.modality.json()),
        ];
        for (name, value) in fields {
            crate::record::enter(&mut entries, name, value);
        }
        if let Value::Object(score) = self.score.json() {
            entries.extend(score);
        }
        Value::Object(entries)
    }
}

/// A record that stands on a topic of its own.
pub trait Published: Sized {
    /// CRC-64-AVRO of the parsing canonical form of its schema; a test compares.
    const FINGERPRINT: u64;

    /// The single-object encoding.
    fn encode(&self) -> Vec<u8>;

    /// Reads the single-object encoding under the schema of this binary.
    ///
    /// # Errors
    /// `too_large`, `format_unknown`, `schema_unknown`, or `avro_malformed` with the offset.
    fn decode(value: &[u8]) -> Result<Self, Refusal>;

    /// As JSON, for people; nulls are left out.
    fn to_json(&self) -> Value;
}

macro_rules! published {
    ($($type:ty = $fingerprint:literal),+ $(,)?) => {
        $(impl Published for $type {
            const FINGERPRINT: u64 = $fingerprint;

            fn encode(&self) -> Vec<u8> {
                let mut out = Vec::with_capacity(512);
                head(&mut out, Self::FINGERPRINT);
                self.put(&mut out);
                out
            }

            fn decode(value: &[u8]) -> Result<Self, Refusal> {
                let mut from = body(value, &[Self::FINGERPRINT])?;
                let read = <Self as Wire>::get(&mut from)?;
                from.end()?;
                Ok(read)
            }

            fn to_json(&self) -> Value {
                self.json()
            }
        })+
    };
}

published! {
    Signal = 0x85b0_d60b_3fda_354f,
    Intervention = 0xc3a1_904a_2563_28a6,
    Profile = 0x13e8_2cf7_dd0c_4d2a,
    Sentiment = 0xb689_1271_77a0_d0e3,
    Outcome = 0x06c1_b4a0_fcd2_83ad,
}
