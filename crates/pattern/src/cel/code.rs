//! A `where` made ready to run: fields resolved, constants folded, common comparisons as one node. It borrows what it reads.

use event::Attribute;

use super::{
    Expr, Fault, Node, Op, Pattern,
    field::{Field, RESOLVED, Source, View},
    numbers::{arithmetic, compared, equal, to_int},
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
            resolved: &[],
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

    /// Reads fields of the event by their places in `fields`, which is added to.
    pub fn resolve(&mut self, fields: &mut Vec<Field>) {
        match self {
            Self::Read(source)
            | Self::Has(source)
            | Self::IsText(source, ..)
            | Self::IsNumber(source, ..)
            | Self::AmongTexts(source, _) => {
                let Source::Event(field) = source else { return };
                let place = fields.iter().position(|known| known == field).unwrap_or(fields.len());
                if place < RESOLVED {
                    if place == fields.len() {
                        fields.push(field.clone());
                    }
                    *source = Source::Resolved(place);
                }
            }
            Self::Not(a) | Self::Negate(a) | Self::Size(a) | Self::ToInt(a) | Self::ToDouble(a) => a.resolve(fields),
            Self::In(a, _) | Self::Matches(a, _) => a.resolve(fields),
            Self::Binary(_, pair) | Self::StartsWith(pair) | Self::EndsWith(pair) | Self::Contains(pair) => {
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

fn number(value: &Attribute) -> Option<Number> {
    match value {
        Attribute::Long(value) => Some(Number::Long(*value)),
        Attribute::Double(value) => Some(Number::Double(*value)),
        _ => None,
    }
}

fn texts<'a>(pair: &'a (Code, Code), view: &View<'a>, test: fn(&str, &str) -> bool) -> Result<Value<'a>, Fault> {
    match (pair.0.value(view)?, pair.1.value(view)?) {
        (Value::Text(on), Value::Text(with)) => Ok(Value::Bool(test(on, with))),
        _ => Err(Fault::Failed),
    }
}
