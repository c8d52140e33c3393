//! Ends a transaction of a name without writing anything: four requests of Kafka's protocol that the client library has in it and does not offer
//! one by one (`InitProducerId`, `AddPartitionsToTxn`, `AddOffsetsToTxn`, `EndTxn`, each in version 1, which Kafka 3.0 to 4.3 answer).
//!
//! The markers of a transaction that is committed so close in its partitions whatever the same name has left open there. Connections are plain:
//! where `security.protocol` is set there are none ([`is_plain`]).

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use stream::{LogError, TopicPartition};

use crate::log::KafkaConfig;

/// How long a connection, and an answer, is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two questions of what a coordinator answers in passing.
const AGAIN: Duration = Duration::from_millis(20);
/// No answer of these requests is longer.
const LONGEST: usize = 1 << 20;

const FIND_COORDINATOR: i16 = 10;
const INIT_PRODUCER_ID: i16 = 22;
const ADD_PARTITIONS_TO_TXN: i16 = 24;
const ADD_OFFSETS_TO_TXN: i16 = 25;
const END_TXN: i16 = 26;
const VERSION: i16 = 1;

const NONE: i16 = 0;
const NOT_ATTEMPTED: i16 = 55;
/// Loading, not available, not the coordinator, unknown partition for now, a transaction that is being completed.
const PASSING: [i16; 5] = [14, 15, 16, 3, 51];

/// Whether brokers are reached without encryption and without logging in.
pub(crate) fn is_plain(config: &KafkaConfig) -> bool {
    !config.properties.contains_key("security.protocol")
}

/// Commits a transaction of this configuration's name, with nothing in it, that ends in these partitions and in its group's offsets. The name is
/// taken: its producer is to be replaced.
///
/// # Errors
/// [`LogError::Retriable`] if nothing was begun; [`LogError::Unknown`] if it is not known whether it was committed.
pub(crate) fn commit_in(
    config: &KafkaConfig,
    partitions: &[TopicPartition],
    transaction_timeout: Duration,
) -> Result<(), LogError> {
    let begun = Instant::now();
    let mut coordinator = Connection::to_coordinator(config)?;
    let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let (mut timeout, least) = (millis(transaction_timeout), millis(config.transaction_timeout));
    let (producer, epoch) = loop {
        let mut body = Body::default();
        body.text(&config.transactional_id).i32(timeout);
        let mut answer = coordinator.ask(INIT_PRODUCER_ID, &body)?;
        let (error, producer, epoch) = read(&mut answer, |answer| {
            answer.i32()?;
            Some((answer.i16()?, answer.i64()?, answer.i16()?))
        })?;
        match error {
            NONE => break (producer, epoch),
            // Brokers can be told to allow less.
            50 if timeout > least => timeout = least,
            // The transaction before is being ended.
            51 if begun.elapsed() < ANSWER => std::thread::sleep(AGAIN),
            error => return Err(passing("InitProducerId", error)),
        }
    };
    // From here on a failure leaves a transaction that is perhaps aborted: nothing is given up before its time is over.
    let of_producer = || {
        let mut body = Body::default();
        body.text(&config.transactional_id).i64(producer).i16(epoch);
        body
    };
    let mut insist = |api, body: &Body, take: fn(&mut Bytes) -> Option<i16>, patience| {
        let asked = Instant::now();
        loop {
            let answered = coordinator
                .ask(api, body)
                .and_then(|mut answer| read(&mut answer, take));
            match answered {
                Ok(NONE) => return Ok(()),
                Ok(error) if !PASSING.contains(&error) => return Err(failed(api, error)),
                answered if asked.elapsed() >= patience => {
                    return Err(match answered {
                        Ok(error) => failed(api, error),
                        Err(error) => LogError::Unknown(error.to_string()),
                    });
                }
                // Asked again it is answered as it was decided.
                answered => {
                    std::thread::sleep(AGAIN);
                    if !matches!(answered, Ok(51))
                        && let Ok(again) = Connection::to_coordinator(config)
                    {
                        coordinator = again;
                    }
                }
            }
        }
    };
    if !config.group.is_empty() {
        let mut body = of_producer();
        body.text(&config.group);
        if let Err(error) = insist(ADD_OFFSETS_TO_TXN, &body, Bytes::error, ANSWER) {
            // What is in the partitions matters more.
            tracing::warn!(%error, "pending offsets are not ended");
        }
    }
    if !partitions.is_empty() {
        let mut body = of_producer();
        body.topics(partitions);
        insist(
            ADD_PARTITIONS_TO_TXN,
            &body,
            Bytes::worst_of_topics,
            transaction_timeout / 2,
        )?;
    }
    let mut body = of_producer();
    body.bool(true);
    insist(END_TXN, &body, Bytes::error, transaction_timeout)
}

fn failed(api: i16, error: i16) -> LogError {
    LogError::Unknown(format!("request {api}: answered with error code {error}"))
}

fn passing(what: &str, error: i16) -> LogError {
    LogError::Retriable(format!("{what}: answered with error code {error}"))
}

fn read<T>(answer: &mut Bytes, take: impl FnOnce(&mut Bytes) -> Option<T>) -> Result<T, LogError> {
    take(answer).ok_or_else(|| LogError::Retriable("an answer is too short".to_owned()))
}

/// One connection to a broker.
struct Connection {
    stream: TcpStream,
    asked: i32,
}

impl Connection {
    /// To the first broker that answers, and from there to the coordinator of the name.
    fn to_coordinator(config: &KafkaConfig) -> Result<Self, LogError> {
        let mut last = LogError::Retriable("no broker is named".to_owned());
        for address in config
            .brokers
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
        {
            let found = Self::to(address).and_then(|mut broker| broker.coordinator(&config.transactional_id));
            match found.and_then(|address| Self::to(&address)) {
                Ok(coordinator) => return Ok(coordinator),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn to(address: &str) -> Result<Self, LogError> {
        let failed = |error: std::io::Error| LogError::Retriable(format!("{address}: {error}"));
        let mut last = None;
        for resolved in address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&resolved, ANSWER) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER)).map_err(failed)?;
                    stream.set_write_timeout(Some(ANSWER)).map_err(failed)?;
                    stream.set_nodelay(true).map_err(failed)?;
                    return Ok(Self { stream, asked: 0 });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| LogError::Retriable(format!("{address}: no such host")), failed))
    }

    fn coordinator(&mut self, name: &str) -> Result<String, LogError> {
        let mut body = Body::default();
        // Of a transactional id, not of a group.
        body.text(name).i8(1);
        let mut answer = self.ask(FIND_COORDINATOR, &body)?;
        let (error, host, port) = read(&mut answer, |answer| {
            answer.i32()?;
            let error = answer.i16()?;
            answer.text()?;
            answer.i32()?;
            Some((error, answer.text()?, answer.i32()?))
        })?;
        if error == NONE {
            // An address of version 6 has colons of its own.
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            Ok(format!("{host}:{port}"))
        } else {
            Err(passing("FindCoordinator", error))
        }
    }

    fn ask(&mut self, api: i16, body: &Body) -> Result<Bytes, LogError> {
        let failed = |error: std::io::Error| LogError::Retriable(format!("request {api}: {error}"));
        self.asked += 1;
        let mut request = Body::default();
        request.i16(api).i16(VERSION).i32(self.asked).text("waymark");
        request.0.extend(&body.0);
        let size = i32::try_from(request.0.len()).unwrap_or(i32::MAX);
        self.stream
            .write_all(&[&size.to_be_bytes(), request.0.as_slice()].concat())
            .map_err(failed)?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).map_err(failed)?;
        let size = usize::try_from(i32::from_be_bytes(size)).unwrap_or(0);
        if size > LONGEST {
            return Err(LogError::Retriable(format!("request {api}: an answer of {size} bytes")));
        }
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer).map_err(failed)?;
        let mut answer = Bytes { answer, at: 0 };
        match answer.i32() {
            Some(number) if number == self.asked => Ok(answer),
            _ => Err(LogError::Retriable(format!(
                "request {api}: an answer to another question"
            ))),
        }
    }
}

/// A request that is being written.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn i8(&mut self, value: i8) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn bool(&mut self, value: bool) -> &mut Self {
        self.i8(i8::from(value))
    }

    /// Names are refused by brokers long before they are too long for this.
    fn text(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        self.0.extend(text.bytes().take(usize::from(u16::MAX / 2)));
        self
    }

    /// An array of topics with their partitions, each a topic of its own: brokers take that.
    fn topics(&mut self, partitions: &[TopicPartition]) -> &mut Self {
        let by_topic: Vec<&[TopicPartition]> = partitions.chunk_by(|one, next| one.topic == next.topic).collect();
        self.i32(count(by_topic.len()));
        for of_topic in by_topic {
            self.text(&of_topic[0].topic).i32(count(of_topic.len()));
            for of in of_topic {
                self.i32(of.partition);
            }
        }
        self
    }
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// An answer that is being read.
struct Bytes {
    answer: Vec<u8>,
    at: usize,
}

impl Bytes {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.answer.get(self.at..self.at + N)?.try_into().ok()?;
        self.at += N;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    /// A text; none is an empty one.
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        let text = self.answer.get(self.at..self.at + length)?;
        self.at += length;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Behind the time that the broker asks to be left alone.
    fn error(&mut self) -> Option<i16> {
        self.i32()?;
        self.i16()
    }

    /// The first error of any partition, but for those that were not tried because of it.
    fn worst_of_topics(&mut self) -> Option<i16> {
        self.i32()?;
        let mut worst = NONE;
        for _ in 0..self.i32()? {
            self.text()?;
            for _ in 0..self.i32()? {
                self.i32()?;
                let error = self.i16()?;
                if matches!(worst, NONE | NOT_ATTEMPTED) {
                    worst = error;
                }
            }
        }
        Some(worst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn of(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: Arc::from(topic),
            partition,
        }
    }

    #[test]
    fn requests_are_written_as_the_protocol_has_them() {
        let mut body = Body::default();
        body.text("n")
            .i64(2)
            .i16(3)
            .topics(&[of("a", 1), of("a", 300), of("b", 0)]);
        let expected = [
            &[0, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 2][..],
            &[0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 1, 44],
            &[0, 1, b'b', 0, 0, 0, 1, 0, 0, 0, 0],
        ];
        assert_eq!(body.0, expected.concat());
    }

    #[test]
    fn answers_are_read_and_short_ones_refused() {
        let answer = [
            &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b'a', 0, 0, 0, 2][..],
            &[0, 0, 0, 1, 0, 0, 0, 0, 1, 44, 0, 51],
        ];
        let answer = answer.concat();
        let read = |length: usize| {
            let answer = answer[..length].to_vec();
            Bytes { answer, at: 0 }.worst_of_topics()
        };
        assert_eq!(read(answer.len()), Some(51));
        for length in 0..answer.len() {
            assert_eq!(read(length), None, "cut after {length} bytes");
        }
    }
}
