//! Ticks as records of the timeline, and the progress records of senders that replay.

use event::{Attribute, Event, Millis};
use stream::Tick;

/// The type of a tick.
pub const TICK: &str = "tick";
/// The type of a progress record on a raw topic.
pub const PROGRESS: &str = "progress";

/// A tick as an event; `time` is its writer's clock.
#[must_use]
pub fn tick_event(tick: &Tick, time: Millis) -> Event {
    let long = |value: i32| Attribute::Long(value.into());
    let mut attributes = event::Attributes::from([
        ("generation".to_owned(), long(tick.generation)),
        ("assignment".to_owned(), Attribute::Long(tick.assignment)),
        ("index".to_owned(), long(tick.index)),
        ("members".to_owned(), long(tick.members)),
        ("owned".to_owned(), long(tick.owned)),
        ("partitions".to_owned(), long(tick.partitions)),
    ]);
    if let Some(progress) = tick.progress {
        attributes.insert("progress".to_owned(), Attribute::Long(progress.0));
    }
    Event {
        id: format!("{}-{}-{}", tick.generation, tick.index, time.0),
        source: "waymark/intake".to_owned(),
        kind: TICK.to_owned(),
        time,
        tenant: "default".to_owned(),
        channel: event::Channel::System,
        attributes,
        ..Event::default()
    }
}

/// Reads a tick; `None` if a figure is missing or out of range.
#[must_use]
pub fn read_tick(event: &Event) -> Option<Tick> {
    let long = |name: &str| match event.attributes.get(name) {
        Some(Attribute::Long(value)) => Some(*value),
        _ => None,
    };
    let int = |name: &str| long(name).and_then(|value| i32::try_from(value).ok());
    Some(Tick {
        progress: long("progress").map(Millis),
        generation: int("generation")?,
        // Ticks of before do not tell.
        assignment: long("assignment").unwrap_or(0),
        index: int("index")?,
        members: int("members")?,
        owned: int("owned")?,
        partitions: int("partitions")?,
    })
}

/// What a replaying sender says on every raw partition: all up to `time` is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Up to here everything is sent.
    pub time: Millis,
    /// Who sends.
    pub sender: String,
    /// Rows of the file sent so far; a sender resumes behind them.
    pub row: u64,
}

impl Progress {
    /// The record's value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let value =
            serde_json::json!({ "type": PROGRESS, "time": self.time.0, "sender": self.sender, "row": self.row });
        value.to_string().into_bytes()
    }

    /// Reads a record's value; `None` if it is none.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        // Told apart cheaply: every event passes here under `intake.clock = events`.
        if !value.starts_with(br#"{"type":"progress""#) {
            return None;
        }
        let value: serde_json::Value = serde_json::from_slice(value).ok()?;
        Some(Self {
            time: Millis(value.get("time")?.as_i64()?),
            sender: value.get("sender")?.as_str()?.to_owned(),
            row: value.get("row")?.as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_progress_read_back() {
        let tick = Tick {
            progress: Some(Millis(5)),
            generation: 3,
            assignment: -7,
            index: 0,
            members: 1,
            owned: 4,
            partitions: 4,
        };
        assert_eq!(read_tick(&tick_event(&tick, Millis(9))), Some(tick));
        let held = Tick { progress: None, ..tick };
        assert_eq!(read_tick(&tick_event(&held, Millis(9))), Some(held));
        assert_eq!(read_tick(&Event::default()), None);
        let progress = Progress {
            time: Millis(7),
            sender: "replay".to_owned(),
            row: 12,
        };
        let bytes = progress.encode();
        assert_eq!(bytes, br#"{"type":"progress","time":7,"sender":"replay","row":12}"#);
        assert_eq!(Progress::decode(&bytes), Some(progress));
        assert_eq!(Progress::decode(b"{}"), None);
    }
}
