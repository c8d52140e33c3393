//! A timeline and the journeys on it, through the stage that runs live; what the monitor puts back on the timeline it reads again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use codec::Published as _;
use event::{
    Attribute, Event, EventSentiment, Identifier, IdentifierKind, Intervention, Label, Millis, Profile, Role, Signal,
    Text,
};
use monitor::{Board, Monitor, Settings, State};
use pattern::{Published, parse};
use service::topics::Names;
use stream::{Cx, Output, Record, Routed, RowWriter, Rows, Stage};

pub const DEVICE: &str = "d.device";
pub const CUSTOMER: &str = "c.customer";

const PATTERN: &str = "pattern: two-steps\nversion: 1\ntitle: Two steps\nowner: team\nstatus: live\nwhen:\n  within: 1h\n  \
    sequence: [ { see: cart.viewed }, { see: order.completed } ]\n\
    then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: { en: bought } }\n\
    guard: { consent: service, cooldown: 1h }\nrollout: { percent: 100, holdout: 0, seed: seed-1 }\n\
    tests: [ { name: one, given: [], expect: [] }, { name: two, given: [], expect: [] } ]\n";

const TIMELINE: &str = "journey.timeline";

/// A customer's moment, on a clock that agrees with everybody's.
fn moment<'a>(key: &'a str, topic: &'a Arc<str>, offset: i64, now: Millis, outputs: &'a mut Vec<Output>) -> Cx<'a> {
    Cx {
        now,
        clock: now,
        key: key.as_bytes(),
        topic,
        partition: 0,
        offset,
        timestamp: now,
        revision: 1,
        late: false,
        outputs,
    }
}

/// A timeline and the journeys on it.
pub struct World {
    pub monitor: Monitor,
    /// Rows by customer key. Every event reads them anew, as if nothing were in the cache.
    pub rows: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub outputs: Vec<Output>,
    offset: i64,
}

impl World {
    pub fn new() -> Self {
        let published = Published {
            what: Arc::new(parse("two-steps.yaml", PATTERN).expect("valid")),
            hash: String::new(),
            author: String::new(),
            effective_from: None,
            before: None,
        };
        let mut board = Board::default();
        board.take(&Record {
            topic: Arc::from("journey.patterns"),
            partition: 0,
            offset: 0,
            timestamp: Millis(0),
            key: Some(b"two-steps".to_vec()),
            value: Some(published.value().into_bytes()),
            headers: Vec::new(),
        });
        let monitor = Monitor::new(&Names::new(""), Settings::default());
        Monitor::load(&monitor, &board);
        Self {
            monitor,
            rows: BTreeMap::new(),
            outputs: Vec::new(),
            offset: 0,
        }
    }

    /// Sends an event under a key, and whatever comes back from it.
    pub fn sends(&mut self, key: &str, event: Event) {
        let topic: Arc<str> = Arc::from(TIMELINE);
        let now = event.time;
        let mut queue = VecDeque::from([(key.to_owned(), event)]);
        let mut hops = 0;
        while let Some((key, event)) = queue.pop_front() {
            hops += 1;
            assert!(hops < 20, "events go round in circles");
            let mut outputs = Vec::new();
            let mut cx = moment(&key, &topic, self.offset, now, &mut outputs);
            self.offset += 1;
            let mut state = self.state(&key);
            self.monitor.on_event(&mut state, Box::new(event), &mut cx);
            self.save(&key, &mut state);
            for output in outputs {
                if &*output.topic != TIMELINE {
                    self.outputs.push(output);
                    continue;
                }
                let record = Record {
                    topic: Arc::clone(&topic),
                    partition: 0,
                    offset: self.offset,
                    timestamp: now,
                    key: output.key,
                    value: output.value,
                    headers: output.headers,
                };
                let Ok(Routed::Event { key, input, .. }) = self.monitor.decode(&record) else {
                    panic!("what the monitor writes it reads");
                };
                queue.push_back((String::from_utf8(key).expect("text"), *input));
            }
        }
    }

    fn state(&self, key: &str) -> State {
        let rows = self.rows.get(key).into_iter().flatten();
        let rows: Vec<(&[u8], &[u8])> = rows.map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        if rows.is_empty() {
            return State::default();
        }
        Stage::load(&self.monitor, Rows { rows: &rows }).expect("what was saved")
    }

    /// When a journey wants to be woken.
    pub fn deadline(&self, key: &str) -> Option<Millis> {
        self.monitor.deadline(&self.state(key))
    }

    /// Wakes a journey.
    pub fn wakes(&mut self, key: &str, now: Millis) {
        let topic: Arc<str> = Arc::from(TIMELINE);
        let mut state = self.state(key);
        let mut cx = moment(key, &topic, self.offset, now, &mut self.outputs);
        self.monitor.on_time(&mut state, &mut cx);
        self.save(key, &mut state);
    }

    fn save(&mut self, key: &str, state: &mut State) {
        let mut written = Vec::new();
        self.monitor.save(state, &mut RowWriter { rows: &mut written });
        let rows = self.rows.entry(key.to_owned()).or_default();
        for (name, value) in written {
            match value {
                Some(value) => rows.insert(name, value),
                None => rows.remove(&name),
            };
        }
    }

    pub fn profile(&self, key: &str) -> Profile {
        let of =
            |output: &&Output| &*output.topic == "journey.profiles" && output.key.as_deref() == Some(key.as_bytes());
        let last = self.outputs.iter().rfind(of).expect("a profile");
        Profile::decode(last.value.as_deref().expect("a value")).expect("a profile")
    }

    /// What went to the channel, in order.
    pub fn interventions(&self) -> Vec<Intervention> {
        let of = |output: &&Output| &*output.topic == "journey.interventions.email";
        let values = self.outputs.iter().filter(of).map(|output| output.value.as_deref());
        values
            .map(|value| Intervention::decode(value.expect("a value")).expect("an intervention"))
            .collect()
    }

    pub fn signals(&self) -> Vec<Signal> {
        let signals = self.outputs.iter().filter(|output| &*output.topic == "journey.signals");
        signals
            .map(|output| Signal::decode(output.value.as_deref().expect("a value")).expect("a signal"))
            .collect()
    }
}

pub fn identifier(kind: IdentifierKind, value: &str) -> Identifier {
    Identifier {
        kind,
        value: value.to_owned(),
        ..Identifier::default()
    }
}

/// An event at a minute. Each is published: minutes lie further apart than profiles.
pub fn event(minute: i64, kind: &str) -> Event {
    Event {
        id: format!("{kind}-{minute}"),
        source: "test".to_owned(),
        kind: kind.to_owned(),
        time: Millis(minute * 60_000),
        tenant: "default".to_owned(),
        ..Event::default()
    }
}

pub fn text(minute: i64, score: f64) -> Event {
    Event {
        text: Some(Text {
            role: Role::Customer,
            ..Text::default()
        }),
        sentiment: Some(EventSentiment {
            label: if score < 0.0 { Label::Negative } else { Label::Positive },
            score: Some(score),
            ..EventSentiment::default()
        }),
        ..event(minute, "message.received")
    }
}

/// What intake writes under the weaker key.
pub fn link(minute: i64, to: &str) -> Event {
    Event {
        identifiers: vec![
            identifier(IdentifierKind::Customer, "7"),
            identifier(IdentifierKind::Device, "a1"),
        ],
        attributes: [
            ("method".to_owned(), Attribute::Text("login".to_owned())),
            ("link_to".to_owned(), Attribute::Text(to.to_owned())),
        ]
        .into(),
        ..event(minute, "identity.linked")
    }
}

/// The end of a link as it comes: once under the stronger key, which the event names first, and once under the weaker one's.
pub fn unlink(world: &mut World, minute: i64, (strong, to): (&str, Identifier), (weak, from): (&str, Identifier)) {
    let named = vec![to, from.clone()];
    world.sends(
        strong,
        Event {
            identifiers: named,
            ..event(minute, "identity.unlinked")
        },
    );
    world.sends(
        weak,
        Event {
            id: format!("identity.unlinked-{minute}/unlink"),
            identifiers: vec![from],
            attributes: [("link_to".to_owned(), Attribute::Text(strong.to_owned()))].into(),
            ..event(minute, "identity.unlinked")
        },
    );
}
