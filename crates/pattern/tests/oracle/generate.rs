//! Random cases. Each follows from a seed and its number alone, so that any of them can be tried again by itself.

use crate::case::{
    Case, Comparison, Description, During, Field, Happened, Key, Moment, Operand, Sent, Step, Test, What,
};

/// A sequence of random numbers (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64, case: u64) -> Self {
        let mut mixed = Self(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ case);
        Self(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 up to, but not including, `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("less than a usize")
    }

    /// From `low` to `high`, both included.
    fn range(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.next() % high.abs_diff(low).saturating_add(1)).expect("ranges are short")
    }

    /// In so many of a hundred.
    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// How long the shortest times are.
const UNITS: [i64; 6] = [1, 1000, 1000, 1000, 3_600_000, 36 * 3_600_000];

/// So many cases in a row, the first of which has a number that this divides, have the same patterns, each a history of its own:
/// reading files takes most of the time.
pub const HISTORIES: u64 = 4;

/// The case of this number.
pub fn case(seed: u64, number: u64) -> Case {
    let mut dice = Dice::new(seed, number / HISTORIES);
    let unit = dice.pick(&UNITS);
    let is_long = dice.chance(6);
    let count = if dice.chance(80) { 1 } else { 2 + dice.below(2) };
    let patterns: Vec<Description> = (0..count).map(|_| description(&mut dice, unit, is_long)).collect();
    let newer = dice.chance(10).then(|| newer(&mut dice, unit, &patterns[0], is_long));
    let caps = dice.chance(6).then(|| [1 + dice.below(3), 1 + dice.below(6)]);
    let mut dice = Dice::new(!seed, number);
    let moments = history(&mut dice, unit, &patterns, is_long);
    let newer = newer.map(|newer| (dice.below(moments.len()), newer));
    let first_index = match dice.below(4) {
        0 => 0,
        1 => u64::from(u32::MAX) - dice.next() % 12,
        _ => dice.next() % 64,
    };
    Case {
        patterns,
        newer,
        caps,
        first_index,
        moments,
    }
}

/// Another version of a pattern: something of it is changed, or everything but what joins its events.
fn newer(dice: &mut Dice, unit: i64, of: &Description, is_long: bool) -> Description {
    let mut other = description(dice, unit, is_long);
    other.by.clone_from(&of.by);
    if dice.chance(50) {
        let mut changed = of.clone();
        match dice.below(4) {
            0 => changed.within = other.within,
            1 => changed.until = other.until,
            2 => changed.steps[0] = other.steps.remove(0),
            _ => changed.steps.truncate(dice.below(changed.steps.len()).max(1)),
        }
        other = changed;
    }
    shaped(other)
}

fn types(dice: &mut Dice) -> Vec<char> {
    match dice.below(16) {
        0..10 => vec![dice.pick(&['a', 'b', 'c'])],
        10..12 => vec!['a', 'b'],
        12 => vec!['b', 'c'],
        13 => vec!['a', 'u'],
        14 => vec!['c', 's'],
        _ => vec!['a', 'b', 'c'],
    }
}

fn operand(dice: &mut Dice, sees: usize) -> Operand {
    let field = |dice: &mut Dice| dice.pick(&[Field::X, Field::X, Field::Z]);
    match dice.below(16) {
        0..4 => Operand::Number(dice.range(0, 2)),
        4..9 => Operand::Event(field(dice)),
        9..13 if sees > 0 => Operand::Captured(dice.below(sees), field(dice)),
        9..13 => Operand::Event(field(dice)),
        13 => Operand::Quotient,
        14 => Operand::Profile,
        _ => Operand::Journey,
    }
}

/// A `where` behind so many `see`s that may be captured.
fn test(dice: &mut Dice, sees: usize, depth: usize) -> Test {
    let inner = |dice: &mut Dice| Box::new(test(dice, sees, depth + 1));
    match dice.below(if depth < 2 { 24 } else { 14 }) {
        0..4 => Test::Compare(Comparison::Equal, Operand::Event(Field::X), Operand::Number(1)),
        4..7 if sees > 0 => {
            let captured = Operand::Captured(dice.below(sees), Field::X);
            Test::Compare(Comparison::Equal, Operand::Event(Field::X), captured)
        }
        4..12 => {
            let comparison = dice.pick(&[
                Comparison::Equal,
                Comparison::Unequal,
                Comparison::Less,
                Comparison::AtLeast,
            ]);
            Test::Compare(comparison, operand(dice, sees), operand(dice, sees))
        }
        12 => {
            let read = [
                Operand::Event(Field::X),
                Operand::Event(Field::Z),
                Operand::Profile,
                Operand::Journey,
            ];
            Test::Has(dice.pick(&read))
        }
        13 => Test::Is(dice.pick(&['a', 'b', 'c'])),
        14..17 => Test::Not(inner(dice)),
        17..20 => Test::And(inner(dice), inner(dice)),
        _ => Test::Or(inner(dice), inner(dice)),
    }
}

fn step(dice: &mut Dice, unit: i64) -> Step {
    let what = match dice.below(8) {
        0..4 => What::See {
            times: dice.pick(&[1, 1, 1, 2, 3]),
            across: dice
                .chance(30)
                .then(|| (dice.pick(&[Key::Y, Key::Y, Key::Session]), dice.pick(&[2, 2, 3]))),
            within: dice.chance(25).then(|| span(dice, unit, 1, 5)),
        },
        4..6 => What::Guard,
        _ => What::Wait(span(dice, unit, 1, 5)),
    };
    Step {
        types: types(dice),
        // What it reads of others is known once the steps are.
        condition: None,
        what,
    }
}

/// The longest `within` that a pattern may have, in milliseconds.
const LONGEST: i64 = 30 * 24 * HOUR;
const HOUR: i64 = 3_600_000;

/// So many units, now and then a millisecond more or less.
fn span(dice: &mut Dice, unit: i64, low: i64, high: i64) -> i64 {
    let whole = unit * dice.range(low, high);
    if unit == 1000 && dice.chance(6) {
        whole + dice.pick(&[-1, 1])
    } else {
        whole
    }
}

fn description(dice: &mut Dice, unit: i64, is_long: bool) -> Description {
    let length = match dice.below(20) {
        0 if !is_long => 5 + dice.below(4),
        _ => 1 + dice.below(4),
    };
    let any_order = dice.chance(33);
    let mut steps: Vec<Step> = (0..length).map(|_| step(dice, unit)).collect();
    for index in 0..steps.len() {
        if dice.chance(35) {
            let sees = steps[..index].iter().filter(|step| step.is_see()).count();
            steps[index].condition = Some(test(dice, if any_order { 0 } else { sees }, 0));
        }
    }
    let by: &[Key] = match dice.below(10) {
        0..6 => &[],
        6..8 => &[Key::K],
        8 => &[Key::Session],
        _ => &[Key::K, Key::Session],
    };
    let mut of = Description {
        by: by.to_vec(),
        within: span(dice, unit, 3, 20),
        until: match dice.below(12) {
            0..2 => vec!['u'],
            2 => vec!['a'],
            3 => vec!['u', 'b'],
            _ => Vec::new(),
        },
        any_order,
        during: dice.chance(18).then(|| During {
            before: dice.chance(50),
            span: span(dice, unit, 5, 30),
        }),
        steps,
    };
    if dice.chance(20) {
        of = chain(of);
    }
    if is_long {
        shorten(&mut of);
    }
    shaped(of)
}

/// Single events one behind the other: the engine has a way of its own for them.
fn chain(mut of: Description) -> Description {
    (of.any_order, of.during) = (false, None);
    of.by.clear();
    for step in &mut of.steps {
        let within = match step.what {
            What::See { within, .. } => within,
            _ => None,
        };
        step.what = What::See {
            times: 1,
            across: None,
            within,
        };
        if step.condition.as_ref().is_some_and(|test| test.captures(None)) {
            step.condition = None;
        }
    }
    of
}

/// Few events, since many choices of them are tried.
fn shorten(of: &mut Description) {
    let mut left = 3;
    for step in &mut of.steps {
        let What::See { times, across, .. } = &mut step.what else {
            continue;
        };
        *times = (*times).max(across.map_or(1, |(_, at_least)| at_least));
        if *times > left {
            (*times, *across) = (left.max(1), None);
        }
        left = left.saturating_sub(*times);
    }
    let mut sees = 0;
    of.steps.retain(|step| {
        sees += step.times();
        sees <= 3
    });
}

/// Bends a random list of steps into one that the rules of the language allow.
fn shaped(mut of: Description) -> Description {
    const ONE: What = What::See {
        times: 1,
        across: None,
        within: None,
    };
    let any_order = of.any_order;
    if any_order && !of.steps.iter().any(Step::is_see) {
        of.steps[0].what = ONE;
    }
    let mut sees = 0;
    for index in 0..of.steps.len() {
        let next_is_see = of.steps.get(index + 1).is_some_and(Step::is_see);
        let behind_guard = index > 0 && of.steps[index - 1].what == What::Guard;
        let step = &mut of.steps[index];
        if !any_order {
            match step.what {
                What::Guard | What::Wait(_) if index == 0 => step.what = ONE,
                What::Guard if !next_is_see => step.what = What::Wait(of.within.min(5000)),
                _ => {}
            }
        }
        if let What::See { times, across, within } = &mut step.what {
            if index == 0 || any_order {
                *within = None;
            }
            if behind_guard && !any_order {
                *across = None;
            }
            *within = within.map(|within: i64| within.min(of.within));
            *times = (*times).max(across.map_or(1, |(_, at_least)| at_least));
        }
        let reaches = |test: &Test| (sees..8).any(|see| test.captures(Some(see)));
        if step
            .condition
            .as_ref()
            .is_some_and(|test| reaches(test) || any_order && test.captures(None))
        {
            step.condition = None;
        }
        sees += usize::from(of.steps[index].is_see());
    }
    if any_order {
        // An `across` shares no type with another member.
        for index in 0..of.steps.len() {
            let shares = of.steps.iter().enumerate().any(|(other, step)| {
                other != index && step.is_see() && step.types.iter().any(|kind| of.steps[index].types.contains(kind))
            });
            if let (What::See { across, .. }, true) = (&mut of.steps[index].what, shares) {
                *across = None;
            }
        }
    }
    // `until` discards no step entirely.
    let mut blocked = 0;
    for (index, step) in of.steps.iter().enumerate().filter(|(_, step)| step.is_see()) {
        if step.types.iter().all(|kind| of.until.contains(kind)) {
            let is_first = if any_order { blocked == 0 } else { index == 0 };
            blocked += 1;
            if !is_first || step.times() > 1 {
                of.until = vec!['u'];
                break;
            }
        }
    }
    let together = |of: &Description| {
        let waits = of.steps.iter().map(|step| match step.what {
            What::Wait(wait) => wait,
            _ => 0,
        });
        if any_order {
            waits.max().unwrap_or(0)
        } else {
            waits.sum()
        }
    };
    // `within` is as long as all waits together, and has a limit.
    let hours = LONGEST / HOUR / i64::try_from(of.steps.len()).expect("few");
    if together(&of) > LONGEST {
        for step in &mut of.steps {
            if let What::Wait(wait) = &mut step.what {
                *wait = (*wait).min(hours * HOUR);
            }
        }
    }
    of.within = of.within.max(together(&of));
    of
}

/// What a history is led by: the events that a pattern wants, and the times that it waits.
enum Wanted {
    Type(char),
    Pause(i64),
}

fn wanted(dice: &mut Dice, patterns: &[Description]) -> Vec<Wanted> {
    let of = &patterns[dice.below(patterns.len())];
    let mut wanted = Vec::new();
    for step in &of.steps {
        match step.what {
            What::See { times, .. } => {
                wanted.extend((0..times).map(|_| Wanted::Type(dice.pick(&step.types))));
            }
            What::Wait(wait) => wanted.push(Wanted::Pause(wait)),
            What::Guard => {}
        }
    }
    if of.any_order {
        // From any member on.
        let first = dice.below(wanted.len());
        wanted.rotate_left(first);
    }
    wanted
}

/// How the clock goes along.
enum Clock {
    /// As in tests and backtests: each event advances it first.
    Told,
    /// As it runs live: it lags by so much, and now and then nothing is told.
    Lags(i64),
}

fn history(dice: &mut Dice, unit: i64, patterns: &[Description], is_long: bool) -> Vec<Moment> {
    let origin = dice.pick(&[0, 1_750_000_000_000]);
    let length = if is_long {
        20 + dice.below(100)
    } else {
        1 + dice.below(12)
    };
    let clock = if dice.chance(50) {
        Clock::Told
    } else {
        Clock::Lags(dice.range(0, 4))
    };
    // In a long history one type comes far more often than others, so that much gathers before something is complete.
    let common = dice.pick(&['a', 'a', 'b', 'c']);
    let is_dense = is_long && dice.chance(70);
    let (mut now, mut moments) = (origin, Vec::new());
    let mut script = Vec::new().into_iter();
    for number in 0..length {
        now += match dice.below(10) {
            _ if is_dense => i64::from(dice.chance(20)) * unit.min(dice.range(1, unit)),
            0..3 => 0,
            3..9 => unit * dice.range(1, 3),
            _ => unit * dice.range(0, 6) + dice.range(-1, 1),
        };
        let mut kind = match is_long && dice.chance(if is_dense { 85 } else { 30 }) {
            true => common,
            false => dice.pick(&['a', 'a', 'b', 'b', 'c', 'c', 'u', 's']),
        };
        let is_led = dice.chance(if is_long { 20 } else { 60 });
        if is_led {
            let mut next = script.next();
            if next.is_none() {
                script = wanted(dice, patterns).into_iter();
                next = script.next();
            }
            match next {
                Some(Wanted::Type(wanted)) => kind = wanted,
                Some(Wanted::Pause(wait)) => {
                    now += wait + dice.pick(&[0, 0, 0, -1, 1]);
                    if let Some(Wanted::Type(wanted)) = script.next() {
                        kind = wanted;
                    }
                }
                None => {}
            }
        }
        now = now.max(origin);
        let behind = if dice.chance(20) { unit * dice.range(1, 3) } else { 0 };
        match clock {
            Clock::Told => moments.push(Moment::Clock(now)),
            Clock::Lags(lag) if dice.chance(70) => {
                moments.push(Moment::Clock(now - lag * unit + dice.pick(&[0, 0, 0, -1, 1])));
            }
            Clock::Lags(_) => {}
        }
        moments.push(Moment::Event(happened(
            dice,
            unit,
            kind,
            now - behind,
            is_led,
            origin,
            number == 0,
        )));
        if dice.chance(6) {
            let kind = dice.pick(&['s', 's', 'a', 'c']);
            let x = dice.chance(60).then(|| dice.range(0, 2));
            moments.push(Moment::Derived { kind, x });
        }
        if dice.chance(8) {
            now += unit * dice.range(0, 4);
            moments.push(Moment::Clock(now + dice.pick(&[0, 0, -1, 1])));
        }
    }
    if dice.chance(85) {
        moments.push(Moment::Clock(now + 60 * unit));
    }
    moments
}

fn happened(dice: &mut Dice, unit: i64, kind: char, at: i64, is_led: bool, origin: i64, is_first: bool) -> Happened {
    let number = |dice: &mut Dice| dice.chance(92).then(|| dice.range(0, 2));
    let date = |dice: &mut Dice| dice.chance(90).then(|| origin + unit * dice.range(-5, 40));
    Happened {
        kind,
        at,
        x: if is_led && dice.chance(50) {
            Some(1)
        } else {
            number(dice)
        },
        z: number(dice),
        y: dice.chance(92).then(|| {
            dice.pick(&[
                Sent::Long(1),
                Sent::Long(2),
                Sent::Long(3),
                Sent::Text("1"),
                Sent::Halves(2),
                Sent::Halves(3),
            ])
        }),
        k: dice.chance(95).then(|| {
            if dice.chance(75) {
                Sent::Long(1)
            } else {
                dice.pick(&[Sent::Long(2), Sent::Text("1"), Sent::Halves(2), Sent::Halves(3)])
            }
        }),
        session: dice
            .chance(90)
            .then(|| if dice.chance(65) { Key::TEXTS[1] } else { Key::TEXTS[2] }),
        date: (is_first || dice.chance(6)).then(|| date(dice)),
        fact: (is_first || dice.chance(15)).then(|| number(dice)),
    }
}
