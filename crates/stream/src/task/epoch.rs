//! An epoch: what it did, that it was committed or dropped, and what reaches the database.

use std::collections::BTreeMap;

use super::{InHand, Open, Statefulness, Task, TaskError};
use crate::{
    Corrupt, Marker, Millis, PartitionEpoch, Row, RowWriter, Stage,
    bytes::{Reader, Writer},
    changelog::pack,
    mutant::{self, Mutant},
    rows::{HEAD, Head, Key16, MARKER, POSITION, QUARANTINE, state_key, timer_key},
    snapshot::{ROWS, SnapshotRule},
};

const POSITION_VERSION: u8 = 2;
/// Without where the last epoch begins.
const BEFORE_LAST: u8 = 1;

impl<S: Stage> Task<S> {
    /// Whether a snapshot should begin, and none is under way.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        let due = |rule| self.committed.snapshots.is_due(rule);
        !self.begins_snapshot && self.config.snapshots.is_some_and(due)
    }

    /// Whether a snapshot is under way.
    #[must_use]
    pub fn is_in_snapshot(&self) -> bool {
        self.begins_snapshot || self.committed.snapshots.open.is_some()
    }

    /// The next epoch that does anything begins a snapshot.
    pub fn begin_snapshot(&mut self) {
        self.begins_snapshot = true;
    }

    /// Where the changelog may be trimmed to, once: what is committed must be flushed before.
    pub fn take_trim(&mut self) -> Option<i64> {
        self.trim.take()
    }

    /// The next chunk of the snapshot under way: rows as they were committed when the epoch began, and where the one after begins.
    fn chunk(&self, from: &[u8], budget: usize) -> Result<(Vec<Row>, Vec<u8>), TaskError> {
        const PAGE: usize = 512;
        let end = ROWS.1.to_vec();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut from = from.to_vec();
        while from < end && bytes < budget {
            let page = self.db.scan(&from, &end, PAGE).map_err(TaskError::Db)?;
            // Behind a full page the database may hold more.
            let until = match page.last() {
                Some((last, _)) if page.len() == PAGE => [last.as_slice(), &[0]].concat(),
                _ => end.clone(),
            };
            let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
                page.into_iter().map(|(key, value)| (key, Some(value))).collect();
            let newer = self.overlay.range(from.clone()..until.clone());
            merged.extend(newer.map(|(key, value)| (key.clone(), value.clone())));
            from = until;
            for (key, value) in merged {
                let Some(value) = value else { continue };
                if bytes >= budget {
                    return Ok((rows, key));
                }
                bytes += key.len() + value.len();
                rows.push((key, Some(value)));
            }
        }
        Ok((rows, from))
    }

    /// What the open epoch did, for the log to commit; `None` if it did nothing.
    ///
    /// # Errors
    /// [`TaskError::Db`] if the rows of a snapshot cannot be read.
    pub fn batch(&mut self) -> Result<Option<PartitionEpoch>, TaskError> {
        if !self.is_touched() {
            return Ok(None);
        }
        if self.config.state == Statefulness::None && self.config.snapshots.is_none() {
            return Ok(Some(PartitionEpoch {
                input: self.config.input.clone(),
                offset: self.open.offset,
                metadata: String::new(),
                slot: self.config.slot,
                changelog: Vec::new(),
                rows: Vec::new(),
            }));
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut changed = Vec::new();
        // Should the stage panic, what is dirty must still be known.
        let dirty: Vec<Key16> = self.open.dirty.iter().copied().collect();
        for short in &dirty {
            self.hold(InHand::Key(*short));
            let Some(entry) = self.cache.get_mut(short) else {
                continue;
            };
            if let Some(quarantine) = &entry.quarantine {
                rows.push((state_key(short, QUARANTINE), Some(quarantine.encode())));
                if entry.rows_stay {
                    continue;
                }
                entry.rows_stay = true;
            }
            changed.clear();
            self.stage.save(&mut entry.state, &mut RowWriter { rows: &mut changed });
            changed.sort_by(|one: &Row, other| one.0.cmp(&other.0));
            let payload = changed
                .iter()
                .find(|(name, _)| name == HEAD)
                .map(|(_, payload)| payload);
            let head = match payload {
                Some(None) => None,
                other => {
                    let payload = other.and_then(Option::as_deref).unwrap_or_default();
                    Some(
                        Head {
                            deadline: entry.deadline,
                            now: entry.now,
                            key: &entry.key,
                            payload,
                        }
                        .encode(),
                    )
                }
            };
            rows.push((state_key(short, HEAD), head));
            let others = changed.drain(..).filter(|(name, _)| name != HEAD);
            rows.extend(others.map(|(name, value)| (state_key(short, &name), value)));
        }
        self.let_go();
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        let mut marker = Marker {
            offset: self.open.offset,
            epoch: self.committed.epoch + 1,
            revision: self.committed.revision,
            bucket: self.open.bucket,
            clock: self.open.clock.clone(),
            outputs: self
                .open
                .outputs
                .iter()
                .map(|(topic, count)| (topic.clone(), *count))
                .collect(),
            snapshots: self.committed.snapshots.clone(),
            firing: self.open.firing,
        };
        let changelog = match self.config.snapshots {
            Some(rule) => self.packed(&mut marker, &rows, rule)?,
            None => Vec::new(),
        };
        let mut last: BTreeMap<(Millis, Key16), bool> = BTreeMap::new();
        for (added, timer) in &self.open.timers {
            last.insert(*timer, *added);
        }
        rows.extend(
            last.iter()
                .map(|((due, short), added)| (timer_key(*due, short).to_vec(), added.then(Vec::new))),
        );
        rows.push((MARKER.to_vec(), Some(marker.encode())));
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Some(PartitionEpoch {
            input: self.config.input.clone(),
            offset: marker.offset,
            metadata: marker.metadata(),
            slot: self.config.slot,
            changelog,
            rows,
        }))
    }

    /// The epoch's changelog parts, with the next chunk of a snapshot under way.
    fn packed(&self, marker: &mut Marker, rows: &[Row], rule: SnapshotRule) -> Result<Vec<Vec<u8>>, TaskError> {
        let size = |rows: &[Row]| -> usize {
            let of = |(key, value): &Row| key.len() + value.as_ref().map_or(0, Vec::len);
            rows.iter().map(of).sum()
        };
        if self.begins_snapshot {
            marker.snapshots.open(marker.epoch);
        }
        // The marker too: of an epoch without rows it is all.
        let own = size(rows) + marker.encode().len();
        let (mut chunk, mut next) = (Vec::new(), None);
        if let Some(open) = &marker.snapshots.open {
            // As large as the epoch's own rows, or a service that lags would outrun it.
            let (found, then) = self.chunk(&open.next, own.max(rule.chunk))?;
            (chunk, next) = (found, Some(then));
        }
        if mutant::is_on(Mutant::ChunkFromDirtyState) {
            for (key, value) in &mut chunk {
                if let Some((_, dirty)) = rows.iter().find(|(own, _)| own == key) {
                    value.clone_from(dirty);
                }
            }
        }
        marker.snapshots.wrote(own as u64, size(&chunk) as u64, next);
        if mutant::is_on(Mutant::ChunkAfterRows) {
            return Ok(pack(marker, &rows.iter().chain(&chunk).collect::<Vec<_>>()));
        }
        Ok(pack(marker, &chunk.iter().chain(rows).collect::<Vec<_>>()))
    }

    /// The epoch is known to be committed. `changelog_next` is the position behind its last part; `None` where the log is its own
    /// database and has written the rows.
    ///
    /// # Errors
    /// [`TaskError::Corrupt`] if the epoch is not one that [`Task::batch`] made.
    pub fn committed(&mut self, epoch: PartitionEpoch, changelog_next: Option<i64>) -> Result<(), TaskError> {
        if self.config.state == Statefulness::None && self.config.snapshots.is_none() {
            self.committed.offset = epoch.offset;
        } else {
            let marker = epoch
                .rows
                .iter()
                .find(|(key, _)| key == MARKER)
                .and_then(|(_, value)| value.as_ref());
            let marker = marker.ok_or_else(|| TaskError::Corrupt("epoch has no marker".to_owned()))?;
            let before = self.committed.snapshots.begin;
            self.committed = Marker::decode(marker)?;
            self.begins_snapshot = false;
            if let Some(next) = changelog_next {
                // Behind the last epoch and before this one: exactly where a reader must begin to read this one first.
                self.committed.snapshots.placed(self.changelog_next);
                self.changelog_last = self.changelog_next;
                self.changelog_next = next;
                for (key, value) in epoch.rows {
                    self.keep(key, value);
                }
                self.keep(MARKER.to_vec(), Some(self.committed.encode()));
                let begin = self.committed.snapshots.begin;
                if begin > before {
                    self.trim = Some(begin);
                }
                if mutant::is_on(Mutant::TrimBeforeLastChunk)
                    && let Some(open) = &self.committed.snapshots.open
                {
                    self.trim = open.begin.filter(|begin| *begin > 0);
                }
            }
        }
        self.begins = false;
        let bucket = self.open.bucket;
        self.quarantined.append(&mut self.open.quarantined);
        self.open = Open::behind(&self.committed);
        self.open.bucket = bucket;
        self.forget_poison();
        self.evict();
        Ok(())
    }

    /// Second-chance eviction (CLOCK); which keys stay changes no output.
    fn evict(&mut self) {
        if self.cache.len() > self.config.cached_keys {
            self.cache.retain(|_, entry| std::mem::take(&mut entry.used));
        }
        let mut excess = self.cache.len().saturating_sub(self.config.cached_keys);
        if excess > 0 {
            self.cache.retain(|_, _| {
                let goes = excess > 0;
                excess -= usize::from(goes);
                !goes
            });
        }
    }

    /// The open epoch is dropped, with what waits in the bucket; returns the offset to read again from.
    pub fn aborted(&mut self) -> i64 {
        for short in std::mem::take(&mut self.open.dirty) {
            if !mutant::is_on(Mutant::DirtyCacheKept) {
                self.cache.remove(&short);
            }
        }
        for (added, timer) in std::mem::take(&mut self.open.timers).into_iter().rev() {
            if added {
                self.timers.remove(&timer);
            } else if !mutant::is_on(Mutant::TimersNotPutBack) {
                self.timers.insert(timer);
            }
        }
        self.bucket.clear();
        self.let_go();
        self.last_read = None;
        self.open = Open::behind(&self.committed);
        self.committed.offset
    }

    /// Writes committed rows, timers, marker and position to the database as one change. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`TaskError::Db`] if the disk fails; nothing is lost, the changelog has the rows.
    pub fn flush(&mut self) -> Result<(), TaskError> {
        if self.is_restoring {
            return self.flush_restored();
        }
        if self.overlay.is_empty() {
            return Ok(());
        }
        let position = position_row(self.changelog_next, self.changelog_last);
        self.overlay.insert(POSITION.to_vec(), Some(position));
        let mut rows = self
            .overlay
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_deref()));
        self.db.ingest(&mut rows).map_err(TaskError::Db)?;
        self.overlay.clear();
        self.overlay_bytes = 0;
        Ok(())
    }
}

/// Where a database stands in its changelog: the position behind its last epoch, and where that one begins.
pub(super) fn position_row(changelog_next: i64, changelog_last: i64) -> Vec<u8> {
    let mut position = Writer::new(POSITION_VERSION);
    position.i64(changelog_next);
    position.i64(changelog_last);
    position.done()
}

/// The same two; equal where it is not known where the last epoch begins.
pub(super) fn read_position(row: &[u8]) -> Result<(i64, i64), Corrupt> {
    let version = match row.first() {
        Some(&BEFORE_LAST) => BEFORE_LAST,
        _ => POSITION_VERSION,
    };
    let mut position = Reader::new("position", row, version)?;
    let next = position.i64()?;
    let last = if version == BEFORE_LAST { next } else { position.i64()? };
    position.end()?;
    Ok((next, last))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bytes_of_a_position_never_change() {
        let row = super::position_row(258, 255);
        assert_eq!(row, [2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(super::read_position(&row), Ok((258, 255)));
        assert_eq!(super::read_position(&[1, 0, 0, 0, 0, 0, 0, 1, 2]), Ok((258, 258)));
        assert!(super::read_position(&row[..16]).is_err());
    }
}
