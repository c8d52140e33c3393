//! What became of an intervention.

use crate::{Arm, Decimal, EventRef, InterventionState, Millis, OutChannel, OutputId, WithheldReason};

/// What became of one intervention, holdouts included, as published on `journey.outcomes`.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/outcome.avsc")]
pub struct Outcome {
    pub intervention: OutputId,
    pub revision: i32,
    pub is_final: bool,
    pub tenant: String,
    pub customer: String,
    pub pattern: String,
    pub pattern_version: i32,
    pub kind: String,
    pub channel: OutChannel,
    pub arm: Arm,
    pub withheld: Option<WithheldReason>,
    pub state: InterventionState,
    pub created_at: Millis,
    pub delivered_at: Option<Millis>,
    pub shown_at: Option<Millis>,
    pub answered_at: Option<Millis>,
    pub handled_at: Option<Millis>,
    pub closed_at: Option<Millis>,
    pub window_until: Millis,
    pub goal: Vec<String>,
    pub converted: bool,
    pub conversion: Option<EventRef>,
    pub value: Option<Decimal>,
    pub currency: Option<String>,
    pub resolved: Option<bool>,
    pub survey: Option<Survey>,
    pub agent_id: Option<String>,
    pub queue: Option<String>,
    pub category: Option<String>,
    pub disposition: Option<String>,
    pub handle_ms: Option<i64>,
    pub offer_used: Option<bool>,
    pub offer_cost: Option<Decimal>,
    pub complained: bool,
    pub withdrew: bool,
}

/// The answer to a survey about the contact.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "described field by field in schemas/outcome.avsc")]
pub struct Survey {
    pub kind: String,
    pub score: f64,
    pub scale: f64,
    pub time: Millis,
}
