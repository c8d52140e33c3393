//! The few questions that a test asks a broker about itself, as bytes of the wire protocol: who leads, who coordinates, who
//! controls. `testkit` stands below the client library's owner, and a fault must not wait for a client's caches.

use std::{
    io::{Error, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// How long a broker may take to answer one question.
const ANSWER: Duration = Duration::from_secs(2);

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const DESCRIBE_QUORUM: i16 = 55;

/// What is coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinated<'a> {
    /// A consumer group, by its id.
    Group(&'a str),
    /// A producer's transactions, by its transactional id.
    Transaction(&'a str),
}

/// A partition as a broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionState {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The node that leads it; none while it is −1.
    pub(crate) leader: i32,
    pub(crate) replicas: usize,
    pub(crate) in_sync: usize,
}

/// Asks for the API versions: a real request, since a port is open before requests are served.
pub(crate) fn answers(address: &str) -> bool {
    let answer = ask(address, API_VERSIONS, 0, &[]);
    answer.is_ok_and(|answer| answer.starts_with(&[0, 0]))
}

/// Every partition of every topic.
pub(crate) fn partitions(address: &str) -> std::io::Result<Vec<PartitionState>> {
    // A null list of topics asks for all.
    let answer = ask(address, METADATA, 1, &(-1_i32).to_be_bytes())?;
    read_metadata(&mut Words(&answer)).ok_or_else(malformed)
}

fn read_metadata(words: &mut Words<'_>) -> Option<Vec<PartitionState>> {
    for _ in 0..words.long()? {
        let (_node, _host, _port, _rack) = (words.long()?, words.text()?, words.long()?, words.text()?);
    }
    let _controller = words.long()?;
    let mut found = Vec::new();
    for _ in 0..words.long()? {
        let (_error, topic, _internal) = (words.short()?, words.text()?, words.byte()?);
        for _ in 0..words.long()? {
            let (_error, partition, leader) = (words.short()?, words.long()?, words.long()?);
            let (replicas, in_sync) = (words.list()?, words.list()?);
            found.push(PartitionState {
                topic: topic.clone(),
                partition,
                leader,
                replicas,
                in_sync,
            });
        }
    }
    Some(found)
}

/// The node that coordinates; `None` while nobody does.
pub(crate) fn coordinator(address: &str, of: Coordinated<'_>) -> std::io::Result<Option<i32>> {
    let (name, kind) = match of {
        Coordinated::Group(name) => (name, 0),
        Coordinated::Transaction(name) => (name, 1),
    };
    let mut body = text(name);
    body.push(kind);
    let answer = ask(address, FIND_COORDINATOR, 1, &body)?;
    let mut words = Words(&answer);
    let mut read = || {
        let (_throttled, error, _message, node) = (words.long()?, words.short()?, words.text()?, words.long()?);
        Some((error == 0).then_some(node))
    };
    read().ok_or_else(malformed)
}

/// The node that is the active controller; `None` while there is none.
pub(crate) fn controller(address: &str) -> std::io::Result<Option<i32>> {
    const LOG: &[u8] = b"__cluster_metadata";
    // Lists and strings of this version carry their length plus one, and every structure ends with a count of tags.
    let mut body = vec![2, u8::try_from(LOG.len() + 1).expect("a short name")];
    body.extend(LOG);
    body.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    let answer = ask(address, DESCRIBE_QUORUM, 0, &body)?;
    let mut words = Words(&answer);
    let mut read = || {
        let (_tags, error, _topics) = (words.byte()?, words.short()?, words.byte()?);
        if error != 0 {
            return Some(None);
        }
        let length = words.byte()?.checked_sub(1)?;
        words.take(length.into())?;
        let (_partitions, _partition, error, leader) = (words.byte()?, words.long()?, words.short()?, words.long()?);
        Some((error == 0 && leader > 0).then_some(leader))
    };
    read().ok_or_else(malformed)
}

/// One request on a connection of its own; returns the answer behind its correlation id.
fn ask(address: &str, api: i16, version: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let to = address
        .parse()
        .map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend(text(""));
    if api == DESCRIBE_QUORUM {
        // Its header ends with a count of tags.
        request.push(0);
    }
    request.extend(body);
    let size = u32::try_from(request.len()).expect("a short request");
    stream.write_all(&[&size.to_be_bytes()[..], &request].concat())?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if !(4..1 << 24).contains(&size) {
        return Err(malformed());
    }
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer)?;
    if answer[..4] != [0, 0, 0, 1] {
        return Err(malformed());
    }
    Ok(answer.split_off(4))
}

fn text(text: &str) -> Vec<u8> {
    let length = i16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidData, "answer of the broker is malformed")
}

/// Reads an answer from its front.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Option<i16> {
        self.take(2).map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn long(&mut self) -> Option<i32> {
        let bytes = self.take(4)?;
        Some(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A string; an absent one is empty.
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.short()?).unwrap_or(0);
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// The length of a list of numbers, which is skipped.
    fn list(&mut self) -> Option<usize> {
        let count = usize::try_from(self.long()?).ok()?;
        self.take(count.checked_mul(4)?)?;
        Some(count)
    }
}
