//! The producer of one name through its incarnations, and what it has committed.

use std::time::{Duration, Instant};

use stream::{LogError, Look, TopicPartition, Unconfirmed};

use crate::{
    leftovers::{self, Stuck},
    log::KafkaConfig,
    native::{Consumer, Isolation, OFFSET_LATEST, Partitions, ends_now},
    outcome,
    producer::{NAMING, Producer},
    wire,
};

/// A request that waited longer for its answer may have been sent twice: librdkafka sends again after 0.8 of `retry.backoff.ms`, which is 250.
pub(crate) const SENT_AGAIN: Duration = Duration::from_millis(200);
/// Markers of a transaction are mostly there within some milliseconds: this long they are waited for in one call.
const MARKERS: Duration = Duration::from_secs(1);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(10);
/// How long a transaction that closes another may last. Brokers allow a quarter of an hour, unless told otherwise.
const CLOSING: Duration = Duration::from_secs(60);
/// A name that is given sooner was asked for once.
const CALM: Duration = Duration::from_secs(1);
/// No copy of a request is on its way for longer.
const LATE: Duration = Duration::from_secs(5);

/// What open transactions of nobody hold, of a name of which it was not known how its last transaction ended.
#[derive(Default)]
pub(crate) struct LeftOpen {
    /// Where the last that wrote was committed: it is to be shown.
    pub committed: Stuck,
    /// Where it was not, and what is another's: it is to be aborted.
    pub others: Stuck,
    /// The last was aborted.
    pub is_aborted: bool,
}

/// A producer that can be replaced, and that sees to it that what it commits is visible.
pub(crate) struct Writer {
    config: KafkaConfig,
    producer: Option<Producer>,
    /// What was committed and not seen to be visible, by the time since the writer was opened.
    unconfirmed: Unconfirmed,
    opened: Instant,
    /// Offsets of a commit that was in doubt may be pending still.
    owes_offsets: bool,
    /// When this name was last given so slowly that it may have been asked for twice.
    slow: Option<Instant>,
}

impl Writer {
    /// Takes the name, and ends what an earlier producer of it left open.
    pub(crate) fn open(config: &KafkaConfig, patience: Duration) -> Result<Self, LogError> {
        Ok(Self {
            config: config.clone(),
            producer: Some(Producer::new(config, patience)?),
            unconfirmed: Unconfirmed::default(),
            opened: Instant::now(),
            owes_offsets: false,
            slow: None,
        })
    }

    pub(crate) fn producer(&mut self) -> Result<&mut Producer, LogError> {
        self.producer
            .as_mut()
            .ok_or_else(|| LogError::Unknown("there is no producer".to_owned()))
    }

    /// Hears what the client has to tell. A transaction that must not reach a partition any more is given up at once, with its producer.
    pub(crate) fn listen(&mut self) {
        let Some(producer) = &self.producer else { return };
        producer.listen();
        if let Err(error) = producer.is_over_before() {
            tracing::warn!(%error, "giving the open transaction up");
            self.retire();
        }
    }

    /// Drops the open transaction.
    pub(crate) fn abort(&mut self) -> Result<(), LogError> {
        self.look_back();
        self.producer()?.abort()
    }

    /// Behind what the open transaction has shown of the one before.
    fn look_back(&mut self) {
        if self.producer.as_ref().is_some_and(Producer::is_calm) {
            self.unconfirmed.is_over();
        }
    }

    fn retire(&mut self) {
        self.look_back();
        self.notice();
        if let Some(old) = self.producer.take() {
            old.retire();
        }
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> Result<(), LogError> {
        let owes = self.unconfirmed.is_owed();
        self.producer()?.begin(owes)
    }

    /// Commits the transaction, whose records are delivered; true if there was a disturbance since it began.
    pub(crate) fn commit(&mut self) -> Result<bool, LogError> {
        self.notice_late();
        let last = self.producer()?.last_written();
        self.unconfirmed.asks(last);
        self.producer()?.commit()?;
        self.unconfirmed.committed(self.opened.elapsed());
        Ok(self.producer()?.is_disturbed())
    }

    /// The transaction whose commit was not answered was not committed.
    pub(crate) fn not_committed(&mut self) {
        self.unconfirmed.not_committed();
        // An abort is dear if something was not noticed.
        self.unconfirmed.doubt();
    }

    /// If there is one whose commit was not answered, it was committed.
    pub(crate) fn came_through(&mut self) {
        if self.unconfirmed.is_unanswered() {
            self.unconfirmed.committed(self.opened.elapsed());
            self.unconfirmed.doubt();
        }
    }

    /// Whether a commit was asked for whose outcome nobody has told.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unconfirmed.is_unanswered()
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.unconfirmed.is_in_doubt()
    }

    /// Whether anything was closed since this was last asked.
    pub(crate) fn was_closed(&mut self) -> bool {
        self.unconfirmed.was_closed()
    }

    /// Replaces the producer by a new one of the same name.
    pub(crate) fn recycle(&mut self) -> Result<(), LogError> {
        self.replace(self.config.transaction_timeout)
    }

    fn replace(&mut self, transaction_timeout: Duration) -> Result<(), LogError> {
        self.retire();
        let config = KafkaConfig {
            transaction_timeout,
            ..self.config.clone()
        };
        let begun = Instant::now();
        let named = Producer::new(&config, NAMING);
        if begun.elapsed() >= CALM || named.is_err() {
            self.slow = Some(Instant::now());
        }
        self.producer = Some(named?);
        Ok(())
    }

    /// What has broken in the open transaction puts what was committed before it in doubt, and says of its own commit what it did before.
    fn notice_late(&mut self) {
        if self.producer.as_ref().is_some_and(Producer::is_broken) {
            self.unconfirmed.doubt();
        }
    }

    /// What the client has noticed puts what was committed last in doubt.
    fn notice(&mut self) {
        if self.producer.as_ref().is_some_and(Producer::notice) {
            self.unconfirmed.doubt();
        }
    }

    /// Offsets of a commit that was in doubt may be pending still.
    pub(crate) fn owes_offsets(&self) -> bool {
        self.owes_offsets
    }

    pub(crate) fn offsets_are_ended(&mut self) {
        self.owes_offsets = false;
    }

    /// What is left of this name's transactions where it is not known how the last one ended.
    pub(crate) fn left_open(&mut self, reader: &Consumer, config: &KafkaConfig) -> Result<LeftOpen, LogError> {
        self.see_visible(reader)?;
        let stuck = leftovers::stuck(config, reader)?;
        if stuck.is_empty() && !self.owes_offsets {
            return Ok(LeftOpen::default());
        }
        let decided = outcome::of_name(&self.config)?;
        let (committed, others) = stuck.into_iter().partition(|(of, _)| decided.is_committed(of));
        Ok(LeftOpen {
            committed,
            others,
            is_aborted: decided.is_aborted(),
        })
    }

    /// Ends what stands open and was committed.
    pub(crate) fn show(&mut self, reader: &Consumer, committed: Stuck) -> Result<(), LogError> {
        if committed.is_empty() {
            return Ok(());
        }
        let ends = committed.into_iter().map(|(of, (_, end))| (of, end)).collect();
        self.unconfirmed.found_open(ends, self.opened.elapsed());
        self.see_visible(reader)
    }

    /// Sees to it that what is known to be committed is visible.
    pub(crate) fn see_visible(&mut self, reader: &Consumer) -> Result<(), LogError> {
        self.notice();
        if !self.unconfirmed.is_in_doubt() {
            return Ok(());
        }
        self.owes_offsets = true;
        let begun = Instant::now();
        loop {
            let asked = Partitions::of(self.unconfirmed.partitions(), OFFSET_LATEST);
            let stable = ends_now(reader, &asked, Isolation::Stable)?;
            let still = self.config.transaction_timeout / 2;
            match self.unconfirmed.look(&stable, self.opened.elapsed(), still) {
                Look::Visible => return Ok(()),
                Look::Wait if begun.elapsed() < MARKERS => std::thread::sleep(AGAIN),
                Look::Wait => {
                    return Err(LogError::Retriable(
                        "what was committed is not visible everywhere yet".to_owned(),
                    ));
                }
                Look::Close(partitions) => self.close(&partitions)?,
                Look::Foreign(partitions) => {
                    for of in partitions {
                        tracing::error!(
                            topic = %of.topic,
                            partition = of.partition,
                            "a transaction that is not this producer's stays open; kafka-transactions.sh --find-hanging names whose"
                        );
                    }
                    return Ok(());
                }
            }
        }
    }

    /// What was committed and stands still is closed by another commit of this name: of nothing, or where brokers are not reached without logging
    /// in, of a record in each partition that says nothing.
    fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        // This one must not be aborted: it is given much time, and begins only if no copy of a request for its name can be on its way, which
        // would end it.
        if self.slow.is_some_and(|at| at.elapsed() < LATE) {
            return Err(slow());
        }
        if wire::is_plain(&self.config) {
            let closed = wire::commit_in(&self.config, partitions, CLOSING);
            if closed.is_err() {
                self.slow = Some(Instant::now());
            }
            closed?;
        } else {
            match self.replace(CLOSING) {
                // Brokers can be told to allow less.
                Err(LogError::Fatal(_)) => self.recycle()?,
                replaced => replaced?,
            }
            if self.slow.is_some_and(|at| at.elapsed() < LATE) {
                self.recycle()?;
                return Err(slow());
            }
            self.producer()?.commit_in(partitions.iter())?;
        }
        self.unconfirmed.closed();
        for of in partitions {
            tracing::warn!(
                topic = %of.topic,
                partition = of.partition,
                "what was committed stood open without its marker, closed it"
            );
        }
        self.recycle()
    }

    /// Ends offsets that this name has committed and that are pending without their marker: by a commit of nothing, or else of an offset that says
    /// nothing.
    pub(crate) fn end_offsets(&mut self, nothing: Partitions) -> Result<(), LogError> {
        if wire::is_plain(&self.config) {
            wire::commit_in(&self.config, &[], CLOSING)?;
            return self.recycle();
        }
        let group = Consumer::outsider(&self.config.group);
        self.producer()?.commit_offsets(nothing, group)
    }
}

fn slow() -> LogError {
    LogError::Retriable("what was committed stands open, and its coordinator is slow".to_owned())
}
