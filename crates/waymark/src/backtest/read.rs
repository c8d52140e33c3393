//! A file of events: canonical JSON lines, columns, or whatever a mapping says.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use event::{Attribute, Event, EventSentiment, Identifier, IdentifierKind, Label, Millis, Role, vocabulary};
use sentiment::{Input, Scorer, Scratch};

use super::{
    progress::Progress,
    sort::{Sorted, Sorter},
};
use crate::replay::{
    mapping::{Format, Mapping},
    rows::{self, Layout, Refused, Row, Unreadable},
};

/// Bytes of events that are held in memory; more goes to a temporary file.
pub const MEMORY: usize = 256 << 20;

/// The columns without which a row is no event.
const NEEDED: [&str; 4] = ["id", "time", "customer", "type"];

/// Reads events in order of time through a mapping or, without one, canonical JSON lines, or columns `id`, `time`, `customer`,
/// `type` and fields. At most about `memory` bytes of them are held in memory.
///
/// # Errors
/// [`Unreadable`] with file, line and column of the first row that cannot be read.
pub fn read(events: &Path, map: Option<&Path>, memory: usize) -> Result<Sorted, Unreadable> {
    let mapping = match map {
        Some(map) => {
            let text = std::fs::read_to_string(map)
                .map_err(|error| Unreadable::file(map, format!("cannot be read: {error}")))?;
            let name = map.display().to_string();
            let place = format!("{name}: ");
            let parsed = Mapping::parse(&name, &text)
                .map_err(|message| Unreadable::file(map, message.strip_prefix(&place).unwrap_or(&message)))?;
            Some(parsed)
        }
        None => None,
    };
    let unknown = || Unreadable::file(events, "format is not told by the name: .csv or .jsonl, perhaps .gz");
    let layout = match &mapping {
        Some(mapping) => mapping.layout(events).map_err(|_| unknown())?,
        None => Layout {
            needed: &NEEDED,
            ..Layout::of(events).ok_or_else(unknown)?
        },
    };
    let total = std::fs::metadata(events).map_or(0, |file| file.len());
    let (done, mut progress) = (AtomicU64::new(0), Progress::new("reading", total));
    let mut sorter = Sorter::new(memory);
    let mut texts = Texts::default();
    let mut rows = 0u64;
    rows::read_counted(events, layout, &done, &mut |row| {
        let mut event = match &mapping {
            Some(mapping) => {
                if rows == 0 && layout.format == Format::Csv {
                    mapping.check_columns(&row)?;
                }
                mapping.event(&row)?
            }
            None => one(&row)?,
        };
        vocabulary::conform(&event.kind, &mut event.attributes);
        texts.read(&mut event, &row)?;
        rows += 1;
        if rows.is_multiple_of(256) {
            progress.at(done.load(Ordering::Relaxed));
        }
        sorter.push(&event).map_err(|error| disk(&error).into())
    })?;
    sorter.finish().map_err(|error| Unreadable::file(events, disk(&error)))
}

fn disk(error: &io::Error) -> String {
    format!("a temporary file cannot be written: {error}; TMPDIR names another place")
}

/// Reads texts as `intake` does, by the lexicons that ship. A canonical event that has been read already, as in an export of the
/// timeline, keeps what was read of it.
#[derive(Default)]
struct Texts {
    scorer: Option<Scorer>,
    scratch: Scratch,
}

impl Texts {
    fn read(&mut self, event: &mut Event, row: &Row) -> Result<(), Refused> {
        if event.sentiment.is_some() {
            return Ok(());
        }
        if row.raw().starts_with(b"{") && row.has("sentiment.label") {
            event.sentiment = Some(given(row)?);
            return Ok(());
        }
        let Some(text) = event.text.as_ref().filter(|text| !text.body.is_empty()) else {
            return Ok(());
        };
        let scorer = self.scorer.get_or_insert_with(Scorer::default);
        let score = scorer.score(&Input::of(text), &mut self.scratch);
        event.sentiment = score.as_ref().map(EventSentiment::from);
        Ok(())
    }
}

/// The member `sentiment` of a canonical event.
fn given(row: &Row) -> Result<EventSentiment, Refused> {
    let text = |name: &str| row.get(&format!("sentiment.{name}"));
    let number = |column: &str, cell: &str| {
        cell.parse::<f64>()
            .map_err(|_| Refused::at(column, format!("must be a number: found={cell}")))
    };
    let optional = |name: &str| {
        let column = format!("sentiment.{name}");
        text(name).map(|cell| number(&column, &cell)).transpose()
    };
    let label = text("label").unwrap_or_default();
    let label =
        Label::parse(&label).ok_or_else(|| Refused::at("sentiment.label", format!("unknown label: found={label}")))?;
    let mut signals = BTreeMap::new();
    for (column, cell) in row.cells() {
        if let Some(signal) = column.strip_prefix("sentiment.signals.") {
            signals.insert(signal.to_owned(), number(column, cell)?);
        }
    }
    Ok(EventSentiment {
        label,
        score: optional("score")?,
        confidence: optional("confidence")?,
        lang: text("lang"),
        signals,
    })
}

/// A canonical event if the row is one, else columns.
fn one(row: &Row) -> Result<Event, Refused> {
    let is_canonical = row.raw().starts_with(b"{") && row.columns().iter().any(|column| column == "identifiers");
    if !is_canonical {
        return plain(row);
    }
    let event = codec::read_event(row.raw()).map_err(|refusal| Refused {
        column: refusal.field,
        ..Refused::from(format!("{}: {}", refusal.reason, refusal.message))
    })?;
    if event.identifiers.is_empty() {
        return Err(Refused::at("identifiers", "no identifier"));
    }
    Ok(event)
}

/// What a `time` may be.
const TIMES: &str = "expected=RFC 3339 or epoch milliseconds; a mapping reads other formats";

fn plain(row: &Row) -> Result<Event, Refused> {
    let needed = |column: &str| {
        row.get(column)
            .ok_or_else(|| Refused::at(column, format!("a value is missing: column={column}")))
    };
    let written = needed("time")?;
    let time = written
        .parse::<i64>()
        .ok()
        .map(Millis)
        .or_else(|| Millis::parse(&written))
        .ok_or_else(|| {
            Refused::at(
                "time",
                format!("time cannot be read: column=time found={written} {TIMES}"),
            )
        })?;
    let (name, kind) = (needed("customer")?, needed("type")?);
    if name.len() > Identifier::MAX_BYTES {
        let (bytes, limit) = (name.len(), Identifier::MAX_BYTES);
        let message = format!("longer than allowed: bytes={bytes} limit={limit}");
        return Err(Refused::at("customer", message));
    }
    if !vocabulary::is_type(&kind) {
        let message = format!("type_invalid: type must be object.verb in lower snake case: found={kind}");
        return Err(Refused::at("type", message));
    }
    let customer = Identifier {
        kind: IdentifierKind::Customer,
        value: name,
        namespace: String::new(),
        verified: true,
    };
    let mut event = Event {
        id: needed("id")?,
        source: "file".to_owned(),
        kind,
        time,
        identifiers: vec![customer],
        text: said(row)?,
        ..Event::default()
    };
    for (column, cell) in row.cells() {
        match column {
            "id" | "time" | "customer" | "type" | "text" => {}
            "role" if event.text.is_some() => {}
            "channel" => {
                event.channel = event::Channel::parse(cell)
                    .ok_or_else(|| Refused::at(column, format!("unknown channel: found={cell}")))?;
            }
            "session" => event.session = Some(cell.to_owned()),
            "conversation" => event.conversation = Some(cell.to_owned()),
            "medium" => event.medium = Some(cell.to_owned()),
            field => {
                let is_json = row.raw().starts_with(b"{");
                let value = if row.is_quoted(field) {
                    Attribute::Text(cell.to_owned())
                } else if is_json && cell.starts_with('[') {
                    list(field, cell)?
                } else {
                    value(field, cell)
                };
                event.attributes.insert(field.to_owned(), value);
            }
        }
    }
    Ok(event)
}

/// What the row's `text` says, in `lang`, by `role`. A `role` alone says who acted, unless it is a word of the file's own.
fn said(row: &Row) -> Result<Option<event::Text>, Refused> {
    let (body, written) = (row.get("text"), row.get("role"));
    let role = match written.as_deref().map(|name| Role::parse(name).ok_or(name)) {
        None if body.is_none() => return Ok(None),
        None => Role::default(),
        Some(Ok(role)) => role,
        Some(Err(_)) if body.is_none() => return Ok(None),
        Some(Err(name)) => {
            let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
            let known = known.join(" ");
            return Err(Refused::at("role", format!("unknown role: found={name} known={known}")));
        }
    };
    Ok(Some(event::Text {
        body: body.unwrap_or_default(),
        lang: row.get("lang"),
        role,
        modality: event::Modality::Text,
        ..event::Text::default()
    }))
}

/// A list of texts, as JSON writes it.
fn list(field: &str, cell: &str) -> Result<Attribute, Refused> {
    serde_json::from_str(cell)
        .map(Attribute::List)
        .map_err(|_| Refused::at(field, format!("a list holds texts: field={field}")))
}

/// A cell as the value that it looks like. What names a thing stays a text, and so does a number that would be written otherwise:
/// `007`, `+31612345678`, `1e3` or one of twenty digits is a name that somebody gave.
fn value(field: &str, cell: &str) -> Attribute {
    let text = || Attribute::Text(cell.to_owned());
    if vocabulary::is_name(field) {
        return text();
    }
    match cell {
        "true" | "True" | "TRUE" => return Attribute::Bool(true),
        "false" | "False" | "FALSE" => return Attribute::Bool(false),
        _ => {}
    }
    if let Ok(whole) = cell.parse::<i64>() {
        return if whole.to_string() == cell {
            Attribute::Long(whole)
        } else {
            text()
        };
    }
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let Some((whole, part)) = digits.split_once('.') else {
        return text();
    };
    let is_written_so = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leads = whole.len() == 1 || !whole.starts_with('0');
    match cell.parse::<f64>() {
        // An amount may end in zeros: 1.10.
        Ok(number) if is_written_so(whole) && is_written_so(part) && leads && digits.len() <= 16 => {
            Attribute::Double(number)
        }
        _ => text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<Vec<Event>, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        let sorted = read(&path, None, MEMORY)
            .map_err(|wrong| wrong.to_string().replace(&folder.path().display().to_string(), ""))?;
        let events = sorted.events().expect("read");
        Ok(events.map(|event| event.expect("read")).collect())
    }

    #[test]
    fn canonical_lines_and_columns_give_events() {
        let canonical = r#"{"id":"1","source":"s","type":"order.completed","time":"2026-11-21T13:00:00Z","identifiers":[{"kind":"customer","value":"7"}],"attributes":{"value":3}}"#;
        let columns = r#"{"id":"1","customer":"7","type":"order.completed","time":"2026-11-21T13:00:00Z","value":3}"#;
        let table = "id,time,customer,type,value,note\n1,2026-11-21T13:00:00Z,7,order.completed,3,\n";
        for (name, text) in [("a.jsonl", canonical), ("b.jsonl", columns), ("c.csv", table)] {
            let events = read_text(name, text).expect(name);
            assert_eq!(events[0].time, Millis(1_795_266_000_000), "{name}");
            assert_eq!(events[0].identifiers[0].value, "7", "{name}");
            assert_eq!(
                events[0].attributes,
                event::Attributes::from([("value".to_owned(), Attribute::Double(3.0))]),
                "{name}"
            );
        }
    }

    #[test]
    fn texts_are_read_unless_they_have_been() {
        let line = |more: &str| {
            format!(
                r#"{{"id":"1","source":"s","type":"message.received","time":"2026-11-21T13:00:00Z","identifiers":[{{"kind":"customer","value":"7"}}],"text":{{"body":"This is terrible, I want to cancel my contract","lang":"en"}}{more}}}"#
            )
        };
        let read = read_text("a.jsonl", &line("")).expect("read");
        let sentiment = read[0].sentiment.as_ref().expect("scored");
        assert_eq!(sentiment.label, Label::Negative);
        assert!(sentiment.signals.contains_key("churn_intent"), "{sentiment:?}");
        let told =
            r#","sentiment":{"label":"positive","score":0.25,"confidence":0.5,"lang":"en","signals":{"urgency":0.75}}"#;
        let read = read_text("a.jsonl", &line(told)).expect("read");
        let expected = EventSentiment {
            label: Label::Positive,
            score: Some(0.25),
            confidence: Some(0.5),
            lang: Some("en".to_owned()),
            signals: BTreeMap::from([("urgency".to_owned(), 0.75)]),
        };
        assert_eq!(read[0].sentiment, Some(expected));
        let wrong = read_text("a.jsonl", &line(r#","sentiment":{"label":"glad"}"#)).expect_err("refused");
        assert!(wrong.contains("unknown label: found=glad"), "{wrong}");
    }

    #[test]
    fn a_column_of_texts_is_read_by_whoever_wrote_them() {
        let table = "id,time,customer,type,role,lang,text\n\
                     1,2026-11-21T13:00:00Z,7,message.received,customer,nl,het werkt nog steeds niet\n\
                     2,2026-11-21T13:00:01Z,7,message.sent,agent,nl,wat vervelend voor u\n\
                     3,2026-11-21T13:00:02Z,7,message.sent,bot,,\n\
                     4,2026-11-21T13:00:03Z,7,message.received,,,\n";
        let read = read_text("a.csv", table).expect("read");
        let labels: Vec<_> = read
            .iter()
            .map(|event| event.sentiment.as_ref().map(|sentiment| sentiment.label))
            .collect();
        assert_eq!(labels, [Some(Label::Negative), None, None, None]);
        let roles: Vec<_> = read
            .iter()
            .map(|event| event.text.as_ref().map(|text| text.role))
            .collect();
        assert_eq!(roles, [Some(Role::Customer), Some(Role::Agent), Some(Role::Bot), None]);
        assert!(!read[0].attributes.contains_key("text"));
        let wrong = read_text("a.csv", &table.replace(",agent,", ",colleague,")).expect_err("refused");
        assert!(
            wrong.contains("a.csv:3") && wrong.contains("unknown role: found=colleague"),
            "{wrong}"
        );
        let own = table.replace(
            "3,2026-11-21T13:00:02Z,7,message.sent,bot",
            "3,2026-11-21T13:00:02Z,7,message.sent,crew",
        );
        let read = read_text("a.csv", &own).expect("a word of the file's own");
        assert_eq!(read[2].attributes["role"], Attribute::Text("crew".to_owned()));
    }

    #[test]
    fn a_text_stays_a_text_and_a_cell_is_what_it_looks_like() {
        let of = |name: &str, text: &str| read_text(name, text).expect("read")[0].attributes["x"].clone();
        let json = |x: &str| {
            of(
                "a.jsonl",
                &format!(r#"{{"id":"1","customer":"7","type":"a.b","time":1795266000000,"x":{x}}}"#),
            )
        };
        assert_eq!(json("\"5\""), Attribute::Text("5".to_owned()));
        assert_eq!(json("5"), Attribute::Long(5));
        assert_eq!(json("5.0"), Attribute::Double(5.0));
        assert_eq!(json("true"), Attribute::Bool(true));
        let texts = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(json(r#"["a","b"]"#), Attribute::List(texts));
        assert_eq!(json("[]"), Attribute::List(Vec::new()));
        let numbers = r#"{"id":"1","customer":"7","type":"a.b","time":1795266000000,"x":[1]}"#;
        assert_eq!(
            read_text("a.jsonl", numbers).expect_err("refused"),
            "/a.jsonl:1:60: a list holds texts: field=x"
        );
        let csv = |x: &str| {
            of(
                "a.csv",
                &format!("id,time,customer,type,x\n1,1795266000000,7,a.b,{x}\n"),
            )
        };
        assert_eq!(csv("nan"), Attribute::Text("nan".to_owned()));
        let text = |cell: &str| Attribute::Text(cell.to_owned());
        for name in [
            "1e3",
            "007",
            "+31612345678",
            "12345678901234567890",
            "-0",
            "1.",
            ".5",
            "01.5",
            "inf",
            "",
        ] {
            if !name.is_empty() {
                assert_eq!(csv(name), text(name), "it would be written otherwise");
            }
        }
        assert_eq!(csv("-12"), Attribute::Long(-12));
        assert_eq!(csv("1.10"), Attribute::Double(1.1));
        assert_eq!(csv("-0.5"), Attribute::Double(-0.5));
        let named = of(
            "a.csv",
            "id,time,customer,type,product_id,x\n1,1795266000000,7,a.b,123,123\n",
        );
        assert_eq!(named, Attribute::Long(123));
        let events = read_text("a.csv", "id,time,customer,type,product_id\n1,1795266000000,7,a.b,123\n").expect("read");
        assert_eq!(events[0].attributes["product_id"], text("123"));
        let line =
            r#"{"id":"1","customer":"7","type":"product.viewed","time":1795266000000,"product_id":123,"value":2}"#;
        let of_json = read_text("a.jsonl", line).expect("read").remove(0).attributes;
        assert_eq!(
            (&of_json["product_id"], &of_json["value"]),
            (&text("123"), &Attribute::Double(2.0))
        );
    }

    #[test]
    fn an_unreadable_row_is_named() {
        let refused = |name: &str, text: &str| read_text(name, text).expect_err("refused");
        assert_eq!(
            refused("a.csv", "id,time,customer,type\n1,1795266000000,7,a.b\n1,noon,7,a.b\n"),
            format!("/a.csv:3:3: time cannot be read: column=time found=noon {TIMES}")
        );
        for time in ["2026-01-01T00:00:00+25:00", "2026-01-01T00:00:60Z"] {
            assert_eq!(
                refused("a.csv", &format!("id,time,customer,type\n1,{time},7,a.b\n")),
                format!("/a.csv:2:3: time cannot be read: column=time found={time} {TIMES}")
            );
        }
        let last = read_text("a.csv", "id,time,customer,type\n1,9999-12-31T23:59:59Z,7,a.b\n").expect("read");
        assert_eq!(codec::time(last[0].time), "9999-12-31T23:59:59.000Z");
        assert_eq!(
            refused("a.csv", "id,time,customer,type\n\"1,2\",5,,a.b\n"),
            "/a.csv:2:9: a value is missing: column=customer"
        );
        assert_eq!(
            refused("a.csv", "id,time,type\n1,5,a.b\n"),
            "/a.csv:1:1: column is missing: column=customer found=id,time,type"
        );
        assert_eq!(
            refused("a.jsonl", "{\"id\":\"1\", x}\n"),
            "/a.jsonl:1:12: JSON cannot be read: key must be a string"
        );
        assert_eq!(
            refused("a.jsonl", "\n{\"id\":\"1\",\"id\":\"2\"}\n"),
            "/a.jsonl:2:14: JSON cannot be read: a key stands twice: key=id"
        );
        let head = "id,time,customer,type,note\n";
        assert_eq!(
            refused(
                "a.csv",
                &format!("{head}1,1795266000000,7,a.b,\"oops\n2,1795266000000,7,a.b,x\n3,1795266000000,7,a.b,\"\"\n")
            ),
            "/a.csv:2:23: quote is not closed"
        );
        assert_eq!(
            refused(
                "a.csv",
                &format!("{head}1,1795266000000,7,a.b,\"\n2,1795266000000,7,a.b,\"q 7\"\n")
            ),
            "/a.csv:3:24: text behind a closing quote"
        );
        let fine =
            format!("{head}1,1795266000000,7,a.b,\"two \"\"words\"\"\nand a line\"\n2,1795266000000,7,a.b,6\" wide\n");
        assert_eq!(read_text("a.csv", &fine).expect("read").len(), 2);
        assert_eq!(
            refused("a.csv", "id;time;customer;type\n"),
            "/a.csv:1:1: column is missing: column=id found=id;time;customer;type"
        );
        assert_eq!(
            refused("a.csv", "id,Time,customer,type\n"),
            "/a.csv:1:1: column is missing: column=time found=id,Time,customer,type nearest=Time"
        );
        assert_eq!(
            refused("a.csv", "id,time,customer,type,x,x\n"),
            "/a.csv:1:25: two columns have this name: column=x"
        );
        assert_eq!(
            refused("a.csv", "id,,time,customer,type\n"),
            "/a.csv:1:4: a column has no name"
        );
        assert_eq!(refused("a.csv", ""), "/a.csv:1:1: column is missing: column=id found=");
        assert_eq!(
            refused("a.csv", "id,time,customer,type\n1,1795266000000,7,Not A Type\n"),
            "/a.csv:2:19: type_invalid: type must be object.verb in lower snake case: found=Not A Type"
        );
        let line =
            r#"{"id":"1","source":"s","type":"a.b","time":"noon","identifiers":[{"kind":"customer","value":"7"}]}"#;
        assert_eq!(
            refused("a.jsonl", line),
            "/a.jsonl:1:37: time_invalid: time cannot be read: field=time expected=RFC 3339"
        );
    }
}
