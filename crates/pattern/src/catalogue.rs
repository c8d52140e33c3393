//! The catalogue: patterns compiled for matching, indexed by event type.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::HashMap;

use crate::{
    Pattern, Runs,
    cel::{Expr, Root},
    file::{Step, When},
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
    pub(crate) programs: Vec<Program>,
    pub(crate) by_type: HashMap<String, Vec<u32>>,
    /// Fields of events that some sentence reads.
    pub(crate) kept_fields: BTreeSet<String>,
    pub(crate) limits: Limits,
}

/// One pattern, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub pattern: Arc<Pattern>,
    pub id: Arc<str>,
    /// Per step: the index among the `see` steps, of the step itself or the last one before it.
    pub see_index: Vec<usize>,
    /// Per step: which slots of captured values are read at it or later.
    pub live_slots: Vec<Vec<bool>>,
}

impl Catalogue {
    /// Compiles patterns that are matched (`shadow`, `live`); the others are left out. The order of the input does not matter.
    #[must_use]
    pub fn compile(patterns: impl IntoIterator<Item = Arc<Pattern>>, limits: Limits) -> Self {
        let by_id: BTreeMap<String, Arc<Pattern>> = patterns
            .into_iter()
            .filter(|pattern| pattern.status.is_matched())
            .map(|p| (p.id.clone(), p))
            .collect();
        let mut catalogue = Self {
            limits,
            ..Self::default()
        };
        for (index, pattern) in by_id.into_values().enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            for kind in types(&pattern.when) {
                catalogue.by_type.entry(kind).or_default().push(number);
            }
            for template in pattern.then.because.values() {
                for place in template.places() {
                    if let Place::First(_, field) | Place::Last(_, field) = place {
                        catalogue.kept_fields.insert(field.clone());
                        if field == "value" {
                            catalogue.kept_fields.insert("currency".to_owned());
                        }
                    }
                }
            }
            catalogue.programs.push(Program::of(pattern));
        }
        catalogue
    }

    /// A pattern by id, if it is matched.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Pattern>> {
        let index = self
            .programs
            .binary_search_by(|program| program.pattern.id.as_str().cmp(id))
            .ok()?;
        Some(&self.programs[index].pattern)
    }

    /// The matched patterns in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pattern>> {
        self.programs.iter().map(|program| &program.pattern)
    }

    /// Drops the runs of patterns that are gone, paused, or of another version; returns how many.
    pub fn retain(&self, runs: &mut Runs) -> usize {
        let before: usize = runs.instances.iter().map(|instance| instance.runs.len()).sum();
        runs.instances.retain(|instance| {
            self.get(&instance.pattern)
                .is_some_and(|pattern| pattern.version == instance.version)
        });
        let after: usize = runs.instances.iter().map(|instance| instance.runs.len()).sum();
        if after != before {
            runs.prune();
        }
        before - after
    }
}

impl Program {
    fn of(pattern: Arc<Pattern>) -> Self {
        let steps = &pattern.when.steps;
        let mut sees = 0;
        let mut see_index = Vec::new();
        for step in steps {
            if matches!(step, Step::See(_)) {
                sees += 1;
            }
            see_index.push(usize::max(sees, 1) - 1);
        }
        let slots = pattern.when.slots.len();
        let mut live_slots = vec![vec![false; slots]; steps.len()];
        let mut live = vec![false; slots];
        for index in (0..steps.len()).rev() {
            mark(condition(&steps[index]), &mut live);
            live_slots[index].clone_from(&live);
            // A guard is judged while the `see` behind it is awaited, and the `see` before goes on being counted.
            let guard = steps[..index].last().filter(|step| matches!(step, Step::Guard(_)));
            let counted = steps[..index].iter().rev().find(|step| matches!(step, Step::See(_)));
            for step in guard.into_iter().chain(counted) {
                mark(condition(step), &mut live_slots[index]);
            }
        }
        Self {
            id: Arc::from(pattern.id.as_str()),
            see_index,
            live_slots,
            pattern,
        }
    }

    pub fn steps(&self) -> &[Step] {
        &self.pattern.when.steps
    }

    /// The step awaited after `step` is complete; guards are not awaited.
    pub fn next(&self, step: usize) -> Option<usize> {
        (step + 1..self.steps().len()).find(|index| !matches!(self.steps()[*index], Step::Guard(_)))
    }
}

fn condition(step: &Step) -> Option<&Expr> {
    match step {
        Step::See(see) => see.condition.as_ref(),
        Step::Guard(absent) | Step::Wait(absent, _) => absent.condition.as_ref(),
    }
}

fn mark(condition: Option<&Expr>, live: &mut [bool]) {
    if let Some(expr) = condition {
        expr.paths(&mut |path, _| {
            if matches!(path.root, Root::Captured(_)) {
                live[path.slot] = true;
            }
        });
    }
}

fn types(when: &When) -> BTreeSet<String> {
    let mut types: BTreeSet<String> = when.until.iter().cloned().collect();
    for step in &when.steps {
        match step {
            Step::See(see) => types.extend(see.types.iter().cloned()),
            Step::Guard(absent) | Step::Wait(absent, _) => types.extend(absent.types.iter().cloned()),
        }
    }
    types
}
