//! The definition, written as plainly as possible: of a short history every choice of events is tried, and the rules of the language
//! are applied to each. What makes it quicker leaves out only choices of which a rule has already been broken, or which complete
//! later than one that is known.
//!
//! Of matches with the same events in other places of an `all`, the one counts that gives the first event the first member.

use std::cmp::Ordering;

use crate::case::{Case, Comparison, Description, Field, Happened, Held, Key, Moment, Operand, Sent, Step, Test, What};

/// A match.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The moment at which it is emitted.
    pub moment: usize,
    pub pattern: usize,
    pub version: i32,
    /// The values by which its events were joined.
    pub by: Vec<Held>,
    /// Time of the first event.
    pub since: i64,
    /// Completion.
    pub at: i64,
    /// Per `see`: its events, counted over the whole history.
    pub evidence: Vec<Vec<usize>>,
    /// Per `see`.
    pub counts: Vec<i32>,
    /// Per `absent`: from when, until when.
    pub absent: Vec<(i64, i64)>,
    /// The sentence.
    pub because: String,
}

/// An event as patterns see it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The moment.
    position: usize,
    /// Counted over the whole history.
    number: usize,
    at: i64,
    of: Happened,
    /// What profile and journey say.
    fact: Option<i64>,
}

/// What the moments say, whatever the pattern.
struct Log {
    events: Vec<Seen>,
    /// Where the clock was told, and how far it is by then.
    clocks: Vec<(usize, i64)>,
    /// The profile's date at each moment.
    dates: Vec<Option<i64>>,
}

impl Log {
    /// Times by rule 1; profile and journey already include the event.
    fn of(moments: &[Moment]) -> Self {
        let mut log = Self {
            events: Vec::new(),
            clocks: Vec::new(),
            dates: Vec::new(),
        };
        let (mut clock, mut last, mut date, mut fact) = (i64::MIN, i64::MIN, None, None);
        let mut record: Option<Happened> = None;
        for (position, moment) in moments.iter().enumerate() {
            let of = match moment {
                Moment::Clock(to) => {
                    clock = clock.max(*to);
                    log.clocks.push((position, clock));
                    None
                }
                Moment::Event(of) => {
                    date = of.date.unwrap_or(date);
                    fact = of.fact.unwrap_or(fact);
                    record = Some(*of);
                    record
                }
                Moment::Derived { kind, x } => record.map(|of| Happened {
                    kind: *kind,
                    x: x.or(of.x),
                    ..of
                }),
            };
            log.dates.push(date);
            if let Some(of) = of {
                last = last.max(of.at).max(clock);
                log.events.push(Seen {
                    position,
                    number: log.events.len(),
                    at: last,
                    of,
                    fact,
                });
            }
        }
        log
    }

    /// Rule 2: the first moment, not before `position`, at which the clock has reached `due`.
    fn firing(&self, position: usize, due: i64) -> Option<usize> {
        let reached = |told: &&(usize, i64)| told.0 >= position && told.1 >= due;
        self.clocks.iter().find(reached).map(|told| told.0)
    }
}

impl Seen {
    fn key(&self, key: Key) -> Option<Held> {
        match key {
            Key::K => self.of.k.map(Sent::held),
            Key::Y => self.of.y.map(Sent::held),
            Key::Session => self.of.session.map(Held::Text),
        }
    }

    fn field(&self, field: Field) -> Option<i64> {
        match field {
            Field::X => self.of.x,
            Field::Z => self.of.z,
        }
    }
}

/// Up to where the count of a step is exact: 64, or `times` if that is more.
pub fn most(step: &Step) -> i32 {
    i32::try_from(step.times().max(64)).expect("at most a hundred")
}

/// All matches of a case in the order in which they are emitted.
pub fn definition(case: &Case) -> Vec<Found> {
    let log = Log::of(&case.moments);
    let mut found: Vec<Found> = Vec::new();
    for pattern in 0..case.patterns.len() {
        for by in keys(case, &log, pattern) {
            Instance::of(case, &log, pattern, by).matches(&mut found);
        }
    }
    // What one moment emits: in order of time, pattern and by-key.
    found.sort_by(|a, b| (a.moment, a.at, a.pattern, &a.by).cmp(&(b.moment, b.at, b.pattern, &b.by)));
    found
}

/// Where caps have dropped runs, what was found need not be everything: whether each is a match by itself, of events behind the last
/// one of its instance.
pub fn allows(case: &Case, found: &[Found]) -> bool {
    let log = Log::of(&case.moments);
    found.iter().enumerate().all(|(number, one)| {
        let earlier = found[..number].iter().rev();
        let mut same = earlier.filter(|other| (other.pattern, &other.by) == (one.pattern, &one.by));
        let after = same.next().map(|other| other.moment);
        Instance::of(case, &log, one.pattern, one.by.clone()).allows(one, after)
    })
}

/// Rule 3: the tuples of values by which a pattern joins; both versions of it by the same fields.
fn keys(case: &Case, log: &Log, pattern: usize) -> Vec<Vec<Held>> {
    let by = &case.patterns[pattern].by;
    let tuple = |seen: &Seen| by.iter().map(|key| seen.key(*key)).collect::<Option<Vec<Held>>>();
    let mut keys: Vec<Vec<Held>> = log.events.iter().filter_map(tuple).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// One pattern for one tuple of by-values.
struct Instance<'a> {
    log: &'a Log,
    pattern: usize,
    by: Vec<Held>,
    /// Those with these by-values; to the pattern there are no others.
    events: Vec<Seen>,
    /// The newer one first.
    versions: Vec<Version<'a>>,
}

struct Version<'a> {
    number: i32,
    of: &'a Description,
    /// Its matches begin at this moment or later, and use no earlier event.
    from: usize,
    /// Its matches begin before this moment.
    until: usize,
    /// Per step and event: whether it is of the step's types and its `where` holds, as far as that does not depend on what was captured.
    fits: Vec<Vec<bool>>,
}

impl<'a> Instance<'a> {
    fn of(case: &'a Case, log: &'a Log, pattern: usize, by: Vec<Held>) -> Self {
        let first = &case.patterns[pattern];
        let own = |seen: &&Seen| {
            first
                .by
                .iter()
                .zip(&by)
                .all(|(key, value)| seen.key(*key) == Some(*value))
        };
        let events: Vec<Seen> = log.events.iter().filter(own).copied().collect();
        let newer = case.newer.as_ref().filter(|_| pattern == 0);
        let mut versions = vec![Version::of(
            1,
            first,
            &events,
            0,
            newer.map_or(usize::MAX, |newer| newer.0),
        )];
        if let Some((from, newer)) = newer {
            versions.insert(0, Version::of(2, newer, &events, *from, usize::MAX));
        }
        Self {
            log,
            pattern,
            by,
            events,
            versions,
        }
    }

    /// Rule 16: the first moment at which a match exists of events after the one before.
    fn matches(&self, found: &mut Vec<Found>) {
        let mut after = None;
        loop {
            let mut best: Option<(Whole, &Version<'_>)> = None;
            for version in &self.versions {
                let mut search = self.search(version, after);
                if search.first >= search.last_start {
                    continue;
                }
                search.extend(0, 0);
                let Some(whole) = search.best else { continue };
                // At one moment the newer version wins.
                if best.as_ref().is_none_or(|(best, _)| whole.moment() < best.moment()) {
                    best = Some((whole, version));
                }
            }
            let Some((whole, version)) = best else { return };
            found.push(self.search(version, after).told(&whole, self));
            after = Some(whole.course.position);
        }
    }

    /// A search among the events behind a moment.
    fn search(&'a self, version: &'a Version<'a>, after: Option<usize>) -> Search<'a> {
        let earliest = after.map_or(version.from, |after| version.from.max(after + 1));
        Search {
            log: self.log,
            version,
            all: &self.events,
            first: self.events.partition_point(|seen| seen.position < earliest),
            last_start: self.events.partition_point(|seen| seen.position < version.until),
            chosen: Vec::new(),
            best: None,
        }
    }

    fn allows(&self, found: &Found, after: Option<usize>) -> bool {
        let number = |number: &usize| self.events.iter().position(|seen| seen.number == *number);
        let chosen: Option<Vec<usize>> = found.evidence.iter().flatten().map(number).collect();
        let version = self.versions.iter().find(|version| version.number == found.version);
        let (Some(chosen), Some(version)) = (chosen, version) else {
            return false;
        };
        let mut search = self.search(version, after);
        search.chosen = chosen;
        let mut used = 0;
        let fits = version.of.steps.iter().enumerate().all(|(number, step)| {
            let group = &search.chosen[used..used + step.times()];
            used += step.times();
            group.is_sorted()
                && group.iter().all(|index| search.matches(number, *index))
                && search.has_values(step, group)
        });
        fits && search.chosen.iter().all(|index| *index >= search.first)
            && search
                .judge()
                .is_some_and(|course| (course.position, course.at) == (found.moment, found.at))
    }
}

impl<'a> Version<'a> {
    fn of(number: i32, of: &'a Description, events: &[Seen], from: usize, until: usize) -> Self {
        let fits = |step: &Step| {
            let fits = |seen: &Seen| {
                let test = step.condition.as_ref().filter(|test| !test.captures(None));
                step.types.contains(&seen.of.kind)
                    && step.across().is_none_or(|(key, _)| seen.key(key).is_some())
                    && test.is_none_or(|test| holds(test, seen, &|_| None) == Some(true))
            };
            events.iter().map(fits).collect()
        };
        Self {
            number,
            of,
            from,
            until,
            fits: of.steps.iter().map(fits).collect(),
        }
    }
}

/// Rule 19: what a `where` says, or nothing if it reads what is missing.
fn holds(test: &Test, seen: &Seen, captured: &dyn Fn(usize) -> Option<Seen>) -> Option<bool> {
    let read = |operand: Operand| match operand {
        Operand::Number(number) => Some(number),
        Operand::Event(field) => seen.field(field),
        Operand::Captured(see, field) => captured(see)?.field(field),
        Operand::Quotient => seen.of.x?.checked_div(seen.of.z?),
        Operand::Profile | Operand::Journey => seen.fact,
    };
    match test {
        Test::Compare(comparison, left, right) => {
            let (left, right) = (read(*left)?, read(*right)?);
            Some(match comparison {
                Comparison::Equal => left == right,
                Comparison::Unequal => left != right,
                Comparison::Less => left < right,
                Comparison::AtLeast => left >= right,
            })
        }
        Test::Has(operand) => Some(read(*operand).is_some()),
        Test::Is(kind) => Some(seen.of.kind == *kind),
        Test::Not(inner) => holds(inner, seen, captured).map(|holds| !holds),
        Test::And(left, right) | Test::Or(left, right) => {
            let decides = matches!(test, Test::Or(..));
            let (left, right) = (holds(left, seen, captured), holds(right, seen, captured));
            if left == Some(decides) || right == Some(decides) {
                Some(decides)
            } else {
                left.and(right)
            }
        }
    }
}

/// What the rules say of a choice of events: when it is complete, and what that rests on.
#[derive(Debug, Clone, Copy)]
struct Course {
    at: i64,
    /// The moment of completion.
    position: usize,
    ends_with_event: bool,
    /// Per `see` of a sequence: the moment at which the step before it was complete.
    starts: [usize; 8],
    absent: [(i64, i64); 8],
}

/// A choice of events that is a match.
struct Whole {
    course: Course,
    /// Per `see`, one after the other.
    chosen: Vec<usize>,
    /// Each event and the member it serves, in order of events.
    vector: Vec<(usize, usize)>,
}

impl Whole {
    fn moment(&self) -> (usize, i64) {
        (self.course.position, self.course.at)
    }

    /// Rules 16 and 17: the earlier one first, then the tighter one.
    fn order(&self, other: &Self) -> Ordering {
        let events = |whole: &Self| whole.vector.iter().map(|(event, _)| *event).collect::<Vec<usize>>();
        let members = |whole: &Self| whole.vector.iter().map(|(_, member)| *member).collect::<Vec<usize>>();
        let first = self.moment().cmp(&other.moment());
        first
            .then_with(|| events(other).cmp(&events(self)))
            .then_with(|| members(self).cmp(&members(other)))
    }
}

/// Trying all choices of events for the `see`s of one version.
struct Search<'a> {
    log: &'a Log,
    version: &'a Version<'a>,
    all: &'a [Seen],
    /// The first event that may be used.
    first: usize,
    /// A match begins before this event.
    last_start: usize,
    chosen: Vec<usize>,
    best: Option<Whole>,
}

impl Search<'_> {
    /// All ways to choose one event more for the step `step`, of which `taken` are chosen, and those that follow.
    fn extend(&mut self, step: usize, taken: usize) {
        let of = self.version.of;
        let Some(number) = (step..of.steps.len()).find(|number| of.steps[*number].is_see()) else {
            return self.consider();
        };
        let times = of.steps[number].times();
        if taken == times {
            if self.has_values(&of.steps[number], &self.chosen[self.chosen.len() - times..]) {
                self.extend(number + 1, 0);
            }
            return;
        }
        // Rules 5 and 9: in their order; members of an `all` (rule 12) in any.
        let last = if of.any_order && taken == 0 {
            None
        } else {
            self.chosen.last()
        };
        let begin = last.map_or(self.first, |last| last + 1);
        let least = self.chosen.iter().min().copied();
        for index in begin..self.all.len() {
            let seen = &self.all[index];
            let is_late = self
                .best
                .as_ref()
                .is_some_and(|best| seen.position > best.course.position);
            let start = least.map_or(index, |least| least.min(index));
            // Rule 13: all events of a match lie in its window.
            if is_late || start >= self.last_start && !of.any_order || seen.at - self.all[start].at > of.within {
                break;
            }
            if self.chosen.contains(&index) || !self.matches(number, index) {
                continue;
            }
            self.chosen.push(index);
            self.extend(number, taken + 1);
            self.chosen.pop();
        }
    }

    /// Rule 6.
    fn has_values(&self, step: &Step, group: &[usize]) -> bool {
        step.across().is_none_or(|(key, at_least)| {
            let values = group.iter().map(|index| self.all[*index].key(key));
            let mut values: Vec<Option<Held>> = values.collect();
            values.sort_unstable();
            values.dedup();
            values.len() >= at_least
        })
    }

    /// Rules 4, 6 and 8.
    fn matches(&self, number: usize, index: usize) -> bool {
        let step = &self.version.of.steps[number];
        self.version.fits[number][index]
            && step.condition.as_ref().is_none_or(|test| {
                !test.captures(None) || holds(test, &self.all[index], &|see| self.completing(see)) == Some(true)
            })
    }

    /// The event that completes a `see`, as far as it is chosen.
    fn completing(&self, see: usize) -> Option<Seen> {
        let times = self.version.of.sees().take(see + 1).map(Step::times);
        let last = times.sum::<usize>() - 1;
        self.chosen.get(last).map(|index| self.all[*index])
    }

    /// Whether an event strictly between two moments matches an absence.
    fn is_broken(&self, number: usize, behind: usize, before: usize) -> bool {
        let begin = self.all.partition_point(|seen| seen.position <= behind);
        (begin..self.all.len())
            .take_while(|index| self.all[*index].position < before)
            .any(|index| self.matches(number, index))
    }

    /// Judges a choice, and keeps it if it is the best.
    fn consider(&mut self) {
        let start = self.chosen.iter().min().copied();
        if start.is_none_or(|start| start >= self.last_start) {
            return;
        }
        let Some(course) = self.judge() else { return };
        let members = self.version.of.sees().enumerate();
        let members = members.flat_map(|(member, step)| std::iter::repeat_n(member, step.times()));
        let mut vector: Vec<(usize, usize)> = self.chosen.iter().copied().zip(members).collect();
        vector.sort_unstable();
        let whole = Whole {
            course,
            chosen: self.chosen.clone(),
            vector,
        };
        if self.best.as_ref().is_none_or(|best| whole.order(best).is_lt()) {
            self.best = Some(whole);
        }
    }

    fn judge(&self) -> Option<Course> {
        let course = if self.version.of.any_order {
            self.all()?
        } else {
            self.sequence()?
        };
        self.is_inside(&course).then_some(course)
    }

    /// Rules 7, 9, 10 and 11.
    fn sequence(&self) -> Option<Course> {
        let of = self.version.of;
        let first = &self.all[*self.chosen.first()?];
        // Completion of the step before.
        let (mut at, mut position) = (first.at, first.position);
        let (mut starts, mut absent) = ([0; 8], [(0, 0); 8]);
        let (mut used, mut sees, mut absents) = (0, 0, 0);
        let mut guard = None;
        for (number, step) in of.steps.iter().enumerate() {
            match step.what {
                What::See { times, within, .. } => {
                    let group = &self.chosen[used..used + times];
                    used += times;
                    let (begin, end) = (&self.all[*group.first()?], &self.all[*group.last()?]);
                    if number > 0 && begin.position <= position {
                        return None;
                    }
                    if let Some(guard) = guard.take() {
                        if self.is_broken(guard, position, begin.position) {
                            return None;
                        }
                        absent[absents] = (at, begin.at);
                        absents += 1;
                    }
                    if number > 0 && within.is_some_and(|within| end.at - at > within) {
                        return None;
                    }
                    starts[sees] = position;
                    sees += 1;
                    (at, position) = (end.at, end.position);
                }
                What::Guard => guard = Some(number),
                What::Wait(wait) => {
                    let due = at + wait;
                    let fires = self.log.firing(position, due)?;
                    if self.is_broken(number, position, fires) {
                        return None;
                    }
                    absent[absents] = (at, due);
                    absents += 1;
                    (at, position) = (due, fires);
                }
            }
        }
        Some(Course {
            at,
            position,
            ends_with_event: of.steps.last()?.is_see(),
            starts,
            absent,
        })
    }

    /// Rule 12.
    fn all(&self) -> Option<Course> {
        let of = self.version.of;
        let (f, l) = (
            &self.all[*self.chosen.iter().min()?],
            &self.all[*self.chosen.iter().max()?],
        );
        let (mut absent, mut absents) = ([(0, 0); 8], 0);
        let (mut at, mut position, mut ends_with_event) = (l.at, l.position, true);
        for (number, step) in of.steps.iter().enumerate().filter(|(_, step)| !step.is_see()) {
            // The first moment at which such an event is tolerated again.
            let end;
            if let What::Wait(wait) = step.what {
                let due = l.at + wait;
                end = self.log.firing(l.position, due)?;
                if due > at {
                    (at, position, ends_with_event) = (due, end, false);
                }
                absent[absents] = (l.at, due);
            } else {
                end = l.position + 1;
                absent[absents] = (f.at, l.at);
            }
            absents += 1;
            if self.is_broken(number, f.position, end) {
                return None;
            }
        }
        Some(Course {
            at,
            position,
            ends_with_event,
            starts: [0; 8],
            absent,
        })
    }

    /// Rules 13, 14 and 15.
    fn is_inside(&self, course: &Course) -> bool {
        let of = self.version.of;
        let Some(first) = self.chosen.iter().min().map(|first| &self.all[*first]) else {
            return false;
        };
        let ended = |seen: &Seen| {
            of.until.contains(&seen.of.kind)
                && seen.position > first.position
                && (seen.position < course.position || course.ends_with_event && seen.position == course.position)
        };
        if course.at - first.at > of.within || !of.until.is_empty() && self.all.iter().any(ended) {
            return false;
        }
        let Some(during) = of.during else { return true };
        let dates = &self.log.dates[first.position..=course.position];
        let Some(date) = dates[0] else { return false };
        let holds = |at: i64| {
            if during.before {
                at >= date - during.span && at < date
            } else {
                at >= date && at < date + during.span
            }
        };
        dates.iter().all(|other| *other == Some(date))
            && self.chosen.iter().all(|index| holds(self.all[*index].at))
            && holds(course.at)
    }

    /// The match as it is told.
    fn told(mut self, whole: &Whole, instance: &Instance<'_>) -> Found {
        self.chosen.clone_from(&whole.chosen);
        let of = self.version.of;
        let mut used = 0;
        let evidence = of.sees().map(|step| {
            let group = &whole.chosen[used..used + step.times()];
            used += step.times();
            group.iter().map(|index| self.all[*index].number).collect()
        });
        let evidence: Vec<Vec<usize>> = evidence.collect();
        let absents = of.steps.iter().filter(|step| !step.is_see()).count();
        // What a sentence says of the first event of the first `see` and the last one of the last.
        let shown = |index: Option<&usize>| {
            let x = index.and_then(|index| self.all[*index].of.x);
            x.map_or_else(|| "–".to_owned(), |x| x.to_string())
        };
        Found {
            moment: whole.course.position,
            pattern: instance.pattern,
            version: self.version.number,
            by: instance.by.clone(),
            since: self.all[whole.vector[0].0].at,
            at: whole.course.at,
            evidence,
            counts: self.counts(&whole.course),
            absent: whole.course.absent[..absents].to_vec(),
            because: format!("{} {}", shown(whole.chosen.first()), shown(whole.chosen.last())),
        }
    }

    /// Rule 18.
    fn counts(&self, course: &Course) -> Vec<i32> {
        let of = self.version.of;
        let usable = self.first..self.all.len();
        let start = self.chosen.iter().min().copied().unwrap_or(0);
        let completion = if course.ends_with_event {
            course.position + 1
        } else {
            course.position
        };
        // The last event up to the first one of the match that ends what was before it.
        let ends = |index: &usize| {
            let absents = of.steps.iter().enumerate().filter(|(_, step)| !step.is_see());
            of.until.contains(&self.all[*index].of.kind)
                || of.any_order
                    && absents
                        .map(|(number, _)| number)
                        .any(|number| self.matches(number, *index))
        };
        let begin = usable
            .clone()
            .rev()
            .filter(|index| *index <= start)
            .find(ends)
            .unwrap_or(self.first);
        let (mut counts, mut used) = (Vec::new(), 0);
        let sees = of.steps.iter().enumerate().filter(|(_, step)| step.is_see());
        for (see, (number, step)) in sees.enumerate() {
            used += step.times();
            // Up to where it is counted: the time, and a moment that is not counted any more.
            let next = self
                .chosen
                .get(used)
                .map(|next| &self.all[*next])
                .filter(|_| !of.any_order);
            let (end_at, end) = next.map_or((course.at, completion), |next| (next.at, next.position));
            let counted = usable.clone().filter(|index| {
                let seen = &self.all[*index];
                let is_recent = *index >= begin && end_at - seen.at <= of.within;
                let is_behind = seen.position > course.starts[see];
                seen.position < end
                    && if of.any_order || see == 0 { is_recent } else { is_behind }
                    && self.matches(number, *index)
            });
            let count = i32::try_from(counted.count()).expect("few events");
            counts.push(count.min(most(step)));
        }
        counts
    }
}
