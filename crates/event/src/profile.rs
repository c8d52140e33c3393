//! The bounded 360° view of one customer, as published on `journey.profiles`.

use std::collections::BTreeMap;

use crate::{
    Band, Channel, ConsentStatus, Decimal, EventRef, Identifier, InterventionState, Label, Millis, OutChannel,
    OutputId, Phase, Product, PromiseStatus, Role, TimelineEntry, TrendLabel,
};

/// The whole view of one customer: bounded, compacted by customer key.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Profile {
    pub tenant: String,
    pub customer: String,
    pub revision: i64,
    pub updated_at: Millis,
    pub forwarded_to: Option<String>,
    pub identifiers: Vec<KnownIdentifier>,
    pub lang: Option<String>,
    pub time_zone: Option<String>,
    pub phase: Phase,
    pub phases: Vec<PhaseState>,
    pub value: Option<CustomerValue>,
    pub sentiment: Option<SentimentState>,
    pub effort: Option<Effort>,
    pub promises: Vec<Promise>,
    pub contracts: Vec<Contract>,
    pub renewal_date: Option<Millis>,
    pub cases: Vec<Case>,
    pub conversations: Vec<Conversation>,
    pub cart_id: Option<String>,
    pub cart: Vec<Product>,
    pub channels: Vec<ChannelUse>,
    pub consent: BTreeMap<String, ConsentState>,
    pub interventions: Vec<Pending>,
    pub at_risk: Vec<Risk>,
    pub surveys: Vec<Answer>,
    pub preferences: BTreeMap<String, String>,
    pub timeline: Vec<TimelineEntry>,
    pub erased_at: Option<Millis>,
    pub quarantined: bool,
}

/// The published record `Answer`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Answer {
    pub survey_id: String,
    pub kind: String,
    pub score: f64,
    pub scale: f64,
    pub time: Millis,
    pub agent_id: Option<String>,
}

/// The published record `Risk`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Risk {
    pub pattern: String,
    pub since: Millis,
    pub priority: i32,
    pub because: BTreeMap<String, String>,
}

/// The published record `Pending`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Pending {
    pub intervention: OutputId,
    pub pattern: String,
    pub channel: OutChannel,
    pub state: InterventionState,
    pub created_at: Millis,
    pub expires_at: Option<Millis>,
}

/// The published record `ConsentState`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct ConsentState {
    pub status: ConsentStatus,
    pub since: Option<Millis>,
    pub reference: Option<String>,
}

/// The published record `ChannelUse`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct ChannelUse {
    pub channel: Channel,
    pub contacts: i32,
    pub last_at: Option<Millis>,
    pub offered: i32,
    pub accepted: i32,
    pub ignored: i32,
    pub preference: f64,
}

/// The published record `Conversation`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Conversation {
    pub conversation: String,
    pub channel: Channel,
    pub started_at: Millis,
    pub owner: Option<String>,
    pub last_from: Role,
    pub last_at: Option<Millis>,
}

/// The published record `Case`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Case {
    pub case_id: String,
    pub opened_at: Millis,
    pub reason: Option<String>,
    pub reopened: i32,
}

/// The published record `Contract`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Contract {
    pub contract_id: String,
    pub product: Option<String>,
    pub started_at: Option<Millis>,
    pub ends_at: Option<Millis>,
    pub auto_renew: Option<bool>,
    pub monthly: Option<Decimal>,
    pub currency: Option<String>,
    pub status: String,
}

/// The published record `Promise`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Promise {
    pub promise_id: String,
    pub kind: String,
    pub made_at: Millis,
    pub due_at: Option<Millis>,
    pub made_by: Role,
    pub amount: Option<Decimal>,
    pub currency: Option<String>,
    pub reference: Option<String>,
    pub status: PromiseStatus,
    pub closed_by: Option<EventRef>,
}

/// The published record `Effort`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct Effort {
    pub points: i32,
    pub contacts: i32,
    pub repeats: i32,
    pub channel_switches: i32,
    pub transfers: i32,
    pub menu_steps: i32,
    pub input_failures: i32,
    pub bot_fallbacks: i32,
    pub queues_abandoned: i32,
    pub cases_reopened: i32,
    pub rage_clicks: i32,
    pub errors: i32,
    pub waited_ms: i64,
    pub held_ms: i64,
    pub wrap_up_ms: i64,
    pub goal: Option<String>,
}

/// The published record `SentimentState`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct SentimentState {
    pub label: Label,
    pub mean: Option<f64>,
    pub ewma: Option<f64>,
    pub trend: Option<f64>,
    pub trend_label: TrendLabel,
    pub worst: Option<f64>,
    pub n_texts: i32,
    pub n_scored: i32,
    pub negative_run: i32,
    pub signals: BTreeMap<String, f64>,
    pub last_negative: Option<EventRef>,
    pub updated_at: Option<Millis>,
}

/// The published record `CustomerValue`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct CustomerValue {
    pub currency: String,
    pub orders: i32,
    pub lifetime: Option<Decimal>,
    pub cart: Option<Decimal>,
    pub monthly: Option<Decimal>,
    pub last_order_at: Option<Millis>,
    pub band: Band,
}

/// The published record `PhaseState`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct PhaseState {
    pub phase: Phase,
    pub since: Millis,
    pub until: Option<Millis>,
    pub reference: Option<String>,
}

/// The published record `KnownIdentifier`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/profile.avsc")]
pub struct KnownIdentifier {
    pub identifier: Identifier,
    pub key: String,
    pub first_seen: Millis,
    pub last_seen: Millis,
    pub shared: bool,
}
