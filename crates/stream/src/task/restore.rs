//! From the changelog to state.

use std::collections::BTreeSet;

use super::{Open, Task, TaskError};
use crate::{
    Db, Marker, Millis, Stage,
    changelog::Assembler,
    rows::{HEAD, Head, Key16, MARKER, read_timer, timer_key},
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
        self.committed = Marker::default();
        self.changelog_next = 0;
        self.bucket.clear();
        self.open = Open::behind(&self.committed);
        (self.begins_snapshot, self.trim, self.first) = (false, None, 1);
        Ok(())
    }

    /// A restore from nothing begins at this place of the changelog, with this epoch.
    pub fn restore_from(&mut self, begin: i64, first: u64) {
        self.changelog_next = begin;
        self.first = first;
    }

    /// Takes the next committed changelog record while restoring; `next` is the position behind it.
    ///
    /// # Errors
    /// [`TaskError::Corrupt`] if it cannot be read, or an epoch is missing before it.
    pub fn restore(&mut self, value: &[u8], next: i64) -> Result<(), TaskError> {
        let Some(epoch) = self.assembler.push(value)? else {
            return Ok(());
        };
        let expected = match self.committed.epoch {
            0 => self.first,
            last => last + 1,
        };
        let found = epoch.marker.epoch;
        if found != expected {
            return Err(TaskError::Corrupt(format!(
                "gap in the changelog: found epoch={found} expected={expected}"
            )));
        }
        for (key, value) in epoch.rows {
            if let (Some(name), Some(value)) = (key.get(18..), &value)
                && name == HEAD
                && let Some(due) = Head::decode(value)?.deadline
            {
                let mut short = Key16::default();
                short.copy_from_slice(&key[2..18]);
                self.timers.insert((due, short));
                self.keep(timer_key(due, &short), Some(Vec::new()));
            }
            self.keep(key, value);
        }
        self.committed = epoch.marker;
        self.committed.snapshots.placed(self.changelog_next);
        self.keep(MARKER.to_vec(), Some(self.committed.encode()));
        self.changelog_next = next;
        self.open = Open::behind(&self.committed);
        Ok(())
    }

    /// Says that everything up to `next` of the changelog has been read, control records included.
    pub fn restored_to(&mut self, next: i64) {
        self.changelog_next = self.changelog_next.max(next);
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
