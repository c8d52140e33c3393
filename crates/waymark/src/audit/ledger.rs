//! The books of one input partition of a service with state: what its changelog counts, epoch by epoch, and what is visible.
//!
//! Epochs that end at the same input offset form one group: what a timer wrote names the last record read, and so cannot be told
//! apart from what that record caused. A group spans the input offsets from the end of the one before to its own; an output belongs
//! to the group that its source lies in.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use stream::{Marker, Millis};

use super::{
    finding::{Finding, Findings, Kind, Uncovered},
    part::Part,
};

mod judge;

pub use judge::Cover;

/// Groups kept apart; beyond that neighbours are merged, which loses only the place of what is found.
const GROUPS: usize = 16_384;

/// What one group says of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The topic, by its place in the list.
    pub topic: usize,
    /// By the markers.
    pub counted: u64,
    /// By the topic.
    pub visible: u64,
    /// By how much they differ has been said.
    told: u64,
}

/// Epochs that end at one input offset.
#[derive(Debug, Clone)]
pub struct Group {
    /// The first input offset.
    pub begin: i64,
    /// Behind the last one.
    pub end: i64,
    /// The first epoch.
    pub first: u64,
    /// The last epoch.
    pub last: u64,
    /// Whether the markers of all its epochs were read.
    counted: bool,
    tallies: Vec<Tally>,
}

impl Group {
    fn tally(&mut self, topic: usize) -> &mut Tally {
        let found = self.tallies.iter().position(|tally| tally.topic == topic);
        let index = found.unwrap_or_else(|| {
            self.tallies.push(Tally {
                topic,
                counted: 0,
                visible: 0,
                told: 0,
            });
            self.tallies.len() - 1
        });
        &mut self.tallies[index]
    }
}

/// A visible output.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its topic, by its place in the list.
    pub topic: usize,
    /// Its topic's name.
    pub name: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its own offset.
    pub offset: i64,
    /// The input offset that it names as its source.
    pub source: i64,
    /// How many cuts had begun when it was read.
    pub cut: u64,
}

impl Seen {
    fn place(&self) -> String {
        format!("{}/{}/{}", self.name, self.partition, self.offset)
    }
}

/// What an output topic's partition has shown of this input partition.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// The source of the first output still there.
    pub first: i64,
    /// The end of the latest group seen.
    end: i64,
}

struct Open {
    marker: Marker,
    next: u32,
    offset: i64,
    at: Millis,
}

struct Last {
    epoch: u64,
    offset: i64,
    now: Millis,
    high: Millis,
}

struct Snapshot {
    offset: i64,
    tail: Vec<Tally>,
    open: Option<(u64, u32)>,
}

/// The books of one input partition.
pub struct Ledger {
    service: &'static str,
    /// `topic/partition` of the input.
    input: String,
    /// `topic/partition` of the changelog.
    changelog: String,
    /// The changelog's first record ever is still there.
    is_whole: bool,
    last: Option<Last>,
    open: Option<Open>,
    /// An epoch whose first part is missing.
    orphan: Option<u64>,
    /// Markers are missing before the next epoch: its range is not counted.
    hole: bool,
    groups: VecDeque<Group>,
    settled: i64,
    ahead: Vec<Seen>,
    shown: BTreeMap<(usize, i32), Shown>,
    snapshot: Option<Snapshot>,
    /// Where the group stood, and the epoch that must be read to compare.
    expected: Option<(i64, u64)>,
    disagrees: bool,
    has_position: bool,
    base: Option<(u64, Millis)>,
    /// The epoch that comes next if none is missing.
    next: u64,
    epochs: u64,
    totals: BTreeMap<usize, (u64, u64)>,
}

/// What a ledger says at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The first and last epoch read, and how many.
    pub epochs: Option<(u64, u64, u64)>,
    /// The next input offset by the last marker.
    pub offset: Option<i64>,
    /// By topic: counted, and visible, where both could be said.
    pub totals: BTreeMap<usize, (u64, u64)>,
}

impl Ledger {
    /// Opens the books of a partition. `is_whole` says that nothing of its changelog was ever deleted.
    #[must_use]
    pub fn new(service: &'static str, input: String, changelog: String, is_whole: bool) -> Self {
        Self {
            service,
            input,
            changelog,
            is_whole,
            last: None,
            open: None,
            orphan: None,
            hole: false,
            groups: VecDeque::new(),
            settled: i64::MIN,
            ahead: Vec::new(),
            shown: BTreeMap::new(),
            snapshot: None,
            expected: None,
            disagrees: false,
            has_position: true,
            base: None,
            next: 1,
            epochs: 0,
            totals: BTreeMap::new(),
        }
    }

    fn found(&self, kind: Kind, place: String, epochs: Option<(u64, u64)>, message: String) -> Finding {
        Finding {
            kind,
            service: self.service,
            place,
            epochs,
            counts: None,
            message,
        }
    }

    fn uncovered(&self, place: String, reason: &'static str, (first, last): (u64, u64)) -> Uncovered {
        Uncovered {
            service: self.service,
            place,
            reason,
            unit: "epochs",
            first: first.cast_signed(),
            last: last.cast_signed(),
            count: last.saturating_sub(first) + 1,
        }
    }

    /// Takes the next record of the changelog. `topic` finds a topic's place in the list.
    pub fn take(
        &mut self,
        value: &[u8],
        (offset, at): (i64, Millis),
        topic: &mut dyn FnMut(&str) -> usize,
        findings: &mut Findings,
    ) {
        let place = format!("{}/{offset}", self.changelog);
        let part = match Part::read(value) {
            Ok(part) => part,
            Err(message) => return findings.add(self.found(Kind::Torn, place, None, message)),
        };
        let continues = |open: &Open| part.index > 0 && open.marker.epoch == part.epoch;
        if let Some(open) = self.open.take_if(|open| !continues(open)) {
            self.cut_short(open, topic, findings);
        }
        let mut open = match (part.marker, self.open.take()) {
            (Some(marker), _) => Open {
                marker,
                next: 0,
                offset,
                at,
            },
            (None, Some(open)) => open,
            (None, None) => return self.orphaned(part.epoch, part.index, place, findings),
        };
        if part.index != open.next {
            let message = format!("parts are missing: found={} expected={}", part.index, open.next);
            findings.add(self.found(Kind::Torn, place, Some((part.epoch, part.epoch)), message));
        }
        open.next = part.index + 1;
        if part.last {
            self.complete(open, topic, findings);
        } else {
            self.open = Some(open);
        }
    }

    fn cut_short(&mut self, open: Open, topic: &mut dyn FnMut(&str) -> usize, findings: &mut Findings) {
        let place = format!("{}/{}", self.changelog, open.offset);
        let epoch = open.marker.epoch;
        let message = format!("last part is missing: parts={}", open.next);
        findings.add(self.found(Kind::Torn, place, Some((epoch, epoch)), message));
        self.complete(open, topic, findings);
    }

    /// A part whose first one is missing: torn, unless reading began inside its epoch.
    fn orphaned(&mut self, epoch: u64, index: u32, place: String, findings: &mut Findings) {
        let Some(last) = &mut self.last else { return };
        if self.orphan == Some(epoch) {
            return;
        }
        self.orphan = Some(epoch);
        self.hole = true;
        let kind = if epoch > last.epoch {
            last.epoch = epoch;
            Kind::Torn
        } else {
            Kind::Duplicated
        };
        let message = format!("part without its first: part={index}");
        findings.add(self.found(kind, place, Some((epoch, epoch)), message));
    }

    /// Takes a whole epoch.
    fn complete(&mut self, open: Open, topic: &mut dyn FnMut(&str) -> usize, findings: &mut Findings) {
        let (marker, place) = (open.marker, format!("{}/{}", self.changelog, open.offset));
        let epoch = marker.epoch;
        self.epochs += 1;
        let (now, high) = (marker.clock.now(), marker.clock.high);
        match &self.last {
            None if epoch == 1 => {}
            None => {
                self.hole = true;
                let reason = "epochs before the first that was read";
                findings.not_covered(self.uncovered(self.changelog.clone(), reason, (self.next, epoch)));
            }
            Some(last) => {
                let mut wrong = Vec::new();
                if epoch > last.epoch + 1 {
                    let message = format!("epoch numbers skip: found={epoch} expected={}", last.epoch + 1);
                    wrong.push((Kind::Gap, (last.epoch + 1, epoch - 1), message));
                } else if epoch <= last.epoch {
                    let message = format!("epoch comes again: found={epoch} expected={}", last.epoch + 1);
                    wrong.push((Kind::Duplicated, (epoch, epoch), message));
                }
                self.hole |= !wrong.is_empty();
                if marker.offset < last.offset {
                    self.hole = true;
                    let message = format!("offset went back: found={} before={}", marker.offset, last.offset);
                    wrong.push((Kind::OutOfOrder, (epoch, epoch), message));
                }
                if now < last.now || high < last.high {
                    let message = format!(
                        "clock went back: found={}/{} before={}/{}",
                        now.0, high.0, last.now.0, last.high.0
                    );
                    wrong.push((Kind::OutOfOrder, (epoch, epoch), message));
                }
                for (kind, epochs, message) in wrong {
                    findings.add(self.found(kind, place.clone(), Some(epochs), message));
                }
            }
        }
        self.base.get_or_insert((epoch, open.at));
        self.next = epoch + 1;
        self.last = Some(Last {
            epoch,
            offset: marker.offset,
            now,
            high,
        });
        self.group(&marker, topic);
        self.compare(findings);
        let known = self.groups.back().map_or(self.settled, |group| group.end);
        for seen in std::mem::take(&mut self.ahead) {
            if seen.source < known {
                self.see(seen, findings);
            } else {
                self.ahead.push(seen);
            }
        }
    }

    fn group(&mut self, marker: &Marker, topic: &mut dyn FnMut(&str) -> usize) {
        let counted = !std::mem::take(&mut self.hole);
        let end = self.groups.back().map_or(self.settled, |group| group.end);
        if marker.offset > end || self.groups.is_empty() {
            self.groups.push_back(Group {
                begin: end,
                end: marker.offset,
                first: marker.epoch,
                last: marker.epoch,
                counted,
                tallies: Vec::new(),
            });
        }
        let Some(group) = self.groups.back_mut() else { return };
        group.last = marker.epoch;
        group.counted &= counted && marker.offset == group.end;
        for (name, count) in &marker.outputs {
            let tally = group.tally(topic(name));
            tally.counted += count;
        }
        if self.groups.len() > GROUPS {
            self.merge();
        }
    }

    /// Merges neighbours, but none across the end that a cut has noted.
    fn merge(&mut self) {
        let noted = self.snapshot.as_ref().map_or(i64::MIN, |snapshot| snapshot.offset);
        let last = self.groups.pop_back();
        let mut merged: VecDeque<Group> = VecDeque::with_capacity(GROUPS);
        let mut may_grow = false;
        for group in std::mem::take(&mut self.groups) {
            match merged.back_mut() {
                Some(before) if may_grow && before.counted == group.counted && before.end != noted => {
                    (before.end, before.last) = (group.end, group.last);
                    for of in &group.tallies {
                        let tally = before.tally(of.topic);
                        tally.counted += of.counted;
                        tally.visible += of.visible;
                        tally.told = tally.told.max(of.told);
                    }
                    may_grow = false;
                }
                _ => {
                    merged.push_back(group);
                    may_grow = true;
                }
            }
        }
        merged.extend(last);
        self.groups = merged;
    }

    /// Takes a visible output.
    pub fn see(&mut self, seen: Seen, findings: &mut Findings) {
        let shown = self.shown.entry((seen.topic, seen.partition)).or_insert(Shown {
            first: seen.source,
            end: i64::MIN,
        });
        if seen.source < self.settled {
            // All that those epochs wrote had been seen.
            let message = format!(
                "another output of epochs that were complete: source={}/{}",
                self.input, seen.source
            );
            return findings.add(self.found(Kind::Duplicated, seen.place(), None, message));
        }
        let index = self.groups.partition_point(|group| group.end <= seen.source);
        let Some(group) = self.groups.get_mut(index) else {
            self.ahead.push(seen);
            return;
        };
        group.tally(seen.topic).visible += 1;
        if group.end >= shown.end {
            shown.end = group.end;
            return;
        }
        let epochs = (group.first, group.last);
        let message = format!(
            "stands behind an output of a later epoch: source={}/{}",
            self.input, seen.source
        );
        findings.add(self.found(Kind::OutOfOrder, seen.place(), Some(epochs), message));
    }

    /// Records of the changelog were deleted before they could be read.
    pub fn skipped(&mut self, from: i64, to: i64, findings: &mut Findings) {
        self.open = None;
        self.hole = true;
        self.last = None;
        self.is_whole = false;
        self.expected = None;
        findings.not_covered(Uncovered {
            service: self.service,
            place: self.changelog.clone(),
            reason: "trimmed before it was read",
            unit: "offsets",
            first: from,
            last: to - 1,
            count: (to - from).unsigned_abs(),
        });
    }

    /// What an output topic's partition has shown of this input partition.
    #[must_use]
    pub fn shown(&self, topic: usize, partition: i32) -> Option<Shown> {
        self.shown.get(&(topic, partition)).copied()
    }

    /// Records of an output topic's partition were deleted before they could be read: what it has shown says nothing any more.
    pub fn forget(&mut self, topic: usize, partition: i32) {
        self.shown.remove(&(topic, partition));
    }

    /// The first epoch that was read, and when it was written.
    #[must_use]
    pub fn base(&self) -> Option<(u64, Millis)> {
        self.base
    }

    /// The last epoch that was read; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.epoch)
    }

    /// Outputs that wait for the marker of their epoch.
    #[must_use]
    pub fn ahead(&self) -> usize {
        self.ahead.len()
    }

    /// What the books say.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut totals = self.totals.clone();
        for group in self.groups.iter().filter(|group| group.counted) {
            for tally in &group.tallies {
                let total = totals.entry(tally.topic).or_default();
                *total = (total.0 + tally.counted, total.1 + tally.visible);
            }
        }
        let last = self.last.as_ref();
        Summary {
            epochs: self
                .base
                .zip(last)
                .map(|((first, _), last)| (first, last.epoch, self.epochs)),
            offset: last.map(|last| last.offset),
            totals,
        }
    }
}
