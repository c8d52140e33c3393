//! From the changelog to state.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
};

use super::{Doubt, Open, Task, TaskError, epoch::position_row, row_size};
use crate::{
    Db, Marker, Millis, RowRef, Stage,
    changelog::Assembler,
    rows::{Head, Key16, MARKER, POSITION, head_of, read_timer, timer_key},
};

impl<S: Stage> Task<S> {
    /// Forgets everything and empties the database.
    ///
    /// # Errors
    /// [`TaskError::Db`] if it fails.
    pub fn reset(&mut self) -> Result<(), TaskError> {
        self.db.reset().map_err(TaskError::Db)?;
        self.cache.clear();
        self.timers.clear();
        self.overlay.clear();
        self.overlay_bytes = 0;
        self.assembler = Assembler::default();
        self.restored_timers.clear();
        self.is_restoring = false;
        self.committed = Marker::default();
        self.changelog_next = 0;
        self.bucket.clear();
        self.open = Open::behind(&self.committed);
        (self.begins, self.begins_snapshot, self.trim, self.first) = (false, false, None, Some(1));
        (self.changelog_last, self.doubt) = (0, Doubt::None);
        Ok(())
    }

    /// A restore from nothing begins at this place of the changelog, with this epoch; with any, where that is not known.
    pub fn restore_from(&mut self, begin: i64, first: Option<u64>) {
        (self.changelog_last, self.changelog_next) = (begin, begin);
        self.first = first;
    }

    /// The database may hold what was never committed: the restore begins with its last epoch, which must stand in the changelog as it stands
    /// here. False, and nothing has changed, where it is not known where that begins.
    pub fn doubt(&mut self) -> bool {
        let is_known = self.committed.epoch > 0 && self.changelog_last < self.changelog_next;
        if is_known {
            self.changelog_next = self.changelog_last;
            self.doubt = Doubt::Open;
        }
        is_known
    }

    /// Whether a database that was doubted is not the changelog's; at its end, whether nothing there has confirmed it.
    #[must_use]
    pub fn is_refuted(&self, is_at_end: bool) -> bool {
        match self.doubt {
            Doubt::None => false,
            Doubt::Open => is_at_end,
            Doubt::Justified => true,
        }
    }

    /// Compares an epoch that was read with the last one of a database that is doubted.
    fn compare(&mut self, value: &[u8], next: i64) {
        let read = self.assembler.push(value);
        let Ok(Some(mut marker)) = read else {
            // A part that does not fit is none of that epoch.
            if read.is_err() {
                self.doubt = Doubt::Justified;
            }
            return;
        };
        marker.snapshots.placed(self.changelog_last);
        if marker == self.committed {
            (self.doubt, self.changelog_next, self.is_restoring) = (Doubt::None, next, true);
        } else {
            self.doubt = Doubt::Justified;
        }
    }

    /// Takes the next committed changelog record while restoring; `next` is the position behind it.
    ///
    /// # Errors
    /// [`TaskError::Corrupt`] if it cannot be read, or an epoch is missing before it.
    pub fn restore(&mut self, value: &[u8], next: i64) -> Result<(), TaskError> {
        match self.doubt {
            Doubt::None => {}
            Doubt::Open => {
                self.compare(value, next);
                return Ok(());
            }
            Doubt::Justified => return Ok(()),
        }
        let Some(marker) = self.assembler.push(value)? else {
            return Ok(());
        };
        let expected = match self.committed.epoch {
            0 => self.first,
            last => Some(last + 1),
        };
        let found = marker.epoch;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(TaskError::Corrupt(format!(
                "gap in the changelog: found epoch={found} expected={expected}"
            )));
        }
        self.committed = marker;
        self.committed.snapshots.placed(self.changelog_next);
        self.changelog_last = self.changelog_next;
        self.changelog_next = next;
        self.is_restoring = true;
        Ok(())
    }

    /// Says that everything up to `next` of the changelog has been read, control records included. Between the parts of an epoch that
    /// says nothing: whoever goes on from there needs its first part.
    pub fn restored_to(&mut self, next: i64) {
        if !self.assembler.is_between_parts() {
            self.changelog_next = self.changelog_next.max(next);
        }
    }

    /// Everything has been read: rows that are not flushed join the overlay, timers are filed, and the partition may run.
    pub fn restored(&mut self) {
        if self.is_restoring {
            self.is_restoring = false;
            debug_assert!(self.overlay.is_empty(), "a partition that runs is not restored");
            self.assembler.sort();
            let timers = Timers::default();
            let marker = self.committed.encode();
            let rows = timers.behind(self.assembler.rows());
            let rows = std::iter::once((MARKER, Some(marker.as_slice()))).chain(rows);
            // Sorted already, so the tree is built in one go.
            self.overlay = rows
                .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
                .collect();
            let size = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| row_size(key, value.as_deref());
            self.overlay_bytes = self.overlay.iter().map(size).sum();
            self.restored_timers.append(&mut timers.found.into_inner());
        }
        let mut restored: BTreeSet<_> = std::mem::take(&mut self.restored_timers).into_iter().collect();
        self.timers.append(&mut restored);
        self.assembler = Assembler::default();
        self.open = Open::behind(&self.committed);
    }

    /// Writes whole restored epochs, the timers of their newest heads, marker and position as one change.
    pub(super) fn flush_restored(&mut self) -> Result<(), TaskError> {
        self.assembler.sort();
        let timers = Timers::default();
        let (marker, position) = (
            self.committed.encode(),
            position_row(self.changelog_next, self.changelog_last),
        );
        let own = [(MARKER, Some(marker.as_slice())), (POSITION, Some(position.as_slice()))];
        let mut rows = own.into_iter().chain(timers.behind(self.assembler.rows()));
        self.db.ingest(&mut rows).map_err(TaskError::Db)?;
        drop(rows);
        self.restored_timers.append(&mut timers.found.into_inner());
        self.assembler.forget();
        self.is_restoring = false;
        Ok(())
    }
}

/// Timers of sorted heads, found while these go by: a second look at each would cost as much as the first.
#[derive(Default)]
struct Timers {
    found: RefCell<Vec<(Millis, Key16)>>,
    rows: OnceCell<Vec<[u8; 26]>>,
}

impl Timers {
    /// The rows, and behind them the rows of their timers, in order.
    fn behind<'a>(&'a self, state: impl Iterator<Item = RowRef<'a>>) -> impl Iterator<Item = RowRef<'a>> {
        let timers = std::iter::once(self).flat_map(Self::sorted);
        state.inspect(|row| self.look(row)).chain(timers)
    }

    fn look(&self, (key, value): &RowRef<'_>) {
        // Heads were checked when they were unpacked.
        if let (Some(short), Some(value)) = (head_of(key), value)
            && let Ok(head) = Head::decode(value)
            && let Some(due) = head.deadline
        {
            self.found.borrow_mut().push((due, *short));
        }
    }

    fn sorted(&self) -> impl Iterator<Item = RowRef<'_>> {
        let rows = self.rows.get_or_init(|| {
            let mut found = self.found.borrow_mut();
            found.sort_unstable();
            found.iter().map(|(due, short)| timer_key(*due, short)).collect()
        });
        rows.iter().map(|key| (key.as_slice(), Some(&[][..])))
    }
}

pub(super) fn stored_timers(db: &dyn Db) -> Result<BTreeSet<(Millis, Key16)>, TaskError> {
    let mut timers = BTreeSet::new();
    let mut from = b"ti".to_vec();
    loop {
        let page = db.scan(&from, b"tj", 10_000).map_err(TaskError::Db)?;
        for (key, _) in &page {
            timers.insert(read_timer(key).ok_or_else(|| TaskError::Corrupt("timer row of unknown form".to_owned()))?);
        }
        match page.last() {
            Some((last, _)) => {
                from.clone_from(last);
                from.push(0);
            }
            None => return Ok(timers),
        }
    }
}
