//! The state of one customer's patterns: plain data that names patterns and never contains them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use event::{Attribute, EventRef, Millis};
use smallvec::SmallVec;

use crate::{Catalogue, Value};

/// Everything that is open of one customer.
///
/// Public parts are stored; the others follow from them and from the catalogue, and are made anew when either changes.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// Pattern instances with anything to remember, in order of pattern id, then the newer version first, then by-key.
    pub instances: Vec<Box<Instance>>,
    /// The events that runs and first events name, in order of their index. Shared; one that nobody names goes with the next sweep.
    pub events: Vec<Kept>,
    /// The catalogue by which `slots` were filled.
    pub(crate) bound: Option<u64>,
    /// Per instance: the number of its program.
    pub(crate) slots: Vec<u32>,
    /// Over all instances: when a wait next completes.
    pub(crate) due: Option<Millis>,
    /// Whether some instance belongs to a pattern with a `during`.
    pub(crate) is_dated: bool,
    /// Runs of all instances, as the cap counts them.
    pub(crate) weight: usize,
    /// How many kept events call for the next sweep.
    pub(crate) sweep_at: usize,
}

impl PartialEq for Runs {
    fn eq(&self, other: &Self) -> bool {
        self.instances == other.instances && self.events == other.events
    }
}

/// One version of a pattern for one tuple of `by` values.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Pattern id.
    pub pattern: Arc<str>,
    /// The version under which it began.
    pub version: i32,
    /// Values of the `by` fields, in the order of the file.
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

/// What is kept of an event that something names: in one piece, for it is written with every event that moves a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// The customer's index of the event.
    pub index: u64,
    /// Its time on the customer's clock.
    pub at: Millis,
    /// The event's own time.
    pub(crate) time: Millis,
    /// Texts with their lengths: id, source, type, position; then names and values of fields.
    packed: Vec<u8>,
    pub(crate) is_marked: bool,
}

impl Kept {
    /// Keeps an event with the fields that a sentence may read.
    pub fn new<'a>(
        index: u64,
        at: Millis,
        event: &EventRef,
        fields: impl IntoIterator<Item = (&'a str, Value<'a>)>,
    ) -> Self {
        let mut kept = Self::default();
        let texts = [&event.id, &event.source, &event.kind, &event.position].map(String::as_str);
        kept.fill(index, at, event.time, texts, fields);
        kept
    }

    /// Overwrites this with another event, in the same memory.
    pub(crate) fn fill<'a>(
        &mut self,
        index: u64,
        at: Millis,
        time: Millis,
        texts: [&str; 4],
        fields: impl IntoIterator<Item = (&'a str, Value<'a>)>,
    ) {
        (self.index, self.at, self.time, self.is_marked) = (index, at, time, false);
        self.packed.clear();
        for text in texts {
            put(&mut self.packed, text.as_bytes());
        }
        for (name, value) in fields {
            put(&mut self.packed, name.as_bytes());
            match value {
                Value::Null => self.packed.push(0),
                Value::Bool(value) => self.packed.extend([1, u8::from(value)]),
                Value::Long(value) => {
                    self.packed.push(2);
                    self.packed.extend(value.to_le_bytes());
                }
                Value::Double(value) => {
                    self.packed.push(3);
                    self.packed.extend(value.to_le_bytes());
                }
                Value::Text(text) => {
                    self.packed.push(4);
                    put(&mut self.packed, text.as_bytes());
                }
                Value::List(list) => {
                    self.packed.push(5);
                    self.packed
                        .extend(u32::try_from(list.len()).unwrap_or(u32::MAX).to_le_bytes());
                    for text in list {
                        put(&mut self.packed, text.as_bytes());
                    }
                }
            }
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> EventRef {
        let mut from = self.packed.as_slice();
        EventRef {
            id: text(&mut from),
            source: text(&mut from),
            kind: text(&mut from),
            time: self.time,
            position: text(&mut from),
        }
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &str {
        let mut from = self.packed.as_slice();
        std::str::from_utf8(take(&mut from)).unwrap_or_default()
    }

    /// The fields that a sentence may read.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, Attribute> {
        let mut from = self.packed.as_slice();
        for _ in 0..4 {
            take(&mut from);
        }
        let mut fields = BTreeMap::new();
        while !from.is_empty() {
            let name = text(&mut from);
            let tag = from[0];
            from = &from[1..];
            let value = match tag {
                1 => {
                    let value = from[0] != 0;
                    from = &from[1..];
                    Attribute::Bool(value)
                }
                2 => Attribute::Long(i64::from_le_bytes(eight(&mut from))),
                3 => Attribute::Double(f64::from_le_bytes(eight(&mut from))),
                4 => Attribute::Text(text(&mut from)),
                5 => {
                    let mut length = [0; 4];
                    length.copy_from_slice(&from[..4]);
                    from = &from[4..];
                    Attribute::List((0..u32::from_le_bytes(length)).map(|_| text(&mut from)).collect())
                }
                _ => Attribute::Null,
            };
            fields.insert(name, value);
        }
        fields
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(from: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = from.split_first_chunk::<4>() else {
        return &[];
    };
    let (bytes, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
    *from = rest;
    bytes
}

fn text(from: &mut &[u8]) -> String {
    String::from_utf8_lossy(take(from)).into_owned()
}

fn eight(from: &mut &[u8]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&from[..8]);
    *from = &from[8..];
    bytes
}

impl Runs {
    /// Puts together what was stored.
    #[must_use]
    pub fn restored(instances: Vec<Instance>, events: Vec<Kept>) -> Self {
        Self {
            instances: instances.into_iter().map(Box::new).collect(),
            events,
            ..Self::default()
        }
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// When a wait next completes.
    #[must_use]
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

    /// Finds each instance's program, and drops the instances that have none.
    pub(crate) fn bind(&mut self, catalogue: &Catalogue) {
        self.slots.clear();
        let slots = &mut self.slots;
        self.instances
            .retain(|instance| match catalogue.number(&instance.pattern, instance.version) {
                Some(number) => {
                    slots.push(number);
                    true
                }
                None => false,
            });
        self.bound = Some(catalogue.stamp);
        self.is_dated = false;
        self.weight = 0;
        for (instance, slot) in self.instances.iter_mut().zip(&self.slots) {
            self.is_dated |= catalogue.programs[*slot as usize].pattern.when.during.is_some();
            instance.due = instance.earliest();
            instance.weight = instance.weigh();
            self.weight += instance.weight;
        }
        self.refresh_due();
        self.sweep();
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

    /// The event of an index, if it is kept.
    pub(crate) fn event(events: &[Kept], index: u64) -> Option<&Kept> {
        let place = events.binary_search_by_key(&index, |kept| kept.index).ok()?;
        events.get(place)
    }

    /// Forgets events that nobody names; gives them to `spare`.
    pub(crate) fn sweep_into(&mut self, spare: &mut Vec<Kept>) {
        self.sweep_at = 8;
        if self.events.is_empty() {
            return;
        }
        let events = &mut self.events;
        let mut mark = |index: u64| {
            if let Ok(place) = events.binary_search_by_key(&index, |kept| kept.index) {
                events[place].is_marked = true;
            }
        };
        for instance in &self.instances {
            for run in &instance.runs {
                for index in &run.evidence {
                    mark(*index);
                }
            }
            for sighting in instance.sightings.iter().filter(|sighting| sighting.is_usable) {
                mark(sighting.index);
            }
        }
        let mut left = 0;
        for place in 0..events.len() {
            if std::mem::take(&mut events[place].is_marked) {
                events.swap(left, place);
                left += 1;
            }
        }
        self.sweep_at = left + left / 2 + 8;
        for gone in events.drain(left..) {
            if spare.len() < 1024 {
                spare.push(gone);
            }
        }
    }

    pub(crate) fn sweep(&mut self) {
        self.sweep_into(&mut Vec::new());
    }
}

impl Instance {
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

/// The order of by-keys. 1 and `"1"` differ.
pub(crate) fn order(left: &[Attribute], right: &[Value<'_>]) -> Ordering {
    let pairs = left
        .iter()
        .zip(right)
        .map(|(left, right)| Value::from(left).order(right));
    pairs.fold(left.len().cmp(&right.len()), Ordering::then)
}
