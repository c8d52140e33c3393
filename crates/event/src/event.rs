//! The canonical event: what `intake` accepts becomes one of these on the timeline.

use std::collections::BTreeMap;

use crate::{Channel, ConsentStatus, Decimal, EventSentiment, IdentifierKind, Millis, Modality, Role};

/// Marks that `intake` leaves on an event it had to correct.
pub mod flag {
    /// The time lay beyond intake's clock and was set to it.
    pub const TIME_CLAMPED: &str = "time_clamped";
    /// The time was absent; the record's timestamp stands in.
    pub const TIME_MISSING: &str = "time_missing";
    /// The time was corrected by the sender's clock offset.
    pub const TIME_CORRECTED: &str = "time_corrected";
    /// The id was derived from the record's position.
    pub const ID_DERIVED: &str = "id_derived";
    /// The type is not in the vocabulary.
    pub const TYPE_UNLISTED: &str = "type_unlisted";
    /// A listed type lacks a required attribute.
    pub const ATTRIBUTES_MISSING: &str = "attributes_missing";
    /// Attributes beyond a limit were cut.
    pub const ATTRIBUTES_DROPPED: &str = "attributes_dropped";
    /// Items beyond the limit were cut.
    pub const ITEMS_TRUNCATED: &str = "items_truncated";
    /// The text body was cut.
    pub const TEXT_TRUNCATED: &str = "text_truncated";
    /// An identifier identified nobody and was dropped.
    pub const IDENTIFIER_DROPPED: &str = "identifier_dropped";
    /// A voice tone without notice was dropped.
    pub const TONE_DROPPED: &str = "tone_dropped";
    /// The record was forwarded from a weaker key.
    pub const FORWARDED: &str = "forwarded";
}

/// On the copy of a link, or of its end, that intake writes under a weaker identifier's key: the stronger one's key. Nobody outside may
/// set it.
pub const LINK_TO: &str = "link_to";

/// On what a journey that has been handed over sends on: the key under which it first arrived. Nobody outside may set it.
pub const LINK_FROM: &str = "link_from";

/// One thing that happened to one customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// Unique together with `source` within a tenant.
    pub id: String,
    /// The producer's name for itself.
    pub source: String,
    /// `object.verb_past`.
    pub kind: String,
    /// When it happened, as far as `intake` allows.
    pub time: Millis,
    /// When gateway or broker took it.
    pub received: Option<Millis>,
    /// The producer's time, where `intake` corrected it.
    pub original_time: Option<Millis>,
    /// The tenant; `default` where none is named.
    pub tenant: String,
    /// Where it happened.
    pub channel: Channel,
    /// The producer's own word for the channel.
    pub medium: Option<String>,
    /// Whom it concerns, the strongest first.
    pub identifiers: Vec<Identifier>,
    /// The visit.
    pub session: Option<String>,
    /// The call, chat or mail thread.
    pub conversation: Option<String>,
    /// The business flow: cart, order, case.
    pub correlation: Option<String>,
    /// The id of the event that caused this one.
    pub causation: Option<String>,
    /// What else is known.
    pub attributes: Attributes,
    /// Products concerned.
    pub items: Vec<Product>,
    /// A text, if one was written or spoken.
    pub text: Option<Text>,
    /// Set by `intake` only.
    pub sentiment: Option<EventSentiment>,
    /// The consent at collection.
    pub consent: Option<Consent>,
    /// The W3C trace context.
    pub trace: Option<Trace>,
    /// What `intake` did to the event, see [`flag`].
    pub flags: Vec<String>,
    /// State in transit, on `journey.handed_over` only.
    pub payload: Option<Vec<u8>>,
}

/// Attributes in key order, so that equal events are equal bytes.
pub type Attributes = BTreeMap<String, Attribute>;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// Present without a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// Any other number.
    Double(f64),
    /// A string.
    Text(String),
    /// A list of strings.
    List(Vec<String>),
}

/// One identifier of a person, device, contract or agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Identifier {
    /// What it identifies.
    pub kind: IdentifierKind,
    /// The normalised value.
    pub value: String,
    /// Within which it is unique: a network, a conversation; empty for most kinds.
    pub namespace: String,
    /// Whether the customer has proved it.
    pub verified: bool,
}

impl Identifier {
    /// Bytes of the longest value.
    pub const MAX_BYTES: usize = 320;
}

/// A product on an event or in a cart.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Product {
    pub product_id: String,
    pub sku: Option<String>,
    pub name: Option<String>,
    pub variant: Option<String>,
    pub category: Option<String>,
    pub brand: Option<String>,
    pub price: Option<Decimal>,
    pub currency: Option<String>,
    pub quantity: f64,
    pub coupon: Option<String>,
    pub url: Option<String>,
}

/// A text and how it came about.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    /// The body, redacted before the timeline.
    pub body: String,
    /// A language hint, ISO 639-1.
    pub lang: Option<String>,
    /// Who wrote or spoke it.
    pub role: Role,
    /// Written, transcribed or heard.
    pub modality: Modality,
    /// The recogniser's confidence, 0 to 1.
    pub asr_confidence: Option<f64>,
    /// The tone of a voice, −1 to 1.
    pub tone: Option<f64>,
    /// Whether the body was cut.
    pub truncated: bool,
}

/// Consent as it stood when the event was collected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consent {
    /// By purpose: `service`, `marketing`, `profiling`.
    pub purposes: BTreeMap<String, ConsentStatus>,
    /// When it was given or refused.
    pub captured: Option<Millis>,
    /// The proof's name at the sender.
    pub reference: Option<String>,
}

/// A W3C trace context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// `traceparent`.
    pub traceparent: String,
    /// `tracestate`.
    pub tracestate: Option<String>,
}

/// Names one event on the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct EventRef {
    /// The event's id.
    pub id: String,
    /// The event's source.
    pub source: String,
    /// The event's type.
    pub kind: String,
    /// The event's own time.
    pub time: Millis,
    /// `topic/partition/offset`; empty where there is no log.
    pub position: String,
}
