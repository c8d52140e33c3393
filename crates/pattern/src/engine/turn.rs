//! One event against one program: whether steps see it, and what is told of that.

use event::Attribute;

use crate::{
    Facts, Ignored, Note, Observer, Occurrence, Run, Subject, Value,
    catalogue::{Entry, NO_TEST, OWN_TEST, Program, TypeEntry},
    cel::{self, Code, Fault, View},
};

/// What is known of the shared predicates of an event's type.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    words: Vec<Word>,
}

/// Of 64 predicates, a bit each: which were evaluated, which hold, which had no result.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    known: u64,
    holds: u64,
    failed: u64,
}

impl Memo {
    #[inline]
    fn begin(&mut self, predicates: usize) {
        self.words.clear();
        self.words.resize(predicates.div_ceil(64), Word::default());
    }
}

/// An event before all programs that its type concerns.
pub(crate) struct Sight<'a> {
    pub of: &'a Occurrence<'a>,
    pub facts: &'a dyn Facts,
    pub found: &'a TypeEntry,
    memo: &'a mut Memo,
    view: View<'a>,
    /// Whether the fields were looked up that the predicates read: once one is asked for.
    is_resolved: bool,
}

impl<'a> Sight<'a> {
    pub fn new(of: &'a Occurrence<'a>, facts: &'a dyn Facts, found: &'a TypeEntry, memo: &'a mut Memo) -> Self {
        memo.begin(found.shared.len());
        Self {
            of,
            facts,
            found,
            memo,
            view: View::new(of, facts),
            is_resolved: false,
        }
    }

    /// The result of a predicate that is not shared.
    pub fn own(&self, code: Option<&Code>, captured: &[Option<Attribute>]) -> Result<bool, Fault> {
        code.map_or(Ok(true), |code| code.holds(&self.view, captured))
    }

    /// The result of a shared predicate, evaluated at its first use.
    #[inline]
    pub fn shared(&mut self, number: u16) -> Result<bool, Fault> {
        let bit = 1u64 << (number % 64);
        let word = self.memo.words[usize::from(number / 64)];
        if word.known & bit == 0 {
            return self.evaluate(number);
        }
        if word.failed & bit != 0 {
            return Err(Fault::Failed);
        }
        Ok(word.holds & bit != 0)
    }

    fn evaluate(&mut self, number: u16) -> Result<bool, Fault> {
        if !self.is_resolved {
            self.resolve();
        }
        let result = self.found.shared[usize::from(number)].holds(&self.view, &[]);
        let bit = 1u64 << (number % 64);
        let word = &mut self.memo.words[usize::from(number / 64)];
        word.known |= bit;
        match result {
            Ok(true) => word.holds |= bit,
            Ok(false) => {}
            Err(_) => word.failed |= bit,
        }
        result
    }

    /// By itself, so that predicates do not carry its registers.
    #[inline(never)]
    fn resolve(&mut self) {
        self.is_resolved = true;
        self.view.resolve(&self.found.fields);
    }
}

pub(super) struct Turn<'t, 'a, O> {
    pub program: &'t Program,
    pub entry: &'t Entry,
    pub of: &'t Occurrence<'t>,
    pub sight: &'t mut Sight<'a>,
    /// Runs that the event made.
    pub fresh: &'t mut Vec<Run>,
    pub spare: &'t mut Vec<Run>,
    pub observer: &'t mut O,
    /// Whether the event is evidence of something now.
    pub is_used: bool,
    /// Whether a predicate failed.
    pub is_failed: bool,
}

impl<O: Observer> Turn<'_, '_, O> {
    /// Whether a step's `where` holds; the step lists the event's type.
    #[inline]
    pub fn holds(&mut self, step: usize, captured: &[Option<Attribute>]) -> bool {
        let test = self.entry.tests[step];
        if test == NO_TEST {
            return true;
        }
        let result = if test == OWN_TEST {
            self.sight.own(self.program.codes[step].as_ref(), captured)
        } else {
            self.sight.shared(test)
        };
        self.is_failed |= result.is_err();
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
        let condition = program.steps()[step].condition();
        let result = self.sight.own(program.codes[step].as_ref(), captured);
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
                        reads.push((shown, cel::read(path, &self.sight.view, captured)));
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
