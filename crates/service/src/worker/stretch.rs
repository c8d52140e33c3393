//! How much longer than usual the epochs of a worker are that lags.

/// A worker that lags makes epochs longer, since a key that is written in many epochs is packed that often. But an epoch that takes
/// longer than the broker keeps a transaction open is lost, and where the machine is slow the same work would be begun again for ever:
/// each one that is lost halves the next, and each one that is committed makes the next a little longer (additive increase,
/// multiplicative decrease, as in TCP's congestion avoidance, RFC 5681). Before any of that the first one is a usual one, so that a
/// worker that has just begun is heard of at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stretch {
    /// Nothing has been committed or lost.
    #[default]
    Begins,
    /// So many intervals.
    To(u32),
}

/// Intervals of the longest epoch; of records it may hold half as many times the usual number.
const MOST: u32 = 20;

impl Stretch {
    /// How many intervals an epoch may last, and how many times the usual number of records it may hold.
    pub(super) fn now(self) -> (u32, u64) {
        let intervals = match self {
            Self::Begins => 1,
            Self::To(intervals) => intervals,
        };
        (intervals, u64::from(intervals.div_ceil(2)))
    }

    /// How many intervals may pass in the middle of what one poll brought. Behind a start all of it waits, and caches are empty: it takes as
    /// long as the start did. Afterwards it counts only where a machine is so slow that the transaction would time out: an epoch for each
    /// interval would cost more than it brings.
    pub(super) fn longest(self) -> u32 {
        match self {
            Self::Begins => 1,
            Self::To(_) => MOST,
        }
    }

    pub(super) fn committed(&mut self) {
        *self = Self::To(match *self {
            Self::Begins => MOST,
            Self::To(intervals) => (intervals + 1).min(MOST),
        });
    }

    pub(super) fn aborted(&mut self) {
        // The first is not lost by its length.
        if let Self::To(intervals) = self {
            *intervals = (*intervals / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_epoch_is_a_usual_one_and_the_next_may_be_long() {
        let mut stretch = Stretch::default();
        stretch.aborted();
        assert_eq!((stretch.now(), stretch.longest()), ((1, 1), 1));
        stretch.committed();
        assert_eq!((stretch.now(), stretch.longest()), ((20, 10), 20));
    }

    #[test]
    fn lost_epochs_become_shorter_down_to_the_usual_and_grow_again() {
        let mut stretch = Stretch::To(MOST);
        let mut seen = Vec::new();
        for _ in 0..6 {
            stretch.aborted();
            seen.push(stretch.now());
        }
        assert_eq!(seen, [(10, 5), (5, 3), (2, 1), (1, 1), (1, 1), (1, 1)]);
        stretch.committed();
        assert_eq!(stretch.now(), (2, 1));
        for _ in 0..30 {
            stretch.committed();
        }
        assert_eq!(stretch.now(), (20, 10));
    }
}
