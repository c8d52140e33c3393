//! What happened to a customer of the running system: the timeline, read from its beginning by the task that runs live, so that windows,
//! late events and a clock that is held back mean what they meant then.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use event::{Event, Identifier, IdentifierKind, Millis};
use intake::Keys;
use journey::Rules;
use monitor::Monitor;
use pattern::{POLICY_KEY, Pattern, Policy, Published};
use service::{backend::Backend, config::Config, dead_letters, order_window};
use stream::{
    Corrupt, Cx, Db, Record, Reject, Routed, RowRef, RowWriter, Rows, Stage, Statefulness, StoredRow, Task, TaskConfig,
    TopicPartition,
};

use super::{Explained, steps};
use crate::{
    catalogue,
    cli::{Explain, Global},
    context,
    report::Failure,
};

/// How long the timeline may bring nothing before its end.
const SILENCE: Duration = Duration::from_secs(30);

/// The published pattern, on the customer's events as they stand on the timeline.
pub(super) fn explained(global: &Global, options: &Explain) -> Result<Explained, Failure> {
    let config = context::config(global)?;
    let Some(customer) = &options.customer else {
        return Err(Failure::invalid("--events FILE or --customer ID is needed"));
    };
    let key = match customer.split_once(':') {
        Some((kind, value)) => {
            let kind = IdentifierKind::parse(kind)
                .ok_or_else(|| Failure::invalid(format!("unknown kind of identifier: found={kind}")))?;
            let identifier = Identifier {
                kind,
                value: value.to_owned(),
                namespace: String::new(),
                verified: true,
            };
            Keys::new(&context::secret(&config)?).key("default", &identifier)
        }
        None => customer.clone(),
    };
    if config.text("service.log") == "embedded" {
        let dir = Path::new(config.text("service.data_dir")).join("log");
        return explained_on(&context::embedded_as_is(&config, &dir)?, &config, options, &key);
    }
    explained_on(&context::kafka(&config)?, &config, options, &key)
}

fn explained_on<B: Backend>(backend: &B, config: &Config, options: &Explain, key: &str) -> Result<Explained, Failure> {
    let values = catalogue::published(backend)?;
    let invalid = |findings: Vec<pattern::Finding>| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Failure::invalid(lines.join("\n"))
    };
    let name = &options.name;
    let Some(value) = values.get(name) else {
        let near = pattern::nearest(name, values.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
        return Err(Failure::invalid(format!("not published: pattern={name}{near}")));
    };
    let published = Published::<Pattern>::read("journey.patterns", value).map_err(invalid)?;
    let policy = match values.get(POLICY_KEY) {
        Some(value) => (*Published::<Policy>::read("journey.patterns", value)
            .map_err(invalid)?
            .what)
            .clone(),
        None => Policy::default(),
    };
    let stage = Arc::new(Listening {
        key: key.to_owned(),
        monitor: Monitor::new(backend.names(), monitor::settings(config)),
        rules: steps::rules(&published.what, &policy),
        walk: Mutex::default(),
    });
    let timeline = backend.names().timeline();
    let mut reader = backend.reader(&[&timeline], true)?;
    let mut tasks: BTreeMap<i32, Task<Listening>> = BTreeMap::new();
    let (mut records, mut outputs) = (Vec::new(), Vec::new());
    let failed = |error: stream::TaskError| Failure::invalid(error.to_string());
    let mut heard = Instant::now();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(100), &mut records)?;
        if !records.is_empty() {
            heard = Instant::now();
        }
        for record in records.drain(..) {
            let task = match tasks.entry(record.partition) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let task = Task::open(Arc::clone(&stage), of_partition(&record, config), Box::new(Nothing));
                    new.insert(task.map_err(failed)?)
                }
            };
            task.handle(&record, record.timestamp, &mut outputs).map_err(failed)?;
            outputs.clear();
        }
        if heard.elapsed() > SILENCE {
            return Err(Failure::no_answer("the timeline was not read to its end in time"));
        }
    }
    for task in tasks.values_mut() {
        task.close(&mut outputs).map_err(failed)?;
    }
    let mut walk = std::mem::take(&mut *stage.walk());
    if options.drain {
        walk.fire(&stage.rules, key, Millis(i64::MAX));
    }
    let accounts = if walk.is_empty() {
        Vec::new()
    } else {
        vec![walk.done(key)]
    };
    Ok(Explained {
        pattern: published.what,
        since: published.effective_from,
        accounts,
    })
}

fn of_partition(record: &Record, config: &Config) -> TaskConfig {
    TaskConfig {
        input: TopicPartition {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
        },
        slot: record.partition,
        window: order_window(config),
        state: Statefulness::Keyed,
        cached_keys: 2,
        timers_per_round: 1000,
        dead_letters: dead_letters(monitor::SERVICE),
        snapshots: None,
    }
}

/// Steps one customer's journey; all others only move the clock, as one key without anything.
struct Listening {
    key: String,
    /// Reads records as the service does.
    monitor: Monitor,
    rules: Rules,
    walk: Mutex<steps::Walk>,
}

/// When the one customer wants to be woken.
type Due = Option<Millis>;

impl Listening {
    fn walk(&self) -> MutexGuard<'_, steps::Walk> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_meant(&self, cx: &Cx<'_>) -> bool {
        cx.key == self.key.as_bytes()
    }
}

impl Stage for Listening {
    type Input = Box<Event>;
    type State = Due;

    fn decode(&self, record: &Record) -> Result<Routed<Box<Event>>, Reject> {
        let routed = self.monitor.decode(record)?;
        Ok(match routed {
            Routed::Event { key, time, input } if key != self.key.as_bytes() => Routed::Event {
                key: Vec::new(),
                time,
                input,
            },
            other => other,
        })
    }

    fn on_event(&self, due: &mut Due, event: Box<Event>, cx: &mut Cx<'_>) {
        if self.is_meant(cx) {
            let mut walk = self.walk();
            walk.event(&self.rules, &self.key, &event, cx.now, cx.clock);
            *due = walk.due(&self.rules);
        }
    }

    fn on_time(&self, due: &mut Due, cx: &mut Cx<'_>) {
        if self.is_meant(cx) {
            let mut walk = self.walk();
            walk.deadline(&self.rules, &self.key, cx.now, cx.clock);
            *due = walk.due(&self.rules);
        }
    }

    fn deadline(&self, due: &Due) -> Option<Millis> {
        *due
    }

    fn load(&self, _: Rows<'_>) -> Result<Due, Corrupt> {
        Ok(None)
    }

    fn save(&self, _: &mut Due, _: &mut RowWriter<'_>) {}
}

/// A database of a task that commits nothing.
struct Nothing;

impl Db for Nothing {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        Ok(vec![None; keys.len()])
    }

    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<StoredRow>, String> {
        Ok(Vec::new())
    }

    fn ingest(&mut self, _: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        Ok(())
    }
}
