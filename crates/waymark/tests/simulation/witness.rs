//! Looks at every transaction that is decided, and at the disks: the invariants of `docs/GUARANTEES.md`, after every step.

use std::collections::{BTreeMap, BTreeSet};

use service::topics::Names;
use stream::{Marker, Record, TopicPartition, changelog::Assembler, rows::MARKER};
use testkit::sim::{Decided, Sim, Watch};

use crate::{bodies, scenario::MONITORS};

/// What is known of one partition of the timeline.
#[derive(Default)]
struct Lane {
    /// The last marker that was committed.
    marker: Marker,
    /// The committed rows, deletions included, as the changelog told them.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

pub struct Witness {
    names: Names,
    lanes: BTreeMap<i32, Lane>,
    /// The committed offsets of the raw partitions.
    read: BTreeMap<TopicPartition, i64>,
    /// The last epoch of each of them.
    passed: BTreeMap<TopicPartition, u64>,
    /// Where a restore of intake begins, by partition of its changelog.
    begins: BTreeMap<i32, i64>,
    /// `order.window`, in milliseconds.
    window: i64,
    steps: u64,
    /// Processes that ended by themselves, with what they said.
    pub ended: BTreeMap<String, u64>,
    pub epochs: u64,
    pub trims: u64,
}

impl Witness {
    pub fn new(window: i64) -> Self {
        Self {
            names: Names::new(""),
            lanes: BTreeMap::new(),
            read: BTreeMap::new(),
            passed: BTreeMap::new(),
            begins: BTreeMap::new(),
            window,
            steps: 0,
            ended: BTreeMap::new(),
            epochs: 0,
            trims: 0,
        }
    }

    fn timeline(&self, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: self.names.timeline().into(),
            partition,
        }
    }

    /// I2 and I3 of an epoch of the monitor: it follows the one before, and did exactly what its markers say.
    fn monitored(&mut self, sim: &Sim, decided: &Decided) -> Result<(), String> {
        let changelog = self.names.changelog("monitor");
        let mut outputs: BTreeMap<(i32, &str), u64> = BTreeMap::new();
        let mut parts: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
        for record in &decided.records {
            if *record.topic == *changelog {
                parts.entry(record.partition).or_default().push(record);
            } else {
                let (partition, _) = source(record)?;
                *outputs.entry((partition, &record.topic)).or_default() += 1;
            }
        }
        let timeline = self.names.timeline();
        let of_input = decided.offsets.iter().filter(|(_, of, _)| *of.topic == timeline);
        let offsets: BTreeMap<i32, _> = of_input.map(|(_, of, committed)| (of.partition, committed)).collect();
        for (partition, _) in outputs.keys() {
            if !parts.contains_key(partition) {
                return Err(format!("outputs of partition {partition} without an epoch of it"));
            }
        }
        for (partition, committed) in &offsets {
            if !parts.contains_key(partition)
                && committed.offset != self.lanes.entry(*partition).or_default().marker.offset
            {
                return Err(format!("an offset of partition {partition} moved without an epoch"));
            }
        }
        for (partition, records) in parts {
            let Some(committed) = offsets.get(&partition) else {
                return Err(format!("I3: an epoch of partition {partition} without its offset"));
            };
            self.epochs += 1;
            let lane = self.lanes.entry(partition).or_default();
            let (assembler, marker) =
                assembled(&records).map_err(|error| format!("an epoch of partition {partition}: {error}"))?;
            if marker.epoch != lane.marker.epoch + 1 {
                let (found, last) = (marker.epoch, lane.marker.epoch);
                return Err(format!("I2: epoch {found} of partition {partition} follows {last}"));
            }
            if marker.offset < lane.marker.offset || marker.clock.now() < lane.marker.clock.now() {
                return Err(format!("offset or clock of partition {partition} went back"));
            }
            if (committed.offset, Marker::epoch_of(&committed.metadata)) != (marker.offset, Some(marker.epoch)) {
                return Err(format!("I1: marker and offset of partition {partition} differ"));
            }
            let counted: BTreeMap<&str, u64> = marker
                .outputs
                .iter()
                .map(|(topic, count)| (topic.as_str(), *count))
                .collect();
            let written: BTreeMap<&str, u64> = outputs
                .iter()
                .filter(|((of, _), _)| *of == partition)
                .map(|((_, topic), count)| (*topic, *count))
                .collect();
            if counted != written {
                return Err(format!(
                    "I2: partition {partition} counted {counted:?} and wrote {written:?}"
                ));
            }
            let offset = marker.offset;
            lane.take(&assembler, marker)?;
            self.ends_a_bucket(sim, partition, offset)?;
        }
        Ok(())
    }

    /// An epoch ends where a bucket ends: the record that follows belongs to a later one.
    fn ends_a_bucket(&self, sim: &Sim, partition: i32, offset: i64) -> Result<(), String> {
        if self.window == 0 {
            return Ok(());
        }
        let mut last = i64::MIN;
        for (at, time) in sim.times(&self.timeline(partition)) {
            let bucket = time.0.div_euclid(self.window);
            if at >= offset {
                if bucket <= last {
                    return Err(format!(
                        "an epoch of partition {partition} ends inside a bucket, before {at}"
                    ));
                }
                break;
            }
            last = last.max(bucket);
        }
        Ok(())
    }

    /// I2 and I3 of intake: every raw record that is passed has its outputs in this transaction, and no other has any.
    fn taken_in(&mut self, sim: &Sim, decided: &Decided) -> Result<(), String> {
        let changelog = bodies::changelog("intake");
        let mut parts: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
        for record in decided.records.iter().filter(|record| record.topic == changelog.topic) {
            parts.entry(record.partition).or_default().push(record);
        }
        let mut passed: BTreeMap<TopicPartition, (i64, i64)> = BTreeMap::new();
        // What a copy of a dropped transaction can leave is of a topic that is not read.
        let of_input = decided.offsets.iter().filter(|(_, of, _)| of.topic != changelog.topic);
        for (_, of, committed) in of_input {
            let epoch = self.passed.entry(of.clone()).or_default();
            if let Some(records) = parts.remove(&changelog.slot(of)) {
                *epoch += 1;
                let (_, marker) =
                    assembled(&records).map_err(|error| format!("{}/{}: {error}", of.topic, of.partition))?;
                let begin = Marker::begin_of(&marker.metadata()).0;
                self.begins.insert(changelog.slot(of), begin);
                let found = (marker.offset, marker.epoch);
                if found != (committed.offset, *epoch) || Marker::epoch_of(&committed.metadata) != Some(*epoch) {
                    return Err(format!(
                        "I2: an epoch of {}/{} says {found:?}, not {epoch}",
                        of.topic, of.partition
                    ));
                }
            } else if let Some(before) = self.read.get(of).filter(|before| **before != committed.offset) {
                return Err(format!(
                    "offset of {}/{} moved from {before} to {} without an epoch, by {}",
                    of.topic, of.partition, committed.offset, decided.name
                ));
            }
            let before = self.read.insert(of.clone(), committed.offset).unwrap_or(0);
            if committed.offset < before {
                return Err(format!("offset of {}/{} went back", of.topic, of.partition));
            }
            passed.insert(of.clone(), (before, committed.offset));
        }
        let mut said: BTreeSet<(String, i32, i64)> = BTreeSet::new();
        for record in &decided.records {
            let is_tick = record.key.is_none() && *record.topic == self.names.timeline();
            if is_tick || record.topic.ends_with("sentiment") || record.topic == changelog.topic {
                continue;
            }
            let (topic, partition, offset) = origin(record)?;
            let of = TopicPartition {
                topic: topic.as_str().into(),
                partition,
            };
            let span = passed.get(&of);
            if span.is_none_or(|(from, to)| offset < *from || offset >= *to) {
                return Err(format!(
                    "I2: {topic}/{partition}/{offset} has an output outside of what was read: {span:?}"
                ));
            }
            if !said.insert((topic.clone(), partition, offset)) {
                let all: Vec<String> = decided
                    .records
                    .iter()
                    .map(|one| format!("{}/{}/{} {:?}", one.topic, one.partition, one.offset, origin(one).ok()))
                    .collect();
                return Err(format!(
                    "I2: {topic}/{partition}/{offset} was said twice by {}: {all:?}",
                    decided.name
                ));
            }
        }
        for (of, (from, to)) in passed {
            for offset in from..to {
                if offset < sim.end(&of) && !said.contains(&(of.topic.to_string(), of.partition, offset)) {
                    return Err(format!("I2: {}/{}/{offset} was passed over", of.topic, of.partition));
                }
            }
        }
        Ok(())
    }
}

impl Witness {
    /// What is known of a customer at the end, for whoever looks for a difference.
    pub fn about(&self, customer: &str) -> String {
        let short = stream::rows::key16(customer.as_bytes());
        let head = stream::rows::state_key(&short, stream::rows::HEAD);
        let mut words = Vec::new();
        for (partition, lane) in &self.lanes {
            let (clock, epoch) = (lane.marker.clock.now(), lane.marker.epoch);
            let (complete, forming) = (&lane.marker.clock.complete, &lane.marker.clock.forming);
            words.push(format!(
                "partition {partition}: clock {clock} epoch {epoch}, ticks {complete:?}, next {forming:?}"
            ));
            if let Some(Some(row)) = lane.rows.get(&head)
                && let Ok(head) = stream::rows::Head::decode(row)
            {
                words.push(format!("its deadline {:?}, its clock {}", head.deadline, head.now));
            }
        }
        words.join("; ")
    }
}

impl Lane {
    /// A chunk of a snapshot holds rows as they were before its epoch, and stands before those that the epoch changed.
    fn take(&mut self, assembler: &Assembler, marker: Marker) -> Result<(), String> {
        let mut newest: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for (key, value) in assembler.rows() {
            if let Some(first) = newest.insert(key, value)
                && first.map(<[u8]>::to_vec) != self.rows.get(key).cloned().flatten()
            {
                return Err(format!(
                    "epoch {} has a chunk that is not what was committed before",
                    marker.epoch
                ));
            }
        }
        let newest: Vec<(Vec<u8>, Option<Vec<u8>>)> = newest
            .into_iter()
            .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)))
            .collect();
        self.rows.extend(newest);
        self.marker = marker;
        Ok(())
    }
}

/// The rows and the marker of an epoch.
fn assembled(records: &[&Record]) -> Result<(Assembler, Marker), String> {
    let mut assembler = Assembler::default();
    let mut marker = None;
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        marker = assembler.push(value).map_err(|error| error.to_string())?;
    }
    Ok((assembler, marker.ok_or("it is torn")?))
}

fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let found = record.headers.iter().find(|(known, _)| known == name)?;
    std::str::from_utf8(found.1.as_deref()?).ok()
}

/// Topic, partition and offset of the record that caused this one.
pub fn origin(record: &Record) -> Result<(String, i32, i64), String> {
    let nowhere = || format!("a record of {} does not say where it comes from", record.topic);
    let text = match header(record, "__connect.errors.topic") {
        Some(topic) => {
            let part = |name| header(record, name).ok_or_else(nowhere);
            let (partition, offset) = (part("__connect.errors.partition")?, part("__connect.errors.offset")?);
            format!("{topic}/{partition}/{offset}")
        }
        None => header(record, "waymark-source").ok_or_else(nowhere)?.to_owned(),
    };
    let mut words = text.split('/');
    let (topic, partition, offset) = (words.next(), words.next(), words.next());
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    let partition = number(partition).and_then(|number: i64| i32::try_from(number).ok());
    match (topic, partition, number(offset)) {
        (Some(topic), Some(partition), Some(offset)) => Ok((topic.to_owned(), partition, offset)),
        _ => Err(nowhere()),
    }
}

fn source(record: &Record) -> Result<(i32, i64), String> {
    origin(record).map(|(_, partition, offset)| (partition, offset))
}

impl Watch for Witness {
    fn decided(&mut self, sim: &Sim, decided: &Decided) -> Result<(), String> {
        if decided.offsets.is_empty() && !decided.records.is_empty() {
            return Err(format!("I3: {} committed records without an offset", decided.name));
        }
        if decided.name.starts_with(&self.names.group("monitor")) {
            self.monitored(sim, decided)
        } else {
            self.taken_in(sim, decided)
        }
    }

    fn trimmed(&mut self, sim: &Sim, process: usize, of: &TopicPartition, before: i64) -> Result<(), String> {
        self.trims += 1;
        let timeline = self.timeline(of.partition);
        // What is decided is what a restore will see: it waits for offsets under way.
        let is_of_intake = *of.topic == *self.names.changelog("intake");
        let begin = if is_of_intake {
            self.begins.get(&of.partition).copied().unwrap_or_default()
        } else {
            let decided = self.lanes.get(&of.partition);
            decided.map_or(0, |lane| Marker::begin_of(&lane.marker.metadata()).0)
        };
        if before > begin {
            return Err(format!("trimmed to {before}, and a restore begins at {begin}"));
        }
        if is_of_intake {
            // Nothing of it is on a disk.
            return Ok(());
        }
        let stored = sim.disk(process).row(&timeline, stream::rows::POSITION);
        let position = stored.and_then(|row| {
            row.get(1..9)
                .and_then(|bytes| bytes.try_into().ok())
                .map(i64::from_be_bytes)
        });
        // A disk that was lost while the request was under way starts from the changelog, whatever was trimmed.
        if let Some(position) = position.filter(|position| *position < before) {
            return Err(format!(
                "trimmed to {before}, and the disk of whoever did it stands at {position}"
            ));
        }
        Ok(())
    }

    fn ended(&mut self, process: usize, said: &str) -> Result<(), String> {
        let kind = said.split(':').next().unwrap_or_default().to_owned();
        *self.ended.entry(kind).or_default() += 1;
        if said.starts_with("halted") {
            return Err(format!("process {process} {said}"));
        }
        Ok(())
    }

    fn step(&mut self, sim: &Sim) -> Result<(), String> {
        self.steps += 1;
        for process in MONITORS {
            let disk = sim.disk(process);
            for of in disk.partitions() {
                let Some(row) = disk.row(&of, MARKER) else { continue };
                let stored = Marker::decode(&row).map_err(|error| error.to_string())?;
                let last = self.lanes.get(&of.partition).map_or(0, |lane| lane.marker.epoch);
                if stored.epoch > last {
                    let epoch = stored.epoch;
                    return Err(format!(
                        "I1: a disk holds epoch {epoch} of partition {}, and {last} is committed",
                        of.partition
                    ));
                }
            }
        }
        if !self.steps.is_multiple_of(16) || !sim.is_quiet() {
            return Ok(());
        }
        for (partition, lane) in &self.lanes {
            let found = sim.committed(&self.names.group("monitor"), &self.timeline(*partition));
            let found = found.map(|found| (found.offset, Marker::epoch_of(&found.metadata)));
            if lane.marker.epoch > 0 && found != Some((lane.marker.offset, Some(lane.marker.epoch))) {
                return Err(format!("I1: L and C of partition {partition} differ: {found:?}"));
            }
        }
        Ok(())
    }
}
