//! A transactional producer that knows what became of every record.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    config::ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header as NativeHeader, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext},
    statistics::Statistics,
    util::Timeout,
};
use stream::{LogError, Output, TopicPartition, filler};

use crate::{
    log::KafkaConfig,
    native::{self, GroupMetadata, Partitions},
    writer::SENT_AGAIN,
};

/// How long one call waits for the coordinator's answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a worker's producer waits for its name; the worker looks then whether it is to stop, and asks again.
pub(crate) const NAMING: Duration = Duration::from_secs(10);
/// How often it looks meanwhile what it was told.
const LOOK: Duration = Duration::from_millis(20);

/// What was delivered since the transaction began.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// The first failure.
    pub(crate) failed: Option<String>,
    /// The greatest offset by tag; only tagged records are kept.
    pub(crate) offsets: Vec<(usize, i64)>,
    /// The last offset in each partition, by the number of its topic.
    last: Vec<BTreeMap<i32, i64>>,
    /// Something was delivered: the coordinator has completed the transaction before this one.
    any: bool,
    /// That was before a connection broke: with all its markers, as far as the client could see.
    is_calm: bool,
}

impl Delivered {
    fn note(&mut self, topic: usize, partition: i32, offset: i64) {
        if self.last.len() <= topic {
            self.last.resize_with(topic + 1, BTreeMap::new);
        }
        let last = self.last[topic].entry(partition).or_insert(offset);
        *last = offset.max(*last);
    }
}

/// What a record's delivery report carries: the number of its topic, and 0 or the tag of a record whose offset matters, plus one.
const fn opaque(topic: usize, tag: Option<usize>) -> usize {
    let tag = match tag {
        Some(tag) => tag + 1,
        None => 0,
    };
    (topic << TAG_BITS) | tag
}

/// How long one look waits for what the client has to tell. It waits in whole milliseconds, and what is left of one it spins.
const WAIT: Duration = Duration::from_millis(4);
/// More than a client has to tell at a time.
const TOLD: usize = 8;
/// An epoch has fewer partitions.
const TAG_BITS: u32 = 32;

/// Notes deliveries.
#[derive(Clone, Default)]
pub(crate) struct Deliveries(Arc<Mutex<Delivered>>, Arc<Disturbance>);

/// What the client tells of its connections.
#[derive(Default)]
struct Disturbance {
    /// Requests may have been sent twice.
    seen: AtomicBool,
    /// A connection has broken just now.
    broke: AtomicBool,
    /// Retries, timeouts and lost connections, as the statistics counted them last; `None` before the first.
    counted: Mutex<Option<Counted>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    retries: u64,
    timeouts: u64,
    disconnects: u64,
}

impl Counted {
    fn of(statistics: &Statistics) -> Self {
        statistics.brokers.values().fold(Self::default(), |sum, broker| Self {
            retries: sum.retries.saturating_add(broker.txretries),
            timeouts: sum.timeouts.saturating_add(broker.req_timeouts),
            disconnects: sum
                .disconnects
                .saturating_add(broker.disconnects.unwrap_or(0).unsigned_abs()),
        })
    }

    /// Whether there is more than before. A producer finds its coordinator on a connection that it gives up for another: what was lost before the
    /// first count says nothing.
    fn is_more(self, before: Option<Self>) -> bool {
        let before = before.unwrap_or(Self {
            disconnects: self.disconnects,
            ..Self::default()
        });
        self != before
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer was disturbed");
        self.1.seen.store(true, Ordering::Relaxed);
        self.1.broke.store(true, Ordering::Relaxed);
    }

    fn stats(&self, statistics: Statistics) {
        let now = Counted::of(&statistics);
        let mut counted = self.1.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counted.replace(now);
        if now.is_more(before) {
            self.1.seen.store(true, Ordering::Relaxed);
        }
        // A connection that is closed is no error to the client before it cannot be opened again.
        if before.is_some_and(|before| now.disconnects > before.disconnects) {
            self.1.broke.store(true, Ordering::Relaxed);
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    /// See [`opaque`].
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let mut delivered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => {
                delivered.any = true;
                delivered.is_calm |= !self.1.broke.load(Ordering::Relaxed);
                let tag = opaque & ((1 << TAG_BITS) - 1);
                if tag > 0 {
                    delivered.offsets.push((tag - 1, message.offset()));
                }
                delivered.note(opaque >> TAG_BITS, message.partition(), message.offset());
            }
            Err((error, _)) => {
                delivered.failed.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// One incarnation of a transactional producer.
pub(crate) struct Producer {
    // Shared with a call that may never return.
    inner: Arc<BaseProducer<Deliveries>>,
    deliveries: Deliveries,
    /// By their numbers.
    topics: Vec<Arc<str>>,
    begun: Instant,
    budget: Duration,
    /// The transaction before this one has not been seen to be over.
    owes: bool,
}

impl Producer {
    /// Creates it and ends what an earlier one of the same name left open.
    pub(crate) fn new(config: &KafkaConfig, patience: Duration) -> Result<Self, LogError> {
        let begun = Instant::now();
        let mut named = Self::unnamed(config)?;
        loop {
            let Err(error) = named.inner.init_transactions(Timeout::After(LOOK)) else {
                named.begun = Instant::now();
                return Ok(named);
            };
            let is_early = error.rdkafka_error_code() == Some(RDKafkaErrorCode::ConcurrentTransactions);
            match classify(error, "init_transactions") {
                LogError::Retriable(_) if begun.elapsed() < patience => {}
                LogError::Unknown(text) | LogError::Abort(text) => return Err(LogError::Retriable(text)),
                other => return Err(other),
            }
            if is_early {
                // The coordinator ends the transaction before first. librdkafka asks again half a second later; a new client is there
                // sooner. The old one has its answer and is closed before, or it would take the name from its successor.
                let was_broken = named.notice();
                drop(named);
                named = Self::unnamed(config)?;
                named.deliveries.1.broke.store(was_broken, Ordering::Relaxed);
            }
        }
    }

    fn unnamed(config: &KafkaConfig) -> Result<Self, LogError> {
        let deliveries = Deliveries::default();
        let mut client = ClientConfig::new();
        for (name, value) in config.producer_settings() {
            client.set(name, value);
        }
        let inner: BaseProducer<Deliveries> = client
            .create_with_context(deliveries.clone())
            .map_err(|error| LogError::Fatal(format!("producer cannot be made: {error}")))?;
        Ok(Self {
            inner: Arc::new(inner),
            deliveries,
            topics: Vec::new(),
            begun: Instant::now(),
            budget: config.transaction_timeout,
            owes: false,
        })
    }

    /// Whether a connection broke or a request was sent again since that was last noticed.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.deliveries.1.seen.load(Ordering::Relaxed)
    }

    /// Whether a connection has broken since this was last asked. What else disturbs, a request that is slow or sent again, loses no markers, and
    /// is daily on a busy machine.
    pub(crate) fn notice(&self) -> bool {
        self.listen();
        self.deliveries.1.seen.store(false, Ordering::Relaxed);
        self.deliveries.1.broke.swap(false, Ordering::Relaxed)
    }

    /// Whether a connection has broken since that was last noticed.
    pub(crate) fn is_broken(&self) -> bool {
        self.deliveries.1.broke.load(Ordering::Relaxed)
    }

    /// Hears what the client has to tell.
    pub(crate) fn listen(&self) {
        // Each call takes one thing that it tells, deliveries of many records among them.
        for _ in 0..TOLD {
            self.inner.poll(Timeout::After(Duration::ZERO));
        }
    }

    /// Whether the open transaction, if there is one, shows that the one before is over, with all its markers.
    pub(crate) fn is_calm(&self) -> bool {
        self.delivered().is_calm
    }

    /// Begins a transaction; `owes` says that the one before has not been seen to be over, which its coordinator answers for by taking records
    /// of this one, unless there was a disturbance.
    pub(crate) fn begin(&mut self, owes: bool) -> Result<(), LogError> {
        self.owes = owes;
        *self.deliveries.0.lock().unwrap_or_else(PoisonError::into_inner) = Delivered::default();
        self.begun = Instant::now();
        self.inner.begin_transaction().map_err(|error| classify(error, "begin"))
    }

    pub(crate) fn send(&mut self, output: &Output, tag: Option<usize>) -> Result<(), LogError> {
        self.is_over_before()?;
        let opaque = opaque(self.number(&output.topic), tag);
        let mut record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&output.topic, opaque);
        if let Some(partition) = output.partition {
            record = record.partition(partition);
        }
        if let Some(timestamp) = output.timestamp {
            record = record.timestamp(timestamp.0);
        }
        if let Some(key) = &output.key {
            record = record.key(key);
        }
        if let Some(value) = &output.value {
            record = record.payload(value);
        }
        if !output.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(output.headers.len());
            for (key, value) in &output.headers {
                headers = headers.insert(NativeHeader {
                    key,
                    value: value.as_ref(),
                });
            }
            record = record.headers(headers);
        }
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.inner.poll(Timeout::After(WAIT));
                    self.in_time()?;
                }
                Err((error, _)) => return Err(self.judged(classify(error, "send"))),
            }
        }
    }

    fn judged(&self, error: LogError) -> LogError {
        of_late(error, self.begun.elapsed(), self.budget)
    }

    /// The number of a topic; there are few.
    fn number(&mut self, topic: &Arc<str>) -> usize {
        let known = self
            .topics
            .iter()
            .position(|of| Arc::ptr_eq(of, topic))
            .or_else(|| self.topics.iter().position(|of| of == topic));
        known.unwrap_or_else(|| {
            self.topics.push(Arc::clone(topic));
            self.topics.len() - 1
        })
    }

    /// The last offset that was written in each partition since the transaction began.
    pub(crate) fn last_written(&self) -> BTreeMap<TopicPartition, i64> {
        let delivered = self.delivered();
        let by_topic = self.topics.iter().zip(&delivered.last);
        let all = by_topic.flat_map(|(topic, last)| {
            last.iter().map(|(partition, offset)| {
                let of = TopicPartition {
                    topic: Arc::clone(topic),
                    partition: *partition,
                };
                (of, *offset)
            })
        });
        all.collect()
    }

    /// A transaction that begins while the one before is perhaps being completed without its markers must not reach a partition: should it
    /// be aborted, so would be what was committed. The producer is given up before its client sends again what was not answered. One that has
    /// reached a partition already had better be committed.
    pub(crate) fn is_over_before(&self) -> Result<(), LogError> {
        if self.owes && self.is_broken() && !self.delivered().any {
            return Err(LogError::Unknown(
                "a connection broke before the last transaction was seen to be over".to_owned(),
            ));
        }
        Ok(())
    }

    /// An epoch older than four fifths of the transaction's time is given up before the broker does.
    fn in_time(&self) -> Result<(), LogError> {
        if self.begun.elapsed() > self.budget.mul_f64(0.8) {
            return Err(LogError::Abort("transaction is about to time out".to_owned()));
        }
        Ok(())
    }

    /// Waits until every record was delivered; commits with records outstanding wait far longer.
    pub(crate) fn drain(&mut self) -> Result<(), LogError> {
        while self.inner.in_flight_count() > 0 {
            self.inner.poll(Timeout::After(WAIT));
            self.is_over_before()?;
            self.in_time()?;
        }
        self.inner.poll(Timeout::After(Duration::ZERO));
        match &self.delivered().failed {
            Some(error) => Err(LogError::Abort(format!("delivery failed: {error}"))),
            None => Ok(()),
        }
    }

    pub(crate) fn delivered(&self) -> std::sync::MutexGuard<'_, Delivered> {
        self.deliveries.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds consumed offsets to the transaction. librdkafka 2.12 waits for the answer without a limit of its own, and now and then,
    /// around the death of a coordinator, none ever comes: a thread waits in our place, and keeps the producer until it is answered.
    pub(crate) fn send_offsets(&mut self, offsets: Partitions, group: GroupMetadata) -> Result<(), LogError> {
        let (answer, answered) = mpsc::channel();
        let producer = Arc::clone(&self.inner);
        let spawned = std::thread::Builder::new()
            .name("kafka-offsets".to_owned())
            .spawn(move || {
                // Nobody listens any more if it took too long.
                let _ = answer.send(native::send_offsets(producer.client().native_ptr(), &offsets, &group));
            });
        spawned.map_err(|error| LogError::Fatal(format!("no thread to send offsets on: {error}")))?;
        let error = match answered.recv_timeout(self.patience()) {
            Ok(None) => return Ok(()),
            Ok(Some(error)) => error,
            Err(_) => return Err(LogError::Unknown("send_offsets: no answer".to_owned())),
        };
        let text = format!("send_offsets: {}", error.text);
        Err(if !error.fatal {
            // Retriable or not, an epoch whose offsets did not go through is never committed.
            LogError::Abort(text)
        } else if let LogError::Fenced(text) = native::classify(error.code, text.clone()) {
            self.judged(LogError::Fenced(text))
        } else {
            LogError::Unknown(text)
        })
    }

    /// Commits; an answer that does not come is waited for as long as the broker keeps a transaction open, and a little longer.
    pub(crate) fn commit(&mut self) -> Result<(), LogError> {
        let begun = Instant::now();
        loop {
            match self.inner.commit_transaction(Timeout::After(ANSWER)) {
                Ok(()) => {
                    self.owes = false;
                    // What was delivered was of this one, and shows nothing of how it ended.
                    *self.deliveries.0.lock().unwrap_or_else(PoisonError::into_inner) = Delivered::default();
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && begun.elapsed() < self.patience() => {
                    tracing::warn!(%error, "commit was not answered, asking again");
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                    return Err(LogError::Unknown(format!("commit: {error}")));
                }
                Err(error) => return Err(self.judged(classify(error, "commit"))),
            }
        }
    }

    /// A new producer can end what this one does not get answers about.
    fn patience(&self) -> Duration {
        self.budget + ANSWER
    }

    pub(crate) fn abort(&mut self) -> Result<(), LogError> {
        let begun = Instant::now();
        self.is_over_before()?;
        // What is counted includes events that only wait to be polled for.
        while self.inner.in_flight_count() > 0
            && (self.begun.elapsed() < self.budget || begun.elapsed() < Duration::from_millis(100))
        {
            self.inner.poll(Timeout::After(WAIT));
            self.is_over_before()?;
        }
        if self.inner.in_flight_count() > 0 {
            // The library's abort waits until each record's report was polled for, and polls for none itself: with records
            // outstanding it never returns. A new producer of the same name aborts instead.
            return Err(LogError::Unknown("abort: records are still under way".to_owned()));
        }
        loop {
            match self.inner.abort_transaction(Timeout::After(ANSWER)) {
                Ok(()) => {
                    self.owes = false;
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && begun.elapsed() < self.patience() => {}
                Err(error) => return Err(LogError::Unknown(format!("abort: {error}"))),
            }
        }
    }

    /// Aborts a transaction that touches these partitions and the group's offsets, and whose records nobody will ever see: its
    /// markers end what an earlier transaction of this name left open there. False if a copy of its requests may still be on its way.
    pub(crate) fn abort_in<'a>(
        &mut self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        offsets: Option<(Partitions, GroupMetadata)>,
    ) -> Result<bool, LogError> {
        self.notice();
        self.begin(false)?;
        for of in partitions {
            self.send(&filler(of), None)?;
        }
        // A record that a broker refuses does not matter: the partition is part of the transaction all the same.
        if let Err(LogError::Unknown(text)) = self.drain() {
            return Err(LogError::Unknown(text));
        }
        if let Some((offsets, group)) = offsets {
            match self.send_offsets(offsets, group) {
                Ok(()) => {}
                Err(LogError::Abort(text)) => tracing::debug!(why = text, "offsets were not taken"),
                Err(error) => return Err(error),
            }
        }
        self.abort()?;
        Ok(self.begun.elapsed() < SENT_AGAIN && !self.is_disturbed())
    }

    /// Commits a transaction of records that say nothing in these partitions: its markers close there what an earlier transaction of this
    /// name has committed and left open.
    pub(crate) fn commit_in<'a>(
        &mut self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Result<(), LogError> {
        self.begin(false)?;
        for of in partitions {
            self.send(&filler(of), None)?;
        }
        self.drain()?;
        self.commit()
    }

    /// Commits offsets alone.
    pub(crate) fn commit_offsets(&mut self, offsets: Partitions, group: GroupMetadata) -> Result<(), LogError> {
        self.begin(false)?;
        self.send_offsets(offsets, group)?;
        self.commit()
    }

    /// Ends this incarnation without waiting for it.
    pub(crate) fn retire(self) {
        reap(self.inner);
    }
}

fn reap(producer: Arc<BaseProducer<Deliveries>>) {
    let spawned = std::thread::Builder::new()
        .name("kafka-reaper".to_owned())
        .spawn(move || drop(producer));
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread to close a producer on");
    }
}

/// Whoever stood still for longer than a transaction may last is fenced by the coordinator: that says nothing of another process of the name.
fn of_late(error: LogError, lasted: Duration, budget: Duration) -> LogError {
    match error {
        LogError::Fenced(text) if lasted >= budget => {
            LogError::Unknown(format!("transaction lasted longer than {budget:?}: {text}"))
        }
        error => error,
    }
}

/// What is to be done about a producer's error.
fn classify(error: KafkaError, what: &str) -> LogError {
    let text = format!("{what}: {error}");
    if let Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced) = error.rdkafka_error_code() {
        return LogError::Fenced(text);
    }
    match &error {
        KafkaError::Transaction(error) if error.is_fatal() => LogError::Unknown(text),
        KafkaError::Transaction(error) if error.txn_requires_abort() => LogError::Abort(text),
        KafkaError::Transaction(error) if error.is_retriable() => LogError::Retriable(text),
        KafkaError::MessageProduction(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => LogError::Fatal(text),
        KafkaError::MessageProduction(_) => LogError::Abort(text),
        _ => LogError::Unknown(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_is_late_was_not_fenced_by_another() {
        let fenced = || LogError::Fenced("fenced".to_owned());
        let budget = Duration::from_secs(10);
        assert_eq!(of_late(fenced(), Duration::from_secs(9), budget), fenced());
        let late = of_late(fenced(), Duration::from_secs(11), budget);
        assert_eq!(
            late,
            LogError::Unknown("transaction lasted longer than 10s: fenced".to_owned())
        );
        let abort = LogError::Abort("send".to_owned());
        assert_eq!(of_late(abort.clone(), Duration::from_secs(11), budget), abort);
    }

    #[test]
    fn what_is_counted_once_more_is_a_disturbance() {
        let counted = |retries, disconnects| Counted {
            retries,
            timeouts: 0,
            disconnects,
        };
        assert!(!counted(0, 2).is_more(None), "how its coordinator was found");
        assert!(counted(1, 2).is_more(None));
        assert!(!counted(1, 2).is_more(Some(counted(1, 2))));
        assert!(counted(1, 3).is_more(Some(counted(1, 2))));
    }

    #[test]
    fn what_a_delivery_report_carries_is_found_in_it_again() {
        for (topic, tag) in [(0, None), (3, None), (0, Some(0)), (7, Some(47))] {
            let carried = opaque(topic, tag);
            assert_eq!(carried >> TAG_BITS, topic);
            let found = carried & ((1 << TAG_BITS) - 1);
            assert_eq!(found.checked_sub(1), tag);
        }
    }
}
