//! Poison: what makes a stage panic, or the process die, is kept from the stage when it comes again.
//!
//! A record becomes a dead letter. A key whose timer, or whose rows, are at fault is quarantined: a row says so, its other rows stay
//! as they are, no timer of it fires, and its events become dead letters. A timer is named by its key and the end of the bucket
//! that fired it, so that the quarantine begins at the same place of the log wherever epochs were cut.

use std::sync::Arc;

use super::{Entry, Task, TaskError};
use crate::{
    Millis, Record, Reject, Rows, Stage, StoredRow,
    rows::{Cause, HEAD, Head, Key16, QUARANTINE, Quarantine},
};

/// What is in hand while a stage is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InHand {
    /// The record at this offset.
    Record(i64),
    /// A timer.
    Timer {
        /// The key that it belongs to.
        key: Key16,
        /// The next offset behind the bucket that fired it.
        offset: i64,
    },
    /// The stored rows of a key: they are read, or written.
    Key(Key16),
}

/// Hears of everything that is taken in hand and, as `None`, that nothing is. Its answer keeps the thing from the stage. It is
/// called for every record: nanoseconds count.
pub type Watch = Arc<dyn Fn(Option<InHand>) -> Option<Cause> + Send + Sync>;

impl<S: Stage> Task<S> {
    /// Tells `watch` from now on what is in hand.
    pub fn watched_by(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// What was in hand, for whoever caught a panic.
    #[must_use]
    pub fn in_hand(&self) -> Option<InHand> {
        self.in_hand
    }

    /// This made the stage panic: it is kept from the stage when it comes again, after [`Task::aborted`]. False if it was known
    /// already, and so cannot be the cause.
    pub fn poisoned(&mut self, what: InHand) -> bool {
        self.poison.insert(what, Cause::Panicked).is_none()
    }

    /// Why keys were quarantined in the epochs committed since the last call, one entry a key.
    pub fn take_quarantined(&mut self) -> Vec<Cause> {
        std::mem::take(&mut self.quarantined)
    }

    /// Takes something in hand; returns why it must not reach the stage.
    pub(super) fn hold(&mut self, what: InHand) -> Option<Cause> {
        self.in_hand = Some(what);
        let watched = self.watch.as_ref().and_then(|watch| watch(Some(what)));
        if self.poison.is_empty() {
            return watched;
        }
        self.poison.get(&what).copied().or(watched)
    }

    /// Nothing is in hand.
    pub(super) fn let_go(&mut self) {
        self.in_hand = None;
        if let Some(watch) = &self.watch {
            watch(None);
        }
    }

    /// What came before is in hand again.
    fn hold_again(&mut self, before: Option<InHand>) {
        match before {
            // Whether it may reach the stage was asked when it was first taken.
            Some(what) => {
                self.hold(what);
            }
            None => self.let_go(),
        }
    }

    /// What an epoch committed need not be kept from the stage again: a row or an offset sees to that.
    pub(super) fn forget_poison(&mut self) {
        let (offset, cache) = (self.committed.offset, &self.cache);
        self.poison.retain(|what, _| match what {
            InHand::Record(of) => *of >= offset,
            InHand::Timer { offset: behind, .. } => *behind > offset,
            InHand::Key(short) => cache.get(short).is_none_or(|entry| entry.quarantine.is_none()),
        });
    }

    /// Whether the key is quarantined. Brings it into the cache.
    pub(super) fn is_quarantined(&mut self, short: &Key16, key: &[u8]) -> Result<bool, TaskError> {
        self.load(short, key)?;
        Ok(self.cache.get(short).is_some_and(|entry| entry.quarantine.is_some()))
    }

    /// A loaded key is quarantined from here on. What this epoch's events did to it before is written, as it would have been in an
    /// epoch that ended before.
    pub(super) fn quarantine(&mut self, short: &Key16, cause: Cause) {
        let is_changed = !self.open.dirty.insert(*short);
        let Some(entry) = self.cache.get_mut(short) else { return };
        entry.quarantine = Some(Quarantine { cause, time: entry.now });
        entry.rows_stay = !is_changed;
        self.open.quarantined.push(cause);
    }

    /// Brings a key into the cache; false if it has no rows.
    pub(super) fn load_stored(&mut self, short: &Key16) -> Result<bool, TaskError> {
        if let Some(entry) = self.cache.get_mut(short) {
            entry.used = true;
            return Ok(true);
        }
        let before = self.in_hand;
        let cause = self.hold(InHand::Key(*short));
        let stored = self.rows_of(short)?;
        let is_there = match cause {
            Some(cause) => {
                self.quarantine_unread(short, cause, &stored)?;
                true
            }
            None => self.read(short, &stored)?,
        };
        self.hold_again(before);
        Ok(is_there)
    }

    fn read(&mut self, short: &Key16, stored: &[StoredRow]) -> Result<bool, TaskError> {
        let named = |wanted: &[u8]| stored.iter().find(|(name, _)| name == wanted);
        if let Some((_, row)) = named(QUARANTINE) {
            self.cache
                .insert(*short, unread(Quarantine::decode(row)?, head_of(stored)?));
            return Ok(true);
        }
        let Some(head) = head_of(stored)? else {
            return Ok(false);
        };
        let rows: Vec<(&[u8], &[u8])> = stored
            .iter()
            .map(|(name, value)| {
                (
                    name.as_slice(),
                    if name == HEAD { head.payload } else { value.as_slice() },
                )
            })
            .collect();
        let state = self.stage.load(Rows { rows: &rows })?;
        let deadline = self.stage.deadline(&state);
        let entry = Entry {
            state,
            key: head.key.to_vec(),
            now: head.now,
            deadline,
            used: true,
            quarantine: None,
            rows_stay: false,
        };
        self.cache.insert(*short, entry);
        Ok(true)
    }

    /// A key whose rows must not reach the stage is quarantined without a look at them.
    fn quarantine_unread(&mut self, short: &Key16, cause: Cause, stored: &[StoredRow]) -> Result<(), TaskError> {
        let head = head_of(stored)?;
        if let Some((_, row)) = stored.iter().find(|(name, _)| name == QUARANTINE) {
            self.cache.insert(*short, unread(Quarantine::decode(row)?, head));
            return Ok(());
        }
        let time = head.as_ref().map_or(Millis::MIN, |head| head.now);
        let time = time.max(self.open.clock.now());
        self.cache.insert(*short, unread(Quarantine { cause, time }, head));
        self.open.dirty.insert(*short);
        self.open.quarantined.push(cause);
        Ok(())
    }

    /// The dead letter of a record that must not reach the stage.
    pub(super) fn reject(cause: Cause) -> Reject {
        let message = match cause {
            Cause::Panicked => "the stage failed on this record",
            Cause::CrashLoop => "the process died again and again with this record in hand",
        };
        rejected(cause.code(), message)
    }

    /// The dead letter of an event whose key is quarantined.
    pub(super) fn refuse_quarantined(&self, record: &Record) -> crate::Output {
        (self.config.dead_letters)(
            record,
            &rejected("quarantined", "the key of this record is quarantined"),
        )
    }
}

fn rejected(reason: &'static str, message: &str) -> Reject {
    Reject {
        stage: "process",
        reason,
        message: message.to_owned(),
        field: None,
        schema: None,
    }
}

fn head_of(stored: &[StoredRow]) -> Result<Option<Head<'_>>, TaskError> {
    let head = stored.iter().find(|(name, _)| name == HEAD);
    Ok(head.map(|(_, row)| Head::decode(row)).transpose()?)
}

/// A quarantined key: its rows have not been read, and are not written.
fn unread<T: Default>(quarantine: Quarantine, head: Option<Head<'_>>) -> Entry<T> {
    Entry {
        state: T::default(),
        key: head.as_ref().map_or_else(Vec::new, |head| head.key.to_vec()),
        now: head.map_or(quarantine.time, |head| head.now),
        deadline: None,
        used: true,
        quarantine: Some(quarantine),
        rows_stay: true,
    }
}
