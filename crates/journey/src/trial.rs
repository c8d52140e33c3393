//! The tests of a pattern file, with a journey folded as it is live.

use event::{Event, EventRef, Millis};
use pattern::{Facts, Known, Pattern, TestResult, Value, run_tests_knowing};

use crate::{Journey, fold};

/// Runs every test of a pattern. Profile and journey already include an event when it is matched; what a test gives is how they stand before
/// the first one.
#[must_use]
pub fn run_tests(pattern: &Pattern) -> Vec<TestResult> {
    run_tests_knowing(pattern, &|| Box::new(Folded::default()))
}

/// A customer of a test.
#[derive(Default)]
struct Folded(Journey);

impl Facts for Folded {
    fn profile(&self, path: &str) -> Option<Value<'_>> {
        Facts::profile(&self.0, path)
    }

    fn journey(&self, path: &str) -> Option<Value<'_>> {
        Facts::journey(&self.0, path)
    }
}

impl Known for Folded {
    fn take(&mut self, event: &Event, at: Millis) {
        self.passes(at);
        let reference = EventRef {
            id: event.id.clone(),
            source: event.source.clone(),
            kind: event.kind.clone(),
            time: event.time,
            position: "test/0/0".to_owned(),
        };
        fold::fold(&mut self.0, event, &reference, at, "test");
    }

    fn passes(&mut self, at: Millis) {
        fold::overdue(&mut self.0, at);
    }
}
