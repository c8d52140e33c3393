//! The packed changelog: one epoch's rows of one partition, in parts, with the marker at the head of the first.
//!
//! A part is a version byte, the epoch's number, its index and whether it is the last, then an LZ4 block of the marker (first
//! part only) and rows: length-prefixed key, a byte that says whether a value follows, and the length-prefixed value. What one
//! epoch did to a partition stands in consecutive parts and counts only once the last of them has been read.

use crate::{
    Corrupt, Marker, Row,
    bytes::{Reader, Writer},
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

/// One whole epoch as it was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The marker.
    pub marker: Marker,
    /// The rows, to be applied in this order: a chunk's may come again among those that the epoch changed.
    pub rows: Vec<Row>,
}

/// Puts parts together again.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Option<(Epoch, u32)>,
}

impl Assembler {
    /// Takes the next record's value; returns the epoch that its last part completes.
    ///
    /// # Errors
    /// [`Corrupt`] if it is of an unknown version, cut short, or not the part that must follow.
    pub fn push(&mut self, value: &[u8]) -> Result<Option<Epoch>, Corrupt> {
        let mut part = Reader::new("changelog part", value, VERSION)?;
        let (number, index, last) = (part.u64()?, part.u32()?, part.u32()? == 1);
        let body = lz4_flex::block::decompress_size_prepended(part.bytes()?)
            .map_err(|error| Corrupt(format!("changelog part cannot be unpacked: {error}")))?;
        part.end()?;
        let mut body = Reader::new("changelog body", &body, VERSION)?;
        let marker = body.bytes()?;
        let (mut epoch, expected) = match (index, self.open.take()) {
            // A first part begins anew: an epoch whose later parts never came was aborted.
            (0, _) => (
                Epoch {
                    marker: Marker::decode(marker)?,
                    rows: Vec::new(),
                },
                0,
            ),
            (_, Some(open)) => open,
            (_, None) => {
                return Err(Corrupt(format!(
                    "changelog part without its first: epoch={number} part={index}"
                )));
            }
        };
        if index != expected || number != epoch.marker.epoch {
            let message = format!("changelog part out of order: epoch={number} part={index} expected={expected}");
            return Err(Corrupt(message));
        }
        for _ in 0..body.u32()? {
            let key = body.bytes()?.to_vec();
            let value = if body.u32()? == 1 {
                Some(body.bytes()?.to_vec())
            } else {
                None
            };
            epoch.rows.push((key, value));
        }
        body.end()?;
        if last {
            return Ok(Some(epoch));
        }
        self.open = Some((epoch, index + 1));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[Vec<u8>]) -> Option<Epoch> {
        let mut assembler = Assembler::default();
        parts.iter().find_map(|part| assembler.push(part).expect("whole"))
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
            assert_eq!((epoch.marker, epoch.rows.as_slice()), (marker.clone(), rows));
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
    fn the_bytes_of_a_part_never_change() {
        let rows = [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
        let marker = Marker {
            offset: 1,
            epoch: 2,
            ..Marker::default()
        };
        let parts = pack(&marker, &rows.iter().collect::<Vec<_>>());
        let golden = include_bytes!("../testdata/changelog.v1.marker.v2.bin");
        assert_eq!(parts, vec![golden.to_vec()]);
        let old = include_bytes!("../testdata/changelog.v1.bin").to_vec();
        let epoch = read(&[old]).expect("a part from before snapshots is read");
        assert_eq!((epoch.marker, epoch.rows), (marker, rows.to_vec()));
    }
}
