//! The judgement of a ledger: where a cut begins and ends, and what differs by then.

use stream::{Committed, Marker};

use super::{Group, Ledger, Seen, Snapshot, Tally};
use crate::audit::finding::{Findings, Kind};

/// What is known of an output topic when a group is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// All that the group wrote there can be seen.
    Whole,
    /// Older records may have been compacted away.
    Compacted,
    /// Records may have been deleted.
    Deleted,
    /// The topic is not read.
    Unread,
}

impl Ledger {
    /// Notes where a cut begins: what was read until now is judged once everything that stood in the topics then has been read.
    pub fn cut(&mut self, committed: Option<&Committed>, findings: &mut Findings) {
        let offset = self.last.as_ref().map_or(i64::MIN, |last| last.offset);
        let tail = self.groups.back().filter(|group| group.end == offset);
        self.snapshot = Some(Snapshot {
            offset,
            tail: tail.map(|group| group.tallies.clone()).unwrap_or_default(),
            open: self.open.as_ref().map(|open| (open.marker.epoch, open.next)),
        });
        self.expected = None;
        self.has_position = committed.is_some();
        if let Some(committed) = committed {
            match Marker::epoch_of(&committed.metadata) {
                Some(epoch) => self.expected = Some((committed.offset, epoch)),
                None => {
                    let message = format!("committed offset {} names no epoch", committed.offset);
                    self.disagree(message, findings);
                }
            }
        }
        self.compare(findings);
    }

    /// Notes what was never compared: the last marker, where the group has no position.
    pub fn finish(&self, findings: &mut Findings) {
        if let Some(last) = self.last.as_ref().filter(|_| !self.has_position) {
            let reason = "the group has no committed offset to compare with";
            findings.not_covered(self.uncovered(self.input.clone(), reason, (last.epoch, last.epoch)));
        }
    }

    /// Compares the group's position with the last marker, once that is the one named. A marker that was seen before the position
    /// was asked for cannot be newer than it.
    pub(super) fn compare(&mut self, findings: &mut Findings) {
        let (Some((offset, epoch)), Some(last)) = (self.expected, &self.last) else {
            return;
        };
        if epoch > last.epoch {
            return;
        }
        self.expected = None;
        if (offset, epoch) == (last.offset, last.epoch) {
            self.disagrees = false;
            return;
        }
        let message = format!(
            "committed offset and marker differ: committed={offset}#{epoch} marker={}#{}",
            last.offset, last.epoch
        );
        self.disagree(message, findings);
    }

    /// Says once that the two differ, until they agree again.
    fn disagree(&mut self, message: String, findings: &mut Findings) {
        if !std::mem::replace(&mut self.disagrees, true) {
            findings.add(self.found(Kind::Disagrees, self.input.clone(), None, message));
        }
    }

    /// Judges what was read before the cut began: everything of those epochs has been read by now. `cut` is that cut's number,
    /// `cover` says of a topic whether all that a group wrote can be seen, `name` what it is called.
    pub fn settle(
        &mut self,
        cut: u64,
        cover: &dyn Fn(&Self, &Group, usize) -> Cover,
        name: &dyn Fn(usize) -> String,
        topic: &mut dyn FnMut(&str) -> usize,
        findings: &mut Findings,
    ) {
        let Some(snapshot) = self.snapshot.take() else { return };
        if let Some(open) = self
            .open
            .take_if(|open| snapshot.open == Some((open.marker.epoch, open.next)))
        {
            self.cut_short(open, topic, findings);
        }
        while self.groups.front().is_some_and(|group| group.end < snapshot.offset)
            && let Some(mut group) = self.groups.pop_front()
        {
            self.judge(&mut group, None, cover, name, findings);
            self.settled = group.end;
            for tally in group.tallies.iter().filter(|_| group.counted) {
                let total = self.totals.entry(tally.topic).or_default();
                *total = (total.0 + tally.counted, total.1 + tally.visible);
            }
        }
        if self.groups.front().is_some_and(|group| group.end == snapshot.offset)
            && let Some(mut tail) = self.groups.pop_front()
        {
            self.judge(&mut tail, Some(&snapshot.tail), cover, name, findings);
            self.groups.push_front(tail);
        }
        // Where nothing was read of a log whose beginning is gone, or was not asked for, there is nothing to compare with.
        let knows = self.last.is_some() || self.is_whole;
        if let Some((offset, epoch)) = self.expected.take()
            && knows
        {
            let message =
                format!("committed offset names an epoch that the changelog lacks: committed={offset}#{epoch}");
            self.disagree(message, findings);
        }
        let ahead = std::mem::take(&mut self.ahead);
        let (strays, ahead): (Vec<Seen>, Vec<Seen>) = ahead.into_iter().partition(|seen| seen.cut < cut);
        self.ahead = ahead;
        for seen in strays.into_iter().filter(|_| knows) {
            let message = format!(
                "visible, but no epoch covers its source: source={}/{}",
                self.input, seen.source
            );
            findings.add(self.found(Kind::Torn, seen.place(), None, message));
        }
    }

    /// Compares what a group counts with what is visible. With `before`, what was known when the cut began, the group may still grow:
    /// then only what was counted before must be visible now, and only what was visible before must be counted now.
    fn judge(
        &self,
        group: &mut Group,
        before: Option<&[Tally]>,
        cover: &dyn Fn(&Self, &Group, usize) -> Cover,
        name: &dyn Fn(usize) -> String,
        findings: &mut Findings,
    ) {
        if !group.counted {
            return;
        }
        let epochs = (group.first, group.last);
        for index in 0..group.tallies.len() {
            let now = group.tallies[index];
            let old = match before {
                Some(tallies) => match tallies.iter().find(|tally| tally.topic == now.topic) {
                    Some(old) => *old,
                    None => continue,
                },
                None => now,
            };
            let is_less = now.visible < old.counted;
            let is_more = old.visible > now.counted;
            let cover = cover(self, group, now.topic);
            let place = || format!("{}/{}", self.input, range(group.begin, group.end));
            let reason = match cover {
                Cover::Whole => None,
                Cover::Compacted if is_less => Some("compacted: fewer are visible than were counted"),
                Cover::Deleted if before.is_none() => Some("records of the topic were deleted"),
                Cover::Unread if before.is_none() => Some("the topic is not read"),
                _ => None,
            };
            if let Some(reason) = reason {
                let place = format!("{} from {}", name(now.topic), self.input);
                let mut of = self.uncovered(place, reason, epochs);
                of.count = now.counted.saturating_sub(now.visible);
                findings.not_covered(of);
            }
            let kind = match (is_less, is_more) {
                (true, _) if cover == Cover::Whole => Kind::Lost,
                (_, true) => Kind::Duplicated,
                _ => continue,
            };
            let by = match kind {
                Kind::Lost => old.counted - now.visible,
                _ => old.visible - now.counted,
            };
            if by <= now.told {
                continue;
            }
            group.tallies[index].told = by;
            let message = match kind {
                Kind::Lost => format!("fewer records of {} than its markers count", name(now.topic)),
                _ => format!("more records of {} than its markers count", name(now.topic)),
            };
            let mut finding = self.found(kind, place(), Some(epochs), message);
            finding.counts = Some((now.counted, now.visible));
            findings.add(finding);
        }
    }
}

/// A range of offsets as people read it; the beginning of time has no number.
fn range(begin: i64, end: i64) -> String {
    if begin == i64::MIN {
        format!("..{end}")
    } else {
        format!("{begin}..{end}")
    }
}
