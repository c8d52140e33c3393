//! What a predicate reads: fields of events, of captured events, of journey and profile.

use event::Attribute;

use super::{Path, Root, Verdict, code::Check};
use crate::{Facts, Occurrence, Value};

/// What predicates read, but for what a run captured.
pub(crate) struct View<'a> {
    of: &'a Occurrence<'a>,
    facts: &'a dyn Facts,
    /// Attributes that were looked up in advance, for [`Source::Attribute`] and [`Source::Sentiment`].
    attributes: Attributes<'a>,
}

impl<'a> View<'a> {
    #[inline]
    pub fn new(of: &'a Occurrence<'a>, facts: &'a dyn Facts) -> Self {
        Self {
            of,
            facts,
            attributes: [None; ATTRIBUTES],
        }
    }

    /// Looks fields up in advance.
    #[inline]
    pub fn resolve(&mut self, fields: &Fields) {
        fields.read_attributes(self.of, &mut self.attributes);
    }

    /// What was looked up for [`Source::Attribute`].
    #[inline(always)]
    pub(super) fn attribute(&self, place: usize) -> Option<&'a Attribute> {
        self.attributes[place]
    }
}

/// What a field holds, wherever it lies: looked at in its place.
pub(super) trait Held {
    #[inline(always)]
    fn double(&self) -> Option<f64> {
        None
    }

    #[inline(always)]
    fn long(&self) -> Option<i64> {
        None
    }

    #[inline(always)]
    fn text(&self) -> Option<&str> {
        None
    }
}

impl Held for Attribute {
    #[inline(always)]
    fn double(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    #[inline(always)]
    fn long(&self) -> Option<i64> {
        match self {
            Self::Long(value) => Some(*value),
            _ => None,
        }
    }

    #[inline(always)]
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Held for Value<'_> {
    fn double(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    fn long(&self) -> Option<i64> {
        match self {
            Self::Long(value) => Some(*value),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Held for str {
    #[inline(always)]
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Held for f64 {
    #[inline(always)]
    fn double(&self) -> Option<f64> {
        Some(*self)
    }
}

/// At most so many attributes are looked up in advance.
const ATTRIBUTES: usize = 8;

/// The attributes that are looked up in advance, by their places. They stay where they lie: a copy costs more than what reads it.
type Attributes<'a> = [Option<&'a Attribute>; ATTRIBUTES];

/// The attributes of an event that are looked up once for all predicates over its type, in order of their names as an event has its
/// own: one walk along both finds all. What the envelope holds needs no looking up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    attributes: Vec<Named>,
}

/// The name of an attribute, its first and last eight bytes also as numbers. The first ones order as the names do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    first: u64,
    name: String,
    last: u64,
    place: usize,
}

impl Fields {
    /// Where a field will be found; `None` if that is where it always is, or there are too many.
    pub(super) fn place(&mut self, field: &Field) -> Option<Source> {
        match field {
            Field::Plain(name) => self.attribute(name).map(Source::Attribute),
            Field::Label | Field::Score | Field::Confidence => {
                let place = self.attribute(field.name())?;
                Some(Source::Sentiment(field.clone(), place))
            }
            _ => None,
        }
    }

    fn attribute(&mut self, name: &str) -> Option<usize> {
        if let Some(known) = self.attributes.iter().find(|known| known.name == *name) {
            return Some(known.place);
        }
        let place = self.attributes.len();
        if place == ATTRIBUTES {
            return None;
        }
        self.attributes.push(Named {
            first: first(name),
            name: name.to_owned(),
            last: last(name),
            place,
        });
        self.attributes.sort_unstable();
        Some(place)
    }

    #[inline]
    fn read_attributes<'a>(&self, of: &Occurrence<'a>, into: &mut Attributes<'a>) {
        let mut wanted = self.attributes.iter();
        let Some(mut next) = wanted.next() else { return };
        'attributes: for (name, value) in &of.event.attributes {
            let first = first(name);
            while first >= next.first {
                if first == next.first && !next.is(name) {
                    if let Some(other) = among(wanted.as_slice(), first, name) {
                        into[other.place] = Some(value);
                    }
                    continue 'attributes;
                }
                if first == next.first {
                    into[next.place] = Some(value);
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
    fn read_extra<'a>(&self, of: &Occurrence<'a>, into: &mut Attributes<'a>) {
        for named in &self.attributes {
            if let Some((_, value)) = of.extra.iter().find(|(known, _)| *known == named.name) {
                into[named.place] = Some(value);
            }
        }
    }
}

impl Named {
    /// Whether it is a name whose first eight bytes are the same, zeros behind its end included.
    #[inline(always)]
    fn is(&self, name: &str) -> bool {
        name.len() == self.name.len()
            && match name.len() {
                0..=8 => true,
                9..=16 => last(name) == self.last,
                _ => self.is_long(name),
            }
    }

    /// By itself: it is rare, and what is around it would be put aside for it.
    #[cold]
    #[inline(never)]
    fn is_long(&self, name: &str) -> bool {
        name == self.name
    }
}

/// A name among those that begin with the same eight bytes. By itself, as few do.
#[cold]
#[inline(never)]
fn among<'a>(wanted: &'a [Named], first: u64, name: &str) -> Option<&'a Named> {
    let mut alike = wanted.iter().take_while(|other| other.first == first);
    alike.find(|other| other.is(name))
}

/// Whether two texts are the same; in place, where they are not longer than most are.
#[inline]
pub(super) fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && same_bytes(left.as_bytes(), right.as_bytes())
}

/// Whether as many bytes are the same: two reads from both ends that overlap, and only of long ones what lies between.
#[inline(always)]
pub(super) fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    #[inline(always)]
    fn ends<const N: usize>(left: &[u8], right: &[u8]) -> bool {
        let back = left.len() - N;
        left[..N] == right[..N] && left[back..] == right[back..]
    }
    let right = &right[..left.len()];
    match left.len() {
        0..4 => left.iter().eq(right),
        4..8 => ends::<4>(left, right),
        8..16 => ends::<8>(left, right),
        16..=32 => ends::<16>(left, right),
        _ => left == right,
    }
}

/// The first eight bytes of a name, zeros behind its end.
#[inline]
fn first(name: &str) -> u64 {
    let bytes = name.as_bytes();
    if let Some(all) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*all);
    }
    // Two reads that overlap, instead of one of a length that is not known. The second is moved up over the bytes that both have read.
    if let (Some(front), Some(back)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (front, back) = (u32::from_be_bytes(*front), u32::from_be_bytes(*back));
        #[expect(clippy::cast_possible_truncation, reason = "there are four to seven")]
        let behind = 8_u32.wrapping_sub(bytes.len() as u32).wrapping_mul(8);
        return u64::from(front) << 32 | u64::from(back).wrapping_shl(behind) & u64::from(u32::MAX);
    }
    match *bytes {
        [one, two, three] => u64::from(one) << 56 | u64::from(two) << 48 | u64::from(three) << 40,
        [one, two] => u64::from(one) << 56 | u64::from(two) << 48,
        [one] => u64::from(one) << 56,
        _ => 0,
    }
}

/// The last eight bytes of a name; nothing of a shorter one.
#[inline(always)]
fn last(name: &str) -> u64 {
    let last = name.as_bytes().last_chunk::<8>();
    last.map_or(0, |last| u64::from_ne_bytes(*last))
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

    /// What it holds.
    pub fn read<'a>(&self, of: &Occurrence<'a>) -> Option<Value<'a>> {
        if let Some(text) = self.envelope(of) {
            return text.map(Value::Text);
        }
        let name = self.name();
        let derived = of.extra.iter().find(|(known, _)| *known == name);
        if let Some((_, value)) = derived {
            return Some(Value::from(value));
        }
        let scored = match self.sentiment(of) {
            Some(Scored::Label(label)) => Some(Value::Text(label)),
            Some(Scored::Number(number)) => Some(Value::Double(number)),
            None => None,
        };
        scored.or_else(|| of.event.attributes.get(name).map(Value::from))
    }

    /// A text of the envelope, if there is one; `None` if that is not where this field is.
    #[inline]
    fn envelope<'a>(&self, of: &Occurrence<'a>) -> Option<Option<&'a str>> {
        let event = of.event;
        match self {
            Self::Kind => Some(Some(of.kind)),
            Self::Channel => Some(Some(event.channel.as_str())),
            Self::Medium => Some(event.medium.as_deref()),
            Self::Session => Some(event.session.as_deref()),
            Self::Conversation => Some(event.conversation.as_deref()),
            Self::Role => Some(event.text.as_ref().map(|said| said.role.as_str())),
            Self::Plain(_) | Self::Label | Self::Score | Self::Confidence => None,
        }
    }

    /// What `intake` found in the event's text.
    #[inline]
    fn sentiment(&self, of: &Occurrence<'_>) -> Option<Scored> {
        let sentiment = of.event.sentiment.as_ref()?;
        match self {
            Self::Label => Some(Scored::Label(sentiment.label.as_str())),
            Self::Score => sentiment.score.map(Scored::Number),
            Self::Confidence => sentiment.confidence.map(Scored::Number),
            _ => None,
        }
    }
}

enum Scored {
    Label(&'static str),
    Number(f64),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
#[repr(u8)]
pub(crate) enum Source {
    /// An attribute that is looked up once for all predicates over the event's type.
    Attribute(usize),
    /// A field of the sentiment; the attribute of its name that is looked up likewise, where there is none.
    Sentiment(Field, usize),
    Event(Field),
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

    /// Checks what is read where it lies, if that is the envelope.
    #[inline(never)]
    pub(super) fn check(&self, check: &Check, view: &View<'_>, captured: &[Option<Attribute>]) -> Verdict {
        match self {
            Self::Event(field) => {
                if let Some(text) = field.envelope(view.of) {
                    return check.holds(text);
                }
            }
            Self::Sentiment(field, place) if view.of.extra.is_empty() => {
                return match field.sentiment(view.of) {
                    Some(Scored::Number(number)) => check.holds(Some(&number)),
                    Some(Scored::Label(label)) => check.holds(Some(label)),
                    None => check.holds(view.attribute(*place)),
                };
            }
            _ => {}
        }
        check.holds(self.read(view, captured).as_ref())
    }

    pub(super) fn read<'a>(&self, view: &View<'a>, captured: &'a [Option<Attribute>]) -> Option<Value<'a>> {
        match self {
            Self::Attribute(place) => view.attributes[*place].map(Value::from),
            Self::Sentiment(field, _) | Self::Event(field) => field.read(view.of),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and texts of every length around those at which they are read in another way.
    fn names() -> Vec<String> {
        let lengths = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 40];
        let mut names = Vec::new();
        for length in lengths {
            let plain = "a".repeat(length);
            for at in 0..length {
                for letter in ["Z", "b", "\0"] {
                    let mut other = plain.clone();
                    other.replace_range(at..=at, letter);
                    names.push(other);
                }
            }
            names.push(plain);
        }
        names
    }

    #[test]
    fn names_order_by_their_first_bytes_and_are_told_apart_by_their_ends() {
        for left in names() {
            for right in names() {
                let named = Named {
                    first: first(&right),
                    name: right.clone(),
                    last: last(&right),
                    place: 0,
                };
                let order = first(&left).cmp(&named.first);
                assert!(order.is_eq() || order == left.cmp(&right), "{left:?} {right:?}");
                assert_eq!(order.is_eq() && named.is(&left), left == right, "{left:?} {right:?}");
                assert_eq!(same(&left, &right), left == right, "{left:?} {right:?}");
            }
        }
    }
}
