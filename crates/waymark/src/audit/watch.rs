//! The topics of an audit on Kafka: where each is read from, what its records are, and how far they must be read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use codec::Published as _;
use event::Sentiment;
use intake::Intake;
use kafka::{Admin, Bystander, Follower, Outsider, Skipped, TopicState};
use service::{
    config::Config,
    ticks::Progress,
    topics::{Changelog, Names},
};
use stream::{Committed, LogError, Millis, Record, Routed, Stage as _, TopicPartition};

use crate::{cli::Audited, context, report::Failure};

use super::{
    PATIENCE,
    finding::Findings,
    keyed::{Keyed, Reach, SLACK, header, source},
    part::Part,
    stateless::{Expect, Stateless},
};

/// Outputs that may wait for their markers before output topics are not read on.
const AHEAD: usize = 1 << 20;
/// Raw records that are audited at most, the newest ones of each partition.
const RAW: i64 = 1 << 24;

/// What a topic's records are to the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Changelog,
    /// The changelog of `intake`.
    Markers,
    Output,
    Raw,
    Timeline,
    Scores,
    RawLetters,
}

/// A position that a partition must be read to.
pub struct Target {
    of: TopicPartition,
    offset: i64,
}

/// The audit of a cluster.
pub struct Watch {
    roles: BTreeMap<String, Role>,
    outsider: Outsider,
    monitor_group: Bystander,
    intake_group: Bystander,
    /// What is counted or must be accounted for: changelogs and raw topics.
    books: Follower,
    /// What is visible: everything else.
    shown: Follower,
    /// The partitions whose ends bound a cut.
    lanes: Vec<TopicPartition>,
    timelines: Vec<TopicPartition>,
    raws: Vec<TopicPartition>,
    /// The changelog of `intake`.
    markers: Changelog,
    stage: Intake,
    records: Vec<Record>,
    /// The audit of `monitor`.
    pub keyed: Option<Keyed>,
    /// The audit of `intake`.
    pub stateless: Option<Stateless>,
    /// What was found.
    pub findings: Findings,
}

/// How topics are opened.
struct Opening<'a> {
    known: &'a [TopicState],
    outsider: &'a Outsider,
    since: Option<Millis>,
}

impl Opening<'_> {
    fn partitions(&self, topic: &str) -> Vec<TopicPartition> {
        let found = self.known.iter().find(|state| state.name == topic);
        let topic: Arc<str> = Arc::from(topic);
        let of = |partition| TopicPartition {
            topic: Arc::clone(&topic),
            partition,
        };
        (0..found.map_or(0, |state| state.partitions)).map(of).collect()
    }

    fn needed(&self, topic: &str) -> Result<Vec<TopicPartition>, Failure> {
        let partitions = self.partitions(topic);
        if partitions.is_empty() {
            return Err(Failure::invalid(format!(
                "no such topic: {topic}; `waymark topics apply` makes it"
            )));
        }
        Ok(partitions)
    }

    /// Where each partition is read from, and how much of it that is. `back` lies that long before the time asked for.
    fn begins(&self, of: &[TopicPartition], back: Option<i64>) -> Result<Vec<(i64, Reach)>, Failure> {
        let time = self.since.zip(back).map(|(since, back)| since.plus(-back));
        let at_time = match time {
            Some(time) => patiently(|| self.outsider.at_time(of, time))?,
            None => Vec::new(),
        };
        let mut begins = Vec::new();
        for (index, of) in of.iter().enumerate() {
            let bounds = patiently(|| self.outsider.bounds(of))?;
            let begin = match time {
                Some(_) => at_time.get(index).copied().flatten().unwrap_or(bounds.end),
                None => bounds.start,
            };
            begins.push(match time {
                Some(time) if begin > bounds.start => (begin, Reach::Since(time)),
                _ if bounds.start == 0 => (0, Reach::Whole),
                _ => (bounds.start, Reach::Left),
            });
        }
        Ok(begins)
    }
}

impl Watch {
    /// Finds the topics, reads the changelogs to where they end now, and opens the rest.
    ///
    /// # Errors
    /// [`Failure`] if the brokers do not answer, or a topic that a service needs is not there.
    pub fn open(config: &Config, audited: Audited, since: Option<Millis>) -> Result<Self, Failure> {
        let backend = context::kafka(config)?;
        let connection = backend.connection();
        let names = Names::new(config.text("kafka.prefix"));
        let admin = Admin::connect(&connection)?;
        let known = admin.topics()?;
        let outsider = Outsider::open(&connection)?;
        let opening = Opening {
            known: &known,
            outsider: &Outsider::open(&connection)?,
            since,
        };
        let timeline = names.timeline();
        let mut watch = Self {
            roles: BTreeMap::new(),
            outsider,
            monitor_group: Bystander::open(&connection, &names.group(monitor::SERVICE))?,
            intake_group: Bystander::open(&connection, &names.group(intake::SERVICE))?,
            books: Follower::open(&connection)?,
            shown: Follower::open(&connection)?,
            lanes: Vec::new(),
            timelines: opening.needed(&timeline)?,
            raws: Vec::new(),
            markers: Changelog::new(&names.changelog(intake::SERVICE), names.all_raw()),
            // Only what a record holds is asked of it, never under which key: no secret is needed.
            stage: intake::stage(config, &names, b"audit", None),
            records: Vec::new(),
            keyed: None,
            stateless: None,
            findings: Findings::default(),
        };
        if audited.intake() {
            let from_start = config.text("intake.start") == "earliest";
            watch.open_raw(&names, from_start, &opening)?;
        }
        if audited.monitor() {
            watch.open_changelog(&names, &opening)?;
        }
        if audited.intake() {
            watch.open_timeline(&names, &opening)?;
        }
        if audited.monitor() {
            watch.open_outputs(&names, &admin, &opening)?;
        }
        Ok(watch)
    }

    fn open_raw(&mut self, names: &Names, from_start: bool, opening: &Opening<'_>) -> Result<(), Failure> {
        let sentiment = names.topic("journey.sentiment");
        let mut stateless = Stateless::new(intake::SERVICE, &names.timeline(), &sentiment, from_start);
        for topic in names.all_raw() {
            self.raws.extend(opening.partitions(&topic));
            self.roles.insert(topic, Role::Raw);
        }
        let most = RAW / i64::try_from(self.raws.len().max(1)).unwrap_or(RAW);
        let begins = opening.begins(&self.raws, Some(0))?;
        let mut from = Vec::new();
        for (of, (begin, _)) in self.raws.iter().zip(begins) {
            let end = patiently(|| self.outsider.bounds(of))?.end;
            let begin = begin.max(end - most);
            stateless.raw(&of.topic, of.partition, begin);
            from.push((of.clone(), begin));
        }
        let markers = opening.needed(&self.markers.topic)?;
        for (of, (begin, _)) in markers.iter().zip(opening.begins(&markers, Some(0))?) {
            from.push((of.clone(), begin));
        }
        self.roles.insert(self.markers.topic.to_string(), Role::Markers);
        self.lanes.extend(markers);
        self.books.add(&from)?;
        self.stateless = Some(stateless);
        Ok(())
    }

    fn open_timeline(&mut self, names: &Names, opening: &Opening<'_>) -> Result<(), Failure> {
        let mut topics = vec![
            (names.timeline(), Role::Timeline, Some(2 * SLACK)),
            (names.topic("journey.sentiment"), Role::Scores, Some(2 * SLACK)),
        ];
        // On topics that are older than their `LogAppendTime` a dead letter has the time of its record: what is young may stand anywhere.
        let letters = names.all_raw().into_iter().map(|raw| Names::dead_letters(&raw));
        topics.extend(letters.map(|topic| (topic, Role::RawLetters, None)));
        for (topic, role, back) in topics {
            let partitions = opening.partitions(&topic);
            self.add_shown(&partitions, role, back, opening)?;
        }
        Ok(())
    }

    fn open_changelog(&mut self, names: &Names, opening: &Opening<'_>) -> Result<(), Failure> {
        let topic = names.changelog(monitor::SERVICE);
        let partitions = opening.needed(&topic)?;
        let begins = opening.begins(&partitions, Some(0))?;
        let whole: Vec<bool> = begins.iter().map(|(_, reach)| *reach == Reach::Whole).collect();
        self.keyed = Some(Keyed::new(monitor::SERVICE, &names.timeline(), &topic, &whole));
        self.roles.insert(topic, Role::Changelog);
        let mut targets = Vec::new();
        let mut from = Vec::new();
        for (of, (begin, _)) in partitions.iter().zip(begins) {
            from.push((of.clone(), begin));
            let offset = patiently(|| self.outsider.bounds(of))?.end;
            targets.push(Target { of: of.clone(), offset });
        }
        self.books.add(&from)?;
        self.lanes.extend(partitions);
        // The books first: what is visible then finds its epoch, and nothing of it need be kept.
        if !self.read_to(&targets, &AtomicBool::new(false), PATIENCE)? {
            return Err(Failure::no_answer(self.behind(&targets).join("\n")));
        }
        Ok(())
    }

    fn open_outputs(&mut self, names: &Names, admin: &Admin, opening: &Opening<'_>) -> Result<(), Failure> {
        let (profiles, scores) = (names.topic("journey.profiles"), names.topic("journey.sentiment"));
        let mut topics = vec![
            names.topic("journey.signals"),
            names.topic("journey.outcomes"),
            profiles.clone(),
            scores.clone(),
            names.timeline(),
        ];
        topics.extend(names.all_interventions());
        topics.push(Names::dead_letters(&names.timeline()));
        for topic in topics {
            let partitions = opening.partitions(&topic);
            if partitions.is_empty() {
                continue;
            }
            let settings = admin.settings(&topic)?;
            let policy = settings.get("cleanup.policy").map_or("", String::as_str);
            let is_compacted = topic == profiles || policy.contains("compact");
            let back = (!topic.ends_with(".dlq")).then_some(2 * SLACK);
            let reaches = if self.roles.contains_key(&topic) {
                // Both services write scores; the audit of intake has opened them.
                opening
                    .begins(&partitions, back)?
                    .into_iter()
                    .map(|(_, reach)| reach)
                    .collect()
            } else {
                let role = match &topic {
                    topic if *topic == scores => Role::Scores,
                    topic if *topic == names.timeline() => Role::Timeline,
                    _ => Role::Output,
                };
                self.add_shown(&partitions, role, back, opening)?
            };
            for (of, reach) in partitions.iter().zip(reaches) {
                if let Some(keyed) = &mut self.keyed {
                    keyed.open(&of.topic, is_compacted, of.partition, reach);
                }
            }
        }
        Ok(())
    }

    fn add_shown(
        &mut self,
        partitions: &[TopicPartition],
        role: Role,
        back: Option<i64>,
        opening: &Opening<'_>,
    ) -> Result<Vec<Reach>, Failure> {
        let begins = opening.begins(partitions, back)?;
        let mut from = Vec::new();
        for (of, (begin, reach)) in partitions.iter().zip(&begins) {
            self.roles.insert(of.topic.to_string(), role);
            if let Some(stateless) = self.stateless.as_mut().filter(|_| role != Role::Output) {
                stateless.open(&of.topic, of.partition, *reach);
            }
            from.push((of.clone(), *begin));
        }
        self.shown.add(&from)?;
        self.lanes.extend_from_slice(partitions);
        Ok(begins.into_iter().map(|(_, reach)| reach).collect())
    }

    /// Reads until nothing is behind its target; false if what is behind stands still for too long, or if told to stop. What else is
    /// read meanwhile is no progress: beside a transaction that stays open a cluster goes on.
    ///
    /// # Errors
    /// As [`Watch::read`].
    pub fn read_to(&mut self, targets: &[Target], stop: &AtomicBool, patience: Duration) -> Result<bool, Failure> {
        let mut before = i64::MAX;
        let mut heard = Instant::now();
        loop {
            let left = self.late(targets).map(|(_, position, end)| end - position).sum();
            if left == 0 {
                return Ok(true);
            }
            if left < before {
                heard = Instant::now();
            }
            before = left;
            if heard.elapsed() > patience || stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            self.read(Duration::from_millis(20))?;
        }
    }

    /// The targets not reached, with the position and the offset to reach.
    fn late<'a>(&'a self, targets: &'a [Target]) -> impl Iterator<Item = (&'a TopicPartition, i64, i64)> {
        targets.iter().filter_map(|Target { of, offset }| {
            let position = self.books.position(of).or_else(|| self.shown.position(of))?;
            (position < *offset).then_some((of, position, *offset))
        })
    }

    /// Reads what is there, waiting a little for more; false if there was nothing.
    ///
    /// # Errors
    /// [`Failure`] if reading cannot go on.
    pub fn read(&mut self, wait: Duration) -> Result<bool, Failure> {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let mut skipped = self.books.poll(wait, &mut records)?;
        if self.keyed.as_ref().is_none_or(|keyed| keyed.ahead() < AHEAD) {
            skipped.extend(self.shown.poll(wait, &mut records)?);
        }
        for record in &records {
            self.take(record);
        }
        for one in &skipped {
            self.skip(one);
        }
        let any = !records.is_empty() || !skipped.is_empty();
        self.records = records;
        Ok(any)
    }

    fn take(&mut self, record: &Record) {
        let Some(role) = self.roles.get(record.topic.as_ref()).copied() else {
            return;
        };
        let findings = &mut self.findings;
        let is_monitors = match role {
            // What monitor has put back under another key names the timeline as its source.
            Role::Timeline => source(record).is_some_and(|source| source.at.0 == &*record.topic),
            // What it has read again names its source, as all its outputs do.
            Role::Scores => header(record, "waymark-source").is_some(),
            _ => false,
        };
        if is_monitors {
            if let Some(keyed) = &mut self.keyed {
                keyed.visible(record, findings);
            }
            return;
        }
        match (role, &mut self.keyed, &mut self.stateless) {
            (Role::Changelog, Some(keyed), _) => keyed.changelog(record, findings),
            (Role::Output, Some(keyed), _) => keyed.visible(record, findings),
            (Role::Markers, _, Some(stateless)) => {
                let part = Part::read(record.value.as_deref().unwrap_or_default());
                stateless.marker(self.markers.input(record.partition), record, part, findings);
            }
            (Role::Raw, _, Some(stateless)) => stateless.read(record, expect(&self.stage, record)),
            (Role::Timeline, _, Some(stateless)) => {
                let is_ours = header(record, "waymark-source").is_some();
                let event = record.value.as_deref().filter(|_| is_ours).map(codec::decode_event);
                let is_scored = matches!(&event, Some(Ok(event)) if event.sentiment.is_some());
                stateless.event(record, is_scored, findings);
            }
            (Role::Scores, _, Some(stateless)) => {
                if let Some(Ok(score)) = record.value.as_deref().map(Sentiment::decode) {
                    stateless.score(record, &score.text_ref.position);
                }
            }
            (Role::RawLetters, _, Some(stateless)) => stateless.letter(record, findings),
            _ => {}
        }
    }

    fn skip(&mut self, one: &Skipped) {
        let (topic, partition) = (one.of.topic.as_ref(), one.of.partition);
        let role = self.roles.get(topic).copied();
        let findings = &mut self.findings;
        match (role, &mut self.keyed, &mut self.stateless) {
            (Some(Role::Changelog), Some(keyed), _) => {
                keyed.skipped_changelog(partition, one.from, one.to, findings);
            }
            (Some(Role::Output), Some(keyed), _) => keyed.skipped_output(topic, partition),
            (Some(Role::Markers), _, Some(stateless)) => stateless.skipped_markers(self.markers.input(partition)),
            (Some(Role::Raw), _, Some(stateless)) => stateless.skipped_raw(topic, partition, one.to, findings),
            (Some(_), _, Some(stateless)) => stateless.skipped_output(topic, partition),
            _ => {}
        }
    }

    /// Begins a cut: asks where the groups stand, then where all topics end. Returns how far each must be read.
    ///
    /// # Errors
    /// [`Failure`] if the brokers do not answer.
    pub fn cut(&mut self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        if let Some(keyed) = &mut self.keyed {
            let group = &self.monitor_group;
            let committed = patiently(|| group.committed(&self.timelines))?;
            keyed.cut(&committed, &mut self.findings);
        }
        if let Some(stateless) = &mut self.stateless {
            let group = &self.intake_group;
            let committed = patiently(|| group.committed(&self.raws))?;
            let of = |(of, committed): (&TopicPartition, Option<Committed>)| {
                Some(((of.topic.to_string(), of.partition), committed?.offset))
            };
            let committed = self.raws.iter().zip(committed).filter_map(of).collect();
            stateless.cut(&committed, &mut self.findings);
            for (topic, partition, offset) in stateless.targets() {
                let topic = Arc::from(topic);
                targets.push(Target {
                    of: TopicPartition { topic, partition },
                    offset,
                });
            }
        }
        for of in &self.lanes {
            let offset = patiently(|| self.outsider.bounds(of))?.end;
            targets.push(Target { of: of.clone(), offset });
        }
        Ok(targets)
    }

    /// Ends the cut, once nothing is behind its targets.
    pub fn settle(&mut self) {
        if let Some(keyed) = &mut self.keyed {
            keyed.settle(&mut self.findings);
        }
        if let Some(stateless) = &mut self.stateless {
            stateless.settle(&mut self.findings);
        }
    }

    /// Ends the audit: notes what was never judged.
    pub fn finish(&mut self) {
        if let Some(keyed) = &self.keyed {
            keyed.finish(&mut self.findings);
        }
        if let Some(stateless) = &self.stateless {
            stateless.finish(&mut self.findings);
        }
    }

    /// What has not been read to its target, a line each.
    #[must_use]
    pub fn behind(&self, targets: &[Target]) -> Vec<String> {
        let line = |(of, position, end): (&TopicPartition, i64, i64)| {
            format!(
                "{}/{} cannot be read to its end: a transaction is open, or no broker answers: position={position} end={end}",
                of.topic, of.partition
            )
        };
        self.late(targets).map(line).collect()
    }
}

/// What a raw record must bring about, as `intake` reads it.
fn expect(stage: &Intake, record: &Record) -> Expect {
    if Progress::decode(record.value.as_deref().unwrap_or_default()).is_some() {
        return Expect::Nothing;
    }
    match stage.decode(record) {
        Ok(Routed::Event { input, .. }) => Expect::Events(u16::try_from(input.len()).unwrap_or(u16::MAX)),
        Ok(Routed::Ignore | Routed::Tick(_)) => Expect::Nothing,
        Err(_) => Expect::Letter,
    }
}

/// Asks again while the answer is a passing error.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, LogError>) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(LogError::Retriable(_)) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(200)),
            other => return other.map_err(Failure::from),
        }
    }
}
