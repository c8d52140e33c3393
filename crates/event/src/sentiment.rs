//! What was read from a text.

use std::collections::BTreeMap;

use crate::{Channel, Event, EventRef, Label, LangSource, Modality, Role, Tier};

/// The part of a score that travels on the event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventSentiment {
    /// The polarity.
    pub label: Label,
    /// −1 to 1; `None` when unscored.
    pub score: Option<f64>,
    /// The calibrated chance that the label is right; `None` when unscored.
    pub confidence: Option<f64>,
    /// The language scored in, ISO 639-1, or `und`.
    pub lang: Option<String>,
    /// Service signals by name, 0 to 1.
    pub signals: BTreeMap<String, f64>,
}

impl From<&Score> for EventSentiment {
    fn from(score: &Score) -> Self {
        Self {
            label: score.label,
            score: score.score,
            confidence: score.confidence,
            lang: score.lang.clone(),
            signals: score.signals.clone(),
        }
    }
}

/// Everything that scoring one text gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Score {
    /// The language scored in, ISO 639-1; `None` where none could be told.
    pub lang: Option<String>,
    /// What told the language.
    pub lang_source: LangSource,
    /// The polarity.
    pub label: Label,
    /// −1 to 1; `None` when unscored.
    pub score: Option<f64>,
    /// The calibrated chance that the label is right; `None` when unscored.
    pub confidence: Option<f64>,
    /// The negative weight found.
    pub neg: f64,
    /// The positive weight found.
    pub pos: f64,
    /// Whether the text speaks both ways.
    pub mixed: bool,
    /// The share of words that a rule or lexicon knew.
    pub coverage: f64,
    /// The kind of model.
    pub tier: Tier,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// The name of the calibration, if any.
    pub calibration: Option<String>,
    /// What decided.
    pub evidence: Vec<Evidence>,
    /// Service signals by name, 0 to 1.
    pub signals: BTreeMap<String, f64>,
    /// Why nothing was scored.
    pub abstain_reason: Option<String>,
    /// Whether the text was cut before scoring.
    pub truncated: bool,
}

/// One hit in a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// First byte, in the original UTF-8.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// Its weight after the rules.
    pub weight: f64,
    /// The rule that applied.
    pub rule: String,
    /// The lexicon's entry, never the customer's words.
    pub entry: Option<String>,
}

/// One scored text, as published on `journey.sentiment`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sentiment {
    /// The tenant.
    pub tenant: String,
    /// The customer key.
    pub customer: String,
    /// The event, and the raw record that brought it.
    pub text_ref: EventRef,
    /// The event's channel.
    pub channel: Channel,
    /// The event's visit.
    pub session: Option<String>,
    /// The event's conversation.
    pub conversation: Option<String>,
    /// Who wrote or spoke it.
    pub role: Role,
    /// Written, transcribed or heard.
    pub modality: Modality,
    /// What was read.
    pub score: Score,
}

impl Sentiment {
    /// The record of an event's text. `position` is where the event was read, as `topic/partition/offset`.
    #[must_use]
    pub fn of(event: &Event, customer: &str, position: String, score: Score) -> Self {
        let text = event.text.as_ref();
        Self {
            tenant: event.tenant.clone(),
            customer: customer.to_owned(),
            text_ref: EventRef {
                id: event.id.clone(),
                source: event.source.clone(),
                kind: event.kind.clone(),
                time: event.time,
                position,
            },
            channel: event.channel,
            session: event.session.clone(),
            conversation: event.conversation.clone(),
            role: text.map_or(Role::Unknown, |text| text.role),
            modality: text.map_or(Modality::Unknown, |text| text.modality),
            score,
        }
    }
}
