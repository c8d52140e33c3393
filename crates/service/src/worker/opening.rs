//! What a worker does with a partition that it is given: the database, the changelog behind it, and the place where reading goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stream::{
    Bounds, ChangelogBatch, Committed, Db, Log, LogError, Marker, OpenError, RowRef, Stage, Statefulness, StoredRow,
    Task, TopicPartition,
    mutant::{self, Mutant},
    rows::{MARKER, POSITION},
};

use super::{
    Hooks, Observation, Start, Stop, Worker,
    newest::PENDING,
    outcome::{GoesOn, Position, goes_on},
    recover::PATIENCE,
};

/// The database of a stage without state: nothing is on a disk, and the marker need not be, since the changelog has it.
struct NoDb;

impl Db for NoDb {
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        Ok(vec![None; keys.len()])
    }

    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<StoredRow>, String> {
        Ok(Vec::new())
    }

    fn ingest(&mut self, rows: &mut dyn Iterator<Item = RowRef<'_>>) -> Result<(), String> {
        for (key, _) in rows {
            debug_assert!(key == MARKER || key == POSITION, "a stage without state wrote rows");
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Partitions that are given and do not run yet.
pub(super) struct Opening<S: Stage> {
    /// Those whose changelog is being read, by its partition.
    restoring: BTreeMap<i32, Restoring<S>>,
    /// Those whose positions contradicted each other while this worker was no member, those whose database another worker has still open, and
    /// those that need a newer catalogue than was read: when they are looked at again.
    again: BTreeMap<TopicPartition, Duration>,
    /// When the log was last told how far restores are.
    told: Duration,
    /// When the last slice ended.
    left: Duration,
}

impl<S: Stage> Default for Opening<S> {
    fn default() -> Self {
        Self {
            restoring: BTreeMap::new(),
            again: BTreeMap::new(),
            told: Duration::ZERO,
            left: Duration::ZERO,
        }
    }
}

impl<S: Stage> Opening<S> {
    /// Whether a changelog is being read.
    pub(super) fn is_busy(&self) -> bool {
        !self.restoring.is_empty()
    }
}

/// A partition whose database is open.
struct Opened<S: Stage> {
    input: TopicPartition,
    task: Task<S>,
    /// Where its group stands.
    committed: Option<Committed>,
}

/// A partition whose changelog is being read.
struct Restoring<S: Stage> {
    opened: Opened<S>,
    span: Span,
}

/// What of a changelog is read.
struct Span {
    from: i64,
    position: i64,
    /// Nothing of the partition was known before.
    is_whole: bool,
    /// The first record that was there, and the end, when the partition was given.
    start: i64,
    end: i64,
    begun: Duration,
    /// When it last brought something.
    heard: Duration,
}

/// What is to be read of a changelog.
enum ToRead {
    Nothing,
    Span(Span),
    /// Positions that cannot all be true of one log.
    Contradiction(String),
}

/// How long one turn reads changelogs at least, and at most, so that the partitions that run are not kept waiting.
const SLICE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// How long one read of changelogs waits.
const READ: Duration = Duration::from_millis(20);
/// How often a long restore says how far it is.
const TELL: Duration = Duration::from_secs(5);

impl<L: Log, S: Stage, H: Hooks<S>> Worker<L, S, H> {
    /// Opens partitions: the database, then the changelog behind it. What is to be read of that is read in slices between the
    /// turns of the partitions that run; meanwhile only the input of these is paused.
    pub(super) fn assign(&mut self, partitions: &[TopicPartition]) -> Result<(), Stop> {
        // What this worker left itself would be waited for in vain.
        self.tidy()?;
        let found = self.stable_offsets(partitions)?;
        tracing::debug!(?found, "committed offsets told");
        for (partition, committed) in partitions.iter().zip(found) {
            self.open(partition, committed)?;
        }
        Ok(())
    }

    /// Where the group stands, once no transaction moves that any more. One that is waited for too long may be of this worker's own name: a copy
    /// of a request that came late begins one that nobody knows of (KIP-890), and nobody would end it.
    fn stable_offsets(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, Stop> {
        let (begun, mut is_resolved) = (self.now(), false);
        loop {
            match self.log.committed(partitions) {
                Ok(found) => return Ok(found),
                Err(error) => self.wait_out("committed offsets", begun, error)?,
            }
            let is_long = self.now().saturating_sub(begun) >= PENDING;
            if is_long && !is_resolved && self.begun.is_none() {
                is_resolved = true;
                self.resolve()?;
            }
        }
    }

    fn open(&mut self, partition: &TopicPartition, committed: Option<Committed>) -> Result<(), Stop> {
        let db: Box<dyn Db> = match self.config.state {
            Statefulness::Keyed => match (self.config.open_db)(partition) {
                Ok(db) => db,
                Err(OpenError::Failed(message)) => return Err(Stop::Failed(message)),
                Err(error @ OpenError::InUse) => {
                    // Whoever waits for a broker hears late that a partition is another's.
                    tracing::warn!(partition = partition.partition, %error, "partition cannot be opened yet");
                    let at = self.now() + TELL / 5;
                    self.opening.again.insert(partition.clone(), at);
                    return Ok(());
                }
            },
            Statefulness::None => Box::new(NoDb),
        };
        let mut task = Task::open(Arc::clone(&self.stage), self.task_config(partition), db)?;
        self.watched(partition, &mut task);
        let slot = self.slot(partition);
        let to_read = self.look_at_changelog(partition, &mut task, committed.as_ref())?;
        let opened = Opened {
            input: partition.clone(),
            task,
            committed,
        };
        match to_read {
            ToRead::Nothing => self.run_partition(opened, None),
            ToRead::Contradiction(message) => self.contradicted(partition, message),
            ToRead::Span(span) if span.position >= span.end => self.run_partition(opened, Some(&span)),
            ToRead::Span(span) => {
                if self.changelogs.is_none() {
                    self.changelogs = self.patiently("changelog", L::changelog)?;
                }
                if let Some(reader) = &mut self.changelogs {
                    let added = reader.add(slot, span.from);
                    added.map_err(|error| Stop::Failed(format!("changelog: {error}")))?;
                }
                self.opening.restoring.insert(slot, Restoring { opened, span });
                Ok(())
            }
        }
    }

    /// Finds out what of the changelog is to be read.
    fn look_at_changelog(
        &mut self,
        partition: &TopicPartition,
        task: &mut Task<S>,
        committed: Option<&Committed>,
    ) -> Result<ToRead, Stop> {
        let bounds = self.changelog_bounds(self.slot(partition))?;
        let told = committed.map(Position::from);
        if told.is_some_and(|told| told.is_before(task.marker().into())) {
            // The group tells the past, or what was written here was never committed: the changelog knows.
            let is_there =
                |bounds: &Bounds| bounds.start <= task.changelog_last() && task.changelog_next() <= bounds.end;
            let is_comparable = bounds.as_ref().is_some_and(is_there) && task.doubt();
            tracing::warn!(
                partition = partition.partition,
                is_comparable,
                "database is ahead of the group, comparing it with the changelog"
            );
            if !is_comparable {
                task.reset()?;
            }
        }
        let Some(bounds) = bounds else {
            return Ok(ToRead::Nothing);
        };
        if task.changelog_next() > bounds.end {
            return Ok(ToRead::Contradiction(format!(
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
        let is_whole = task.marker().epoch == 0;
        if is_whole {
            // Of a group that tells the past it is the begin of an earlier snapshot, which serves as well, if it is still there.
            let (begin, first) = committed.map_or((0, 1), |told| Marker::begin_of(&told.metadata));
            if begin > bounds.end {
                return Ok(ToRead::Contradiction(format!(
                    "changelog ends before the snapshot that its group names: partition={} begin={begin} end={}",
                    partition.partition, bounds.end
                )));
            }
            if begin >= bounds.start {
                task.restore_from(begin, Some(first));
            } else {
                task.restore_from(bounds.start, None);
            }
        }
        let (from, now) = (task.changelog_next(), self.now());
        Ok(ToRead::Span(Span {
            from,
            position: from,
            is_whole,
            start: bounds.start,
            end: bounds.end,
            begun: now,
            heard: now,
        }))
    }

    /// Positions contradict each other. While this worker is a member, nobody else can have moved them: it halts. A worker that was
    /// stopped for long may have been put out of the group without knowing it; the partition is another's then, and will be taken
    /// away. Until that is heard it is looked at again.
    fn contradicted(&mut self, partition: &TopicPartition, message: String) -> Result<(), Stop> {
        let membership = self.log.membership();
        self.listen()?;
        if self.is_lost(partition) {
            return Ok(());
        }
        match membership {
            Ok(_) => Err(Stop::Halted(message)),
            Err(LogError::Retriable(why)) => {
                tracing::warn!(
                    contradiction = message,
                    why,
                    "positions differ, and this worker is perhaps no member any more"
                );
                let at = self.now() + TELL / 5;
                self.opening.again.insert(partition.clone(), at);
                Ok(())
            }
            Err(LogError::Fenced(message)) => Err(Stop::Fenced(message)),
            Err(error) => Err(Stop::Failed(error.to_string())),
        }
    }

    /// A partition that was being opened is gone.
    pub(super) fn forget_opening(&mut self, partition: &TopicPartition) -> Result<(), Stop> {
        self.opening.again.remove(partition);
        let slot = self.slot(partition);
        if self.opening.restoring.remove(&slot).is_some() {
            self.read_no_longer(slot)?;
        }
        Ok(())
    }

    fn read_no_longer(&mut self, partition: i32) -> Result<(), Stop> {
        if self.opening.restoring.is_empty() {
            self.changelogs = None;
        } else if let Some(reader) = &mut self.changelogs {
            let removed = reader.remove(partition);
            removed.map_err(|error| Stop::Failed(format!("changelog: {error}")))?;
        }
        Ok(())
    }

    /// Reads changelogs for a slice of time; partitions that are whole begin to run.
    pub(super) fn open_some(&mut self) -> Result<(), Stop> {
        let begun = self.now();
        let slice = slice(begun.saturating_sub(self.opening.left));
        let due: Vec<TopicPartition> = self
            .opening
            .again
            .iter()
            .filter(|(_, at)| **at <= begun)
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in &due {
            self.opening.again.remove(partition);
        }
        if !due.is_empty() {
            self.assign(&due)?;
        }
        // One page at least, however slow the machine.
        while self.opening.is_busy() {
            self.restore_page()?;
            let whole = |one: &Restoring<S>| {
                let is_ended = mutant::is_on(Mutant::RestoreNotCompared) && one.span.position > one.span.from;
                is_ended || one.span.position >= one.span.end
            };
            let done: Vec<i32> = self
                .opening
                .restoring
                .iter()
                .filter(|(_, one)| whole(one))
                .map(|(partition, _)| *partition)
                .collect();
            for partition in done {
                let Some(one) = self.opening.restoring.remove(&partition) else {
                    continue;
                };
                self.hooks.observe(&Observation::Restoring {
                    partition,
                    remaining: 0,
                });
                self.run_partition(one.opened, Some(&one.span))?;
                // Behind it: the client may take its time.
                self.read_no_longer(partition)?;
                self.tell_assigned();
                if let Some(membership) = self.membership {
                    // There is one partition more than it was told of.
                    self.owns(membership);
                }
            }
            if self.now().saturating_sub(begun) >= slice {
                break;
            }
        }
        self.opening.left = self.now();
        Ok(())
    }

    fn restore_page(&mut self) -> Result<(), Stop> {
        let mut batch = ChangelogBatch::default();
        if let Some(reader) = &mut self.changelogs {
            let read = reader.read(READ, &mut batch);
            read.map_err(|error| Stop::Failed(format!("changelog: {error}")))?;
        }
        let now = self.now();
        for (partition, offset, value) in &batch.records {
            if let Some(one) = self.opening.restoring.get_mut(partition) {
                one.opened.task.restore(value, offset + 1)?;
                one.span.heard = now;
            }
        }
        for (partition, position) in batch.positions {
            if let Some(one) = self.opening.restoring.get_mut(&partition) {
                one.span.position = one.span.position.max(position);
                one.opened.task.restored_to(position);
            }
        }
        for partition in batch.out_of_range {
            // It was trimmed under us: to read on behind the gap would bring deleted rows back.
            self.restore_anew(partition, "changelog was trimmed meanwhile, starting from its snapshot")?;
        }
        let is_refuted = |one: &Restoring<S>| one.opened.task.is_refuted(one.span.position >= one.span.end);
        let restoring = self.opening.restoring.iter();
        let refuted: Vec<i32> = restoring
            .filter(|(_, one)| is_refuted(one))
            .map(|(of, _)| *of)
            .collect();
        for partition in refuted {
            self.restore_anew(
                partition,
                "database is not what the changelog says, starting from its snapshot",
            )?;
        }
        let held: usize = self
            .opening
            .restoring
            .values()
            .map(|one| one.opened.task.overlay_bytes())
            .sum();
        if held >= self.config.flush_bytes {
            let largest = self.opening.restoring.values_mut();
            if let Some(one) = largest.max_by_key(|one| one.opened.task.overlay_bytes()) {
                // Whole epochs and the place behind them: a restart goes on from here.
                one.opened.task.flush()?;
            }
        }
        let tells = now.saturating_sub(self.opening.told) >= TELL;
        if tells {
            self.opening.told = now;
        }
        for (partition, one) in &self.opening.restoring {
            let remaining = (one.span.end - one.span.position).max(0).unsigned_abs();
            self.hooks.observe(&Observation::Restoring {
                partition: *partition,
                remaining,
            });
            if tells && now.saturating_sub(one.span.begun) >= TELL {
                tracing::info!(partition, remaining, "state is being restored");
            }
            if now.saturating_sub(one.span.heard) > PATIENCE {
                return Err(Stop::Failed(format!(
                    "changelog does not end: partition={partition} position={} end={}",
                    one.span.position, one.span.end
                )));
            }
        }
        Ok(())
    }

    /// What was read so far is no state: the database is emptied, and the partition opened again.
    fn restore_anew(&mut self, partition: i32, why: &str) -> Result<(), Stop> {
        let Some(mut one) = self.opening.restoring.remove(&partition) else {
            return Ok(());
        };
        self.read_no_longer(partition)?;
        tracing::warn!(partition, "{why}");
        one.opened.task.reset()?;
        let input = one.opened.input.clone();
        drop(one);
        self.assign(&[input])
    }

    /// A partition whose state is whole begins to run where its group stands.
    fn run_partition(&mut self, opened: Opened<S>, restored: Option<&Span>) -> Result<(), Stop> {
        let Opened {
            input: partition,
            mut task,
            committed,
        } = opened;
        task.restored();
        if let Some(span) = restored.filter(|span| span.is_whole)
            && let Err(message) = is_complete(&partition, task.marker(), span.from)
        {
            return self.contradicted(&partition, message);
        }
        let next = match goes_on(task.marker(), committed.as_ref(), self.config.state) {
            GoesOn::At(next) => next,
            GoesOn::Past(next) => {
                if let Some(told) = &committed {
                    self.told_past(&partition, told.into(), task.marker().into());
                }
                next
            }
            GoesOn::Anew => {
                let bounds = self.patiently("offsets of the input", |log| log.bounds(&partition))?;
                match self.config.start {
                    Start::Earliest => bounds.start,
                    Start::Latest => {
                        // Another begin than this would pass over what arrives until the first record is committed.
                        task.begin_anew(bounds.end);
                        bounds.end
                    }
                }
            }
            GoesOn::Contradiction => {
                let message = format!(
                    "marker and committed offset differ: partition={} marker={} committed={}",
                    partition.partition,
                    Position::from(task.marker()),
                    committed
                        .as_ref()
                        .map_or_else(String::new, |told| Position::from(told).to_string())
                );
                return self.contradicted(&partition, message);
            }
        };
        if let Some(epoch) = self.doubted.remove(&partition)
            && task.marker().epoch < epoch
        {
            self.did_not_happen(&partition)?;
        }
        if let Some(span) = restored {
            self.ends.insert(self.slot(&partition), span.position..=span.position);
            if span.position > span.from {
                let (records, millis) = (
                    span.position - span.from,
                    u64::try_from(self.now().saturating_sub(span.begun).as_millis()).unwrap_or(u64::MAX),
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
            if span.start < begin {
                task.flush()?;
                self.trim_to(self.slot(&partition), begin);
            }
        }
        if next != task.marker().offset {
            task.begin_at(next);
        }
        if let Some(told) = &committed {
            let settled = (told.into(), task.marker().into());
            self.settled.insert(partition.clone(), settled);
        }
        if let Some(revision) = self.hooks.between_epochs(&self.stage) {
            if self.waits_for_catalogue(&partition, &mut task, revision)? {
                return Ok(());
            }
            task.set_revision(revision);
        }
        self.tasks.insert(partition.clone(), task);
        self.hooks.begins(&partition, next);
        tracing::info!(topic = %partition.topic, partition = partition.partition, offset = next, "partition opened");
        self.patiently("seeking", |log| log.resume(&partition, next))
    }

    /// Whether a partition has run under a newer catalogue than this worker has read: it stays paused, and is looked at again, since under
    /// an older one it would say what nobody can repeat. What was restored goes to the disk, so that it is not read again.
    fn waits_for_catalogue(
        &mut self,
        partition: &TopicPartition,
        task: &mut Task<S>,
        revision: i64,
    ) -> Result<bool, Stop> {
        let needed = task.marker().revision;
        if needed <= revision {
            return Ok(false);
        }
        tracing::warn!(
            partition = partition.partition,
            needed,
            revision,
            "partition is paused: it has run under a newer catalogue than was read here"
        );
        task.flush()?;
        let at = self.now() + TELL / 5;
        self.opening.again.insert(partition.clone(), at);
        Ok(true)
    }

    /// Trims the changelogs whose snapshots have become whole, once their rows are on the disk.
    pub(super) fn trim(&mut self) -> Result<(), Stop> {
        let mut due = Vec::new();
        for (partition, task) in &mut self.tasks {
            if let Some(begin) = task.take_trim() {
                if !mutant::is_on(Mutant::TrimBeforeFlush) {
                    task.flush()?;
                }
                due.push((partition.clone(), begin));
            }
        }
        for (partition, begin) in due {
            self.trim_to(self.slot(&partition), begin);
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
}

/// How long changelogs are read behind so much time for all else. Where partitions lag that run, one turn works through all that a poll may
/// bring: a short slice for each would leave those that are restored a tenth of the time, and their lag grows meanwhile.
fn slice(since: Duration) -> Duration {
    let (least, most) = SLICE;
    since.clamp(least, most)
}

/// A partition of which nothing was known is whole only if it was read from where its newest snapshot begins, or from before.
fn is_complete(partition: &TopicPartition, marker: &Marker, from: i64) -> Result<(), String> {
    let begin = marker.snapshots.begin;
    if mutant::is_on(Mutant::RestoreNotCompared) || (from <= begin && (marker.epoch > 0 || from == 0)) {
        return Ok(());
    }
    Err(format!(
        "somebody deleted the beginning of the changelog: partition={} start={from} begin={begin} epoch={}",
        partition.partition, marker.epoch
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restores_get_as_much_time_as_all_else_within_bounds() {
        let millis = Duration::from_millis;
        let slices: Vec<Duration> = [0, 50, 300, 500, 85_000]
            .into_iter()
            .map(|since| slice(millis(since)))
            .collect();
        assert_eq!(slices, [50, 50, 300, 500, 500].map(millis));
    }
}
