//! One event against one program: whether steps see it, and what is told of that.

use event::Attribute;

use crate::{
    Facts, Ignored, Note, Observer, Occurrence, Run, Subject, Value,
    catalogue::{Entry, NO_TEST, OWN_TEST, Program, TypeEntry},
    cel::{self, Code, Verdict, View},
};

/// What is known of the shared predicates of an event's type: a [`Verdict`] each, nothing while one was not evaluated. Each has a byte
/// of its own: two bits would do, and finding them in a word costs a sixth of a predicate.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    eights: Vec<[Option<Verdict>; 8]>,
}

impl Memo {
    /// Memory for so many predicates, none of which was evaluated.
    #[inline]
    fn begin(&mut self, predicates: usize) -> &mut [Option<Verdict>] {
        let eights = predicates.div_ceil(8);
        if self.eights.len() < eights {
            self.grow(eights);
        }
        let eights = &mut self.eights[..eights];
        if let [one] = eights {
            // Most types have few: without a call.
            *one = [None; 8];
        } else {
            eights.fill([None; 8]);
        }
        eights.as_flattened_mut()
    }

    #[cold]
    fn grow(&mut self, eights: usize) {
        self.eights.resize(eights, [None; 8]);
    }
}

/// An event before all programs that its type concerns.
pub(crate) struct Sight<'a> {
    pub of: &'a Occurrence<'a>,
    pub facts: &'a dyn Facts,
    pub found: &'a TypeEntry,
    view: View<'a>,
    /// What is known of the shared predicates: of none, until one is asked for.
    known: &'a mut [Option<Verdict>],
    memo: Option<&'a mut Memo>,
}

impl<'a> Sight<'a> {
    pub fn new(of: &'a Occurrence<'a>, facts: &'a dyn Facts, found: &'a TypeEntry, memo: &'a mut Memo) -> Self {
        Self {
            of,
            facts,
            found,
            view: View::new(of, facts),
            known: &mut [],
            memo: Some(memo),
        }
    }

    /// The verdict of a predicate that is not shared.
    pub fn own(&self, code: Option<&Code>, captured: &[Option<Attribute>]) -> Verdict {
        code.map_or(Verdict::Holds, |code| code.holds(&self.view, captured))
    }

    /// The verdict of a shared predicate, evaluated at its first use.
    #[inline]
    pub fn shared(&mut self, number: u16) -> Verdict {
        let number = usize::from(number);
        let Some(known) = self.known.get_mut(number) else {
            self.begin();
            return self.shared_of_begun(number);
        };
        match known {
            Some(verdict) => *verdict,
            None => *known.insert(evaluate(self.found, number, &self.view)),
        }
    }

    /// What all of them read is looked up before the first is evaluated.
    #[cold]
    #[inline(never)]
    fn begin(&mut self) {
        if let Some(memo) = self.memo.take() {
            self.known = memo.begin(self.found.shared.len());
            self.view.resolve(&self.found.fields);
        }
    }

    #[cold]
    #[inline(never)]
    fn shared_of_begun(&mut self, number: usize) -> Verdict {
        let verdict = evaluate(self.found, number, &self.view);
        self.known[number] = Some(verdict);
        verdict
    }
}

/// By itself, and with nothing to do behind it: what it calls returns for it.
#[inline(never)]
fn evaluate(found: &TypeEntry, number: usize, view: &View<'_>) -> Verdict {
    found.shared[number].holds(view, &[])
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
        let verdict = if test == OWN_TEST {
            self.sight.own(self.program.codes[step].as_ref(), captured)
        } else {
            self.sight.shared(test)
        };
        self.is_failed |= verdict.is_fault();
        verdict == Verdict::Holds
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
        Some(self.program.across[step].as_ref()?.read(self.of)?.unified())
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
        let verdict = self.sight.own(program.codes[step].as_ref(), captured);
        let ignored = match (condition, verdict) {
            (Some(condition), verdict) if verdict != Verdict::Holds => {
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
                    failed: verdict == Verdict::Failed,
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
