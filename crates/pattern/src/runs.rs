//! The state of one customer's patterns: plain data that names patterns and never contains them.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use event::{Attribute, EventRef, Millis};

/// All open runs of one customer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Runs {
    /// Pattern instances with anything to remember, in order of pattern id, then by-key.
    pub instances: Vec<Instance>,
    /// The events that runs name, by the customer's event index. Shared between runs; an entry goes with the last run that names it.
    pub events: BTreeMap<u64, Kept>,
}

/// One pattern for one tuple of `by` values.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Pattern id.
    pub pattern: Arc<str>,
    /// The version under which the runs began.
    pub version: i32,
    /// Values of the `by` fields, in the order of the file.
    pub by: Vec<Attribute>,
    /// Times of the latest events that match the first step, oldest first; for `count` of the first step.
    pub first: Vec<Millis>,
    /// Open runs.
    pub runs: Vec<Run>,
}

/// A partial match.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// The step that is awaited, as an index into the file's steps; a guard is never awaited.
    pub step: u8,
    /// Events of that step seen so far, less than its `times`.
    pub seen: u8,
    /// Evidence: indexes of the customer's events, ascending.
    pub evidence: Vec<u64>,
    /// Per `see` step from the first to the one last begun: how many events matched it.
    pub counts: Vec<u32>,
    /// Time of the first event.
    pub start: Millis,
    /// Completion of the step before.
    pub done: Millis,
    /// Of a wait: when it completes.
    pub deadline: Option<Millis>,
    /// Captured values that a later `where` reads, in the order of the program.
    pub captured: Vec<Option<Attribute>>,
    /// Waits that have held: step, since, until.
    pub held: Vec<(u8, Millis, Millis)>,
}

/// What is kept of an event that a run names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// The event.
    pub event: EventRef,
    /// Its time on the customer's clock.
    pub at: Millis,
    /// The fields that a sentence may read.
    pub fields: BTreeMap<String, Attribute>,
}

impl Runs {
    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// When a wait next completes.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.instances
            .iter()
            .flat_map(|instance| &instance.runs)
            .filter_map(|run| run.deadline)
            .min()
    }

    /// Where an instance stands, or where it would stand.
    pub(crate) fn find(&self, pattern: &str, by: &[Attribute]) -> Result<usize, usize> {
        self.instances
            .binary_search_by(|instance| (*instance.pattern).cmp(pattern).then_with(|| order(&instance.by, by)))
    }

    /// Puts an instance back, or drops it if it remembers nothing; whether runs may have gone.
    pub(crate) fn put(&mut self, instance: Instance, known: bool) -> bool {
        let empty = instance.runs.is_empty() && instance.first.is_empty();
        match self.find(&instance.pattern, &instance.by) {
            Ok(index) if empty => {
                self.instances.remove(index);
            }
            Ok(index) => self.instances[index] = instance,
            Err(index) if !empty => self.instances.insert(index, instance),
            Err(_) => {}
        }
        known || empty
    }

    /// The earliest deadline and its instance; equal deadlines in order of pattern and by-key.
    pub(crate) fn next_due(&self) -> Option<(Millis, usize)> {
        let due = |(index, instance): (usize, &Instance)| {
            Some((instance.runs.iter().filter_map(|run| run.deadline).min()?, index))
        };
        self.instances.iter().enumerate().filter_map(due).min()
    }

    /// Drops the run that began first, with all counts of its step; returns 1, so that the caller can count.
    pub(crate) fn drop_oldest(&mut self, of: impl Fn(&Instance) -> bool) -> u32 {
        let runs = self.instances.iter().enumerate().filter(|(_, instance)| of(instance));
        let runs = runs.flat_map(|(index, instance)| instance.runs.iter().map(move |run| (run.start, index, run)));
        let oldest = runs.min_by_key(|(start, index, run)| (*start, *index, run.step));
        let Some((index, step, deadline, captured)) =
            oldest.map(|(_, index, run)| (index, run.step, run.deadline, run.captured.clone()))
        else {
            return 0;
        };
        let same = |run: &Run| run.step == step && run.deadline == deadline && run.captured == captured;
        self.instances[index].runs.retain(|run| !same(run));
        if self.instances[index].runs.is_empty() {
            self.instances.remove(index);
        }
        1
    }

    /// Forgets events that no run names.
    pub(crate) fn prune(&mut self) {
        let instances = &self.instances;
        self.events.retain(|index, _| {
            instances
                .iter()
                .flat_map(|instance| &instance.runs)
                .any(|run| run.evidence.binary_search(index).is_ok())
        });
    }
}

impl Instance {
    /// Takes the contents out; pattern, version and by-key stay, so that the place can be found again.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            pattern: self.pattern.clone(),
            version: self.version,
            by: self.by.clone(),
            first: std::mem::take(&mut self.first),
            runs: std::mem::take(&mut self.runs),
        }
    }
}

/// A total order of by-keys: kind first, then value. 1 and `"1"` differ.
fn order(left: &[Attribute], right: &[Attribute]) -> Ordering {
    let rank = |value: &Attribute| match value {
        Attribute::Null => 0,
        Attribute::Bool(_) => 1,
        Attribute::Long(_) => 2,
        Attribute::Double(_) => 3,
        Attribute::Text(_) => 4,
        Attribute::List(_) => 5,
    };
    let one = |left: &Attribute, right: &Attribute| match (left, right) {
        (Attribute::Bool(a), Attribute::Bool(b)) => a.cmp(b),
        (Attribute::Long(a), Attribute::Long(b)) => a.cmp(b),
        (Attribute::Double(a), Attribute::Double(b)) => a.total_cmp(b),
        (Attribute::Text(a), Attribute::Text(b)) => a.cmp(b),
        (Attribute::List(a), Attribute::List(b)) => a.cmp(b),
        _ => rank(left).cmp(&rank(right)),
    };
    let pairs = left.iter().zip(right).map(|(left, right)| one(left, right));
    pairs.fold(left.len().cmp(&right.len()), Ordering::then)
}
