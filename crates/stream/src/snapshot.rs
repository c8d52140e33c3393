//! Snapshots keep the changelog short: all rows in chunks, one with each epoch, and then everything before them may go.
//!
//! A chunk holds the rows of the next key range as they were committed when its epoch began; restoring applies it before the
//! epoch's own rows. So every row stands either in the one chunk that covers its key or in a later epoch, and the order of the log
//! alone gives the state, at any marker from the last chunk on.

use crate::{
    Corrupt,
    bytes::{Reader, Writer},
};

/// When snapshots are made, and in what pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRule {
    /// A snapshot begins when the log since the last one's begin is longer than this and than twice that snapshot, in bytes.
    pub after: u64,
    /// The least size of a chunk, in bytes.
    pub chunk: usize,
}

/// What the marker knows of snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// Where the last whole one begins in the changelog; 0 before the first.
    pub begin: i64,
    /// The number of the epoch there.
    pub first: u64,
    /// The bytes of its chunks.
    pub bytes: u64,
    /// Bytes of the log since its begin.
    pub log_bytes: u64,
    /// The one under way.
    pub open: Option<OpenSnapshot>,
}

/// A snapshot under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSnapshot {
    /// Where it begins; `None` in the very epoch of its first chunk, whose place is not known before it is committed.
    pub begin: Option<i64>,
    /// The number of the epoch there.
    pub first: u64,
    /// The bytes of its chunks so far.
    pub bytes: u64,
    /// Bytes of the log since its begin.
    pub log_bytes: u64,
    /// The first key that no chunk covers yet.
    pub next: Vec<u8>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            begin: 0,
            first: 1,
            bytes: 0,
            log_bytes: 0,
            open: None,
        }
    }
}

/// The range of state rows: from, and the first key behind it.
pub const ROWS: (&[u8], &[u8]) = (b"st", b"su");

impl Snapshots {
    /// Whether another snapshot should begin.
    #[must_use]
    pub fn is_due(&self, rule: SnapshotRule) -> bool {
        self.open.is_none() && self.log_bytes > rule.after.max(2 * self.bytes)
    }

    /// Begins one with epoch `epoch`.
    pub fn open(&mut self, epoch: u64) {
        self.open = Some(OpenSnapshot {
            begin: None,
            first: epoch,
            bytes: 0,
            log_bytes: 0,
            next: ROWS.0.to_vec(),
        });
    }

    /// Counts an epoch's rows and its chunk, which ends before `next`. The snapshot is whole once nothing is left and its place is
    /// known; the log may then be trimmed to [`Snapshots::begin`].
    pub fn wrote(&mut self, rows: u64, chunk: u64, next: Option<Vec<u8>>) {
        self.log_bytes += rows + chunk;
        let Some(open) = &mut self.open else { return };
        open.log_bytes += rows + chunk;
        open.bytes += chunk;
        if let Some(next) = next {
            open.next = next;
        }
        if open.next.as_slice() >= ROWS.1
            && let Some(begin) = open.begin
        {
            *self = Self {
                begin,
                first: open.first,
                bytes: open.bytes,
                log_bytes: open.log_bytes,
                open: None,
            };
        }
    }

    /// The epoch was committed behind `before`: a snapshot that began with it begins there.
    pub fn placed(&mut self, before: i64) {
        if let Some(open) = &mut self.open {
            open.begin.get_or_insert(before);
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        out.i64(self.begin);
        out.u64(self.first);
        out.u64(self.bytes);
        out.u64(self.log_bytes);
        out.u32(u32::from(self.open.is_some()));
        if let Some(open) = &self.open {
            out.i64(open.begin.unwrap_or(-1));
            out.u64(open.first);
            out.u64(open.bytes);
            out.u64(open.log_bytes);
            out.bytes(&open.next);
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (begin, first, bytes, log_bytes) = (input.i64()?, input.u64()?, input.u64()?, input.u64()?);
        let open = if input.u32()? == 1 {
            let begin = input.i64()?;
            Some(OpenSnapshot {
                begin: (begin >= 0).then_some(begin),
                first: input.u64()?,
                bytes: input.u64()?,
                log_bytes: input.u64()?,
                next: input.bytes()?.to_vec(),
            })
        } else {
            None
        };
        Ok(Self {
            begin,
            first,
            bytes,
            log_bytes,
            open,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_whole_once_nothing_is_left_and_its_place_is_known() {
        let rule = SnapshotRule { after: 10, chunk: 1 };
        let mut snapshots = Snapshots::default();
        snapshots.wrote(11, 0, None);
        assert!(snapshots.is_due(rule));
        snapshots.open(5);
        snapshots.wrote(2, 30, Some(ROWS.1.to_vec()));
        assert!(
            snapshots.open.is_some(),
            "one chunk held everything, but its place is not known yet"
        );
        snapshots.placed(70);
        assert_eq!(snapshots.begin, 0, "until then the old one counts");
        snapshots.wrote(3, 0, None);
        let whole = Snapshots {
            begin: 70,
            first: 5,
            bytes: 30,
            log_bytes: 35,
            open: None,
        };
        assert_eq!(snapshots, whole);
        assert!(!snapshots.is_due(rule), "twice the snapshot is more than the least");
        snapshots.wrote(26, 0, None);
        assert!(snapshots.is_due(rule));
        snapshots.open(9);
        snapshots.placed(90);
        snapshots.placed(99);
        assert_eq!(
            snapshots.open.as_ref().and_then(|open| open.begin),
            Some(90),
            "its place is found once"
        );
    }
}
