//! The packed changelog: one epoch's rows of one partition, in parts, with the marker at the head of the first.
//!
//! A part is a version byte, the epoch's number, its index and whether it is the last, then an LZ4 block of the marker (first
//! part only) and rows: length-prefixed key, a byte that says whether a value follows, and the length-prefixed value. What one
//! epoch did to a partition stands in consecutive parts and counts only once the last of them has been read.

use crate::{
    Corrupt, Marker, Row, RowRef,
    bytes::{Reader, Writer},
    rows::{Head, head_of},
};

const VERSION: u8 = 1;
/// A part holds about this many bytes of rows, unpacked.
pub const PART_BYTES: usize = 512 * 1024;

/// Packs an epoch: the chunk of a snapshot under way, if there is one, then what the epoch changed, each in key order.
#[must_use]
pub fn pack(marker: &Marker, rows: &[&Row]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<&[&Row]> = Vec::new();
    let mut begin = 0;
    let mut bytes = 0;
    for (index, (key, value)) in rows.iter().enumerate() {
        let size = key.len() + value.as_ref().map_or(0, Vec::len) + 9;
        if bytes > 0 && bytes + size > PART_BYTES {
            chunks.push(&rows[begin..index]);
            begin = index;
            bytes = 0;
        }
        bytes += size;
    }
    chunks.push(&rows[begin..]);
    let last = chunks.len() - 1;
    let parts = chunks.iter().enumerate();
    parts
        .map(|(index, chunk)| pack_part(marker, index, index == last, chunk))
        .collect()
}

fn pack_part(marker: &Marker, index: usize, last: bool, rows: &[&Row]) -> Vec<u8> {
    let mut body = Writer::new(VERSION);
    body.bytes(if index == 0 { marker.encode() } else { Vec::new() }.as_slice());
    body.u32(u32::try_from(rows.len()).expect("a part holds fewer rows than bytes"));
    for (key, value) in rows {
        body.bytes(key);
        match value {
            Some(value) => {
                body.u32(1);
                body.bytes(value);
            }
            None => body.u32(0),
        }
    }
    let mut part = Writer::new(VERSION);
    part.u64(marker.epoch);
    part.u32(u32::try_from(index).expect("an epoch has few parts"));
    part.u32(u32::from(last));
    part.bytes(&lz4_flex::block::compress_prepend_size(&body.done()));
    part.done()
}

/// Puts parts together again, and keeps the rows of whole epochs until they are taken.
///
/// Rows stay where the parts were unpacked, each part in memory of its own, since to move many of them costs more than to unpack
/// them; what is sorted is the place of each row. Sorting those costs less than a tree of rows, since each part is sorted already,
/// and of a key written in many epochs only the newest row goes further.
#[derive(Debug, Default)]
pub struct Assembler {
    parts: Vec<Vec<u8>>,
    places: Vec<Place>,
    /// How many of both belong to whole epochs.
    whole: (usize, usize),
    /// The bytes of all parts.
    bytes: usize,
    /// The epoch whose last part has not come, and the part that must follow.
    open: Option<(Marker, u32)>,
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The key's first eight bytes: enough to order nearly all rows without looking at them.
    prefix: u64,
    part: u32,
    at: u32,
}

impl Assembler {
    /// Whether an epoch's first part has come and its last has not.
    #[must_use]
    pub fn is_between_parts(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next record's value; returns the marker of the epoch that its last part completes.
    ///
    /// # Errors
    /// [`Corrupt`] if it is of an unknown version, cut short, or not the part that must follow, or holds a head that cannot be read.
    /// Nothing may be taken after that.
    pub fn push(&mut self, value: &[u8]) -> Result<Option<Marker>, Corrupt> {
        let mut part = Reader::new("changelog part", value, VERSION)?;
        let (number, index, last) = (part.u64()?, part.u32()?, part.u32()? == 1);
        let packed = part.bytes()?;
        part.end()?;
        if index == 0 {
            // A first part begins anew: an epoch whose later parts never came was aborted.
            self.open = None;
            self.bytes -= self.parts.drain(self.whole.0..).map(|part| part.len()).sum::<usize>();
            self.places.truncate(self.whole.1);
        }
        let unpacked = unpack(packed)?;
        let mut body = Reader::new("changelog body", &unpacked, VERSION)?;
        let marker = body.bytes()?;
        let (marker, expected) = match (index, self.open.take()) {
            (0, _) => (Marker::decode(marker)?, 0),
            (_, Some(open)) => open,
            (_, None) => {
                return Err(Corrupt(format!(
                    "changelog part without its first: epoch={number} part={index}"
                )));
            }
        };
        if index != expected || number != marker.epoch {
            let message = format!("changelog part out of order: epoch={number} part={index} expected={expected}");
            return Err(Corrupt(message));
        }
        let part = u32::try_from(self.parts.len()).map_err(|_| Corrupt("too many changelog parts".to_owned()))?;
        let count = body.u32()?;
        for _ in 0..count {
            let at =
                u32::try_from(unpacked.len() - body.left()).expect("the size of a block is a number of four bytes");
            let key = body.bytes()?;
            let mut prefix = [0; 8];
            let known = key.len().min(8);
            prefix[..known].copy_from_slice(&key[..known]);
            let prefix = u64::from_be_bytes(prefix);
            self.places.push(Place { prefix, part, at });
            if body.u32()? == 1 {
                let value = body.bytes()?;
                if head_of(key).is_some() {
                    Head::decode(value)?;
                }
            }
        }
        body.end()?;
        self.bytes += unpacked.len();
        self.parts.push(unpacked);
        if last {
            self.whole = (self.parts.len(), self.places.len());
            return Ok(Some(marker));
        }
        self.open = Some((marker, index + 1));
        Ok(None)
    }

    /// The memory that the rows take, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes + self.places.len() * size_of::<Place>()
    }

    /// Whether no row is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Sorts the rows of whole epochs by key and keeps the newest of each.
    pub fn sort(&mut self) {
        let (parts, places) = (self.parts.as_slice(), &mut self.places[..self.whole.1]);
        // Stable: among rows of one key the log's order stays, and sorted runs are merged as they are.
        places.sort_by(|one, other| {
            let by_key = || key_at(parts, *one).cmp(key_at(parts, *other));
            one.prefix.cmp(&other.prefix).then_with(by_key)
        });
        let mut kept = 0;
        for index in 0..places.len() {
            let place = places[index];
            let is_older = places
                .get(index + 1)
                .is_some_and(|next| next.prefix == place.prefix && key_at(parts, *next) == key_at(parts, place));
            if !is_older {
                places[kept] = place;
                kept += 1;
            }
        }
        self.places.drain(kept..self.whole.1);
        self.whole.1 = kept;
    }

    /// The rows of whole epochs: in the log's order, or by key after [`Assembler::sort`].
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        let places = self.places[..self.whole.1].iter();
        places.map(|place| row_at(&self.parts, *place))
    }

    /// Forgets the rows of whole epochs.
    pub fn forget(&mut self) {
        let (parts, places) = std::mem::take(&mut self.whole);
        self.bytes -= self.parts.drain(..parts).map(|part| part.len()).sum::<usize>();
        self.places.drain(..places);
        let gone = u32::try_from(parts).expect("parts were counted as they came");
        self.places.iter_mut().for_each(|place| place.part -= gone);
    }
}

/// Unpacks a part's block.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let failed = |error: &dyn std::fmt::Display| Corrupt(format!("changelog part cannot be unpacked: {error}"));
    let (size, block) = lz4_flex::block::uncompressed_size(packed).map_err(|error| failed(&error))?;
    // No block of LZ4 unpacks to more, so a corrupt size cannot ask for all memory.
    if size > block.len().saturating_mul(255) {
        return Err(failed(&format!("size={size} packed={}", block.len())));
    }
    let unpacked = lz4_flex::block::decompress(block, size).map_err(|error| failed(&error))?;
    if unpacked.len() != size {
        return Err(failed(&format!("size={size} found={}", unpacked.len())));
    }
    Ok(unpacked)
}

/// A length-prefixed field of a buffer that has been read once, and what lies behind it.
fn field(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let begin = at + 4;
    let length = u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let end = begin + length as usize;
    (&bytes[begin..end], end)
}

fn key_at(parts: &[Vec<u8>], place: Place) -> &[u8] {
    field(&parts[place.part as usize], place.at as usize).0
}

fn row_at(parts: &[Vec<u8>], place: Place) -> RowRef<'_> {
    let bytes = parts[place.part as usize].as_slice();
    let (key, behind) = field(bytes, place.at as usize);
    let is_value = bytes[behind + 3] == 1;
    (key, is_value.then(|| field(bytes, behind + 4).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(assembler: &Assembler) -> Vec<Row> {
        let owned = |(key, value): RowRef<'_>| (key.to_vec(), value.map(<[u8]>::to_vec));
        assembler.rows().map(owned).collect()
    }

    fn read(parts: &[Vec<u8>]) -> Option<(Marker, Vec<Row>)> {
        let mut assembler = Assembler::default();
        let marker = parts.iter().find_map(|part| assembler.push(part).expect("whole"))?;
        Some((marker, rows(&assembler)))
    }

    #[test]
    fn an_epoch_reads_back_from_any_number_of_parts() {
        let marker = Marker {
            epoch: 3,
            ..Marker::default()
        };
        let big: Vec<Row> = (0u32..10)
            .map(|row| (row.to_be_bytes().to_vec(), (row % 3 != 0).then(|| vec![7; 200_000])))
            .collect();
        for rows in [&big[..0], &big[..2], &big[..]] {
            let parts = pack(&marker, &rows.iter().collect::<Vec<_>>());
            let epoch = read(&parts).expect("the last part completes it");
            assert_eq!(epoch, (marker.clone(), rows.to_vec()));
        }
        assert!(pack(&marker, &big.iter().collect::<Vec<_>>()).len() > 1);
    }

    #[test]
    fn parts_out_of_order_are_refused() {
        let marker = Marker {
            epoch: 3,
            ..Marker::default()
        };
        let rows: Vec<Row> = (0u32..10)
            .map(|row| (row.to_be_bytes().to_vec(), Some(vec![7; 200_000])))
            .collect();
        let parts = pack(&marker, &rows.iter().collect::<Vec<_>>());
        assert!(Assembler::default().push(&parts[1]).is_err());
        let mut assembler = Assembler::default();
        assembler.push(&parts[0]).expect("first");
        assert!(assembler.push(&parts[2]).is_err());
        assert!(Assembler::default().push(&parts[0][..20]).is_err());
    }

    #[test]
    fn the_newest_row_of_each_key_stays_and_rows_of_open_epochs_wait() {
        let row = |key: &str, value: Option<&str>| -> Row {
            (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
        };
        let part = |epoch: u64, rows: &[Row]| {
            let marker = Marker {
                epoch,
                ..Marker::default()
            };
            pack(&marker, &rows.iter().collect::<Vec<_>>())
        };
        let mut assembler = Assembler::default();
        let push = |assembler: &mut Assembler, epoch: u64, rows: &[Row]| {
            for part in part(epoch, rows) {
                assembler.push(&part).expect("whole");
            }
        };
        // A chunk and the epoch's own rows: the same key twice in one epoch, the later counts.
        let first = [
            row("stlong-a", Some("1")),
            row("stlong-b", Some("1")),
            row("stlong-b", Some("2")),
        ];
        push(&mut assembler, 1, &first);
        push(&mut assembler, 2, &[row("st", Some("3")), row("stlong-a", None)]);
        let big: Vec<Row> = (0..10)
            .map(|index| (vec![b's', index], Some(vec![7; 200_000])))
            .collect();
        let parts = part(3, &big);
        assembler.push(&parts[0]).expect("a first part");
        let newest = [row("st", Some("3")), row("stlong-a", None), row("stlong-b", Some("2"))];
        assembler.sort();
        assert_eq!(rows(&assembler), newest, "what is not whole is not there");
        assembler.forget();
        assert_eq!(rows(&assembler), []);
        for part in &parts[1..] {
            assembler.push(part).expect("the others");
        }
        assert_eq!(rows(&assembler), big, "it outlived what was forgotten before it");
        assembler.sort();
        push(&mut assembler, 4, &[row("st", None)]);
        assembler.sort();
        let all: Vec<Row> = big.into_iter().chain([row("st", None)]).collect();
        assert_eq!(rows(&assembler), all, "sorted twice");
    }

    #[test]
    fn an_epoch_without_its_last_part_leaves_nothing() {
        let marker = Marker {
            epoch: 3,
            ..Marker::default()
        };
        let big: Vec<Row> = (0..10).map(|index| (vec![index], Some(vec![7; 200_000]))).collect();
        let parts = pack(&marker, &big.iter().collect::<Vec<_>>());
        let mut assembler = Assembler::default();
        assembler.push(&parts[0]).expect("first");
        let again = [(b"st".to_vec(), None)];
        let again = pack(&marker, &again.iter().collect::<Vec<_>>());
        assert_eq!(assembler.push(&again[0]), Ok(Some(marker)));
        assert_eq!(rows(&assembler), [(b"st".to_vec(), None)]);
    }

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        let marker = Marker {
            epoch: 3,
            ..Marker::default()
        };
        let mut part = pack(&marker, &[]).remove(0);
        // Behind version, epoch, index, last and the length of the block: the unpacked size, least byte first.
        part[21..25].copy_from_slice(&u32::MAX.to_le_bytes());
        let refused = Assembler::default().push(&part).expect_err("4 GiB");
        assert!(refused.0.contains("cannot be unpacked"), "{refused}");
    }

    #[test]
    fn the_bytes_of_a_part_never_change() {
        let rows = [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
        let marker = Marker {
            offset: 1,
            epoch: 2,
            ..Marker::default()
        };
        let parts = pack(&marker, &rows.iter().collect::<Vec<_>>());
        let golden = include_bytes!("../testdata/changelog.v1.marker.v4.bin");
        assert_eq!(parts, vec![golden.to_vec()]);
        let older = [
            &include_bytes!("../testdata/changelog.v1.marker.v3.bin")[..],
            &include_bytes!("../testdata/changelog.v1.marker.v2.bin")[..],
            &include_bytes!("../testdata/changelog.v1.bin")[..],
        ];
        for old in older {
            let epoch = read(&[old.to_vec()]).expect("a part with an older marker is read");
            assert_eq!(epoch, (marker.clone(), rows.to_vec()));
        }
    }
}
