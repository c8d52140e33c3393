//! Values compared and calculated with as CEL does it.

use std::cmp::Ordering;

use super::{Fault, Op};
use crate::Value;

/// 2^63, exact as a double: the first value above every `i64`.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

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

    pub(super) const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }
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

pub(super) fn arithmetic<'a>(op: Op, left: Value<'_>, right: Value<'_>) -> Result<Value<'a>, Fault> {
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
pub(super) fn equal(left: Value<'_>, right: Value<'_>) -> bool {
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
