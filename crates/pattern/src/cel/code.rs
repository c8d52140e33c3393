//! A `where` made ready to run: fields resolved, constants folded, common comparisons as one node. It borrows what it reads.

use event::Attribute;

use super::{
    Expr, Fault, Node, Op, Pattern,
    field::{Fields, Source, View},
    numbers::{Number, Test, arithmetic, compared, equal, to_int},
};
use crate::{Occurrence, Value};

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
    IsNumber(Source, Test),
    /// A field among texts.
    AmongTexts(Source, Vec<String>),
    /// A field whose text begins or ends with a text, or contains it.
    HasPart(Source, Part, String),
    /// What is calculated, against a number.
    Calculated(Box<Self>, Test),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(Op, Box<(Self, Self)>),
    Choose(Box<(Self, Self, Self)>),
    In(Box<Self>, Vec<Attribute>),
    Size(Box<Self>),
    /// Whether the second text is that part of the first.
    Part(Part, Box<(Self, Self)>),
    Matches(Box<Self>, Pattern),
    ToInt(Box<Self>),
    ToDouble(Box<Self>),
}

/// Where a text stands in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    End,
    Anywhere,
}

impl Part {
    #[inline]
    fn is_in(self, part: &str, text: &str) -> bool {
        match self {
            Self::Start => text.starts_with(part),
            Self::End => text.ends_with(part),
            Self::Anywhere => text.contains(part),
        }
    }
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
                    (op, tested, Self::Constant(number)) => tested.tested(op, number).unwrap_or(Self::Binary(op, pair)),
                    (op, Self::Constant(number), tested) => {
                        tested.tested(op.mirrored(), number).unwrap_or(Self::Binary(op, pair))
                    }
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
            Node::StartsWith(on, with) => Self::part(Part::Start, on, with),
            Node::EndsWith(on, with) => Self::part(Part::End, on, with),
            Node::Contains(on, with) => Self::part(Part::Anywhere, on, with),
            Node::Matches(on, pattern) => Self::Matches(Box::new(Self::of(on)), pattern.clone()),
            Node::ToInt(inner) => Self::ToInt(Box::new(Self::of(inner))),
            Node::ToDouble(inner) => Self::ToDouble(Box::new(Self::of(inner))),
        }
    }

    fn part(part: Part, on: &Expr, with: &Expr) -> Self {
        match (Self::of(on), Self::of(with)) {
            (Self::Read(source), Self::Constant(Attribute::Text(text))) => Self::HasPart(source, part, text),
            (on, with) => Self::Part(part, Box::new((on, with))),
        }
    }

    /// This against a number, if it is a field or a calculation.
    fn tested(&self, op: Op, number: &Attribute) -> Option<Self> {
        let test = Test::of(op, number)?;
        match self {
            Self::Read(source) => Some(Self::IsNumber(source.clone(), test)),
            Self::Binary(op, _) if op.calculates() => Some(Self::Calculated(Box::new(self.clone()), test)),
            _ => None,
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
        let view = View::new(&of, &crate::NoFacts);
        let value = self.value(&view, &[]).map(Attribute::from);
        value.map_or(Self::Fails, Self::Constant)
    }

    fn is_constant(&self) -> bool {
        let decides =
            |side: &Self, op: Op| matches!(side, Self::Constant(Attribute::Bool(value)) if *value == (op == Op::Or));
        match self {
            Self::Constant(_) | Self::Fails => true,
            Self::Read(_)
            | Self::Has(_)
            | Self::IsText(..)
            | Self::IsNumber(..)
            | Self::AmongTexts(..)
            | Self::HasPart(..) => false,
            Self::Not(a) | Self::Negate(a) | Self::Size(a) | Self::ToInt(a) | Self::ToDouble(a) => a.is_constant(),
            Self::Calculated(a, _) => a.is_constant(),
            Self::In(a, _) | Self::Matches(a, _) => a.is_constant(),
            Self::Binary(op @ (Op::And | Op::Or), pair) if decides(&pair.0, *op) || decides(&pair.1, *op) => true,
            Self::Binary(_, pair) | Self::Part(_, pair) => pair.0.is_constant() && pair.1.is_constant(),
            Self::Choose(parts) => parts.0.is_constant() && parts.1.is_constant() && parts.2.is_constant(),
        }
    }

    /// Reads fields of the event by their places in `fields`, which is added to.
    pub fn resolve(&mut self, fields: &mut Fields) {
        match self {
            Self::Read(source)
            | Self::Has(source)
            | Self::IsText(source, ..)
            | Self::IsNumber(source, ..)
            | Self::AmongTexts(source, _)
            | Self::HasPart(source, ..) => {
                let Source::Event(field) = source else { return };
                if let Some(place) = fields.place(field) {
                    *source = Source::Resolved(place);
                }
            }
            Self::Not(a) | Self::Negate(a) | Self::Size(a) | Self::ToInt(a) | Self::ToDouble(a) => a.resolve(fields),
            Self::In(a, _) | Self::Matches(a, _) | Self::Calculated(a, _) => a.resolve(fields),
            Self::Binary(_, pair) | Self::Part(_, pair) => {
                pair.0.resolve(fields);
                pair.1.resolve(fields);
            }
            Self::Choose(parts) => {
                parts.0.resolve(fields);
                parts.1.resolve(fields);
                parts.2.resolve(fields);
            }
            Self::Constant(_) | Self::Fails => {}
        }
    }

    /// Whether it holds.
    #[inline(always)]
    pub fn holds(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Result<bool, Fault> {
        let mut read = None;
        // What is read is looked at where it lies: copying it first costs more than the comparison.
        match self {
            Self::IsNumber(source, test) => test.holds(source.find(view, captured, &mut read)?),
            Self::IsText(source, text, wanted) => match source.find(view, captured, &mut read)? {
                Value::Text(found) => Ok((found == text) == *wanted),
                _ => Ok(!*wanted),
            },
            Self::AmongTexts(source, texts) => match source.find(view, captured, &mut read)? {
                Value::Text(found) => Ok(texts.iter().any(|text| text == found)),
                _ => Ok(false),
            },
            Self::Has(source) => Ok(source.find(view, captured, &mut read).is_ok()),
            Self::HasPart(source, part, text) => match source.find(view, captured, &mut read)? {
                Value::Text(found) => Ok(part.is_in(text, found)),
                _ => Err(Fault::Failed),
            },
            _ => self.composed_holds(view, captured),
        }
    }

    fn composed_holds(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Result<bool, Fault> {
        match self {
            Self::Not(inner) => inner.holds(view, captured).map(|holds| !holds),
            Self::Binary(op @ (Op::And | Op::Or), pair) => {
                // One side that decides is enough, whichever it is and whatever the other does.
                let decides = *op == Op::Or;
                match pair.0.holds(view, captured) {
                    Ok(value) if value == decides => Ok(decides),
                    Ok(_) => pair.1.holds(view, captured),
                    Err(fault) => match pair.1.holds(view, captured) {
                        Ok(value) if value == decides => Ok(decides),
                        Err(Fault::Failed) => Err(Fault::Failed),
                        _ => Err(fault),
                    },
                }
            }
            Self::Calculated(inner, test) => test.holds(&inner.number(view, captured)?.value()),
            Self::Binary(op, pair) if op.compares() => {
                compared(*op, pair.0.value(view, captured)?, pair.1.value(view, captured)?)
            }
            _ => match self.value(view, captured)? {
                Value::Bool(value) => Ok(value),
                _ => Err(Fault::Failed),
            },
        }
    }

    /// The value of what can only be a number.
    fn number(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Result<Number, Fault> {
        let mut read = None;
        match self {
            Self::Constant(value) => Number::of(&Value::from(value)),
            Self::Read(source) => Number::of(source.find(view, captured, &mut read)?),
            Self::Binary(op, pair) if op.calculates() => {
                arithmetic(*op, pair.0.number(view, captured)?, pair.1.number(view, captured)?)
            }
            _ => Number::of(&self.value(view, captured)?),
        }
    }

    fn value<'a>(&'a self, view: &View<'a>, captured: &'a [Option<Attribute>]) -> Result<Value<'a>, Fault> {
        Ok(match self {
            Self::Constant(value) => Value::from(value),
            Self::Fails => return Err(Fault::Failed),
            Self::Read(source) => source.read(view, captured).ok_or(Fault::Missing)?,
            Self::Negate(inner) => match inner.value(view, captured)? {
                Value::Long(value) => Value::Long(value.checked_neg().ok_or(Fault::Failed)?),
                Value::Double(value) => Value::Double(-value),
                _ => return Err(Fault::Failed),
            },
            Self::Binary(op, _) if op.calculates() => self.number(view, captured)?.value(),
            Self::Choose(parts) => {
                let (test, yes, no) = &**parts;
                return if test.holds(view, captured)? { yes } else { no }.value(view, captured);
            }
            Self::In(item, list) => {
                let item = item.value(view, captured)?;
                Value::Bool(list.iter().any(|literal| equal(item, Value::from(literal))))
            }
            Self::Size(inner) => {
                let size = match inner.value(view, captured)? {
                    Value::Text(text) => text.chars().count(),
                    Value::List(list) => list.len(),
                    _ => return Err(Fault::Failed),
                };
                Value::Long(i64::try_from(size).map_err(|_| Fault::Failed)?)
            }
            Self::Part(part, pair) => match (pair.0.value(view, captured)?, pair.1.value(view, captured)?) {
                (Value::Text(on), Value::Text(with)) => Value::Bool(part.is_in(with, on)),
                _ => return Err(Fault::Failed),
            },
            Self::Matches(on, pattern) => match on.value(view, captured)? {
                Value::Text(text) => Value::Bool(pattern.0.is_match(text)),
                _ => return Err(Fault::Failed),
            },
            Self::ToInt(inner) => to_int(inner.value(view, captured)?)?,
            Self::ToDouble(inner) => match inner.value(view, captured)? {
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
            | Self::HasPart(..)
            | Self::Calculated(..)
            | Self::Not(_)
            | Self::Binary(..) => Value::Bool(self.holds(view, captured)?),
        })
    }
}
