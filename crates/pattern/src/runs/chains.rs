//! Runs of chains: sequences of single events without absences, captured names, `by` or `during`.
//!
//! Per step there is one run, the latest, and an event that moves it overwrites the run of the step behind. So such a run is one
//! line of the processor's cache, found by program and step, and its instance is nothing but its runs. The first step has none:
//! the run that awaits the second one was begun by the latest event, and the times of those before it are kept for its count.
//!
//! Where a run awaits a step, the one that awaits the step before is there too and began no earlier, for it only goes when it is
//! replaced, has grown old, or all later ones are gone.

use std::collections::VecDeque;

use event::Millis;

/// A run. Its step is the one that it awaits, so it has as many events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(align(64))]
pub(crate) struct Link {
    /// Program and step.
    pub key: u32,
    /// Of the run that awaits the second step, where more events match the first than lie here: one more than the number of a ring.
    pub(super) ring: u32,
    /// Time of the first event.
    pub start: Millis,
    /// From there to the completion of the step before, in milliseconds.
    pub done: u32,
    /// The lower halves of the indexes of its events. See [`INLINE`] for what else lies here.
    pub evidence: [u32; 7],
    /// Per step: how many events matched it, as far as that is settled. See [`EARLIER`].
    pub counts: [u16; 8],
}

/// All runs of chains of one customer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chains {
    /// In no order.
    links: Vec<Link>,
    /// An open-addressed table: half of the hash, and one more than a place in `links`. A power of two of them; none as long as there
    /// are few enough runs to be looked through.
    slots: Vec<u32>,
    /// Times of still earlier events of a first step, oldest first.
    rings: Vec<VecDeque<Millis>>,
    /// Numbers of rings that nobody has.
    free: Vec<u32>,
}

/// How many earlier events of a first step are known: with the latest one 64.
const REMEMBERED: usize = 63;
/// How many of them lie in the run that awaits the second step, behind its one event: the latest first, in milliseconds before it.
const INLINE: usize = 6;
/// How many lie there; no step of such a run is counted in this place.
const EARLIER: usize = 7;
/// So many runs need no table.
const FEW: usize = 4;
/// As many runs as places can be told apart.
pub(crate) const MOST: usize = 0xfff0;

#[inline]
pub(crate) const fn key(program: u32, step: u8) -> u32 {
    program << 3 | step as u32
}

impl Link {
    /// A run whose first event has just come.
    #[inline]
    pub fn begun(key: u32, at: Millis, index: u32) -> Self {
        let mut link = Self {
            key,
            start: at,
            ..Self::default()
        };
        link.evidence[0] = index;
        link
    }

    pub const fn program(&self) -> u32 {
        self.key >> 3
    }

    pub const fn step(&self) -> u8 {
        (self.key & 7) as u8
    }

    /// The indexes of its events, their lower halves.
    pub fn events(&self) -> &[u32] {
        &self.evidence[..usize::from(self.step()).min(7)]
    }
}

#[inline]
const fn hash(key: u32) -> u32 {
    key.wrapping_mul(0x9e37_79b1)
}

impl Chains {
    #[inline]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    #[inline]
    pub fn link(&self, place: usize) -> &Link {
        &self.links[place]
    }

    #[inline]
    pub fn link_mut(&mut self, place: usize) -> &mut Link {
        &mut self.links[place]
    }

    #[inline]
    const fn home(&self, hash: u32) -> usize {
        // The upper bits are the better ones.
        ((hash as u64 * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    pub fn find(&self, key: u32) -> Option<usize> {
        if self.slots.is_empty() {
            return self.links.iter().position(|link| link.key == key);
        }
        let hash = hash(key);
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at & mask];
            if slot == 0 {
                return None;
            }
            let place = (slot & 0xffff) as usize - 1;
            if slot >> 16 == hash & 0xffff && self.links[place].key == key {
                return Some(place);
            }
            at += 1;
        }
    }

    /// Reads where the first runs of these keys may be, all at once: what waits for memory waits together. It changes nothing.
    #[inline]
    pub fn fetch(&self, keys: impl Iterator<Item = u32>) {
        if self.slots.is_empty() {
            return;
        }
        let (mut slots, mut found) = ([0u32; 16], 0);
        for (slot, key) in slots.iter_mut().zip(keys) {
            *slot = self.slots[self.home(hash(key))];
        }
        for slot in slots {
            if let Some(link) = self.links.get(((slot & 0xffff) as usize).wrapping_sub(1)) {
                found ^= link.key;
            }
        }
        std::hint::black_box(found);
    }

    /// Adds a run in a place that has none.
    #[inline]
    pub fn insert(&mut self, link: Link) {
        if self.links.len() == self.links.capacity() {
            // Most customers have few: not twice as much at once.
            self.links.reserve_exact((self.links.len() / 2).max(1));
        }
        self.links.push(link);
        if self.links.len() <= FEW && self.slots.is_empty() {
            return;
        }
        if self.links.len() * 2 > self.slots.len() {
            let size = (self.links.len() * 2).next_power_of_two();
            self.slots.clear();
            self.slots.resize(size, 0);
            for place in 0..self.links.len() {
                self.enter(place);
            }
        } else {
            self.enter(self.links.len() - 1);
        }
    }

    /// Enters a run into the table.
    #[inline]
    fn enter(&mut self, place: usize) {
        let hash = hash(self.links[place].key);
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        while self.slots[at & mask] != 0 {
            at += 1;
        }
        self.slots[at & mask] = entry(hash, place);
    }

    /// Where the table names a run.
    fn slot_of(&self, place: usize) -> usize {
        let hash = hash(self.links[place].key);
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        while self.slots[at & mask] != entry(hash, place) {
            at += 1;
        }
        at & mask
    }

    pub fn remove(&mut self, place: usize) {
        let ring = self.links[place].ring;
        if ring != 0 {
            self.rings[ring as usize - 1].clear();
            self.free.push(ring - 1);
        }
        if self.slots.is_empty() {
            self.links.swap_remove(place);
            return;
        }
        // What stands behind moves up if it may.
        let mask = self.slots.len() - 1;
        let mut hole = self.slot_of(place);
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = self.home(hash(self.links[(slot & 0xffff) as usize - 1].key));
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        let last = self.links.len() - 1;
        if place != last {
            let slot = self.slot_of(last);
            self.slots[slot] = entry(hash(self.links[last].key), place);
        }
        self.links.swap_remove(place);
    }

    /// Removes the runs of a program that has so many steps.
    #[inline]
    pub fn remove_all(&mut self, program: u32, steps: u8) -> bool {
        let mut has_removed = false;
        for step in 1..steps {
            if let Some(place) = self.find(key(program, step)) {
                self.remove(place);
                has_removed = true;
            }
        }
        has_removed
    }

    pub fn clear(&mut self) {
        for link in &self.links {
            if link.ring != 0 {
                self.rings[link.ring as usize - 1].clear();
                self.free.push(link.ring - 1);
            }
        }
        self.links.clear();
        self.slots.fill(0);
    }

    /// Removes what began more than `within` of its program ago.
    pub fn expire(&mut self, now: Millis, within: impl Fn(u32) -> i64) {
        let mut place = self.links.len();
        while place > 0 {
            place -= 1;
            let link = &self.links[place];
            if now.since(link.start) > within(link.program()) {
                self.remove(place);
            }
        }
    }

    /// The run that awaits the second step begins anew; the event that began it before is one of the earlier ones now.
    #[inline]
    pub fn restart(&mut self, place: usize, at: Millis, index: u32, within: i64) {
        let link = &mut self.links[place];
        let span = at.since(link.start);
        if span > within {
            link.counts[EARLIER] = 0;
            if link.ring != 0 {
                self.rings[link.ring as usize - 1].clear();
            }
        } else if usize::from(link.counts[EARLIER]) < INLINE {
            link.counts[EARLIER] += 1;
        } else if span + i64::from(link.evidence[INLINE]) <= within {
            self.spill(place, at, within);
        }
        let link = &mut self.links[place];
        let passed = u32::try_from(span).unwrap_or(u32::MAX);
        for earlier in (1..INLINE).rev() {
            link.evidence[earlier + 1] = link.evidence[earlier].saturating_add(passed);
        }
        (link.evidence[0], link.evidence[1]) = (index, passed);
        (link.start, link.done, link.counts[1]) = (at, 0, 0);
    }

    /// Moves the oldest of the times that lie in the run into its ring.
    fn spill(&mut self, place: usize, at: Millis, within: i64) {
        let Self { links, rings, free, .. } = self;
        let link = &mut links[place];
        if link.ring == 0 {
            let number = free.pop().unwrap_or_else(|| {
                rings.push(VecDeque::with_capacity(REMEMBERED - INLINE));
                u32::try_from(rings.len() - 1).unwrap_or(u32::MAX)
            });
            link.ring = number + 1;
        }
        let ring = &mut rings[link.ring as usize - 1];
        while ring.front().is_some_and(|time| at.since(*time) > within) || ring.len() >= REMEMBERED - INLINE {
            ring.pop_front();
        }
        ring.push_back(link.start.plus(-i64::from(link.evidence[INLINE])));
    }

    /// How many events of the first step there were in the last `within`, that of the run that awaits the second step included.
    #[inline]
    pub fn counted(&self, place: usize, at: Millis, within: i64) -> u16 {
        let link = &self.links[place];
        let left = within - at.since(link.start);
        let inline = &link.evidence[1..=usize::from(link.counts[EARLIER]).min(INLINE)];
        let mut count = inline.iter().filter(|earlier| i64::from(**earlier) <= left).count();
        if count == INLINE && link.ring != 0 {
            let ring = &self.rings[link.ring as usize - 1];
            // The old ones went when the last one came: few have grown old since.
            count += ring.len() - ring.iter().take_while(|time| at.since(**time) > within).count();
        }
        u16::try_from(count + 1).unwrap_or(u16::MAX)
    }

    /// The times of the events of the first step before the one that began the run, oldest first.
    pub fn earlier(&self, place: usize) -> impl Iterator<Item = Millis> + Clone {
        let link = &self.links[place];
        let ring = self.rings.get((link.ring as usize).wrapping_sub(1));
        let inline = &link.evidence[1..=usize::from(link.counts[EARLIER]).min(INLINE)];
        let inline = inline.iter().rev().map(|earlier| link.start.plus(-i64::from(*earlier)));
        ring.into_iter().flatten().copied().chain(inline)
    }

    /// Gives a new run the times of earlier events of the first step, oldest first.
    pub fn set_earlier(&mut self, place: usize, times: impl Iterator<Item = Millis>) {
        let known = self.links[place];
        let mut times = times.chain([known.start]);
        let first = times.next();
        self.links[place].start = first.unwrap_or(known.start);
        for time in times {
            self.restart(place, time, known.evidence[0], i64::from(u32::MAX));
        }
        self.links[place].counts[1] = known.counts[1];
    }

    /// A run as it is behind its step, which an event completes; the event itself is not entered.
    #[inline]
    pub fn moved(&self, place: usize, at: Millis, span: i64, within: i64) -> Link {
        let mut link = self.links[place];
        let step = usize::from(link.step());
        link.key += 1;
        link.done = u32::try_from(span).unwrap_or(u32::MAX);
        if step == 1 {
            link.counts = [self.counted(place, at, within), link.counts[1], 0, 0, 0, 0, 0, 0];
        }
        link.counts[step] = link.counts[step].saturating_add(1);
        if let Some(count) = link.counts.get_mut(step + 1) {
            *count = 0;
        }
        link
    }

    /// Behind a step that is complete by an event: the run there, which it overwrites.
    #[inline]
    pub fn overwrite(&mut self, mut link: Link) {
        link.ring = 0;
        match self.find(link.key) {
            Some(place) => self.links[place] = link,
            None => self.insert(link),
        }
    }
}

const fn entry(hash: u32, place: usize) -> u32 {
    hash << 16 | (place as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table against a map, with many removals and keys that collide.
    #[test]
    fn runs_are_found_by_program_and_step() {
        let (mut chains, mut known) = (Chains::default(), std::collections::BTreeMap::new());
        let mut dice = 7u64;
        for round in 0..20_000u32 {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let program = (u32::try_from(dice >> 33).expect("31 bits") % 60) << 9;
            let step = (dice >> 20) as u8 % 3 + 1;
            let key = key(program, step);
            match chains.find(key) {
                Some(place) if dice >> 10 & 3 < 2 => {
                    chains.remove(place);
                    assert!(known.remove(&key).is_some());
                }
                Some(place) => assert_eq!(known.get(&key), Some(&chains.link(place).evidence[0])),
                None => {
                    assert!(known.insert(key, round).is_none());
                    let mut link = Link { key, ..Link::default() };
                    link.evidence[0] = round;
                    chains.insert(link);
                }
            }
            assert_eq!(chains.len(), known.len());
        }
        for (key, round) in known {
            let place = chains.find(key).expect("known");
            assert_eq!(chains.link(place).evidence[0], round);
        }
    }
}
