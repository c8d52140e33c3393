//! Making a case that fails simpler, for as long as it fails.

use crate::case::{Case, Description, Moment, Step, Test, What};

/// The simplest case that still fails, found by one change after the other.
pub fn shrunk(mut case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    'simpler: loop {
        for simpler in simpler(&case) {
            if fails(&simpler) {
                case = simpler;
                continue 'simpler;
            }
        }
        return case;
    }
}

/// Cases that are a little simpler, those first of which less is left.
fn simpler(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut changed = case.clone();
        change(&mut changed);
        all.push(changed);
    };
    for pattern in (0..case.patterns.len()).filter(|_| case.patterns.len() > 1) {
        add(&|case| {
            case.patterns.remove(pattern);
            case.newer = case.newer.take().filter(|_| pattern > 0);
        });
    }
    if case.newer.is_some() {
        add(&|case| case.newer = None);
    }
    if case.caps.is_some() {
        add(&|case| case.caps = None);
    }
    if case.first_index > 0 {
        add(&|case| case.first_index = 0);
    }
    let count = case.moments.len();
    for length in [count / 2, count / 4, count / 8, 1] {
        for from in (0..count).step_by(length.max(1)).filter(|_| length > 0 && count > 1) {
            add(&|case| {
                case.moments.drain(from..(from + length).min(count));
                if let Some((at, _)) = &mut case.newer {
                    *at -= length.min(at.saturating_sub(from));
                }
            });
        }
    }
    for pattern in 0..case.patterns.len() {
        for description in simpler_descriptions(&case.patterns[pattern]) {
            let by = description.by.clone();
            add(&|case| {
                case.patterns[pattern] = description.clone();
                if let Some((_, newer)) = case.newer.as_mut().filter(|_| pattern == 0) {
                    newer.by.clone_from(&by);
                }
            });
        }
    }
    if let Some((_, newer)) = &case.newer {
        for description in simpler_descriptions(newer)
            .into_iter()
            .filter(|other| other.by == newer.by)
        {
            add(&|case| {
                if let Some((_, newer)) = &mut case.newer {
                    *newer = description.clone();
                }
            });
        }
    }
    for (index, moment) in case.moments.iter().enumerate() {
        let Moment::Event(of) = *moment else { continue };
        let mut others = Vec::new();
        for change in 0..9 {
            let mut other = of;
            match change {
                0 => other.date = None,
                1 => other.fact = None,
                2 => other.x = None,
                3 => other.z = None,
                4 => other.y = None,
                5 => other.k = None,
                6 => other.session = None,
                7 => other.x = other.x.map(|_| 1),
                _ => other.z = other.z.map(|_| 1),
            }
            if other != of {
                others.push(other);
            }
        }
        for other in others {
            add(&|case| case.moments[index] = Moment::Event(other));
        }
    }
    all
}

fn simpler_descriptions(of: &Description) -> Vec<Description> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Description)| {
        let mut changed = of.clone();
        change(&mut changed);
        if changed != *of && changed.sees().count() > 0 {
            all.push(changed);
        }
    };
    add(&|of| of.by.clear());
    add(&|of| of.until.clear());
    add(&|of| of.during = None);
    add(&|of| {
        of.until.pop();
    });
    add(&|of| {
        of.by.pop();
    });
    for index in 0..of.steps.len() {
        add(&|of| {
            let gone = of.steps.remove(index);
            let sees = of.steps[..index].iter().filter(|step| step.is_see()).count();
            if gone.is_see() {
                // What others captured has another number now.
                for step in &mut of.steps {
                    if step
                        .condition
                        .as_ref()
                        .is_some_and(|test| (sees..8).any(|see| test.captures(Some(see))))
                    {
                        step.condition = None;
                    }
                }
            }
        });
        let step = &of.steps[index];
        let mut steps: Vec<Step> = Vec::new();
        let mut other = |what: What| steps.push(Step { what, ..step.clone() });
        if let What::See { times, across, within } = step.what {
            other(What::See {
                times,
                across: None,
                within,
            });
            other(What::See {
                times,
                across,
                within: None,
            });
            other(What::See {
                times: (times - 1).max(1),
                across,
                within,
            });
        }
        for kind in &step.types {
            steps.push(Step {
                types: vec![*kind],
                ..step.clone()
            });
        }
        let tests: Vec<Option<Test>> = match &step.condition {
            None => Vec::new(),
            Some(Test::Not(inner)) => vec![None, Some((**inner).clone())],
            Some(Test::And(left, right) | Test::Or(left, right)) => {
                vec![None, Some((**left).clone()), Some((**right).clone())]
            }
            Some(_) => vec![None],
        };
        steps.extend(tests.into_iter().map(|condition| Step {
            condition,
            ..step.clone()
        }));
        for step in steps {
            add(&|of| of.steps[index] = step.clone());
        }
    }
    all
}
