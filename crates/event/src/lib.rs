//! The nouns of Waymark: events, identifiers, channels, sentiment, signals, interventions, profiles, times.
//!
//! Plain values without behaviour beyond their own invariants. Field names are those of the published
//! schemas in `schemas/`; `codec` turns them into bytes and back.

mod event;
mod names;
mod outcome;
mod output;
mod profile;
mod sentiment;
mod value;
pub mod vocabulary;

pub use event::{
    Attribute, Attributes, Consent, Event, EventRef, Identifier, LINK_FROM, LINK_TO, Product, Text, Trace, flag,
};
pub use names::{
    Action, Arm, Band, Channel, ConsentStatus, Effect, IdentifierKind, InterventionState, Label, LangSource, Modality,
    Mode, OutChannel, Phase, PromiseStatus, Role, Tier, TrendLabel, WithheldReason,
};
pub use outcome::{Outcome, Survey};
pub use output::{
    Absence, CancelCause, Candidate, ChannelChoice, ConsentCheck, Experiment, Intervention, Mandate, Offer, Pressure,
    Route, Seen, Signal, Suggestion, TimelineEntry, Withheld,
};
pub use profile::{
    Answer, Case, ChannelUse, ConsentState, Contract, Conversation, CustomerValue, Effort, KnownIdentifier, Pending,
    PhaseState, Profile, Promise, Risk, SentimentState,
};
pub use sentiment::{EventSentiment, Evidence, Score, Sentiment};
pub use value::{Decimal, Millis, OutputId};
