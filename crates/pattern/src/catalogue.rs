//! The catalogue: patterns compiled for matching, indexed by event type.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashMap;

use crate::{
    Pattern, Runs,
    cel::{Code, Field, Fields, Root},
    file::{During, Step, When, Where},
    template::Place,
};

/// Caps of one customer's runs; excess drops the oldest start and is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs per customer and pattern, all instances together.
    pub per_pattern: usize,
    /// Runs per customer.
    pub per_customer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_pattern: 64,
            per_customer: 1024,
        }
    }
}

/// Compiled patterns. Immutable; shared by all customers.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// In order of pattern id, then the newer version first.
    pub(crate) programs: Vec<Program>,
    pub(crate) by_type: HashMap<String, TypeEntry>,
    /// Fields of events that some sentence reads.
    pub(crate) kept_fields: Vec<Field>,
    pub(crate) limits: Limits,
    /// Per program: id and version. Shared with the runs that were bound to it.
    pub(crate) names: Arc<[Name]>,
    /// Per program: its `within`.
    pub(crate) spans: Vec<i64>,
    /// Tells compiled catalogues apart: runs remember by which one their places were found.
    pub(crate) stamp: u64,
}

/// Id and version of a pattern.
pub(crate) type Name = (Arc<str>, i32);

/// Who sees an event type.
#[derive(Debug, Clone, Default)]
pub(crate) struct TypeEntry {
    /// What chains do with it, in order of the programs; of one program, its end first.
    pub moves: Vec<Move>,
    /// Programs that are no chains, in order.
    pub others: Vec<Entry>,
    /// All programs, in order.
    pub entries: Vec<Entry>,
    /// Distinct predicates over events of this type that read no captured name.
    pub shared: Vec<Code>,
    /// Fields of the event that those read.
    pub fields: Fields,
}

/// What an event type does to a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub program: u32,
    /// The step that sees the type, or [`UNTIL`].
    pub step: u8,
    /// How many steps the program has.
    pub length: u8,
    /// An index into `shared`, or [`NO_TEST`].
    pub test: u16,
    pub within: i64,
    pub step_within: i64,
}

/// Instead of a step: everything unfinished is dropped.
pub(crate) const UNTIL: u8 = u8::MAX;

/// The steps of one program that see an event type.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub program: u32,
    /// `see` steps, a bit each.
    pub sees: u8,
    /// `absent` steps, a bit each.
    pub absents: u8,
    pub until: bool,
    /// Per step: an index into `shared`, [`NO_TEST`] or [`OWN_TEST`].
    pub tests: [u16; 8],
}

/// The step takes every event of the type.
pub(crate) const NO_TEST: u16 = u16::MAX;
/// The step's predicate reads captured names: it is evaluated per run.
pub(crate) const OWN_TEST: u16 = u16::MAX - 1;

/// One version of a pattern, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub pattern: Arc<Pattern>,
    pub id: Arc<str>,
    pub version: i32,
    /// Whether a newer version is in force: nothing begins here any more.
    pub is_closing: bool,
    /// Other versions of the pattern that are matched.
    pub siblings: Vec<u32>,
    pub by: Vec<Field>,
    pub within: i64,
    /// Per step.
    pub codes: Vec<Option<Code>>,
    /// Per step: the field of its `across`.
    pub across: Vec<Option<Field>>,
    /// Per step: the index among the `see` steps, of the step itself or the last one before it.
    pub see_index: Vec<usize>,
    /// Per `see` step: its step.
    pub see_steps: Vec<usize>,
    /// Per step: which slots of captured values are read at it or later.
    pub live_slots: Vec<Vec<bool>>,
    /// The fields that are captured: the `see` step, and which.
    pub slots: Vec<(usize, Field)>,
    /// Per step: the step awaited once it is complete.
    pub next: Vec<Option<usize>>,
    /// Per step: whether its events gather in the run that awaits it, instead of making a run per count.
    pub is_gathered: Vec<bool>,
    pub is_all: bool,
    /// How many steps there are.
    pub length: u8,
    /// Per step, beside the pattern's own words: what every event asks for lies together.
    pub times: [u8; 8],
    pub at_least: [u8; 8],
    pub step_within: [i64; 8],
    /// Whether there is a `during`.
    pub is_dated: bool,
    pub has_waits: bool,
    /// Whether all that follows the first step are single events: then the run of a place is simply overwritten by the next one.
    pub is_plain: bool,
    /// Whether its runs are kept as chains: it is plain from its first step on, has two steps or more, and nothing but `within` and
    /// `until` ends a run.
    pub is_chain: bool,
    /// Of journey and profile: what its sentences read.
    pub reads: Vec<Place>,
    /// Of an `all`: its waits, the shortest first.
    pub waits: Vec<(usize, i64)>,
    /// Up to where events of a first step, or of a member of an `all`, are counted.
    pub most: u32,
    /// Sightings kept for counts: as many, and the event in hand, before which a step may begin.
    pub remembered: usize,
}

impl Catalogue {
    /// Compiles patterns that are matched (`shadow`, `live`); the others are left out. The order of the input does not matter. Of
    /// several versions of a pattern the newest is in force: only it begins matches, the others finish what is open.
    #[must_use]
    pub fn compile(patterns: impl IntoIterator<Item = Arc<Pattern>>, limits: Limits) -> Self {
        static STAMPS: AtomicU64 = AtomicU64::new(1);
        let by_id: BTreeMap<(String, Reverse<i32>), Arc<Pattern>> = patterns
            .into_iter()
            .map(|pattern| ((pattern.id.clone(), Reverse(pattern.version)), pattern))
            .collect();
        let mut catalogue = Self {
            limits,
            stamp: STAMPS.fetch_add(1, Ordering::Relaxed),
            ..Self::default()
        };
        let mut fields: BTreeSet<String> = BTreeSet::new();
        let mut newest: Option<&Arc<Pattern>> = None;
        for pattern in by_id.values() {
            if newest.is_none_or(|newest| newest.id != pattern.id) {
                newest = Some(pattern);
            }
            // A pattern that is paused or retired drops its runs, whatever their version.
            let Some(newest) = newest.filter(|newest| newest.status.is_matched() && pattern.status.is_matched()) else {
                continue;
            };
            let number = u32::try_from(catalogue.programs.len()).unwrap_or(u32::MAX);
            let program = Program::of(pattern.clone(), pattern.version != newest.version);
            for kind in types(&pattern.when) {
                catalogue
                    .by_type
                    .entry(kind.clone())
                    .or_default()
                    .add(number, &program, &kind);
            }
            for place in pattern.then.because.values().flat_map(|template| template.places()) {
                if let Place::First(_, field) | Place::Last(_, field) = place {
                    fields.insert(field.clone());
                    if field == "value" {
                        fields.insert("currency".to_owned());
                    }
                }
            }
            catalogue.programs.push(program);
        }
        catalogue.names = catalogue
            .programs
            .iter()
            .map(|program| (program.id.clone(), program.version))
            .collect();
        catalogue.spans = catalogue.programs.iter().map(|program| program.within).collect();
        catalogue.kept_fields = fields.iter().map(|name| Field::of(name)).collect();
        for number in 0..catalogue.programs.len() {
            let id = catalogue.programs[number].id.clone();
            let siblings = catalogue.programs.iter().enumerate();
            let siblings = siblings.filter(|(other, program)| *other != number && program.id == id);
            catalogue.programs[number].siblings = siblings
                .map(|(other, _)| u32::try_from(other).unwrap_or(u32::MAX))
                .collect();
            let program = &mut catalogue.programs[number];
            let is_capped = usize::from(program.length) > limits.per_pattern;
            program.is_chain &= !program.is_closing && program.siblings.is_empty() && !is_capped && number < 1 << 29;
        }
        // In any order: each is finished by itself.
        for found in catalogue.by_type.values_mut() {
            found.finish(&catalogue.programs);
        }
        catalogue
    }

    /// The version of a pattern that is in force, if it is matched.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Pattern>> {
        let first = self.programs.partition_point(|program| *program.id < *id);
        let program = self.programs.get(first)?;
        (*program.id == *id).then_some(&program.pattern)
    }

    pub(crate) fn number(&self, id: &str, version: i32) -> Option<u32> {
        let key = (id, Reverse(version));
        let found = self
            .programs
            .binary_search_by(|program| (&*program.id, Reverse(program.version)).cmp(&key));
        found.ok().and_then(|number| u32::try_from(number).ok())
    }

    /// The matched patterns in order of their ids; of several versions the one in force.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        let in_force = self.programs.iter().filter(|program| !program.is_closing);
        in_force.map(|program| &program.pattern)
    }

    /// Drops the runs of patterns that are gone, paused, or of a version that is not matched any more; returns how many.
    pub fn retain(&self, runs: &mut Runs) -> usize {
        let count = |runs: &Runs| {
            let others = runs.instances.iter().map(|instance| instance.runs.len());
            runs.chains.len() + others.sum::<usize>()
        };
        let before = count(runs);
        runs.bind(self);
        before - count(runs)
    }
}

impl TypeEntry {
    fn add(&mut self, number: u32, program: &Program, kind: &str) {
        let when = &program.pattern.when;
        let mut entry = Entry {
            program: number,
            sees: 0,
            absents: 0,
            until: when.until.iter().any(|until| until == kind),
            tests: [NO_TEST; 8],
        };
        for (index, step) in when.steps.iter().enumerate() {
            if !step.types().iter().any(|listed| listed == kind) {
                continue;
            }
            match step {
                Step::See(_) => entry.sees |= 1 << index,
                _ => entry.absents |= 1 << index,
            }
            let (Some(condition), Some(code)) = (step.condition(), &program.codes[index]) else {
                continue;
            };
            entry.tests[index] = if captures(condition) {
                OWN_TEST
            } else {
                let known = self.shared.iter().position(|known| known == code);
                let place = known.unwrap_or_else(|| {
                    self.shared.push(code.clone());
                    self.shared.len() - 1
                });
                u16::try_from(place).unwrap_or(OWN_TEST).min(OWN_TEST)
            };
        }
        self.entries.push(entry);
    }

    /// What follows once all entries are there.
    pub fn finish(&mut self, programs: &[Program]) {
        for code in &mut self.shared {
            code.resolve(&mut self.fields);
        }
        for entry in &self.entries {
            let program = &programs[entry.program as usize];
            if !program.is_chain {
                self.others.push(entry.clone());
                continue;
            }
            let step = Move {
                program: entry.program,
                step: UNTIL,
                length: program.length,
                test: NO_TEST,
                within: program.within,
                step_within: i64::MAX,
            };
            if entry.until {
                self.moves.push(step);
            }
            for number in (0..program.length).rev().filter(|step| entry.sees & 1 << step != 0) {
                self.moves.push(Move {
                    step: number,
                    test: entry.tests[usize::from(number)],
                    step_within: program.step_within[usize::from(number)],
                    ..step
                });
            }
        }
    }
}

impl Program {
    fn of(pattern: Arc<Pattern>, is_closing: bool) -> Self {
        let when = &pattern.when;
        let steps = &when.steps;
        let (mut see_index, mut see_steps) = (Vec::new(), Vec::new());
        for (index, step) in steps.iter().enumerate() {
            if matches!(step, Step::See(_)) {
                see_steps.push(index);
            }
            see_index.push(usize::max(see_steps.len(), 1) - 1);
        }
        let is_guard = |index: usize| matches!(steps.get(index), Some(Step::Guard(_)));
        let see = |step: &Step| match step {
            Step::See(see) => Some((see.times, see.across.clone())),
            _ => None,
        };
        let is_gathered = steps.iter().enumerate().map(|(index, step)| {
            index > 0 && !is_guard(index - 1) && see(step).is_some_and(|(times, across)| times > 1 || across.is_some())
        });
        let mut waits: Vec<(usize, i64)> = steps
            .iter()
            .enumerate()
            .filter_map(|(index, step)| match step {
                Step::Wait(_, wait) => Some((index, *wait)),
                _ => None,
            })
            .collect();
        waits.sort_by_key(|(index, wait)| (*wait, *index));
        // Members of an `all` may share events, so that each may need as many as all of them together.
        let counts = when.sees().map(|see| usize::from(see.times));
        let most = if when.any_order {
            counts.sum()
        } else {
            counts.max().unwrap_or(1)
        };
        let (mut repeats, mut at_least, mut step_within) = ([1; 8], [0; 8], [i64::MAX; 8]);
        for (index, step) in steps.iter().enumerate() {
            if let Step::See(see) = step {
                repeats[index] = see.times;
                at_least[index] = see.across.as_ref().map_or(0, |across| across.at_least);
                step_within[index] = see.within.unwrap_or(i64::MAX);
            }
        }
        let mut reads: Vec<Place> = Vec::new();
        for place in pattern.then.because.values().flat_map(|template| template.places()) {
            if matches!(place, Place::Journey(_) | Place::Profile(_)) && !reads.contains(place) {
                reads.push(place.clone());
            }
        }
        let is_single = |step: &Step| see(step).is_some_and(|(times, across)| times == 1 && across.is_none());
        Self {
            is_all: when.any_order,
            length: u8::try_from(steps.len()).unwrap_or(u8::MAX),
            times: repeats,
            at_least,
            step_within,
            is_dated: when.during.is_some(),
            has_waits: !waits.is_empty(),
            is_plain: !when.any_order && when.slots.is_empty() && steps.iter().skip(1).all(is_single),
            is_chain: !when.any_order
                && when.slots.is_empty()
                && steps.len() > 1
                && steps.iter().all(is_single)
                && when.by.is_empty()
                && when.during.is_none(),
            reads,
            id: Arc::from(pattern.id.as_str()),
            version: pattern.version,
            is_closing,
            siblings: Vec::new(),
            by: when.by.iter().map(|name| Field::of(name)).collect(),
            within: when.within,
            codes: steps
                .iter()
                .map(|step| step.condition().map(|condition| Code::of(&condition.expr)))
                .collect(),
            across: steps
                .iter()
                .map(|step| {
                    see(step)
                        .and_then(|(_, across)| across)
                        .map(|across| Field::of(&across.field))
                })
                .collect(),
            live_slots: live_slots(when),
            slots: when.slots.iter().map(|(see, name)| (*see, Field::of(name))).collect(),
            next: (0..steps.len())
                .map(|step| (step + 1..steps.len()).find(|index| !is_guard(*index)))
                .collect(),
            is_gathered: is_gathered.collect(),
            waits,
            most: u32::try_from(most.max(64)).unwrap_or(u32::MAX),
            remembered: most.max(64) + 1,
            see_index,
            see_steps,
            pattern,
        }
    }

    pub fn during(&self) -> Option<&During> {
        if self.is_dated {
            self.pattern.when.during.as_ref()
        } else {
            None
        }
    }

    pub fn steps(&self) -> &[Step] {
        &self.pattern.when.steps
    }
}

fn live_slots(when: &When) -> Vec<Vec<bool>> {
    let steps = &when.steps;
    let mut live_slots = vec![vec![false; when.slots.len()]; steps.len()];
    let mut live = vec![false; when.slots.len()];
    for index in (0..steps.len()).rev() {
        mark(steps[index].condition(), &mut live);
        live_slots[index].clone_from(&live);
        // A guard is judged while the `see` behind it is awaited, and the `see` before goes on being counted.
        let guard = steps[..index].last().filter(|step| matches!(step, Step::Guard(_)));
        let counted = steps[..index].iter().rev().find(|step| matches!(step, Step::See(_)));
        for step in guard.into_iter().chain(counted) {
            mark(step.condition(), &mut live_slots[index]);
        }
    }
    live_slots
}

fn captures(condition: &Where) -> bool {
    let mut found = false;
    condition
        .expr
        .paths(&mut |path, _| found |= matches!(path.root, Root::Captured(_)));
    found
}

fn mark(condition: Option<&Where>, live: &mut [bool]) {
    if let Some(condition) = condition {
        condition.expr.paths(&mut |path, _| {
            if matches!(path.root, Root::Captured(_)) {
                live[path.slot] = true;
            }
        });
    }
}

fn types(when: &When) -> BTreeSet<String> {
    let mut types: BTreeSet<String> = when.until.iter().cloned().collect();
    for step in &when.steps {
        types.extend(step.types().iter().cloned());
    }
    types
}
