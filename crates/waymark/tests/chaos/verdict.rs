//! What was said compared with what must be said. The comparison is pure and keeps a few bytes per event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use codec::Published as _;
use event::{Action, Attribute, Event, EventRef, Intervention, Seen, Signal};
use kafka::{From, KafkaConfig, Tail};
use stream::Record;

use crate::{
    client,
    load::Sent,
    script::{Expected, Life, Pattern, QUIET, RAWS, Raw, amount, parse},
};

/// Examples kept of what is wrong.
const EXAMPLES: usize = 12;
/// Customers whose events are looked up when something of them is not there.
const CUSTOMERS: usize = 3;

/// What a run's outputs are found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events that were committed to raw topics.
    pub events: u64,
    /// Signals that must come.
    pub expected_signals: u64,
    /// Not there: events on the timeline, signals, decisions.
    pub lost: u64,
    /// There twice.
    pub duplicated: u64,
    /// Behind a later one of the same customer and raw partition.
    pub out_of_order: u64,
    /// An absence that fired before its time, or although the order was there.
    pub early: u64,
    /// Other than what was sent or must be said; dead letters too.
    pub wrong: u64,
    /// What the load itself lost or doubled: such a run proves nothing.
    pub load_at_fault: u64,
    /// A few of each, for whoever looks into it.
    pub examples: Vec<String>,
    /// Customers of whom something is not there, a few.
    pub customers: BTreeSet<u32>,
}

impl Verdict {
    /// Whether nothing at all is amiss.
    pub fn is_clean(&self) -> bool {
        let amiss = self.lost + self.duplicated + self.out_of_order + self.early + self.wrong + self.load_at_fault;
        amiss == 0
    }

    fn missed(&mut self, customer: usize) {
        if self.customers.len() < CUSTOMERS {
            self.customers.insert(customer as u32);
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(what());
        }
    }
}

/// What is known of one event.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// Its offset in its raw partition plus one; 0 while it was not found there.
    raw: u32,
    /// The front of its signal's id; 0 while there is none.
    signal: u32,
    timeline: u8,
    signals: u8,
    decisions: u8,
}

/// Compares records one by one: first the raw topics, then the timeline, signals, decisions.
pub struct Ledger {
    seed: u64,
    sent: Sent,
    /// The row of each customer's first event.
    first: Vec<u32>,
    rows: Vec<Row>,
    /// Per customer and raw topic, the greatest raw offset seen on the timeline, plus one.
    reached: Vec<[u32; RAWS.len()]>,
    verdict: Verdict,
}

impl Ledger {
    pub fn new(seed: u64, sent: Sent) -> Self {
        let mut rows = 0;
        let first = (0..sent.born.len())
            .map(|customer| {
                let first = u32::try_from(rows).expect("fewer events than 2^32");
                rows += Life::of(seed, customer as u32).steps().len();
                first
            })
            .collect::<Vec<u32>>();
        Self {
            seed,
            reached: vec![[0; RAWS.len()]; first.len()],
            first,
            rows: vec![Row::default(); rows],
            sent,
            verdict: Verdict::default(),
        }
    }

    fn row(&self, id: &str) -> Option<(u32, usize, usize)> {
        let (customer, step) = parse(id)?;
        let first = *self.first.get(customer as usize)?;
        (step < Life::of(self.seed, customer).steps().len()).then_some((customer, step, first as usize + step))
    }

    fn time(&self, customer: u32, step: usize) -> i64 {
        let delay = Life::of(self.seed, customer).steps()[step].delay;
        self.sent.times[self.sent.born[customer as usize] as usize + delay]
    }

    /// An event found in a raw topic.
    pub fn raw(&mut self, id: &str, offset: i64) {
        let Some((_, _, row)) = self.row(id) else {
            self.verdict.load_at_fault += 1;
            self.verdict.note(|| format!("unknown event in a raw topic: {id}"));
            return;
        };
        if self.rows[row].raw != 0 {
            self.verdict.load_at_fault += 1;
            self.verdict.note(|| format!("event twice in a raw topic: {id}"));
        }
        self.rows[row].raw = u32::try_from(offset + 1).expect("fewer offsets than 2^32");
        self.verdict.events += 1;
    }

    /// An event found on the timeline.
    pub fn timeline(&mut self, event: &Event) {
        let Some((customer, step, row)) = self.row(&event.id) else {
            self.verdict.wrong += 1;
            self.verdict
                .note(|| format!("unknown event on the timeline: {}", event.id));
            return;
        };
        let life = Life::of(self.seed, customer);
        let of = &life.steps()[step];
        let is_same = event.kind == of.kind
            && event.source == "chaos"
            && event.time.0 == self.time(customer, step)
            && is_amount(event.attributes.get("value"), amount(customer, step));
        if !is_same {
            self.verdict.wrong += 1;
            self.verdict
                .note(|| format!("event altered on the timeline: {event:?}"));
        }
        let found = &mut self.rows[row];
        found.timeline = found.timeline.saturating_add(1);
        if found.timeline > 1 {
            self.verdict.duplicated += 1;
            self.verdict
                .note(|| format!("event twice on the timeline: {}", event.id));
            return;
        }
        let raw = found.raw;
        let reached = &mut self.reached[customer as usize][Raw::index(of.raw)];
        if raw < *reached {
            self.verdict.out_of_order += 1;
            self.verdict
                .note(|| format!("event behind a later one of its partition: {}", event.id));
        }
        *reached = raw.max(*reached);
    }

    /// A signal, and when the broker's client wrote it.
    pub fn signal(&mut self, signal: &Signal, written: i64) {
        let Some((customer, row)) = self.evidence("signal", &signal.pattern, &signal.seen) else {
            return;
        };
        if Pattern::of(&signal.pattern) == Some(Pattern::Quiet) {
            let until = self.time(customer, 3) + QUIET;
            if signal.matched_at.0 < until || written < until {
                self.verdict.early += 1;
                self.verdict.note(|| {
                    format!(
                        "absence fired early: customer={customer} due={until} matched={} written={written}",
                        signal.matched_at.0
                    )
                });
            }
        }
        let id = front(&signal.id.to_string());
        let found = &mut self.rows[row];
        found.signal = id;
        found.signals = found.signals.saturating_add(1);
        if found.signals > 1 {
            self.verdict.duplicated += 1;
            self.verdict
                .note(|| format!("signal twice: customer={customer} pattern={}", signal.pattern));
        }
    }

    /// An intervention, or one that was withheld.
    pub fn decision(&mut self, decided: &Intervention) {
        let Some((customer, row)) = self.evidence("decision", &decided.pattern, &decided.seen) else {
            return;
        };
        let found = &mut self.rows[row];
        let named = decided.signal.map(|id| front(&id.to_string()));
        if decided.action != Action::Start || named != Some(found.signal) {
            self.verdict.wrong += 1;
            self.verdict.note(|| {
                format!(
                    "decision does not belong to its signal: customer={customer} {}",
                    decided.id
                )
            });
        }
        found.decisions = found.decisions.saturating_add(1);
        if found.decisions > 1 {
            self.verdict.duplicated += 1;
            self.verdict
                .note(|| format!("decision twice: customer={customer} pattern={}", decided.pattern));
        }
    }

    /// A record in a topic of dead letters.
    pub fn dead_letter(&mut self, topic: &str) {
        self.verdict.wrong += 1;
        self.verdict.note(|| format!("dead letter: {topic}"));
    }

    /// The row that the evidence names, if it is what must be said about this customer.
    fn evidence(&mut self, what: &str, pattern: &str, seen: &[Seen]) -> Option<(u32, usize)> {
        let mut events: Vec<&EventRef> = seen
            .iter()
            .flat_map(|seen| std::iter::once(&seen.first).chain(&seen.last))
            .collect();
        // The last event of a step may be its first.
        events.dedup_by(|one, next| one.id == next.id);
        let steps: Option<Vec<(u32, usize, usize)>> = events.iter().map(|event| self.row(&event.id)).collect();
        let known = steps.as_deref().and_then(|steps| {
            let (customer, _, row) = *steps.last()?;
            let evidence: Vec<usize> = steps.iter().map(|(_, step, _)| *step).collect();
            let said = Expected {
                pattern: Pattern::of(pattern)?,
                evidence,
            };
            let of_one = steps.iter().all(|(of, ..)| *of == customer);
            of_one.then_some((customer, row, said))
        });
        let ids = || {
            events
                .iter()
                .map(|event| event.id.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let Some((customer, row, said)) = known else {
            self.verdict.wrong += 1;
            let ids = ids();
            self.verdict
                .note(|| format!("{what} with unknown evidence: pattern={pattern} {ids}"));
            return None;
        };
        let life = Life::of(self.seed, customer);
        if life.expected().contains(&said) {
            return Some((customer, row));
        }
        let ids = ids();
        if said.pattern == Pattern::Quiet && life.pays() {
            self.verdict.early += 1;
            self.verdict
                .note(|| format!("{what}: absence fired although the order was there: {life:?} {ids}"));
        } else {
            self.verdict.wrong += 1;
            self.verdict
                .note(|| format!("{what} that nothing called for: pattern={pattern} {life:?} {ids}"));
        }
        None
    }

    /// Looks for what is missing.
    pub fn finish(mut self) -> Verdict {
        for customer in 0..self.first.len() {
            let first = self.first[customer] as usize;
            let life = Life::of(self.seed, customer as u32);
            for step in 0..life.steps().len() {
                let row = self.rows[first + step];
                if row.raw == 0 {
                    self.verdict.load_at_fault += 1;
                    self.verdict.note(|| format!("event never sent: c{customer}-{step}"));
                }
                if row.timeline == 0 {
                    self.verdict.lost += 1;
                    self.verdict.missed(customer);
                    self.verdict
                        .note(|| format!("event not on the timeline: c{customer}-{step}"));
                }
            }
            for expected in life.expected() {
                self.verdict.expected_signals += 1;
                let named = *expected.evidence.last().expect("evidence");
                let row = self.rows[first + named];
                for (what, count) in [("signal", row.signals), ("decision", row.decisions)] {
                    if count == 0 {
                        self.verdict.lost += 1;
                        self.verdict.missed(customer);
                        self.verdict
                            .note(|| format!("no {what}: {} c{customer}-{named} {life:?}", expected.pattern.id()));
                    }
                }
            }
        }
        self.verdict
    }
}

fn is_amount(found: Option<&Attribute>, amount: i64) -> bool {
    match found {
        Some(Attribute::Long(found)) => *found == amount,
        Some(Attribute::Double(found)) => *found == amount as f64,
        _ => false,
    }
}

/// The front of an id, as a number that is not 0.
fn front(id: &str) -> u32 {
    u32::from_str_radix(id.get(..8).unwrap_or_default(), 16).map_or(1, |front| front.max(1))
}

/// Reads all topics of a run that has ended and compares.
///
/// # Errors
/// A message if a topic cannot be read to its end.
pub fn judge(brokers: &str, seed: u64, sent: Sent) -> Result<Verdict, String> {
    let config = client(brokers, "chaos-verdict");
    let admin = kafka::Admin::connect(&config).map_err(|error| error.to_string())?;
    let topics = admin.topics().map_err(|error| error.to_string())?;
    let mut ledger = Ledger::new(seed, sent);
    let raws: Vec<&str> = RAWS.iter().map(|raw| raw.topic()).collect();
    each(&config, &raws, |record| {
        let value = record.value.as_deref().unwrap_or_default();
        match codec::read_event(value) {
            Ok(event) => ledger.raw(&event.id, record.offset),
            Err(refusal) => ledger.raw(&refusal.message, record.offset),
        }
    })?;
    each(&config, &["journey.timeline"], |record| {
        match codec::decode_event(record.value.as_deref().unwrap_or_default()) {
            Ok(event) if event.kind == "tick" => {}
            Ok(event) => ledger.timeline(&event),
            Err(refusal) => ledger.dead_letter(&refusal.message),
        }
    })?;
    each(&config, &["journey.signals"], |record| {
        match Signal::decode(record.value.as_deref().unwrap_or_default()) {
            Ok(signal) => ledger.signal(&signal, record.timestamp.0),
            Err(refusal) => ledger.dead_letter(&refusal.message),
        }
    })?;
    let named = |part: &str| -> Vec<&str> {
        let names = topics.iter().map(|topic| topic.name.as_str());
        names.filter(|name| name.contains(part)).collect()
    };
    let decisions: Vec<&str> = named("journey.interventions.")
        .into_iter()
        .filter(|name| !name.ends_with(".dlq"))
        .collect();
    each(&config, &decisions, |record| {
        match Intervention::decode(record.value.as_deref().unwrap_or_default()) {
            Ok(decided) => ledger.decision(&decided),
            Err(refusal) => ledger.dead_letter(&refusal.message),
        }
    })?;
    each(&config, &named(".dlq"), |record| ledger.dead_letter(&record.topic))?;
    let mut verdict = ledger.finish();
    verdict.examples.extend(whereabouts(&config, &verdict.customers)?);
    Ok(verdict)
}

/// Where the events of a few customers stand in raw topics and on the timeline, for whoever looks into what is amiss.
fn whereabouts(config: &KafkaConfig, customers: &BTreeSet<u32>) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    if customers.is_empty() {
        return Ok(found);
    }
    let mut note = |record: &Record, id: &str| {
        if parse(id).is_some_and(|(customer, _)| customers.contains(&customer)) {
            let (topic, partition, offset) = (&record.topic, record.partition, record.offset);
            let written = codec::time(record.timestamp);
            found.push(format!("{id} stands at {topic}/{partition}/{offset} since {written}"));
        }
    };
    let raws: Vec<&str> = RAWS.iter().map(|raw| raw.topic()).collect();
    each(config, &raws, |record| {
        if let Ok(event) = codec::read_event(record.value.as_deref().unwrap_or_default()) {
            note(record, &event.id);
        }
    })?;
    let mut ticks = BTreeMap::new();
    each(config, &["journey.timeline"], |record| {
        match codec::decode_event(record.value.as_deref().unwrap_or_default()) {
            Ok(event) if event.kind == "tick" => {
                let writer = event.attributes.get("index").map(|index| format!("{index:?}"));
                let told = format!("{} {:?}", codec::time(event.time), event.attributes);
                ticks.insert((record.partition, writer), told);
            }
            Ok(event) => note(record, &event.id),
            Err(_) => {}
        }
    })?;
    let last = ticks.into_iter().filter(|((partition, _), _)| *partition == 0);
    found.extend(last.map(|(_, tick)| format!("last tick: {tick}")));
    Ok(found)
}

/// Every committed record of the topics, a partition's in order; only a slice of them is in memory at once.
pub fn each(config: &KafkaConfig, topics: &[&str], mut take: impl FnMut(&Record)) -> Result<(), String> {
    if topics.is_empty() {
        return Ok(());
    }
    let fail = |error: stream::LogError| format!("{}: {error}", topics.join(","));
    let mut tail = Tail::open(config, topics, From::Start).map_err(fail)?;
    let mut records = Vec::new();
    let mut silent = 0;
    while !tail.is_at_end() {
        tail.poll(Duration::from_millis(100), &mut records).map_err(fail)?;
        silent = if records.is_empty() { silent + 1 } else { 0 };
        if silent > 600 {
            return Err(format!(
                "{}: nothing came for a minute before the end",
                topics.join(",")
            ));
        }
        for record in records.drain(..) {
            take(&record);
        }
    }
    Ok(())
}

/// Signals by pattern, for scenarios that only count.
pub fn count_signals(brokers: &str) -> Result<BTreeMap<String, u64>, String> {
    let config = client(brokers, "chaos-verdict");
    let mut counts = BTreeMap::new();
    each(&config, &["journey.signals"], |record| {
        if let Ok(signal) = Signal::decode(record.value.as_deref().unwrap_or_default()) {
            *counts.entry(signal.pattern).or_default() += 1;
        }
    })?;
    Ok(counts)
}

#[cfg(test)]
mod tests;
