//! What a run said, so that two runs can be compared: as set, count and order per key.

use std::collections::BTreeMap;

use serde_json::Value;
use service::topics::Names;
use stream::Record;
use testkit::sim::Sim;
use waymark::looking::decoded;

use crate::{
    scenario::{ACROSS, EPOCH_MILLIS, Scenario},
    witness::origin,
};

/// By topic and customer, what was said in order.
pub type Outcome = BTreeMap<(String, String), Vec<String>>;

/// Without what depends on where records happened to stand.
fn without_positions(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("position");
            members.values_mut().for_each(without_positions);
        }
        Value::Array(items) => items.iter_mut().for_each(without_positions),
        _ => {}
    }
}

/// What does not depend on when an event was read: with a clock that is wrong by an hour, times of events are those of reading.
fn what_happened(value: &Value) -> Value {
    let kept = ["id", "action", "pattern", "type", "phase", "withheld"];
    let kept = kept.iter().map(|name| {
        let mut member = value[*name].clone();
        if let Value::Object(members) = &mut member {
            members.retain(|name, _| name == "reason");
        }
        ((*name).to_owned(), member)
    });
    kept.collect::<serde_json::Map<_, _>>().into()
}

fn value(record: &Record) -> Value {
    let mut value = record.value.as_deref().map_or(Value::Null, decoded);
    without_positions(&mut value);
    value
}

fn is_tick(record: &Record) -> bool {
    record.key.is_none()
}

/// Everything that is visible, but for customers whose outcome depends on which channel lags.
pub fn outcome(sim: &Sim, across: &BTreeMap<String, String>, is_skewed: bool) -> Outcome {
    let names = Names::new("");
    let mut topics = vec![names.timeline()];
    if !is_skewed {
        // With a clock that is wrong by an hour every event is an hour late or early, and what waits depends on when it was read.
        topics.push(names.topic("journey.signals"));
        topics.push(names.topic("journey.profiles"));
        topics.extend(names.all_interventions());
    }
    let letters: Vec<String> = names
        .all_raw()
        .into_iter()
        .chain([names.timeline()])
        .map(|topic| Names::dead_letters(&topic))
        .collect();
    let mut said = Outcome::new();
    for topic in &topics {
        for record in sim.visible(topic) {
            if *topic == names.timeline() && is_tick(&record) {
                continue;
            }
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            if across.contains_key(&key) {
                continue;
            }
            let mut value = value(&record);
            if is_skewed {
                value = what_happened(&value);
            }
            let of = said.entry((topic.clone(), key)).or_default();
            if *topic == names.topic("journey.profiles") {
                // A compacted topic: only the newest must be there.
                of.clear();
                if let Value::Object(members) = &mut value {
                    // When it was due depends on what came before it.
                    members.remove("updated_at");
                    members.remove("revision");
                }
            }
            of.push(value.to_string());
        }
    }
    for topic in &letters {
        for record in sim.visible(topic) {
            let at = origin(&record).map(|(topic, partition, offset)| format!("{topic}/{partition}/{offset}"));
            let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            said.entry((topic.clone(), String::new()))
                .or_default()
                .push(format!("{at:?} {value}"));
        }
    }
    // Dead letters have no key, and lie where chance put them.
    for (_, values) in said.iter_mut().filter(|((topic, _), _)| topic.ends_with(".dlq")) {
        values.sort();
    }
    said
}

/// The keys of customers whose events come through two channels, by what the scenario calls them.
pub fn across(sim: &Sim, scenario: &Scenario) -> BTreeMap<String, String> {
    let names = Names::new("");
    let mut found = BTreeMap::new();
    for record in sim.visible(&names.timeline()) {
        let id = value(&record)["id"].as_str().unwrap_or_default().to_owned();
        if let Some(sent) = scenario.sent.iter().find(|sent| sent.id == id)
            && sent.customer.starts_with(ACROSS)
        {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            found.insert(key, sent.customer.clone());
        }
    }
    found
}

/// No absence fires before everything that had arrived by its deadline was read: whatever of that customer reached a raw topic by
/// then lies on the timeline before the place where it fired.
pub fn early(sim: &Sim, scenario: &Scenario) -> Result<usize, String> {
    let names = Names::new("");
    let mut places = BTreeMap::new();
    for record in sim.visible(&names.timeline()) {
        if let Some(id) = value(&record)["id"].as_str() {
            places.insert(id.to_owned(), (record.partition, record.offset, record.key.clone()));
        }
    }
    let mut fired = 0;
    for signal in sim.visible(&names.topic("journey.signals")) {
        let said = value(&signal);
        let Some(until) = said["absent"][0]["until"].as_str() else {
            continue;
        };
        let until: jiff::Timestamp = until.parse().map_err(|error| format!("{error}"))?;
        // By intake's clock, which is ahead or behind for all the same.
        let until = until.as_millisecond() - EPOCH_MILLIS - scenario.skew;
        fired += 1;
        let (_, partition, offset) = origin(&signal)?;
        for sent in &scenario.sent {
            let Some((of, at, key)) = places.get(&sent.id) else {
                continue;
            };
            let arrived = i64::try_from(sent.at / 1000).expect("small");
            if *key == signal.key && arrived <= until && (*of != partition || *at > offset) {
                return Err(format!(
                    "early: {} arrived {} ms before the deadline, and was read after it had passed",
                    sent.id,
                    until - arrived
                ));
            }
        }
    }
    Ok(fired)
}
