//! Values compared and calculated with as CEL does it.

use std::cmp::Ordering;

use event::Attribute;

use super::{Fault, Op, Verdict};
use crate::{Value, value::TWO_TO_63};

impl Op {
    pub(super) const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::Unequal | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    pub(super) const fn calculates(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Remainder
        )
    }

    pub const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }
}

/// A comparison with a number that is known beforehand: which of the four ways in which two numbers can stand to each other make it
/// hold, a bit each, so that it takes no branch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Test {
    holds: u8,
    /// In which of the types the number is exact.
    is_long: bool,
    is_double: bool,
    long: i64,
    double: f64,
}

/// How numbers stand to each other: which of `>=` and `<=` hold, both if they are equal. Neither does for a NaN.
mod stands {
    pub const NOT_AT_ALL: u8 = 0;
    pub const GREATER: u8 = 1;
    pub const LESS: u8 = 2;
    pub const EQUAL: u8 = 3;
}

/// Up to this (2^53) every whole number is a double.
const EXACT: i64 = 1 << f64::MANTISSA_DIGITS;

impl Test {
    /// A comparison with a number; nothing else compares with one beforehand.
    pub(super) fn of(op: Op, number: &Attribute) -> Option<Self> {
        let (long, double) = match *number {
            Attribute::Long(number) => (Some(number), exact(number)),
            Attribute::Double(number) => (None, Some(number)),
            _ => return None,
        };
        let holds = match op {
            Op::Equal => 1 << stands::EQUAL,
            Op::Unequal => 1 << stands::LESS | 1 << stands::GREATER | 1 << stands::NOT_AT_ALL,
            Op::Less => 1 << stands::LESS,
            Op::LessEqual => 1 << stands::LESS | 1 << stands::EQUAL,
            Op::Greater => 1 << stands::GREATER,
            Op::GreaterEqual => 1 << stands::GREATER | 1 << stands::EQUAL,
            _ => return None,
        };
        Some(Self {
            holds,
            is_long: long.is_some(),
            is_double: double.is_some(),
            long: long.unwrap_or_default(),
            double: double.unwrap_or_default(),
        })
    }

    /// Whether it is exact against whole numbers.
    #[inline(always)]
    pub(super) const fn is_long(&self) -> bool {
        self.is_long
    }

    /// Whether it is exact against doubles.
    #[inline(always)]
    pub(super) const fn is_double(&self) -> bool {
        self.is_double
    }

    #[inline(always)]
    pub(super) fn holds_long(&self, value: i64) -> bool {
        self.contains(stands(value, self.long))
    }

    #[inline(always)]
    pub(super) fn holds_double(&self, value: f64) -> bool {
        self.contains(stands(value, self.double))
    }

    #[inline]
    const fn contains(&self, stands: u8) -> bool {
        self.holds >> stands & 1 != 0
    }

    /// Whether any value stands so to the number. Another type than a number differs from each, and has no order with any.
    #[cold]
    pub(super) fn mixed(&self, value: Value<'_>) -> Verdict {
        let number = if self.is_long {
            Value::Long(self.long)
        } else {
            Value::Double(self.double)
        };
        let is_equality = self.holds == 1 << stands::EQUAL || self.contains(stands::NOT_AT_ALL);
        let stands = match compare(value, number) {
            Some(Ordering::Less) => stands::LESS,
            Some(Ordering::Equal) => stands::EQUAL,
            Some(Ordering::Greater) => stands::GREATER,
            None if is_equality || matches!(value, Value::Double(_) | Value::Long(_)) => stands::NOT_AT_ALL,
            None => return Verdict::FAILED,
        };
        Verdict::of(self.contains(stands))
    }
}

/// A number that is calculated with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Long(i64),
    Double(f64),
}

impl Number {
    #[inline]
    pub fn of(value: Value<'_>) -> Result<Self, Fault> {
        match value {
            Value::Long(value) => Ok(Self::Long(value)),
            Value::Double(value) => Ok(Self::Double(value)),
            _ => Err(Fault::Failed),
        }
    }

    #[inline]
    pub const fn value(self) -> Value<'static> {
        match self {
            Self::Long(value) => Value::Long(value),
            Self::Double(value) => Value::Double(value),
        }
    }
}

#[inline(always)]
fn stands<T: PartialOrd>(value: T, number: T) -> u8 {
    (u8::from(value >= number) * stands::GREATER) | (u8::from(value <= number) * stands::LESS)
}

/// The double of the same value.
fn exact(number: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
    (-EXACT..=EXACT).contains(&number).then_some(number as f64)
}

pub(super) fn to_int(value: Value<'_>) -> Result<Value<'_>, Fault> {
    match value {
        Value::Long(value) => Ok(Value::Long(value)),
        // CEL truncates towards zero and fails outside the range; the bounds are exact doubles.
        #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
        Value::Double(value) if value > -TWO_TO_63 && value < TWO_TO_63 => Ok(Value::Long(value as i64)),
        Value::Text(text) => text.parse().map(Value::Long).map_err(|_| Fault::Failed),
        _ => Err(Fault::Failed),
    }
}

#[inline]
pub(super) fn compared(op: Op, left: Value<'_>, right: Value<'_>) -> Result<bool, Fault> {
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

#[inline]
pub(super) fn arithmetic(op: Op, left: Number, right: Number) -> Result<Number, Fault> {
    match (left, right) {
        (Number::Long(a), Number::Long(b)) => {
            let result = match op {
                Op::Add => a.checked_add(b),
                Op::Subtract => a.checked_sub(b),
                Op::Multiply => a.checked_mul(b),
                Op::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            result.map(Number::Long).ok_or(Fault::Failed)
        }
        (Number::Double(a), Number::Double(b)) => match op {
            Op::Add => Ok(Number::Double(a + b)),
            Op::Subtract => Ok(Number::Double(a - b)),
            Op::Multiply => Ok(Number::Double(a * b)),
            Op::Divide => Ok(Number::Double(a / b)),
            _ => Err(Fault::Failed),
        },
        _ => Err(Fault::Failed),
    }
}

/// Equality across types: numbers by value, everything else only with its own kind.
#[inline]
pub(crate) fn equal(left: Value<'_>, right: Value<'_>) -> bool {
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
