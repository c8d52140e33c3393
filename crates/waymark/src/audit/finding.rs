//! What an audit found, and what it cannot speak of. Both bounded.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something that was counted or read has no visible output.
    Lost,
    /// A part of what belongs to one transaction is visible, the rest is not.
    Torn,
    /// Something is visible more often than it was counted.
    Duplicated,
    /// An epoch's number was skipped.
    Gap,
    /// Something that never goes back did.
    OutOfOrder,
    /// Two records of one fact contradict each other.
    Disagrees,
}

impl Kind {
    /// The word that reports use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Duplicated => "duplicated",
            Self::Gap => "gap",
            Self::OutOfOrder => "out_of_order",
            Self::Disagrees => "disagrees",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The service whose promise it is.
    pub service: &'static str,
    /// `topic/partition`, with an offset or a range of offsets where there is one.
    pub place: String,
    /// The first and last epoch concerned.
    pub epochs: Option<(u64, u64)>,
    /// What the topics count, and what is visible.
    pub counts: Option<(u64, u64)>,
    /// What was found and what was expected; no customer data.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.as_str();
        write!(f, "{kind}: {}: {}: {}", self.service, self.place, self.message)?;
        if let Some((first, last)) = self.epochs {
            write!(f, ": epochs={first}..{last}")?;
        }
        if let Some((counted, visible)) = self.counts {
            write!(f, " counted={counted} visible={visible}")?;
        }
        Ok(())
    }
}

impl Finding {
    /// The finding as data.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut value = json!({ "kind": self.kind.as_str(), "service": self.service, "place": self.place,
            "message": self.message });
        if let Some((first, last)) = self.epochs {
            value["epochs"] = json!({ "first": first, "last": last });
        }
        if let Some((counted, visible)) = self.counts {
            value["counted"] = counted.into();
            value["visible"] = visible.into();
        }
        value
    }
}

/// Something that the audit cannot speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// The service.
    pub service: &'static str,
    /// What it concerns: a topic, a partition, or one as the cause of the other.
    pub place: String,
    /// Why.
    pub reason: &'static str,
    /// `epochs` or `offsets`, which the range is of.
    pub unit: &'static str,
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// How many records or epochs.
    pub count: u64,
}

/// Everything found so far. Of each kind the first ones are kept in full, all are counted.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Kind, u64>,
    uncovered: BTreeMap<(&'static str, String, &'static str), Uncovered>,
    told: usize,
}

/// Findings of one kind that are kept in full.
const KEPT: u64 = 200;
/// Entries of the list of what is not covered.
const UNCOVERED: usize = 10_000;

impl Findings {
    /// Adds one.
    pub fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.kind).or_default();
        *count += 1;
        if *count <= KEPT {
            self.kept.push(finding);
        }
    }

    /// Notes what cannot be said; ranges of one place and reason grow together.
    pub fn not_covered(&mut self, of: Uncovered) {
        let full = self.uncovered.len() >= UNCOVERED;
        let key = (of.service, of.place.clone(), of.reason);
        match self.uncovered.get_mut(&key) {
            Some(known) => {
                // What is noted again at every cut counts once.
                known.count = if of.first > known.last || of.last < known.first {
                    known.count + of.count
                } else {
                    known.count.max(of.count)
                };
                known.first = known.first.min(of.first);
                known.last = known.last.max(of.last);
            }
            None if full => {}
            None => {
                self.uncovered.insert(key, of);
            }
        }
    }

    /// The findings that were kept, in the order found.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// The findings that were kept since the last call.
    pub fn fresh(&mut self) -> &[Finding] {
        let from = std::mem::replace(&mut self.told, self.kept.len());
        &self.kept[from..]
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// What cannot be said.
    pub fn uncovered(&self) -> impl Iterator<Item = &Uncovered> {
        self.uncovered.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> Finding {
        Finding {
            kind: Kind::Lost,
            service: "monitor",
            place: "journey.signals".to_owned(),
            epochs: Some((2, 3)),
            counts: Some((5, 4)),
            message: message.to_owned(),
        }
    }

    #[test]
    fn all_are_counted_and_the_first_are_kept() {
        let mut findings = Findings::default();
        for _ in 0..KEPT + 5 {
            findings.add(found("one is missing"));
        }
        assert_eq!(findings.counts()[&Kind::Lost], KEPT + 5);
        assert_eq!(findings.fresh().len() as u64, KEPT);
        assert!(findings.fresh().is_empty());
        let line = findings.kept()[0].to_string();
        assert_eq!(
            line,
            "lost: monitor: journey.signals: one is missing: epochs=2..3 counted=5 visible=4"
        );
    }

    #[test]
    fn ranges_of_one_reason_grow_together() {
        let mut findings = Findings::default();
        for first in [7, 3] {
            findings.not_covered(Uncovered {
                service: "monitor",
                place: "t/0".to_owned(),
                reason: "trimmed",
                unit: "epochs",
                first,
                last: first + 1,
                count: 2,
            });
        }
        let all: Vec<_> = findings.uncovered().map(|of| (of.first, of.last, of.count)).collect();
        assert_eq!(all, [(3, 8, 4)]);
    }
}
