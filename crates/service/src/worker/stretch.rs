//! How much longer than usual the epochs of a worker are that lags.

/// A worker that lags makes epochs longer, since a key that is written in many epochs is packed that often. But an epoch that takes
/// longer than the broker keeps a transaction open is lost, and where the machine is slow the same work would be begun again for ever:
/// each one that is lost halves the next, and each one that is committed makes the next a little longer (additive increase,
/// multiplicative decrease, as in TCP's congestion avoidance, RFC 5681). Where epochs of the usual length are lost too, less is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    intervals: u32,
    /// A poll brings at most this part of the usual number of records.
    part: usize,
}

/// Intervals of the longest epoch; of records it may hold half as many times the usual number.
const MOST: u32 = 20;
/// The smallest part of the usual number of records that a poll brings.
const SMALLEST: usize = 64;

impl Default for Stretch {
    fn default() -> Self {
        Self {
            intervals: MOST,
            part: 1,
        }
    }
}

impl Stretch {
    /// How many intervals an epoch may last, and how many times the usual number of records it may hold.
    pub(super) fn now(self) -> (u32, u64) {
        (self.intervals, u64::from(self.intervals.div_ceil(2)))
    }

    /// How many records a poll may bring, of the usual number.
    pub(super) fn poll(self, usual: usize) -> usize {
        (usual / self.part).max(1)
    }

    pub(super) fn committed(&mut self) {
        if self.part > 1 {
            self.part /= 2;
        } else {
            self.intervals = (self.intervals + 1).min(MOST);
        }
    }

    pub(super) fn aborted(&mut self) {
        if self.intervals > 1 {
            self.intervals /= 2;
        } else {
            self.part = (self.part * 2).min(SMALLEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_epochs_become_shorter_down_to_the_usual_and_grow_again() {
        let mut stretch = Stretch::default();
        assert_eq!(stretch.now(), (20, 10));
        let mut seen = Vec::new();
        for _ in 0..6 {
            stretch.aborted();
            seen.push((stretch.now(), stretch.poll(4096)));
        }
        let expected = [
            ((10, 5), 4096),
            ((5, 3), 4096),
            ((2, 1), 4096),
            ((1, 1), 4096),
            ((1, 1), 2048),
            ((1, 1), 1024),
        ];
        assert_eq!(seen, expected);
        for _ in 0..20 {
            stretch.aborted();
        }
        assert_eq!((stretch.poll(4096), stretch.poll(4)), (64, 1));
        for _ in 0..30 {
            stretch.committed();
        }
        assert_eq!(stretch.now(), (20, 10));
    }
}
