//! From the begin of an epoch's transaction to what is done once it is known to be committed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use stream::{
    Commit, CommitReport, Log, LogError, PartitionEpoch, Stage, Statefulness, Task,
    mutant::{self, Mutant},
};

use super::{Hooks, Observation, Stop, Worker, stretch::Stretch};

/// A producer whose commit had a request that waited this long is replaced: librdkafka sends again after 0.8 of `retry.backoff.ms`, which
/// is 250.
const SUSPICIOUS: Duration = Duration::from_millis(200);
/// A name that is taken away this often within [`FENCED_WITHIN`] has another owner.
const FENCED_OFTEN: usize = 3;
const FENCED_WITHIN: Duration = Duration::from_secs(600);

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    pub(super) fn begin(&mut self) -> Result<(), Stop> {
        if self.begun.is_some() {
            return Ok(());
        }
        self.opens();
        loop {
            self.clean_up()?;
            match self.log.begin() {
                Ok(()) => break,
                Err(LogError::Fatal(message)) => return Err(Stop::Failed(message)),
                Err(LogError::Fenced(message)) => {
                    self.was_fenced(message)?;
                    self.recycle("fenced")?;
                }
                Err(error) => {
                    tracing::warn!(%error, "transaction could not begin, replacing the producer");
                    self.recycle("begin")?;
                }
            }
        }
        self.begun = Some(self.now());
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), Stop> {
        let mut epoch = Commit::default();
        // One partition at a time, so that chunks do not swell every epoch at once.
        if !self.tasks.values().any(Task::is_in_snapshot)
            && let Some(task) = self.tasks.values_mut().find(|task| task.wants_snapshot())
        {
            task.begin_snapshot();
        }
        if mutant::is_on(Mutant::CutInsideBucket) {
            let mut outputs = Vec::new();
            for task in self.tasks.values_mut() {
                task.close(&mut outputs)?;
            }
            if !self.send_all(&mut outputs)? {
                return Ok(());
            }
        }
        for (partition, task) in &mut self.tasks {
            let Ok(batch) = catch_unwind(AssertUnwindSafe(|| task.batch())) else {
                let partition = partition.clone();
                return self.panicked(&partition);
            };
            epoch.partitions.extend(batch?);
        }
        if epoch.partitions.is_empty() {
            if self.begun.is_none() {
                return Ok(());
            }
            // Outputs without input, such as ticks: any owned partition's position carries the transaction.
            let Some((partition, task)) = self.tasks.iter().next() else {
                return self.abort("no partition is owned");
            };
            epoch.partitions.push(stream::PartitionEpoch {
                input: partition.clone(),
                offset: task.marker().offset,
                metadata: match (self.config.state, &self.config.changelog) {
                    (Statefulness::None, None) => String::new(),
                    _ => task.marker().metadata(),
                },
                slot: self.slot(partition),
                changelog: Vec::new(),
                rows: Vec::new(),
            });
        }
        let is_unclear = |part: &PartitionEpoch| !part.changelog.is_empty() && !self.ends.contains_key(&part.slot);
        if epoch.partitions.iter().any(is_unclear) {
            return self.abort("where the changelog ends is to be looked up");
        }
        epoch.ends = self.ends.clone();
        self.begin()?;
        let started = self.now();
        let process = started.saturating_sub(self.first.unwrap_or(started));
        self.serve()?;
        let touched = epoch.partitions.iter();
        if touched.into_iter().any(|part| self.is_lost(&part.input)) {
            return self.abort("a partition of the epoch was lost");
        }
        if !self.offsets_stand()? {
            return Ok(());
        }
        if mutant::is_on(Mutant::ApplyBeforeCommit) && self.config.state == Statefulness::Keyed {
            for part in epoch.partitions.iter().filter(|part| !part.rows.is_empty()) {
                if let Some(task) = self.tasks.get_mut(&part.input) {
                    let next = task.changelog_next() + 1;
                    task.committed(part.clone(), Some(next))?;
                    task.flush()?;
                }
            }
        }
        match self.log.commit(&epoch) {
            Ok(report) => {
                let commit = self.now().saturating_sub(started);
                self.apply(epoch, &report, process, commit)
            }
            Err(error) => self.failed(&epoch, error),
        }
    }

    /// A send or a commit did not go through.
    pub(super) fn failed(&mut self, epoch: &Commit, error: LogError) -> Result<(), Stop> {
        match error {
            LogError::Fatal(message) => Err(Stop::Failed(message)),
            LogError::Unknown(message) => self.unknown(epoch, &message),
            LogError::Fenced(message) => {
                // By another process of this name, or by the coordinator, because the transaction took too long.
                self.was_fenced(message)?;
                self.unknown(epoch, "the producer was fenced")
            }
            error => self.abort(&error.to_string()),
        }
    }

    /// Takes the name back, unless it is taken away again and again.
    pub(super) fn was_fenced(&mut self, message: String) -> Result<(), Stop> {
        let now = self.now();
        self.fenced.retain(|at| now.saturating_sub(*at) < FENCED_WITHIN);
        self.fenced.push(now);
        if self.fenced.len() >= FENCED_OFTEN {
            return Err(Stop::Fenced(message));
        }
        tracing::warn!(error = message, "producer was fenced, taking the name back");
        Ok(())
    }

    pub(super) fn apply(
        &mut self,
        epoch: Commit,
        report: &CommitReport,
        process: Duration,
        commit: Duration,
    ) -> Result<(), Stop> {
        let may_be_late = report.longest_request >= SUSPICIOUS || report.is_disturbed;
        if may_be_late && !mutant::is_on(Mutant::ProducerKept) {
            self.suspect = Some("slow");
        }
        for (index, part) in epoch.partitions.into_iter().enumerate() {
            let counts = self.config.state == Statefulness::Keyed || self.config.changelog.is_some();
            let carries_ticks_only = counts && part.rows.is_empty();
            if carries_ticks_only {
                continue;
            }
            let next = report.changelog_next.get(index).copied().flatten();
            if let Some(next) = next {
                // The end of a transaction is a record too. Kafka has been seen to forget it (KAFKA-20734); the next commit mends that.
                self.ends.insert(part.slot, next..=next + 1);
            }
            if let Some(task) = self.tasks.get_mut(&part.input) {
                task.committed(part, next)?;
            }
        }
        if self.stretch == Stretch::Begins {
            let [process_millis, commit_millis] =
                [process, commit].map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            tracing::info!(process_millis, commit_millis, "first epoch committed");
        } else {
            tracing::debug!(?process, ?commit, "epoch committed");
        }
        self.begun = None;
        self.first = None;
        self.leftovers = false;
        self.ended = self.now();
        self.stretch.committed();
        self.tell_poison();
        self.trim()?;
        let written = std::mem::take(&mut self.written);
        let dead = std::mem::take(&mut self.dead);
        self.hooks.observe(&Observation::Committed {
            written: &written,
            dead: &dead,
            process,
            commit,
        });
        for (partition, task) in &self.tasks {
            self.hooks.observe(&Observation::Partition {
                partition: partition.partition,
                clock: task.clock(),
                timers: task.timers_pending(),
                overlay_bytes: task.overlay_bytes(),
                changelog_bytes: task.marker().snapshots.log_bytes,
            });
        }
        self.hooks.observe(&Observation::Seen);
        self.between_epochs();
        let bytes: usize = self.tasks.values().map(Task::overlay_bytes).sum();
        let now = self.now();
        if bytes >= self.config.flush_bytes || now.saturating_sub(self.flushed) >= self.config.flush_interval {
            self.flushed = now;
            for task in self.tasks.values_mut() {
                task.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn between_epochs(&mut self) {
        if let Some(revision) = self.hooks.between_epochs(&self.stage) {
            self.tasks.values_mut().for_each(|task| task.set_revision(revision));
        }
    }
}
