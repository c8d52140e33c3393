//! The load: customers' lives, a batch of many customers' steps every tenth of a second, each batch one transaction.
//!
//! The producer itself must neither lose nor double. Each transaction also writes its batch's number to a topic of the harness; when
//! it is not known what became of a transaction, a new producer of the same name ends it, and that topic says what it was.

use std::{
    fmt::Write as _,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use event::Millis;
use kafka::{From, KafkaConfig, Publisher, Tail};
use stream::Output;

use crate::client;
use crate::script::{LONGEST, Life, MEAN_EVENTS, Pattern, Raw, amount, id};

/// The numbers of the batches that were committed.
pub const BATCHES: &str = "chaos.batches";
/// Batches a second.
const BEAT: Duration = Duration::from_millis(100);
const BEATS_PER_SECOND: f64 = 10.0;
/// A transaction that took this long may have been asked for twice in secret: its producer is replaced.
const SUSPICIOUS: Duration = Duration::from_millis(200);

/// What the load and those who watch it tell each other.
#[derive(Default)]
pub struct Shared {
    /// Committed events.
    pub sent: AtomicU64,
    /// Signals of the sequence that committed events call for.
    pub carts: AtomicU64,
    /// Signals of the absence that committed events call for.
    pub quiets: AtomicU64,
    /// Events seen on the timeline.
    pub seen: AtomicU64,
    /// No further faults come: the load may end once it has sent enough.
    pub calm: AtomicBool,
    /// The load is to end at once, its lives cut short.
    pub stop: AtomicBool,
    /// All was sent.
    pub done: AtomicBool,
}

/// What the load is.
#[derive(Debug, Clone)]
pub struct Load {
    pub brokers: String,
    pub seed: u64,
    /// Events to send at least.
    pub events: u64,
    /// Events a second.
    pub rate: u64,
}

/// What was sent, as far as a seed does not tell it.
#[derive(Debug, Default)]
pub struct Sent {
    /// The batch of each customer's first event.
    pub born: Vec<u32>,
    /// The time that each batch's events carry.
    pub times: Vec<i64>,
}

/// Sends until enough was sent and calm has come, and every life has ended.
pub fn send(load: &Load, shared: &Shared) -> Sent {
    let mut publisher = Careful::open(load);
    let mut sent = Sent::default();
    // The customers born in each batch.
    let mut cohorts: Vec<Range<u32>> = Vec::new();
    let a_batch = load.rate as f64 / BEATS_PER_SECOND;
    // A second's worth may be under way, and what ten seconds of a fault hold back.
    let bound = load.rate.saturating_mul(20).max(2_000);
    let (mut last_birth, mut owed) = (None, 0.0);
    let mut due = Instant::now();
    loop {
        let number = cohorts.len();
        if shared.stop.load(Ordering::Relaxed) || last_birth.is_some_and(|last| number > last + LONGEST) {
            shared.done.store(true, Ordering::Relaxed);
            return sent;
        }
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        due = (due + BEAT).max(Instant::now());
        while shared.sent.load(Ordering::Relaxed) > shared.seen.load(Ordering::Relaxed) + bound
            && !shared.stop.load(Ordering::Relaxed)
        {
            std::thread::sleep(BEAT / 5);
        }
        let first = u32::try_from(sent.born.len()).expect("fewer customers than 2^32");
        let enough = shared.calm.load(Ordering::Relaxed) && shared.sent.load(Ordering::Relaxed) >= load.events;
        let births = if enough || last_birth.is_some() {
            last_birth = last_birth.or(Some(number));
            0
        } else {
            owed += a_batch / MEAN_EVENTS;
            let births = owed as u32;
            owed -= f64::from(births);
            births
        };
        sent.born
            .extend((0..births).map(|_| u32::try_from(number).expect("fewer batches than 2^32")));
        cohorts.push(first..first + births);
        let time = service::wall();
        sent.times.push(time.0);
        let batch = batch(load.seed, &cohorts, time);
        if !publisher.publish(number, &batch.outputs, shared) {
            continue;
        }
        shared.sent.fetch_add(batch.events, Ordering::Relaxed);
        shared.carts.fetch_add(batch.carts, Ordering::Relaxed);
        shared.quiets.fetch_add(batch.quiets, Ordering::Relaxed);
    }
}

struct Batch {
    outputs: Vec<Output>,
    events: u64,
    carts: u64,
    quiets: u64,
}

/// The newest batch: what each customer does so many batches after birth.
fn batch(seed: u64, cohorts: &[Range<u32>], time: Millis) -> Batch {
    let topics: Vec<Arc<str>> = crate::script::RAWS.iter().map(|raw| Arc::from(raw.topic())).collect();
    let mut batch = Batch {
        outputs: Vec::new(),
        events: 0,
        carts: 0,
        quiets: 0,
    };
    let time = codec::time(time);
    for (delay, cohort) in cohorts.iter().rev().take(LONGEST + 1).enumerate() {
        for customer in cohort.clone() {
            let life = Life::of(seed, customer);
            for (step, of) in life.steps().iter().enumerate().filter(|(_, step)| step.delay == delay) {
                batch.outputs.push(Output {
                    topic: Arc::clone(&topics[Raw::index(of.raw)]),
                    partition: None,
                    timestamp: None,
                    key: Some(format!("c{customer}").into_bytes()),
                    value: Some(event(customer, step, of.kind, &time)),
                    headers: Vec::new(),
                });
                batch.events += 1;
                match life.signal_of(step) {
                    Some(Pattern::Cart) => batch.carts += 1,
                    Some(Pattern::Quiet) => batch.quiets += 1,
                    None => {}
                }
            }
        }
    }
    batch
}

fn event(customer: u32, step: usize, kind: &str, time: &str) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    let (id, value) = (id(customer, step), amount(customer, step));
    write!(
        text,
        r#"{{"id":"{id}","source":"chaos","type":"{kind}","time":"{time}","identifiers":[{{"kind":"customer","value":"customer-{customer}"}}],"attributes":{{"value":{value},"currency":"EUR""#
    )
    .expect("a string takes all");
    if kind == "order.completed" {
        write!(text, r#","order_id":"o{customer}""#).expect("a string takes all");
    }
    text.push_str("}}");
    text.into_bytes()
}

/// A producer that knows what became of every batch.
struct Careful {
    brokers: String,
    publisher: Option<Publisher>,
    /// The batch in hand was tried, and it is not known what became of it.
    is_doubtful: bool,
}

impl Careful {
    fn open(load: &Load) -> Self {
        Self {
            brokers: load.brokers.clone(),
            publisher: None,
            is_doubtful: false,
        }
    }

    fn config(&self) -> KafkaConfig {
        let mut config = client(&self.brokers, "chaos-load");
        let raws = crate::script::RAWS.iter().map(|raw| raw.topic().to_owned());
        config.outputs = raws.chain([BATCHES.to_owned()]).collect();
        config
    }

    /// Publishes once, however often that must be tried; false if the load is told to stop first.
    fn publish(&mut self, number: usize, outputs: &[Output], shared: &Shared) -> bool {
        let mut all = outputs.to_vec();
        all.push(Output {
            topic: Arc::from(BATCHES),
            partition: Some(0),
            timestamp: None,
            key: None,
            value: Some(number.to_string().into_bytes()),
            headers: Vec::new(),
        });
        while !shared.stop.load(Ordering::Relaxed) {
            let publisher = match &mut self.publisher {
                Some(publisher) => publisher,
                None => match Publisher::open(&self.config()) {
                    // A new incarnation ends what the one before left open, so the topic of batches tells the truth now.
                    Ok(publisher) if self.is_doubtful && self.is_published(number) => {
                        self.publisher = Some(publisher);
                        self.is_doubtful = false;
                        return true;
                    }
                    Ok(publisher) => self.publisher.insert(publisher),
                    Err(_) => {
                        std::thread::sleep(BEAT);
                        continue;
                    }
                },
            };
            let begun = Instant::now();
            let published = publisher.publish(&all);
            if published.is_err() || begun.elapsed() > SUSPICIOUS {
                self.retire();
            }
            self.is_doubtful = published.is_err();
            if published.is_ok() {
                return true;
            }
        }
        false
    }

    fn retire(&mut self) {
        if let Some(publisher) = self.publisher.take() {
            // Closing a client can wait for brokers that are away.
            std::thread::spawn(move || drop(publisher));
        }
    }

    fn is_published(&self, number: usize) -> bool {
        let wanted = number.to_string().into_bytes();
        loop {
            let read = Tail::open(&self.config(), &[BATCHES], From::Start)
                .and_then(|mut tail| tail.read_to_end(Duration::from_secs(60)));
            match read {
                Ok(records) => {
                    return records
                        .iter()
                        .any(|record| record.value.as_deref() == Some(wanted.as_slice()));
                }
                Err(_) => std::thread::sleep(BEAT),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_together_are_all_lives() {
        let cohorts: Vec<Range<u32>> = (0..60).map(|at: u32| at.min(30) * 5..(at + 1).min(30) * 5).collect();
        let (mut events, mut carts, mut quiets, mut ids) = (0, 0, 0, Vec::new());
        for end in 1..=cohorts.len() {
            let batch = batch(4, &cohorts[..end], Millis(0));
            assert_eq!(batch.outputs.len() as u64, batch.events);
            (events, carts, quiets) = (events + batch.events, carts + batch.carts, quiets + batch.quiets);
            for output in &batch.outputs {
                let event = codec::read_event(output.value.as_deref().unwrap_or_default()).expect("canonical");
                ids.push(event.id);
            }
        }
        let lives: Vec<Life> = (0..150).map(|customer| Life::of(4, customer)).collect();
        let all: usize = lives.iter().map(|life| life.steps().len()).sum();
        assert_eq!(events, all as u64);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
        let expected = |pattern: Pattern| {
            let all = lives.iter().flat_map(|life| life.expected());
            all.filter(|expected| expected.pattern == pattern).count() as u64
        };
        assert_eq!((carts, quiets), (expected(Pattern::Cart), expected(Pattern::Quiet)));
    }
}
