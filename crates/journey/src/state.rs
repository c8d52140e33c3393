//! What is remembered of one customer, grouped by how often it changes: each group is one stored row.

use std::collections::BTreeMap;

use event::{Arm, Channel, InterventionState, Millis, OutChannel, OutputId, Profile, TimelineEntry};
use pattern::Runs;

use crate::{Languages, Link, Origin, Rest};

/// Everything that is remembered of one customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Journey {
    /// What changes with every event.
    pub core: Core,
    /// The published view; its `timeline`, `sentiment`, `effort` and `interventions` are filled when it is published.
    pub profile: Profile,
    /// What customers' texts said.
    pub texts: Texts,
    /// What languages they were in.
    pub languages: Languages,
    /// Customers that this journey's identifier was linked with in the last thirty days.
    pub links: Vec<Link>,
    /// Journeys that were handed over to this one in the last thirty days, by the index that was next when they came. What stands under
    /// an index never changes.
    pub origins: BTreeMap<u64, Origin>,
    /// Open interventions that rest on events of such a journey.
    pub rests: Vec<Rest>,
    /// What cost the customer trouble in the last seven days, oldest first.
    pub efforts: Vec<EffortEntry>,
    /// What was decided.
    pub decisions: Decisions,
    /// Recent events by their index, coalesced.
    pub timeline: BTreeMap<u64, TimelineEntry>,
    /// Open runs of patterns.
    pub runs: Runs,
}

/// What changes with every event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Core {
    /// The index of the next event.
    pub next_index: u64,
    /// The latest events, oldest first, by which repeats are noticed.
    pub recent: Vec<Recent>,
    /// Where the customer was last seen.
    pub channel: Channel,
    /// When.
    pub seen_at: Option<Millis>,
    /// The visit.
    pub session: Option<String>,
    /// The call, chat or thread.
    pub conversation: Option<String>,
    /// Events of this customer that may still come at once, in thousandths; see `limits.customer_rate`.
    pub tokens: i64,
    /// When the tokens were last counted, by arrival.
    pub tokens_at: Option<Millis>,
    /// Whether something that a reader acts on has changed since the profile was published.
    pub changed: bool,
    /// When the profile was last published.
    pub published_at: Option<Millis>,
    /// The last trace context seen.
    pub traceparent: Option<String>,
}

/// One event, to notice its repeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    /// BLAKE3-128 of source and id.
    pub hash: [u8; 16],
    /// When it was processed, on the customer's clock.
    pub at: Millis,
}

/// What customers' texts said, as far as means and trends need it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Texts {
    /// Texts, scored or not.
    pub n_texts: i32,
    /// Scored ones.
    pub n_scored: i32,
    /// Sum of scores.
    pub sum: f64,
    /// The first three scores.
    pub first: Vec<Scored>,
    /// The last three scores.
    pub last: Vec<Scored>,
    /// Decayed sum of scores as of `decayed_at`.
    pub decayed_sum: f64,
    /// Decayed number of scores as of `decayed_at`.
    pub decayed_n: f64,
    /// When the decayed figures were last brought forward.
    pub decayed_at: Option<Millis>,
    /// Negative texts in a row, the last included.
    pub negative_run: i32,
    /// The worst score.
    pub worst: Option<f64>,
    /// The label of the last text.
    pub label: event::Label,
    /// Service signals: the strongest of the last three texts.
    pub signals: BTreeMap<String, f64>,
    /// The last negative text.
    pub last_negative: Option<event::EventRef>,
    /// The last text.
    pub updated_at: Option<Millis>,
}

/// The score of one text.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scored {
    /// On the customer's clock.
    pub at: Millis,
    /// −1 to 1.
    pub score: f64,
}

/// What kind of trouble; see `events.md`, effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum EffortKind {
    /// A contact begun by the customer; costs nothing by itself.
    #[default]
    Contact,
    /// A minute waited.
    Waited,
    /// A minute held.
    Held,
    /// A menu step.
    MenuStep,
    /// A rage click.
    RageClick,
    /// An error shown.
    Error,
    /// An input that the menu did not take.
    InputFailed,
    /// A bot that did not understand.
    BotFallback,
    /// A transfer.
    Transfer,
    /// A contact on another channel than the one before.
    ChannelSwitch,
    /// A contact that repeats one.
    Repeat,
    /// A queue abandoned.
    QueueAbandoned,
    /// A case reopened.
    CaseReopened,
    /// The agent's work afterwards; costs the customer nothing.
    WrapUp,
}

impl EffortKind {
    /// Every kind, in the order of its stored number.
    pub const ALL: &'static [Self] = &[
        Self::Contact,
        Self::Waited,
        Self::Held,
        Self::MenuStep,
        Self::RageClick,
        Self::Error,
        Self::InputFailed,
        Self::BotFallback,
        Self::Transfer,
        Self::ChannelSwitch,
        Self::Repeat,
        Self::QueueAbandoned,
        Self::CaseReopened,
        Self::WrapUp,
    ];
}

/// One piece of trouble.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EffortEntry {
    /// When.
    pub at: Millis,
    /// What.
    pub kind: EffortKind,
    /// Milliseconds, for what is measured in time.
    pub ms: i64,
    /// Where a contact happened.
    pub channel: Channel,
}

/// What was decided for the customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decisions {
    /// By pattern.
    pub by_pattern: BTreeMap<String, Decided>,
    /// New contacts of the last thirty days, oldest first.
    pub shown: Vec<Shown>,
    /// Interventions that may still be taken back or answered.
    pub open: Vec<Open>,
}

/// What was last decided on one pattern.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decided {
    /// The last intervention that went out.
    pub acted_at: Option<Millis>,
    /// The arm first given.
    pub arm: Arm,
}

/// One new contact.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// The intervention.
    pub intervention: OutputId,
    /// When it was sent, or shown where that was reported.
    pub at: Millis,
}

/// An intervention whose story has not ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Open {
    /// Its id.
    pub intervention: OutputId,
    /// The pattern.
    pub pattern: String,
    /// The pattern's version.
    pub pattern_version: i32,
    /// What was asked for.
    pub kind: String,
    /// Where it went.
    pub channel: OutChannel,
    /// How far it has come.
    pub state: InterventionState,
    /// When it was decided.
    pub created_at: Millis,
    /// Until when it makes sense.
    pub expires_at: Millis,
    /// Event types that take it back.
    pub cancel_on: Vec<String>,
    /// 0 to 100.
    pub priority: i32,
    /// Whether the customer is contacted anew by it.
    pub new_contact: bool,
    /// The signal behind it.
    pub signal: OutputId,
}
