//! Choosing evidence: of the events that could serve, the latest that do.
//!
//! Sets of events that fill a counted step with enough values, or the members of an `all`, are the bases of a matroid (a union of
//! uniform, partition and transversal ones). So taking events from the newest to the oldest, each if it still fits, gives a set
//! that is, position by position, no earlier than any other.

use crate::Value;

/// Chooses `times` of the events `0..events`, at least `at_least` values among them, and always the last event or, where there is one,
/// the `forced` one. Puts their numbers into `chosen`, ascending; whether there are so many.
pub(super) fn latest<'a>(
    events: usize,
    value: impl Fn(usize) -> Value<'a>,
    times: usize,
    at_least: usize,
    forced: Option<usize>,
    chosen: &mut Vec<usize>,
) -> bool {
    chosen.clear();
    let mut distinct = 0;
    let others = (0..events).rev().filter(|event| Some(*event) != forced);
    for event in forced.into_iter().chain(others) {
        if chosen.len() == times {
            break;
        }
        let is_new = at_least > 0
            && distinct < at_least
            && !chosen.iter().any(|known| value(*known).order(&value(event)).is_eq());
        let values = distinct + usize::from(is_new);
        // Those beyond one of each value fill up the rest.
        if chosen.len() + 1 - values.min(at_least) <= times - at_least {
            chosen.push(event);
            distinct = values;
        }
    }
    chosen.sort_unstable();
    chosen.len() == times
}

/// Which of the kept events of a counted step nothing can need any more, one more having come: the oldest that is neither among the
/// last `times` nor the last of one of the last `at_least` values.
pub(super) fn needless<'a>(
    events: usize,
    value: impl Fn(usize) -> Value<'a>,
    times: usize,
    at_least: usize,
) -> Option<usize> {
    let recent = events.saturating_sub(times);
    let is_last_of_value = |event: usize| {
        let same = |other: usize| value(other).order(&value(event)).is_eq();
        if (event + 1..events).any(same) {
            return false;
        }
        let mut later = 0;
        for other in event + 1..events {
            later += usize::from(!(event + 1..other).any(|known| value(known).order(&value(other)).is_eq()));
        }
        later < at_least
    };
    (0..recent).find(|event| at_least == 0 || !is_last_of_value(*event))
}

/// No member.
const NOBODY: u8 = u8::MAX;

/// Distributes events among members, each of which needs some.
pub(super) struct Places<'a> {
    /// Per event: the members that it could serve, a bit each.
    pub masks: &'a [u8],
    /// Per member: how many events it still needs.
    pub needs: [u8; 8],
    /// Per event: the member that it serves.
    pub serves: Vec<u8>,
}

impl<'a> Places<'a> {
    pub fn new(masks: &'a [u8], needs: [u8; 8]) -> Self {
        Self {
            masks,
            needs,
            serves: vec![NOBODY; masks.len()],
        }
    }

    pub fn is_full(&self) -> bool {
        self.needs.iter().all(|needs| *needs == 0)
    }

    pub fn serves(&self, event: usize) -> Option<u8> {
        Some(self.serves[event]).filter(|member| *member != NOBODY)
    }

    /// Finds a place for one more event, moving others if need be; whether there is one.
    pub fn admit(&mut self, event: usize) -> bool {
        let mut visited = 0;
        self.serves(event).is_some() || self.place(event, &mut visited)
    }

    fn place(&mut self, event: usize, visited: &mut u8) -> bool {
        for member in 0..8u8 {
            if self.masks[event] & (1 << member) == 0 || *visited & (1 << member) != 0 {
                continue;
            }
            *visited |= 1 << member;
            let slot = usize::from(member);
            if self.needs[slot] > 0 {
                self.needs[slot] -= 1;
                self.serves[event] = member;
                return true;
            }
            for other in 0..self.serves.len() {
                if other != event && self.serves[other] == member && self.place(other, visited) {
                    self.serves[event] = member;
                    return true;
                }
            }
        }
        false
    }
}

/// Of the ways to distribute just these events: the one that gives the first event the first member that it can have, and so on.
pub(super) fn tidied(masks: &[u8], mut needs: [u8; 8]) -> Vec<u8> {
    let mut members = Vec::with_capacity(masks.len());
    for event in 0..masks.len() {
        let fitting = (0..8u8).find(|member| {
            let slot = usize::from(*member);
            if masks[event] & (1 << member) == 0 || needs[slot] == 0 {
                return false;
            }
            let mut left = needs;
            left[slot] -= 1;
            let mut places = Places::new(&masks[event + 1..], left);
            (0..masks.len() - event - 1).all(|other| places.admit(other))
        });
        let member = fitting.unwrap_or(0);
        needs[usize::from(member)] = needs[usize::from(member)].saturating_sub(1);
        members.push(member);
    }
    members
}

/// How many different values there are.
pub(super) fn different<'a>(values: impl Iterator<Item = Value<'a>>) -> usize {
    let mut found: Vec<Value<'_>> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found.len()
}
