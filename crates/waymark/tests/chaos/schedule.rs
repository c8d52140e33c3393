//! Which faults come when: a seed decides all of it, so that a run can be repeated.

/// A fault, by what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    KillIntake,
    KillMonitor,
    TermIntake,
    TermMonitor,
    /// Stopped for less than any timeout.
    StopShort,
    /// Stopped past the transaction's timeout, within the session's.
    StopTransaction,
    /// Stopped past both.
    StopSession,
    /// A second process in the slot of another.
    Twin,
    /// The state directory is deleted while the process is dead.
    StateLost,
    /// A file of each of its databases is cut in half while the process is dead.
    StateDamaged,
    /// An older copy of the state directory is put back.
    StateOld,
    /// Further members join and leave.
    Storm,
    /// The disk is full for a while.
    DiskFull,
    KillLeader,
    KillController,
    KillGroupCoordinator,
    KillTransactionCoordinator,
    /// A broker is stopped past its session, then goes on.
    StopBroker,
    BounceBrokers,
}

/// Every kind.
pub const KINDS: [Kind; 19] = [
    Kind::KillIntake,
    Kind::KillMonitor,
    Kind::TermIntake,
    Kind::TermMonitor,
    Kind::StopShort,
    Kind::StopTransaction,
    Kind::StopSession,
    Kind::Twin,
    Kind::StateLost,
    Kind::StateDamaged,
    Kind::StateOld,
    Kind::Storm,
    Kind::DiskFull,
    Kind::KillLeader,
    Kind::KillController,
    Kind::KillGroupCoordinator,
    Kind::KillTransactionCoordinator,
    Kind::StopBroker,
    Kind::BounceBrokers,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::KillIntake => "kill -9 intake",
            Self::KillMonitor => "kill -9 monitor",
            Self::TermIntake => "SIGTERM intake",
            Self::TermMonitor => "SIGTERM monitor",
            Self::StopShort => "SIGSTOP short",
            Self::StopTransaction => "SIGSTOP past transaction",
            Self::StopSession => "SIGSTOP past session",
            Self::Twin => "two in one slot",
            Self::StateLost => "state deleted",
            Self::StateDamaged => "state damaged",
            Self::StateOld => "old state put back",
            Self::Storm => "join/leave storm",
            Self::DiskFull => "disk full",
            Self::KillLeader => "kill -9 leader",
            Self::KillController => "kill -9 controller",
            Self::KillGroupCoordinator => "kill -9 group coordinator",
            Self::KillTransactionCoordinator => "kill -9 transaction coordinator",
            Self::StopBroker => "SIGSTOP broker",
            Self::BounceBrokers => "all brokers bounced",
        }
    }

    /// For how long it lasts, in milliseconds: the least and the greatest. Sessions last 6 s, transactions 4 s.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::StopShort => (300, 3_000),
            Self::StopTransaction => (4_300, 5_300),
            Self::StopSession => (7_500, 11_000),
            Self::Twin | Self::Storm => (2_000, 6_000),
            Self::DiskFull => (3_000, 8_000),
            Self::StateOld => (1_500, 5_000),
            Self::StopBroker => (1_000, 9_000),
            Self::BounceBrokers => (100, 2_500),
            Self::KillLeader | Self::KillController | Self::KillGroupCoordinator | Self::KillTransactionCoordinator => {
                (100, 6_000)
            }
            // A process that dies is started again at once, or after the group has given its partitions away.
            Self::KillIntake | Self::KillMonitor | Self::StateLost | Self::StateDamaged => (50, 8_000),
            Self::TermIntake | Self::TermMonitor => (50, 2_000),
        }
    }
}

/// One fault of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// Chooses among the targets of the kind.
    pub target: u64,
    /// How long it lasts, in milliseconds.
    pub lasts: u64,
    /// How long the run is left alone before it, in milliseconds.
    pub before: u64,
    /// Whether the next one comes before this one is recovered from.
    pub overlaps: bool,
}

/// The faults of a run: every kind that is possible in an order of the seed's, then all of them again in another.
pub fn schedule(seed: u64, count: usize, possible: &[Kind]) -> Vec<Fault> {
    let mut dice = Dice::new(seed);
    let mut deck: Vec<Kind> = Vec::new();
    let mut faults = Vec::new();
    while faults.len() < count {
        let Some(kind) = deck.pop() else {
            deck = possible.to_vec();
            assert!(!deck.is_empty(), "no fault is possible");
            dice.shuffle(&mut deck);
            continue;
        };
        let (least, greatest) = kind.lasts();
        faults.push(Fault {
            kind,
            target: dice.next(),
            lasts: dice.between(least, greatest),
            before: dice.between(100, 2_000),
            overlaps: dice.below(4) == 0,
        });
    }
    faults
}

/// What differs between runs beside their faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    pub window: &'static str,
    pub static_members: bool,
    pub workers: u32,
    pub profiles: bool,
}

/// The variant of a seed. Its lowest bits choose, so that neighbouring seeds differ.
pub fn variant(seed: u64) -> Variant {
    Variant {
        window: if seed & 1 == 0 { "0" } else { "500ms" },
        static_members: seed & 2 != 0,
        workers: if seed & 4 == 0 { 1 } else { 2 },
        profiles: seed & 8 != 0,
    }
}

/// Numbers that a seed decides: SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, least: u64, greatest: u64) -> u64 {
        least + self.below(greatest - least + 1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.below(index as u64 + 1) as usize;
            items.swap(index, other);
        }
    }
}

/// Spreads a number over all bits.
pub fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        assert_eq!(schedule(5, 40, &KINDS), schedule(5, 40, &KINDS));
        assert_ne!(schedule(5, 40, &KINDS), schedule(6, 40, &KINDS));
    }

    #[test]
    fn every_possible_kind_comes_before_any_comes_twice() {
        let faults = schedule(9, KINDS.len(), &KINDS);
        let kinds: BTreeSet<Kind> = faults.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), KINDS.len());
        let few = schedule(9, 30, &[Kind::Twin, Kind::Storm]);
        assert!(few.iter().all(|fault| matches!(fault.kind, Kind::Twin | Kind::Storm)));
    }

    #[test]
    fn a_fault_lasts_as_long_as_its_kind_says() {
        for fault in schedule(3, 500, &KINDS) {
            let (least, greatest) = fault.kind.lasts();
            assert!((least..=greatest).contains(&fault.lasts), "{fault:?}");
        }
    }
}
