//! What a worker does when it is given a partition, and when a transaction did not simply succeed.

use std::time::{Duration, Instant};

use stream::{
    ChangelogReader, Commit, Committed, Db, Log, LogError, Marker, RowRef, Stage, Statefulness, StoredRow, Task,
    TopicPartition,
};

use super::{Hooks, Observation, Start, Stop, Worker};

/// The database of a stage without state: nothing is on a disk, and nothing is written.
struct NoDb;

impl Db for NoDb {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        Ok(vec![None; keys.len()])
    }

    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<StoredRow>, String> {
        Ok(Vec::new())
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        debug_assert!(rows.next().is_none(), "a stage without state wrote rows");
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A partition whose database is open.
pub(super) struct Opened<S: Stage> {
    task: Task<S>,
    /// Where its group stands.
    committed: Option<Committed>,
}

/// A partition whose changelog is being read.
pub(super) struct Restoring<S: Stage> {
    opened: Opened<S>,
    changelog: Changelog,
}

/// A changelog on its way to its end.
pub(super) struct Changelog {
    reader: Box<dyn ChangelogReader>,
    from: i64,
    position: i64,
    /// The first record that was there, and the end, when the partition was given.
    start: i64,
    end: i64,
    begun: Instant,
    /// When it last brought something.
    heard: Instant,
}

impl Changelog {
    fn is_read(&self) -> bool {
        self.position >= self.end
    }
}

/// How long one turn reads changelogs, so that the partitions that run are not kept waiting.
const SLICE: Duration = Duration::from_millis(50);
/// How long a passing error may last before the worker gives up.
const PATIENCE: Duration = Duration::from_secs(120);

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// Repeats a call while its error is a passing one.
    pub(super) fn patiently<T>(
        &mut self,
        what: &str,
        mut call: impl FnMut(&mut L) -> Result<T, LogError>,
    ) -> Result<T, Stop> {
        let begun = Instant::now();
        loop {
            match call(&mut self.log) {
                Ok(value) => return Ok(value),
                Err(LogError::Retriable(message)) if begun.elapsed() < PATIENCE => {
                    tracing::warn!(error = message, what, "log did not answer, trying again");
                    self.hooks.observe(&Observation::Turned);
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
                Err(error) => return Err(Stop::Failed(format!("{what}: {error}"))),
            }
        }
    }

    /// Opens a partition: the database, then the changelog behind it. What is to be read of that is read in slices between the
    /// turns of the partitions that run; meanwhile only this one's input is paused.
    pub(super) fn assign(&mut self, partition: &TopicPartition) -> Result<(), Stop> {
        let asked = [partition.clone()];
        let committed = self
            .patiently("committed offsets", |log| log.committed(&asked))?
            .into_iter()
            .next()
            .flatten();
        let db: Box<dyn Db> = match self.config.state {
            Statefulness::Keyed => (self.config.open_db)(partition).map_err(Stop::Failed)?,
            Statefulness::None => Box::new(NoDb),
        };
        let mut task = Task::open(std::sync::Arc::clone(&self.stage), self.task_config(partition), db)?;
        self.watched(partition, &mut task);
        let mut restoring = None;
        if self.config.state == Statefulness::Keyed {
            let ahead = committed
                .as_ref()
                .is_some_and(|committed| task.marker().offset > committed.offset);
            if ahead {
                tracing::warn!(
                    partition = partition.partition,
                    "database is ahead of the log, starting from the changelog"
                );
                task.reset()?;
            }
            restoring = self.open_changelog(partition, &mut task, committed.as_ref())?;
        }
        let opened = Opened { task, committed };
        match restoring {
            Some(changelog) => {
                self.restoring
                    .insert(partition.clone(), Restoring { opened, changelog });
                Ok(())
            }
            None => self.run_partition(partition, opened, None),
        }
    }

    /// Finds out what of the changelog is to be read; `None` if there is nothing.
    fn open_changelog(
        &mut self,
        partition: &TopicPartition,
        task: &mut Task<S>,
        committed: Option<&Committed>,
    ) -> Result<Option<Changelog>, Stop> {
        let Some(topic) = self.config.changelog_topic.clone() else {
            return Ok(None);
        };
        let changelog = TopicPartition {
            topic,
            partition: partition.partition,
        };
        let bounds = self.patiently("offsets of the changelog", |log| log.bounds(&changelog))?;
        let (begin, first) = match committed {
            Some(committed) => Marker::begin_of(&committed.metadata),
            None => (task.marker().snapshots.begin, task.marker().snapshots.first),
        };
        if bounds.start > begin {
            return Err(Stop::Halted(format!(
                "somebody deleted the beginning of the changelog: partition={} start={} begin={begin}",
                partition.partition, bounds.start
            )));
        }
        if task.changelog_next() > bounds.end {
            return Err(Stop::Halted(format!(
                "database is behind a changelog that ends earlier: partition={} position={} end={}",
                partition.partition,
                task.changelog_next(),
                bounds.end
            )));
        }
        if task.marker().epoch > 0 && task.changelog_next() < bounds.start {
            tracing::warn!(
                partition = partition.partition,
                position = task.changelog_next(),
                start = bounds.start,
                "database is older than the changelog, starting from its snapshot"
            );
            task.reset()?;
        }
        if task.marker().epoch == 0 {
            task.restore_from(begin, first);
        }
        let from = task.changelog_next();
        let opened = self.patiently("changelog", |log| log.changelog(partition.partition, from))?;
        let now = Instant::now();
        Ok(opened.map(|reader| Changelog {
            reader,
            from,
            position: from,
            start: bounds.start,
            end: bounds.end,
            begun: now,
            heard: now,
        }))
    }

    /// Reads changelogs for a slice of time, one partition after the other; partitions that are whole begin to run.
    pub(super) fn restore_some(&mut self) -> Result<(), Stop> {
        let begun = Instant::now();
        while begun.elapsed() < SLICE {
            let Some((partition, mut one)) = self.restoring.pop_first() else {
                break;
            };
            while !one.changelog.is_read() && begun.elapsed() < SLICE {
                self.restore_page(&partition, &mut one)?;
            }
            if !one.changelog.is_read() {
                self.restoring.insert(partition, one);
                break;
            }
            self.hooks.observe(&Observation::Restoring {
                partition: partition.partition,
                remaining: 0,
            });
            self.run_partition(&partition, one.opened, Some(&one.changelog))?;
            self.tell_assigned();
        }
        Ok(())
    }

    fn restore_page(&mut self, partition: &TopicPartition, one: &mut Restoring<S>) -> Result<(), Stop> {
        let (changelog, task) = (&mut one.changelog, &mut one.opened.task);
        self.hooks.observe(&Observation::Restoring {
            partition: partition.partition,
            remaining: (changelog.end - changelog.position).unsigned_abs(),
        });
        let mut records = Vec::new();
        changelog.position = changelog
            .reader
            .read(Duration::from_millis(100), &mut records)
            .map_err(|error| Stop::Failed(format!("changelog: {error}")))?;
        for (offset, value) in &records {
            task.restore(value, offset + 1)?;
        }
        task.restored_to(changelog.position);
        if task.overlay_bytes() >= self.config.flush_bytes {
            // Whole epochs and the place behind them: a restart goes on from here.
            task.flush()?;
        }
        if !records.is_empty() {
            changelog.heard = Instant::now();
        } else if changelog.heard.elapsed() > PATIENCE {
            return Err(Stop::Failed(format!(
                "changelog does not end: partition={} position={} end={}",
                partition.partition, changelog.position, changelog.end
            )));
        }
        Ok(())
    }

    /// A partition whose state is whole begins to run where its group stands.
    fn run_partition(
        &mut self,
        partition: &TopicPartition,
        opened: Opened<S>,
        restored: Option<&Changelog>,
    ) -> Result<(), Stop> {
        let Opened { mut task, committed } = opened;
        task.restored();
        if self.config.state == Statefulness::Keyed {
            agrees(partition, task.marker(), committed.as_ref())?;
        }
        if let Some(changelog) = restored {
            if changelog.position > changelog.from {
                let (records, millis) = (
                    changelog.position - changelog.from,
                    changelog.begun.elapsed().as_millis(),
                );
                tracing::info!(
                    partition = partition.partition,
                    records,
                    millis,
                    "state restored from the changelog"
                );
            }
            // A predecessor may have died between its last chunk and the trim.
            let begin = task.marker().snapshots.begin;
            if changelog.start < begin {
                task.flush()?;
                self.trim_to(partition.partition, begin);
            }
        }
        let next = match (&committed, task.marker().epoch) {
            (Some(committed), _) => committed.offset,
            (None, epoch) if epoch > 0 => task.marker().offset,
            (None, _) => {
                let bounds = self.patiently("offsets of the input", |log| log.bounds(partition))?;
                match self.config.start {
                    Start::Earliest => bounds.start,
                    Start::Latest => bounds.end,
                }
            }
        };
        if task.marker().epoch == 0 {
            task.begin_at(next);
        }
        if let Some(revision) = self.hooks.between_epochs(&self.stage) {
            task.set_revision(revision);
        }
        self.tasks.insert(partition.clone(), task);
        tracing::info!(topic = %partition.topic, partition = partition.partition, offset = next, "partition opened");
        self.patiently("seeking", |log| log.resume(partition, next))
    }

    /// Trims the changelogs whose snapshots have become whole, once their rows are on the disk.
    pub(super) fn trim(&mut self) -> Result<(), Stop> {
        let mut due = Vec::new();
        for (partition, task) in &mut self.tasks {
            if let Some(begin) = task.take_trim() {
                task.flush()?;
                due.push((partition.partition, begin));
            }
        }
        for (partition, begin) in due {
            self.trim_to(partition, begin);
        }
        Ok(())
    }

    /// A trim that is refused loses nothing: the log is longer than it need be until the next.
    fn trim_to(&mut self, partition: i32, begin: i64) {
        let trimmed = self.log.trim(partition, begin);
        match &trimmed {
            Ok(()) => tracing::info!(partition, begin, "changelog trimmed to its snapshot"),
            Err(error) => tracing::warn!(partition, begin, %error, "changelog was not trimmed"),
        }
        self.hooks.observe(&Observation::Trimmed(trimmed.is_ok()));
    }

    /// Drops the open epoch and reads its input again.
    pub(super) fn abort(&mut self, why: &str) -> Result<(), Stop> {
        if self.begun.is_some() || self.tasks.values().any(Task::is_touched) {
            tracing::warn!(why, "epoch aborted");
        }
        if self.begun.take().is_some() {
            match self.log.abort() {
                Ok(()) => {}
                Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
                Err(error) => {
                    tracing::warn!(%error, "abort failed, replacing the producer");
                    self.recycle("abort")?;
                }
            }
        }
        self.hooks.observe(&Observation::Aborted);
        self.rewind()
    }

    fn rewind(&mut self) -> Result<(), Stop> {
        self.hooks.observe(&Observation::Dropped);
        self.written.clear();
        self.dead.clear();
        self.outputs.clear();
        let mut positions = Vec::new();
        for (partition, task) in &mut self.tasks {
            positions.push((partition.clone(), task.aborted()));
        }
        for (partition, offset) in positions {
            self.hooks.dropped(&partition);
            self.patiently("seeking", |log| log.resume(&partition, offset))?;
        }
        Ok(())
    }

    /// Replaces the producer, however long its coordinator is away.
    pub(super) fn recycle(&mut self, cause: &'static str) -> Result<(), Stop> {
        self.begun = None;
        self.hooks.observe(&Observation::Recycled(cause));
        loop {
            self.hooks.observe(&Observation::Turned);
            match self.log.recycle() {
                Ok(()) => return Ok(()),
                Err(LogError::Fenced(message)) => return Err(Stop::Fenced(message)),
                Err(LogError::Fatal(message)) => return Err(Stop::Failed(message)),
                Err(error) => {
                    tracing::warn!(%error, "no new producer yet, trying again");
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
        }
    }

    /// The outcome of a commit is unknown: a new producer settles it, then positions say what it was.
    pub(super) fn unknown(&mut self, epoch: &Commit, why: &str) -> Result<(), Stop> {
        tracing::warn!(why, "outcome of the transaction is unknown, comparing positions");
        self.hooks.observe(&Observation::Unknown);
        self.recycle("unknown")?;
        let partitions: Vec<TopicPartition> = epoch.partitions.iter().map(|part| part.input.clone()).collect();
        let found = self.patiently("committed offsets", |log| log.committed(&partitions))?;
        let mut came_through = 0;
        for (part, found) in epoch.partitions.iter().zip(&found) {
            let is_new = found
                .as_ref()
                .is_some_and(|found| found.offset == part.offset && found.metadata == part.metadata);
            let before = self.tasks.get(&part.input).map(Task::marker);
            let is_old = match (found, before) {
                (None, _) => true,
                (Some(found), Some(before)) => found.offset == before.offset && found.metadata != part.metadata,
                (Some(_), None) => false,
            };
            match (is_new, is_old) {
                (true, _) => came_through += 1,
                (false, true) => {}
                (false, false) => {
                    return Err(Stop::Halted(format!(
                        "committed offset is neither the epoch's nor the one before: partition={}",
                        part.input.partition
                    )));
                }
            }
        }
        if came_through == 0 {
            return self.rewind();
        }
        if came_through < epoch.partitions.len() {
            return Err(Stop::Halted("a transaction was published in part".to_owned()));
        }
        let mut next = Vec::new();
        for part in &epoch.partitions {
            next.push(match (&self.config.changelog_topic, part.changelog.is_empty()) {
                (Some(topic), false) => {
                    let changelog = TopicPartition {
                        topic: std::sync::Arc::clone(topic),
                        partition: part.input.partition,
                    };
                    // This worker alone writes it, so its end lies behind the epoch's last part.
                    Some(
                        self.patiently("offsets of the changelog", |log| log.bounds(&changelog))?
                            .end,
                    )
                }
                _ => None,
            });
        }
        let epoch = Commit {
            partitions: epoch.partitions.clone(),
        };
        self.apply(epoch, &next, Duration::ZERO, Duration::ZERO)
    }
}

/// The marker and the committed offset must say the same, epoch number included.
fn agrees(partition: &TopicPartition, marker: &Marker, committed: Option<&Committed>) -> Result<(), Stop> {
    let Some(committed) = committed else { return Ok(()) };
    let epoch = Marker::epoch_of(&committed.metadata);
    if marker.epoch > 0 && committed.offset == marker.offset && epoch == Some(marker.epoch) {
        return Ok(());
    }
    Err(Stop::Halted(format!(
        "marker and committed offset differ: partition={} marker={}#{} committed={}#{}",
        partition.partition,
        marker.offset,
        marker.epoch,
        committed.offset,
        epoch.unwrap_or_default()
    )))
}
