//! A value as predicates read it: borrowed, so that reading copies no text.

use std::cmp::Ordering;

use event::{Attribute, Millis};

/// 2^63, exact as a double: the first value above every `i64`.
pub(crate) const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Present without a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Long(i64),
    /// Any other number.
    Double(f64),
    /// A string.
    Text(&'a str),
    /// A list of strings.
    List(&'a [String]),
}

impl<'a> From<&'a Attribute> for Value<'a> {
    #[inline]
    fn from(attribute: &'a Attribute) -> Self {
        match attribute {
            Attribute::Null => Self::Null,
            Attribute::Bool(value) => Self::Bool(*value),
            Attribute::Long(value) => Self::Long(*value),
            Attribute::Double(value) => Self::Double(*value),
            Attribute::Text(text) => Self::Text(text),
            Attribute::List(list) => Self::List(list),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<Value<'_>> for Attribute {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Long(value) => Self::Long(value),
            Value::Double(value) => Self::Double(value),
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::List(list) => Self::List(list.to_vec()),
        }
    }
}

impl Value<'_> {
    /// As a by-key or a sentence shows it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Text(text) => (*text).to_owned(),
            Self::List(list) => list.join(","),
        }
    }

    /// A date: milliseconds since 1970.
    pub(crate) fn date(&self) -> Option<Millis> {
        match self {
            Self::Long(value) => Some(Millis(*value)),
            _ => None,
        }
    }

    /// The one value that stands for all which CEL's `==` takes for the same: a double that is a whole number becomes that whole number.
    /// By it `by` and `across` tell values apart, so that 1 and 1.0 are one and `"1"` is another.
    #[inline]
    pub(crate) fn unified(self) -> Self {
        match self {
            Self::Double(number) => whole(number).map_or(self, Self::Long),
            other => other,
        }
    }

    /// A total order of values: kind first, then value. 1, 1.0 and `"1"` all differ; of [`Value::unified`] values those that CEL does.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let rank = |value: &Self| match value {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Long(_) => 2,
            Self::Double(_) => 3,
            Self::Text(_) => 4,
            Self::List(_) => 5,
        };
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Long(a), Self::Long(b)) => a.cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) => a.cmp(b),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

/// The whole number that a double is, exactly.
fn whole(number: f64) -> Option<i64> {
    // The bounds are exact doubles, the upper one the first above every `i64`. What is no number is not between them.
    let is_in_range = (-TWO_TO_63..TWO_TO_63).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    (is_in_range && number.fract() == 0.0).then_some(number as i64)
}

/// Has an attribute hold its [`Value::unified`] value; whether it was another one.
pub(crate) fn unify(attribute: &mut Attribute) -> bool {
    let Attribute::Double(number) = *attribute else {
        return false;
    };
    let whole = whole(number);
    if let Some(whole) = whole {
        *attribute = Attribute::Long(whole);
    }
    whole.is_some()
}

/// Overwrites an attribute, keeping a text's memory where there is one.
pub(crate) fn assign(slot: &mut Attribute, value: Value<'_>) {
    match (&mut *slot, value) {
        (Attribute::Text(old), Value::Text(new)) => {
            old.clear();
            old.push_str(new);
        }
        (_, value) => *slot = Attribute::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::same;

    #[test]
    fn what_cel_takes_for_the_same_has_one_unified_value() {
        let edge = 1i64 << 53;
        let whole = [0, 1, -1, 7, edge, edge + 1, i64::MAX, i64::MIN].map(Value::Long);
        let doubles = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            7.0,
            7.5,
            1e15,
            9_007_199_254_740_992.0,
            9_007_199_254_740_994.0,
            TWO_TO_63,
            -TWO_TO_63,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]
        .map(Value::Double);
        let others = [Value::Text("1"), Value::Text("1.0"), Value::Bool(true), Value::Null];
        let values: Vec<Value<'_>> = whole.into_iter().chain(doubles).chain(others).collect();
        for one in &values {
            for other in &values {
                let is_one = one.unified().order(&other.unified()).is_eq();
                assert_eq!(is_one, same(*one, *other), "{one:?} {other:?}");
            }
            let mut attribute = Attribute::from(*one);
            let is_changed = unify(&mut attribute);
            assert_eq!(Value::from(&attribute), one.unified());
            assert_eq!(is_changed, one.order(&one.unified()).is_ne(), "{one:?}");
        }
        assert_eq!(Value::Double(1.0).unified(), Value::Long(1));
        assert_eq!(Value::Double(TWO_TO_63).unified(), Value::Double(TWO_TO_63));
        assert_eq!(Value::Double(-TWO_TO_63).unified(), Value::Long(i64::MIN));
        assert!(matches!(Value::Double(f64::NAN).unified(), Value::Double(_)));
    }
}
