//! Deliberate faults, one at a time, to see that the tests would notice them. Without the feature `mutants` there are none, and every
//! question is answered before it is compiled.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// State is applied before its transaction is known to be committed.
    ApplyBeforeCommit,
    /// An unknown outcome is taken for an abort.
    UnknownIsAborted,
    /// An unknown outcome is taken for a commit.
    UnknownIsCommitted,
    /// An error of `send_offsets` is passed over.
    OffsetsErrorIgnored,
    /// Offsets are committed without the member's generation.
    NoGeneration,
    /// Committed offsets and the end of a changelog are read though a transaction that moves them is under way.
    UnstableOffsets,
    /// A partition counts if it is owned now, though it was lost in between.
    OwnerInsteadOfSequence,
    /// The producer is kept though a request of its last commit may still be on its way.
    ProducerKept,
    /// Dirty state stays in the cache after an abort.
    DirtyCacheKept,
    /// An epoch ends in the middle of a bucket.
    CutInsideBucket,
    /// Ticks of a generation whose number is less than another's say nothing.
    OlderGenerationsIgnored,
    /// One writer's tick makes its generation complete.
    ClockFromOneMember,
    /// A restore ends without comparing marker and committed offset.
    RestoreNotCompared,
    /// The changelog is trimmed when a snapshot has begun.
    TrimBeforeLastChunk,
    /// The changelog is trimmed before the database holds what it held.
    TrimBeforeFlush,
    /// A chunk of a snapshot holds what its own epoch changes.
    ChunkFromDirtyState,
    /// A chunk of a snapshot is applied after its epoch's rows.
    ChunkAfterRows,
    /// Positions are compared by offset alone.
    EpochNotCompared,
    /// Timers that an aborted epoch has fired do not come back.
    TimersNotPutBack,
    /// A key that was evicted is loaded past the committed rows in memory.
    LoadedPastOverlay,
    /// A restore whose position was trimmed reads on at the log's start.
    SkipsAhead,
    /// Records of a transaction that was given up, and that the broker left open, are left open.
    LeftoversKept,
    /// Committed offsets are believed, whatever the changelog says.
    OffsetsBelieved,
    /// What somebody else has written to a partition's changelog meanwhile is not looked at.
    OthersIgnored,
    /// What was reported as committed is taken for visible, though its markers may be missing.
    MarkersTrusted,
    /// What was aborted to drop what stood open is taken for gone, though its markers may be missing too.
    AbortsTrusted,
    /// What stands open of a transaction whose outcome is unknown is aborted.
    OutcomeGuessed,
    /// Where a partition begins that nobody had before is committed with its first record only.
    BeginLeftOpen,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Self; 28] = [
        Self::ApplyBeforeCommit,
        Self::UnknownIsAborted,
        Self::UnknownIsCommitted,
        Self::OffsetsErrorIgnored,
        Self::NoGeneration,
        Self::UnstableOffsets,
        Self::OwnerInsteadOfSequence,
        Self::ProducerKept,
        Self::DirtyCacheKept,
        Self::CutInsideBucket,
        Self::OlderGenerationsIgnored,
        Self::ClockFromOneMember,
        Self::RestoreNotCompared,
        Self::TrimBeforeLastChunk,
        Self::TrimBeforeFlush,
        Self::ChunkFromDirtyState,
        Self::ChunkAfterRows,
        Self::EpochNotCompared,
        Self::TimersNotPutBack,
        Self::LoadedPastOverlay,
        Self::SkipsAhead,
        Self::LeftoversKept,
        Self::OffsetsBelieved,
        Self::OthersIgnored,
        Self::MarkersTrusted,
        Self::AbortsTrusted,
        Self::OutcomeGuessed,
        Self::BeginLeftOpen,
    ];
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// Whether the look at what stands in the changelog ([`Mutant::OthersIgnored`]) would mend what this one breaks: it is left out then, so
    /// that each of the two guards is seen to matter.
    fn is_guarded_twice(self) -> bool {
        matches!(
            self,
            Self::UnknownIsAborted | Self::NoGeneration | Self::OwnerInsteadOfSequence
        )
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Switches a fault on, on this thread alone.
#[cfg(feature = "mutants")]
pub fn switch_on(mutant: Option<Mutant>) {
    ON.set(mutant);
}

/// Whether this fault is on.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is_on(mutant: Mutant) -> bool {
    ON.get()
        .is_some_and(|on| on == mutant || (mutant == Mutant::OthersIgnored && on.is_guarded_twice()))
}

/// Whether this fault is on: never.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is_on(_: Mutant) -> bool {
    false
}
