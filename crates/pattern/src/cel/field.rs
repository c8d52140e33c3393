//! What a predicate reads: fields of events, of captured events, of journey and profile.

use event::Attribute;

use super::{Path, Root};
use crate::{Facts, Occurrence, Value};

/// What a predicate reads.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub of: &'a Occurrence<'a>,
    pub captured: &'a [Option<Attribute>],
    pub facts: &'a dyn Facts,
    /// Fields of the event that were looked up in advance, for [`Source::Resolved`].
    pub resolved: &'a [Option<Value<'a>>],
}

/// At most so many fields are looked up in advance.
pub(crate) const RESOLVED: usize = 8;

/// A field of an occurrence: envelope first, then what was derived, then attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    Kind,
    Channel,
    Medium,
    Session,
    Conversation,
    Role,
    Label,
    Score,
    Confidence,
    Plain(String),
}

impl Field {
    pub fn of(name: &str) -> Self {
        match name {
            "type" => Self::Kind,
            "channel" => Self::Channel,
            "medium" => Self::Medium,
            "session" => Self::Session,
            "conversation" => Self::Conversation,
            "role" => Self::Role,
            "sentiment.label" => Self::Label,
            "sentiment.score" => Self::Score,
            "sentiment.confidence" => Self::Confidence,
            _ => Self::Plain(name.to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Kind => "type",
            Self::Channel => "channel",
            Self::Medium => "medium",
            Self::Session => "session",
            Self::Conversation => "conversation",
            Self::Role => "role",
            Self::Label => "sentiment.label",
            Self::Score => "sentiment.score",
            Self::Confidence => "sentiment.confidence",
            Self::Plain(name) => name,
        }
    }

    pub fn read<'a>(&self, of: &Occurrence<'a>) -> Option<Value<'a>> {
        let event = of.event;
        let envelope = match self {
            Self::Plain(_) => None,
            Self::Kind => Some(Value::Text(of.kind)),
            Self::Channel => Some(Value::Text(event.channel.as_str())),
            Self::Medium => event.medium.as_deref().map(Value::Text),
            Self::Session => event.session.as_deref().map(Value::Text),
            Self::Conversation => event.conversation.as_deref().map(Value::Text),
            Self::Role => event.text.as_ref().map(|said| Value::Text(said.role.as_str())),
            Self::Label | Self::Score | Self::Confidence => None,
        };
        if envelope.is_some() {
            return envelope;
        }
        let name = self.name();
        if let Some((_, value)) = of.extra.iter().find(|(known, _)| *known == name) {
            return Some(Value::from(value));
        }
        if let Some(sentiment) = &event.sentiment {
            let scored = match self {
                Self::Label => Some(Value::Text(sentiment.label.as_str())),
                Self::Score => sentiment.score.map(Value::Double),
                Self::Confidence => sentiment.confidence.map(Value::Double),
                _ => None,
            };
            if scored.is_some() {
                return scored;
            }
        }
        event.attributes.get(name).map(Value::from)
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Event(Field),
    /// A field of the event that is looked up once for all predicates over its type.
    Resolved(usize),
    Captured(usize),
    Journey(String),
    Profile(String),
}

impl Source {
    pub(super) fn of(path: &Path) -> Self {
        match path.root {
            Root::Event => Self::Event(Field::of(&path.field)),
            Root::Captured(_) => Self::Captured(path.slot),
            Root::Journey => Self::Journey(path.field.clone()),
            Root::Profile => Self::Profile(path.field.clone()),
        }
    }

    #[inline]
    pub(super) fn read<'a>(&self, view: &View<'a>) -> Option<Value<'a>> {
        match self {
            Self::Event(field) => field.read(view.of),
            Self::Resolved(place) => *view.resolved.get(*place)?,
            Self::Captured(slot) => view.captured.get(*slot)?.as_ref().map(Value::from),
            Self::Journey(path) => view.facts.journey(path),
            Self::Profile(path) => view.facts.profile(path),
        }
    }
}

/// The value that a path reads, for those who explain.
pub(crate) fn read(path: &Path, view: &View<'_>) -> Option<Attribute> {
    Source::of(path).read(view).map(Attribute::from)
}
