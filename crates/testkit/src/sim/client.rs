//! `stream::Log` on the simulated cluster: one member of a group, and one transactional producer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use stream::{
    Batch, Bounds, Change, ChangelogReader, Commit, CommitReport, Committed, KnownEnds, Log, LogError, Membership,
    Millis, Output, TopicPartition, Unconfirmed, filler,
    mutant::{self, Mutant},
    settle::{self, Outcomes, Settle, Stuck},
};

use super::{
    Event, Fault, HEARTBEAT, Host, Micros, World,
    broker::{Broker, Identity, Request, Response},
    group::Sync,
    reader::SimChangelog,
};

/// A request without an answer is sent again after this long, as librdkafka does.
pub(super) const AGAIN: Micros = 250_000;
/// One that is answered sooner was surely sent once.
const SENT_AGAIN: Duration = Duration::from_millis(200);
/// A request for a transaction, or for a place in the group, is given up after this long.
const PATIENCE: Micros = 5_000_000;
/// A transaction that closes another may last so long, as on Kafka.
const CLOSING: Micros = 60_000_000;
/// No copy of a request is on its way for longer, as the client on Kafka sees it.
const LATE: Duration = Duration::from_secs(5);
/// One fetch is waited for this long.
const FETCH: Micros = 500_000;
/// Between two looks at a log that has nothing new.
const LOOK: Micros = 10_000;

pub(super) fn dead() -> LogError {
    LogError::Fatal("killed".to_owned())
}

fn silent(what: &str) -> LogError {
    LogError::Retriable(format!("{what}: nobody answers"))
}

/// The part of a client that goes on by itself, as librdkafka's own thread does.
#[derive(Debug)]
pub(super) struct Client {
    pub process: usize,
    group: String,
    member: u64,
    is_member: bool,
    instance: Option<String>,
    inputs: Vec<TopicPartition>,
    generation: i32,
    owned: BTreeSet<TopicPartition>,
    /// What the worker has not been told yet.
    changes: Vec<Change>,
    /// Lost, and not given back by the worker yet: it does not join again before that. With how often it gives them back: twice, if they had
    /// been asked back before.
    lost: BTreeMap<TopicPartition, u32>,
    /// Asked back, and not given back by the worker yet.
    revoked: BTreeSet<TopicPartition>,
    /// It joins again by itself, so that a loss can pass unnoticed.
    rejoins: bool,
    /// It has closed its consumer for now.
    is_away: bool,
}

/// A worker among its like.
#[derive(Debug, Clone)]
pub struct Member {
    /// The group.
    pub group: String,
    /// The producer's name.
    pub name: String,
    /// Whether the group knows it by that name too.
    pub is_static: bool,
    /// The topics to read.
    pub inputs: Vec<String>,
    /// The topics that it writes to.
    pub outputs: Vec<String>,
    /// The changelog.
    pub changelog: Option<String>,
}

/// One worker's log.
pub struct SimLog {
    host: Host,
    life: u64,
    client: u64,
    member: Member,
    epoch: Option<u32>,
    sequence: u64,
    open: Vec<Output>,
    /// Something of the open transaction was sent.
    has_sent: bool,
    /// The transaction before it has not been seen to be over.
    owes: bool,
    /// The last offset of it in each partition.
    last: BTreeMap<TopicPartition, i64>,
    /// What was committed and not seen to be visible.
    unconfirmed: Unconfirmed,
    /// When its name was last given so slowly that it may have been asked for twice.
    slow: Option<Duration>,
    flowing: BTreeMap<TopicPartition, i64>,
    told: Vec<KnownEnds>,
    asked: Vec<Millis>,
}

impl World {
    pub(super) fn heartbeat(&mut self, id: u64) {
        let Some(client) = self.clients.get(&id) else { return };
        let now = self.now;
        let process = &self.processes[client.process];
        if process.paused_until > now {
            let when = process.paused_until;
            self.at(when, Event::Heartbeat { client: id });
            return;
        }
        if client.is_away {
            self.at(now + HEARTBEAT, Event::Heartbeat { client: id });
            return;
        }
        let deadline = now + self.sessions;
        let request = if client.is_member {
            Request::Heartbeat {
                group: client.group.clone(),
                member: client.member,
                generation: client.generation,
                owned: client.owned.clone(),
                deadline,
            }
        } else if client.rejoins || client.lost.is_empty() {
            Request::Join {
                group: client.group.clone(),
                member: client.member,
                instance: client.instance.clone(),
                inputs: client.inputs.clone(),
                deadline,
            }
        } else {
            self.at(now + HEARTBEAT, Event::Heartbeat { client: id });
            return;
        };
        // The whole exchange takes one way's time: what makes it late or lost is the process, the node or the network between.
        let is_cut = process.isolated_until > now;
        let lost = self.travel().is_none();
        if !is_cut
            && !lost
            && let Some(response) = self.broker.handle(request, now)
        {
            self.schedule();
            let when = now + self.random.between(100, 2000);
            self.at(when, Event::Hear { client: id, response });
        }
        self.at(now + HEARTBEAT, Event::Heartbeat { client: id });
    }

    pub(super) fn hear(&mut self, id: u64, response: Response) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let paused = self.processes[client.process].paused_until;
        if paused > now {
            self.at(paused, Event::Hear { client: id, response });
            return;
        }
        match response {
            _ if client.is_away => {}
            Response::Synced(sync) => client.take(sync),
            Response::Stale if client.is_member => {
                client.is_member = false;
                client.generation = -1;
                let owned: Vec<TopicPartition> = std::mem::take(&mut client.owned).into_iter().collect();
                for of in &owned {
                    let times = 1 + u32::from(client.revoked.remove(of));
                    *client.lost.entry(of.clone()).or_default() += times;
                }
                client.changes.push(Change::Lost(owned));
                self.number += 1;
                let member = self.number;
                if let Some(client) = self.clients.get_mut(&id) {
                    client.member = member;
                }
            }
            _ => {}
        }
    }

    /// A writer of its own takes a producer's name for a moment.
    pub(super) fn hijack(&mut self, process: usize) {
        let names: Vec<String> = self
            .clients
            .values()
            .filter(|client| client.process == process)
            .map(|client| format!("{}-{}", client.group, process))
            .collect();
        for name in names {
            let timeout = self.transactions;
            drop(self.broker.handle(Request::Init { name, timeout }, self.now));
            self.schedule();
        }
    }
}

impl Client {
    /// Its group, and the name that it has there now.
    pub(super) fn member(&self) -> (&str, u64) {
        (&self.group, self.member)
    }

    fn take(&mut self, sync: Sync) {
        self.is_member = true;
        self.generation = self.generation.max(sync.generation);
        if !sync.revoked.is_empty() {
            self.revoked.extend(sync.revoked.iter().cloned());
            self.changes.push(Change::Revoked(sync.revoked));
        }
        if !sync.assigned.is_empty() {
            self.owned.extend(sync.assigned.iter().cloned());
            self.changes.push(Change::Assigned(sync.assigned));
        }
    }
}

impl SimLog {
    /// Ends what an earlier worker of this name left open, and joins the group. The name must be `<group>-<process>`.
    ///
    /// # Errors
    /// [`LogError::Retriable`] if nobody answers.
    pub fn join(host: &Host, member: Member) -> Result<Self, LogError> {
        let life = host.life();
        let client = {
            let mut world = host.sim().lock();
            let id = world.ticket();
            let inputs = world.broker.partitions(&member.inputs);
            let share = world.rejoining;
            let rejoins = world.random.chance(share);
            let own = Client {
                process: host.process(),
                group: member.group.clone(),
                member: id,
                is_member: false,
                instance: member.is_static.then(|| member.name.clone()),
                inputs,
                generation: -1,
                owned: BTreeSet::new(),
                changes: Vec::new(),
                lost: BTreeMap::new(),
                revoked: BTreeSet::new(),
                rejoins,
                is_away: false,
            };
            world.clients.insert(id, own);
            let when = world.now + 100;
            world.at(when, Event::Heartbeat { client: id });
            id
        };
        let mut log = Self {
            host: host.clone(),
            life,
            client,
            member,
            epoch: None,
            sequence: 0,
            open: Vec::new(),
            has_sent: false,
            owes: false,
            last: BTreeMap::new(),
            unconfirmed: Unconfirmed::default(),
            slow: None,
            flowing: BTreeMap::new(),
            told: Vec::new(),
            asked: Vec::new(),
        };
        log.recycle()?;
        // Nobody knows how the transactions of an earlier process of this name ended.
        let mut is_away = false;
        loop {
            match log.resolve() {
                Ok(()) => {
                    log.with(|client| client.is_away = false)?;
                    return Ok(log);
                }
                Err(LogError::Retriable(why)) if log.unconfirmed.is_in_doubt() => {
                    tracing::debug!(why, "what an earlier process left is not ended yet");
                    if !is_away {
                        // The group would wait for somebody who does not listen.
                        is_away = true;
                        log.go_away()?;
                    }
                    log.host.sleep(Duration::from_millis(100));
                }
                Err(LogError::Unknown(text) | LogError::Abort(text) | LogError::Fenced(text)) => {
                    return Err(LogError::Retriable(text));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the consumer, until it is wanted again under another member's id.
    fn go_away(&mut self) -> Result<(), LogError> {
        self.leave()?;
        let member = self.host.sim().lock().ticket();
        self.with(|client| {
            client.is_away = true;
            client.is_member = false;
            client.member = member;
            client.generation = -1;
            client.owned.clear();
            client.changes.clear();
            client.lost.clear();
            client.revoked.clear();
        })
    }

    /// Output partitions whose stable end stands before their end, with both.
    fn held(&self) -> Result<Stuck, LogError> {
        let of = self.host.sim().lock().broker.partitions(&self.member.outputs);
        let (stable, ends) = (self.ends_of(&of, true)?, self.ends_of(&of, false)?);
        if stable.len() < of.len() || ends.len() < of.len() {
            return Err(silent("ends of outputs"));
        }
        let held = stable.into_iter().zip(ends).filter(|(one, other)| one.1 < other.1);
        Ok(held.map(|((of, stable), (_, end))| (of, (stable, end))).collect())
    }

    /// Where those of these partitions end that answer.
    fn ends_of(&self, of: &[TopicPartition], is_stable: bool) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        let of = of.to_vec();
        match self.ask(&Request::Ends { of, is_stable }, PATIENCE)? {
            Some(Response::Ends(ends)) => Ok(ends.into_iter().map(|(of, _, end)| (of, end)).collect()),
            _ => Err(silent("ends")),
        }
    }

    fn lives(&self) -> Result<(), LogError> {
        if self.host.life() == self.life {
            Ok(())
        } else {
            Err(dead())
        }
    }

    fn ask(&self, request: &Request, patience: Micros) -> Result<Option<Response>, LogError> {
        self.lives()?;
        let answer = self.host.ask(request, AGAIN, patience);
        self.lives()?;
        Ok(answer)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Client) -> T) -> Result<T, LogError> {
        let mut world = self.host.sim().lock();
        world.clients.get_mut(&self.client).map(look).ok_or_else(dead)
    }

    fn identity(&self) -> Result<Identity, LogError> {
        let epoch = self
            .epoch
            .ok_or_else(|| LogError::Unknown("there is no producer".to_owned()))?;
        Ok(Identity {
            name: self.member.name.clone(),
            epoch,
        })
    }

    /// What its connections tell puts what was committed last in doubt; true if there was something.
    fn was_disturbed(&mut self) -> bool {
        let was_disturbed = self.host.sim().lock().broker.was_disturbed(&self.member.name);
        if was_disturbed {
            self.unconfirmed.doubt();
        }
        was_disturbed
    }

    fn commit_in(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.begin_anew()?;
        self.open.extend(partitions.iter().map(filler));
        self.produce_within(CLOSING)?;
        self.end_within(true, CLOSING)
    }

    /// What the open transaction has shown of the one before: its coordinator took records, so that one is over, if nothing broke.
    fn look_back(&mut self) {
        if !self.last.is_empty() {
            self.was_disturbed();
            self.unconfirmed.is_over();
        }
    }

    fn replace(&mut self, timeout: Micros) -> Result<(), LogError> {
        self.lives()?;
        self.look_back();
        self.epoch = None;
        self.open.clear();
        self.has_sent = false;
        let request = Request::Init {
            name: self.member.name.clone(),
            timeout,
        };
        let begun = self.host.monotonic();
        let answer = self.transact(&request)?;
        let now = self.host.monotonic();
        if now.saturating_sub(begun) >= SENT_AGAIN {
            self.slow = Some(now);
        }
        match answer {
            Some(Response::Epoch(epoch)) => {
                self.epoch = Some(epoch);
                self.sequence = 0;
                Ok(())
            }
            other => Err(LogError::Retriable(format!("init: {other:?}"))),
        }
    }

    fn end(&mut self, commits: bool) -> Result<(), LogError> {
        self.end_within(commits, PATIENCE)
    }

    fn end_within(&mut self, commits: bool, patience: Micros) -> Result<(), LogError> {
        let request = Request::End {
            by: self.identity()?,
            commits,
        };
        match self.ask(&request, patience)? {
            Some(Response::Done) => {
                self.has_sent = false;
                Ok(())
            }
            Some(Response::Fenced) => Err(LogError::Fenced("end".to_owned())),
            other => Err(LogError::Unknown(format!("end: {other:?}"))),
        }
    }

    /// An offset of a topic that the group does not read.
    fn nothing(&self) -> (TopicPartition, Committed) {
        let unread = self.member.changelog.as_ref().unwrap_or(&self.member.inputs[0]);
        let any = TopicPartition {
            topic: Arc::from(unread.as_str()),
            partition: 0,
        };
        let nowhere = Committed {
            offset: 0,
            metadata: String::new(),
        };
        (any, nowhere)
    }

    fn begin_anew(&mut self) -> Result<(), LogError> {
        self.identity()?;
        self.open.clear();
        self.has_sent = false;
        self.last.clear();
        self.owes = false;
        Ok(())
    }

    fn minds_disturbance(&self) -> bool {
        self.owes && self.last.is_empty() && !mutant::is_on(Mutant::MarkersTrusted)
    }

    /// A transaction that begins while the one before is perhaps being completed without its markers must not reach a partition.
    fn is_over_before(&mut self) -> Result<(), LogError> {
        if self.minds_disturbance() && self.was_disturbed() {
            return Err(LogError::Unknown("connections broke".to_owned()));
        }
        Ok(())
    }

    /// Asks a transaction's coordinator, again while it completes the one before, for as long as a transaction may last.
    fn transact(&mut self, request: &Request) -> Result<Option<Response>, LogError> {
        let patience = self.host.sim().lock().transactions;
        self.transact_within(request, patience)
    }

    fn transact_within(&mut self, request: &Request, patience: Micros) -> Result<Option<Response>, LogError> {
        let begun = self.host.monotonic();
        loop {
            let minds = !matches!(request, Request::Init { .. }) && self.minds_disturbance();
            if minds {
                self.is_over_before()?;
            }
            let name = &self.member.name;
            let goes_on = |broker: &Broker| !(minds && broker.is_disturbed(name));
            self.lives()?;
            let answer = self.host.ask_while(goes_on, request, AGAIN, patience);
            self.lives()?;
            if answer.is_none() && minds {
                self.is_over_before()?;
            }
            match answer {
                Some(Response::Concurrent)
                    if self.host.monotonic().saturating_sub(begun) < Duration::from_micros(patience) =>
                {
                    self.host.sleep(Duration::from_millis(20));
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Sends what waits; where each of it was written.
    fn produce(&mut self) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        let patience = self.host.sim().lock().transactions;
        self.produce_within(patience)
    }

    fn produce_within(&mut self, patience: Micros) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        if self.open.is_empty() {
            return Ok(Vec::new());
        }
        let outputs = std::mem::take(&mut self.open);
        let (by, sequence) = (self.identity()?, self.sequence);
        self.sequence += 1;
        self.has_sent = true;
        let request = Request::Produce { by, sequence, outputs };
        match self.transact_within(&request, patience)? {
            Some(Response::Produced(at)) => {
                for (of, offset) in &at {
                    let last = self.last.entry(of.clone()).or_insert(*offset);
                    *last = (*last).max(*offset);
                }
                Ok(at)
            }
            Some(Response::Fenced) => Err(LogError::Fenced("produce".to_owned())),
            Some(other) => Err(LogError::Abort(format!("produce: {other:?}"))),
            None => Err(LogError::Abort("produce: nobody answers".to_owned())),
        }
    }

    /// Takes what the group said; true if there was anything.
    fn hear(&mut self, batch: &mut Batch) -> Result<bool, LogError> {
        let changes = self.with(|client| std::mem::take(&mut client.changes))?;
        for change in &changes {
            let (Change::Revoked(gone) | Change::Lost(gone)) = change else {
                continue;
            };
            for partition in gone {
                self.flowing.remove(partition);
            }
            batch.records.retain(|record| {
                !gone
                    .iter()
                    .any(|of| of.partition == record.partition && of.topic == record.topic)
            });
        }
        let heard = !changes.is_empty();
        batch.changes.extend(changes);
        Ok(heard)
    }

    /// Whether the client knows of a loss that the worker has not heard.
    fn is_lost(&self, partition: &TopicPartition) -> Result<bool, LogError> {
        self.with(|client| {
            let takes = |change: &Change| matches!(change, Change::Lost(lost) if lost.contains(partition));
            client.changes.iter().any(takes)
        })
    }

    fn fetch(&mut self, max: usize, batch: &mut Batch) -> Result<bool, LogError> {
        if self.flowing.is_empty() {
            return Ok(false);
        }
        let few = {
            let mut world = self.host.sim().lock();
            1 + world.random.index(12)
        };
        let request = Request::Fetch {
            positions: self.flowing.iter().map(|(of, next)| (of.clone(), *next)).collect(),
            max: max.min(few),
        };
        let Some(Response::Fetched(fetched)) = self.ask(&request, FETCH)? else {
            return Ok(false);
        };
        let mut found = false;
        for one in fetched {
            // What was taken away or moved meanwhile is not ours to read from there.
            let Some(next) = self.flowing.get_mut(&one.of) else {
                continue;
            };
            if one.is_out_of_range {
                return Err(LogError::Fatal("input is not in the log any more".to_owned()));
            }
            found |= !one.records.is_empty();
            if !one.records.is_empty() {
                let first = one.records.first().map(|record| record.offset);
                tracing::debug!(topic = %one.of.topic, partition = one.of.partition, first, next = one.next, "fetched");
            }
            let moved = one.next > *next;
            *next = one.next;
            batch.records.extend(one.records);
            if one.is_at_end && (moved || found) {
                batch.ends.push((one.of, one.next));
            }
        }
        Ok(found)
    }
}

impl Settle for SimLog {
    fn unconfirmed(&mut self) -> &mut Unconfirmed {
        &mut self.unconfirmed
    }

    fn notice(&mut self) -> bool {
        self.was_disturbed()
    }

    fn now(&self) -> Duration {
        self.host.monotonic()
    }

    fn wait(&mut self) {
        self.host.sleep(Duration::from_millis(20));
    }

    fn still(&self) -> Duration {
        Duration::from_micros(self.host.sim().lock().transactions / 2)
    }

    fn stable_ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        self.ends_of(of, true)
    }

    fn ends(&mut self, of: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        self.ends_of(of, false)
    }

    fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        tracing::debug!(?partitions, "what was committed stands open, closing it");
        let is_slow = |log: &Self| {
            let now = log.host.monotonic();
            log.slow.is_some_and(|at| now.saturating_sub(at) < LATE)
        };
        if is_slow(self) {
            return Err(silent("closing"));
        }
        self.replace(CLOSING)?;
        if is_slow(self) {
            return Err(silent("closing"));
        }
        let process = self.host.process();
        self.host.sim().lock().processes[process].closes = true;
        let closed = self.commit_in(partitions);
        self.host.sim().lock().processes[process].closes = false;
        closed
    }

    fn renew(&mut self) -> Result<(), LogError> {
        self.recycle()
    }

    fn report_foreign(&self, partitions: &[TopicPartition]) {
        tracing::debug!(?partitions, "a transaction of another name stays open");
    }

    /// Of an offset that says nothing, in a transaction of its own.
    fn end_offsets(&mut self) -> Result<(), LogError> {
        let of = self.host.sim().lock().broker.partitions(&self.member.inputs);
        if self.committed(&of).is_ok() {
            return Ok(());
        }
        self.begin_anew()?;
        let request = Request::Offsets {
            by: self.identity()?,
            group: self.member.group.clone(),
            member: 0,
            generation: -1,
            offsets: vec![self.nothing()],
        };
        self.has_sent = true;
        match self.transact(&request)? {
            Some(Response::Done) => self.end(true),
            other => Err(LogError::Unknown(format!("offsets: {other:?}"))),
        }
    }

    fn stuck(&mut self) -> Result<Stuck, LogError> {
        self.held()
    }

    fn outcomes(&mut self) -> Result<Outcomes, LogError> {
        let name = self.member.name.clone();
        match self.ask(&Request::Outcomes { name }, PATIENCE)? {
            Some(Response::Outcomes(by_partition, last)) => {
                tracing::debug!(?by_partition, last, "how transactions of this name were decided");
                Ok(Outcomes {
                    by_partition,
                    elsewhere: None,
                    last,
                })
            }
            _ => Err(silent("the last outcome")),
        }
    }

    fn report_held(&self, partitions: &[TopicPartition]) {
        tracing::debug!(?partitions, "a transaction of another name holds what was aborted");
    }

    fn abort_in(&mut self, partitions: &[TopicPartition]) -> Result<bool, LogError> {
        let begun = self.host.monotonic();
        self.begin_anew()?;
        self.open.extend(partitions.iter().map(filler));
        self.produce()?;
        let (member, generation) = self.with(|client| (client.member, client.generation))?;
        let request = Request::Offsets {
            by: self.identity()?,
            group: self.member.group.clone(),
            member,
            generation,
            offsets: vec![self.nothing()],
        };
        self.has_sent = true;
        match self.transact(&request)? {
            Some(Response::Done | Response::Stale) => {}
            Some(Response::Fenced) => return Err(LogError::Fenced("offsets to discard".to_owned())),
            other => return Err(LogError::Unknown(format!("offsets to discard: {other:?}"))),
        }
        self.abort()?;
        // As the client on Kafka does: a request that is answered sooner was sent once.
        Ok(self.host.monotonic().saturating_sub(begun) < SENT_AGAIN)
    }
}

impl Log for SimLog {
    fn poll(&mut self, wait: Duration, max: usize, batch: &mut Batch) -> Result<(), LogError> {
        self.lives()?;
        let until = self.host.monotonic() + wait;
        for asked in std::mem::take(&mut self.asked) {
            let of: Vec<TopicPartition> = self.flowing.keys().cloned().collect();
            let request = Request::Ends { of, is_stable: true };
            if let Some(Response::Ends(ends)) = self.ask(&request, FETCH)? {
                let ends = ends.into_iter().map(|(of, _, end)| (of, end)).collect();
                self.told.push(KnownEnds { asked, ends });
            }
        }
        loop {
            let mut heard = self.hear(batch)?;
            if max > 1 {
                heard |= self.fetch(max, batch)?;
                heard |= self.hear(batch)?;
            }
            heard |= !self.told.is_empty();
            batch.told.append(&mut self.told);
            if heard || self.host.monotonic() >= until {
                return Ok(());
            }
            self.host.sleep(Duration::from_micros(LOOK));
            self.lives()?;
        }
    }

    fn committed(&mut self, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, LogError> {
        let request = Request::Committed {
            group: self.member.group.clone(),
            of: of.to_vec(),
            is_stable: !mutant::is_on(Mutant::UnstableOffsets),
        };
        match self.ask(&request, PATIENCE)? {
            Some(Response::Committed(found)) => Ok(found),
            Some(_) => {
                self.host.sleep(Duration::from_millis(20));
                self.lives()?;
                Err(LogError::Retriable("offsets are unstable".to_owned()))
            }
            None => Err(silent("committed offsets")),
        }
    }

    fn bounds(&mut self, of: &TopicPartition) -> Result<Bounds, LogError> {
        let request = Request::Ends {
            of: vec![of.clone()],
            is_stable: mutant::is_on(Mutant::UnstableOffsets),
        };
        match self.ask(&request, PATIENCE)? {
            Some(Response::Ends(ends)) => {
                let (_, start, end) = ends.first().ok_or_else(|| silent("offsets"))?;
                Ok(Bounds {
                    start: *start,
                    end: *end,
                })
            }
            _ => Err(silent("offsets")),
        }
    }

    fn ask_ends(&mut self, now: Millis) -> Result<(), LogError> {
        self.lives()?;
        if !self.flowing.is_empty() {
            self.asked.push(now);
        }
        Ok(())
    }

    fn resume(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError> {
        self.lives()?;
        tracing::debug!(topic = %partition.topic, partition = partition.partition, offset, "resumed");
        self.flowing.insert(partition.clone(), offset);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition) -> Result<(), LogError> {
        self.lives()?;
        self.flowing.remove(partition);
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.lives()?;
        for partition in partitions {
            self.flowing.remove(partition);
        }
        let (group, member, generation, was_lost) = self.with(|client| {
            let mut was_lost = false;
            for partition in partitions {
                client.revoked.remove(partition);
                if let Some(times) = client.lost.get_mut(partition) {
                    was_lost = true;
                    *times -= 1;
                    if *times == 0 {
                        client.lost.remove(partition);
                    }
                }
            }
            if !was_lost {
                client.owned.retain(|of| !partitions.contains(of));
            }
            (client.group.clone(), client.member, client.generation, was_lost)
        })?;
        if was_lost {
            return Ok(());
        }
        let request = Request::Release {
            group,
            member,
            generation,
            partitions: partitions.to_vec(),
        };
        self.ask(&request, PATIENCE)?.map(drop).ok_or_else(|| silent("release"))
    }

    fn membership(&mut self) -> Result<Membership, LogError> {
        let (group, member, generation) =
            self.with(|client| (client.group.clone(), client.member, client.generation))?;
        match self.ask(&Request::Rank { group, member }, PATIENCE)? {
            Some(Response::Rank(index, members, assignment)) => Ok(Membership {
                generation,
                assignment,
                index,
                members,
            }),
            Some(_) => Err(LogError::Retriable("group does not list this member".to_owned())),
            None => Err(silent("group")),
        }
    }

    fn generation(&mut self) -> Result<i32, LogError> {
        self.lives()?;
        self.with(|client| client.generation)
    }

    fn begin(&mut self) -> Result<(), LogError> {
        self.lives()?;
        tracing::debug!(epoch = self.epoch, "transaction begins");
        self.begin_anew()?;
        self.owes = self.unconfirmed.is_owed();
        Ok(())
    }

    fn send(&mut self, output: Output) -> Result<(), LogError> {
        self.lives()?;
        self.open.push(output);
        let some = {
            let mut world = self.host.sim().lock();
            world.random.chance(150)
        };
        if some { self.produce().map(drop) } else { Ok(()) }
    }

    fn commit(&mut self, epoch: &Commit) -> Result<CommitReport, LogError> {
        self.produce()?;
        let mut report = CommitReport {
            changelog_next: vec![None; epoch.partitions.len()],
            ..CommitReport::default()
        };
        for (index, part) in epoch.partitions.iter().enumerate() {
            let Some(topic) = self.member.changelog.clone() else {
                continue;
            };
            let mut placed: Option<(i64, i64)> = None;
            for value in &part.changelog {
                self.open.push(Output {
                    topic: Arc::from(topic.as_str()),
                    partition: Some(part.slot),
                    timestamp: None,
                    key: None,
                    value: Some(value.clone()),
                    headers: Vec::new(),
                });
                // One at a time, so that an epoch's parts can be torn apart.
                if let Some((_, at)) = self.produce()?.last() {
                    placed = Some((placed.map_or(*at, |(first, _)| first), *at));
                }
            }
            if let Some((first, last)) = placed {
                epoch.is_alone(part, first, last)?;
                report.changelog_next[index] = Some(last + 1);
            }
        }
        for part in &epoch.partitions {
            if self.is_lost(&part.input)? && !mutant::is_on(Mutant::OwnerInsteadOfSequence) {
                return Err(LogError::Abort("a partition of the epoch was lost".to_owned()));
            }
        }
        let (member, generation) = self.with(|client| (client.member, client.generation))?;
        let generation = if mutant::is_on(Mutant::NoGeneration) {
            -1
        } else {
            generation
        };
        if generation < 0 && !mutant::is_on(Mutant::NoGeneration) {
            return Err(LogError::Abort("in no generation".to_owned()));
        }
        let offsets = epoch.partitions.iter().map(|part| {
            let committed = Committed {
                offset: part.offset,
                metadata: part.metadata.clone(),
            };
            (part.input.clone(), committed)
        });
        let request = Request::Offsets {
            by: self.identity()?,
            group: self.member.group.clone(),
            member,
            generation,
            offsets: offsets.collect(),
        };
        self.has_sent = true;
        let begun = self.host.monotonic();
        let refused = match self.transact(&request)? {
            Some(Response::Done) => None,
            Some(Response::Fenced) => Some(LogError::Fenced("send_offsets".to_owned())),
            other => Some(LogError::Abort(format!("send_offsets: {other:?}"))),
        };
        if let Some(error) = refused
            && !mutant::is_on(Mutant::OffsetsErrorIgnored)
        {
            return Err(error);
        }
        let sent = self.host.monotonic();
        self.was_disturbed();
        self.unconfirmed.asks(std::mem::take(&mut self.last));
        self.end(true)?;
        self.unconfirmed.committed(self.host.monotonic());
        let ended = self.host.monotonic();
        report.longest_request = sent.saturating_sub(begun).max(ended.saturating_sub(sent));
        Ok(report)
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.lives()?;
        self.look_back();
        self.open.clear();
        if !std::mem::take(&mut self.has_sent) {
            return Ok(());
        }
        self.end(false)
    }

    fn recycle(&mut self) -> Result<(), LogError> {
        let timeout = self.host.sim().lock().transactions;
        self.replace(timeout)
    }

    fn discard(&mut self) -> Result<(), LogError> {
        settle::discard(self)
    }

    fn resolve(&mut self) -> Result<(), LogError> {
        settle::resolve(self)
    }

    fn confirm(&mut self) -> Result<bool, LogError> {
        self.lives()?;
        settle::confirm(self)
    }

    fn changelog(&mut self) -> Result<Option<Box<dyn ChangelogReader>>, LogError> {
        self.lives()?;
        let Some(topic) = &self.member.changelog else {
            return Ok(None);
        };
        Ok(Some(Box::new(SimChangelog {
            host: self.host.clone(),
            life: self.life,
            topic: Arc::from(topic.as_str()),
            positions: BTreeMap::new(),
            skips: mutant::is_on(Mutant::SkipsAhead),
        })))
    }

    fn trim(&mut self, partition: i32, before: i64) -> Result<(), LogError> {
        let Some(topic) = &self.member.changelog else {
            return Ok(());
        };
        let of = TopicPartition {
            topic: Arc::from(topic.as_str()),
            partition,
        };
        {
            let mut world = self.host.sim().lock();
            let process = self.host.process();
            world.trims.push((process, of.clone(), before));
            if std::mem::take(&mut world.processes[process].is_doomed) {
                let request = Request::Delete { of, before };
                let (now, late) = (world.now, world.random.between(250_000, 900_000));
                world.at(
                    now + late,
                    Event::Arrive {
                        slot: 0,
                        request,
                        from: process,
                    },
                );
                world.at(now, Event::Fault(Fault::KillAndOldDisk(process, 20_000)));
                drop(world);
                self.host.sleep(Duration::from_secs(1));
                return Err(dead());
            }
        }
        match self.ask(&Request::Delete { of, before }, PATIENCE)? {
            Some(Response::Done) => Ok(()),
            other => Err(LogError::Retriable(format!("trim: {other:?}"))),
        }
    }

    fn leave(&mut self) -> Result<(), LogError> {
        let (group, member) = self.with(|client| (client.group.clone(), client.member))?;
        self.ask(&Request::Leave { group, member }, PATIENCE)?
            .map(drop)
            .ok_or_else(|| silent("leave"))
    }
}

impl Drop for SimLog {
    /// The client falls silent; the group notices by its session's end.
    fn drop(&mut self) {
        self.host.sim().lock().clients.remove(&self.client);
    }
}
