//! What Waymark says: signals and interventions.

use std::collections::BTreeMap;

use crate::{
    Action, Arm, Channel, ConsentStatus, Decimal, Effect, EventRef, Identifier, Millis, Mode, OutChannel, OutputId,
    Phase, Product, SentimentState, Trace, WithheldReason,
};

/// A pattern matched, with its evidence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Signal {
    /// Equal in a replay.
    pub id: OutputId,
    /// The tenant.
    pub tenant: String,
    /// The customer key.
    pub customer: String,
    /// The pattern's id.
    pub pattern: String,
    /// The pattern's version.
    pub pattern_version: i32,
    /// The pattern's title.
    pub title: String,
    /// Live or shadow.
    pub mode: Mode,
    /// The time of the first evidence.
    pub opened_at: Millis,
    /// The time of completion.
    pub matched_at: Millis,
    /// The join values, printed.
    pub by: BTreeMap<String, String>,
    /// What was seen.
    pub seen: Vec<Seen>,
    /// What did not happen.
    pub absent: Vec<Absence>,
    /// The reason, a sentence per language.
    pub because: BTreeMap<String, String>,
    /// 0 to 100.
    pub priority: i32,
    /// The customer's phase.
    pub phase: Phase,
    /// The intervention that followed.
    pub intervention: Option<OutputId>,
    /// Or the reason why none did.
    pub withheld: Option<WithheldReason>,
}

/// The evidence of one `see` step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// The step, counted over all steps of the pattern from 0 in file order.
    pub step: i32,
    /// The types that the step lists.
    pub types: Vec<String>,
    /// How many events matched the step.
    pub count: i32,
    /// The first.
    pub first: EventRef,
    /// The last, where it is another.
    pub last: Option<EventRef>,
}

/// One absence that held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Absence {
    /// The step, counted over all steps of the pattern from 0 in file order.
    pub step: i32,
    /// The types that did not come.
    pub types: Vec<String>,
    /// From when.
    pub since: Millis,
    /// Until when.
    pub until: Millis,
}

/// What a channel is asked to do, or would have been.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Intervention {
    pub id: OutputId,
    pub action: Action,
    pub idempotency_key: String,
    pub tenant: String,
    pub customer: String,
    pub identifiers: Vec<Identifier>,
    pub verified: bool,
    pub session: Option<String>,
    pub conversation: Option<String>,
    pub lang: Option<String>,
    pub kind: String,
    pub channel: OutChannel,
    pub pattern: String,
    pub pattern_version: i32,
    pub signal: Option<OutputId>,
    pub effect: Effect,
    pub automated: bool,
    pub priority: i32,
    pub created_at: Millis,
    pub not_before: Option<Millis>,
    pub expires_at: Millis,
    pub cancel_on: Vec<String>,
    pub cancel_cause: Option<CancelCause>,
    pub because: BTreeMap<String, String>,
    pub seen: Vec<Seen>,
    pub absent: Vec<Absence>,
    pub phase: Phase,
    pub timeline: Vec<TimelineEntry>,
    pub references: BTreeMap<String, String>,
    pub items: Vec<Product>,
    pub value: Option<Decimal>,
    pub currency: Option<String>,
    pub sentiment: Option<SentimentState>,
    pub effort: Option<i32>,
    pub offer: Option<Offer>,
    pub route: Option<Route>,
    pub suggestion: Option<Suggestion>,
    pub channels: Vec<ChannelChoice>,
    pub consent: Option<ConsentCheck>,
    pub pressure: Option<Pressure>,
    pub experiment: Option<Experiment>,
    pub withheld: Option<Withheld>,
    pub trace: Option<Trace>,
}

/// Why an intervention was withdrawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CancelCause {
    /// A reason code.
    pub reason: String,
    /// The event that caused it.
    pub event: Option<EventRef>,
}

/// One line of a customer's recent past.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimelineEntry {
    /// The event's own time.
    pub time: Millis,
    /// Where it happened.
    pub channel: Channel,
    /// Its type.
    pub kind: String,
    /// What to show: a product, an amount; never the customer's text.
    pub title: String,
    /// How many like it stand for this line.
    pub count: i32,
    /// The conversation.
    pub conversation: Option<String>,
    /// The sentiment of its text.
    pub score: Option<f64>,
    /// The weaker key it came from.
    pub origin: Option<String>,
    /// The event's id.
    pub event: Option<String>,
}

/// The bounds of an offer.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Offer {
    pub kind: String,
    pub percent: Option<f64>,
    pub amount: Option<Decimal>,
    pub currency: Option<String>,
    pub code_pool: Option<String>,
    pub valid_until: Option<Millis>,
    pub mandate: Option<Mandate>,
}

/// How far an agent may go alone.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Mandate {
    pub level: String,
    pub max_percent: Option<f64>,
    pub max_amount: Option<Decimal>,
    pub escalate_to: Option<String>,
}

/// To whom the contact should go.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Route {
    pub queue: String,
    pub skills: Vec<String>,
    pub agent_id: Option<String>,
    pub reserved_until: Option<Millis>,
    pub owner: Option<String>,
    pub candidates: Vec<Candidate>,
}

/// An agent who could take the contact.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Candidate {
    pub agent_id: String,
    pub score: f64,
    pub reason: Option<String>,
}

/// What the agent could say or open.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Suggestion {
    pub opening: Option<String>,
    pub tone: Option<String>,
    pub articles: Vec<String>,
    pub cobrowse: bool,
}

/// How one allowed channel ranked.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct ChannelChoice {
    pub channel: OutChannel,
    pub score: f64,
    pub chosen: bool,
    pub reason: Option<String>,
}

/// The permission that the decision rests on.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct ConsentCheck {
    pub purpose: String,
    pub status: ConsentStatus,
    pub basis: Option<String>,
    pub checked_at: Millis,
}

/// How often the customer was contacted lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Pressure {
    pub shown_24h: i32,
    pub shown_7d: i32,
    pub last_shown_at: Option<Millis>,
}

/// The arm that the customer is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Experiment {
    pub arm: Arm,
    pub scope: String,
    pub bucket: i32,
    pub percent: i32,
    pub holdout: i32,
    pub seed: String,
}

/// Why an intervention was decided against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/intervention.avsc")]
pub struct Withheld {
    pub reason: WithheldReason,
    pub detail: Option<String>,
    pub until: Option<Millis>,
}
