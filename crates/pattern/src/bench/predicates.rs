//! Distinct predicates over one event, made ready to run as an engine holds them.

use event::{Event, Millis};

use crate::{
    NoFacts, Occurrence,
    cel::{self, Code, View},
};

/// Predicates of one event type, and an event for them.
#[derive(Debug)]
pub struct Predicates {
    codes: Vec<Code>,
    event: Event,
}

impl Predicates {
    /// Compiles predicates over `event.*`, each of them once.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn new(conditions: &[String], event: Event) -> Result<Self, String> {
        let mut codes = Vec::new();
        for condition in conditions {
            let checked = cel::parse(condition, &[]).and_then(|expr| cel::check(&expr).map(|()| expr));
            let code = Code::of(&checked.map_err(|flaw| flaw.message)?);
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        Ok(Self { codes, event })
    }

    /// How many distinct ones there are.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.codes.len()
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
        let view = View {
            of: &of,
            captured: &[],
            facts: &NoFacts,
        };
        self.codes.iter().filter(|code| code.holds(&view) == Ok(true)).count()
    }
}
