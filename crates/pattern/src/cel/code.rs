//! A `where` made ready to run: fields resolved, constants folded, common comparisons as one node. It borrows what it reads.

use std::cmp::Ordering;

use event::Attribute;

use super::{Expr, Fault, Node, Op, Path, Pattern, Root};
use crate::{Facts, Occurrence, Value};

/// 2^63, exact as a double: the first value above every `i64`.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// What a predicate reads.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub of: &'a Occurrence<'a>,
    pub captured: &'a [Option<Attribute>],
    pub facts: &'a dyn Facts,
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
    Captured(usize),
    Journey(String),
    Profile(String),
}

impl Source {
    fn of(path: &Path) -> Self {
        match path.root {
            Root::Event => Self::Event(Field::of(&path.field)),
            Root::Captured(_) => Self::Captured(path.slot),
            Root::Journey => Self::Journey(path.field.clone()),
            Root::Profile => Self::Profile(path.field.clone()),
        }
    }

    fn read<'a>(&self, view: &View<'a>) -> Option<Value<'a>> {
        match self {
            Self::Event(field) => field.read(view.of),
            Self::Captured(slot) => view.captured.get(*slot)?.as_ref().map(Value::from),
            Self::Journey(path) => view.facts.journey(path),
            Self::Profile(path) => view.facts.profile(path),
        }
    }
}

/// A predicate, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Code {
    Constant(Attribute),
    /// Has no value, whatever is read.
    Fails,
    Read(Source),
    Has(Source),
    /// A field against a text, for equality or inequality.
    IsText(Source, String, bool),
    /// A field against a number.
    IsNumber(Source, Op, Number),
    /// A field among texts.
    AmongTexts(Source, Vec<String>),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(Op, Box<(Self, Self)>),
    Choose(Box<(Self, Self, Self)>),
    In(Box<Self>, Vec<Attribute>),
    Size(Box<Self>),
    StartsWith(Box<(Self, Self)>),
    EndsWith(Box<(Self, Self)>),
    Contains(Box<(Self, Self)>),
    Matches(Box<Self>, Pattern),
    ToInt(Box<Self>),
    ToDouble(Box<Self>),
}

/// A number literal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Long(i64),
    Double(f64),
}

impl Number {
    const fn value(self) -> Value<'static> {
        match self {
            Self::Long(value) => Value::Long(value),
            Self::Double(value) => Value::Double(value),
        }
    }
}

/// The value that a path reads, for those who explain.
pub(crate) fn read(path: &Path, view: &View<'_>) -> Option<Attribute> {
    Source::of(path).read(view).map(Attribute::from)
}

impl Code {
    /// Compiles a checked expression.
    pub fn of(expr: &Expr) -> Self {
        let compiled = Self::lowered(&expr.node);
        compiled.folded()
    }

    fn pair(left: &Expr, right: &Expr) -> Box<(Self, Self)> {
        Box::new((Self::of(left), Self::of(right)))
    }

    fn lowered(node: &Node) -> Self {
        match node {
            Node::Null => Self::Constant(Attribute::Null),
            Node::Bool(value) => Self::Constant(Attribute::Bool(*value)),
            Node::Int(value) => Self::Constant(Attribute::Long(*value)),
            Node::Double(value) => Self::Constant(Attribute::Double(*value)),
            Node::Text(text) => Self::Constant(Attribute::Text(text.clone())),
            Node::Read(path) => Self::Read(Source::of(path)),
            Node::Has(path) => Self::Has(Source::of(path)),
            Node::Not(inner) => Self::Not(Box::new(Self::of(inner))),
            Node::Negate(inner) => Self::Negate(Box::new(Self::of(inner))),
            Node::Binary(op, left, right) => {
                let pair = Self::pair(left, right);
                match (*op, &pair.0, &pair.1) {
                    (Op::Equal | Op::Unequal, Self::Read(source), Self::Constant(Attribute::Text(text)))
                    | (Op::Equal | Op::Unequal, Self::Constant(Attribute::Text(text)), Self::Read(source)) => {
                        Self::IsText(source.clone(), text.clone(), *op == Op::Equal)
                    }
                    (op, Self::Read(source), Self::Constant(constant)) if op.compares() => match number(constant) {
                        Some(number) => Self::IsNumber(source.clone(), op, number),
                        None => Self::Binary(op, pair),
                    },
                    (op, Self::Constant(constant), Self::Read(source)) if op.compares() => match number(constant) {
                        Some(number) => Self::IsNumber(source.clone(), op.mirrored(), number),
                        None => Self::Binary(op, pair),
                    },
                    (op, _, _) => Self::Binary(op, pair),
                }
            }
            Node::Choose(test, yes, no) => Self::Choose(Box::new((Self::of(test), Self::of(yes), Self::of(no)))),
            Node::In(item, list) => {
                let item = Self::of(item);
                let list: Vec<Attribute> = list
                    .iter()
                    .filter_map(|literal| match Self::of(literal) {
                        Self::Constant(value) => Some(value),
                        _ => None,
                    })
                    .collect();
                let texts: Option<Vec<String>> = list
                    .iter()
                    .map(|value| match value {
                        Attribute::Text(text) => Some(text.clone()),
                        _ => None,
                    })
                    .collect();
                match (item, texts) {
                    (Self::Read(source), Some(texts)) => Self::AmongTexts(source, texts),
                    (item, _) => Self::In(Box::new(item), list),
                }
            }
            Node::Size(inner) => Self::Size(Box::new(Self::of(inner))),
            Node::StartsWith(on, with) => Self::StartsWith(Self::pair(on, with)),
            Node::EndsWith(on, with) => Self::EndsWith(Self::pair(on, with)),
            Node::Contains(on, with) => Self::Contains(Self::pair(on, with)),
            Node::Matches(on, pattern) => Self::Matches(Box::new(Self::of(on)), pattern.clone()),
            Node::ToInt(inner) => Self::ToInt(Box::new(Self::of(inner))),
            Node::ToDouble(inner) => Self::ToDouble(Box::new(Self::of(inner))),
        }
    }

    /// What has the same value whatever is read becomes that value.
    fn folded(self) -> Self {
        if !self.is_constant() {
            return self;
        }
        let event = event::Event::default();
        let of = Occurrence {
            event: &event,
            kind: "",
            extra: &[],
            at: event::Millis(0),
            index: 0,
            position: "",
        };
        let view = View {
            of: &of,
            captured: &[],
            facts: &crate::NoFacts,
        };
        let value = self.value(&view).map(Attribute::from);
        value.map_or(Self::Fails, Self::Constant)
    }

    fn is_constant(&self) -> bool {
        let decides =
            |side: &Self, op: Op| matches!(side, Self::Constant(Attribute::Bool(value)) if *value == (op == Op::Or));
        match self {
            Self::Constant(_) | Self::Fails => true,
            Self::Read(_) | Self::Has(_) | Self::IsText(..) | Self::IsNumber(..) | Self::AmongTexts(..) => false,
            Self::Not(a) | Self::Negate(a) | Self::Size(a) | Self::ToInt(a) | Self::ToDouble(a) => a.is_constant(),
            Self::In(a, _) | Self::Matches(a, _) => a.is_constant(),
            Self::Binary(op @ (Op::And | Op::Or), pair) if decides(&pair.0, *op) || decides(&pair.1, *op) => true,
            Self::Binary(_, pair) | Self::StartsWith(pair) | Self::EndsWith(pair) | Self::Contains(pair) => {
                pair.0.is_constant() && pair.1.is_constant()
            }
            Self::Choose(parts) => parts.0.is_constant() && parts.1.is_constant() && parts.2.is_constant(),
        }
    }

    /// Whether it holds.
    #[inline]
    pub fn holds(&self, view: &View<'_>) -> Result<bool, Fault> {
        match self {
            Self::IsText(source, text, wanted) => match source.read(view).ok_or(Fault::Missing)? {
                Value::Text(found) => Ok((found == text) == *wanted),
                _ => Ok(!*wanted),
            },
            Self::IsNumber(source, op, number) => {
                compared(*op, source.read(view).ok_or(Fault::Missing)?, number.value())
            }
            Self::Has(source) => Ok(source.read(view).is_some()),
            Self::AmongTexts(source, texts) => match source.read(view).ok_or(Fault::Missing)? {
                Value::Text(found) => Ok(texts.iter().any(|text| text == found)),
                _ => Ok(false),
            },
            Self::Not(inner) => inner.holds(view).map(|holds| !holds),
            Self::Binary(op @ (Op::And | Op::Or), pair) => {
                // One side that decides is enough, whichever it is and whatever the other does.
                let decides = *op == Op::Or;
                match pair.0.holds(view) {
                    Ok(value) if value == decides => Ok(decides),
                    Ok(_) => pair.1.holds(view),
                    Err(fault) => match pair.1.holds(view) {
                        Ok(value) if value == decides => Ok(decides),
                        Err(Fault::Failed) => Err(Fault::Failed),
                        _ => Err(fault),
                    },
                }
            }
            Self::Binary(op, pair) if op.compares() => compared(*op, pair.0.value(view)?, pair.1.value(view)?),
            _ => match self.value(view)? {
                Value::Bool(value) => Ok(value),
                _ => Err(Fault::Failed),
            },
        }
    }

    fn value<'a>(&'a self, view: &View<'a>) -> Result<Value<'a>, Fault> {
        Ok(match self {
            Self::Constant(value) => Value::from(value),
            Self::Fails => return Err(Fault::Failed),
            Self::Read(source) => source.read(view).ok_or(Fault::Missing)?,
            Self::Negate(inner) => match inner.value(view)? {
                Value::Long(value) => Value::Long(value.checked_neg().ok_or(Fault::Failed)?),
                Value::Double(value) => Value::Double(-value),
                _ => return Err(Fault::Failed),
            },
            Self::Binary(op, pair) if op.calculates() => arithmetic(*op, pair.0.value(view)?, pair.1.value(view)?)?,
            Self::Choose(parts) => {
                let (test, yes, no) = &**parts;
                return if test.holds(view)? { yes } else { no }.value(view);
            }
            Self::In(item, list) => {
                let item = item.value(view)?;
                Value::Bool(list.iter().any(|literal| equal(item, Value::from(literal))))
            }
            Self::Size(inner) => {
                let size = match inner.value(view)? {
                    Value::Text(text) => text.chars().count(),
                    Value::List(list) => list.len(),
                    _ => return Err(Fault::Failed),
                };
                Value::Long(i64::try_from(size).map_err(|_| Fault::Failed)?)
            }
            Self::StartsWith(pair) => texts(pair, view, |on, with| on.starts_with(with))?,
            Self::EndsWith(pair) => texts(pair, view, |on, with| on.ends_with(with))?,
            Self::Contains(pair) => texts(pair, view, |on, with| on.contains(with))?,
            Self::Matches(on, pattern) => match on.value(view)? {
                Value::Text(text) => Value::Bool(pattern.0.is_match(text)),
                _ => return Err(Fault::Failed),
            },
            Self::ToInt(inner) => to_int(inner.value(view)?)?,
            Self::ToDouble(inner) => match inner.value(view)? {
                #[expect(clippy::cast_precision_loss, reason = "CEL rounds to the nearest double")]
                Value::Long(value) => Value::Double(value as f64),
                Value::Double(value) => Value::Double(value),
                Value::Text(text) => Value::Double(text.parse().map_err(|_| Fault::Failed)?),
                _ => return Err(Fault::Failed),
            },
            Self::Has(_)
            | Self::IsText(..)
            | Self::IsNumber(..)
            | Self::AmongTexts(..)
            | Self::Not(_)
            | Self::Binary(..) => Value::Bool(self.holds(view)?),
        })
    }
}

impl Op {
    pub(super) const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::Unequal | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    const fn calculates(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder
        )
    }

    const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }
}

fn number(value: &Attribute) -> Option<Number> {
    match value {
        Attribute::Long(value) => Some(Number::Long(*value)),
        Attribute::Double(value) => Some(Number::Double(*value)),
        _ => None,
    }
}

fn to_int(value: Value<'_>) -> Result<Value<'_>, Fault> {
    match value {
        Value::Long(value) => Ok(Value::Long(value)),
        // CEL truncates towards zero and fails outside the range; the bounds are exact doubles.
        #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
        Value::Double(value) if value > -TWO_TO_63 && value < TWO_TO_63 => Ok(Value::Long(value as i64)),
        Value::Text(text) => text.parse().map(Value::Long).map_err(|_| Fault::Failed),
        _ => Err(Fault::Failed),
    }
}

fn texts<'a>(pair: &'a (Code, Code), view: &View<'a>, test: fn(&str, &str) -> bool) -> Result<Value<'a>, Fault> {
    match (pair.0.value(view)?, pair.1.value(view)?) {
        (Value::Text(on), Value::Text(with)) => Ok(Value::Bool(test(on, with))),
        _ => Err(Fault::Failed),
    }
}

#[inline]
fn compared(op: Op, left: Value<'_>, right: Value<'_>) -> Result<bool, Fault> {
    match op {
        Op::Equal => return Ok(equal(left, right)),
        Op::Unequal => return Ok(!equal(left, right)),
        _ => {}
    }
    let Some(order) = compare(left, right) else {
        // NaN compares with nothing, and that is no error.
        let number = |value| matches!(value, Value::Long(_) | Value::Double(_));
        return if number(left) && number(right) {
            Ok(false)
        } else {
            Err(Fault::Failed)
        };
    };
    Ok(match op {
        Op::Less => order.is_lt(),
        Op::LessEqual => order.is_le(),
        Op::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}

fn arithmetic<'a>(op: Op, left: Value<'_>, right: Value<'_>) -> Result<Value<'a>, Fault> {
    match (left, right) {
        (Value::Long(a), Value::Long(b)) => {
            let result = match op {
                Op::Add => a.checked_add(b),
                Op::Subtract => a.checked_sub(b),
                Op::Multiply => a.checked_mul(b),
                Op::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            result.map(Value::Long).ok_or(Fault::Failed)
        }
        (Value::Double(a), Value::Double(b)) => match op {
            Op::Add => Ok(Value::Double(a + b)),
            Op::Subtract => Ok(Value::Double(a - b)),
            Op::Multiply => Ok(Value::Double(a * b)),
            Op::Divide => Ok(Value::Double(a / b)),
            _ => Err(Fault::Failed),
        },
        _ => Err(Fault::Failed),
    }
}

/// Equality across types: numbers by value, everything else only with its own kind.
#[inline]
fn equal(left: Value<'_>, right: Value<'_>) -> bool {
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Long(_) | Value::Double(_), Value::Long(_) | Value::Double(_)) => {
            compare(left, right) == Some(Ordering::Equal)
        }
        _ => left == right,
    }
}

#[inline]
fn compare(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Long(a), Value::Long(b)) => Some(a.cmp(&b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(&b),
        (Value::Long(a), Value::Double(b)) => mixed(a, b),
        (Value::Double(a), Value::Long(b)) => mixed(b, a).map(Ordering::reverse),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(&b)),
        _ => None,
    }
}

/// Compares exactly: a double beyond the integers is greater or less than all of them, otherwise its whole part decides first.
fn mixed(whole: i64, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= TWO_TO_63 {
        return Some(Ordering::Less);
    }
    if double < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    let floor = double.floor() as i64;
    Some(whole.cmp(&floor).then(if double.fract() == 0.0 {
        Ordering::Equal
    } else {
        Ordering::Less
    }))
}
