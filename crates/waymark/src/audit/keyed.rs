//! The audit of a service with state: what its markers count against what its output topics show. Pure: records in, findings out.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use stream::{Committed, Millis, Record};

use super::{
    finding::{Finding, Findings, Kind, Uncovered},
    ledger::{Cover, Group, Ledger, Seen, Summary},
};

/// Output ids remembered, so that the second record of one is noticed wherever it stands.
const IDS: usize = 1 << 20;
/// Clocks of workers differ by less, and no transaction lasts as long.
pub const SLACK: i64 = 600_000;

/// How much of an output topic's partition can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All that was ever written.
    Whole,
    /// What is not older than this time; reading begins there.
    Since(Millis),
    /// What was not deleted; how old that is shows with the first record.
    Left,
}

/// An output topic.
#[derive(Debug, Clone)]
struct Topic {
    name: Arc<str>,
    is_compacted: bool,
    lanes: BTreeMap<i32, Lane>,
}

/// A partition of an output topic.
#[derive(Debug, Clone)]
struct Lane {
    reach: Reach,
    /// By input partition, the last epoch known when it was opened: what later ones wrote was not deleted before.
    opened: Vec<u64>,
}

/// The audit of one service with state.
pub struct Keyed {
    service: &'static str,
    input: String,
    topics: Vec<Topic>,
    places: BTreeMap<String, usize>,
    ledgers: Vec<Ledger>,
    ids: Ids,
    cuts: u64,
}

impl Keyed {
    /// An audit of a service that reads `input`; `whole` says for each of its partitions whether all of the changelog is there.
    #[must_use]
    pub fn new(service: &'static str, input: &str, changelog: &str, whole: &[bool]) -> Self {
        let ledger = |(partition, is_whole): (usize, &bool)| {
            Ledger::new(
                service,
                format!("{input}/{partition}"),
                format!("{changelog}/{partition}"),
                *is_whole,
            )
        };
        Self {
            service,
            input: input.to_owned(),
            topics: Vec::new(),
            places: BTreeMap::new(),
            ledgers: whole.iter().enumerate().map(ledger).collect(),
            ids: Ids::default(),
            cuts: 0,
        }
    }

    /// Opens a partition of an output topic. To be called once the changelog has been read to where it ended at the start.
    pub fn open(&mut self, topic: &str, is_compacted: bool, partition: i32, reach: Reach) {
        let opened = self.ledgers.iter().map(Ledger::epoch).collect();
        let place = place(&mut self.topics, &mut self.places, topic);
        self.topics[place].is_compacted = is_compacted;
        self.topics[place].lanes.insert(partition, Lane { reach, opened });
    }

    /// Takes the next record of the changelog.
    pub fn changelog(&mut self, record: &Record, findings: &mut Findings) {
        let Some(ledger) = at(&mut self.ledgers, record.partition) else {
            return;
        };
        let value = record.value.as_deref().unwrap_or_default();
        let (topics, places) = (&mut self.topics, &mut self.places);
        let mut find = |name: &str| place(topics, places, name);
        ledger.take(value, (record.offset, record.timestamp), &mut find, findings);
    }

    /// Takes the next record of an output topic.
    pub fn visible(&mut self, record: &Record, findings: &mut Findings) {
        let Some(topic) = self.places.get(record.topic.as_ref()).copied() else {
            return;
        };
        let is_letter = record.topic.ends_with(".dlq");
        if let Some(lane) = self.topics[topic].lanes.get_mut(&record.partition)
            && lane.reach == Reach::Left
            && !is_letter
        {
            // Records before it were deleted, and are no younger.
            lane.reach = Reach::Since(record.timestamp);
        }
        let own = || format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let wrong = |kind: Kind, message: String| Finding {
            kind,
            service: self.service,
            place: own(),
            epochs: None,
            counts: None,
            message,
        };
        let source = if is_letter {
            letter_source(record)
        } else {
            source(record).map(|source| source.at)
        };
        let Some((cause, partition, offset)) = source else {
            return findings.add(wrong(Kind::Disagrees, "record does not name its source".to_owned()));
        };
        if cause != self.input {
            findings.not_covered(Uncovered {
                service: self.service,
                place: record.topic.to_string(),
                reason: "caused by another topic",
                unit: "offsets",
                first: record.offset,
                last: record.offset,
                count: 1,
            });
            return;
        }
        if let Some(id) = header(record, "waymark-output-id").filter(|_| !is_letter)
            && !self.ids.insert(topic, id)
        {
            let message = format!("output id comes again: source={cause}/{partition}/{offset}");
            return findings.add(wrong(Kind::Duplicated, message));
        }
        let Some(ledger) = at(&mut self.ledgers, partition) else {
            let message = format!("source is no partition of the input: partition={partition}");
            return findings.add(wrong(Kind::Disagrees, message));
        };
        let seen = Seen {
            topic,
            name: Arc::clone(&record.topic),
            partition: record.partition,
            offset: record.offset,
            source: offset,
            cut: self.cuts,
        };
        ledger.see(seen, findings);
    }

    /// Records of an output topic were deleted before they could be read.
    pub fn skipped_output(&mut self, topic: &str, partition: i32) {
        let opened = self.ledgers.iter().map(Ledger::epoch).collect();
        let Some(place) = self.places.get(topic).copied() else {
            return;
        };
        if let Some(lane) = self.topics[place].lanes.get_mut(&partition) {
            *lane = Lane {
                reach: Reach::Left,
                opened,
            };
        }
        for ledger in &mut self.ledgers {
            ledger.forget(place, partition);
        }
    }

    /// Records of the changelog were deleted before they could be read.
    pub fn skipped_changelog(&mut self, partition: i32, from: i64, to: i64, findings: &mut Findings) {
        if let Some(ledger) = at(&mut self.ledgers, partition) {
            ledger.skipped(from, to, findings);
        }
    }

    /// Begins a cut; `committed` is where the group stands, asked after everything taken until now was read. The ends of changelog
    /// and output topics are to be asked next, and [`Keyed::settle`] called once all have been read that far.
    pub fn cut(&mut self, committed: &[Option<Committed>], findings: &mut Findings) {
        self.cuts += 1;
        for (ledger, committed) in self.ledgers.iter_mut().zip(committed) {
            ledger.cut(committed.as_ref(), findings);
        }
    }

    /// Ends the cut: judges the epochs that were read before it began.
    pub fn settle(&mut self, findings: &mut Findings) {
        let frozen = self.topics.clone();
        let cover = |ledger: &Ledger, partition: usize, group: &Group, topic: usize| {
            frozen.get(topic).map_or(Cover::Unread, |topic_of| {
                covers(topic_of, topic, ledger, partition, group)
            })
        };
        let name = |topic: usize| {
            frozen
                .get(topic)
                .map_or_else(String::new, |topic| topic.name.to_string())
        };
        for (partition, ledger) in self.ledgers.iter_mut().enumerate() {
            let (topics, places) = (&mut self.topics, &mut self.places);
            let mut find = |name: &str| place(topics, places, name);
            let cover = |ledger: &Ledger, group: &Group, topic: usize| cover(ledger, partition, group, topic);
            ledger.settle(self.cuts, &cover, &name, &mut find, findings);
        }
    }

    /// Notes what was never compared.
    pub fn finish(&self, findings: &mut Findings) {
        for ledger in &self.ledgers {
            ledger.finish(findings);
        }
    }

    /// Outputs that wait for the markers of their epochs.
    #[must_use]
    pub fn ahead(&self) -> usize {
        self.ledgers.iter().map(Ledger::ahead).sum()
    }

    /// What the books of each input partition say, and the topics' names.
    #[must_use]
    pub fn summaries(&self) -> (Vec<Summary>, Vec<String>) {
        let names = self.topics.iter().map(|topic| topic.name.to_string()).collect();
        (self.ledgers.iter().map(Ledger::summary).collect(), names)
    }
}

/// Whether all that a group wrote to a topic can be seen.
fn covers(of: &Topic, topic: usize, ledger: &Ledger, partition: usize, group: &Group) -> Cover {
    if of.lanes.is_empty() {
        return Cover::Unread;
    }
    let written = ledger.base().map_or(Millis::MIN, |(_, at)| at);
    let all = of.lanes.iter().all(|(lane, of)| {
        let is_young = match of.reach {
            Reach::Whole => true,
            Reach::Since(time) => written.since(time) >= SLACK,
            Reach::Left => false,
        };
        // A partition keeps the order of epochs: what stands before the first record left is of its group or an earlier one.
        let is_behind = ledger
            .shown(topic, *lane)
            .is_some_and(|shown| shown.first < group.begin);
        is_young || is_behind || of.opened.get(partition).is_some_and(|last| group.first > *last)
    });
    match (all, of.is_compacted) {
        (_, true) => Cover::Compacted,
        (true, false) => Cover::Whole,
        (false, false) => Cover::Deleted,
    }
}

fn at(ledgers: &mut [Ledger], partition: i32) -> Option<&mut Ledger> {
    ledgers.get_mut(usize::try_from(partition).ok()?)
}

fn place(topics: &mut Vec<Topic>, places: &mut BTreeMap<String, usize>, name: &str) -> usize {
    if let Some(place) = places.get(name) {
        return *place;
    }
    topics.push(Topic {
        name: Arc::from(name),
        is_compacted: false,
        lanes: BTreeMap::new(),
    });
    places.insert(name.to_owned(), topics.len() - 1);
    topics.len() - 1
}

/// A header's value as text.
#[must_use]
pub fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().find(|(known, _)| known == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}

/// What `waymark-source` says: topic, partition and offset, and the index behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// Topic, partition and offset.
    pub at: (&'a str, i32, i64),
    /// The index.
    pub index: u32,
}

/// Reads `waymark-source`; `None` if it is absent or not of its form.
#[must_use]
pub fn source(record: &Record) -> Option<Source<'_>> {
    let mut words = header(record, "waymark-source")?.split('/');
    let at = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let index = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Source { at, index })
}

/// The record that a dead letter holds: topic, partition and offset by Kafka Connect's headers.
#[must_use]
pub fn letter_source(record: &Record) -> Option<(&str, i32, i64)> {
    Some((
        header(record, "__connect.errors.topic")?,
        header(record, "__connect.errors.partition")?.parse().ok()?,
        header(record, "__connect.errors.offset")?.parse().ok()?,
    ))
}

/// The newest output ids.
#[derive(Default)]
struct Ids {
    known: HashSet<(usize, u128)>,
    order: VecDeque<(usize, u128)>,
}

impl Ids {
    /// Remembers an id; false if it is known. One that is no UUID is not remembered.
    fn insert(&mut self, topic: usize, id: &str) -> bool {
        let digits: String = id.chars().filter(|digit| *digit != '-').collect();
        let Ok(id) = u128::from_str_radix(&digits, 16) else {
            return true;
        };
        if !self.known.insert((topic, id)) {
            return false;
        }
        self.order.push_back((topic, id));
        if self.order.len() > IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests;
