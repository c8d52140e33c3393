//! What the engine does, told as it does it: for `explain`, and for the steps of a failing test.

use event::{Attribute, Millis};

use crate::Pattern;

/// Is told what the engine does. There is one engine: an observer sees the steps of the code that runs live, and an engine
/// without one ([`Unobserved`]) is compiled without the telling.
pub trait Observer {
    /// Whether anything is to be told at all; `false` removes the telling at compile time.
    const ACTIVE: bool = true;

    /// Takes one note. Notes of one event come in the order of the engine's steps: patterns in order of their ids.
    fn note(&mut self, of: &Subject<'_>, note: &Note<'_>);
}

/// The observer of an engine that nobody watches; it costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    const ACTIVE: bool = false;

    fn note(&mut self, _: &Subject<'_>, _: &Note<'_>) {}
}

/// Whose step it was, and when.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The pattern, of this version.
    pub pattern: &'a Pattern,
    /// Values of its `by` fields; empty where it has none, or where the event lacks one of them.
    pub by: &'a [Attribute],
    /// The customer's time: of the event, or of the deadline.
    pub at: Millis,
}

/// One thing that the engine did, or why it did nothing. Steps are counted as in the file, from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Note<'a> {
    /// The event serves a `see` step.
    Saw {
        /// The step.
        step: usize,
        /// How many of its events a run has now.
        seen: usize,
        /// How many it takes.
        times: usize,
        /// With `across`: how many different values they have, and how many it takes.
        values: Option<(usize, usize)>,
        /// The time of the run's first event.
        since: Millis,
    },
    /// A run completed a step and awaits the next one.
    Completed {
        /// The step that is complete.
        step: usize,
        /// What is awaited now; `None` at the end of the pattern.
        next: Option<usize>,
        /// When a wait that is awaited now completes.
        deadline: Option<Millis>,
    },
    /// A wait held.
    Held {
        /// The `absent` step.
        step: usize,
        /// Since when nothing came.
        since: Millis,
    },
    /// The event broke an absence: the run is gone or, in `all`, whatever began before it.
    Broken {
        /// The `absent` step.
        step: usize,
        /// The time of the run's first event.
        since: Millis,
    },
    /// The event is of an `until` type: everything unfinished is gone.
    Ended {
        /// Runs and first events that were dropped.
        runs: usize,
    },
    /// A run has grown older than `within`.
    Expired {
        /// The step that it awaited.
        step: usize,
        /// The time of its first event.
        since: Millis,
    },
    /// A run was dropped, since another one in its place can complete whenever it can.
    Replaced {
        /// The step that both await.
        step: usize,
        /// The time of the dropped run's first event.
        since: Millis,
    },
    /// A run was dropped by a cap.
    Capped {
        /// How many were.
        runs: usize,
    },
    /// Everything unfinished is gone: the date of `during` has changed.
    DateChanged,
    /// Everything unfinished is gone: another version of the pattern has matched.
    OtherVersion {
        /// The version that matched.
        version: i32,
    },
    /// The pattern matched, and starts afresh behind this moment.
    Matched {
        /// The time of the match's first event.
        since: Millis,
        /// Evidence: ids of the events, per `see` step.
        events: Vec<Vec<String>>,
    },
    /// The event did nothing here.
    Ignored(Ignored<'a>),
}

/// Why an event did nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Ignored<'a> {
    /// The pattern does not name its type.
    Type,
    /// It lacks a field of `by`, and so is invisible to the pattern.
    By {
        /// The field.
        field: &'a str,
    },
    /// A step lists its type, and nothing has come that far.
    NotAwaited {
        /// The step.
        step: usize,
    },
    /// The `where` of a step that lists its type does not hold.
    Where {
        /// The step.
        step: usize,
        /// The `where` as the file has it.
        text: &'a str,
        /// What it read, in order: the path, and the value if there is one.
        reads: Vec<(String, Option<Attribute>)>,
        /// Whether it failed: a wrong type, an overflow, a division by zero.
        failed: bool,
    },
    /// It lacks the field of the step's `across`.
    Across {
        /// The step.
        step: usize,
        /// The field.
        field: &'a str,
    },
    /// It would serve the step, and comes later than `within` after the run's first event.
    Window {
        /// The step.
        step: usize,
        /// Milliseconds since the first event.
        span: i64,
        /// The pattern's `within`.
        within: i64,
    },
    /// It would complete the step, and comes later than the step's own `within` after the step before.
    StepWindow {
        /// The step.
        step: usize,
        /// Milliseconds since the completion of the step before.
        span: i64,
        /// The step's `within`.
        within: i64,
    },
    /// It lies outside `during`.
    During {
        /// The profile's date; `None` if there is none.
        date: Option<Millis>,
    },
    /// This version of the pattern starts no run any more.
    Version,
}
