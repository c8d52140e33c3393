//! Distinct predicates over one event, evaluated as the engine evaluates them: each once, fields looked up once.

use event::{Event, Millis};

use crate::{
    NoFacts, Occurrence,
    catalogue::TypeEntry,
    cel::{self, Code, Verdict},
    engine::{Memo, Sight},
};

/// Predicates of one event type, and an event for them.
#[derive(Debug)]
pub struct Predicates {
    found: TypeEntry,
    event: Event,
    memo: Memo,
}

impl Predicates {
    /// Compiles predicates over `event.*`, each of them once.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn new(conditions: &[String], event: Event) -> Result<Self, String> {
        let mut found = TypeEntry::default();
        for condition in conditions {
            let checked =
                cel::parse(condition, &[]).and_then(|expr| cel::check(&expr, cel::Scope::default()).map(|()| expr));
            let code = Code::of(&checked.map_err(|flaw| flaw.message)?);
            if !found.shared.contains(&code) {
                found.shared.push(code);
            }
        }
        found.finish(&[]);
        Ok(Self {
            found,
            event,
            memo: Memo::default(),
        })
    }

    /// How many distinct ones there are.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.found.shared.len()
    }

    /// Evaluates each for the event; how many hold.
    pub fn evaluate(&mut self) -> usize {
        let of = Occurrence {
            event: &self.event,
            kind: &self.event.kind,
            extra: &[],
            at: Millis(0),
            index: 0,
            position: "",
        };
        let mut sight = Sight::new(&of, &NoFacts, &self.found, &mut self.memo);
        let numbers = 0..u16::try_from(self.found.shared.len()).unwrap_or(u16::MAX);
        let holds = |number: u16| sight.shared(number) == Verdict::HOLDS;
        numbers.map(holds).map(usize::from).sum()
    }
}
