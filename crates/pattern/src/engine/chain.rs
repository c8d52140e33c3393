//! Chains: an event begins a run, moves the run that awaits its step, or completes a match. Each is one line of memory.
//!
//! The meaning is that of [`super::sequence`], which steps the same patterns where somebody watches.

use super::{
    Stepped,
    matched::{Complete, Indexes},
    turn::Sight,
};
use crate::{
    Catalogue, Runs,
    catalogue::{Move, NO_TEST, OWN_TEST, UNTIL},
    cel::Verdict,
    runs::{Link, key, widened},
};

/// No program has this number.
const NONE: u32 = u32::MAX;

impl Catalogue {
    /// Steps all chains that see the event; whether it was kept.
    pub(super) fn step_chains(&self, runs: &mut Runs, sight: &mut Sight<'_>, out: &mut Stepped) -> bool {
        let of = sight.of;
        runs.newest = runs.newest.max(of.index);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let low = of.index as u32;
        let (mut finished, mut failed) = (NONE, NONE);
        let mut is_kept = false;
        let moves = &sight.found.moves;
        if moves.len() > 1 {
            let awaited = |step: &Move| key(step.program, step.step.clamp(1, 7));
            runs.chains.fetch(moves.iter().map(awaited));
        }
        for step in moves {
            if step.program == finished {
                continue;
            }
            if step.step == 0 {
                if !self.holds(step, sight, &mut failed, out) {
                    continue;
                }
                let key = key(step.program, 1);
                match runs.chains.find(key) {
                    Some(place) => runs.chains.restart(place, of.at, low, step.within),
                    None => runs.chains.insert(Link::begun(key, of.at, low)),
                }
                if !is_kept {
                    is_kept = true;
                    self.keep(of, &mut runs.events);
                }
                continue;
            }
            if step.step == UNTIL {
                runs.chains.remove_all(step.program, step.length);
                continue;
            }
            let Some(place) = runs.chains.find(key(step.program, step.step)) else {
                continue;
            };
            let link = runs.chains.link(place);
            let span = of.at.since(link.start);
            if span > step.within {
                continue;
            }
            let is_timely = span - i64::from(link.done) <= step.step_within;
            if !self.holds(step, sight, &mut failed, out) {
                continue;
            }
            let number = usize::from(step.step);
            if is_timely {
                if !is_kept {
                    is_kept = true;
                    self.keep(of, &mut runs.events);
                }
                let mut link = runs.chains.moved(place, of.at, span, step.within);
                if step.step + 1 == step.length {
                    let evidence = link.evidence[..number].iter().map(|low| widened(*low, of.index));
                    let evidence: Indexes = evidence.chain([of.index]).collect();
                    let complete = Complete {
                        program: &self.programs[step.program as usize],
                        start: link.start,
                        done: of.at,
                        counts: link.counts.map(u32::from),
                        by: &[],
                    };
                    let matched = complete.matched(&evidence, &runs.events, of.at, sight.facts);
                    out.matches.push(matched);
                    runs.chains.remove_all(step.program, step.length);
                    finished = step.program;
                    continue;
                }
                link.evidence[number] = low;
                runs.chains.overwrite(link);
            } else if let Some(next) = runs.chains.find(key(step.program, step.step + 1)) {
                // Too late for this run, it is one more between the two steps for the next one.
                let counts = &mut runs.chains.link_mut(next).counts;
                counts[number] = counts[number].saturating_add(1);
            }
            let counts = &mut runs.chains.link_mut(place).counts;
            counts[number] = counts[number].saturating_add(1);
        }
        is_kept
    }

    #[inline]
    fn holds(&self, step: &Move, sight: &mut Sight<'_>, failed: &mut u32, out: &mut Stepped) -> bool {
        if step.test == NO_TEST {
            return true;
        }
        let program = || &self.programs[step.program as usize];
        let verdict = if step.test == OWN_TEST {
            sight.own(program().codes[usize::from(step.step)].as_ref(), &[])
        } else {
            sight.shared(step.test)
        };
        if verdict.is_fault() && *failed != step.program {
            *failed = step.program;
            out.failed.push(program().id.clone());
        }
        verdict == Verdict::Holds
    }
}
