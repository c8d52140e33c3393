//! Evaluation: a walk over the tree that borrows what it reads.

use std::cmp::Ordering;

use event::Attribute;

use super::{Expr, Node, Op, Path};

/// 2^63, exact as a double: the first value above every `i64`.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A field that is read is not there: no match, not an error.
    Missing,
    /// A wrong type, an overflow, a division by zero: no match, and counted.
    Failed,
}

/// Where paths lead.
pub(crate) trait Reads {
    /// The value at a path; `None` where it is missing.
    fn read(&self, path: &Path) -> Option<Attribute>;
}

/// Whether a `where` holds.
pub(crate) fn holds(expr: &Expr, reads: &dyn Reads) -> Result<bool, Fault> {
    boolean(expr, reads)
}

fn boolean(expr: &Expr, reads: &dyn Reads) -> Result<bool, Fault> {
    match value(expr, reads)? {
        Attribute::Bool(value) => Ok(value),
        _ => Err(Fault::Failed),
    }
}

fn value(expr: &Expr, reads: &dyn Reads) -> Result<Attribute, Fault> {
    Ok(match &expr.node {
        Node::Null => Attribute::Null,
        Node::Bool(value) => Attribute::Bool(*value),
        Node::Int(value) => Attribute::Long(*value),
        Node::Double(value) => Attribute::Double(*value),
        Node::Text(text) => Attribute::Text(text.clone()),
        Node::Read(path) => reads.read(path).ok_or(Fault::Missing)?,
        Node::Has(path) => Attribute::Bool(reads.read(path).is_some()),
        Node::Not(inner) => Attribute::Bool(!boolean(inner, reads)?),
        Node::Negate(inner) => match value(inner, reads)? {
            Attribute::Long(value) => Attribute::Long(value.checked_neg().ok_or(Fault::Failed)?),
            Attribute::Double(value) => Attribute::Double(-value),
            _ => return Err(Fault::Failed),
        },
        Node::Binary(op, left, right) => binary(*op, left, right, reads)?,
        Node::Choose(test, yes, no) => {
            return value(if boolean(test, reads)? { yes } else { no }, reads);
        }
        Node::In(item, list) => {
            let item = value(item, reads)?;
            let mut found = false;
            for literal in list {
                found = found || equal(&item, &value(literal, reads)?);
            }
            Attribute::Bool(found)
        }
        Node::Size(inner) => match value(inner, reads)? {
            Attribute::Text(text) => Attribute::Long(i64::try_from(text.chars().count()).map_err(|_| Fault::Failed)?),
            Attribute::List(list) => Attribute::Long(i64::try_from(list.len()).map_err(|_| Fault::Failed)?),
            _ => return Err(Fault::Failed),
        },
        Node::StartsWith(on, with) => texts(on, with, reads, |on, with| on.starts_with(with))?,
        Node::EndsWith(on, with) => texts(on, with, reads, |on, with| on.ends_with(with))?,
        Node::Contains(on, with) => texts(on, with, reads, |on, with| on.contains(with))?,
        Node::Matches(on, pattern) => match value(on, reads)? {
            Attribute::Text(text) => Attribute::Bool(pattern.0.is_match(&text)),
            _ => return Err(Fault::Failed),
        },
        Node::ToInt(inner) => to_int(value(inner, reads)?)?,
        Node::ToDouble(inner) => match value(inner, reads)? {
            #[expect(clippy::cast_precision_loss, reason = "CEL rounds to the nearest double")]
            Attribute::Long(value) => Attribute::Double(value as f64),
            Attribute::Double(value) => Attribute::Double(value),
            Attribute::Text(text) => Attribute::Double(text.parse().map_err(|_| Fault::Failed)?),
            _ => return Err(Fault::Failed),
        },
    })
}

fn to_int(value: Attribute) -> Result<Attribute, Fault> {
    match value {
        Attribute::Long(value) => Ok(Attribute::Long(value)),
        // CEL truncates towards zero and fails outside the range; the bounds are exact doubles.
        #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
        Attribute::Double(value) if value > -TWO_TO_63 && value < TWO_TO_63 => Ok(Attribute::Long(value as i64)),
        Attribute::Text(text) => text.parse().map(Attribute::Long).map_err(|_| Fault::Failed),
        _ => Err(Fault::Failed),
    }
}

fn texts(on: &Expr, with: &Expr, reads: &dyn Reads, test: fn(&str, &str) -> bool) -> Result<Attribute, Fault> {
    match (value(on, reads)?, value(with, reads)?) {
        (Attribute::Text(on), Attribute::Text(with)) => Ok(Attribute::Bool(test(&on, &with))),
        _ => Err(Fault::Failed),
    }
}

fn binary(op: Op, left: &Expr, right: &Expr, reads: &dyn Reads) -> Result<Attribute, Fault> {
    if matches!(op, Op::Or | Op::And) {
        // One side that decides is enough, whichever it is and whatever the other does.
        let decides = op == Op::Or;
        return match boolean(left, reads) {
            Ok(value) if value == decides => Ok(Attribute::Bool(decides)),
            Ok(_) => boolean(right, reads).map(Attribute::Bool),
            Err(fault) => match boolean(right, reads) {
                Ok(value) if value == decides => Ok(Attribute::Bool(decides)),
                Err(Fault::Failed) => Err(Fault::Failed),
                _ => Err(fault),
            },
        };
    }
    let (left, right) = (value(left, reads)?, value(right, reads)?);
    let ordered = |accept: fn(Ordering) -> bool| match compare(&left, &right) {
        Some(order) => Ok(Attribute::Bool(accept(order))),
        // NaN compares with nothing, and that is no error.
        None if number(&left).is_some() && number(&right).is_some() => Ok(Attribute::Bool(false)),
        None => Err(Fault::Failed),
    };
    match op {
        Op::Equal => Ok(Attribute::Bool(equal(&left, &right))),
        Op::Unequal => Ok(Attribute::Bool(!equal(&left, &right))),
        Op::Less => ordered(Ordering::is_lt),
        Op::LessEqual => ordered(Ordering::is_le),
        Op::Greater => ordered(Ordering::is_gt),
        Op::GreaterEqual => ordered(Ordering::is_ge),
        _ => arithmetic(op, &left, &right),
    }
}

fn arithmetic(op: Op, left: &Attribute, right: &Attribute) -> Result<Attribute, Fault> {
    match (left, right) {
        (Attribute::Long(a), Attribute::Long(b)) => {
            let result = match op {
                Op::Add => a.checked_add(*b),
                Op::Subtract => a.checked_sub(*b),
                Op::Multiply => a.checked_mul(*b),
                Op::Divide => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            result.map(Attribute::Long).ok_or(Fault::Failed)
        }
        (Attribute::Double(a), Attribute::Double(b)) => match op {
            Op::Add => Ok(Attribute::Double(a + b)),
            Op::Subtract => Ok(Attribute::Double(a - b)),
            Op::Multiply => Ok(Attribute::Double(a * b)),
            Op::Divide => Ok(Attribute::Double(a / b)),
            _ => Err(Fault::Failed),
        },
        _ => Err(Fault::Failed),
    }
}

fn number(value: &Attribute) -> Option<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "only asks whether it is a number")]
        Attribute::Long(value) => Some(*value as f64),
        Attribute::Double(value) => Some(*value),
        _ => None,
    }
}

/// Equality across types: numbers by value, everything else only with its own kind.
fn equal(left: &Attribute, right: &Attribute) -> bool {
    match (left, right) {
        (Attribute::Long(_) | Attribute::Double(_), Attribute::Long(_) | Attribute::Double(_)) => {
            compare(left, right) == Some(Ordering::Equal)
        }
        _ => left == right,
    }
}

fn compare(left: &Attribute, right: &Attribute) -> Option<Ordering> {
    match (left, right) {
        (Attribute::Long(a), Attribute::Long(b)) => Some(a.cmp(b)),
        (Attribute::Double(a), Attribute::Double(b)) => a.partial_cmp(b),
        (Attribute::Long(a), Attribute::Double(b)) => mixed(*a, *b),
        (Attribute::Double(a), Attribute::Long(b)) => mixed(*b, *a).map(Ordering::reverse),
        (Attribute::Text(a), Attribute::Text(b)) => Some(a.cmp(b)),
        (Attribute::Bool(a), Attribute::Bool(b)) => Some(a.cmp(b)),
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
