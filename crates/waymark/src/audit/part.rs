//! One changelog record, read as `docs/AUDIT.md` describes it and not with the code that wrote it: where the two differ, the audit
//! says so.

use stream::{Marker, bytes::Reader};

const VERSION: u8 = 1;
/// No part is larger when unpacked: it holds about 512 KiB of rows, and no row is over 1 MiB.
const UNPACKED: usize = 16 << 20;

/// What a part says of its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The epoch's number.
    pub epoch: u64,
    /// Which of its parts this is, from 0.
    pub index: u32,
    /// Whether it is the last.
    pub last: bool,
    /// The marker, in the first part.
    pub marker: Option<Marker>,
    /// The rows in it.
    pub rows: u32,
}

impl Part {
    /// Reads a record's value, every row's frame included.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(value: &[u8]) -> Result<Self, String> {
        let told = |error: stream::Corrupt| error.0;
        let mut part = Reader::new("changelog part", value, VERSION).map_err(told)?;
        let (epoch, index) = (part.u64().map_err(told)?, part.u32().map_err(told)?);
        let last = match part.u32().map_err(told)? {
            0 => false,
            1 => true,
            other => return Err(format!("changelog part is neither the last nor not: found={other}")),
        };
        let packed = part.bytes().map_err(told)?;
        part.end().map_err(told)?;
        let body = unpack(packed)?;
        let mut body = Reader::new("changelog body", &body, VERSION).map_err(told)?;
        let marker = body.bytes().map_err(told)?;
        let marker = match (index, marker.is_empty()) {
            (0, false) => Some(Marker::decode(marker).map_err(told)?),
            (0, true) => return Err("first part has no marker".to_owned()),
            (_, true) => None,
            (_, false) => return Err(format!("marker in a later part: part={index}")),
        };
        if let Some(marker) = &marker
            && marker.epoch != epoch
        {
            return Err(format!("part and marker differ: part={epoch} marker={}", marker.epoch));
        }
        let rows = body.u32().map_err(told)?;
        for _ in 0..rows {
            body.bytes().map_err(told)?;
            if body.u32().map_err(told)? == 1 {
                body.bytes().map_err(told)?;
            }
        }
        body.end().map_err(told)?;
        Ok(Self {
            epoch,
            index,
            last,
            marker,
            rows,
        })
    }
}

/// An LZ4 block behind its unpacked size, which is little-endian.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (size, block) = packed
        .split_first_chunk::<4>()
        .ok_or_else(|| "changelog part is cut short".to_owned())?;
    let size = u32::from_le_bytes(*size) as usize;
    if size > UNPACKED {
        return Err(format!("changelog part is too large: bytes={size}"));
    }
    lz4_flex::block::decompress(block, size).map_err(|error| format!("changelog part cannot be unpacked: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream::changelog::pack;

    const GOLDEN: &[u8] = include_bytes!("../../../stream/testdata/changelog.v1.marker.v2.bin");

    #[test]
    fn a_golden_part_reads_as_the_page_says() {
        let part = Part::read(GOLDEN).expect("whole");
        let marker = part.marker.expect("the first part has it");
        assert_eq!((part.epoch, part.index, part.last, part.rows), (2, 0, true, 2));
        assert_eq!((marker.offset, marker.epoch), (1, 2));
        let page = include_str!("../../../../docs/AUDIT.md");
        let shown: String = page
            .lines()
            .skip_while(|line| *line != "```hex")
            .skip(1)
            .take_while(|line| *line != "```")
            .flat_map(str::split_whitespace)
            .collect();
        let golden: String = GOLDEN.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, golden, "the page shows this part");
    }

    #[test]
    fn every_cut_and_every_contradiction_is_named() {
        for cut in 0..GOLDEN.len() {
            assert!(Part::read(&GOLDEN[..cut]).is_err(), "{cut}");
        }
        let mut other = GOLDEN.to_vec();
        other[8] = 3;
        let error = Part::read(&other).expect_err("refused");
        assert_eq!(error, "part and marker differ: part=3 marker=2");
        other[0] = 9;
        assert!(
            Part::read(&other)
                .expect_err("refused")
                .contains("unknown changelog part version")
        );
    }

    #[test]
    fn what_the_writer_splits_reads_part_by_part() {
        let marker = Marker {
            epoch: 3,
            ..Marker::default()
        };
        let rows: Vec<stream::Row> = (0u32..4)
            .map(|row| (row.to_be_bytes().to_vec(), Some(vec![7; 400_000])))
            .collect();
        let parts = pack(&marker, &rows.iter().collect::<Vec<_>>());
        let read: Vec<Part> = parts.iter().map(|part| Part::read(part).expect("whole")).collect();
        assert_eq!(read.len(), 4);
        for (index, part) in read.iter().enumerate() {
            assert_eq!(part.index as usize, index);
            assert_eq!((part.last, part.marker.is_some()), (index == 3, index == 0));
        }
    }
}
