//! The state of one customer's patterns: plain data that names patterns and never contains them.

mod bound;
mod chain_runs;
mod chains;
mod kept;

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use event::{Attribute, Millis};
use smallvec::SmallVec;

use crate::{Value, catalogue::Name, value::unify};
pub use chain_runs::{ChainRun, ChainRuns};
pub(crate) use chains::{Chains, Link, MOST, key};
pub(crate) use kept::{Events, Marks, widened};
pub use kept::{Kept, KeptRef};

/// Everything that is open of one customer.
///
/// What is stored is told by [`Runs::each`] and [`Runs::events`]; the rest follows from that and from the catalogue, and is made
/// anew when either changes.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// Runs of chains, once bound.
    pub(crate) chains: Chains,
    /// The events that runs and first events name. Shared; one that nobody names goes with the next sweep.
    pub(crate) events: Events,
    /// The index of the latest event that may be named: what chains hold of an index is its lower half.
    pub(crate) newest: u64,
    /// How many kept events call for the next sweep.
    pub(crate) sweep_at: usize,
    /// The catalogue by which `slots` were filled.
    pub(crate) bound: Option<u64>,
    /// Over all instances: when a wait next completes.
    pub(crate) due: Option<Millis>,
    /// Whether some instance belongs to a pattern with a `during`.
    pub(crate) is_dated: bool,
    /// Runs of `instances`, as the cap counts them.
    pub(crate) weight: usize,
    /// Instances of other patterns with anything to remember, in order of pattern id, then the newer version first, then by-key.
    #[expect(clippy::vec_box, reason = "what is added in the middle moves the others")]
    pub(crate) instances: Vec<Box<Instance>>,
    /// Per instance: the number of its program.
    pub(crate) slots: Vec<u32>,
    /// Ids and versions of that catalogue's programs.
    names: Option<Arc<[Name]>>,
}

impl PartialEq for Runs {
    fn eq(&self, other: &Self) -> bool {
        self.instances() == other.instances() && self.events == other.events
    }
}

/// One version of a pattern for one tuple of `by` values.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Pattern id.
    pub pattern: Arc<str>,
    /// The version under which it began.
    pub version: i32,
    /// Values of the `by` fields, in the order of the file; a double that is a whole number is told as that.
    pub by: Vec<Attribute>,
    /// Of a pattern with `during`: the profile's date, under which all of this came about.
    pub date: Option<Millis>,
    /// The latest events that match the first step, or members of an `all`; oldest first.
    pub sightings: VecDeque<Sighting>,
    /// Where `across` counts values among them: the value of each, else nothing.
    pub values: Vec<Attribute>,
    /// Of an `all`: the index of the event that last broke an absence. What came before it begins no match any more.
    pub cut: u64,
    /// Of the run that waits at the end of an `all`: the cut as it was when its last event came.
    pub waiting_cut: u64,
    /// Since which event a newer version is in force, so that nothing begins here any more.
    pub closed: Option<u64>,
    /// Open runs.
    pub runs: Vec<Run>,
    /// The earliest deadline of its runs; follows from them and is not stored.
    pub due: Option<Millis>,
    /// Its runs as the caps count them; follows from them and is not stored.
    pub weight: usize,
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
            && self.version == other.version
            && self.by == other.by
            && self.date == other.date
            && self.sightings == other.sightings
            && self.values == other.values
            && (self.cut, self.waiting_cut, self.closed) == (other.cut, other.waiting_cut, other.closed)
            && self.runs == other.runs
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            pattern: Arc::from(""),
            version: 0,
            by: Vec::new(),
            date: None,
            sightings: VecDeque::new(),
            values: Vec::new(),
            cut: 0,
            waiting_cut: 0,
            closed: None,
            runs: Vec::new(),
            due: None,
            weight: 0,
        }
    }
}

/// Is told of all instances of one customer, one after the other.
pub trait Teller {
    /// Begins; so many instances follow.
    fn begin(&mut self, instances: usize);
    /// An instance as it lies in memory.
    fn instance(&mut self, instance: &Instance);
    /// An instance whose runs lie in memory in another way.
    fn chain(&mut self, instance: &ChainRuns<'_>);
}

/// Tells of instances alone.
struct Each<'a>(&'a mut dyn FnMut(&Instance));

impl Teller for Each<'_> {
    fn begin(&mut self, _: usize) {}

    fn instance(&mut self, instance: &Instance) {
        (self.0)(instance);
    }

    fn chain(&mut self, instance: &ChainRuns<'_>) {
        (self.0)(&Instance::from(instance));
    }
}

/// An event that matches a first step or members of an `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sighting {
    /// The customer's index of the event.
    pub index: u64,
    /// When it came.
    pub at: Millis,
    /// Of an `all`: its members that the event matches, a bit each, counted among the `see` steps. Of a sequence: 1.
    pub members: u8,
    /// Whether it may be evidence; otherwise it is only counted.
    pub is_usable: bool,
}

/// A partial match behind its first step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// The step that is awaited, as an index into the file's steps; a guard is never awaited. Of an `all`: which of its waits, in
    /// order of their length.
    pub step: u8,
    /// Events of that step seen so far: the last ones of the evidence.
    pub seen: u8,
    /// Indexes of the customer's events, by `see` step, ascending within each.
    pub evidence: SmallVec<[u64; 4]>,
    /// Per `see` step: how many events matched it, as far as that is settled.
    pub counts: [u32; 8],
    /// Time of the first event.
    pub start: Millis,
    /// Completion of the step before.
    pub done: Millis,
    /// Of a wait: when it completes.
    pub deadline: Option<Millis>,
    /// Captured values that a later `where` reads, in the order of the program.
    pub captured: Vec<Option<Attribute>>,
    /// Of the events seen of a counted step: what must be known should a match begin its step with it.
    pub tail: Vec<Counted>,
}

/// One event of a counted step.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// How many events matched the step before until then.
    pub before: u32,
    /// The value of the field of `across`; null without `across`.
    pub value: Attribute,
}

impl Runs {
    /// Puts together what was stored. What was joined by 1 and by 1.0 while those were two keys is one from now on: of both that goes on
    /// of which an event is the latest.
    #[must_use]
    pub fn restored(mut instances: Vec<Instance>, events: Vec<Kept>) -> Self {
        let mut is_key_changed = false;
        for instance in &mut instances {
            is_key_changed |= instance.unify();
        }
        if is_key_changed {
            instances.sort_by(Instance::stands_before);
            instances.dedup_by(|later, kept| {
                let is_same = kept.stands_before(later).is_eq();
                if is_same && later.newest() > kept.newest() {
                    std::mem::swap(later, kept);
                }
                is_same
            });
        }
        let mut runs = Self {
            instances: instances.into_iter().map(Box::new).collect(),
            ..Self::default()
        };
        for kept in &events {
            runs.events.push_copy(kept.view());
        }
        runs
    }

    /// Whether nothing is remembered.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.chains.is_empty()
    }

    /// Pattern instances with anything to remember, in order of pattern id, then the newer version first, then by-key.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let mut instances = Vec::new();
        self.each(&mut |instance| instances.push(instance.clone()));
        instances
    }

    /// Tells of every instance, in the order of [`Runs::instances`]. How many there are is told first.
    pub fn tell(&self, teller: &mut impl Teller) {
        // The programs and steps of chains in order, each with its place.
        let places = self.chains.iter().zip(0u64..);
        let mut places: Vec<u64> = places.map(|(link, place)| u64::from(link.key) << 32 | place).collect();
        places.sort_unstable();
        let program = |place: &u64| (place >> 35) as u32;
        let chains = places.chunk_by(|a, b| program(a) == program(b));
        teller.begin(chains.clone().count() + self.instances.len());
        let mut next = 0;
        for places in chains {
            let program = program(&places[0]);
            let first = self.slots.partition_point(|slot| *slot < program);
            self.instances[next..first]
                .iter()
                .for_each(|other| teller.instance(other));
            next = first;
            if let Some((pattern, version)) = self.names.as_ref().and_then(|names| names.get(program as usize)) {
                teller.chain(&ChainRuns {
                    pattern,
                    version: *version,
                    runs: self,
                    places,
                });
            }
        }
        self.instances[next..].iter().for_each(|other| teller.instance(other));
    }

    /// Tells of every instance, in the order of [`Runs::instances`].
    pub fn each(&self, tell: &mut dyn FnMut(&Instance)) {
        self.tell(&mut Each(tell));
    }

    /// The events that they name, in order of their index.
    pub fn events(&self) -> impl ExactSizeIterator<Item = KeptRef<'_>> {
        self.events.iter()
    }

    /// When a wait next completes.
    #[must_use]
    #[inline]
    pub fn deadline(&self) -> Option<Millis> {
        if self.bound.is_some() {
            return self.due;
        }
        let runs = self.instances.iter().flat_map(|instance| &instance.runs);
        runs.filter_map(|run| run.deadline).min()
    }

    /// Waits that are open.
    #[must_use]
    pub fn open_waits(&self) -> usize {
        let runs = self.instances.iter().flat_map(|instance| &instance.runs);
        runs.filter(|run| run.deadline.is_some()).count()
    }

    pub(crate) fn refresh_due(&mut self) {
        self.due = self.instances.iter().filter_map(|instance| instance.due).min();
    }

    /// Where the instance of a program and by-key stands, or where it would stand. `from` is a place at or before it.
    pub(crate) fn locate(&self, program: u32, by: &[Value<'_>], from: usize) -> Result<usize, usize> {
        let slots = &self.slots[from..];
        let mut low = 0;
        // Near first: programs are asked for in rising order.
        let mut step = 1;
        while low < slots.len() && slots[low] < program {
            let high = (low + step).min(slots.len());
            if high < slots.len() && slots[high] < program {
                low = high;
                step *= 2;
                continue;
            }
            low += slots[low..high].partition_point(|slot| *slot < program);
            break;
        }
        let place = from + low;
        if by.is_empty() {
            return match self.slots.get(place) {
                Some(found) if *found == program => Ok(place),
                _ => Err(place),
            };
        }
        let same = self.slots[place..].partition_point(|slot| *slot == program);
        self.instances[place..place + same]
            .binary_search_by(|instance| order(&instance.by, by))
            .map(|index| place + index)
            .map_err(|index| place + index)
    }

    /// Forgets events that nobody names.
    pub(crate) fn sweep(&mut self, marks: &mut Marks) {
        self.sweep_at = 8;
        if self.events.is_empty() {
            return;
        }
        if self.is_empty() {
            self.events.clear();
            return;
        }
        let events = &self.events;
        events.begin_marks(marks);
        for link in self.chains.iter() {
            for low in link.events() {
                events.mark(widened(*low, self.newest), marks);
            }
        }
        for instance in &self.instances {
            for index in instance.runs.iter().flat_map(|run| &run.evidence) {
                events.mark(*index, marks);
            }
            for sighting in instance.sightings.iter().filter(|sighting| sighting.is_usable) {
                events.mark(sighting.index, marks);
            }
        }
        self.events.sweep(marks);
        let left = self.events.len();
        self.sweep_at = left + left / 2 + 8;
    }
}

impl Instance {
    /// By pattern, then the newer version first, then by-key.
    pub(crate) fn stands_before(&self, other: &Self) -> Ordering {
        let by: SmallVec<[Value<'_>; 3]> = other.by.iter().map(Value::from).collect();
        self.pattern
            .cmp(&other.pattern)
            .then(other.version.cmp(&self.version))
            .then_with(|| order(&self.by, &by))
    }

    /// Unifies the values that it is told apart by and counts; whether its by-key is another one now.
    fn unify(&mut self) -> bool {
        let counted = self.runs.iter_mut().flat_map(|run| &mut run.tail);
        for value in counted.map(|counted| &mut counted.value).chain(&mut self.values) {
            unify(value);
        }
        self.by
            .iter_mut()
            .fold(false, |is_changed, value| unify(value) | is_changed)
    }

    /// The latest event that it names.
    fn newest(&self) -> Option<u64> {
        let of_runs = self.runs.iter().filter_map(|run| run.evidence.iter().max());
        let of_sightings = self.sightings.iter().map(|sighting| &sighting.index);
        of_runs.chain(of_sightings).max().copied()
    }

    pub(crate) fn earliest(&self) -> Option<Millis> {
        self.runs.iter().filter_map(|run| run.deadline).min()
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.runs.is_empty() && self.sightings.is_empty()
    }

    /// Drops everything unfinished; runs go to `spare`.
    pub(crate) fn clear(&mut self, spare: &mut Vec<Run>) {
        spare.append(&mut self.runs);
        self.sightings.clear();
        self.values.clear();
        (self.cut, self.waiting_cut, self.closed) = (0, 0, None);
        self.due = None;
    }

    /// Adds a run. Most instances have one or two: the memory for more is not taken in advance.
    pub(crate) fn add(&mut self, run: Run) {
        if self.runs.len() == self.runs.capacity() && self.runs.len() < 4 {
            self.runs.reserve_exact(1);
        }
        self.runs.push(run);
    }

    /// How many runs the caps count: the counts of a step are one, and first events without a run are one.
    pub(crate) fn weigh(&self) -> usize {
        if self.runs.len() < 2 {
            return self.runs.len().max(usize::from(!self.sightings.is_empty()));
        }
        let mut groups = 0;
        for (index, run) in self.runs.iter().enumerate() {
            groups += usize::from(!self.runs[..index].iter().any(|other| other.is_grouped_with(run)));
        }
        groups.max(usize::from(!self.sightings.is_empty()))
    }

    /// The oldest start of its runs or, without any, of its first events.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        let first = || self.sightings.front().map(|sighting| sighting.at);
        self.runs.iter().map(|run| run.start).min().or_else(first)
    }
}

impl Run {
    pub(crate) fn is_grouped_with(&self, other: &Self) -> bool {
        self.step == other.step && self.deadline == other.deadline && self.captured == other.captured
    }

    /// Becomes a copy of another run, in the same memory.
    pub(crate) fn assign(&mut self, other: &Self) {
        (self.step, self.seen, self.counts) = (other.step, other.seen, other.counts);
        (self.start, self.done, self.deadline) = (other.start, other.done, other.deadline);
        self.evidence.clear();
        self.evidence.extend_from_slice(&other.evidence);
        self.captured.clone_from(&other.captured);
        self.tail.clone_from(&other.tail);
    }
}

/// The order of by-keys, whose values are unified. 1 and `"1"` differ.
pub(crate) fn order(left: &[Attribute], right: &[Value<'_>]) -> Ordering {
    let pairs = left
        .iter()
        .zip(right)
        .map(|(left, right)| Value::from(left).order(right));
    pairs.fold(left.len().cmp(&right.len()), Ordering::then)
}
