//! A customer's journey as stored rows. Each begins with its version, rows are written only when their bytes changed.
//!
//! | row | holds |
//! |---|---|
//! | `hd` | what changes with every event: index, repeats, whereabouts, rate |
//! | `pf` | the profile, without what is filled when it is published |
//! | `tx` `ef` `de` | texts, efforts, decisions |
//! | `la` | which languages texts were in |
//! | `li` | which customers the identifier was linked with |
//! | `re` | which open interventions rest on which journeys that were handed over |
//! | `or` ‖ be64(index) | one journey that was handed over, as it was |
//! | `ru` | open runs of patterns and the events that they name, where there are few |
//! | `rp` ‖ pattern id | where there are more: the runs of the patterns from that one on |
//! | `ke` ‖ be64(number) | and the events that they name, some indexes at a time |
//! | `tl` ‖ be64(index) | one line of the timeline |

use std::collections::{BTreeMap, BTreeSet};

use event::{Millis, Profile, TimelineEntry};
use journey::{
    Core, Decided, Decisions, EffortEntry, EffortKind, Journey, Languages, Link, Open, Origin, Recent, Rest, Scored,
    Shown, Texts,
};
use serde_json::Value;

use crate::{
    Refusal,
    parts::{self, Found, Layout, Parts},
    record::{Wire, record},
    runs,
    wire::{Reader, put_bytes, put_long},
};

const VERSION: u8 = 1;
/// The version of the head; the first had hashes as lists of numbers.
const HEAD: u8 = 2;
/// The version of the row of texts; the first had scores without their times.
const TEXTS: u8 = 2;
const TIMELINE: &[u8] = b"tl";
const ORIGIN: &[u8] = b"or";

/// Bytes of an event that is remembered, at most: its hash and its time; and about those of the rest of a head.
const RECENT: usize = 26;
const REST: usize = 128;

record!(Recent { hash, at });
record!(Core {
    next_index,
    recent,
    channel,
    seen_at,
    session,
    conversation,
    tokens,
    tokens_at,
    changed,
    published_at,
    traceparent,
});
record!(Texts {
    n_texts,
    n_scored,
    sum,
    first,
    last,
    decayed_sum,
    decayed_n,
    decayed_at,
    negative_run,
    worst,
    label,
    signals,
    last_negative,
    updated_at,
});
record!(Scored { at, score });
record!(Languages { votes, total });
record!(Link { to, at });
record!(Rest { intervention, origin });
record!(EffortEntry { at, kind, ms, channel });
record!(Decided { acted_at, arm });
record!(Shown { intervention, at });
record!(Open {
    intervention,
    pattern,
    pattern_version,
    kind,
    channel,
    state,
    created_at,
    expires_at,
    cancel_on,
    priority,
    new_contact,
    signal,
});
record!(Decisions {
    by_pattern,
    shown,
    open
});

macro_rules! stored {
    ($($type:ty: $put:expr, $get:expr);+ $(;)?) => {
        $(impl Wire for $type {
            fn put(&self, out: &mut Vec<u8>) {
                ($put)(out, self);
            }

            fn get(from: &mut Reader<'_>) -> Result<Self, Refusal> {
                ($get)(from)
            }

            /// Rows are never shown as they are.
            fn json(&self) -> Value {
                Value::Null
            }
        })+
    };
}

stored! {
    [u8; 16]: |out: &mut Vec<u8>, hash: &[u8; 16]| out.extend_from_slice(hash), Reader::fixed;
    EffortKind: |out: &mut Vec<u8>, kind: &EffortKind| put_long(out, *kind as i64), |from: &mut Reader<'_>| {
        from.index(EffortKind::ALL.len()).map(|index| EffortKind::ALL[index])
    };
    u64: |out: &mut Vec<u8>, value: &u64| put_long(out, value.cast_signed()), |from: &mut Reader<'_>| {
        from.long().map(i64::cast_unsigned)
    };
}

/// Takes a row by name; `None` deletes it.
pub type PutRow<'a> = &'a mut dyn FnMut(&[u8], Option<Vec<u8>>);

/// What a customer's rows were when they were last written, so that only changes are written again.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    rows: [Option<[u8; 16]>; 9],
    /// Parts of the runs.
    parts: Parts,
    /// By index: how many events each line stood for.
    timeline: BTreeMap<u64, i32>,
    /// Journeys that were handed over, by index; what stands under one never changes.
    origins: BTreeSet<u64>,
}

const NAMES: [&[u8; 2]; 9] = [b"hd", b"pf", b"tx", b"ef", b"de", b"ru", b"la", b"li", b"re"];

/// Whether a row is one of those in which runs stand.
#[must_use]
pub fn is_of_runs(name: &[u8]) -> bool {
    name == NAMES[5] || parts::is_part(name)
}

/// Gives every row that changed to `put`; `None` deletes. The head is always given, as the runtime writes it with each change.
pub fn save_journey(journey: &Journey, saved: &mut Saved, put: PutRow<'_>) {
    save(journey, Layout::Parts, saved, put);
}

fn save(journey: &Journey, layout: Layout, saved: &mut Saved, put: PutRow<'_>) {
    let core = &journey.core;
    let mut head = Vec::with_capacity(REST + RECENT * core.recent.len());
    head.push(HEAD);
    core.put(&mut head);
    put(NAMES[0], Some(head));
    one(1, &journey.profile, saved, put);
    if journey.texts != Texts::default() {
        let mut row = vec![TEXTS];
        journey.texts.put(&mut row);
        changed(2, row, saved, put);
    } else if saved.rows[2].take().is_some() {
        put(NAMES[2], None);
    }
    if journey.efforts.is_empty() && saved.rows[3].is_none() {
        saved.rows[3] = None;
    } else {
        changed(3, bytes(&journey.efforts), saved, put);
    }
    one(4, &journey.decisions, saved, put);
    match parts::save(&journey.runs, layout, &mut saved.parts, put) {
        Some(row) => changed(5, row, saved, put),
        None if saved.rows[5].take().is_some() => put(NAMES[5], None),
        None => {}
    }
    one(6, &journey.languages, saved, put);
    one(7, &journey.links, saved, put);
    one(8, &journey.rests, saved, put);
    for (index, origin) in &journey.origins {
        if saved.origins.insert(*index) {
            put(&indexed(ORIGIN, *index), Some(origin_bytes(origin)));
        }
    }
    saved.origins.retain(|index| {
        let stays = journey.origins.contains_key(index);
        if !stays {
            put(&indexed(ORIGIN, *index), None);
        }
        stays
    });
    for (index, entry) in &journey.timeline {
        if saved.timeline.get(index) != Some(&entry.count) {
            saved.timeline.insert(*index, entry.count);
            put(&indexed(TIMELINE, *index), Some(bytes(entry)));
        }
    }
    let gone = saved
        .timeline
        .keys()
        .filter(|index| !journey.timeline.contains_key(index));
    let gone: Vec<u64> = gone.copied().collect();
    for index in gone {
        saved.timeline.remove(&index);
        put(&indexed(TIMELINE, index), None);
    }
}

fn one<T: Wire + Default + PartialEq>(which: usize, row: &T, saved: &mut Saved, put: PutRow<'_>) {
    if *row != T::default() {
        changed(which, bytes(row), saved, put);
    } else if saved.rows[which].take().is_some() {
        put(NAMES[which], None);
    }
}

fn changed(which: usize, bytes: Vec<u8>, saved: &mut Saved, put: PutRow<'_>) {
    let hash = short(&bytes);
    if saved.rows[which] != Some(hash) {
        saved.rows[which] = Some(hash);
        put(NAMES[which], Some(bytes));
    }
}

fn short(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

fn indexed(row: &[u8], index: u64) -> Vec<u8> {
    [row, &index.to_be_bytes()].concat()
}

fn bytes<T: Wire>(row: &T) -> Vec<u8> {
    let mut out = vec![VERSION];
    row.put(&mut out);
    out
}

/// Reads a journey from its rows, the head among them.
///
/// # Errors
/// The row, and what is wrong with it: an unknown version or name, or bytes that do not fit.
pub fn load_journey<'a>(rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<(Journey, Saved), String> {
    let mut journey = Journey::default();
    let mut saved = Saved::default();
    let mut found = Found::default();
    for (name, value) in rows {
        let told = || String::from_utf8_lossy(name.get(..2).unwrap_or_default()).into_owned();
        let (version, _) = value
            .split_first()
            .ok_or_else(|| format!("row is empty: row={}", told()))?;
        let newest = match name {
            name if name == NAMES[5] => runs::VERSION,
            name if name == NAMES[2] => TEXTS,
            name if name == NAMES[0] => HEAD,
            _ => VERSION,
        };
        if !(1..=newest).contains(version) {
            let known = if newest == 1 {
                "1".to_owned()
            } else {
                format!("1..={newest}")
            };
            return Err(format!(
                "unknown row version: row={} found={version} known={known}",
                told()
            ));
        }
        let failed = |refusal: Refusal| format!("{}: row={}", refusal.message, told());
        let index = |place: &[u8]| {
            let bytes = place.try_into();
            let bytes = bytes.map_err(|_| format!("row without index: row={}", told()))?;
            Ok::<u64, String>(u64::from_be_bytes(bytes))
        };
        if let Some(place) = name.strip_prefix(ORIGIN) {
            let index = index(place)?;
            journey.origins.insert(
                index,
                read_origin(value).map_err(|problem| format!("{problem}: row={}", told()))?,
            );
            saved.origins.insert(index);
            continue;
        }
        if let Some(place) = name.strip_prefix(TIMELINE) {
            let index = index(place)?;
            let entry: TimelineEntry = read(value).map_err(failed)?;
            saved.timeline.insert(index, entry.count);
            journey.timeline.insert(index, entry);
            continue;
        }
        if found.take(name, value).map_err(failed)? {
            continue;
        }
        let which = NAMES.iter().position(|known| known.as_slice() == name);
        match which {
            Some(0) => {
                let found = if *version == 1 { first_core(value) } else { read(value) };
                journey.core = found.map_err(failed)?;
            }
            Some(1) => journey.profile = read::<Profile>(value).map_err(failed)?,
            Some(2) => {
                let found = if *version == 1 { first_texts(value) } else { read(value) };
                journey.texts = found.map_err(failed)?;
            }
            Some(3) => journey.efforts = read(value).map_err(failed)?,
            Some(4) => journey.decisions = read(value).map_err(failed)?,
            Some(5) => {
                let mut from = Reader::new(value, 1);
                let found = runs::get(*version, &mut from).and_then(|runs| from.end().map(|()| runs));
                journey.runs = found.map_err(failed)?;
            }
            Some(6) => journey.languages = read(value).map_err(failed)?,
            Some(7) => journey.links = read(value).map_err(failed)?,
            Some(8) => journey.rests = read(value).map_err(failed)?,
            _ => return Err(format!("unknown row: row={}", told())),
        }
        if let Some(which) = which.filter(|which| *which > 0) {
            saved.rows[which] = Some(short(value));
        }
    }
    if let Some((runs, parts)) = found.runs().map_err(|refusal| format!("{}: row=rp", refusal.message))? {
        if saved.rows[5].is_some() {
            return Err("runs stand in one row and in parts: row=ru".to_owned());
        }
        (journey.runs, saved.parts) = (runs, parts);
    }
    Ok((journey, saved))
}

/// The head as version 1 wrote it: each byte of a hash as a number of its own.
fn first_core(value: &[u8]) -> Result<Core, Refusal> {
    let mut from = Reader::new(value, 1);
    let from = &mut from;
    let recent = |from: &mut Reader<'_>| {
        let hash = Vec::<u8>::get(from)?;
        let hash = hash.try_into().map_err(|_| from.malformed("a hash has 16 bytes"))?;
        let at = Wire::get(from)?;
        Ok(Recent { hash, at })
    };
    let core = Core {
        next_index: Wire::get(from)?,
        recent: from.list(recent)?,
        channel: Wire::get(from)?,
        seen_at: Wire::get(from)?,
        session: Wire::get(from)?,
        conversation: Wire::get(from)?,
        tokens: Wire::get(from)?,
        tokens_at: Wire::get(from)?,
        changed: Wire::get(from)?,
        published_at: Wire::get(from)?,
        traceparent: Wire::get(from)?,
    };
    from.end()?;
    Ok(core)
}

/// The row of texts as version 1 wrote it. When a score was given was not kept: the first ones count as older than any other, the last
/// ones as of the last scored text.
fn first_texts(value: &[u8]) -> Result<Texts, Refusal> {
    let mut from = Reader::new(value, 1);
    let from = &mut from;
    let (n_texts, n_scored, sum) = (Wire::get(from)?, Wire::get(from)?, Wire::get(from)?);
    let (first, last) = (Vec::<f64>::get(from)?, Vec::<f64>::get(from)?);
    let mut texts = Texts {
        n_texts,
        n_scored,
        sum,
        decayed_sum: Wire::get(from)?,
        decayed_n: Wire::get(from)?,
        decayed_at: Wire::get(from)?,
        negative_run: Wire::get(from)?,
        worst: Wire::get(from)?,
        label: Wire::get(from)?,
        signals: Wire::get(from)?,
        last_negative: Wire::get(from)?,
        updated_at: Wire::get(from)?,
        ..Texts::default()
    };
    from.end()?;
    let at = texts.decayed_at.unwrap_or_default();
    let timed = |scores: Vec<f64>, at: Millis| scores.into_iter().map(|score| Scored { at, score }).collect();
    texts.first = timed(first, Millis(0));
    texts.last = timed(last, at);
    Ok(texts)
}

/// A journey that was handed over: whose it was, through whom and when it came, then the journey in one piece.
fn origin_bytes(origin: &Origin) -> Vec<u8> {
    let mut row = vec![VERSION];
    origin.key.put(&mut row);
    origin.through.put(&mut row);
    origin.at.put(&mut row);
    put_bytes(&mut row, &pack_journey(&origin.journey));
    row
}

fn read_origin(value: &[u8]) -> Result<Origin, String> {
    let told = |refusal: Refusal| refusal.message;
    let mut from = Reader::new(value, 1);
    let origin = Origin {
        key: Wire::get(&mut from).map_err(told)?,
        through: Wire::get(&mut from).map_err(told)?,
        at: Wire::get(&mut from).map_err(told)?,
        journey: Box::new(unpack_journey(from.bytes().map_err(told)?)?),
    };
    from.end().map_err(told)?;
    Ok(origin)
}

/// The version of a journey in one piece.
const PACKED: u8 = 1;

/// A journey in one piece, as it is handed over: a version, then the length and bytes of the name and value of each row, big-endian. Runs
/// stand in one row, since a piece is never written in part.
#[must_use]
pub fn pack_journey(journey: &Journey) -> Vec<u8> {
    let mut packed = vec![PACKED];
    save(journey, Layout::Whole, &mut Saved::default(), &mut |name, value| {
        for part in [name, value.as_deref().unwrap_or_default()] {
            packed.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            packed.extend_from_slice(part);
        }
    });
    packed
}

/// Reads what [`pack_journey`] wrote.
///
/// # Errors
/// An unknown version, a piece that is cut, or what is wrong with a row.
pub fn unpack_journey(packed: &[u8]) -> Result<Journey, String> {
    let (version, mut rest) = packed.split_first().ok_or("journey is empty")?;
    if *version != PACKED {
        return Err(format!("unknown journey version: found={version} known={PACKED}"));
    }
    let mut part = || -> Result<Option<&[u8]>, String> {
        if rest.is_empty() {
            return Ok(None);
        }
        let (length, behind) = rest.split_first_chunk::<4>().ok_or("journey is cut short")?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (part, behind) = behind.split_at_checked(length).ok_or("journey is cut short")?;
        rest = behind;
        Ok(Some(part))
    };
    let mut rows = Vec::new();
    while let Some(name) = part()? {
        rows.push((name, part()?.ok_or("journey is cut short")?));
    }
    Ok(load_journey(rows)?.0)
}

fn read<T: Wire>(value: &[u8]) -> Result<T, Refusal> {
    let mut from = Reader::new(value, 1);
    let row = T::get(&mut from)?;
    from.end()?;
    Ok(row)
}
