//! Keys and values of the database. Every byte of them is for ever: see the golden test.
//!
//! | row | key | value |
//! |---|---|---|
//! | topic | `to` ‖ topic | version ‖ partitions ‖ kept |
//! | end | `en` ‖ topic ‖ 0 ‖ be32(partition) | next offset |
//! | record | `lo` ‖ topic ‖ 0 ‖ be32(partition) ‖ be64(offset) | version ‖ timestamp ‖ key ‖ value ‖ headers |
//! | newest of a key | `co` ‖ topic ‖ 0 ‖ be32(partition) ‖ key | offset |
//! | position of a group | `of` ‖ group ‖ 0 ‖ topic ‖ 0 ‖ be32(partition) | version ‖ offset ‖ metadata |
//! | generation of all groups | `ge` | how often the log was opened |
//! | state | `st` ‖ service ‖ 0 ‖ be32(partition) ‖ row | as in `store` |

use stream::{
    Committed, Millis, Output, Record, TopicPartition,
    bytes::{Reader, Writer},
};

use crate::Kept;

pub(crate) const TOPIC: &[u8] = b"to";
pub(crate) const GENERATION: &[u8] = b"ge";
const VERSION: u8 = 1;

pub(crate) fn topic(partitions: i32, kept: Kept) -> Vec<u8> {
    let mut bytes = Writer::new(VERSION);
    bytes.i32(partitions);
    bytes.u32(u32::from(kept == Kept::Newest));
    bytes.done()
}

pub(crate) fn read_topic(bytes: &[u8]) -> Result<(i32, Kept), String> {
    let read = || -> Result<(i32, Kept), stream::Corrupt> {
        let mut from = Reader::new("topic", bytes, VERSION)?;
        let partitions = from.i32()?;
        let kept = if from.u32()? == 1 { Kept::Newest } else { Kept::All };
        from.end()?;
        Ok((partitions, kept))
    };
    read().map_err(|error| error.to_string())
}

fn partition(kind: &[u8], of: &TopicPartition) -> Vec<u8> {
    [kind, of.topic.as_bytes(), b"\0", &of.partition.to_be_bytes()].concat()
}

pub(crate) fn end(of: &TopicPartition) -> Vec<u8> {
    partition(b"en", of)
}

pub(crate) fn record(of: &TopicPartition, offset: i64) -> Vec<u8> {
    let mut key = partition(b"lo", of);
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

pub(crate) fn newest(of: &TopicPartition, record_key: &[u8]) -> Vec<u8> {
    let mut key = partition(b"co", of);
    key.extend_from_slice(record_key);
    key
}

pub(crate) fn position(group: &str, of: &TopicPartition) -> Vec<u8> {
    [b"of", group.as_bytes(), b"\0", &partition(b"", of)].concat()
}

pub(crate) fn state(service: &str, partition: i32) -> Vec<u8> {
    [b"st", service.as_bytes(), b"\0", &partition.to_be_bytes()].concat()
}

pub(crate) fn read_i64(bytes: &[u8]) -> Result<i64, String> {
    let bytes = bytes
        .try_into()
        .map_err(|_| format!("number of unknown length: bytes={}", bytes.len()))?;
    Ok(i64::from_be_bytes(bytes))
}

pub(crate) fn write_position(offset: i64, metadata: &str) -> Vec<u8> {
    let mut bytes = Writer::new(VERSION);
    bytes.i64(offset);
    bytes.bytes(metadata.as_bytes());
    bytes.done()
}

pub(crate) fn read_position(bytes: &[u8]) -> Result<Committed, String> {
    let read = || -> Result<Committed, stream::Corrupt> {
        let mut from = Reader::new("position of a group", bytes, VERSION)?;
        let offset = from.i64()?;
        let metadata = String::from_utf8_lossy(from.bytes()?).into_owned();
        from.end()?;
        Ok(Committed { offset, metadata })
    };
    read().map_err(|error| error.to_string())
}

fn option(bytes: &mut Writer, value: Option<&[u8]>) {
    bytes.u32(u32::from(value.is_some()));
    if let Some(value) = value {
        bytes.bytes(value);
    }
}

pub(crate) fn write_record(output: &Output, now: Millis) -> Vec<u8> {
    let mut bytes = Writer::new(VERSION);
    bytes.i64(output.timestamp.unwrap_or(now).0);
    option(&mut bytes, output.key.as_deref());
    option(&mut bytes, output.value.as_deref());
    bytes.u32(u32::try_from(output.headers.len()).unwrap_or(u32::MAX));
    for (name, value) in &output.headers {
        bytes.bytes(name.as_bytes());
        option(&mut bytes, value.as_deref());
    }
    bytes.done()
}

pub(crate) fn read_record(of: &TopicPartition, offset: i64, bytes: &[u8]) -> Result<Record, String> {
    fn option(from: &mut Reader<'_>) -> Result<Option<Vec<u8>>, stream::Corrupt> {
        Ok(if from.u32()? == 1 {
            Some(from.bytes()?.to_vec())
        } else {
            None
        })
    }
    let read = || -> Result<Record, stream::Corrupt> {
        let mut from = Reader::new("record", bytes, VERSION)?;
        let timestamp = Millis(from.i64()?);
        let key = option(&mut from)?;
        let value = option(&mut from)?;
        let mut headers = Vec::new();
        for _ in 0..from.u32()? {
            let name = String::from_utf8_lossy(from.bytes()?).into_owned();
            headers.push((name, option(&mut from)?));
        }
        from.end()?;
        Ok(Record {
            topic: std::sync::Arc::clone(&of.topic),
            partition: of.partition,
            offset,
            timestamp,
            key,
            value,
            headers,
        })
    };
    read().map_err(|error| format!("{}/{}/{offset}: {error}", of.topic, of.partition))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_bytes_of_a_record_never_change() {
        let output = Output {
            topic: Arc::from("t"),
            partition: None,
            timestamp: Some(Millis(5)),
            key: Some(b"k".to_vec()),
            value: None,
            headers: vec![("h".to_owned(), Some(b"v".to_vec()))],
        };
        let bytes = write_record(&output, Millis(9));
        let golden = [
            1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, b'h', 0, 0, 0,
            1, 0, 0, 0, 1, b'v',
        ];
        assert_eq!(bytes, golden);
        let of = TopicPartition {
            topic: Arc::from("t"),
            partition: 2,
        };
        let record = read_record(&of, 7, &golden).expect("readable");
        assert_eq!(
            (record.offset, record.key, record.headers),
            (7, output.key, output.headers)
        );
        assert!(read_record(&of, 7, &golden[..9]).is_err());
        assert_eq!(super::record(&of, 7), b"lot\0\0\0\0\x02\0\0\0\0\0\0\0\x07");
        assert_eq!(read_topic(&topic(3, Kept::Newest)), Ok((3, Kept::Newest)));
        let position = read_position(&write_position(4, "m")).expect("readable");
        assert_eq!((position.offset, position.metadata.as_str()), (4, "m"));
    }
}
