//! The marker: what an epoch says of itself. It stands at the head of the epoch's changelog record and in the database.

use crate::{
    Corrupt, Millis,
    bytes::{Reader, Writer},
    clock::{Clock, Generation},
    snapshot::Snapshots,
};

const VERSION: u8 = 4;
/// Without what tells generations of one number apart.
const BEFORE_ASSIGNMENTS: u8 = 3;
/// And without rounds of timers.
const BEFORE_ROUNDS: u8 = 2;
/// And without snapshots: the log's bytes alone.
const BEFORE_SNAPSHOTS: u8 = 1;

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
    /// The changelog's snapshots.
    pub snapshots: Snapshots,
    /// Timers are due by the clock that have not fired yet: they do before anything else happens.
    pub firing: bool,
}

impl Marker {
    /// What stands beside the committed offset: the epoch's number, and where the last whole snapshot begins: its place in the
    /// changelog and its first epoch.
    #[must_use]
    pub fn metadata(&self) -> String {
        format!("2:{}:{}:{}", self.epoch, self.snapshots.begin, self.snapshots.first)
    }

    /// Reads where a restore from nothing begins out of what stands beside a committed offset.
    #[must_use]
    pub fn begin_of(metadata: &str) -> (i64, u64) {
        let read = || {
            let (_, begin) = metadata.strip_prefix("2:")?.split_once(':')?;
            let (begin, first) = begin.split_once(':')?;
            Some((begin.parse().ok()?, first.parse().ok()?))
        };
        read().unwrap_or((0, 1))
    }

    /// Reads the epoch's number out of what stands beside a committed offset.
    #[must_use]
    pub fn epoch_of(metadata: &str) -> Option<u64> {
        let (version, rest) = metadata.split_once(':')?;
        matches!(version, "1" | "2").then_some(())?;
        rest.split(':').next()?.parse().ok()
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
            out.i64(generation.assignment);
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
        self.snapshots.encode(&mut out);
        out.u32(u32::from(self.firing));
        out.done()
    }

    /// Reads any known version.
    ///
    /// # Errors
    /// [`Corrupt`] if it is cut short, too long, or of an unknown version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let version = match bytes.first() {
            Some(&version) if (BEFORE_SNAPSHOTS..VERSION).contains(&version) => version,
            _ => VERSION,
        };
        let mut input = Reader::new("marker", bytes, version)?;
        let offset = input.i64()?;
        let epoch = input.u64()?;
        let revision = input.i64()?;
        let bucket = input.i64()?;
        let now = Millis(input.i64()?);
        let high = Millis(input.i64()?);
        let mut generations = [Generation::default(), Generation::default()];
        for generation in &mut generations {
            generation.number = input.i32()?;
            if version > BEFORE_ASSIGNMENTS {
                generation.assignment = input.i64()?;
            }
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
        let snapshots = if version == BEFORE_SNAPSHOTS {
            Snapshots {
                log_bytes: input.u64()?,
                ..Snapshots::default()
            }
        } else {
            Snapshots::decode(&mut input)?
        };
        let firing = version > BEFORE_ROUNDS && input.u32()? == 1;
        input.end()?;
        let clock = Clock::restored(now, high, complete, forming);
        Ok(Self {
            offset,
            epoch,
            revision,
            bucket,
            clock,
            outputs,
            snapshots,
            firing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tick, snapshot::OpenSnapshot};

    fn marker() -> Marker {
        let mut clock = Clock::default();
        clock.tick(Tick {
            progress: Some(Millis(9)),
            generation: 3,
            assignment: -9,
            index: 0,
            members: 1,
            owned: 2,
            partitions: 2,
        });
        clock.tick(Tick {
            progress: Some(Millis(10)),
            generation: 4,
            assignment: 77,
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
            snapshots: Snapshots {
                begin: 4,
                first: 3,
                bytes: 2,
                log_bytes: 9,
                open: Some(OpenSnapshot {
                    begin: None,
                    first: 7,
                    bytes: 1,
                    log_bytes: 5,
                    next: b"stx".to_vec(),
                }),
            },
            firing: true,
        }
    }

    #[test]
    fn the_bytes_of_a_marker_never_change() {
        let golden = include_bytes!("../testdata/marker.v4.bin");
        assert_eq!(marker().encode(), golden);
        assert_eq!(Marker::decode(golden), Ok(marker()));
        for cut in 0..golden.len() {
            assert!(Marker::decode(&golden[..cut]).is_err(), "{cut}");
        }
    }

    /// As those wrote it that did not tell generations of one number apart.
    fn marker_before_assignments() -> Marker {
        let mut marker = marker();
        marker.clock.complete.assignment = 0;
        marker.clock.forming.assignment = 0;
        marker
    }

    #[test]
    fn a_marker_from_before_assignments_is_read() {
        let old = Marker::decode(include_bytes!("../testdata/marker.v3.bin")).expect("read");
        assert_eq!(old, marker_before_assignments());
    }

    #[test]
    fn a_marker_from_before_rounds_of_timers_is_read() {
        let old = Marker::decode(include_bytes!("../testdata/marker.v2.bin")).expect("read");
        let expected = Marker {
            firing: false,
            ..marker_before_assignments()
        };
        assert_eq!(old, expected);
    }

    #[test]
    fn a_marker_from_before_snapshots_is_read() {
        let old = Marker::decode(include_bytes!("../testdata/marker.v1.bin")).expect("read");
        let expected = Marker {
            firing: false,
            snapshots: Snapshots {
                log_bytes: 4,
                ..Snapshots::default()
            },
            ..marker_before_assignments()
        };
        assert_eq!(old, expected);
    }

    #[test]
    fn metadata_carries_the_epoch_and_the_begin() {
        assert_eq!(marker().metadata(), "2:7:4:3");
        assert_eq!(Marker::epoch_of("2:7:4:3"), Some(7));
        assert_eq!(Marker::begin_of("2:7:4:3"), (4, 3));
        assert_eq!(Marker::epoch_of("1:7"), Some(7));
        assert_eq!(Marker::begin_of("1:7"), (0, 1));
        assert_eq!(Marker::epoch_of("3:7"), None);
    }
}
