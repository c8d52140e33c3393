//! Patterns over a file of events, on the engine that runs live.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
};

use event::{Attribute, Event, Identifier, IdentifierKind, Millis};
use pattern::{Catalogue, Limits, Match, NoFacts, Occurrence, Pattern, Runs, Stepped};
use serde_json::{Value, json};

use crate::replay::{
    self,
    mapping::Mapping,
    rows::{self, Layout, Row},
};

/// A match of one customer.
#[derive(Debug)]
pub struct Found {
    /// The customer as the file names them.
    pub customer: String,
    /// The match.
    pub matched: Match,
}

/// What a backtest found.
#[derive(Debug, Default)]
pub struct Backtested {
    /// Matches in order of completion, then customer, then pattern.
    pub found: Vec<Found>,
    /// Events that repeat one of the same customer.
    pub duplicates: usize,
    /// Waits that were open when the file ended.
    pub open_waits: usize,
    /// Runs dropped by a cap.
    pub capped: u32,
    /// Predicates that failed, by pattern.
    pub failed: BTreeMap<String, usize>,
}

/// Reads events through a mapping or, without one, canonical JSON lines, or columns `id`, `time`, `customer`, `type` and fields.
///
/// # Errors
/// A message with file and line of the first row that cannot be read.
pub fn read(events: &Path, map: Option<&Path>) -> Result<Vec<Event>, String> {
    if let Some(map) = map {
        let text =
            std::fs::read_to_string(map).map_err(|error| format!("{}: cannot be read: {error}", map.display()))?;
        return replay::read(events, &Mapping::parse(&map.display().to_string(), &text)?);
    }
    let shown = events.display();
    let layout = Layout::of(events);
    let layout =
        layout.ok_or_else(|| format!("{shown}: format is not told by the name: .csv or .jsonl, perhaps .gz"))?;
    let mut found = Vec::new();
    rows::read(events, layout, &mut |row| {
        found.push(one(&row)?);
        Ok(())
    })?;
    found.sort_by_key(|event| event.time);
    Ok(found)
}

/// A canonical event if the row is one, else columns.
fn one(row: &Row) -> Result<Event, String> {
    if row.raw().starts_with(b"{") && row.get("identifiers").is_some() {
        let event =
            codec::read_event(row.raw()).map_err(|refusal| format!("{}: {}", refusal.reason, refusal.message))?;
        return if event.identifiers.is_empty() {
            Err("no identifier".to_owned())
        } else {
            Ok(event)
        };
    }
    plain(row)
}

fn plain(row: &Row) -> Result<Event, String> {
    let needed = |column: &str| {
        row.get(column)
            .ok_or_else(|| format!("a value is missing: column={column}"))
    };
    let time = needed("time")?;
    let millis = time
        .parse::<i64>()
        .ok()
        .or_else(|| {
            time.parse::<jiff::Timestamp>()
                .ok()
                .map(jiff::Timestamp::as_millisecond)
        })
        .ok_or_else(|| format!("time cannot be read: column=time found={time}"))?;
    let customer = Identifier {
        kind: IdentifierKind::Customer,
        value: needed("customer")?,
        namespace: String::new(),
        verified: true,
    };
    let mut event = Event {
        id: needed("id")?,
        source: "file".to_owned(),
        kind: needed("type")?,
        time: Millis(millis),
        identifiers: vec![customer],
        ..Event::default()
    };
    for (column, cell) in row.cells() {
        match column {
            "id" | "time" | "customer" | "type" => {}
            "channel" => {
                event.channel = event::Channel::parse(cell).ok_or_else(|| format!("unknown channel: found={cell}"))?;
            }
            "session" => event.session = Some(cell.to_owned()),
            "conversation" => event.conversation = Some(cell.to_owned()),
            "medium" => event.medium = Some(cell.to_owned()),
            field => {
                event.attributes.insert(field.to_owned(), value(cell));
            }
        }
    }
    Ok(event)
}

/// A cell as the value that it looks like.
fn value(cell: &str) -> Attribute {
    match cell {
        "true" => Attribute::Bool(true),
        "false" => Attribute::Bool(false),
        _ => {
            if let Ok(whole) = cell.parse::<i64>() {
                return Attribute::Long(whole);
            }
            match cell.parse::<f64>() {
                Ok(number) if number.is_finite() => Attribute::Double(number),
                _ => Attribute::Text(cell.to_owned()),
            }
        }
    }
}

#[derive(Default)]
struct Customer {
    runs: Runs,
    last: Option<Millis>,
    index: u64,
    /// Ids and times of the latest events, for duplicates.
    recent: VecDeque<(String, String, Millis)>,
    known: BTreeSet<(String, String)>,
}

impl Customer {
    /// Whether this repeats one of the customer's last 16 events or more, within 24 h.
    fn repeats(&mut self, event: &Event) -> bool {
        const DAY: i64 = 86_400_000;
        while self.recent.len() > 16
            && self
                .recent
                .front()
                .is_some_and(|(_, _, at)| event.time.since(*at) > DAY)
        {
            if let Some((source, id, _)) = self.recent.pop_front() {
                self.known.remove(&(source, id));
            }
        }
        let repeated = !self.known.insert((event.source.clone(), event.id.clone()));
        if !repeated {
            self.recent
                .push_back((event.source.clone(), event.id.clone(), event.time));
        }
        repeated
    }
}

/// Steps every customer's runs over events in order of time. The clock moves to each event's time before the event, for all
/// customers, and stops at the last one unless `drain`.
#[must_use]
pub fn run(patterns: &[Arc<Pattern>], events: &[Event], drain: bool) -> Backtested {
    let catalogue = Catalogue::compile(patterns.iter().cloned(), Limits::default());
    let mut customers: BTreeMap<&str, Customer> = BTreeMap::new();
    let mut result = Backtested::default();
    let mut out = Stepped::default();
    for event in events {
        let Some(key) = event.identifiers.first().map(|identifier| identifier.value.as_str()) else {
            continue;
        };
        let customer = customers.entry(key).or_default();
        let at = customer.last.map_or(event.time, |last| last.max(event.time));
        catalogue.on_time(&mut customer.runs, at, &NoFacts, &mut out);
        if customer.repeats(event) {
            result.duplicates += 1;
        } else {
            customer.last = Some(at);
            customer.index += 1;
            let of = Occurrence {
                event,
                kind: &event.kind,
                extra: &[],
                at,
                index: customer.index,
                position: "",
            };
            catalogue.on_event(&mut customer.runs, &of, &NoFacts, &mut out);
        }
        result.take(key, &mut out);
    }
    let end = if drain {
        Some(Millis(i64::MAX))
    } else {
        events.last().map(|event| event.time)
    };
    for (key, customer) in &mut customers {
        if let Some(end) = end {
            catalogue.on_time(&mut customer.runs, end, &NoFacts, &mut out);
            result.take(key, &mut out);
        }
        let runs = customer.runs.instances.iter().flat_map(|instance| &instance.runs);
        result.open_waits += runs.filter(|run| run.deadline.is_some()).count();
    }
    result.found.sort_by(|a, b| {
        let key = |found: &Found| {
            (
                found.matched.matched_at,
                found.customer.clone(),
                found.matched.pattern.id.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    result
}

impl Backtested {
    fn take(&mut self, customer: &str, out: &mut Stepped) {
        let matches = std::mem::take(&mut out.matches).into_iter();
        self.found.extend(matches.map(|matched| Found {
            customer: customer.to_owned(),
            matched,
        }));
        self.capped += std::mem::take(&mut out.capped);
        for pattern in std::mem::take(&mut out.failed) {
            *self.failed.entry(pattern.to_string()).or_default() += 1;
        }
    }
}

impl Found {
    /// The line that `pattern backtest` prints.
    #[must_use]
    pub fn json(&self) -> Value {
        let time = |at: Millis| {
            jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |stamp| format!("{stamp:.3}"))
        };
        let matched = &self.matched;
        let seen: Vec<Value> = matched
            .seen
            .iter()
            .zip(&matched.evidence)
            .map(|(seen, events)| {
                let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
                json!({ "step": seen.step, "count": seen.count, "events": ids })
            })
            .collect();
        let absent: Vec<Value> = matched
            .absent
            .iter()
            .map(|absent| json!({ "step": absent.step, "since": time(absent.since), "until": time(absent.until) }))
            .collect();
        json!({
            "at": time(matched.matched_at), "customer": self.customer, "pattern": matched.pattern.id,
            "version": matched.pattern.version, "by": matched.by, "intervene": matched.pattern.then.intervene,
            "seen": seen, "absent": absent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<Vec<Event>, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        read(&path, None).map_err(|message| message.replace(&folder.path().display().to_string(), ""))
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
                event::Attributes::from([("value".to_owned(), Attribute::Long(3))]),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unreadable_row_is_named() {
        let refused = |name: &str, text: &str| read_text(name, text).expect_err("refused");
        assert_eq!(
            refused("a.csv", "id,time,customer,type\n1,noon,7,a.b\n"),
            "/a.csv:2: time cannot be read: column=time found=noon"
        );
        assert_eq!(
            refused("a.csv", "id,time,type\n1,5,a.b\n"),
            "/a.csv:2: a value is missing: column=customer"
        );
        let line =
            r#"{"id":"1","source":"s","type":"a.b","time":"noon","identifiers":[{"kind":"customer","value":"7"}]}"#;
        assert_eq!(
            refused("a.jsonl", line),
            "/a.jsonl:1: time_invalid: time cannot be read: field=time expected=RFC 3339"
        );
    }
}
