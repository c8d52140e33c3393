//! What brokers keep and how they answer: partitions with control records, transactions in the old protocol, offsets, groups.
//!
//! One call of [`Broker::handle`] is one request that has arrived. Markers of a transaction reach each partition by an event of their
//! own, so a reader sees one before the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use stream::{Committed, Millis, Output, Record, TopicPartition, is_filler, partition_of};

use super::group::{Group, Sync};

/// Brokers in the cluster.
pub(super) const NODES: usize = 3;

/// A request of a client.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Fetch {
        positions: Vec<(TopicPartition, i64)>,
        max: usize,
    },
    Ends {
        of: Vec<TopicPartition>,
        is_stable: bool,
    },
    Committed {
        group: String,
        of: Vec<TopicPartition>,
        /// Wait for transactions that are under way.
        is_stable: bool,
    },
    Init {
        name: String,
        timeout: u64,
    },
    /// How the transactions of a name were decided.
    Outcomes {
        name: String,
    },
    Produce {
        by: Identity,
        sequence: u64,
        outputs: Vec<Output>,
    },
    Offsets {
        by: Identity,
        group: String,
        member: u64,
        generation: i32,
        offsets: Vec<(TopicPartition, Committed)>,
    },
    End {
        by: Identity,
        commits: bool,
    },
    Join {
        group: String,
        member: u64,
        instance: Option<String>,
        inputs: Vec<TopicPartition>,
        deadline: u64,
    },
    Heartbeat {
        group: String,
        member: u64,
        generation: i32,
        owned: BTreeSet<TopicPartition>,
        deadline: u64,
    },
    Release {
        group: String,
        member: u64,
        generation: i32,
        partitions: Vec<TopicPartition>,
    },
    Leave {
        group: String,
        member: u64,
    },
    Rank {
        group: String,
        member: u64,
    },
    Delete {
        of: TopicPartition,
        before: i64,
    },
}

impl Request {
    /// Whether it goes through a producer's connection.
    pub fn is_of_producer(&self) -> bool {
        matches!(
            self,
            Self::Produce { .. } | Self::Offsets { .. } | Self::End { .. } | Self::Init { .. }
        )
    }
}

/// Who a producer says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub name: String,
    pub epoch: u32,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) enum Response {
    Fetched(Vec<Fetched>),
    Ends(Vec<(TopicPartition, i64, i64)>),
    Committed(Vec<Option<Committed>>),
    Epoch(u32),
    /// Of each partition, whether the last that wrote there was committed; and whether the last of all was.
    Outcomes(BTreeMap<TopicPartition, bool>, Option<bool>),
    /// The offset of each output, in order.
    Produced(Vec<(TopicPartition, i64)>),
    Done,
    Synced(Sync),
    Rank(i32, i32, Option<i64>),
    /// A transaction of this name is being completed: ask again.
    Concurrent,
    /// Offsets of a transaction under way: ask again.
    Unstable,
    Fenced,
    /// The transaction is not in a state for this.
    Invalid,
    /// The group does not know this member in this generation.
    Stale,
}

/// What was read of one partition.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub of: TopicPartition,
    pub records: Vec<Record>,
    /// The position behind them, control records included.
    pub next: i64,
    pub is_at_end: bool,
    pub is_out_of_range: bool,
}

/// Something that a broker does later.
#[derive(Debug, Clone)]
pub(super) enum Later {
    /// A transaction's marker reaches a partition; or, without one, the group's offsets.
    Marker {
        name: String,
        uid: u64,
        at: Option<TopicPartition>,
    },
    /// A transaction is completed without any, after so long.
    Forgotten { name: String, uid: u64, takes: u64 },
    /// A producer's connections break, after so long.
    Broken { name: String, takes: u64 },
}

/// A transaction that was decided to be committed, as it is checked.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Its producer's name.
    pub name: String,
    /// Every record that it wrote, in order per partition.
    pub records: Vec<Record>,
    /// Every offset that it commits: group, partition, offset with metadata.
    pub offsets: Vec<(String, TopicPartition, Committed)>,
}

#[derive(Debug)]
enum Entry {
    Data {
        record: Record,
        uid: Option<u64>,
    },
    Control,
    /// Compacted away.
    Gone,
}

impl Entry {
    /// A record that says something, with the transaction that wrote it.
    fn said(&self) -> Option<(&Record, Option<u64>)> {
        match self {
            Self::Data { record, uid } if !is_filler(record.key.as_deref(), record.value.as_deref()) => {
                Some((record, *uid))
            }
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    start: i64,
    /// The seat that leads it.
    leader: usize,
    /// Nobody leads it before this.
    leaderless_until: u64,
    entries: Vec<Entry>,
    /// First offset of transactions without their marker here.
    open: BTreeMap<u64, i64>,
    /// Open ones that have ended all the same, by their producer's name: its next marker here is theirs too.
    forgotten: BTreeMap<u64, String>,
    decided: BTreeMap<u64, bool>,
}

impl Lane {
    fn end(&self) -> i64 {
        i64::try_from(self.entries.len()).expect("small")
    }

    fn stable(&self) -> i64 {
        self.open.values().min().copied().unwrap_or_else(|| self.end())
    }

    fn is_visible(&self, uid: Option<u64>) -> bool {
        uid.is_none_or(|uid| self.decided.get(&uid) == Some(&true))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    Preparing { commits: bool },
    Complete { commits: bool },
}

#[derive(Debug)]
struct Transactions {
    epoch: u32,
    state: State,
    /// Of the transaction under way.
    uid: u64,
    begun: u64,
    timeout: u64,
    lanes: BTreeSet<TopicPartition>,
    offsets: BTreeMap<(String, TopicPartition), Committed>,
    markers: usize,
    /// Its offsets are those of a transaction that has ended: they stay pending until the next one's marker.
    is_pending: bool,
    /// The next sequence number, and what earlier ones were given; for this epoch.
    sequence: u64,
    produced: BTreeMap<u64, Vec<(TopicPartition, i64)>>,
    /// Of each partition, whether the last that wrote there was committed.
    outcomes: BTreeMap<TopicPartition, bool>,
    /// Whether the last was.
    last: Option<bool>,
}

impl Transactions {
    fn decided(&mut self, commits: bool) {
        self.outcomes.extend(self.lanes.iter().map(|of| (of.clone(), commits)));
        if !self.lanes.is_empty() || !self.offsets.is_empty() {
            self.last = Some(commits);
        }
    }
}

/// How long a coordinator of groups reads, in microseconds.
const LOADING: u64 = 700_000;
/// How many commits of the past it may answer with.
const PAST: usize = 6;
/// So many generations of a group are remembered.
const GENERATIONS: usize = 64;

/// Each node begins in a seat of its own.
#[derive(Debug)]
struct Seats([usize; NODES]);

impl Default for Seats {
    fn default() -> Self {
        Self(std::array::from_fn(|node| node))
    }
}

/// All brokers.
#[derive(Debug, Default)]
pub(super) struct Broker {
    topics: BTreeMap<Arc<str>, Vec<Lane>>,
    transactions: BTreeMap<String, Transactions>,
    committed: BTreeMap<(String, TopicPartition), Committed>,
    groups: BTreeMap<String, Group>,
    /// Each of them as it was in its last few generations, the latest last.
    earlier: BTreeMap<String, Vec<Group>>,
    uids: u64,
    /// What is to happen later; whoever calls schedules it.
    pub later: Vec<Later>,
    /// Transactions decided since the last look.
    pub decided: Vec<Decided>,
    /// Nodes that do not answer.
    pub down: [bool; NODES],
    /// Which node has each seat: leads partitions, coordinates groups and names.
    seats: Seats,
    /// Until when the node in each seat reads what its groups have committed.
    loading: [u64; NODES],
    /// The time of the last request or marker.
    now: u64,
    /// Per position: what was committed before, the latest last.
    past: BTreeMap<(String, TopicPartition), Vec<Committed>>,
    /// What is told of positions since their coordinator has read its log in part, until they are committed again.
    told: BTreeMap<(String, TopicPartition), Option<Committed>>,
    /// The next so many transactions that are given up end without a marker anywhere (KAFKA-20734).
    pub forgets: usize,
    /// The same of the next one that is ended; it takes so long until it is completed.
    pub loses: Option<u64>,
    /// Names whose producers' connections have broken since they last looked.
    disturbed: BTreeSet<String>,
}

impl Broker {
    pub fn create(&mut self, topic: &str, partitions: usize) {
        let count = self.topics.len();
        let lanes = (0..partitions).map(|index| Lane {
            leader: (count + index) % NODES,
            ..Lane::default()
        });
        self.topics.entry(Arc::from(topic)).or_insert_with(|| lanes.collect());
    }

    /// The partitions of topics, in order.
    pub fn partitions(&self, topics: &[String]) -> Vec<TopicPartition> {
        let mut all = Vec::new();
        for name in topics {
            let Some((topic, lanes)) = self.topics.get_key_value(name.as_str()) else {
                continue;
            };
            all.extend((0..lanes.len()).map(|partition| TopicPartition {
                topic: Arc::clone(topic),
                partition: i32::try_from(partition).expect("few"),
            }));
        }
        all
    }

    fn lane(&self, of: &TopicPartition) -> &Lane {
        let lanes = self.topics.get(&of.topic).map(Vec::as_slice).unwrap_or_default();
        let index = usize::try_from(of.partition).expect("not negative");
        lanes
            .get(index)
            .unwrap_or_else(|| panic!("no such partition: {}/{}", of.topic, of.partition))
    }

    fn lane_mut(&mut self, of: &TopicPartition) -> &mut Lane {
        let index = usize::try_from(of.partition).expect("not negative");
        let lanes = self.topics.get_mut(&of.topic).and_then(|lanes| lanes.get_mut(index));
        lanes.unwrap_or_else(|| panic!("no such partition: {}/{}", of.topic, of.partition))
    }

    /// The seat that coordinates a group or a producer's name.
    fn coordinator(of: &str) -> usize {
        of.bytes().map(usize::from).sum::<usize>() % NODES
    }

    fn is_led(&self, of: &TopicPartition) -> bool {
        let lane = self.lane(of);
        lane.leaderless_until <= self.now && !self.down[self.seats.0[lane.leader]]
    }

    fn is_coordinated(&self, of: &str) -> bool {
        !self.down[self.seats.0[Self::coordinator(of)]]
    }

    /// Nobody leads a partition for a while; everything else of its node is well.
    pub fn unseat(&mut self, of: &TopicPartition, until: u64) {
        self.lane_mut(of).leaderless_until = until;
    }

    fn seats_of(&self, node: usize) -> Vec<usize> {
        (0..NODES).filter(|seat| self.seats.0[*seat] == node).collect()
    }

    /// What a node that is down leads and coordinates goes over to another one, which reads first what its groups have committed;
    /// returns the seats. None, if it is back or all are down.
    pub fn elect(&mut self, node: usize, now: u64) -> Vec<usize> {
        let mut others = (1..NODES).map(|step| (node + step) % NODES);
        let Some(next) = others.find(|other| !self.down[*other]).filter(|_| self.down[node]) else {
            return Vec::new();
        };
        let seats = self.seats_of(node);
        for seat in &seats {
            self.seats.0[*seat] = next;
            self.loading[*seat] = now + LOADING;
        }
        seats
    }

    /// A node answers again. As coordinator of groups it reads first what they have committed: meanwhile it takes nothing from them,
    /// and answers with offsets of the past, as Kafka 4.3.1 does.
    /// Returns its seats.
    pub fn node_up(&mut self, node: usize, now: u64) -> Vec<usize> {
        self.down[node] = false;
        let seats = self.seats_of(node);
        for seat in &seats {
            self.loading[*seat] = now + LOADING;
        }
        seats
    }

    /// The coordinators in these seats have read only a part of their logs, and take that for all, as those of Kafka 4.3.1 do that were cut off
    /// meanwhile: the last few commits are not there, and the groups are what they were some generations ago. Who was in them has until then to
    /// be heard.
    pub fn read_in_part(&mut self, seats: &[usize], commits: usize, deadline: u64) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            if !seats.contains(&Self::coordinator(&name)) {
                continue;
            }
            self.forget(&name, commits, deadline);
        }
    }

    /// The coordinator of a group takes it for what it was so many generations ago, and as many commits of its are not there.
    pub fn forget(&mut self, name: &str, commits: usize, deadline: u64) {
        if commits == 0 {
            return;
        }
        if let Some(group) = self.groups.get_mut(name) {
            let earlier = self.earlier.entry(name.to_owned()).or_default();
            earlier.truncate(earlier.len().saturating_sub(commits));
            group.is_as_before(earlier.last().cloned().unwrap_or_default(), deadline);
        }
        for ((group, of), past) in &self.past {
            if group == name {
                let told = past.len().checked_sub(1 + commits).map(|index| past[index].clone());
                self.told.insert((group.clone(), of.clone()), told);
            }
        }
    }

    /// The coordinator of a group that has put this member out takes the group for what it was when the member was in it.
    pub fn forget_since(&mut self, name: &str, member: u64, deadline: u64) {
        if self.groups.get(name).is_some_and(|group| group.has(member)) {
            return;
        }
        let earlier = self.earlier.get(name).map(Vec::as_slice).unwrap_or_default();
        if let Some(last) = earlier.iter().rposition(|group| group.has(member)) {
            self.forget(name, earlier.len() - 1 - last, deadline);
        }
    }

    fn is_loading(&self, group: &str, now: u64) -> bool {
        self.loading[Self::coordinator(group)] > now
    }

    /// What a coordinator that still reads answers: the further it is, the newer.
    fn read_so_far(&self, group: &str, of: &TopicPartition, now: u64) -> Option<Committed> {
        let past = self.past.get(&(group.to_owned(), of.clone()))?;
        let left = self.loading[Self::coordinator(group)].saturating_sub(now);
        let behind = usize::try_from(left * (PAST as u64) / LOADING).expect("small") + 1;
        past.get(past.len().saturating_sub(behind)).cloned()
    }

    /// Writes a record; outside of a transaction without a number.
    pub fn append(&mut self, output: Output, now: Millis, uid: Option<u64>) -> (TopicPartition, i64) {
        let of = self.target(&output);
        let lane = self.lane_mut(&of);
        let offset = lane.end();
        if let Some(uid) = uid {
            lane.open.entry(uid).or_insert(offset);
        }
        let record = Record {
            topic: Arc::clone(&of.topic),
            partition: of.partition,
            offset,
            timestamp: output.timestamp.unwrap_or(now),
            key: output.key,
            value: output.value,
            headers: output.headers,
        };
        lane.entries.push(Entry::Data { record, uid });
        (of, offset)
    }

    /// What a `read_committed` reader sees of a topic, partition by partition.
    pub fn visible(&self, topic: &str) -> Vec<Record> {
        let mut records = Vec::new();
        for lane in self.topics.get(topic).map(Vec::as_slice).unwrap_or_default() {
            let (start, stable) = (lane.start, lane.stable());
            let said = lane.entries.iter().filter_map(Entry::said);
            let visible =
                said.filter(|(record, uid)| record.offset >= start && record.offset < stable && lane.is_visible(*uid));
            records.extend(visible.map(|(record, _)| record.clone()));
        }
        records
    }

    /// Offsets and times of what a `read_committed` reader sees of a partition.
    pub fn times(&self, of: &TopicPartition) -> Vec<(i64, Millis)> {
        let lane = self.lane(of);
        let stable = lane.stable();
        let said = lane.entries.iter().filter_map(Entry::said);
        let visible = said.filter(|(record, uid)| record.offset < stable && lane.is_visible(*uid));
        visible.map(|(record, _)| (record.offset, record.timestamp)).collect()
    }

    /// Compaction: of each key only the newest record that is stable stays.
    pub fn compact(&mut self, topic: &str) {
        for lane in self.topics.get_mut(topic).into_iter().flatten() {
            let stable = lane.stable();
            let mut newest = BTreeMap::new();
            for entry in &lane.entries {
                if let Entry::Data { record, uid } = entry
                    && record.offset < stable
                    && lane.is_visible(*uid)
                {
                    newest.insert(record.key.clone(), record.offset);
                }
            }
            for entry in &mut lane.entries {
                if let Entry::Data { record, .. } = entry
                    && newest.get(&record.key).is_some_and(|newer| record.offset < *newer)
                {
                    *entry = Entry::Gone;
                }
            }
        }
    }

    pub fn committed(&self, group: &str, of: &TopicPartition) -> Option<&Committed> {
        self.committed.get(&(group.to_owned(), of.clone()))
    }

    pub fn start(&self, of: &TopicPartition) -> i64 {
        self.lane(of).start
    }

    pub fn end(&self, of: &TopicPartition) -> i64 {
        self.lane(of).end()
    }

    /// Whether a transaction that commits offsets of this partition is under way.
    fn is_unstable(&self, group: &str, of: &TopicPartition) -> bool {
        let key = (group.to_owned(), of.clone());
        let under_way = |one: &Transactions| matches!(one.state, State::Ongoing | State::Preparing { .. });
        self.transactions
            .values()
            .any(|one| (under_way(one) || one.is_pending) && one.offsets.contains_key(&key))
    }

    /// The same, as the coordinator knows it: what it has not read was for transactions too.
    fn is_known_unstable(&self, group: &str, of: &TopicPartition) -> bool {
        !self.told.contains_key(&(group.to_owned(), of.clone())) && self.is_unstable(group, of)
    }

    /// Whether no transaction is under way at all, and none is open that has ended.
    pub fn is_quiet(&self) -> bool {
        let under_way = |one: &Transactions| matches!(one.state, State::Ongoing | State::Preparing { .. });
        let mut lanes = self.topics.values().flatten();
        !self.transactions.values().any(under_way) && lanes.all(|lane| lane.forgotten.is_empty())
    }

    /// Ends transactions that have lasted too long, and members that were not heard.
    pub fn sweep(&mut self, now: u64) {
        let late: Vec<String> = self
            .transactions
            .iter()
            .filter(|(name, one)| {
                one.state == State::Ongoing && now.saturating_sub(one.begun) > one.timeout && self.is_coordinated(name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in late {
            if let Some(one) = self.transactions.get_mut(&name) {
                one.epoch += 1;
            }
            self.give_up(&name);
        }
        for (name, group) in &mut self.groups {
            if !self.down[self.seats.0[Self::coordinator(name)]] {
                group.sweep(now);
            }
        }
    }

    /// Aborts a transaction whose producer is not heard, or forgets to write its markers.
    fn give_up(&mut self, name: &str) {
        if self.forgets == 0 {
            return self.prepare(name, false);
        }
        let one = self.transactions.get_mut(name).expect("it is there");
        if one.lanes.is_empty() && one.offsets.is_empty() {
            return self.prepare(name, false);
        }
        one.decided(false);
        self.forgets -= 1;
        self.complete_unmarked(name, false);
    }

    /// Completes a transaction without a marker anywhere.
    fn complete_unmarked(&mut self, name: &str, commits: bool) {
        let one = self.transactions.get_mut(name).expect("it is there");
        one.state = State::Complete { commits };
        one.is_pending = !one.offsets.is_empty();
        let (uid, lanes) = (one.uid, std::mem::take(&mut one.lanes));
        tracing::debug!(name, commits, ?lanes, "transaction was completed without markers");
        for of in &lanes {
            self.lane_mut(of).forgotten.insert(uid, name.to_owned());
        }
    }

    /// Whether a producer's connections have broken, without looking for it.
    pub fn is_disturbed(&self, name: &str) -> bool {
        self.disturbed.contains(name)
    }

    /// Whether a producer's connections have broken since it last looked.
    pub fn was_disturbed(&mut self, name: &str) -> bool {
        self.disturbed.remove(name)
    }

    fn prepare(&mut self, name: &str, commits: bool) {
        let one = self.transactions.get_mut(name).expect("it is there");
        one.state = State::Preparing { commits };
        one.markers = one.lanes.len() + 1;
        one.decided(commits);
        let (uid, lanes) = (one.uid, one.lanes.clone());
        let offsets: Vec<(String, TopicPartition, Committed)> = one
            .offsets
            .iter()
            .map(|((group, of), committed)| (group.clone(), of.clone(), committed.clone()))
            .collect();
        tracing::debug!(name, commits, uid, ?lanes, ?offsets, "transaction is decided");
        if commits {
            let mut records = Vec::new();
            for of in &lanes {
                let said = self.lane(of).entries.iter().filter_map(Entry::said);
                records.extend(
                    said.filter(|(_, by)| *by == Some(uid))
                        .map(|(record, _)| record.clone()),
                );
            }
            self.decided.push(Decided {
                name: name.to_owned(),
                records,
                offsets,
            });
        }
        if !lanes.is_empty()
            && let Some(takes) = self.loses.take()
        {
            // Its partitions have lost their leaders, and so have those who are connected to them.
            let name = name.to_owned();
            self.later.push(Later::Broken {
                name: name.clone(),
                takes: takes / 2,
            });
            return self.later.push(Later::Forgotten { name, uid, takes });
        }
        let marker = |at| Later::Marker {
            name: name.to_owned(),
            uid,
            at,
        };
        self.later.extend(lanes.into_iter().map(|of| marker(Some(of))));
        self.later.push(marker(None));
    }

    /// A marker arrives; false if its node is down and it must come again.
    pub fn mark(&mut self, later: &Later, now: u64) -> bool {
        self.now = now;
        let (name, uid, at) = match later {
            Later::Marker { name, uid, at } => (name, uid, at),
            Later::Forgotten { name, uid, .. } => {
                let one = self.transactions.get(name).filter(|one| one.uid == *uid);
                if let Some(State::Preparing { commits }) = one.map(|one| one.state) {
                    self.complete_unmarked(name, commits);
                }
                return true;
            }
            Later::Broken { name, .. } => {
                self.disturbed.insert(name.clone());
                return true;
            }
        };
        let Some(one) = self.transactions.get(name) else {
            return true;
        };
        let State::Preparing { commits } = one.state else {
            return true;
        };
        match at {
            Some(of) => {
                if !self.is_led(of) {
                    return false;
                }
                let lane = self.lane_mut(of);
                lane.entries.push(Entry::Control);
                let mut ended = vec![*uid];
                lane.forgotten.retain(|uid, by| {
                    let is_own = by == name;
                    ended.extend(is_own.then_some(*uid));
                    !is_own
                });
                for uid in ended {
                    lane.open.remove(&uid);
                    lane.decided.insert(uid, commits);
                }
            }
            None => {
                if one.offsets.keys().any(|(group, _)| self.is_loading(group, now)) {
                    return false;
                }
                let one = self.transactions.get_mut(name).expect("looked up above");
                let offsets = std::mem::take(&mut one.offsets);
                one.is_pending = false;
                if commits {
                    for (key, at) in &offsets {
                        let past = self.past.entry(key.clone()).or_default();
                        past.push(at.clone());
                        self.told.remove(key);
                        past.drain(..past.len().saturating_sub(PAST + 1));
                    }
                    self.committed.extend(offsets);
                }
            }
        }
        let one = self.transactions.get_mut(name).expect("looked up above");
        one.markers -= 1;
        if one.markers == 0 {
            one.state = State::Complete { commits };
            one.lanes.clear();
        }
        true
    }

    /// The transaction of a producer that may write now, begun if there is none.
    fn write(&mut self, by: &Identity, now: u64) -> Result<&mut Transactions, Response> {
        let uids = &mut self.uids;
        let one = self.transactions.get_mut(&by.name).ok_or(Response::Fenced)?;
        if one.epoch != by.epoch {
            return Err(Response::Fenced);
        }
        match one.state {
            State::Preparing { .. } => return Err(Response::Concurrent),
            State::Ongoing => {}
            State::Empty | State::Complete { .. } => {
                *uids += 1;
                one.uid = *uids;
                one.state = State::Ongoing;
                one.begun = now;
            }
        }
        Ok(one)
    }

    /// Answers a request that has arrived; `None` if nobody is there to answer.
    pub fn handle(&mut self, request: Request, now: u64) -> Option<Response> {
        self.now = now;
        let clock = Millis(i64::try_from(now / 1000).expect("small"));
        Some(match request {
            Request::Fetch { positions, max } => return self.fetch(&positions, max),
            Request::Ends { of, is_stable } => {
                let led = of.into_iter().filter(|of| self.is_led(of));
                let end = |lane: &Lane| if is_stable { lane.stable() } else { lane.end() };
                let ends: Vec<_> = led
                    .map(|of| {
                        let lane = self.lane(&of);
                        (of.clone(), lane.start, end(lane))
                    })
                    .collect();
                if ends.is_empty() {
                    return None;
                }
                Response::Ends(ends)
            }
            Request::Committed { group, of, is_stable } => {
                if !self.is_coordinated(&group) {
                    return None;
                }
                if self.is_loading(&group, now) {
                    let found = of.iter().map(|of| self.read_so_far(&group, of, now));
                    Response::Committed(found.collect())
                } else if is_stable && of.iter().any(|of| self.is_known_unstable(&group, of)) {
                    let under_way = self.transactions.iter().filter(|(_, one)| !one.offsets.is_empty());
                    let names: Vec<_> = under_way.map(|(name, one)| (name, one.state, &one.offsets)).collect();
                    tracing::debug!(?names, "offsets are pending");
                    Response::Unstable
                } else {
                    let told = of.iter().map(|of| match self.told.get(&(group.clone(), of.clone())) {
                        Some(told) => told.clone(),
                        None => self.committed(&group, of).cloned(),
                    });
                    Response::Committed(told.collect())
                }
            }
            Request::Init { name, timeout } => {
                if !self.is_coordinated(&name) {
                    return None;
                }
                self.init(name, timeout)
            }
            Request::Outcomes { name } => {
                if !self.is_coordinated(&name) {
                    return None;
                }
                let known = self.transactions.get(&name);
                let (outcomes, last) = known.map(|one| (one.outcomes.clone(), one.last)).unwrap_or_default();
                Response::Outcomes(outcomes, last)
            }
            Request::Produce { by, sequence, outputs } => return self.produce(&by, sequence, outputs, (now, clock)),
            Request::Offsets {
                by,
                group,
                member,
                generation,
                offsets,
            } => {
                if !self.is_coordinated(&by.name) || !self.is_coordinated(&group) || self.is_loading(&group, now) {
                    return None;
                }
                let current = self.groups.get(&group);
                // A generation below 0 is that of a client without a group: nobody checks it.
                let is_current = generation < 0 || current.is_some_and(|group| group.is_current(member, generation));
                match self.write(&by, now) {
                    Err(refused) => refused,
                    Ok(_) if !is_current => Response::Stale,
                    Ok(one) => {
                        one.offsets
                            .extend(offsets.into_iter().map(|(of, at)| ((group.clone(), of), at)));
                        Response::Done
                    }
                }
            }
            Request::End { by, commits } => {
                if !self.is_coordinated(&by.name) {
                    return None;
                }
                let one = self.transactions.get(&by.name)?;
                if one.epoch != by.epoch {
                    return Some(Response::Fenced);
                }
                match one.state {
                    State::Ongoing => {
                        self.prepare(&by.name, commits);
                        Response::Done
                    }
                    State::Preparing { commits: before } | State::Complete { commits: before } if before == commits => {
                        Response::Done
                    }
                    // An abort of nothing is one.
                    State::Empty if !commits => Response::Done,
                    _ => Response::Invalid,
                }
            }
            Request::Delete { of, before } => {
                if !self.is_led(&of) {
                    return None;
                }
                let lane = self.lane_mut(&of);
                if before <= 0 || before > lane.end() {
                    Response::Invalid
                } else {
                    lane.start = lane.start.max(before);
                    Response::Done
                }
            }
            membership => return self.member(membership, now),
        })
    }

    fn member(&mut self, request: Request, now: u64) -> Option<Response> {
        let name = match &request {
            Request::Join { group, .. }
            | Request::Heartbeat { group, .. }
            | Request::Release { group, .. }
            | Request::Leave { group, .. }
            | Request::Rank { group, .. } => group.clone(),
            other => panic!("no question of membership: {other:?}"),
        };
        if !self.is_coordinated(&name) || self.is_loading(&name, now) {
            return None;
        }
        let group = self.groups.entry(name.clone()).or_default();
        let response = match request {
            Request::Join {
                member,
                instance,
                inputs,
                deadline,
                ..
            } => Response::Synced(group.join(member, instance, &inputs, deadline)),
            // Of a generation that is not known here: the member is to join anew.
            Request::Heartbeat {
                member,
                generation,
                owned,
                ..
            } if !group.knows(member, generation, &owned) => Response::Stale,
            Request::Heartbeat { member, deadline, .. } => group
                .heartbeat(member, deadline)
                .map_or(Response::Stale, Response::Synced),
            Request::Release {
                member,
                generation,
                partitions,
                ..
            } => {
                group.release(member, generation, &partitions);
                Response::Done
            }
            Request::Leave { member, .. } => {
                group.leave(member);
                Response::Done
            }
            Request::Rank { member, .. } => match group.rank(member) {
                Some((index, members, assignment)) => Response::Rank(index, members, assignment),
                None => Response::Stale,
            },
            _ => Response::Invalid,
        };
        let earlier = self.earlier.entry(name).or_default();
        if earlier.last().is_none_or(|last| last.generation != group.generation) {
            earlier.push(group.clone());
            earlier.drain(..earlier.len().saturating_sub(GENERATIONS + 1));
        }
        Some(response)
    }

    fn init(&mut self, name: String, timeout: u64) -> Response {
        let Some(one) = self.transactions.get_mut(&name) else {
            let fresh = Transactions {
                epoch: 0,
                state: State::Empty,
                uid: 0,
                begun: 0,
                timeout,
                lanes: BTreeSet::new(),
                offsets: BTreeMap::new(),
                markers: 0,
                is_pending: false,
                sequence: 0,
                produced: BTreeMap::new(),
                outcomes: BTreeMap::new(),
                last: None,
            };
            self.transactions.insert(name, fresh);
            return Response::Epoch(0);
        };
        match one.state {
            State::Ongoing => {
                one.epoch += 1;
                self.give_up(&name);
                Response::Concurrent
            }
            State::Preparing { .. } => Response::Concurrent,
            State::Empty | State::Complete { .. } => {
                one.epoch += 1;
                one.state = State::Empty;
                one.timeout = timeout;
                one.sequence = 0;
                one.produced.clear();
                if !one.is_pending {
                    one.offsets.clear();
                }
                Response::Epoch(one.epoch)
            }
        }
    }

    fn produce(
        &mut self,
        by: &Identity,
        sequence: u64,
        outputs: Vec<Output>,
        (now, clock): (u64, Millis),
    ) -> Option<Response> {
        if !self.is_coordinated(&by.name) {
            return None;
        }
        if let Some(one) = self.transactions.get(&by.name)
            && one.epoch == by.epoch
            && sequence < one.sequence
        {
            // Seen before: answered as it was then.
            let before = one.produced.get(&sequence).cloned();
            return Some(before.map_or(Response::Invalid, Response::Produced));
        }
        let targets: Vec<TopicPartition> = outputs.iter().map(|output| self.target(output)).collect();
        if targets.iter().any(|of| !self.is_led(of)) {
            return None;
        }
        let uid = match self.write(by, now) {
            Err(refused) => return Some(refused),
            Ok(one) if sequence != one.sequence => return Some(Response::Invalid),
            Ok(one) => {
                one.sequence += 1;
                one.lanes.extend(targets);
                one.uid
            }
        };
        let written: Vec<(TopicPartition, i64)> = outputs
            .into_iter()
            .map(|output| self.append(output, clock, Some(uid)))
            .collect();
        if let Some(one) = self.transactions.get_mut(&by.name) {
            one.produced.insert(sequence, written.clone());
        }
        Some(Response::Produced(written))
    }

    /// The partition that a record goes to, as its key decides.
    fn target(&self, output: &Output) -> TopicPartition {
        let (topic, lanes) = self
            .topics
            .get_key_value(&output.topic)
            .unwrap_or_else(|| panic!("no such topic: {}", output.topic));
        let count = i32::try_from(lanes.len()).expect("few partitions");
        let partition = match (output.partition, &output.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, count),
            (None, None) => 0,
        };
        TopicPartition {
            topic: Arc::clone(topic),
            partition,
        }
    }

    fn fetch(&self, positions: &[(TopicPartition, i64)], max: usize) -> Option<Response> {
        let led: Vec<_> = positions.iter().filter(|(of, _)| self.is_led(of)).collect();
        if led.is_empty() {
            return None;
        }
        let mut left = max;
        let fetched = led.into_iter().map(|(of, position)| {
            let lane = self.lane(of);
            let stable = lane.stable();
            let mut found = Fetched {
                of: of.clone(),
                records: Vec::new(),
                next: *position,
                is_at_end: false,
                is_out_of_range: *position < lane.start || *position > lane.end(),
            };
            if found.is_out_of_range {
                return found;
            }
            let from = usize::try_from(*position).expect("not negative");
            for entry in lane.entries.iter().skip(from) {
                if found.next >= stable || left == 0 {
                    break;
                }
                if let Some((record, uid)) = entry.said()
                    && lane.is_visible(uid)
                {
                    found.records.push(record.clone());
                    left -= 1;
                }
                found.next += 1;
            }
            found.is_at_end = found.next >= stable;
            found
        });
        Some(Response::Fetched(fetched.collect()))
    }
}
