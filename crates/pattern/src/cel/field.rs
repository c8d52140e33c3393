//! What a predicate reads: fields of events, of captured events, of journey and profile.

use std::cmp::Ordering;

use event::Attribute;

use super::{Fault, Path, Root};
use crate::{Facts, Occurrence, Value};

/// What predicates read, but for what a run captured.
pub(crate) struct View<'a> {
    of: &'a Occurrence<'a>,
    facts: &'a dyn Facts,
    /// Fields of the event that were looked up in advance, for [`Source::Resolved`].
    resolved: Resolved<'a>,
}

impl<'a> View<'a> {
    #[inline]
    pub fn new(of: &'a Occurrence<'a>, facts: &'a dyn Facts) -> Self {
        Self {
            of,
            facts,
            resolved: [None; RESOLVED],
        }
    }

    /// Looks fields up in advance.
    pub fn resolve(&mut self, fields: &Fields) {
        fields.read(self.of, &mut self.resolved);
    }
}

/// At most so many fields are looked up in advance.
const RESOLVED: usize = 8;

/// What the fields hold that are looked up in advance, by their places.
type Resolved<'a> = [Option<Value<'a>>; RESOLVED];

/// The fields of an event that are looked up once for all predicates over its type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    /// By place.
    fields: Vec<Field>,
    /// Those that are attributes, in order of their names as an event has its own: one walk along both finds all.
    attributes: Vec<Named>,
    /// The places of the others.
    others: Vec<usize>,
}

/// The name of an attribute, its first eight bytes also as a number that orders as they do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    first: u64,
    name: String,
    place: usize,
}

impl Fields {
    /// The place of a field; `None` if there are too many.
    pub fn place(&mut self, field: &Field) -> Option<usize> {
        let place = self.fields.iter().position(|known| known == field);
        if place.is_some() || self.fields.len() == RESOLVED {
            return place;
        }
        let place = self.fields.len();
        if let Field::Plain(name) = field {
            self.attributes.push(Named {
                first: first(name),
                name: name.clone(),
                place,
            });
            self.attributes.sort_unstable();
        } else {
            self.others.push(place);
        }
        self.fields.push(field.clone());
        Some(place)
    }

    /// Reads all.
    fn read<'a>(&self, of: &Occurrence<'a>, into: &mut Resolved<'a>) {
        for place in &self.others {
            self.fields[*place].read_into(of, &mut into[*place]);
        }
        let mut wanted = self.attributes.iter();
        let Some(mut next) = wanted.next() else { return };
        'attributes: for (name, value) in &of.event.attributes {
            let first = first(name);
            loop {
                match first.cmp(&next.first).then_with(|| behind(name, &next.name)) {
                    Ordering::Less => continue 'attributes,
                    Ordering::Equal => into[next.place] = Some(Value::from(value)),
                    Ordering::Greater => {}
                }
                match wanted.next() {
                    Some(following) => next = following,
                    None => break 'attributes,
                }
            }
        }
        if !of.extra.is_empty() {
            self.read_extra(of, into);
        }
    }

    /// What was derived stands before what the event brings.
    #[cold]
    fn read_extra<'a>(&self, of: &Occurrence<'a>, into: &mut Resolved<'a>) {
        for named in &self.attributes {
            if let Some((_, value)) = of.extra.iter().find(|(known, _)| *known == named.name) {
                into[named.place] = Some(Value::from(value));
            }
        }
    }
}

/// The order of names whose first eight bytes are the same, zeros behind their ends included.
#[inline]
fn behind(left: &str, right: &str) -> Ordering {
    if left.len() == right.len() && left.len() <= 8 {
        return Ordering::Equal;
    }
    left.cmp(right)
}

/// The first eight bytes of a name, zeros behind its end.
#[inline]
fn first(name: &str) -> u64 {
    let bytes = name.as_bytes();
    if let Some(all) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*all);
    }
    // Two reads that overlap, instead of one of a length that is not known.
    if let (Some(front), Some(back)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (front, back) = (
            u64::from(u32::from_be_bytes(*front)),
            u64::from(u32::from_be_bytes(*back)),
        );
        return front << 32 | (back << (8 * (8 - bytes.len()))) & u64::from(u32::MAX);
    }
    let place = |at: usize| bytes.get(at).map_or(0, |byte| u64::from(*byte) << (56 - 8 * at));
    place(0) | place(1) | place(2)
}

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
        let mut value = None;
        self.read_into(of, &mut value);
        value
    }

    /// Reads into a place that is empty: a value that is returned would be copied once more.
    #[inline]
    fn read_into<'a>(&self, of: &Occurrence<'a>, into: &mut Option<Value<'a>>) {
        let event = of.event;
        let text = match self {
            Self::Kind => Some(of.kind),
            Self::Channel => Some(event.channel.as_str()),
            Self::Medium => event.medium.as_deref(),
            Self::Session => event.session.as_deref(),
            Self::Conversation => event.conversation.as_deref(),
            Self::Role => event.text.as_ref().map(|said| said.role.as_str()),
            Self::Plain(_) | Self::Label | Self::Score | Self::Confidence => None,
        };
        if let Some(text) = text {
            *into = Some(Value::Text(text));
            return;
        }
        let name = self.name();
        if !of.extra.is_empty()
            && let Some((_, value)) = of.extra.iter().find(|(known, _)| *known == name)
        {
            *into = Some(Value::from(value));
            return;
        }
        if let Some(sentiment) = &event.sentiment {
            let score = match self {
                Self::Label => {
                    *into = Some(Value::Text(sentiment.label.as_str()));
                    return;
                }
                Self::Score => sentiment.score,
                Self::Confidence => sentiment.confidence,
                _ => None,
            };
            if let Some(score) = score {
                *into = Some(Value::Double(score));
                return;
            }
        }
        if let Some(value) = event.attributes.get(name) {
            *into = Some(Value::from(value));
        }
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

    /// Where what is read lies: in what was looked up in advance, else in `read`.
    #[inline]
    pub(super) fn find<'v>(
        &self,
        view: &'v View<'_>,
        captured: &'v [Option<Attribute>],
        read: &'v mut Option<Value<'v>>,
    ) -> Result<&'v Value<'v>, Fault> {
        let found = match self {
            Self::Resolved(place) => &view.resolved[*place],
            _ => {
                *read = self.read(view, captured);
                &*read
            }
        };
        found.as_ref().ok_or(Fault::Missing)
    }

    pub(super) fn read<'a>(&self, view: &View<'a>, captured: &'a [Option<Attribute>]) -> Option<Value<'a>> {
        match self {
            Self::Event(field) => field.read(view.of),
            Self::Resolved(place) => view.resolved[*place],
            Self::Captured(slot) => captured.get(*slot)?.as_ref().map(Value::from),
            Self::Journey(path) => view.facts.journey(path),
            Self::Profile(path) => view.facts.profile(path),
        }
    }
}

/// The value that a path reads, for those who explain.
pub(crate) fn read(path: &Path, view: &View<'_>, captured: &[Option<Attribute>]) -> Option<Attribute> {
    Source::of(path).read(view, captured).map(Attribute::from)
}
