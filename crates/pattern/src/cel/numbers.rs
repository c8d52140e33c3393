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

/// A comparison with a number that is known beforehand: the values that make it hold lie between two bounds, or outside of them. The
/// bounds are exact in either type, so that nothing is converted and only what is no number needs more. It takes no branch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Test {
    /// Both belong to what lies between; nothing does where the first is greater.
    long: (i64, i64),
    double: (f64, f64),
    holds_between: bool,
    /// Asks whether it is equal: what is no number differs from each, and has no order with any.
    is_equality: bool,
}

impl Test {
    /// A comparison with a number; nothing else compares with one beforehand.
    pub(super) fn of(op: Op, number: &Attribute) -> Option<Self> {
        let number = Value::from(number);
        if !matches!(number, Value::Long(_)) && !matches!(number, Value::Double(number) if number.is_finite()) {
            return None;
        }
        let ((from_long, to_long), (from_double, to_double)) = (longs_beside(number)?, doubles_beside(number));
        // Of what is less or greater alone, the bound goes to the next one beyond, if the number itself has that type.
        let is_long = from_long == to_long;
        let is_double = from_double == to_double;
        let none = ((1, 0), (1.0, 0.0));
        let (long, double) = match op {
            Op::Equal | Op::Unequal => (
                if is_long { (from_long, from_long) } else { none.0 },
                if is_double { (from_double, from_double) } else { none.1 },
            ),
            Op::Less => (
                if !is_long {
                    (i64::MIN, to_long)
                } else {
                    from_long.checked_sub(1).map_or(none.0, |below| (i64::MIN, below))
                },
                (
                    f64::NEG_INFINITY,
                    if is_double { to_double.next_down() } else { to_double },
                ),
            ),
            Op::LessEqual => ((i64::MIN, to_long), (f64::NEG_INFINITY, to_double)),
            Op::Greater => (
                if !is_long {
                    (from_long, i64::MAX)
                } else {
                    from_long.checked_add(1).map_or(none.0, |above| (above, i64::MAX))
                },
                (
                    if is_double { from_double.next_up() } else { from_double },
                    f64::INFINITY,
                ),
            ),
            Op::GreaterEqual => ((from_long, i64::MAX), (from_double, f64::INFINITY)),
            _ => return None,
        };
        Some(Self {
            long,
            double,
            holds_between: op != Op::Unequal,
            is_equality: matches!(op, Op::Equal | Op::Unequal),
        })
    }

    #[inline(always)]
    pub(super) fn holds_long(&self, value: i64) -> bool {
        ((value >= self.long.0) & (value <= self.long.1)) == self.holds_between
    }

    #[inline(always)]
    pub(super) fn holds_double(&self, value: f64) -> bool {
        ((value >= self.double.0) & (value <= self.double.1)) == self.holds_between
    }

    /// What it says of anything else than a number.
    #[cold]
    pub(super) const fn of_another_type(&self) -> Verdict {
        if self.is_equality {
            Verdict::of(!self.holds_between)
        } else {
            Verdict::Failed
        }
    }
}

/// The least whole number that is not less than a number, and the greatest that is not greater: the same for a whole one. `None` where
/// one of both is no `i64`.
fn longs_beside(number: Value<'_>) -> Option<(i64, i64)> {
    match number {
        Value::Long(number) => Some((number, number)),
        Value::Double(number) => {
            let whole = |number: f64| {
                #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
                (-TWO_TO_63..TWO_TO_63).contains(&number).then_some(number as i64)
            };
            Some((whole(number.ceil())?, whole(number.floor())?))
        }
        _ => None,
    }
}

/// As [`longs_beside`], of doubles.
fn doubles_beside(number: Value<'_>) -> (f64, f64) {
    match number {
        Value::Long(whole) => {
            #[expect(clippy::cast_precision_loss, reason = "what is lost is seen in what follows")]
            let near = whole as f64;
            match mixed(whole, near) {
                Some(Ordering::Less) => (near, near.next_down()),
                Some(Ordering::Greater) => (near.next_up(), near),
                _ => (near, near),
            }
        }
        Value::Double(number) => (number, number),
        _ => (f64::NAN, f64::NAN),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A test that is known beforehand says what the comparison says, at every edge of either type.
    #[test]
    fn bounds_say_what_comparisons_say() {
        let edges = [
            0,
            1,
            -1,
            7,
            1 << 53,
            (1 << 53) + 1,
            -(1 << 53) - 1,
            i64::MAX,
            i64::MAX - 1,
            i64::MIN,
            i64::MIN + 1,
        ];
        let doubles = [
            0.0,
            -0.0,
            0.5,
            -0.5,
            7.0,
            7.5,
            f64::MIN_POSITIVE,
            5e-324,
            9_007_199_254_740_992.0,
            9_007_199_254_740_994.0,
            TWO_TO_63,
            TWO_TO_63.next_down(),
            -TWO_TO_63,
            (-TWO_TO_63).next_down(),
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        let numbers: Vec<Value<'_>> = edges
            .map(Value::Long)
            .into_iter()
            .chain(doubles.map(Value::Double))
            .collect();
        let mut tested = 0;
        for op in [
            Op::Equal,
            Op::Unequal,
            Op::Less,
            Op::LessEqual,
            Op::Greater,
            Op::GreaterEqual,
        ] {
            for number in &numbers {
                let Some(test) = Test::of(op, &Attribute::from(*number)) else {
                    continue;
                };
                for value in &numbers {
                    let found = match *value {
                        Value::Long(value) => test.holds_long(value),
                        Value::Double(value) => test.holds_double(value),
                        _ => unreachable!("numbers alone"),
                    };
                    assert_eq!(Ok(found), compared(op, *value, *number), "{value:?} {op:?} {number:?}");
                    tested += 1;
                }
                for other in [Value::Text("7"), Value::Bool(true), Value::Null] {
                    let expected = Verdict::from(compared(op, other, *number));
                    assert_eq!(test.of_another_type(), expected, "{other:?} {op:?} {number:?}");
                }
            }
        }
        // All but the infinite, what is no number, and what no whole number reaches.
        assert_eq!(tested, 6 * numbers.len() * (numbers.len() - 7));
    }
}
