//! Follows the outputs of a run while it goes, to pace the load and to see when a fault has been recovered from.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use codec::Published as _;
use event::Signal;
use kafka::{From, KafkaConfig, Tail};
use stream::Record;

use crate::{client, load::Shared, script::Pattern};

const TIMELINE: &str = "journey.timeline";
const SIGNALS: &str = "journey.signals";

/// How far the outputs have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub carts: u64,
    pub quiets: u64,
}

/// A reader of the timeline and the signals.
pub struct Watch {
    config: KafkaConfig,
    tail: Option<Tail>,
    records: Vec<Record>,
    counts: Counts,
    shared: Arc<Shared>,
}

impl Watch {
    pub fn new(brokers: &str, shared: Arc<Shared>) -> Self {
        Self {
            config: client(brokers, "chaos-watch"),
            tail: None,
            records: Vec::new(),
            counts: Counts::default(),
            shared,
        }
    }

    /// Reads what has come, waiting a little.
    pub fn look(&mut self) -> Counts {
        let tail = match &mut self.tail {
            Some(tail) => tail,
            None => match Tail::open(&self.config, &[TIMELINE, SIGNALS], From::Start) {
                Ok(tail) => {
                    self.counts = Counts::default();
                    self.tail.insert(tail)
                }
                Err(_) => return self.counts,
            },
        };
        if tail.poll(Duration::from_millis(40), &mut self.records).is_err() {
            // Counting begins anew.
            self.tail = None;
        }
        for record in self.records.drain(..) {
            match &*record.topic {
                // Ticks have no key.
                TIMELINE => self.counts.events += u64::from(record.key.is_some()),
                _ => match Signal::decode(record.value.as_deref().unwrap_or_default()) {
                    Ok(signal) if Pattern::of(&signal.pattern) == Some(Pattern::Cart) => self.counts.carts += 1,
                    _ => self.counts.quiets += 1,
                },
            }
        }
        self.shared.seen.fetch_max(self.counts.events, Ordering::Relaxed);
        self.counts
    }
}
