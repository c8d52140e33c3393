//! The audit of a service without state: every raw record below its last marker, or the group's committed offset, has its records on the timeline or one
//! dead letter, and none has more. Pure: records in, findings out.
//!
//! Each raw record that is not judged yet takes a few bytes. Records are judged once the group has passed them and everything that
//! stood in the topics then has been read.

mod judge;
mod raw;

use std::{collections::BTreeMap, sync::Arc};

use stream::{Millis, Record, TopicPartition};

use super::{
    finding::{Finding, Findings, Kind, Uncovered},
    keyed::{Reach, SLACK, letter_source, source},
    part::Part,
};

use judge::Judge;
use raw::Raw;

pub use raw::Expect;

/// A timeline or sentiment partition, or one of dead letters.
type Lane = (Arc<str>, i32);

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
        let raw = Raw::new(format!("{topic}/{partition}"), offset);
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

    /// Takes the next part of the changelog, which belongs to this raw partition: epochs are numbered without gaps, and never go back.
    pub fn marker(
        &mut self,
        of: Option<TopicPartition>,
        record: &Record,
        part: Result<Part, String>,
        findings: &mut Findings,
    ) {
        let place = || format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let of = of.map(|of| (of.topic.to_string(), of.partition));
        let raw = of.and_then(|of| self.raws.get_mut(&of));
        let mut wrong = |kind, message| findings.add(found(self.service, kind, place(), message));
        let marker = match part.map(|part| part.marker) {
            Ok(marker) => marker,
            Err(message) => return wrong(Kind::Torn, message),
        };
        // Its epochs have no rows, so each is one part.
        let (Some(raw), Some(marker)) = (raw, marker) else {
            return wrong(Kind::Disagrees, "epoch of no raw partition".to_owned());
        };
        if let Some(last) = raw.epoch
            && marker.epoch != last + 1
        {
            let message = format!(
                "epoch numbers are not in order: found={} expected={}",
                marker.epoch,
                last + 1
            );
            wrong(
                if marker.epoch > last {
                    Kind::Gap
                } else {
                    Kind::Duplicated
                },
                message,
            );
        } else if marker.offset < raw.marked {
            let message = format!("offset went back: found={} before={}", marker.offset, raw.marked);
            wrong(Kind::OutOfOrder, message);
        }
        raw.epoch = Some(marker.epoch.max(raw.epoch.unwrap_or_default()));
        raw.marked = raw.marked.max(marker.offset);
    }

    /// Epochs of a raw partition were trimmed before they could be read.
    pub fn skipped_markers(&mut self, of: Option<TopicPartition>) {
        let raw = of.and_then(|of| self.raws.get_mut(&(of.topic.to_string(), of.partition)));
        if let Some(raw) = raw {
            raw.epoch = None;
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
            // A coordinator may tell the past; what was marked was committed.
            let marked = (raw.marked > 0).then_some(raw.marked);
            let now = committed.get(of).copied().max(marked);
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
            let Some(committed) = raw.committed else { continue };
            if raw.at_cut > raw.told
                && let Some(ahead) = raw.at_cut
                && ahead >= committed.max(raw.marked)
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

    /// Notes what was never judged: raw records of partitions that the group has no position of.
    pub fn finish(&self, findings: &mut Findings) {
        for raw in self.raws.values().filter(|raw| raw.committed.is_none()) {
            let range = (raw.base, raw.base + raw.slots.len() as i64);
            let reason = "the group has no committed offset";
            uncovered(findings, self.service, &raw.place, reason, range);
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
