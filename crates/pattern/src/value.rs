//! A value as predicates read it: borrowed, so that reading copies no text.

use std::cmp::Ordering;

use event::{Attribute, Millis};

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

    /// A total order of values: kind first, then value. 1, 1.0 and `"1"` all differ.
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
