//! The events that runs name: each is written once, behind the one before, into one piece of memory per customer.

use std::collections::BTreeMap;

use event::{Attribute, EventRef, LINK_FROM, Millis};

use crate::Value;

/// What is kept of an event that something names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    place: Place,
    packed: Vec<u8>,
}

/// A kept event where it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeptRef<'a> {
    /// The customer's index of the event.
    pub index: u64,
    /// Its time on the customer's clock.
    pub at: Millis,
    /// The event's own time.
    pub time: Millis,
    /// Texts with their lengths: id, source, type, position; then names and values of fields.
    packed: &'a [u8],
}

/// Where an event lies among the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Place {
    index: u64,
    at: Millis,
    time: Millis,
    begin: u32,
    end: u32,
}

impl Kept {
    /// Keeps an event with the fields that a sentence may read.
    pub fn new<'a>(
        index: u64,
        at: Millis,
        event: &EventRef,
        fields: impl IntoIterator<Item = (&'a str, Value<'a>)>,
    ) -> Self {
        let texts = [&event.id, &event.source, &event.kind, &event.position].map(String::as_str);
        let mut packed = Vec::new();
        pack(&mut packed, texts, fields);
        let place = Place {
            index,
            at,
            time: event.time,
            ..Place::default()
        };
        Self { place, packed }
    }

    /// To read it.
    #[must_use]
    pub fn view(&self) -> KeptRef<'_> {
        KeptRef {
            index: self.place.index,
            at: self.place.at,
            time: self.place.time,
            packed: &self.packed,
        }
    }
}

impl From<KeptRef<'_>> for Kept {
    fn from(kept: KeptRef<'_>) -> Self {
        Self {
            place: Place {
                index: kept.index,
                at: kept.at,
                time: kept.time,
                ..Place::default()
            },
            packed: kept.packed.to_vec(),
        }
    }
}

impl<'a> KeptRef<'a> {
    /// The event.
    #[must_use]
    pub fn event(&self) -> EventRef {
        let [id, source, kind, position] = self.texts().map(str::to_owned);
        EventRef {
            id,
            source,
            kind,
            time: self.time,
            position,
        }
    }

    /// Id, source, type and position.
    #[must_use]
    pub fn texts(&self) -> [&'a str; 4] {
        let mut from = self.packed;
        [(); 4].map(|()| text(&mut from))
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        text(&mut { self.packed })
    }

    /// Texts and fields as they lie in memory: of equal events mostly the same bytes, of others never.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.packed
    }

    /// The key of the journey that it came from, if that was another one.
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        let mut from = self.packed;
        for _ in 0..4 {
            take(&mut from);
        }
        while !from.is_empty() {
            let name = text(&mut from);
            let (tag, rest) = from.split_first()?;
            from = rest;
            match tag {
                1 => from = from.get(1..)?,
                2 | 3 => from = from.get(8..)?,
                4 if name == LINK_FROM => return Some(text(&mut from)),
                4 => _ = take(&mut from),
                5 => (0..length(&mut from)).for_each(|_| _ = take(&mut from)),
                _ => {}
            }
        }
        None
    }

    /// The same event under a later index, marked as `origin`'s unless it came from another journey before.
    pub(crate) fn moved(self, offset: u64, origin: Option<&str>) -> Kept {
        let mut kept = Kept::from(self);
        kept.place.index += offset;
        if let (Some(key), None) = (origin, self.origin()) {
            put(&mut kept.packed, LINK_FROM);
            kept.packed.push(4);
            put(&mut kept.packed, key);
        }
        kept
    }

    /// The fields that a sentence may read.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, Attribute> {
        let mut from = self.packed;
        for _ in 0..4 {
            take(&mut from);
        }
        let mut fields = BTreeMap::new();
        while !from.is_empty() {
            let name = text(&mut from);
            let tag = from[0];
            from = &from[1..];
            let value = match tag {
                1 => {
                    let value = from[0] != 0;
                    from = &from[1..];
                    Attribute::Bool(value)
                }
                2 => Attribute::Long(i64::from_le_bytes(eight(&mut from))),
                3 => Attribute::Double(f64::from_le_bytes(eight(&mut from))),
                4 => Attribute::Text(text(&mut from).to_owned()),
                5 => {
                    let length = length(&mut from);
                    Attribute::List((0..length).map(|_| text(&mut from).to_owned()).collect())
                }
                _ => Attribute::Null,
            };
            fields.insert(name.to_owned(), value);
        }
        fields
    }
}

fn pack<'a>(packed: &mut Vec<u8>, texts: [&str; 4], fields: impl IntoIterator<Item = (&'a str, Value<'a>)>) {
    packed.reserve(texts.iter().map(|text| text.len() + 5).sum());
    for text in texts {
        put(packed, text);
    }
    for (name, value) in fields {
        put(packed, name);
        match value {
            Value::Null => packed.push(0),
            Value::Bool(value) => packed.extend([1, u8::from(value)]),
            Value::Long(value) => {
                packed.push(2);
                packed.extend(value.to_le_bytes());
            }
            Value::Double(value) => {
                packed.push(3);
                packed.extend(value.to_le_bytes());
            }
            Value::Text(text) => {
                packed.push(4);
                put(packed, text);
            }
            Value::List(list) => {
                packed.push(5);
                put_length(packed, list.len());
                for text in list {
                    put(packed, text);
                }
            }
        }
    }
}

/// Lengths below this take one byte, others five.
const LONG: u8 = 255;

#[inline]
fn put_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < LONG => out.push(short),
        _ => {
            out.push(LONG);
            out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

#[inline]
fn put(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn length(from: &mut &[u8]) -> usize {
    let Some((short, rest)) = from.split_first() else {
        return 0;
    };
    *from = rest;
    match rest.split_first_chunk::<4>() {
        Some((long, rest)) if *short == LONG => {
            *from = rest;
            u32::from_le_bytes(*long) as usize
        }
        _ => usize::from(*short),
    }
}

fn take<'a>(from: &mut &'a [u8]) -> &'a [u8] {
    let length = length(from).min(from.len());
    let (bytes, rest) = from.split_at(length);
    *from = rest;
    bytes
}

fn text<'a>(from: &mut &'a [u8]) -> &'a str {
    std::str::from_utf8(take(from)).unwrap_or_default()
}

fn eight(from: &mut &[u8]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&from[..8]);
    *from = &from[8..];
    bytes
}

/// Kept events of one customer, in order of their index; or those of a match, in order of its steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Events {
    places: Vec<Place>,
    bytes: Vec<u8>,
}

/// What is marked as named, a bit each. Reused from sweep to sweep.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    bits: Vec<u64>,
    /// Where indexes lie near each other: the first one. A bit stands for an index then, else for a place.
    first: Option<u64>,
}

/// Indexes that lie nearer than this are marked without a search.
const NEAR: u64 = 1 << 15;

impl Events {
    #[inline]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }

    pub fn push<'a>(
        &mut self,
        index: u64,
        at: Millis,
        time: Millis,
        texts: [&str; 4],
        fields: impl IntoIterator<Item = (&'a str, Value<'a>)>,
    ) {
        let begin = self.bytes.len();
        pack(&mut self.bytes, texts, fields);
        self.add(index, at, time, begin);
    }

    /// Takes what lies behind `begin` as one more event.
    fn add(&mut self, index: u64, at: Millis, time: Millis, begin: usize) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.places.push(Place {
            index,
            at,
            time,
            begin: place(begin),
            end: place(self.bytes.len()),
        });
    }

    /// Copies an event of another customer's, or of the same.
    pub fn push_copy(&mut self, kept: KeptRef<'_>) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(kept.packed);
        self.add(kept.index, kept.at, kept.time, begin);
    }

    /// The events of a match. One that is not kept leaves an empty place.
    pub fn chosen(&self, indexes: &[u64]) -> Self {
        let found = indexes
            .iter()
            .map(|index| self.place(*index).copied().unwrap_or_default());
        let mut places: Vec<Place> = found.collect();
        let length = places.iter().map(|place| (place.end - place.begin) as usize).sum();
        let mut bytes = Vec::with_capacity(length);
        let mut end = 0;
        for place in &mut places {
            bytes.extend_from_slice(&self.bytes[place.begin as usize..place.end as usize]);
            (place.begin, place.end) = (end, end + place.end - place.begin);
            end = place.end;
        }
        Self { places, bytes }
    }

    fn view(&self, place: &Place) -> KeptRef<'_> {
        KeptRef {
            index: place.index,
            at: place.at,
            time: place.time,
            packed: &self.bytes[place.begin as usize..place.end as usize],
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = KeptRef<'_>> {
        self.places.iter().map(|place| self.view(place))
    }

    /// Of a match: the event at a place, if it was kept.
    pub fn nth(&self, place: usize) -> Option<KeptRef<'_>> {
        let place = self.places.get(place)?;
        (place.begin < place.end).then(|| self.view(place))
    }

    /// Of a match: the events that were kept, in order.
    pub fn named(&self) -> impl Iterator<Item = KeptRef<'_>> {
        (0..self.places.len()).filter_map(|place| self.nth(place))
    }

    /// Where the event of an index lies, if it is kept.
    #[inline]
    fn place(&self, index: u64) -> Option<&Place> {
        // What completes a match came last.
        if let Some(last) = self.places.last().filter(|last| last.index == index) {
            return Some(last);
        }
        let place = self.places.binary_search_by_key(&index, |place| place.index).ok()?;
        Some(&self.places[place])
    }

    /// Makes ready to mark events.
    pub fn begin_marks(&self, marks: &mut Marks) {
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else {
            return;
        };
        let span = last.index - first.index;
        marks.first = (span < NEAR).then_some(first.index);
        let bits = if span < NEAR {
            span + 1
        } else {
            self.places.len() as u64
        };
        marks.bits.clear();
        marks
            .bits
            .resize(usize::try_from(bits.div_ceil(64)).unwrap_or(usize::MAX), 0);
    }

    #[inline]
    pub fn mark(&self, index: u64, marks: &mut Marks) {
        let bit = match marks.first {
            Some(first) => index.wrapping_sub(first),
            None => match self.places.binary_search_by_key(&index, |place| place.index) {
                Ok(place) => place as u64,
                Err(_) => return,
            },
        };
        if let Some(word) = usize::try_from(bit / 64).ok().and_then(|word| marks.bits.get_mut(word)) {
            *word |= 1 << (bit % 64);
        }
    }

    /// Forgets what is not marked.
    pub fn sweep(&mut self, marks: &Marks) {
        let (mut left, mut end) = (0, 0);
        for number in 0..self.places.len() {
            let mut place = self.places[number];
            let bit = marks.first.map_or(number as u64, |first| place.index - first);
            let word = usize::try_from(bit / 64).unwrap_or(usize::MAX);
            if marks.bits[word] & 1 << (bit % 64) == 0 {
                continue;
            }
            let length = place.end - place.begin;
            if place.begin != end {
                self.bytes
                    .copy_within(place.begin as usize..place.end as usize, end as usize);
            }
            (place.begin, place.end) = (end, end + length);
            self.places[left] = place;
            left += 1;
            end += length;
        }
        self.places.truncate(left);
        self.bytes.truncate(end as usize);
    }
}

/// The index whose lower half is `low`, of those at or before `newest`: runs span thirty days, and no customer has four thousand
/// million places in them.
#[inline]
pub(crate) fn widened(low: u32, newest: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let behind = (newest as u32).wrapping_sub(low);
    newest.wrapping_sub(u64::from(behind))
}
