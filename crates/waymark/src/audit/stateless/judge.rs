//! What is wrong with one raw record, once everything that it led to has been seen.

use super::{
    found,
    raw::{Expect, Raw, Slot},
    uncovered,
};
use crate::audit::finding::{Findings, Kind};

/// How one cut judges the records of one raw partition.
pub(super) struct Judge {
    pub(super) service: &'static str,
    /// From where on a dead letter would be seen.
    pub(super) letters_from: i64,
    /// From where on a score would be seen.
    pub(super) scores_from: i64,
}

impl Judge {
    /// Judges the records below the committed offset.
    pub(super) fn all(&self, raw: &mut Raw, committed: i64, findings: &mut Findings) {
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
