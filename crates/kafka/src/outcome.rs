//! How the last transaction of a name ended, as its coordinator has written it down.
//!
//! Nobody tells that to a new process of the name: a producer's first request forgets it. It stands in the internal topic
//! `__transaction_state`, in records of Kafka's `TransactionLogKey` and `TransactionLogValue`
//! (`transaction-coordinator/src/main/resources/common/message` of its source, versions 0 and 1).

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use stream::{LogError, TopicPartition, settle::Outcomes};

use crate::{
    log::KafkaConfig,
    native::{Consumer, Partitions, Polled},
};

const TOPIC: &str = "__transaction_state";
/// What is read before the whole partition is: compaction leaves little of what is older.
const TAIL: i64 = 100_000;
/// How long a partition may take to be read.
const BUDGET: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(20);

/// How the transactions of this configuration's name were decided; nothing if that is not there, or not for us to read.
pub(crate) fn of_name(config: &KafkaConfig) -> Result<Outcomes, LogError> {
    let name = config.transactional_id.as_str();
    let mut reader = Consumer::new(&config.reader_settings("read_uncommitted"))?;
    let topics = reader.topics()?;
    let Some((_, count)) = topics.iter().find(|(topic, count)| topic == TOPIC && *count > 0) else {
        return Ok(Outcomes::default());
    };
    let of = TopicPartition {
        topic: Arc::from(TOPIC),
        partition: partition_of(name, *count),
    };
    let (start, end) = reader.watermarks(&of)?;
    for from in [start.max(end - TAIL), start] {
        let mut told = Outcomes::default();
        if let Err(error) = read(&mut reader, &of, (from, end), |key, value| {
            tell(&mut told, name, key, value)
        }) {
            return match error {
                LogError::Retriable(_) => Err(error),
                error => {
                    tracing::warn!(%error, "how the last transaction ended cannot be read");
                    Ok(Outcomes::default())
                }
            };
        }
        if told.last.is_some() || from == start {
            return Ok(told);
        }
    }
    Ok(Outcomes::default())
}

fn read(
    reader: &mut Consumer,
    of: &TopicPartition,
    (from, end): (i64, i64),
    mut each: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(), LogError> {
    reader.assign(&Partitions::of([of], from))?;
    let begun = Instant::now();
    let mut position = from;
    while position < end {
        let mut failed = None;
        reader.poll(SLICE, 4096, |polled| match polled {
            Polled::Record(record) => {
                position = position.max(record.offset + 1);
                each(record.key.as_deref().unwrap_or_default(), record.value.as_deref());
            }
            Polled::End(_, offset) => position = position.max(offset),
            Polled::Failed(_, LogError::Retriable(_)) => {}
            Polled::Failed(_, error) => failed = Some(error),
            Polled::Unreadable(_, why) => failed = Some(LogError::Fatal(why)),
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if begun.elapsed() > BUDGET {
            return Err(LogError::Retriable(format!("{TOPIC} was not read to its end in time")));
        }
    }
    Ok(())
}

/// The partition that a name's coordinator writes to: Java's hash of the name, as Kafka's `partitionFor` takes it.
fn partition_of(name: &str, count: i32) -> i32 {
    let hash = name
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % count
}

/// Takes one record of the topic.
fn tell(told: &mut Outcomes, name: &str, key: &[u8], value: Option<&[u8]>) {
    if Bytes(key).name() != Some(name) {
        return;
    }
    match value.map(|value| Bytes(value).state()) {
        Some(Some((Status::Prepare { commits }, partitions))) => {
            told.last = Some(commits);
            let decided = partitions.into_iter().map(|of| (of, commits));
            told.by_partition.extend(decided);
        }
        // It names no partitions any more. One that was not prepared here was prepared by a record that compaction has taken.
        Some(Some((Status::Complete { commits }, _))) if told.last != Some(commits) => {
            *told = Outcomes {
                elsewhere: Some(commits),
                last: Some(commits),
                ..Outcomes::default()
            };
        }
        Some(Some(_)) => {}
        // The name was forgotten; or it is of a version that is not known here, and whatever was told before may not be the last.
        None | Some(None) => *told = Outcomes::default(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    Prepare { commits: bool },
    Complete { commits: bool },
    Other,
}

/// Bytes of Kafka's messages, read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// An unsigned number, seven bits a byte, the lowest first.
    fn varint(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.take(1)?[0];
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A length: of the flexible versions it is one more than that.
    fn length(&mut self, is_flexible: bool, is_text: bool) -> Option<usize> {
        if is_flexible {
            return Some(self.varint()?.saturating_sub(1));
        }
        let length = if is_text { i32::from(self.i16()?) } else { self.i32()? };
        Some(usize::try_from(length).unwrap_or(0))
    }

    fn text(&mut self, is_flexible: bool) -> Option<&'a str> {
        let length = self.length(is_flexible, true)?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(size)?;
        }
        Some(())
    }

    /// The name that a record is about.
    fn name(mut self) -> Option<&'a str> {
        (self.i16()? == 0).then(|| self.text(false))?
    }

    fn state(mut self) -> Option<(Status, BTreeSet<TopicPartition>)> {
        let is_flexible = match self.i16()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        // Producer, its epoch, and the transaction's time.
        self.take(8 + 2 + 4)?;
        let status = match self.take(1)?[0] {
            2 => Status::Prepare { commits: true },
            3 => Status::Prepare { commits: false },
            4 => Status::Complete { commits: true },
            5 => Status::Complete { commits: false },
            _ => Status::Other,
        };
        let mut partitions = BTreeSet::new();
        for _ in 0..self.length(is_flexible, false)? {
            let topic: Arc<str> = Arc::from(self.text(is_flexible)?);
            for _ in 0..self.length(is_flexible, false)? {
                partitions.insert(TopicPartition {
                    topic: Arc::clone(&topic),
                    partition: self.i32()?,
                });
            }
            if is_flexible {
                self.tags()?;
            }
        }
        Some((status, partitions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kafka 4.3.1 writes it: of producer 2, with four seconds for a transaction.
    fn value(status: u8, partitions: &[(&str, &[i32])]) -> Vec<u8> {
        let mut value = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0x0f, 0xa0, status];
        value.push(u8::try_from(partitions.len() + 1).expect("few"));
        for (topic, ids) in partitions {
            value.push(u8::try_from(topic.len() + 1).expect("short"));
            value.extend(topic.as_bytes());
            value.push(u8::try_from(ids.len() + 1).expect("few"));
            value.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
            value.push(0);
        }
        value.extend([
            0, 0, 1, 0xa2, 0x1a, 0x67, 0x0b, 0x22, 0, 0, 1, 0xa2, 0x1a, 0x67, 0x09, 0x5f,
        ]);
        value.extend([1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2]);
        value
    }

    fn key(name: &str) -> Vec<u8> {
        let mut key = vec![0, 0, 0, u8::try_from(name.len()).expect("short")];
        key.extend(name.as_bytes());
        key
    }

    fn told(records: &[(&str, Option<Vec<u8>>)]) -> Outcomes {
        let mut told = Outcomes::default();
        for (name, value) in records {
            tell(&mut told, OWN, &key(name), value.as_deref());
        }
        told
    }

    fn of(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: Arc::from(topic),
            partition,
        }
    }

    const OWN: &str = "monitor-m1-0";

    #[test]
    fn of_each_partition_the_last_decision_counts() {
        let outputs: &[(&str, &[i32])] = &[("journey.timeline", &[1, 300]), ("journey.signals", &[0])];
        let records = [
            (
                OWN,
                Some(value(3, &[("journey.profiles", &[2]), ("journey.signals", &[0])])),
            ),
            (OWN, Some(value(5, &[]))),
            (OWN, Some(value(1, outputs))),
            (OWN, Some(value(2, outputs))),
            (OWN, Some(value(4, &[]))),
            ("monitor-m2-0", Some(value(3, outputs))),
            // Of offsets alone, as a late copy of a request can bring about.
            (OWN, Some(value(3, &[]))),
            (OWN, Some(value(5, &[]))),
            // A new process has asked for the name.
            (OWN, Some(value(0, &[]))),
        ];
        let told = told(&records);
        for (topic, partition) in [
            ("journey.timeline", 1),
            ("journey.timeline", 300),
            ("journey.signals", 0),
        ] {
            assert!(told.is_committed(&of(topic, partition)), "{topic}/{partition}");
        }
        assert!(!told.is_committed(&of("journey.profiles", 2)), "aborted");
        assert!(!told.is_committed(&of("journey.profiles", 7)), "never written to");
    }

    #[test]
    fn what_compaction_has_taken_is_told_by_what_is_left() {
        assert!(told(&[(OWN, Some(value(4, &[])))]).is_committed(&of("journey.signals", 0)));
        assert!(!told(&[(OWN, Some(value(5, &[])))]).is_committed(&of("journey.signals", 0)));
    }

    #[test]
    fn what_was_forgotten_cut_off_or_is_of_another_version_tells_nothing() {
        let whole = value(2, &[("journey.timeline", &[1])]);
        let nothing = Outcomes::default();
        assert_eq!(told(&[(OWN, Some(whole.clone())), (OWN, None)]), nothing);
        for length in 0..32 {
            let cut = told(&[(OWN, Some(whole[..length].to_vec()))]);
            assert_eq!(cut, nothing, "cut after {length} bytes");
        }
        let mut newer = whole.clone();
        newer[1] = 2;
        assert_eq!(told(&[(OWN, Some(whole)), (OWN, Some(newer))]), nothing);
    }

    #[test]
    fn the_version_before_is_read_too() {
        let mut value = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0x0f, 0xa0, 2];
        value.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 7]);
        let told = told(&[(OWN, Some(value))]);
        assert!(told.is_committed(&of("t", 7)) && !told.is_committed(&of("t", 8)));
    }

    #[test]
    fn names_lie_where_java_puts_them() {
        assert_eq!(partition_of("", 50), 0);
        // "hello".hashCode() is 99162322.
        assert_eq!(partition_of("hello", 50), 22);
        // "polygenelubricants".hashCode() is the least number there is.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }
}
