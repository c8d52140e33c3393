//! How often each construct of the language was tried, and how often something was found where it was.

use std::fmt;

use crate::{
    case::{Case, Comparison, Description, During, Key, Moment, Operand, Sent, Test, What},
    definition::Found,
};

/// A construct, and whether a case has it.
type Construct = (&'static str, fn(&Case) -> bool);

fn described(case: &Case, test: impl Fn(&Description) -> bool) -> bool {
    case.patterns
        .iter()
        .chain(case.newer.iter().map(|newer| &newer.1))
        .any(test)
}

fn any_step(case: &Case, test: impl Fn(&Description, usize) -> bool) -> bool {
    described(case, |of| (0..of.steps.len()).any(|step| test(of, step)))
}

/// Whether some event has this value in a field that joins or is counted.
fn sends(case: &Case, key: Key, value: Sent) -> bool {
    case.moments.iter().any(|moment| match (moment, key) {
        (Moment::Event(of), Key::K) => of.k == Some(value),
        (Moment::Event(of), Key::Y) => of.y == Some(value),
        _ => false,
    })
}

fn reads(case: &Case, test: impl Fn(Operand) -> bool) -> bool {
    any_step(case, |of, step| {
        let mut found = false;
        if let Some(condition) = &of.steps[step].condition {
            condition.operands(&mut |operand| found |= test(operand));
        }
        found
    })
}

fn any_test(case: &Case, test: &dyn Fn(&Test) -> bool) -> bool {
    fn within(of: &Test, test: &dyn Fn(&Test) -> bool) -> bool {
        test(of)
            || match of {
                Test::Not(inner) => within(inner, test),
                Test::And(left, right) | Test::Or(left, right) => within(left, test) || within(right, test),
                _ => false,
            }
    }
    any_step(case, |of, step| {
        of.steps[step]
            .condition
            .as_ref()
            .is_some_and(|condition| within(condition, test))
    })
}

fn events(case: &Case) -> usize {
    case.moments
        .iter()
        .filter(|moment| !matches!(moment, Moment::Clock(_)))
        .count()
}

/// Customer times that are less than an earlier one or than the clock, by type of moment.
fn is_late(case: &Case) -> bool {
    let mut latest = i64::MIN;
    case.moments.iter().any(|moment| match moment {
        Moment::Event(of) => {
            let late = of.at < latest;
            latest = latest.max(of.at);
            late
        }
        Moment::Clock(to) => {
            latest = latest.max(*to);
            false
        }
        Moment::Derived { .. } => false,
    })
}

/// Whether an event comes while the clock is behind it.
fn is_held_back(case: &Case) -> bool {
    let mut clock = i64::MIN;
    case.moments.iter().any(|moment| match moment {
        Moment::Event(of) => of.at > clock,
        Moment::Clock(to) => {
            clock = clock.max(*to);
            false
        }
        Moment::Derived { .. } => false,
    })
}

fn equal_times(case: &Case) -> bool {
    let times: Vec<i64> = case
        .moments
        .iter()
        .filter_map(|moment| match moment {
            Moment::Event(of) => Some(of.at),
            _ => None,
        })
        .collect();
    times.windows(2).any(|pair| pair[0] == pair[1])
}

fn is_sequence_step(case: &Case, test: impl Fn(What) -> bool) -> bool {
    any_step(case, |of, step| !of.any_order && test(of.steps[step].what))
}

fn is_member(case: &Case, test: impl Fn(What) -> bool) -> bool {
    any_step(case, |of, step| of.any_order && test(of.steps[step].what))
}

const CONSTRUCTS: [Construct; 56] = [
    ("sequence", |case| described(case, |of| !of.any_order)),
    ("all", |case| described(case, |of| of.any_order)),
    ("chain of single events", |case| {
        let single = |what: What| {
            matches!(
                what,
                What::See {
                    times: 1,
                    across: None,
                    ..
                }
            )
        };
        described(case, |of| {
            !of.any_order && of.steps.len() > 1 && of.steps.iter().all(|step| single(step.what)) && of.by.is_empty()
        })
    }),
    ("5 to 8 steps", |case| described(case, |of| of.steps.len() > 4)),
    ("several types in a see", |case| {
        any_step(case, |of, step| {
            of.steps[step].is_see() && of.steps[step].types.len() > 1
        })
    }),
    ("several types in an absent", |case| {
        any_step(case, |of, step| {
            !of.steps[step].is_see() && of.steps[step].types.len() > 1
        })
    }),
    ("times in a sequence", |case| {
        is_sequence_step(case, |what| matches!(what, What::See { times: 2.., .. }))
    }),
    ("times in an all", |case| {
        is_member(case, |what| matches!(what, What::See { times: 2.., .. }))
    }),
    ("times behind the first step", |case| {
        any_step(case, |of, step| !of.any_order && step > 0 && of.steps[step].times() > 1)
    }),
    ("across in a sequence", |case| {
        is_sequence_step(case, |what| matches!(what, What::See { across: Some(_), .. }))
    }),
    ("across in an all", |case| {
        is_member(case, |what| matches!(what, What::See { across: Some(_), .. }))
    }),
    ("across a field of the envelope", |case| {
        any_step(case, |of, step| {
            of.steps[step].across().is_some_and(|(key, _)| key == Key::Session)
        })
    }),
    ("times more than at_least", |case| {
        any_step(case, |of, step| {
            of.steps[step]
                .across()
                .is_some_and(|(_, least)| least < of.steps[step].times())
        })
    }),
    ("within of a step", |case| {
        is_sequence_step(case, |what| matches!(what, What::See { within: Some(_), .. }))
    }),
    ("within and times of one step", |case| {
        is_sequence_step(case, |what| {
            matches!(
                what,
                What::See {
                    within: Some(_),
                    times: 2..,
                    ..
                }
            )
        })
    }),
    ("absent before a see", |case| {
        is_sequence_step(case, |what| what == What::Guard)
    }),
    ("absent before a see with times", |case| {
        any_step(case, |of, step| {
            !of.any_order
                && of.steps[step].what == What::Guard
                && of.steps.get(step + 1).is_some_and(|next| next.times() > 1)
        })
    }),
    ("absent and see of one type, in a row", |case| {
        any_step(case, |of, step| {
            let next = of
                .steps
                .get(step + 1)
                .filter(|_| !of.any_order && of.steps[step].what == What::Guard);
            next.is_some_and(|next| next.types.iter().any(|kind| of.steps[step].types.contains(kind)))
        })
    }),
    ("absent for a time, last", |case| {
        described(case, |of| {
            !of.any_order && of.steps.last().is_some_and(|step| matches!(step.what, What::Wait(_)))
        })
    }),
    ("absent for a time, before a see", |case| {
        any_step(case, |of, step| {
            let is_wait = matches!(of.steps[step].what, What::Wait(_));
            !of.any_order && is_wait && of.steps.get(step + 1).is_some_and(|next| next.is_see())
        })
    }),
    ("two waits in a row", |case| {
        any_step(case, |of, step| {
            let is_wait = |step: usize| matches!(of.steps.get(step).map(|step| step.what), Some(What::Wait(_)));
            !of.any_order && is_wait(step) && is_wait(step + 1)
        })
    }),
    ("absent in an all", |case| is_member(case, |what| what == What::Guard)),
    ("absent for a time in an all", |case| {
        is_member(case, |what| matches!(what, What::Wait(_)))
    }),
    ("several absents in an all", |case| {
        described(case, |of| {
            of.any_order && of.steps.iter().filter(|step| !step.is_see()).count() > 1
        })
    }),
    ("members that share a type", |case| {
        any_step(case, |of, step| {
            let own = &of.steps[step];
            let others = of.steps.iter().enumerate().filter(|(other, _)| *other != step);
            let mut others = others.filter(|(_, other)| other.is_see());
            of.any_order
                && own.is_see()
                && others.any(|(_, other)| other.types.iter().any(|kind| own.types.contains(kind)))
        })
    }),
    ("where in a see", |case| {
        any_step(case, |of, step| {
            of.steps[step].is_see() && of.steps[step].condition.is_some()
        })
    }),
    ("where in an absent", |case| {
        any_step(case, |of, step| {
            !of.steps[step].is_see() && of.steps[step].condition.is_some()
        })
    }),
    ("where over a captured name", |case| {
        reads(case, |operand| matches!(operand, Operand::Captured(..)))
    }),
    ("an absent over a captured name", |case| {
        any_step(case, |of, step| {
            let step = &of.steps[step];
            !step.is_see() && step.condition.as_ref().is_some_and(|test| test.captures(None))
        })
    }),
    ("captured of a step with times", |case| {
        described(case, |of| {
            of.sees().enumerate().any(|(see, step)| {
                let is_read = |other: &Test| other.captures(Some(see));
                step.times() > 1
                    && of
                        .steps
                        .iter()
                        .any(|other| other.condition.as_ref().is_some_and(is_read))
            })
        })
    }),
    ("where over profile", |case| {
        reads(case, |operand| operand == Operand::Profile)
    }),
    ("where over journey", |case| {
        reads(case, |operand| operand == Operand::Journey)
    }),
    ("where with arithmetic", |case| {
        reads(case, |operand| operand == Operand::Quotient)
    }),
    ("where with has", |case| {
        any_test(case, &|test| matches!(test, Test::Has(_)))
    }),
    ("where with ! && ||", |case| {
        any_test(case, &|test| {
            matches!(test, Test::Not(_) | Test::And(..) | Test::Or(..))
        })
    }),
    ("where with < or >=", |case| {
        any_test(case, &|test| {
            matches!(test, Test::Compare(Comparison::Less | Comparison::AtLeast, ..))
        })
    }),
    ("where over event.type", |case| {
        any_test(case, &|test| matches!(test, Test::Is(_)))
    }),
    ("by one field", |case| described(case, |of| of.by.len() == 1)),
    ("by two fields", |case| described(case, |of| of.by.len() == 2)),
    ("by-values 1 and '1'", |case| {
        described(case, |of| of.by.contains(&Key::K))
            && sends(case, Key::K, Sent::Long(1))
            && sends(case, Key::K, Sent::Text("1"))
    }),
    ("by-values 1 and 1.0", |case| {
        described(case, |of| of.by.contains(&Key::K))
            && sends(case, Key::K, Sent::Long(1))
            && sends(case, Key::K, Sent::Halves(2))
    }),
    ("across over 1 and 1.0", |case| {
        any_step(case, |of, step| {
            of.steps[step].across().is_some_and(|(key, _)| key == Key::Y)
        }) && sends(case, Key::Y, Sent::Long(1))
            && sends(case, Key::Y, Sent::Halves(2))
    }),
    ("until", |case| described(case, |of| !of.until.is_empty())),
    ("until of a type that is seen", |case| {
        any_step(case, |of, step| {
            of.steps[step].is_see() && of.steps[step].types.iter().any(|kind| of.until.contains(kind))
        })
    }),
    ("during before a date", |case| {
        described(case, |of| matches!(of.during, Some(During { before: true, .. })))
    }),
    ("during after a date", |case| {
        described(case, |of| matches!(of.during, Some(During { before: false, .. })))
    }),
    ("several patterns", |case| case.patterns.len() > 1),
    ("a newer version", |case| case.newer.is_some()),
    ("low caps", |case| case.caps.is_some()),
    ("derived events", |case| {
        case.moments
            .iter()
            .any(|moment| matches!(moment, Moment::Derived { .. }))
    }),
    ("more than 64 events", |case| events(case) > 64),
    ("late events", is_late),
    ("a clock that is held back", is_held_back),
    ("equal times", equal_times),
    ("13 to 64 events", |case| (13..=64).contains(&events(case))),
    ("no clock behind the last event", |case| {
        !matches!(case.moments.last(), Some(Moment::Clock(_)))
    }),
];

/// Counts of cases.
pub struct Tally {
    cases: u64,
    matched: u64,
    matches: u64,
    /// Matches of the older version behind the change.
    older: u64,
    /// Counts beyond `times`.
    counted: u64,
    /// Per construct: cases that have it, and those of them with a match.
    constructs: [[u64; 2]; CONSTRUCTS.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            cases: 0,
            matched: 0,
            matches: 0,
            older: 0,
            counted: 0,
            constructs: [[0; 2]; CONSTRUCTS.len()],
        }
    }
}

impl Tally {
    pub fn add(&mut self, case: &Case, found: &[Found]) {
        self.cases += 1;
        self.matched += u64::from(!found.is_empty());
        self.matches += found.len() as u64;
        if let Some((from, _)) = case.newer {
            let older = |found: &&Found| found.pattern == 0 && found.version == 1 && found.moment >= from;
            self.older += u64::from(found.iter().any(|found| older(&found)));
        }
        let counted = |found: &Found| {
            let own = found.counts.iter().zip(&found.evidence);
            own.clone()
                .any(|(count, group)| usize::try_from(*count).is_ok_and(|count| count > group.len()))
        };
        self.counted += u64::from(found.iter().any(counted));
        for (place, (_, has)) in CONSTRUCTS.iter().enumerate() {
            if has(case) {
                self.constructs[place][0] += 1;
                self.constructs[place][1] += u64::from(!found.is_empty());
            }
        }
    }

    pub fn join(&mut self, other: &Self) {
        self.cases += other.cases;
        self.matched += other.matched;
        self.matches += other.matches;
        self.older += other.older;
        self.counted += other.counted;
        for (mine, theirs) in self.constructs.iter_mut().zip(other.constructs) {
            mine[0] += theirs[0];
            mine[1] += theirs[1];
        }
    }

    /// Random cases that never match would show nothing, nor would a construct that is never tried.
    pub fn check(&self) {
        assert!(self.matched * 10 > self.cases * 3, "{self}");
        if self.cases >= 10_000 {
            for (place, (name, _)) in CONSTRUCTS.iter().enumerate() {
                let [tried, found] = self.constructs[place];
                assert!(
                    tried * 200 > self.cases && found * 1000 > self.cases,
                    "too rare: {name}\n{self}"
                );
            }
            assert!(
                self.older * 1000 > self.cases && self.counted * 20 > self.cases,
                "{self}"
            );
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "shares are shown")]
        let share = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
        writeln!(
            out,
            "{} cases, {:.1} % with a match, {} matches; an older version finishes in {:.2} %, more than `times` counted in {:.1} %",
            self.cases,
            share(self.matched, self.cases),
            self.matches,
            share(self.older, self.cases),
            share(self.counted, self.cases)
        )?;
        writeln!(out, "{:>40}  in % of cases   of these with a match", "")?;
        for (place, (name, _)) in CONSTRUCTS.iter().enumerate() {
            let [tried, found] = self.constructs[place];
            writeln!(
                out,
                "{name:>40}  {:>13.2}   {:>20.1}",
                share(tried, self.cases),
                share(found, tried)
            )?;
        }
        Ok(())
    }
}
