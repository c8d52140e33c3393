//! The rows `rp` and `ke`: what `ru` holds in one row, in parts, so that an event has only those written again that it touched.
//!
//! | row | value |
//! |---|---|
//! | `rp` ‖ pattern id | version ‖ be32(instances) ‖ index ‖ time ‖ instances as `ru` has them, told from that index and time |
//! | `ke` ‖ be64(number) | version ‖ kept events with indexes from 32 × number on, below 32 × (number + 1), as `ru` has them |
//!
//! Instances stand in order of pattern ids. A part begins with each pattern whose id has a certain hash, one in eight, and bears its
//! name; what stands before the first of them bears none. So what comes or goes changes the part that it is in, and no other. What the
//! rows are follows from the journey alone, whatever they were before.

use std::{iter::Peekable, ops::Range, sync::Arc, vec::IntoIter};

use event::Millis;
use pattern::{ChainRuns, Instance, Kept, KeptRef, Runs, Teller};

use crate::{
    Refusal,
    rows::PutRow,
    runs::{self, Times, Writer},
    wire::{Reader, put_count, put_long},
};

/// The version of both kinds.
const VERSION: u8 = 1;
const RUNS: &[u8] = b"rp";
const EVENTS: &[u8] = b"ke";

/// Up to so many instances and events together are one row.
const FEW: usize = 24;
/// Where a part says how many instances it has.
const COUNT: Range<usize> = 1..5;
/// Indexes of one row of events.
const SPAN: u64 = 32;

/// Two halves of a hash by which changes are noticed.
type Mark = [u64; 2];

/// What the parts were when they were last written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    /// By pattern id, in order.
    runs: Vec<(Arc<str>, Mark)>,
    /// By number, in order.
    events: Vec<(u64, Mark)>,
    /// How long the row was that had everything.
    whole: usize,
}

/// How runs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In one row, however large.
    Whole,
    /// In parts, unless there is little.
    Parts,
}

/// Gives every part that changed to `put`; `None` deletes. Returned is the row `ru` if everything stands there.
pub(crate) fn save(runs: &Runs, layout: Layout, saved: &mut Parts, put: PutRow<'_>) -> Option<Vec<u8>> {
    if runs.is_empty() {
        saved.give_up(put);
        return None;
    }
    let events: Vec<KeptRef<'_>> = runs.events().collect();
    let times = Times::of(events.iter().map(|kept| (kept.index, kept.at)));
    let mut told = Told {
        writer: Writer {
            out: Vec::with_capacity(saved.whole + saved.whole / 8 + 64),
            times,
            name: Arc::from(""),
        },
        events: &events,
        is_whole: layout == Layout::Whole,
        part: Arc::from(""),
        instances: 0,
        before: std::mem::take(&mut saved.runs).into_iter().peekable(),
        now: Vec::new(),
        put,
    };
    runs.tell(&mut told);
    if told.is_whole {
        let Told {
            writer, before, put, ..
        } = told;
        saved.runs = before.collect();
        saved.give_up(put);
        saved.whole = writer.out.len();
        return Some(writer.out);
    }
    told.close();
    let Told { now, before, put, .. } = told;
    for (part, _) in before {
        put(&named(&part), None);
    }
    saved.runs = now;
    saved.whole = 0;
    save_events(&events, saved, put);
    None
}

fn save_events(events: &[KeptRef<'_>], saved: &mut Parts, put: PutRow<'_>) {
    let chunks = events.chunk_by(|one, other| one.index / SPAN == other.index / SPAN);
    let mut before = std::mem::take(&mut saved.events).into_iter().peekable();
    for chunk in chunks {
        let (number, mark) = (chunk[0].index / SPAN, mark_of(chunk.iter().copied()));
        while let Some((gone, _)) = before.next_if(|(known, _)| *known < number) {
            put(&numbered(gone), None);
        }
        if before
            .next_if(|(known, _)| *known == number)
            .is_none_or(|(_, known)| known != mark)
        {
            let mut row = vec![VERSION];
            runs::put_events(&mut row, chunk.iter().copied());
            put(&numbered(number), Some(row));
        }
        saved.events.push((number, mark));
    }
    for (gone, _) in before {
        put(&numbered(gone), None);
    }
}

impl Parts {
    /// Deletes all parts.
    fn give_up(&mut self, put: PutRow<'_>) {
        for (part, _) in self.runs.drain(..) {
            put(&named(&part), None);
        }
        for (number, _) in self.events.drain(..) {
            put(&numbered(number), None);
        }
    }
}

/// Whether a row of this name is a part.
pub(crate) fn is_part(name: &[u8]) -> bool {
    name.starts_with(RUNS) || name.starts_with(EVENTS)
}

fn named(part: &str) -> Vec<u8> {
    [RUNS, part.as_bytes()].concat()
}

fn numbered(number: u64) -> Vec<u8> {
    [EVENTS, &number.to_be_bytes()].concat()
}

/// Whether a part begins with this pattern.
fn begins(pattern: &str) -> bool {
    mark(pattern.as_bytes())[0] >> 61 == 0
}

/// Writes instances as they are told, and gives each part away that differs from what it was.
struct Told<'a, 'p> {
    /// Its buffer holds the open part.
    writer: Writer,
    events: &'a [KeptRef<'a>],
    is_whole: bool,
    /// What the open part is named by.
    part: Arc<str>,
    /// How many stand in it.
    instances: u32,
    before: Peekable<IntoIter<(Arc<str>, Mark)>>,
    now: Vec<(Arc<str>, Mark)>,
    put: PutRow<'p>,
}

impl Told<'_, '_> {
    /// An instance of this pattern follows, with a first event of this index and time.
    fn enter(&mut self, pattern: &Arc<str>, first: (u64, Millis)) {
        if self.is_whole {
            return;
        }
        let is_first = self.writer.out.is_empty();
        if !is_first && (*pattern == self.writer.name || !begins(pattern)) {
            self.instances += 1;
            return;
        }
        self.close();
        self.instances = 1;
        if !is_first || begins(pattern) {
            self.part.clone_from(pattern);
        }
        self.writer.name = Arc::from("");
        (self.writer.times.first, self.writer.times.base) = first;
        let out = &mut self.writer.out;
        out.extend([VERSION, 0, 0, 0, 0]);
        put_long(out, first.0.cast_signed());
        put_long(out, first.1.0);
    }

    fn close(&mut self) {
        let out = &mut self.writer.out;
        if out.is_empty() {
            return;
        }
        out[COUNT].copy_from_slice(&self.instances.to_be_bytes());
        while let Some((gone, _)) = self.before.next_if(|(known, _)| *known < self.part) {
            (self.put)(&named(&gone), None);
        }
        let mark = mark(out);
        let known = self.before.next_if(|(known, _)| *known == self.part);
        if known.is_none_or(|(_, known)| known != mark) {
            (self.put)(&named(&self.part), Some(out.clone()));
        }
        self.now.push((Arc::clone(&self.part), mark));
        self.writer.out.clear();
    }
}

impl Teller for Told<'_, '_> {
    fn begin(&mut self, instances: usize) {
        self.is_whole |= instances + self.events.len() <= FEW;
        if self.is_whole {
            let out = &mut self.writer.out;
            out.push(runs::VERSION);
            runs::put_events(out, self.events.iter().copied());
            put_count(out, instances);
        }
    }

    fn instance(&mut self, instance: &Instance) {
        // As of a chain, which an instance becomes and which becomes one.
        let mut runs = instance.runs.iter();
        let run = runs.next().and_then(|run| Some((*run.evidence.first()?, run.start)));
        let sighting = || instance.sightings.front().map(|first| (first.index, first.at));
        self.enter(&instance.pattern, run.or_else(sighting).unwrap_or_default());
        self.writer.instance(instance);
    }

    fn chain(&mut self, instance: &ChainRuns<'_>) {
        let mut runs = instance.runs();
        let first = runs.next().and_then(|run| Some((run.evidence().next()?, run.start())));
        self.enter(instance.pattern, first.unwrap_or_default());
        self.writer.chain(instance);
    }
}

/// The parts of a journey, as they are read.
#[derive(Default)]
pub(crate) struct Found<'a> {
    parts: Vec<(&'a str, &'a [u8])>,
    events: Vec<Kept>,
    saved: Parts,
}

impl<'a> Found<'a> {
    /// Takes a row if it is a part; whether it is one. Rows come in order of their names.
    pub fn take(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<bool, Refusal> {
        if let Some(part) = name.strip_prefix(RUNS) {
            let part = std::str::from_utf8(part).map_err(|_| refused("a part is not named by a pattern"))?;
            if self.parts.last().is_some_and(|(before, _)| *before >= part) {
                return Err(refused("parts are out of order"));
            }
            self.parts.push((part, value));
            self.saved.runs.push((Arc::from(part), mark(value)));
            return Ok(true);
        }
        let Some(number) = name.strip_prefix(EVENTS) else {
            return Ok(false);
        };
        let number = number.try_into().map_err(|_| refused("row without index"))?;
        let mut from = Reader::new(value, 1);
        let events = runs::read_events(&mut from)?;
        from.end()?;
        let mut before = self.events.last().map(|kept| kept.view().index);
        for kept in &events {
            let index = kept.view().index;
            if before.is_some_and(|before| before >= index) {
                return Err(from.malformed("events are out of order"));
            }
            before = Some(index);
        }
        let mark = mark_of(events.iter().map(Kept::view));
        self.saved.events.push((u64::from_be_bytes(number), mark));
        self.events.extend(events);
        Ok(true)
    }

    /// All parts together; `None` if there are none.
    pub fn runs(self) -> Result<Option<(Runs, Parts)>, Refusal> {
        if self.parts.is_empty() && self.events.is_empty() {
            return Ok(None);
        }
        let mut times = Times::of(self.events.iter().map(Kept::view).map(|kept| (kept.index, kept.at)));
        let mut instances = Vec::new();
        for (_, value) in &self.parts {
            let count = value.get(COUNT).and_then(|bytes| bytes.try_into().ok());
            let count = u32::from_be_bytes(count.ok_or_else(|| refused("the value ends too early"))?);
            let mut from = Reader::new(value, COUNT.end);
            times.first = from.long()?.cast_unsigned();
            times.base = Millis(from.long()?);
            let mut name = String::new();
            for _ in 0..count {
                instances.push(runs::read_named(&mut from, &mut name, &times)?);
            }
            from.end()?;
        }
        Ok(Some((Runs::restored(instances, self.events), self.saved)))
    }
}

fn refused(what: &str) -> Refusal {
    Refusal::new("avro_malformed", what)
}

fn mark_of<'a>(events: impl Iterator<Item = KeptRef<'a>>) -> Mark {
    let mut hash = Hash::new();
    for kept in events {
        for word in [kept.index, kept.at.0.cast_unsigned(), kept.time.0.cast_unsigned()] {
            hash.word(word);
        }
        hash.bytes(kept.bytes());
    }
    hash.done()
}

fn mark(bytes: &[u8]) -> Mark {
    let mut hash = Hash::new();
    hash.bytes(bytes);
    hash.done()
}

/// A hash of 128 bits by folded multiplication (as in wyhash, Wang Yi 2019), for which nobody has a motive to find collisions: it tells
/// whether a customer's own part has changed since it was written.
struct Hash(Mark);

impl Hash {
    /// Fractional digits of the square roots of the first primes, made odd.
    const BEGIN: Mark = [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b];
    const TIMES: Mark = [0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

    const fn new() -> Self {
        Self(Self::BEGIN)
    }

    fn word(&mut self, word: u64) {
        for (half, times) in self.0.iter_mut().zip(Self::TIMES) {
            let product = u128::from(*half ^ word) * u128::from(times);
            #[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
            {
                *half = (product as u64 ^ (product >> 64) as u64).wrapping_add(times);
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn done(mut self) -> Mark {
        self.word(0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written depends on it: parts would be cut elsewhere.
    #[test]
    fn the_hash_never_changes() {
        assert_eq!(mark(b""), [0xb21e_fc36_ea35_8ffa, 0x5c57_4b9f_262c_4295]);
        assert_eq!(
            mark(b"checkout-hesitation"),
            [0xcad5_6d0f_f5f3_8479, 0xe0f0_7683_3ecd_be64]
        );
    }

    #[test]
    fn every_bit_counts() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut seen = vec![mark(&bytes)];
        for bit in 0..800 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            seen.push(mark(&other));
        }
        for length in 0..100 {
            seen.push(mark(&bytes[..length]));
            seen.push(mark(&vec![0; length + 2]));
        }
        for half in 0..2 {
            let mut halves: Vec<u64> = seen.iter().map(|mark| mark[half]).collect();
            halves.sort_unstable();
            halves.dedup();
            assert_eq!(halves.len(), seen.len());
        }
    }

    /// One pattern in eight begins a part, also where names differ by a figure alone.
    #[test]
    fn parts_are_neither_long_nor_short() {
        let begun = (0..8000).filter(|number| begins(&format!("made-{number:04}"))).count();
        assert!((900..1100).contains(&begun), "{begun} of 8000");
    }
}
