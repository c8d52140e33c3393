//! One event against one program: whether steps see it, and what is told of that.

use event::Attribute;

use crate::{
    Facts, Ignored, Note, Observer, Occurrence, Run, Subject, Value,
    catalogue::{Entry, NO_TEST, OWN_TEST, Program, TypeEntry},
    cel::{self, Code, Verdict, View},
};

/// What is known of the shared predicates of an event's type: a bitset of two bits each, zero while one was not evaluated, else of its
/// [`Verdict`].
#[derive(Debug, Default)]
pub(crate) struct Memo {
    words: Vec<u64>,
}

/// How many predicates a word holds.
const IN_WORD: usize = 32;

impl Memo {
    /// Memory for so many predicates, none of which was evaluated.
    #[inline]
    fn begin(&mut self, predicates: usize) -> &mut [u64] {
        let words = predicates.div_ceil(IN_WORD);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        let words = &mut self.words[..words];
        if let [one] = words {
            // Most types have few: without a call.
            *one = 0;
        } else {
            words.fill(0);
        }
        words
    }

    /// Where the bits of a predicate lie: the word, and how far they are shifted in it.
    #[inline(always)]
    const fn place(number: u16) -> (usize, u32) {
        (number as usize / IN_WORD, number as u32 % IN_WORD as u32 * 2)
    }
}

/// An event before all programs that its type concerns.
pub(crate) struct Sight<'a> {
    pub of: &'a Occurrence<'a>,
    pub facts: &'a dyn Facts,
    pub found: &'a TypeEntry,
    /// What is known of the shared predicates.
    words: &'a mut [u64],
    view: View<'a>,
    /// Whether the fields were looked up that the predicates read: once one is asked for.
    is_resolved: bool,
}

impl<'a> Sight<'a> {
    pub fn new(of: &'a Occurrence<'a>, facts: &'a dyn Facts, found: &'a TypeEntry, memo: &'a mut Memo) -> Self {
        Self {
            of,
            facts,
            found,
            words: memo.begin(found.shared.len()),
            view: View::new(of, facts),
            is_resolved: false,
        }
    }

    /// The verdict of a predicate that is not shared.
    pub fn own(&self, code: Option<&Code>, captured: &[Option<Attribute>]) -> Verdict {
        code.map_or(Verdict::HOLDS, |code| code.holds(&self.view, captured))
    }

    /// The verdict of a shared predicate, evaluated at its first use.
    #[inline]
    pub fn shared(&mut self, number: u16) -> Verdict {
        let (word, shift) = Memo::place(number);
        match Verdict::of_bits(self.words[word] >> shift) {
            Some(verdict) => verdict,
            None => self.evaluate(number),
        }
    }

    #[inline(never)]
    fn evaluate(&mut self, number: u16) -> Verdict {
        if !self.is_resolved {
            self.resolve();
        }
        let verdict = self.found.shared[usize::from(number)].holds(&self.view, &[]);
        let (word, shift) = Memo::place(number);
        self.words[word] |= verdict.bits() << shift;
        verdict
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
        let verdict = if test == OWN_TEST {
            self.sight.own(self.program.codes[step].as_ref(), captured)
        } else {
            self.sight.shared(test)
        };
        self.is_failed |= verdict.is_fault();
        verdict == Verdict::HOLDS
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
            (Some(condition), verdict) if verdict != Verdict::HOLDS => {
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
                    failed: verdict == Verdict::FAILED,
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
