//! A `where` made ready to run: fields resolved, constants folded, common comparisons as one node. It borrows what it reads.

use event::Attribute;

use super::{
    Expr, Fault, Node, Op, Pattern, Verdict,
    field::{Fields, Held, Source, View, same, same_bytes},
    numbers::{Number, Test, arithmetic, compared, equal, to_int},
};
use crate::{Occurrence, Value};

/// A predicate, ready to run. Its kind is a byte of its own: packed into what the kinds hold, it costs more to read than most checks.
#[derive(Debug, Clone, PartialEq)]
#[repr(u8)]
pub(crate) enum Code {
    Constant(Attribute),
    /// Has no value, whatever is read.
    Fails,
    Read(Source),
    /// A field against what is known beforehand.
    Check(Source, Check),
    /// The same of an attribute, by its place among those that are looked up once.
    CheckAttribute(usize, Check),
    /// What is calculated of two numbers, against a number.
    Calculated(Op, Box<(Self, Self)>, Test),
    Not(Box<Self>),
    Negate(Box<Self>),
    /// Both or one of two, told by what decides: a side that fails, or one that holds.
    Joined(Verdict, Box<(Self, Self)>),
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

/// What is asked of one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    /// Whether it is there.
    Has,
    /// How it stands to a number.
    Number(Test),
    /// Whether it is a text, or is not.
    Text(String, bool),
    /// Whether it is one of these texts.
    Among(Vec<String>),
    /// Whether it begins or ends with a text, or contains it.
    Part(Part, String),
}

impl Check {
    #[inline(always)]
    pub(super) fn holds<H: Held + ?Sized>(&self, held: Option<&H>) -> Verdict {
        let Some(held) = held else { return self.of_nothing() };
        match self {
            Self::Number(test) => match (held.double(), held.long()) {
                (Some(value), _) => Verdict::of(test.holds_double(value)),
                (_, Some(value)) => Verdict::of(test.holds_long(value)),
                _ => test.of_another_type(),
            },
            Self::Has => Verdict::Holds,
            _ => match held.text() {
                Some(found) => self.holds_of_text(found),
                None => self.of_another_type(),
            },
        }
    }

    #[inline(always)]
    const fn of_nothing(&self) -> Verdict {
        if matches!(self, Self::Has) {
            Verdict::Fails
        } else {
            Verdict::Missing
        }
    }

    /// By itself, as what compares texts, so that numbers do not carry its registers.
    #[inline(never)]
    fn holds_of_text(&self, found: &str) -> Verdict {
        match self {
            Self::Text(text, wanted) => Verdict::of(same(found, text) == *wanted),
            Self::Among(texts) => is_among(found, texts),
            Self::Part(part, text) => part.is_in(text, found),
            _ => self.of_another_type(),
        }
    }

    #[cold]
    const fn of_another_type(&self) -> Verdict {
        match self {
            Self::Text(_, wanted) => Verdict::of(!*wanted),
            Self::Among(_) => Verdict::Fails,
            _ => Verdict::Failed,
        }
    }
}

#[inline(never)]
fn is_among(found: &str, texts: &[String]) -> Verdict {
    for text in texts {
        if same(found, text) {
            return Verdict::Holds;
        }
    }
    Verdict::Fails
}

/// Where a text stands in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    End,
    Anywhere,
}

impl Part {
    #[inline(never)]
    fn is_in(self, part: &str, text: &str) -> Verdict {
        let (wanted, bytes) = (part.as_bytes(), text.as_bytes());
        let Some(rest) = bytes.len().checked_sub(wanted.len()) else {
            return Verdict::Fails;
        };
        match self {
            Self::Start => Verdict::of(same_bytes(&bytes[..wanted.len()], wanted)),
            Self::End => Verdict::of(same_bytes(&bytes[rest..], wanted)),
            Self::Anywhere => Verdict::of(text.contains(part)),
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
            Node::Has(path) => Self::Check(Source::of(path), Check::Has),
            Node::Not(inner) => Self::Not(Box::new(Self::of(inner))),
            Node::Negate(inner) => Self::Negate(Box::new(Self::of(inner))),
            Node::Binary(op, left, right) => {
                let pair = Self::pair(left, right);
                match (*op, &pair.0, &pair.1) {
                    (Op::And, ..) => Self::Joined(Verdict::Fails, pair),
                    (Op::Or, ..) => Self::Joined(Verdict::Holds, pair),
                    (Op::Equal | Op::Unequal, Self::Read(source), Self::Constant(Attribute::Text(text)))
                    | (Op::Equal | Op::Unequal, Self::Constant(Attribute::Text(text)), Self::Read(source)) => {
                        Self::Check(source.clone(), Check::Text(text.clone(), *op == Op::Equal))
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
                    (Self::Read(source), Some(texts)) => Self::Check(source, Check::Among(texts)),
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
            (Self::Read(source), Self::Constant(Attribute::Text(text))) => Self::Check(source, Check::Part(part, text)),
            (on, with) => Self::Part(part, Box::new((on, with))),
        }
    }

    /// This against a number, if it is a field or a calculation.
    fn tested(&self, op: Op, number: &Attribute) -> Option<Self> {
        let test = Test::of(op, number)?;
        match self {
            Self::Read(source) => Some(Self::Check(source.clone(), Check::Number(test))),
            Self::Binary(op, pair) if op.calculates() => Some(Self::Calculated(*op, pair.clone(), test)),
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

    /// What it is whatever is read; what never has a result never holds.
    pub fn constant(&self) -> Option<bool> {
        match self {
            Self::Constant(Attribute::Bool(value)) => Some(*value),
            Self::Fails => Some(false),
            _ => None,
        }
    }

    fn is_constant(&self) -> bool {
        let decides = |side: &Self, decides: Verdict| matches!(side, Self::Constant(Attribute::Bool(value)) if Verdict::of(*value) == decides);
        match self {
            Self::Constant(_) | Self::Fails => true,
            Self::Read(_) | Self::Check(..) | Self::CheckAttribute(..) => false,
            Self::Not(a) | Self::Negate(a) | Self::Size(a) | Self::ToInt(a) | Self::ToDouble(a) => a.is_constant(),
            Self::In(a, _) | Self::Matches(a, _) => a.is_constant(),
            Self::Joined(verdict, pair) if decides(&pair.0, *verdict) || decides(&pair.1, *verdict) => true,
            Self::Joined(_, pair) | Self::Binary(_, pair) | Self::Part(_, pair) | Self::Calculated(_, pair, _) => {
                pair.0.is_constant() && pair.1.is_constant()
            }
            Self::Choose(parts) => parts.0.is_constant() && parts.1.is_constant() && parts.2.is_constant(),
        }
    }

    /// Reads fields of the event by their places in `fields`, which is added to.
    pub fn resolve(&mut self, fields: &mut Fields) {
        match self {
            Self::Read(source) | Self::Check(source, _) => {
                let Source::Event(field) = source else { return };
                let Some(found) = fields.place(field) else { return };
                *source = found;
                if let Self::Check(Source::Attribute(place), check) = self {
                    *self = Self::CheckAttribute(*place, check.clone());
                }
            }
            Self::Not(a) | Self::Negate(a) | Self::Size(a) | Self::ToInt(a) | Self::ToDouble(a) => a.resolve(fields),
            Self::In(a, _) | Self::Matches(a, _) => a.resolve(fields),
            Self::Joined(_, pair) | Self::Binary(_, pair) | Self::Part(_, pair) | Self::Calculated(_, pair, _) => {
                pair.0.resolve(fields);
                pair.1.resolve(fields);
            }
            Self::Choose(parts) => {
                parts.0.resolve(fields);
                parts.1.resolve(fields);
                parts.2.resolve(fields);
            }
            Self::Constant(_) | Self::Fails | Self::CheckAttribute(..) => {}
        }
    }

    /// Whether it holds. What is asked of an attribute is asked here; all else goes elsewhere, so that it carries no registers for that.
    #[inline(always)]
    pub fn holds(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Verdict {
        match self {
            Self::CheckAttribute(place, check) => check.holds(view.attribute(*place)),
            Self::Check(source, check) => source.check(check, view, captured),
            Self::Joined(decides, pair) => Self::joined(*decides, pair, view, captured),
            _ => self.composed_holds(view, captured),
        }
    }

    /// Each in a function of its own, which this one only jumps to.
    #[inline(never)]
    fn composed_holds(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Verdict {
        match self {
            Self::Calculated(op, pair, test) => Self::calculation_holds((*op, test), pair, view, captured),
            _ => self.value_holds(view, captured),
        }
    }

    /// One side that decides is enough, whichever it is and whatever the other does.
    #[inline(never)]
    fn joined(decides: Verdict, pair: &(Self, Self), view: &View<'_>, captured: &[Option<Attribute>]) -> Verdict {
        let left = pair.0.holds(view, captured);
        if left == decides {
            return decides;
        }
        let right = pair.1.holds(view, captured);
        if left.is_fault() && right != decides && right != Verdict::Failed {
            left
        } else {
            right
        }
    }

    #[inline(never)]
    fn calculation_holds(
        (op, test): (Op, &Test),
        pair: &(Self, Self),
        view: &View<'_>,
        captured: &[Option<Attribute>],
    ) -> Verdict {
        match Self::calculated(op, pair, view, captured) {
            Ok(Number::Double(value)) => Verdict::of(test.holds_double(value)),
            Ok(Number::Long(value)) => Verdict::of(test.holds_long(value)),
            Err(fault) => Verdict::from(Err(fault)),
        }
    }

    #[inline(never)]
    fn value_holds(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Verdict {
        match self {
            Self::Not(inner) => inner.holds(view, captured).not(),
            Self::Binary(op, pair) if op.compares() => {
                let values = || Ok((pair.0.value(view, captured)?, pair.1.value(view, captured)?));
                Verdict::from(values().and_then(|(left, right)| compared(*op, left, right)))
            }
            _ => Verdict::from(self.value(view, captured).and_then(|value| match value {
                Value::Bool(value) => Ok(value),
                _ => Err(Fault::Failed),
            })),
        }
    }

    #[inline(always)]
    fn calculated(
        op: Op,
        pair: &(Self, Self),
        view: &View<'_>,
        captured: &[Option<Attribute>],
    ) -> Result<Number, Fault> {
        let (left, right) = (pair.0.operand(view, captured)?, pair.1.operand(view, captured)?);
        arithmetic(op, left, right)
    }

    /// The value of what can only be a number: here of what is most often calculated with.
    #[inline(always)]
    fn operand(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Result<Number, Fault> {
        let held = match self {
            Self::Constant(value) => value,
            Self::Read(Source::Attribute(place)) => view.attribute(*place).ok_or(Fault::Missing)?,
            _ => return self.number(view, captured),
        };
        match *held {
            Attribute::Double(value) => Ok(Number::Double(value)),
            Attribute::Long(value) => Ok(Number::Long(value)),
            _ => Err(Fault::Failed),
        }
    }

    #[inline(never)]
    fn number(&self, view: &View<'_>, captured: &[Option<Attribute>]) -> Result<Number, Fault> {
        match self {
            Self::Binary(op, pair) if op.calculates() => Self::calculated(*op, pair, view, captured),
            _ => Number::of(self.value(view, captured)?),
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
                return if test.holds(view, captured).result()? { yes } else { no }.value(view, captured);
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
                (Value::Text(on), Value::Text(with)) => Value::Bool(part.is_in(with, on) == Verdict::Holds),
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
            Self::Check(..)
            | Self::CheckAttribute(..)
            | Self::Calculated(..)
            | Self::Not(_)
            | Self::Joined(..)
            | Self::Binary(..) => Value::Bool(self.holds(view, captured).result()?),
        })
    }
}
