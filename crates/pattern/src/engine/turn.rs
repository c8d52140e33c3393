//! One event against one program: whether steps see it, and what is told of that.

use event::Attribute;

use crate::{
    Facts, Ignored, Note, Observer, Occurrence, Run, Subject, Value,
    catalogue::{Entry, NO_TEST, OWN_TEST, Program},
    cel::{self, Code, Fault, View},
};

/// What is known of the shared predicates of an event's type, a bit each.
#[derive(Debug, Default)]
pub(super) struct Memo {
    known: Vec<u64>,
    holds: Vec<u64>,
    failed: Vec<u64>,
}

impl Memo {
    pub fn begin(&mut self, predicates: usize) {
        let words = predicates.div_ceil(64);
        self.known.clear();
        self.known.resize(words, 0);
        self.holds.resize(words, 0);
        self.failed.resize(words, 0);
    }

    /// The result of a predicate, evaluated at its first use.
    #[inline]
    fn get(&mut self, number: u16, evaluate: impl FnOnce() -> Result<bool, Fault>) -> Result<bool, Fault> {
        let (word, bit) = (usize::from(number / 64), 1u64 << (number % 64));
        if self.known[word] & bit == 0 {
            let result = evaluate();
            self.known[word] |= bit;
            let set = |bits: &mut u64, is_set: bool| *bits = if is_set { *bits | bit } else { *bits & !bit };
            set(&mut self.holds[word], result == Ok(true));
            set(&mut self.failed[word], result == Err(Fault::Failed));
            return result;
        }
        if self.failed[word] & bit != 0 {
            return Err(Fault::Failed);
        }
        Ok(self.holds[word] & bit != 0)
    }
}

pub(super) struct Turn<'a, O> {
    pub program: &'a Program,
    pub entry: &'a Entry,
    pub shared: &'a [Code],
    pub of: &'a Occurrence<'a>,
    pub facts: &'a dyn Facts,
    pub memo: &'a mut Memo,
    /// Runs that the event made.
    pub fresh: &'a mut Vec<Run>,
    pub spare: &'a mut Vec<Run>,
    pub observer: &'a mut O,
    /// Whether the event is evidence of something now.
    pub is_used: bool,
    /// Whether a predicate failed.
    pub is_failed: bool,
}

impl<O: Observer> Turn<'_, O> {
    /// Whether a step's `where` holds; the step lists the event's type.
    #[inline]
    pub fn holds(&mut self, step: usize, captured: &[Option<Attribute>]) -> bool {
        let test = self.entry.tests[step];
        if test == NO_TEST {
            return true;
        }
        let view = View {
            of: self.of,
            captured,
            facts: self.facts,
        };
        let result = if test == OWN_TEST {
            let code = self.program.codes[step].as_ref();
            code.map_or(Ok(true), |code| code.holds(&view))
        } else {
            let shared = &self.shared[usize::from(test)];
            self.memo.get(test, || shared.holds(&view))
        };
        self.is_failed |= result == Err(Fault::Failed);
        result == Ok(true)
    }

    /// Whether the event matches a `see` step.
    #[inline]
    pub fn sees(&mut self, step: usize, captured: &[Option<Attribute>]) -> bool {
        self.entry.sees & (1 << step) != 0
            && self.holds(step, captured)
            && (self.program.at_least[step] == 0 || self.value(step).is_some())
    }

    /// Whether the event breaks an absence.
    #[inline]
    pub fn breaks(&mut self, step: usize, captured: &[Option<Attribute>]) -> bool {
        self.entry.absents & (1 << step) != 0 && self.holds(step, captured)
    }

    /// The value that `across` counts.
    pub fn value(&self, step: usize) -> Option<Value<'_>> {
        self.program.across[step].as_ref()?.read(self.of)
    }

    pub fn tell(&mut self, by: &[Attribute], note: &Note<'_>) {
        if O::ACTIVE {
            let subject = Subject {
                pattern: &self.program.pattern,
                by,
                at: self.of.at,
            };
            self.observer.note(&subject, note);
        }
    }

    /// Says why a `see` step that lists the event's type does not see it.
    pub fn tell_unseen(&mut self, by: &[Attribute], step: usize, captured: &[Option<Attribute>]) {
        let program = self.program;
        let view = View {
            of: self.of,
            captured,
            facts: self.facts,
        };
        let condition = program.steps()[step].condition();
        let code = program.codes[step].as_ref();
        let result = code.map_or(Ok(true), |code| code.holds(&view));
        let ignored = match (condition, result) {
            (Some(condition), Ok(false) | Err(_)) => {
                let mut reads: Vec<(String, Option<Attribute>)> = Vec::new();
                condition.expr.paths(&mut |path, _| {
                    let root = match path.root {
                        cel::Root::Event => "event",
                        cel::Root::Journey => "journey",
                        cel::Root::Profile => "profile",
                        cel::Root::Captured(_) => "captured",
                    };
                    let shown = format!("{root}.{}", path.field);
                    if !reads.iter().any(|(known, _)| *known == shown) {
                        reads.push((shown, cel::read(path, &view)));
                    }
                });
                Ignored::Where {
                    step,
                    text: &condition.text,
                    reads,
                    failed: result == Err(Fault::Failed),
                }
            }
            _ => match &program.across[step] {
                Some(field) if self.value(step).is_none() => Ignored::Across {
                    step,
                    field: field.name(),
                },
                _ => return,
            },
        };
        self.tell(by, &Note::Ignored(ignored));
    }
}
