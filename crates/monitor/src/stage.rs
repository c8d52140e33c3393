//! The stage: an event or a deadline of one customer, through `journey`, to records.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use arc_swap::ArcSwap;
use event::{Attribute, Event, LINK_TO, Millis};
use journey::{Belongs, Counted, HANDED_OVER, Journey, Moment, ReadAgain, Rules, Said};
use pattern::{Limits, Policy};
use service::{
    refused,
    texts::Readings,
    ticks::{TICK, read_tick},
    topics::Names,
};
use stream::{Corrupt, Cx, Record, Reject, Routed, RowWriter, Rows, Stage};

use crate::{Board, hand_over, hooks::Counters, output::Topics, texts::Texts};

/// What an operator chooses for all customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Caps of runs.
    pub limits: Limits,
    /// Timeline entries per customer.
    pub timeline_events: usize,
    /// Events per customer and second.
    pub customer_rate: i64,
    /// Whether profiles are published.
    pub publish_profiles: bool,
    /// The least span between two profiles of one customer, in milliseconds.
    pub profile_interval: i64,
    /// Whether events arrive as they happen, so that delays mean something.
    pub is_live: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeline_events: 512,
            customer_rate: 200,
            publish_profiles: true,
            profile_interval: 30_000,
            is_live: true,
        }
    }
}

/// The rules of one revision of the catalogue. Between two of its changes, on the customers' clocks, the same rules hold; they are compiled
/// when the first customer comes there, and all but the last are seldom needed: for customers whose clocks are behind, and in a replay.
struct InForce {
    revision: i64,
    board: Board,
    settings: Settings,
    texts: Option<Arc<dyn ReadAgain>>,
    changes: Vec<Millis>,
    spans: Vec<OnceLock<Rules>>,
}

impl InForce {
    fn of(board: Board, settings: Settings, texts: Option<Arc<dyn ReadAgain>>) -> Self {
        let changes = board.changes();
        Self {
            revision: board.revision(),
            settings,
            texts,
            spans: (0..=changes.len()).map(|_| OnceLock::new()).collect(),
            changes,
            board,
        }
    }

    /// Which span a moment of a customer lies in.
    fn span(&self, now: Millis) -> usize {
        self.changes.partition_point(|change| *change <= now)
    }

    fn rules(&self, span: usize) -> &Rules {
        self.spans[span].get_or_init(|| {
            let begin = span
                .checked_sub(1)
                .map_or(Millis(i64::MIN), |before| self.changes[before]);
            let catalogue = Arc::new(self.board.compile(begin, self.settings.limits));
            Rules {
                read_again: self.texts.clone(),
                ..rules(self.settings, catalogue, self.board.policy(begin))
            }
        })
    }
}

/// The stage of the service `monitor`.
pub struct Monitor {
    settings: Settings,
    texts: Option<Arc<dyn ReadAgain>>,
    in_force: ArcSwap<InForce>,
    topics: Topics,
    counters: Mutex<Counters>,
}

/// One customer in memory.
#[derive(Default)]
pub struct State {
    journey: Journey,
    saved: codec::Saved,
    /// The revision and the span of it under which the runs were last checked.
    checked: Option<(i64, usize)>,
}

impl Monitor {
    /// A monitor without patterns, until [`Monitor::load`].
    #[must_use]
    pub fn new(names: &Names, settings: Settings) -> Self {
        let nothing = InForce::of(Board::default(), settings, None);
        Self {
            settings,
            texts: None,
            in_force: ArcSwap::from_pointee(nothing),
            topics: Topics::new(names),
            counters: Mutex::default(),
        }
    }

    /// The same, and texts whose language the journey knows better are read again by what intake reads by.
    #[must_use]
    pub fn reading_by(mut self, readings: Arc<Readings>) -> Self {
        self.texts = Some(Arc::new(Texts::new(readings)));
        self
    }

    /// Puts a board in force; between two epochs only.
    pub fn load(&self, board: &Board) {
        let in_force = InForce::of(board.clone(), self.settings, self.texts.clone());
        // The newest rules are compiled now, between two epochs, and not while a customer waits for them.
        in_force.rules(in_force.changes.len());
        self.in_force.store(Arc::new(in_force));
    }

    /// What was counted since the last call.
    #[must_use]
    pub fn take_counters(&self) -> Counters {
        std::mem::take(&mut *self.counters())
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all that is known of a customer to the journey of a stronger key.
    fn hand_over(&self, state: &mut State, link: &Event, to: &str, customer: &str, cx: &mut Cx<'_>) {
        let mut given = Journey::default();
        self.step(state, cx, |journey, at, rules, said, _| {
            given = journey::hand_over(journey, to, at, rules, said);
        });
        let (parcel, left) = hand_over::parcel(given, link, (customer, to), 0, cx);
        self.counters().count_left(left);
        hand_over::send(&self.topics.timeline, parcel, to, cx);
    }

    /// Folds in what a weaker journey handed over.
    fn take_over(&self, state: &mut State, event: &Event, cx: &mut Cx<'_>) {
        // It was read when it was decoded.
        let Ok((weaker, origin)) = hand_over::unpack(event) else {
            return;
        };
        let mut left = 0;
        self.step(state, cx, |journey, at, rules, said, _| {
            left = journey::take_over(journey, weaker, origin, at, rules, said);
        });
        // Its runs may be of versions that are no longer in force here.
        state.checked = None;
        self.counters().count_left(left);
    }

    /// Gives back what a weaker journey had handed over, and parts with what rests on it.
    fn give_back(&self, state: &mut State, unlink: &Event, to: &str, cx: &mut Cx<'_>) {
        let mut back = Vec::new();
        self.step(state, cx, |journey, at, rules, said, _| {
            back = journey::part(journey, to, unlink, at, rules, said);
        });
        state.checked = None;
        for (number, journey) in back.into_iter().enumerate() {
            let (parcel, left) = hand_over::parcel(journey, unlink, (to, to), number, cx);
            self.counters().count_left(left);
            hand_over::send(&self.topics.timeline, parcel, to, cx);
        }
    }

    /// Takes an event into the journey.
    fn take(&self, state: &mut State, event: &Event, cx: &mut Cx<'_>) {
        let counted = self.step(state, cx, |journey, at, rules, said, counted| {
            journey::on_event(journey, event, at, rules, said, counted);
        });
        let mut counters = self.counters();
        if counted.late > 0 {
            *counters.late.entry(event.channel.as_str()).or_default() += u64::from(counted.late);
        }
        if self.settings.is_live {
            counters.arrived.extend(event.received);
        }
    }

    /// Takes one step of a customer's journey under the rules in force, and says and counts what came of it.
    fn step(
        &self,
        state: &mut State,
        cx: &mut Cx<'_>,
        take: impl FnOnce(&mut Journey, &Moment<'_>, &Rules, &mut Vec<Said>, &mut Counted),
    ) -> Counted {
        let in_force = self.in_force.load();
        let span = in_force.span(cx.now);
        let rules = in_force.rules(span);
        if state.checked != Some((in_force.revision, span)) {
            state.checked = Some((in_force.revision, span));
            let before = open_runs(&state.journey);
            if rules.catalogue.retain(&mut state.journey.runs) > 0 {
                self.counters().count_dropped(before, &open_runs(&state.journey));
            }
        }
        let position = format!("{}/{}/{}", cx.topic, cx.partition, cx.offset);
        let customer = String::from_utf8_lossy(cx.key).into_owned();
        let at = Moment {
            now: cx.now,
            clock: cx.clock,
            customer: &customer,
            position: &position,
            arrival: cx.timestamp,
        };
        let (mut said, mut counted) = (Vec::new(), Counted::default());
        take(&mut state.journey, &at, rules, &mut said, &mut counted);
        self.counters().count(&counted, &said);
        for one in said {
            self.topics.say(one, &customer, cx);
        }
        counted
    }
}

/// Open runs by pattern.
fn open_runs(journey: &Journey) -> BTreeMap<Arc<str>, usize> {
    let mut open = BTreeMap::new();
    journey.runs.each(&mut |instance| {
        *open.entry(Arc::clone(&instance.pattern)).or_default() += instance.runs.len();
    });
    open
}

fn rules(settings: Settings, catalogue: Arc<pattern::Catalogue>, policy: Policy) -> Rules {
    Rules {
        catalogue,
        policy,
        timeline_events: settings.timeline_events,
        customer_rate: settings.customer_rate,
        publish_profiles: settings.publish_profiles,
        profile_interval: settings.profile_interval,
        read_again: None,
    }
}

impl Stage for Monitor {
    type Input = Box<Event>;
    type State = State;

    fn decode(&self, record: &Record) -> Result<Routed<Box<Event>>, Reject> {
        let Some(value) = record.value.as_deref() else {
            return Ok(Routed::Ignore);
        };
        let event = codec::decode_event(value).map_err(refused)?;
        if event.kind == TICK {
            let tick = read_tick(&event).ok_or_else(|| reject("field_missing", "tick lacks a figure"))?;
            return Ok(Routed::Tick(tick));
        }
        let Some(key) = record.key.clone() else {
            return Err(reject("identifier_missing", "record has no key"));
        };
        if std::str::from_utf8(&key).is_err() {
            return Err(reject("field_invalid", "key is not UTF-8"));
        }
        if event.kind == HANDED_OVER {
            hand_over::unpack(&event).map_err(|problem| reject("field_invalid", &problem))?;
        }
        Ok(Routed::Event {
            key,
            time: event.time,
            input: Box::new(event),
        })
    }

    fn on_event(&self, state: &mut State, event: Box<Event>, cx: &mut Cx<'_>) {
        let key = cx.key;
        let customer = String::from_utf8_lossy(key);
        match journey::belongs(&mut state.journey, &event, &customer, cx.now) {
            Belongs::Here => {}
            Belongs::Nowhere => return,
            Belongs::There(to) => return hand_over::send(&self.topics.timeline, *event, &to, cx),
            Belongs::HandsOver(to) => return self.hand_over(state, &event, &to, &customer, cx),
            Belongs::GivesBack(to) => return self.give_back(state, &event, &to, cx),
            Belongs::AsksBack(from) => {
                let mut event = event;
                self.take(state, &event, cx);
                event
                    .attributes
                    .insert(LINK_TO.to_owned(), Attribute::Text(from.clone()));
                return hand_over::send(&self.topics.timeline, *event, &from, cx);
            }
        }
        if event.kind == HANDED_OVER {
            return self.take_over(state, &event, cx);
        }
        self.take(state, &event, cx);
    }

    fn on_time(&self, state: &mut State, cx: &mut Cx<'_>) {
        self.step(state, cx, journey::on_time);
        if self.settings.is_live {
            self.counters().due.push(cx.now);
        }
    }

    fn deadline(&self, state: &State) -> Option<Millis> {
        let in_force = self.in_force.load();
        journey::deadline(&state.journey, in_force.rules(in_force.changes.len()))
    }

    fn load(&self, rows: Rows<'_>) -> Result<State, Corrupt> {
        let (journey, saved) = codec::load_journey(rows.rows.iter().copied()).map_err(Corrupt)?;
        Ok(State {
            journey,
            saved,
            // The runs are checked against the catalogue at the first use.
            checked: None,
        })
    }

    fn save(&self, state: &mut State, rows: &mut RowWriter<'_>) {
        codec::save_journey(&state.journey, &mut state.saved, &mut |name, value| match value {
            Some(value) => rows.put(name, value),
            None => rows.delete(name),
        });
    }
}

fn reject(reason: &'static str, message: &str) -> Reject {
    Reject {
        stage: "validate",
        reason,
        message: message.to_owned(),
        field: None,
        schema: None,
    }
}
