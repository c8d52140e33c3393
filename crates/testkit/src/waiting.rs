//! A small stage for tests of the runtime: it counts, waits, and says what it did.
//!
//! Input values are `a KEY TIME`, `b KEY TIME` and `tick - TIME`; anything else is refused. Outputs go to the topic `out`.
//!
//! It can be poisoned: `panic KEY TIME` makes it panic, `abort KEY TIME` ends the process after 100 milliseconds, `slow KEY TIME` takes
//! two milliseconds, `long KEY TIME` 400; the timer of a key `fuse…` makes it panic, that of a key `bomb…` ends the process.

use std::sync::Arc;

use stream::{Corrupt, Cx, Millis, Output, Record, Reject, Routed, RowWriter, Rows, Stage, Tick};

/// "a, then no b for 50": says `late KEY AT` when the wait is over, and echoes every event with its running number.
pub struct Waiting;

/// What is kept for a key.
#[derive(Debug, Default)]
pub struct State {
    seen: u64,
    since: Option<Millis>,
}

impl Stage for Waiting {
    type Input = char;
    type State = State;

    fn decode(&self, record: &Record) -> Result<Routed<char>, Reject> {
        let value = record.value.as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(value);
        let mut words = text.split(' ');
        let (kind, key, time) = (
            words.next(),
            words.next(),
            words.next().and_then(|time| time.parse().ok()),
        );
        match (kind, key, time) {
            (Some("tick"), _, Some(time)) => Ok(Routed::Tick(Tick {
                progress: Some(Millis(time)),
                generation: 1,
                assignment: 0,
                index: 0,
                members: 1,
                owned: 1,
                partitions: 1,
            })),
            (Some(kind @ ("a" | "b" | "panic" | "abort" | "slow" | "long")), Some(key), Some(time)) => {
                Ok(Routed::Event {
                    key: key.as_bytes().to_vec(),
                    time: Millis(time),
                    input: match kind {
                        "abort" => '!',
                        _ => kind.chars().next().expect("matched above"),
                    },
                })
            }
            _ => Err(Reject {
                stage: "decode",
                reason: "format_unknown",
                message: String::new(),
                field: None,
                schema: None,
            }),
        }
    }

    fn on_event(&self, state: &mut State, event: char, cx: &mut Cx<'_>) {
        state.seen += 1;
        state.since = (event == 'a').then_some(cx.now);
        match event {
            'p' => panic!("told to"),
            '!' => {
                std::thread::sleep(std::time::Duration::from_millis(100));
                std::process::abort();
            }
            's' => std::thread::sleep(std::time::Duration::from_millis(2)),
            'l' => std::thread::sleep(std::time::Duration::from_millis(400)),
            _ => {}
        }
        say(cx, &format!("{event} {} at {}", state.seen, cx.now));
    }

    fn on_time(&self, state: &mut State, cx: &mut Cx<'_>) {
        state.since = None;
        assert!(!cx.key.starts_with(b"fuse"), "told to");
        if cx.key.starts_with(b"bomb") {
            std::process::abort();
        }
        say(cx, &format!("late after {} at {}", state.seen, cx.now));
    }

    fn deadline(&self, state: &State) -> Option<Millis> {
        state.since.map(|since| since.plus(50))
    }

    fn load(&self, rows: Rows<'_>) -> Result<State, Corrupt> {
        let head = rows
            .rows
            .iter()
            .find(|(name, _)| *name == b"hd")
            .map(|(_, bytes)| *bytes)
            .unwrap_or_default();
        let (seen, since) = head
            .split_first_chunk::<8>()
            .ok_or_else(|| Corrupt("short".to_owned()))?;
        let since = since.first_chunk::<8>().map(|since| Millis(i64::from_be_bytes(*since)));
        Ok(State {
            seen: u64::from_be_bytes(*seen),
            since,
        })
    }

    fn save(&self, state: &mut State, rows: &mut RowWriter<'_>) {
        let mut bytes = state.seen.to_be_bytes().to_vec();
        bytes.extend(state.since.iter().flat_map(|since| since.0.to_be_bytes()));
        rows.put(b"hd", bytes);
    }
}

fn say(cx: &mut Cx<'_>, text: &str) {
    cx.outputs.push(Output {
        topic: Arc::from("out"),
        partition: None,
        timestamp: Some(cx.now),
        key: Some(cx.key.to_vec()),
        value: Some(text.as_bytes().to_vec()),
        headers: Vec::new(),
    });
}

/// Sends a refused record to `in.dlq` with its reason.
#[must_use]
pub fn dead_letter(record: &Record, reject: &Reject) -> Output {
    Output {
        topic: Arc::from("in.dlq"),
        partition: None,
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: vec![("reason".to_owned(), Some(reject.reason.as_bytes().to_vec()))],
    }
}
