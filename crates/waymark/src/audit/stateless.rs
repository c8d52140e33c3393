//! The audit of a service without state: every raw record below the group's committed offset has its records on the timeline or one
//! dead letter, and none has more. Pure: records in, findings out.
//!
//! Each raw record that is not judged yet takes a few bytes. Records are judged once the group has passed them and everything that
//! stood in the topics then has been read.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use stream::{Millis, Record};

use super::{
    finding::{Finding, Findings, Kind, Uncovered},
    keyed::{Reach, SLACK, letter_source, source},
};

/// What a raw record must bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// No such record was read.
    #[default]
    Absent,
    /// Nothing: it is for the service itself, or an empty batch.
    Nothing,
    /// This many events on the timeline.
    Events(u16),
    /// A dead letter.
    Letter,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    expect: Expect,
    /// Records of its first event.
    first: u8,
    letters: u8,
    /// Scores that events carry, less scores that were published.
    scores: i8,
}

/// A timeline or sentiment partition, or one of dead letters.
type Lane = (Arc<str>, i32);

/// One raw partition.
struct Raw {
    place: String,
    /// The offset of the first slot: everything before is judged, or was never asked for.
    base: i64,
    slots: VecDeque<Slot>,
    /// How often each event behind the first was seen, by offset.
    more: BTreeMap<i64, Vec<u8>>,
    /// The greatest offset that an output names, and the one when the cut began.
    highest: Option<i64>,
    at_cut: Option<i64>,
    /// What was already said to be ahead of the group.
    told: Option<i64>,
    committed: Option<i64>,
    /// Where the group stood at the first cut: what comes later was not deleted before.
    live: Option<i64>,
    /// Offset and time of some of the records that stand on the timeline, in order.
    samples: Samples,
    read: u64,
    events: u64,
    letters: u64,
    judged: Option<(i64, i64)>,
}

/// What is said of one raw partition at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSummary {
    /// `topic/partition`.
    pub place: String,
    /// The first offset that was judged, and the one behind the last.
    pub judged: Option<(i64, i64)>,
    /// Where the group stands.
    pub committed: Option<i64>,
    /// Raw records judged, their events and dead letters.
    pub read: u64,
    /// See above.
    pub events: u64,
    /// See above.
    pub letters: u64,
}

/// The audit of one service without state.
pub struct Stateless {
    service: &'static str,
    timeline: String,
    sentiment: String,
    raws: BTreeMap<(String, i32), Raw>,
    lanes: BTreeMap<Lane, Reach>,
    /// By timeline partition and raw partition, the last source seen.
    order: BTreeMap<(i32, String, i32), (i64, u32)>,
    /// The service began at the first raw record there was.
    from_start: bool,
    /// A cut has been judged: everything older has been seen.
    is_settled: bool,
    /// Where the audit can speak is to be found anew, when the next cut is judged.
    begins: bool,
}

impl Stateless {
    /// An audit of the service that fills `timeline` and `sentiment`. `from_start` says that a new group of it begins at the first
    /// raw record: then every one counts.
    #[must_use]
    pub fn new(service: &'static str, timeline: &str, sentiment: &str, from_start: bool) -> Self {
        Self {
            service,
            timeline: timeline.to_owned(),
            sentiment: sentiment.to_owned(),
            raws: BTreeMap::new(),
            lanes: BTreeMap::new(),
            order: BTreeMap::new(),
            from_start,
            is_settled: false,
            begins: true,
        }
    }

    /// Opens a raw partition that is read from `offset`.
    pub fn raw(&mut self, topic: &str, partition: i32, offset: i64) {
        let raw = Raw {
            place: format!("{topic}/{partition}"),
            base: offset,
            slots: VecDeque::new(),
            more: BTreeMap::new(),
            highest: None,
            at_cut: None,
            told: None,
            committed: None,
            live: None,
            samples: Samples::default(),
            read: 0,
            events: 0,
            letters: 0,
            judged: None,
        };
        self.raws.insert((topic.to_owned(), partition), raw);
    }

    /// Opens a partition of what the service writes.
    pub fn open(&mut self, topic: &str, partition: i32, reach: Reach) {
        self.lanes.insert((Arc::from(topic), partition), reach);
    }

    /// Takes the next raw record, and what it must bring about.
    pub fn read(&mut self, record: &Record, expect: Expect) {
        let raw = self.raws.get_mut(&(record.topic.to_string(), record.partition));
        if let Some(slot) = raw.and_then(|raw| raw.slot(record.offset)) {
            slot.expect = expect;
        }
    }

    /// Takes the next record of the timeline. `is_scored` says that its event carries a score. One that names no source is a tick.
    pub fn event(&mut self, record: &Record, is_scored: bool, findings: &mut Findings) {
        let lane = self.lanes.get_mut(&(Arc::clone(&record.topic), record.partition));
        if let Some(lane) = lane
            && *lane == Reach::Left
        {
            *lane = Reach::Since(record.timestamp);
        }
        let Some(source) = source(record) else { return };
        let (topic, partition, offset) = source.at;
        let place = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let Some(raw) = self.raws.get_mut(&(topic.to_owned(), partition)) else {
            let message = format!("source is no raw partition: {topic}/{partition}");
            findings.add(found(self.service, Kind::Disagrees, place, message));
            return;
        };
        raw.highest = raw.highest.max(Some(offset));
        let is_late = offset < raw.base;
        let seen = raw.saw_event(offset, source.index, is_scored);
        raw.samples.add(offset, record.timestamp);
        let said = format!("{}/{offset}/{}", raw.place, source.index);
        if is_late && self.is_settled {
            let message = format!("another event of a raw record that was complete: {said}");
            findings.add(found(self.service, Kind::Duplicated, place, message));
            return;
        }
        let lane = (record.partition, topic.to_owned(), partition);
        let before = self.order.entry(lane).or_insert((i64::MIN, 0));
        if (offset, source.index) > *before {
            *before = (offset, source.index);
        } else if seen < 2 {
            let message = format!(
                "stands behind a later event of its raw partition: {said} behind {}/{}",
                before.0, before.1
            );
            findings.add(found(self.service, Kind::OutOfOrder, place, message));
        }
    }

    /// Takes the next record of the scores; `position` is the raw record that it names.
    pub fn score(&mut self, record: &Record, position: &str) {
        let lane = self.lanes.get_mut(&(Arc::clone(&record.topic), record.partition));
        if let Some(lane) = lane
            && *lane == Reach::Left
        {
            *lane = Reach::Since(record.timestamp);
        }
        let mut words = position.split('/');
        let (Some(topic), Some(Ok(partition)), Some(Ok(offset))) = (
            words.next(),
            words.next().map(str::parse::<i32>),
            words.next().map(str::parse::<i64>),
        ) else {
            return;
        };
        let raw = self.raws.get_mut(&(topic.to_owned(), partition));
        if let Some(slot) = raw.and_then(|raw| raw.slot(offset)) {
            slot.scores = slot.scores.saturating_sub(1);
        }
    }

    /// Takes the next dead letter of a raw topic.
    pub fn letter(&mut self, record: &Record, findings: &mut Findings) {
        let place = || format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let Some((topic, partition, offset)) = letter_source(record) else {
            let message = "dead letter does not name its record".to_owned();
            return findings.add(found(self.service, Kind::Disagrees, place(), message));
        };
        let Some(raw) = self.raws.get_mut(&(topic.to_owned(), partition)) else {
            let message = format!("dead letter of no raw partition: {topic}/{partition}");
            return findings.add(found(self.service, Kind::Disagrees, place(), message));
        };
        raw.highest = raw.highest.max(Some(offset));
        if offset < raw.base && self.is_settled {
            let message = format!(
                "another dead letter of a raw record that was complete: {}/{offset}",
                raw.place
            );
            return findings.add(found(self.service, Kind::Duplicated, place(), message));
        }
        if let Some(slot) = raw.slot(offset) {
            slot.letters = slot.letters.saturating_add(1);
        }
    }

    /// Raw records were deleted before they could be read.
    pub fn skipped_raw(&mut self, topic: &str, partition: i32, to: i64, findings: &mut Findings) {
        let Some(raw) = self.raws.get_mut(&(topic.to_owned(), partition)) else {
            return;
        };
        let gone = raw.drop_to(to);
        uncovered(findings, self.service, &raw.place, "expired before it was read", gone);
    }

    /// Records of what the service writes were deleted before they could be read: only what comes from now on is judged.
    pub fn skipped_output(&mut self, topic: &str, partition: i32) {
        self.lanes.insert((Arc::from(topic), partition), Reach::Left);
        self.begins = true;
        for raw in self.raws.values_mut() {
            raw.live = None;
        }
    }

    /// Begins a cut; `committed` is where the group stands by raw partition, asked after everything taken until now was read.
    pub fn cut(&mut self, committed: &BTreeMap<(String, i32), i64>, findings: &mut Findings) {
        for (of, raw) in &mut self.raws {
            raw.at_cut = raw.highest;
            let now = committed.get(of).copied();
            if let (Some(before), Some(now)) = (raw.committed, now)
                && now < before
            {
                let message = format!("committed offset went back: found={now} before={before}");
                findings.add(found(self.service, Kind::OutOfOrder, raw.place.clone(), message));
            }
            raw.committed = now.or(raw.committed);
            raw.live = raw.live.or(now);
        }
    }

    /// The raw partitions with the offset up to which each must be read before [`Stateless::settle`].
    pub fn targets(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        let raws = self.raws.iter();
        raws.filter_map(|((topic, partition), raw)| Some((topic.as_str(), *partition, raw.committed?)))
    }

    /// Ends the cut: judges the raw records that the group had passed when it began.
    pub fn settle(&mut self, findings: &mut Findings) {
        let is_first = std::mem::take(&mut self.begins);
        self.is_settled = true;
        let covers = Covers {
            events: since(&self.lanes, |topic| topic == self.timeline),
            scores: since(&self.lanes, |topic| topic == self.sentiment),
        };
        for ((topic, _), raw) in &mut self.raws {
            let Some(committed) = raw.committed else {
                let range = (raw.base, raw.base + raw.slots.len() as i64);
                uncovered(
                    findings,
                    self.service,
                    &raw.place,
                    "the group has no committed offset",
                    range,
                );
                continue;
            };
            if raw.at_cut > raw.told
                && let Some(ahead) = raw.at_cut
                && ahead >= committed
            {
                raw.told = raw.at_cut;
                let message = format!("visible, but the group has not passed it: committed={committed}");
                let place = format!("{}/{ahead}", raw.place);
                findings.add(found(self.service, Kind::Torn, place, message));
            }
            let mut from = raw.base;
            let mut scores_from = raw.base;
            if is_first {
                let live = raw.live.unwrap_or(committed);
                let first = |since: Option<Millis>| match since {
                    Some(time) => raw.samples.first(time).unwrap_or(live),
                    None if self.from_start => raw.base,
                    None => raw.samples.first(Millis::MIN).unwrap_or(live),
                };
                from = first(covers.events).clamp(raw.base, committed.max(raw.base));
                scores_from = first(covers.scores).max(from);
            }
            let letters = format!("{topic}.dlq");
            let whole = |lane: &(&Lane, &Reach)| lane.0.0.as_ref() != letters || *lane.1 == Reach::Whole;
            let judge = Judge {
                service: self.service,
                letters_from: if is_first && !self.lanes.iter().all(|lane| whole(&lane)) {
                    raw.live.unwrap_or(committed)
                } else {
                    from
                },
                scores_from,
            };
            let gone = raw.drop_to(from);
            let reason = "raw records from before the first whose outcome can be seen";
            uncovered(findings, self.service, &raw.place, reason, gone);
            judge.all(raw, committed, findings);
        }
    }

    /// What is said of each raw partition.
    #[must_use]
    pub fn summaries(&self) -> Vec<RawSummary> {
        let of = |raw: &Raw| RawSummary {
            place: raw.place.clone(),
            judged: raw.judged,
            committed: raw.committed,
            read: raw.read,
            events: raw.events,
            letters: raw.letters,
        };
        self.raws.values().map(of).collect()
    }
}

/// From which time on topics can be seen; `None` if all of them can.
struct Covers {
    events: Option<Millis>,
    scores: Option<Millis>,
}

fn since(lanes: &BTreeMap<Lane, Reach>, is_it: impl Fn(&str) -> bool) -> Option<Millis> {
    let reaches = lanes.iter().filter(|((topic, _), _)| is_it(topic));
    reaches
        .filter_map(|(_, reach)| match reach {
            Reach::Whole => None,
            Reach::Since(time) => Some(time.plus(SLACK)),
            Reach::Left => Some(Millis(i64::MAX)),
        })
        .max()
}

/// How one cut judges the records of one raw partition.
struct Judge {
    service: &'static str,
    letters_from: i64,
    scores_from: i64,
}

impl Judge {
    fn all(&self, raw: &mut Raw, committed: i64, findings: &mut Findings) {
        if committed <= raw.base {
            return;
        }
        let begin = raw.judged.map_or(raw.base, |(begin, _)| begin);
        raw.judged = Some((begin, committed));
        while raw.base < committed {
            let Some(slot) = raw.slots.pop_front() else {
                raw.base = committed;
                break;
            };
            let offset = raw.base;
            raw.base += 1;
            let more = raw.more.remove(&offset).unwrap_or_default();
            let events: u64 = more.iter().chain([&slot.first]).map(|count| u64::from(*count)).sum();
            raw.read += u64::from(slot.expect != Expect::Absent);
            raw.events += events;
            raw.letters += u64::from(slot.letters);
            let place = format!("{}/{offset}", raw.place);
            self.one(slot, &more, events, (offset, place), findings);
        }
    }

    fn one(&self, slot: Slot, more: &[u8], events: u64, (offset, place): (i64, String), findings: &mut Findings) {
        let mut say = |kind: Kind, message: String, counts: Option<(u64, u64)>| {
            let mut finding = found(self.service, kind, place.clone(), message);
            finding.counts = counts;
            findings.add(finding);
        };
        let counts = || std::iter::once(&slot.first).chain(more);
        let some = counts().filter(|count| **count > 0).count() as u64;
        let reach = counts().count() as u64;
        let reach = if slot.first == 0 && more.is_empty() { 0 } else { reach };
        if counts().any(|count| *count > 1) {
            let message = "an event of this raw record stands twice on the timeline".to_owned();
            say(Kind::Duplicated, message, Some((some, events)));
        }
        if slot.letters > 1 {
            let letters = u64::from(slot.letters);
            say(
                Kind::Duplicated,
                "this raw record has two dead letters".to_owned(),
                Some((1, letters)),
            );
        }
        if slot.letters > 0 && events > 0 {
            let message = "this raw record has both events and a dead letter".to_owned();
            say(Kind::Disagrees, message, None);
        }
        match slot.expect {
            Expect::Absent if events > 0 || slot.letters > 0 => {
                let message = "an output names a raw record that is not there".to_owned();
                say(Kind::Disagrees, message, None);
            }
            Expect::Absent | Expect::Nothing => {}
            Expect::Letter if events == 0 && slot.letters == 0 && offset < self.letters_from => {
                let raw = place.rsplit_once('/').map_or("", |(raw, _)| raw).to_owned();
                let reason = "refused records whose dead letter may have been deleted";
                uncovered(findings, self.service, &raw, reason, (offset, offset + 1));
                return;
            }
            Expect::Letter | Expect::Events(_) if events == 0 && slot.letters == 0 => {
                let expected = match slot.expect {
                    Expect::Events(count) => u64::from(count),
                    _ => 1,
                };
                let message = "this raw record has neither events nor a dead letter".to_owned();
                say(Kind::Lost, message, Some((expected, 0)));
            }
            Expect::Events(count) if slot.letters == 0 => {
                let expected = u64::from(count).max(reach);
                if some < expected {
                    let message = "events of this raw record are missing".to_owned();
                    say(Kind::Torn, message, Some((expected, some)));
                } else if reach > u64::from(count) {
                    let message = "this raw record has more events than it holds".to_owned();
                    say(Kind::Disagrees, message, Some((u64::from(count), reach)));
                }
            }
            Expect::Letter | Expect::Events(_) if some < reach => {
                let message = "events of this raw record are missing".to_owned();
                say(Kind::Torn, message, Some((reach, some)));
            }
            Expect::Letter | Expect::Events(_) => {}
        }
        if slot.scores != 0 && offset >= self.scores_from && counts().all(|count| *count < 2) {
            let (kind, word) = if slot.scores > 0 {
                (Kind::Lost, "fewer")
            } else {
                (Kind::Duplicated, "more")
            };
            let message = format!("{word} scores than events of this raw record carry");
            say(kind, message, None);
        }
    }
}

impl Raw {
    /// The place of an offset; `None` before the first or far beyond what there can be.
    fn slot(&mut self, offset: i64) -> Option<&mut Slot> {
        /// Records that may wait in one partition; more are not audited.
        const WAITING: usize = 1 << 25;
        let index = usize::try_from(offset - self.base)
            .ok()
            .filter(|index| *index < WAITING)?;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
        }
        self.slots.get_mut(index)
    }

    /// Counts an event; returns how often it has been seen, 0 where that is not known.
    fn saw_event(&mut self, offset: i64, index: u32, is_scored: bool) -> u8 {
        let Some(slot) = self.slot(offset) else { return 0 };
        slot.scores = slot.scores.saturating_add(i8::from(is_scored));
        if index == 0 {
            slot.first = slot.first.saturating_add(1);
            return slot.first;
        }
        // A batch holds a few thousand calls at most: it is one record of 1 MiB.
        let Some(index) = usize::try_from(index - 1)
            .ok()
            .filter(|index| *index < usize::from(u16::MAX))
        else {
            return 0;
        };
        let counts = self.more.entry(offset).or_default();
        if index >= counts.len() {
            counts.resize(index + 1, 0);
        }
        counts[index] = counts[index].saturating_add(1);
        counts[index]
    }

    /// Drops what lies before an offset; returns the range dropped.
    fn drop_to(&mut self, to: i64) -> (i64, i64) {
        let from = self.base;
        while self.base < to && self.slots.pop_front().is_some() {
            self.base += 1;
        }
        self.base = self.base.max(to);
        self.more = self.more.split_off(&self.base);
        (from, self.base)
    }
}

/// Some of the pairs of offset and time seen, first ones first: few enough to keep, close enough to find a beginning.
#[derive(Debug, Default)]
struct Samples {
    pairs: Vec<(i64, Millis)>,
    step: i64,
}

impl Samples {
    fn add(&mut self, offset: i64, time: Millis) {
        const MOST: usize = 4096;
        if self.pairs.last().is_some_and(|(last, _)| offset < last + self.step) {
            let first = self.pairs.first_mut();
            // A copy of an old record comes late and says nothing of when that was processed.
            if let Some(first) = first.filter(|first| offset < first.0 && time <= first.1) {
                *first = (offset, time);
            }
            return;
        }
        self.step = self.step.max(1);
        self.pairs.push((offset, time));
        if self.pairs.len() > MOST {
            self.step *= 2;
            let mut index = 0;
            self.pairs.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// The first offset known whose time is not earlier.
    fn first(&self, time: Millis) -> Option<i64> {
        self.pairs.iter().find(|(_, at)| *at >= time).map(|(offset, _)| *offset)
    }
}

fn found(service: &'static str, kind: Kind, place: String, message: String) -> Finding {
    Finding {
        kind,
        service,
        place,
        epochs: None,
        counts: None,
        message,
    }
}

fn uncovered(
    findings: &mut Findings,
    service: &'static str,
    place: &str,
    reason: &'static str,
    (from, to): (i64, i64),
) {
    if to <= from {
        return;
    }
    findings.not_covered(Uncovered {
        service,
        place: place.to_owned(),
        reason,
        unit: "offsets",
        first: from,
        last: to - 1,
        count: (to - from).unsigned_abs(),
    });
}

#[cfg(test)]
mod tests;
