//! The producer of one name through its incarnations, and what it has committed.

use std::time::{Duration, Instant};

use stream::{LogError, TopicPartition, Unconfirmed};

use crate::{
    log::KafkaConfig,
    native::{Consumer, Partitions},
    producer::{NAMING, Producer},
    wire,
};

/// A request that waited longer for its answer may have been sent twice: librdkafka sends again after 0.8 of `retry.backoff.ms`, which is 250.
pub(crate) const SENT_AGAIN: Duration = Duration::from_millis(200);
/// How long a transaction that closes another may last. Brokers allow a quarter of an hour, unless told otherwise.
const CLOSING: Duration = Duration::from_secs(60);
/// A name that is given sooner was asked for once.
const CALM: Duration = Duration::from_secs(1);
/// No copy of a request is on its way for longer.
const LATE: Duration = Duration::from_secs(5);

/// A producer that can be replaced, and that knows what it has committed and not seen to be visible.
pub(crate) struct Writer {
    config: KafkaConfig,
    producer: Option<Producer>,
    /// What was committed and not seen to be visible, by the time since the writer was opened.
    unconfirmed: Unconfirmed,
    opened: Instant,
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
        self.notice();
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
        self.notice();
        self.look_back();
        // What breaks before it is over nobody hears of any more.
        self.unconfirmed.doubt();
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
        self.unconfirmed.committed(self.now());
        Ok(self.producer()?.is_disturbed())
    }

    /// Whether a commit was asked for whose outcome nobody has told.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unconfirmed.is_unanswered()
    }

    pub(crate) fn is_in_doubt(&self) -> bool {
        self.unconfirmed.is_in_doubt()
    }

    pub(crate) fn unconfirmed(&mut self) -> &mut Unconfirmed {
        &mut self.unconfirmed
    }

    /// The time since the writer was opened.
    pub(crate) fn now(&self) -> Duration {
        self.opened.elapsed()
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

    /// What the client has noticed puts what was committed last in doubt; true if it has noticed something.
    pub(crate) fn notice(&mut self) -> bool {
        let has_broken = self.producer.as_ref().is_some_and(Producer::notice);
        if has_broken {
            self.unconfirmed.doubt();
        }
        has_broken
    }

    /// What was committed and stands still is closed by another commit of this name: of nothing, or where brokers are not reached without logging
    /// in, of a record in each partition that says nothing.
    pub(crate) fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
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
        for of in partitions {
            tracing::warn!(
                topic = %of.topic,
                partition = of.partition,
                "what was committed stood open without its marker, closed it"
            );
        }
        Ok(())
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
