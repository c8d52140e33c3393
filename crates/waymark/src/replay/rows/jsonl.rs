//! JSON lines: members by their names, nested ones joined by a dot.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{AtLine, Refused, Row, ended};

pub(super) fn read(plain: Box<dyn Read + '_>, take: &mut dyn FnMut(Row) -> Result<(), Refused>) -> Result<(), AtLine> {
    for (index, line) in BufReader::new(plain).lines().enumerate() {
        let number = index as u64 + 1;
        let line = line.map_err(|error| (number, format!("line cannot be read: {}", ended(&error)).into()))?;
        if line.len() > codec::MAX_VALUE {
            let (bytes, limit) = (line.len(), codec::MAX_VALUE);
            return Err((
                number,
                Refused::here(1, format!("row is too large: bytes={bytes} limit={limit}")),
            ));
        }
        let line = line.trim_start_matches('\u{feff}');
        if line.trim().is_empty() {
            continue;
        }
        let Once(value) = serde_json::from_str(line).map_err(|error| {
            let text = error.to_string();
            // The place is said once, at the beginning, with the file's own line.
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            let at = error.column() as u64;
            (number, Refused::here(at, format!("JSON cannot be read: {text}")))
        })?;
        let serde_json::Value::Object(members) = value else {
            return Err((number, Refused::here(1, "not a JSON object")));
        };
        let mut columns = Vec::new();
        let (mut cells, mut quoted) = (Vec::new(), Vec::new());
        flatten("", members, &mut columns, &mut cells, &mut quoted);
        let row = Row {
            line: number,
            columns: Arc::new(columns),
            cells,
            quoted,
            raw: line.as_bytes().to_vec(),
        };
        take(row).map_err(|refused| (number, refused))?;
    }
    Ok(())
}

/// Nested members become columns joined by a dot.
fn flatten(
    prefix: &str,
    members: serde_json::Map<String, serde_json::Value>,
    columns: &mut Vec<String>,
    cells: &mut Vec<Option<String>>,
    quoted: &mut Vec<bool>,
) {
    for (name, value) in members {
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        let is_text = value.is_string();
        let cell = match value {
            serde_json::Value::Object(inner) => {
                flatten(&name, inner, columns, cells, quoted);
                continue;
            }
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        columns.push(name);
        cells.push(cell);
        quoted.push(is_text);
    }
}

/// Where a member begins in a line, in characters from 1.
pub(super) fn place(line: &[u8], column: &str) -> Option<u64> {
    let line = String::from_utf8_lossy(line);
    let name = column.rsplit('.').next()?;
    let at = line.find(&format!("\"{name}\""))?;
    Some(line[..at].chars().count() as u64 + 1)
}

/// A JSON value in which no object has a key twice: one of the two would be lost in silence.
struct Once(serde_json::Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once(serde_json::Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Once, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(Once(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut members = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(de::Error::custom(format!("a key stands twice: key={key}")));
            }
            let Once(value) = map.next_value()?;
            members.insert(key, value);
        }
        Ok(Once(members.into()))
    }
}
