//! What a changelog says now: the newest epochs that were committed.

use std::{collections::BTreeMap, time::Duration};

use stream::{Bounds, ChangelogBatch, Log, Marker, Stage, TopicPartition, changelog::Assembler};

use super::{Hooks, Observation, Stop, Worker, outcome::Position, recover::PATIENCE};

/// How long what a transaction wrote may stay open before it is ended once more.
pub(super) const PENDING: Duration = Duration::from_secs(10);
/// How long one read waits.
const READ: Duration = Duration::from_millis(20);

/// What stands in a partition of the changelog behind a place.
pub(super) enum Seen {
    /// No whole epoch.
    Nothing,
    /// The marker of the newest, and the place behind it.
    Marker(Box<Marker>, i64),
    /// The place is not there any more.
    Trimmed,
}

/// Where a partition stands.
pub(super) struct Found {
    /// `None` before anything was committed.
    pub position: Option<Position>,
    /// The place behind that in the changelog, if it was looked up there.
    pub next: Option<i64>,
}

/// A partition of the changelog that is being read to its end.
struct Look {
    position: i64,
    end: i64,
    assembler: Assembler,
    seen: Seen,
}

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// The partition of the changelog that belongs to an input partition.
    pub(super) fn slot(&self, input: &TopicPartition) -> i32 {
        let changelog = self.config.changelog.as_ref();
        changelog.map_or(input.partition, |changelog| changelog.slot(input))
    }

    /// Where a partition of the changelog begins and ends; `None` if there is no changelog.
    pub(super) fn changelog_bounds(&mut self, slot: i32) -> Result<Option<Bounds>, Stop> {
        let Some(changelog) = &self.config.changelog else {
            return Ok(None);
        };
        let of = TopicPartition {
            topic: changelog.topic.clone(),
            partition: slot,
        };
        self.patiently("offsets of the changelog", |log| log.bounds(&of))
            .map(Some)
    }

    /// Reads partitions of the changelog from these places to their ends, in the order asked. Transactions that are open there are waited
    /// for, so there must be none of this worker's own.
    pub(super) fn newest(&mut self, asked: &[(i32, i64)]) -> Result<Vec<Seen>, Stop> {
        let mut looks = BTreeMap::new();
        if let Some(mut reader) = self.patiently("changelog", L::changelog)? {
            let failed = |error| Stop::Failed(format!("changelog: {error}"));
            for (slot, from) in asked {
                let end = self.changelog_bounds(*slot)?.map_or(*from, |bounds| bounds.end);
                reader.add(*slot, *from).map_err(failed)?;
                let look = Look {
                    position: *from,
                    end,
                    assembler: Assembler::default(),
                    seen: Seen::Nothing,
                };
                looks.insert(*slot, look);
            }
            let begun = self.now();
            let mut is_dropped = false;
            while looks.values().any(|look| look.position < look.end) {
                let mut batch = ChangelogBatch::default();
                reader.read(READ, &mut batch).map_err(failed)?;
                take(&mut looks, batch)?;
                self.hooks.observe(&Observation::Turned);
                self.listen()?;
                if self.now().saturating_sub(begun) >= PENDING && !is_dropped {
                    // Nothing of it was marked, or it would not be open any more.
                    is_dropped = true;
                    self.resolve()?;
                }
                if !self.is_patient(begun)? {
                    return Err(Stop::Failed(format!("changelog does not end within {PATIENCE:?}")));
                }
            }
            if !is_dropped {
                let ends = looks.iter().map(|(slot, look)| (*slot, look.position..=look.position));
                self.ends.extend(ends);
            }
        }
        let seen = asked
            .iter()
            .map(|(slot, _)| looks.remove(slot).map_or(Seen::Nothing, |look| look.seen));
        Ok(seen.collect())
    }
}

fn take(looks: &mut BTreeMap<i32, Look>, batch: ChangelogBatch) -> Result<(), Stop> {
    for (slot, offset, value) in batch.records {
        let Some(look) = looks.get_mut(&slot) else { continue };
        let marker = look.assembler.push(&value);
        if let Some(marker) = marker.map_err(|corrupt| Stop::Halted(corrupt.0))? {
            look.seen = Seen::Marker(Box::new(marker), offset + 1);
            // Markers alone are wanted.
            look.assembler.forget();
        }
    }
    for (slot, position) in batch.positions {
        if let Some(look) = looks.get_mut(&slot) {
            look.position = look.position.max(position);
        }
    }
    for slot in batch.out_of_range {
        if let Some(look) = looks.get_mut(&slot) {
            (look.position, look.seen) = (look.end, Seen::Trimmed);
        }
    }
    Ok(())
}
