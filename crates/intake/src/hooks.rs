//! What intake adds to the worker's loop: ticks on the timeline, by the wall's clock or by that of the events.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use event::Millis;
use service::{
    telemetry::Probe,
    ticks::{self, tick_event},
    worker::{Hooks, Observation},
};
use stream::{KnownEnds, Membership, Output, Record, Routed, Stage, Tick, TopicPartition, partition_of};

use crate::{Head, Intake, KINDS, Merge, Progress, stage::Counters};

/// A tick is written into every partition of the timeline this often, in milliseconds.
const EVERY: i64 = 1000;
/// A tick waits this long for the end of the log to be told and reached; then it says what is known, in milliseconds.
const PATIENCE: i64 = 500;

/// The gauge of how far each raw partition has been read.
const PROGRESS: &str = "waymark_input_progress_timestamp_seconds";

/// Where ticks go, and in whose name.
struct Ticker {
    timeline: Arc<str>,
    partitions: i32,
    /// All raw partitions of all members.
    inputs: i32,
    owned: i32,
    membership: Membership,
}

impl Ticker {
    fn new(timeline: Arc<str>, partitions: i32, inputs: i32) -> Self {
        Self {
            timeline,
            partitions,
            inputs,
            owned: 0,
            membership: Membership {
                generation: -1,
                assignment: None,
                index: 0,
                members: 1,
            },
        }
    }

    fn tick(&self, partition: i32, progress: Option<Millis>, now: Millis) -> Output {
        let tick = Tick {
            // Where it is not known what the others have, it is not known either what is left.
            progress: progress.filter(|_| self.membership.assignment.is_some()),
            generation: self.membership.generation,
            assignment: self.membership.assignment.unwrap_or(0),
            index: self.membership.index,
            members: self.membership.members,
            owned: self.owned,
            partitions: self.inputs,
        };
        let mut value = Vec::with_capacity(128);
        codec::encode_event(&tick_event(&tick, now), &mut value);
        Output {
            topic: Arc::clone(&self.timeline),
            partition: Some(partition),
            timestamp: Some(now),
            key: None,
            value: Some(value),
            headers: Vec::new(),
        }
    }

    fn all(&self, progress: Option<Millis>, now: Millis, outputs: &mut Vec<Output>) {
        outputs.extend((0..self.partitions).map(|partition| self.tick(partition, progress, now)));
    }
}

/// What both clocks have: schemas before records, and counting.
struct Watch {
    stage: Arc<Intake>,
    probe: Probe,
    /// Told to stop before a schema could be had: nothing more is processed, so that nothing is refused for its lack.
    waits: bool,
}

impl Watch {
    fn new(stage: Arc<Intake>, probe: Probe) -> Self {
        let waits = false;
        Self { stage, probe, waits }
    }

    /// Has the schema that the record needs, if it needs one; false if it is not to be processed.
    fn admits(&mut self, record: &Record) -> bool {
        if let Some(registry) = &self.stage.registry {
            self.waits |= !registry.prefetch(record, &self.probe);
        }
        !self.waits
    }

    fn observe(&mut self, what: &Observation<'_>) {
        if matches!(what, Observation::Dropped) {
            // It will be counted when it is read again.
            drop(self.stage.take_counters());
        }
        self.probe.observe(what);
    }

    /// Tells what was counted up to a commit.
    fn tell(&self) {
        let Counters {
            flagged,
            redactions,
            scored,
            scores,
        } = self.stage.take_counters();
        for ((channel, flag), events) in &flagged {
            self.probe
                .count("waymark_flagged_events_total", &[channel, flag], *events);
        }
        for (kind, redactions) in KINDS.iter().zip(redactions) {
            self.probe.count("waymark_redactions_total", &[kind], redactions);
        }
        for ((language, tier, label), texts) in &scored {
            self.probe
                .count("waymark_sentiment_scored_total", &[language, tier, label], *texts);
        }
        for (language, tier, score) in scores {
            self.probe.record("waymark_sentiment_score", &[language, tier], score);
        }
    }
}

/// `intake.clock = wall`: about once a second, how far this worker's partitions have been read.
pub struct WallClock {
    watch: Watch,
    ticker: Ticker,
    progress: Progress,
    /// When the log was last asked where partitions end: a tick follows each question.
    asked: Option<Millis>,
    /// The tick of that question is not written yet.
    owes: bool,
}

impl WallClock {
    /// Ticks for a timeline of `partitions`, fed by `inputs` raw partitions in all.
    #[must_use]
    pub fn new(stage: Arc<Intake>, partitions: i32, inputs: i32, probe: Probe) -> Self {
        let timeline = Arc::clone(&stage.timeline);
        Self {
            watch: Watch::new(stage, probe),
            ticker: Ticker::new(timeline, partitions, inputs),
            progress: Progress::default(),
            asked: None,
            owes: false,
        }
    }
}

impl Hooks<Intake> for WallClock {
    fn owns(&mut self, partitions: &[TopicPartition], membership: Membership) {
        for (topic, partition, _) in self.progress.each(Millis::MIN) {
            let stays = |of: &TopicPartition| of.topic.as_ref() == topic && of.partition == partition;
            if !partitions.iter().any(stays) {
                self.watch.probe.end(PROGRESS, &[topic, &partition.to_string()]);
            }
        }
        self.progress
            .own(partitions.iter().map(|of| (of.topic.to_string(), of.partition)));
        self.ticker.owned = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        self.ticker.membership = membership;
    }

    fn order(&mut self, record: Record, ready: &mut Vec<Record>) {
        if !self.watch.admits(&record) {
            return;
        }
        self.progress
            .read(&record.topic, record.partition, record.timestamp, record.offset + 1);
        ready.push(record);
    }

    fn ended(&mut self, partition: &TopicPartition, next_offset: i64) {
        self.progress.at_end(&partition.topic, partition.partition, next_offset);
    }

    fn wakes(&self, now: Millis) -> Option<Duration> {
        if self.watch.waits || self.ticker.owned == 0 {
            return None;
        }
        let left = EVERY.saturating_sub(now.since(self.asked?));
        Some(Duration::from_millis(left.clamp(0, EVERY).unsigned_abs()))
    }

    fn wants_ends(&mut self, now: Millis) -> bool {
        // A tick would say that what waits has been read.
        if self.watch.waits || self.ticker.owned == 0 {
            return false;
        }
        // A clock that was set back starts anew.
        let wants = self.asked.is_none_or(|asked| !(0..EVERY).contains(&now.since(asked)));
        if wants {
            self.asked = Some(now);
            self.owes = true;
        }
        wants
    }

    fn told(&mut self, ends: &KnownEnds) {
        self.progress.told(ends);
    }

    fn begins(&mut self, partition: &TopicPartition, next_offset: i64) {
        self.progress.begin(&partition.topic, partition.partition, next_offset);
    }

    fn dropped(&mut self, partition: &TopicPartition) {
        self.progress.forget(&partition.topic, partition.partition);
    }

    fn turn(&mut self, now: Millis, outputs: &mut Vec<Output>) {
        let (true, Some(asked)) = (self.owes && !self.watch.waits, self.asked) else {
            return;
        };
        let progress = self.progress.at(now);
        let is_up_to_date = progress.is_some_and(|progress| progress >= asked);
        if !is_up_to_date && now.since(asked) < PATIENCE {
            return;
        }
        self.owes = false;
        self.ticker.all(progress, now, outputs);
        for (topic, partition, progress) in self.progress.each(now) {
            // One of which nothing is known holds every clock, so it must be the least.
            #[expect(clippy::cast_precision_loss, reason = "a time")]
            let seconds = progress.map_or(0.0, |progress| progress.0 as f64 / 1000.0);
            self.watch
                .probe
                .set(PROGRESS, &[topic, &partition.to_string()], seconds);
        }
    }

    fn observe(&mut self, what: &Observation<'_>) {
        self.watch.observe(what);
    }

    fn between_epochs(&mut self, _: &Intake) -> Option<i64> {
        self.watch.tell();
        None
    }
}

/// `intake.clock = events`: the clock is the event being processed, and raw partitions are merged by event time.
pub struct EventClock {
    watch: Watch,
    ticker: Ticker,
    lanes: BTreeMap<TopicPartition, usize>,
    merge: Merge<(Record, Option<i32>)>,
    /// What comes next out of the merge, in the order of the records handed on: the time, and the event's own partition.
    planned: VecDeque<(Head, Option<i32>)>,
    now: Millis,
    /// The last whole second told to all partitions.
    second: Millis,
    /// A second member was refused: it holds the clock and is named in the log.
    refused: bool,
}

impl EventClock {
    /// Ticks for a timeline of `partitions`, fed by `inputs` raw partitions in all.
    #[must_use]
    pub fn new(stage: Arc<Intake>, partitions: i32, inputs: i32, probe: Probe) -> Self {
        let timeline = Arc::clone(&stage.timeline);
        Self {
            watch: Watch::new(stage, probe),
            ticker: Ticker::new(timeline, partitions, inputs),
            lanes: BTreeMap::new(),
            merge: Merge::new(0),
            planned: VecDeque::new(),
            now: Millis::MIN,
            second: Millis::MIN,
            refused: false,
        }
    }

    fn head(&self, record: &Record) -> (Head, Option<i32>) {
        if let Some(progress) = ticks::Progress::decode(record.value.as_deref().unwrap_or_default()) {
            return (Head::Progress(progress.time), None);
        }
        match self.watch.stage.decode(record) {
            Ok(Routed::Event { key, time, .. }) => (Head::At(time), Some(partition_of(&key, self.ticker.partitions))),
            // What will be refused has no time: it goes first and moves no clock.
            _ => (Head::At(Millis::MIN), None),
        }
    }
}

impl Hooks<Intake> for EventClock {
    fn owns(&mut self, partitions: &[TopicPartition], membership: Membership) {
        self.ticker.owned = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        self.ticker.membership = membership;
        let mut sorted = partitions.to_vec();
        sorted.sort();
        let lanes: BTreeMap<TopicPartition, usize> =
            sorted.into_iter().enumerate().map(|(index, of)| (of, index)).collect();
        if lanes != self.lanes {
            let kept: Vec<(usize, usize)> = lanes
                .iter()
                .filter_map(|(of, to)| Some((*self.lanes.get(of)?, *to)))
                .collect();
            let old = std::mem::replace(&mut self.merge, Merge::new(lanes.len()));
            self.merge.take_over(old, kept);
            self.lanes = lanes;
        }
        self.refused = membership.members > 1;
        if self.refused {
            tracing::error!(
                members = membership.members,
                "intake.clock = events allows one intake worker; nothing is read until the others have left"
            );
        }
    }

    fn order(&mut self, record: Record, ready: &mut Vec<Record>) {
        if !self.watch.admits(&record) {
            return;
        }
        let of = TopicPartition {
            topic: Arc::clone(&record.topic),
            partition: record.partition,
        };
        let Some(lane) = self.lanes.get(&of).copied() else {
            return;
        };
        let (head, own) = self.head(&record);
        self.merge.push(lane, head, (record, own));
        if self.refused || self.ticker.owned != self.ticker.inputs {
            return;
        }
        while let Some((_, head, (record, own))) = self.merge.pop() {
            self.planned.push_back((head, own));
            ready.push(record);
        }
    }

    fn before(&mut self, _: &Record, outputs: &mut Vec<Output>) -> Option<Millis> {
        let Some((head, own)) = self.planned.pop_front() else {
            return Some(self.now);
        };
        let time = head.time();
        if time == Millis::MIN {
            return Some(self.now.max(Millis(0)));
        }
        self.now = self.now.max(time);
        let now = self.now;
        let second = Millis(now.0.div_euclid(EVERY) * EVERY);
        if second > self.second {
            self.second = second;
            self.ticker.all(Some(second), second, outputs);
        }
        if let Some(own) = own {
            outputs.push(self.ticker.tick(own, Some(now), now));
        }
        Some(now)
    }

    fn dropped(&mut self, partition: &TopicPartition) {
        if let Some(lane) = self.lanes.get(partition) {
            self.merge.clear(*lane);
        }
        self.planned.clear();
        // Ticks of the dropped epoch were never seen: the seconds are told again.
        self.second = Millis::MIN;
    }

    fn observe(&mut self, what: &Observation<'_>) {
        self.watch.observe(what);
    }

    fn between_epochs(&mut self, _: &Intake) -> Option<i64> {
        self.watch.tell();
        None
    }
}
