//! Liveness, readiness and start, from the workers' signs of life.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use event::Millis;

use super::{Heart, Telemetry};

/// A worker that has not turned for this long, in milliseconds, hangs.
const HANGS: i64 = 30_000;

/// One worker, and why it fails the question; `None` passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Service and worker, or the service alone before it has workers.
    pub name: String,
    /// Why not.
    pub reason: Option<&'static str>,
}

impl Telemetry {
    fn hearts(&self) -> Vec<Arc<Heart>> {
        self.shared
            .hearts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn checks(&self, reason: impl Fn(&Heart) -> Option<&'static str>, without: Option<&'static str>) -> Vec<Check> {
        let hearts = self.hearts();
        let mut checks = Vec::new();
        for service in &self.shared.services {
            let mut workers = hearts.iter().filter(|heart| heart.service == *service).peekable();
            if workers.peek().is_none() {
                checks.push(Check {
                    name: (*service).to_owned(),
                    reason: without,
                });
            }
            checks.extend(workers.map(|heart| Check {
                name: heart.name.clone(),
                reason: reason(heart),
            }));
        }
        checks
    }

    /// Whether every worker's loop turns. Asks nobody outside.
    #[must_use]
    pub fn live(&self, now: Millis) -> Vec<Check> {
        let hangs = |heart: &Heart| {
            let turned = Millis(heart.turned.load(Ordering::Relaxed));
            let halted = heart.halted.load(Ordering::Relaxed);
            (!halted && now.since(turned) > HANGS).then_some("worker has not turned for 30 s")
        };
        self.checks(hangs, None)
    }

    /// Whether every worker does its work.
    #[must_use]
    pub fn ready(&self) -> Vec<Check> {
        let not = |heart: &Heart| {
            if heart.halted.load(Ordering::Relaxed) {
                Some("halted: keep the disk")
            } else if heart.restoring.load(Ordering::Relaxed) {
                Some("state is being restored")
            } else if !heart.started.load(Ordering::Relaxed) {
                Some("not joined yet")
            } else {
                None
            }
        };
        self.checks(not, Some("not started yet"))
    }

    /// Whether every worker has joined and restored its first assignment.
    #[must_use]
    pub fn started(&self) -> Vec<Check> {
        let not = |heart: &Heart| (!heart.started.load(Ordering::Relaxed)).then_some("not joined yet");
        self.checks(not, Some("not started yet"))
    }
}
