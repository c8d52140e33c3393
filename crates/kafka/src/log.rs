//! `stream::Log` on Kafka: one native consumer of one group, and one transactional producer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use stream::{
    Batch, Bounds, Change, ChangelogReader, Commit, CommitReport, Committed, Log, LogError, Membership, Millis, Output,
    TopicPartition, settle,
};

use crate::{
    changelog::Changelog,
    leftovers::Leftovers,
    native::{Consumer, Ends, OFFSET_INVALID, OFFSET_LATEST, Partitions, Polled},
    producer::NAMING,
    writer::Writer,
};

/// The batch call waits for its whole time unless the batch is full; short slices keep latency low.
const SLICE: Duration = Duration::from_millis(5);
/// How long committed offsets are waited for in one call, in milliseconds.
const TOLD: i32 = 2000;
/// Committed offsets that are not told within so many milliseconds are pending, or nobody is there to tell them.
pub(crate) const PENDING: i32 = 3000;
/// A broker that was away is tried again at least this often. The client's default is ten seconds, for which everything would stand after its return.
const AGAIN_SOON: (&str, &str) = ("reconnect.backoff.max.ms", "1000");
/// What cannot be read is tried again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// Leaving the group may take this long; then it notices by itself.
const LEAVING: Duration = Duration::from_secs(5);

/// How a worker connects.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The consumer group.
    pub group: String,
    /// Stable and unique per worker: it fences the predecessor.
    pub transactional_id: String,
    /// Whether the group knows this worker by that name too, so that a restart moves nothing.
    pub static_member: bool,
    /// The topics to read.
    pub inputs: Vec<String>,
    /// The topics that it may write to.
    pub outputs: Vec<String>,
    /// The changelog topic of a service.
    pub changelog: Option<String>,
    /// After this long without a heartbeat the group takes partitions away.
    pub session_timeout: Duration,
    /// After this long the broker aborts an open transaction.
    pub transaction_timeout: Duration,
    /// Further client settings, as the user gave them; those that carry promises win over them.
    pub properties: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// A configuration with the defaults of `docs/`: 60 s sessions and 10 s transactions.
    #[must_use]
    pub fn new(brokers: &str, group: &str, transactional_id: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            group: group.to_owned(),
            transactional_id: transactional_id.to_owned(),
            static_member: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
            changelog: None,
            session_timeout: Duration::from_secs(60),
            transaction_timeout: Duration::from_secs(10),
            properties: BTreeMap::new(),
        }
    }

    fn with(&self, defaults: &[(&str, &str)], fixed: &[(&str, String)]) -> BTreeMap<String, String> {
        let mut settings: BTreeMap<String, String> = defaults
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        settings.extend(self.properties.clone());
        settings.extend(fixed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        settings.insert("bootstrap.servers".to_owned(), self.brokers.clone());
        settings
    }

    pub(crate) fn consumer_settings(&self) -> BTreeMap<String, String> {
        let session = self.session_timeout.as_millis().to_string();
        let heartbeat = (self.session_timeout.as_millis() / 10).clamp(100, 3000).to_string();
        // This is also how long a coordinator waits for members that joined before: one that was restarted (seen with 4.3.1) can keep
        // members whose sessions have long ended, and gives nobody anything until then. The client's default is five minutes.
        let poll_interval = (self.session_timeout.as_millis() * 2).to_string();
        let defaults = [
            ("session.timeout.ms", session.as_str()),
            ("heartbeat.interval.ms", heartbeat.as_str()),
            ("max.poll.interval.ms", poll_interval.as_str()),
            ("fetch.queue.backoff.ms", "10"),
            AGAIN_SOON,
            // A partition that begins to flow waits until the fetch under way is answered.
            ("fetch.wait.max.ms", "100"),
            ("queued.max.messages.kbytes", "16384"),
            // What a fetch brings is handed over once all of it is unpacked: behind a start the first record waits for that.
            ("fetch.message.max.bytes", "262144"),
            ("check.crcs", "true"),
        ];
        let mut fixed = vec![
            ("group.id", self.group.clone()),
            ("group.protocol", "classic".to_owned()),
            ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            // The batch call of librdkafka 2.12 takes the offset of an end that it tells for that of a message that was consumed: a
            // rebalance then goes on one further, and the first record that comes to the partition is never read.
            ("enable.partition.eof", "false".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("auto.offset.reset", "error".to_owned()),
        ];
        if self.static_member {
            fixed.push(("group.instance.id", self.transactional_id.clone()));
        }
        self.with(&defaults, &fixed)
    }

    pub(crate) fn producer_settings(&self) -> BTreeMap<String, String> {
        let timeout = self.transaction_timeout.as_millis().to_string();
        let defaults = [
            ("transaction.timeout.ms", timeout.as_str()),
            ("retry.backoff.ms", "250"),
            AGAIN_SOON,
            ("linger.ms", "5"),
            ("compression.codec", "lz4"),
            ("queue.buffering.max.messages", "500000"),
            ("message.max.bytes", "2097152"),
        ];
        let fixed = [
            ("transactional.id", self.transactional_id.clone()),
            // What was sent again in secret shows there.
            ("statistics.interval.ms", "1000".to_owned()),
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("partitioner", "murmur2_random".to_owned()),
        ];
        self.with(&defaults, &fixed)
    }

    /// A consumer that joins no group: the id is never used to subscribe or commit.
    pub(crate) fn reader_settings(&self, isolation: &str) -> BTreeMap<String, String> {
        let fixed = [
            ("group.id", format!("{}-reader", self.group)),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("isolation.level", isolation.to_owned()),
            ("auto.offset.reset", "error".to_owned()),
        ];
        let defaults = [
            ("fetch.queue.backoff.ms", "10"),
            AGAIN_SOON,
            // That a partition ends behind a transaction's marker shows only when a fetch brings nothing.
            ("fetch.wait.max.ms", "100"),
            ("fetch.message.max.bytes", "4194304"),
            ("check.crcs", "true"),
            // A reader asks where partitions end and mostly reads none of them, so nothing tells it that a leader has moved: it
            // must forget soon whom it knew, or it asks the wrong broker for five minutes.
            ("topic.metadata.refresh.interval.ms", "1000"),
            ("metadata.max.age.ms", "2000"),
        ];
        self.with(&defaults, &fixed)
    }
}

/// Of two errors the one that the client does not tell again.
fn graver(known: Option<LogError>, error: LogError) -> LogError {
    match known {
        Some(known @ (LogError::Fatal(_) | LogError::Fenced(_))) => known,
        _ => error,
    }
}

/// A client that reads what is committed and is waited for: it hears soon that a partition has ended, which shows only when a fetch brings nothing,
/// and begins soon to read one that is added, which waits until the fetch under way is answered.
pub(crate) fn hasty_reader(config: &KafkaConfig) -> Result<Consumer, LogError> {
    let mut settings = config.reader_settings("read_committed");
    settings.insert("fetch.wait.max.ms".to_owned(), "10".to_owned());
    Consumer::new(&settings)
}

/// A client that reads a changelog, connected to a leader by the time that it is needed: a start mostly has something to read there.
struct Connecting {
    /// What makes it connect; nobody reads the answer. Declared before the client that gives it.
    _question: Ends,
    consumer: Consumer,
    since: Instant,
}

/// A start that has had nothing to read for so long needs no reader.
const NEEDED: Duration = Duration::from_secs(10);

impl Connecting {
    fn new(config: &KafkaConfig, topic: &str) -> Result<Self, LogError> {
        let consumer = hasty_reader(config)?;
        let any = TopicPartition {
            topic: Arc::from(topic),
            partition: 0,
        };
        let mut question = Ends::new(&consumer);
        question.ask(&consumer, &Partitions::of([&any], OFFSET_LATEST), Millis(0))?;
        Ok(Self {
            _question: question,
            consumer,
            since: Instant::now(),
        })
    }
}

/// One worker's log.
pub struct KafkaLog {
    config: KafkaConfig,
    // Declared before the clients that answer.
    ends: Ends,
    /// Answers that nobody reads: the questions alone matter.
    nudges: Ends,
    consumer: Consumer,
    /// Sees uncommitted ends; a `read_committed` client is told the last stable offset.
    uncommitted: Consumer,
    writer: Writer,
    /// Partitions that the group has given and not taken away; one that it asks back is ours until it is given back.
    owned: BTreeSet<TopicPartition>,
    /// Partitions that flow; records of others are dropped, they were fetched before a pause or seek.
    flowing: BTreeMap<TopicPartition, i64>,
    /// Partitions that flow and whose position must be set again, not before that time.
    unset: BTreeMap<TopicPartition, Instant>,
    /// Partitions that the client was told to fetch no more of. It keeps to that also where they are taken away and given again.
    paused: BTreeSet<TopicPartition>,
    /// Whether partitions have begun to flow that the client's thread may not know of.
    is_resumed: bool,
    /// The first reader of the changelog.
    connecting: Option<Connecting>,
    /// Where partitions are fetched from already that do not flow yet: the first records of one that is soon whole are here by then.
    ahead: BTreeMap<TopicPartition, i64>,
}

impl KafkaLog {
    /// Connects, ends what an earlier worker of this name left open, and joins the group.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if no broker answered in time; [`LogError::Fatal`] if a setting is refused.
    pub fn open(config: KafkaConfig) -> Result<Self, LogError> {
        let begun = Instant::now();
        // The group takes its time, so it is asked first; nothing of what it gives is looked at before the producer is there.
        let consumer = Consumer::new(&config.consumer_settings())?;
        consumer.subscribe(&config.inputs)?;
        let changelog = config.changelog.as_deref();
        let connecting = changelog.map(|topic| Connecting::new(&config, topic)).transpose()?;
        let uncommitted = Consumer::new(&config.reader_settings("read_uncommitted"))?;
        let writer = Writer::open(&config, NAMING)?;
        let named = begun.elapsed();
        let mut log = Self {
            config,
            ends: Ends::new(&uncommitted),
            nudges: Ends::new(&consumer),
            consumer,
            uncommitted,
            writer,
            owned: BTreeSet::new(),
            flowing: BTreeMap::new(),
            unset: BTreeMap::new(),
            paused: BTreeSet::new(),
            is_resumed: false,
            connecting,
            ahead: BTreeMap::new(),
        };
        // Nobody knows how the transactions of an earlier process of this name ended.
        let mut is_away = false;
        loop {
            match log.resolve() {
                Ok(()) => break,
                // What stands open is ended once it was seen to stand still. Meanwhile the group would wait for somebody who does not listen.
                Err(LogError::Retriable(_))
                    if log.writer.is_in_doubt() && begun.elapsed() < log.config.transaction_timeout * 6 =>
                {
                    if !is_away {
                        is_away = true;
                        log.consumer.close(LEAVING)?;
                    }
                    std::thread::sleep(SLICE);
                }
                Err(LogError::Unknown(text) | LogError::Abort(text) | LogError::Fenced(text)) => {
                    return Err(LogError::Retriable(text));
                }
                Err(error) => return Err(error),
            }
        }
        if is_away {
            let consumer = Consumer::new(&log.config.consumer_settings())?;
            consumer.subscribe(&log.config.inputs)?;
            log.nudges = Ends::new(&consumer);
            log.consumer = consumer;
        }
        // Nobody has looked at a changelog yet.
        let _ = log.writer.unconfirmed().was_closed();
        tracing::debug!(?named, opened = ?begun.elapsed(), "log opened");
        Ok(log)
    }

    /// What is left of this worker's name.
    fn leftovers(&mut self) -> Leftovers<'_> {
        Leftovers {
            config: &self.config,
            writer: &mut self.writer,
            reader: &self.uncommitted,
            member: Some(&self.consumer),
        }
    }

    fn list(partition: &TopicPartition, offset: i64) -> Partitions {
        Partitions::of([partition], offset)
    }

    /// Where partitions that were just given most probably go on: at the group's position, else at their start. None where nobody tells.
    fn beginnings(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>, LogError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Partitions::of(partitions, OFFSET_INVALID);
        let told = match self.consumer.committed_within(&asked, PENDING) {
            Ok(told) => told,
            Err(LogError::Retriable(why)) => {
                tracing::debug!(why, "nobody tells where partitions go on");
                return Ok(vec![None; partitions.len()]);
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for (of, committed) in partitions.iter().zip(told) {
            let offset = match committed.map(|(offset, _)| Ok(offset)) {
                Some(told) => told,
                None => self.consumer.watermarks(of).map(|(start, _)| start),
            };
            found.push(match offset {
                Err(LogError::Retriable(_)) => None,
                offset => Some(offset?),
            });
        }
        Ok(found)
    }

    fn take_changes(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        for change in self.consumer.changes() {
            match &change {
                Change::Assigned(partitions) => {
                    // An absolute position: a logical one is looked up in the background, and an answer that comes after
                    // the seek of `resume` would move the reader to the end, past records that nobody has read.
                    let (mut list, mut unknown) = (Partitions::new(), Vec::new());
                    for (of, offset) in partitions.iter().zip(self.beginnings(partitions)?) {
                        list.add(of, offset.unwrap_or(0), None);
                        match offset {
                            Some(offset) => drop(self.ahead.insert(of.clone(), offset)),
                            None => unknown.push(of.clone()),
                        }
                    }
                    self.go_on(partitions)?;
                    self.consumer.incremental_assign(&list)?;
                    self.owned.extend(partitions.iter().cloned());
                    self.hold(unknown)?;
                }
                Change::Revoked(partitions) | Change::Lost(partitions) => {
                    for partition in partitions {
                        self.flowing.remove(partition);
                        self.ahead.remove(partition);
                        if matches!(change, Change::Lost(_)) {
                            self.owned.remove(partition);
                        }
                    }
                    batch.records.retain(|record| {
                        !partitions
                            .iter()
                            .any(|gone| gone.partition == record.partition && gone.topic == record.topic)
                    });
                }
            }
            batch.changes.push(change);
        }
        Ok(())
    }
}

impl KafkaLog {
    /// Has the client fetch no more of partitions.
    fn hold(&mut self, partitions: Vec<TopicPartition>) -> Result<(), LogError> {
        if !partitions.is_empty() {
            self.consumer.pause(&Partitions::of(&partitions, OFFSET_INVALID))?;
            self.paused.extend(partitions);
        }
        Ok(())
    }

    /// Has the client fetch again of those of these partitions that were held.
    fn go_on(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let held = partitions.iter().filter(|of| self.paused.contains(of));
        let held: Vec<TopicPartition> = held.cloned().collect();
        if !held.is_empty() {
            self.consumer.resume(&Partitions::of(&held, OFFSET_INVALID))?;
            self.paused.retain(|of| !held.contains(of));
        }
        Ok(())
    }

    /// Sets positions that were refused. One that cannot be set yet, because the client is still giving the partition or taking it
    /// away, is tried again at the next poll: until then the partition does not flow, and nothing of it is lost.
    fn set_positions(&mut self) -> Result<(), LogError> {
        let now = Instant::now();
        for (of, due) in std::mem::take(&mut self.unset) {
            let Some(next) = self.flowing.get(&of).copied() else {
                continue;
            };
            if due > now {
                self.unset.insert(of, due);
                continue;
            }
            match self.set_position(&of, next) {
                Err(LogError::Fatal(text)) => return Err(LogError::Fatal(text)),
                Err(error) => {
                    tracing::debug!(topic = %of.topic, partition = of.partition, %error, "position cannot be set yet");
                    self.unset.insert(of, now);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The client's thread of a broker sleeps for up to a second while it has nothing to fetch, and a partition that is resumed does not
    /// wake it. A request to the same broker does.
    fn nudge(&mut self) -> Result<(), LogError> {
        let mut answers = Vec::new();
        self.nudges.take(&mut answers);
        if std::mem::take(&mut self.is_resumed) {
            let flowing = Partitions::of(self.flowing.keys(), OFFSET_LATEST);
            self.nudges.ask(&self.consumer, &flowing, Millis(0))?;
        }
        Ok(())
    }

    fn set_position(&self, of: &TopicPartition, next: i64) -> Result<(), LogError> {
        let (start, end) = self.uncommitted.watermarks(of)?;
        if next < start || next > end {
            return Err(LogError::Fatal(format!(
                "input is not in the log any more: topic={} partition={} offset={next} start={start} end={end}",
                of.topic, of.partition
            )));
        }
        // The client has ended this partition's fetcher, and seeks only one that runs: taking the partition out of its assignment
        // and putting it back at its position starts another. The group is not asked.
        let list = Self::list(of, next);
        self.consumer.incremental_unassign(&Self::list(of, OFFSET_INVALID))?;
        self.consumer.incremental_assign(&list)
    }
}

impl Log for KafkaLog {
    fn poll(&mut self, wait: Duration, max: usize, batch: &mut Batch) -> Result<(), LogError> {
        let begun = Instant::now();
        let (mut failed, mut is_refused) = (None, false);
        drop(self.connecting.take_if(|one| one.since.elapsed() >= NEEDED));
        self.nudge()?;
        self.writer.listen();
        loop {
            let slice = SLICE.min(wait.saturating_sub(begun.elapsed()));
            let (flowing, unset, ahead) = (&mut self.flowing, &mut self.unset, &mut self.ahead);
            let mut early = Vec::new();
            self.consumer
                .poll(slice, max.saturating_sub(batch.records.len()), |polled| match polled {
                    Polled::Record(record) => {
                        let of = TopicPartition {
                            topic: Arc::clone(&record.topic),
                            partition: record.partition,
                        };
                        match flowing.get_mut(&of) {
                            Some(next) if record.offset >= *next && !unset.contains_key(&of) => {
                                *next = record.offset + 1;
                                batch.records.push(record);
                            }
                            Some(_) => {}
                            // Passed over, so it is read again when it flows.
                            None if ahead.remove(&of).is_some() => early.push(of),
                            None => {}
                        }
                    }
                    Polled::End(..) => {}
                    // The client goes on behind them, and behind whatever it tells of a partition where the group changes meanwhile.
                    Polled::Unreadable(of, why) => {
                        tracing::warn!(error = why, "records cannot be read, trying again");
                        unset.insert(of, begun + AGAIN);
                        is_refused = true;
                    }
                    Polled::Failed(of, error) => {
                        let is_known = of.is_some();
                        unset.extend(of.map(|of| (of, begun)));
                        if let LogError::OutOfRange(text) = &error {
                            // The client stops reading there. A position that is there was refused in passing, around a rebalance: set it again. One
                            // that is not there is a reason to stop.
                            tracing::warn!(error = text, "position was refused, setting positions again");
                            is_refused = true;
                            if !is_known {
                                let all = flowing.keys().chain(ahead.keys());
                                unset.extend(all.map(|of| (of.clone(), begun)));
                            }
                        } else {
                            failed = Some(graver(failed.take(), error));
                        }
                    }
                });
            // One that does not flow yet is set when it does.
            self.ahead.retain(|of, _| !self.unset.contains_key(of));
            self.hold(early)?;
            self.take_changes(batch)?;
            self.ends.take(&mut batch.told);
            if !batch.told.is_empty() {
                // Where reading stands behind control records, which no record shows.
                let flowing = self.flowing.keys().filter(|of| !self.unset.contains_key(*of));
                self.consumer.positions(flowing, &mut batch.ends)?;
            }
            let something = !batch.records.is_empty()
                || !batch.changes.is_empty()
                || !batch.ends.is_empty()
                || !batch.told.is_empty();
            if something || is_refused || failed.is_some() || begun.elapsed() >= wait {
                break;
            }
        }
        self.set_positions()?;
        match failed {
            // The client tells these once, and reads no more.
            Some(error @ (LogError::Fatal(_) | LogError::Fenced(_))) => Err(error),
            // What was read goes on; a passing error shows again if it lasts.
            Some(error) if batch.records.is_empty() && batch.changes.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    fn committed(&mut self, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError> {
        // Not longer than a broker is away: an open transaction may have to be given up.
        let asked = Partitions::of(of, OFFSET_INVALID);
        let found = self.consumer.committed_within(&asked, TOLD);
        self.writer.listen();
        Ok(found?
            .into_iter()
            .map(|found| found.map(|(offset, metadata)| Committed { offset, metadata }))
            .collect())
    }

    fn bounds(&mut self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let (start, end) = self.uncommitted.watermarks(of)?;
        Ok(Bounds { start, end })
    }

    fn ask_ends(&mut self, now: Millis) -> Result<(), LogError> {
        let flowing = Partitions::of(self.flowing.keys(), OFFSET_LATEST);
        self.ends.ask(&self.uncommitted, &flowing, now)
    }

    fn resume(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        if self.ahead.remove(partition) != Some(offset) {
            self.hold(vec![partition.clone()])?;
            if !self.consumer.seek(&Self::list(partition, offset))? {
                // Nobody reads it: the group has taken it away, which the next poll brings, or the client is about to begin.
                self.unset.insert(partition.clone(), Instant::now());
            }
            self.go_on(std::slice::from_ref(partition))?;
            self.is_resumed = true;
        }
        self.flowing.insert(partition.clone(), offset);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        self.flowing.remove(partition);
        self.hold(vec![partition.clone()])
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        for partition in partitions {
            self.flowing.remove(partition);
            self.owned.remove(partition);
            self.ahead.remove(partition);
        }
        self.consumer
            .incremental_unassign(&Partitions::of(partitions, OFFSET_INVALID))
    }

    fn membership(&mut self) -> Result<Membership, LogError> {
        self.writer.listen();
        let mut group = self.consumer.group(&self.config.group)?;
        group.members.sort();
        let index = group.members.iter().position(|(member, _)| *member == group.own);
        let index = index.ok_or_else(|| LogError::Retriable("group does not list this member yet".to_owned()))?;
        // Not who they are: a static member that comes back has another id, and the others do not hear of it.
        let given: Vec<&[u8]> = group.members.iter().map(|(_, given)| given.as_slice()).collect();
        Ok(Membership {
            generation: group.generation,
            assignment: group.is_stable.then(|| stream::rows::hash_of(&given)),
            index: i32::try_from(index).expect("a group is small"),
            members: i32::try_from(group.members.len()).expect("a group is small"),
        })
    }

    fn generation(&mut self) -> Result<i32, LogError> {
        self.consumer.generation()
    }

    fn begin(&mut self) -> Result<(), LogError> {
        self.writer.begin()
    }

    fn send(&mut self, output: Output) -> Result<(), LogError> {
        self.writer.producer()?.send(&output, None)
    }

    fn commit(&mut self, epoch: &Commit) -> Result<CommitReport, LogError> {
        let begun = Instant::now();
        for (index, part) in epoch.partitions.iter().enumerate() {
            for value in &part.changelog {
                let topic = self.config.changelog.as_deref();
                let topic = topic.ok_or_else(|| LogError::Fatal("service has no changelog topic".to_owned()))?;
                let output = Output {
                    topic: Arc::from(topic),
                    partition: Some(part.slot),
                    timestamp: None,
                    key: None,
                    value: Some(value.clone()),
                    headers: Vec::new(),
                };
                self.writer.producer()?.send(&output, Some(index))?;
            }
        }
        self.writer.producer()?.drain()?;
        let mut report = CommitReport {
            changelog_next: vec![None; epoch.partitions.len()],
            ..CommitReport::default()
        };
        let mut placed: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        for (index, offset) in &self.writer.producer()?.delivered().offsets {
            let (first, last) = placed.entry(*index).or_insert((*offset, *offset));
            (*first, *last) = ((*first).min(*offset), (*last).max(*offset));
        }
        for (index, part) in epoch.partitions.iter().enumerate() {
            if part.changelog.is_empty() {
                continue;
            }
            let (first, last) = placed.get(&index).copied().unwrap_or((-1, -1));
            epoch.is_alone(part, first, last)?;
            if first < 0 {
                return Err(LogError::Abort(
                    "nobody told where the changelog was written".to_owned(),
                ));
            }
            report.changelog_next[index] = Some(last + 1);
        }
        let mut offsets = Partitions::new();
        for part in &epoch.partitions {
            if !self.owned.contains(&part.input) {
                return Err(LogError::Abort(
                    "a partition of the epoch is not owned any more".to_owned(),
                ));
            }
            offsets.add(&part.input, part.offset, Some(&part.metadata));
        }
        if self.consumer.generation()? < 0 {
            // The broker does not check such a one: it would let a worker that was put out commit.
            return Err(LogError::Abort(
                "this worker is in no generation of its group".to_owned(),
            ));
        }
        let group = self.consumer.metadata()?;
        let sending = Instant::now();
        self.writer.producer()?.send_offsets(offsets, group)?;
        let sent = sending.elapsed();
        let committing = Instant::now();
        report.is_disturbed = self.writer.commit()?;
        report.longest_request = sent.max(committing.elapsed());
        tracing::trace!(elapsed = ?begun.elapsed(), "epoch committed");
        Ok(report)
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.writer.abort()
    }

    fn recycle(&mut self) -> Result<(), LogError> {
        self.writer.recycle()
    }

    fn discard(&mut self) -> Result<(), LogError> {
        settle::discard(&mut self.leftovers())
    }

    fn resolve(&mut self) -> Result<(), LogError> {
        settle::resolve(&mut self.leftovers())
    }

    fn confirm(&mut self) -> Result<bool, LogError> {
        settle::confirm(&mut self.leftovers())
    }

    fn changelog(&mut self) -> Result<Option<Box<dyn ChangelogReader>>, LogError> {
        let Some(topic) = &self.config.changelog else {
            return Ok(None);
        };
        let consumer = match self.connecting.take() {
            Some(connecting) => connecting.consumer,
            None => hasty_reader(&self.config)?,
        };
        Ok(Some(Box::new(Changelog::new(consumer, topic))))
    }

    fn trim(&mut self, partition: i32, before: i64) -> Result<(), LogError> {
        let Some(topic) = self.config.changelog.clone() else {
            return Ok(());
        };
        crate::admin::Admin::connect(&self.config)
            .and_then(|admin| admin.delete_records(&topic, partition, before))
            .map_err(|error| LogError::Retriable(error.to_string()))
    }

    fn leave(&mut self) -> Result<(), LogError> {
        self.flowing.clear();
        self.owned.clear();
        self.consumer.close(LEAVING)
    }
}
