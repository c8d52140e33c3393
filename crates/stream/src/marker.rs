//! The marker: what an epoch says of itself. It stands at the head of the epoch's changelog record and in the database.

use crate::{
    Corrupt, Millis,
    bytes::{Reader, Writer},
    clock::{Clock, Generation},
};

const VERSION: u8 = 1;

/// Where a partition stood when an epoch ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marker {
    /// The next input offset to read.
    pub offset: i64,
    /// The epoch's number, from 1, without gaps.
    pub epoch: u64,
    /// The catalogue's revision.
    pub revision: i64,
    /// The last bucket begun.
    pub bucket: i64,
    /// The partition clock with its tick table.
    pub clock: Clock,
    /// How many outputs the epoch sent, by topic.
    pub outputs: Vec<(String, u64)>,
    /// Changelog bytes since the log's beginning.
    pub log_bytes: u64,
}

impl Marker {
    /// What stands beside the committed offset: the epoch's number.
    #[must_use]
    pub fn metadata(&self) -> String {
        format!("1:{}", self.epoch)
    }

    /// Reads the epoch's number out of what stands beside a committed offset.
    #[must_use]
    pub fn epoch_of(metadata: &str) -> Option<u64> {
        metadata.strip_prefix("1:")?.parse().ok()
    }

    /// Writes the newest version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.i64(self.offset);
        out.u64(self.epoch);
        out.i64(self.revision);
        out.i64(self.bucket);
        out.i64(self.clock.now().0);
        out.i64(self.clock.high.0);
        for generation in [&self.clock.complete, &self.clock.forming] {
            out.i32(generation.number);
            out.i32(generation.members);
            out.i32(generation.partitions);
            out.u32(u32::try_from(generation.rows.len()).expect("a group is small"));
            for (index, (progress, owned)) in &generation.rows {
                out.i32(*index);
                out.i64(progress.0);
                out.i32(*owned);
            }
        }
        out.u32(u32::try_from(self.outputs.len()).expect("topics are few"));
        for (topic, count) in &self.outputs {
            out.bytes(topic.as_bytes());
            out.u64(*count);
        }
        out.u64(self.log_bytes);
        out.done()
    }

    /// Reads any known version.
    ///
    /// # Errors
    /// [`Corrupt`] if it is cut short, too long, or of an unknown version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut input = Reader::new("marker", bytes, VERSION)?;
        let offset = input.i64()?;
        let epoch = input.u64()?;
        let revision = input.i64()?;
        let bucket = input.i64()?;
        let now = Millis(input.i64()?);
        let high = Millis(input.i64()?);
        let mut generations = [Generation::default(), Generation::default()];
        for generation in &mut generations {
            generation.number = input.i32()?;
            generation.members = input.i32()?;
            generation.partitions = input.i32()?;
            for _ in 0..input.u32()? {
                let index = input.i32()?;
                let progress = Millis(input.i64()?);
                generation.rows.insert(index, (progress, input.i32()?));
            }
        }
        let [complete, forming] = generations;
        let mut outputs = Vec::new();
        for _ in 0..input.u32()? {
            let topic = String::from_utf8(input.bytes()?.to_vec())
                .map_err(|_| Corrupt("marker names a topic that is not UTF-8".to_owned()))?;
            outputs.push((topic, input.u64()?));
        }
        let log_bytes = input.u64()?;
        input.end()?;
        let clock = Clock::restored(now, high, complete, forming);
        Ok(Self {
            offset,
            epoch,
            revision,
            bucket,
            clock,
            outputs,
            log_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tick;

    fn marker() -> Marker {
        let mut clock = Clock::default();
        clock.tick(Tick {
            progress: Some(Millis(9)),
            generation: 3,
            index: 0,
            members: 1,
            owned: 2,
            partitions: 2,
        });
        clock.tick(Tick {
            progress: Some(Millis(10)),
            generation: 4,
            index: 1,
            members: 2,
            owned: 1,
            partitions: 2,
        });
        clock.turn();
        Marker {
            offset: 5,
            epoch: 7,
            revision: 1,
            bucket: 2,
            clock,
            outputs: vec![("t".to_owned(), 3)],
            log_bytes: 4,
        }
    }

    #[test]
    fn the_bytes_of_a_marker_never_change() {
        let golden = include_bytes!("../testdata/marker.v1.bin");
        assert_eq!(marker().encode(), golden);
        assert_eq!(Marker::decode(golden), Ok(marker()));
        for cut in 0..golden.len() {
            assert!(Marker::decode(&golden[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn metadata_carries_the_epoch() {
        assert_eq!(Marker::epoch_of(&marker().metadata()), Some(7));
        assert_eq!(Marker::epoch_of("2:7"), None);
    }
}
