//! Records as lists of fields: one declaration gives the Avro bytes both ways and the JSON that people read.

use std::collections::BTreeMap;

use event::{Decimal, Millis, OutputId};
use serde_json::{Map, Value};

use crate::{
    Refusal,
    json::time,
    wire::{Reader, put_bool, put_decimal, put_double, put_list, put_long, put_map, put_option, put_text, put_time},
};

/// A value with one place in a published or stored record.
pub(crate) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(from: &mut Reader<'_>) -> Result<Self, Refusal>;
    fn json(&self) -> Value;
}

/// Implements [`Wire`] by a record's fields in the order of its schema; `as "name"` where the schema's name is another.
macro_rules! record {
    ($type:ty { $($field:ident $(as $name:literal)?),+ $(,)? }) => {
        impl $crate::record::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::record::Wire::put(&self.$field, out);)+
            }

            fn get(from: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::Refusal> {
                // Fields are read in the order in which they stand here.
                Ok(Self { $($field: $crate::record::Wire::get(from)?),+ })
            }

            fn json(&self) -> serde_json::Value {
                let mut entries = serde_json::Map::new();
                $($crate::record::enter(
                    &mut entries,
                    $crate::record::name(&[stringify!($field) $(, $name)?]),
                    $crate::record::Wire::json(&self.$field),
                );)+
                serde_json::Value::Object(entries)
            }
        }
    };
}
pub(crate) use record;

/// Implements [`Wire`] for enums of `event`: the index of the schema's symbol.
macro_rules! symbols {
    ($($type:ty),+ $(,)?) => {
        $(impl $crate::record::Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $crate::wire::put_long(out, *self as i64);
            }

            fn get(from: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::Refusal> {
                from.index(Self::ALL.len()).map(|index| Self::ALL[index])
            }

            fn json(&self) -> serde_json::Value {
                self.as_str().into()
            }
        })+
    };
}
pub(crate) use symbols;

/// The last name given: the field's own, or the schema's where it differs.
pub(crate) fn name(names: &[&'static str]) -> &'static str {
    names.last().copied().unwrap_or_default()
}

/// Enters a value; nulls are left out.
pub(crate) fn enter(entries: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        entries.insert(name.to_owned(), value);
    }
}

macro_rules! plain {
    ($($type:ty: $put:expr, $get:expr, $json:expr);+ $(;)?) => {
        $(impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                ($put)(out, self);
            }

            fn get(from: &mut Reader<'_>) -> Result<Self, Refusal> {
                ($get)(from)
            }

            fn json(&self) -> Value {
                ($json)(self)
            }
        })+
    };
}

plain! {
    String: |out: &mut Vec<u8>, text: &String| put_text(out, text), Reader::text, |text: &String| Value::from(text.as_str());
    bool: |out: &mut Vec<u8>, value: &bool| put_bool(out, *value), Reader::bool, |value: &bool| Value::from(*value);
    i64: |out: &mut Vec<u8>, value: &i64| put_long(out, *value), Reader::long, |value: &i64| Value::from(*value);
    i32: |out: &mut Vec<u8>, value: &i32| put_long(out, i64::from(*value)), narrow::<i32>, |value: &i32| Value::from(*value);
    u32: |out: &mut Vec<u8>, value: &u32| put_long(out, i64::from(*value)), narrow::<u32>, |value: &u32| Value::from(*value);
    u8: |out: &mut Vec<u8>, value: &u8| put_long(out, i64::from(*value)), narrow::<u8>, |value: &u8| Value::from(*value);
    f64: |out: &mut Vec<u8>, value: &f64| put_double(out, *value), Reader::double, |value: &f64| Value::from(*value);
    Millis: |out: &mut Vec<u8>, at: &Millis| put_time(out, *at), Reader::time, |at: &Millis| Value::from(time(*at));
    Decimal: |out: &mut Vec<u8>, value: &Decimal| put_decimal(out, *value), Reader::decimal,
        |value: &Decimal| Value::from(value.to_string());
    OutputId: |out: &mut Vec<u8>, id: &OutputId| put_text(out, &id.to_string()), output_id,
        |id: &OutputId| Value::from(id.to_string());
}

fn narrow<T: TryFrom<i64>>(from: &mut Reader<'_>) -> Result<T, Refusal> {
    T::try_from(from.long()?).map_err(|_| from.malformed("a number is out of range"))
}

fn output_id(from: &mut Reader<'_>) -> Result<OutputId, Refusal> {
    OutputId::parse(&from.text()?).ok_or_else(|| from.malformed("an id is no UUID"))
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_option(out, self.as_ref(), |out, value| value.put(out));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, Refusal> {
        from.option(T::get)
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::json)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_list(out, self, |out, item| item.put(out));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, Refusal> {
        from.list(T::get)
    }

    fn json(&self) -> Value {
        self.iter().map(T::json).collect()
    }
}

impl<T: Wire> Wire for BTreeMap<String, T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_map(out, self, |out, value| value.put(out));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, Refusal> {
        from.map(T::get)
    }

    fn json(&self) -> Value {
        Value::Object(self.iter().map(|(key, value)| (key.clone(), value.json())).collect())
    }
}
