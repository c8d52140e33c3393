//! A simulated cluster: brokers, network, disks, clocks and processes on one thread, from one seed.
//!
//! Workers run unchanged as fibers on [`SimLog`], the third log beside Kafka's and the embedded one. Every request travels as an event
//! of virtual time: it can be lost, delayed behind its own copy, or answered too late. What is modelled and injected is listed in
//! `docs/GUARANTEES.md`. The clients follow what librdkafka does: a request without an answer is sent again after 250 ms, and either
//! copy may arrive at any time.

mod broker;
mod client;
mod disk;
mod fiber;
mod group;
mod random;
mod reader;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::{Broker, Later, NODES, Request, Response};
use client::Client;
use fiber::Fiber;
use stream::{Committed, Millis, Output, Record, TopicPartition};

pub use broker::Decided;
pub use client::{Member, SimLog};
pub use disk::{Disk, SimDb};
pub use random::Random;
pub use reader::SimReader;

/// Virtual time, in microseconds.
pub type Micros = u64;

/// Where virtual time begins on the wall: 1 November 2026.
pub const EPOCH: i64 = 1_793_491_200_000;

/// How the network behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Requests and answers lost, of a thousand.
    pub lost: u64,
    /// Requests and answers that take up to `late` longer, of a thousand.
    pub delayed: u64,
    /// How much longer those take at most.
    pub late: Micros,
    /// How long all others take at most.
    pub latency: Micros,
}

impl Weather {
    /// Nothing is lost, and everything takes as long.
    pub const CALM: Self = Self {
        lost: 0,
        delayed: 0,
        late: 0,
        latency: 400,
    };
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`; it starts again after this long.
    Kill(usize, Micros),
    /// The same, and its disk is lost.
    KillAndLoseDisk(usize, Micros),
    /// The same, and its disk is what it was at the last [`Fault::KeepDisk`].
    KillAndOldDisk(usize, Micros),
    /// The same, and of each of its databases a file is half written: the last that was added, which is not there then, or one without
    /// which it cannot be read, so that it begins as an empty one.
    KillAndDamage(usize, Micros),
    /// A copy of the disk is put aside.
    KeepDisk(usize),
    /// Told to stop, as by SIGTERM; it starts again.
    Stop(usize, Micros),
    /// Stands still, as by SIGSTOP, and goes on.
    Pause(usize, Micros),
    /// Nothing that it sends arrives, nor what is sent to it.
    Isolate(usize, Micros),
    /// The same, from the next time on that it sends records; its producer's connection comes back later than its consumer's.
    IsolateAtSend(usize, Micros),
    /// From the next time on that it asks for its transaction to be committed, no answer to its producer comes back for this long, and
    /// none about committed offsets for twice as long. What it asks for is done.
    DeafAtCommit(usize, Micros),
    /// A broker does not answer: leader, coordinator or both, for whatever it has. Once it does again, it tells for a moment what its
    /// groups had committed before, and every other time something of it until they commit again.
    NodeDown(usize, Micros),
    /// The same; soon after, another broker leads and coordinates what it had, and goes on to when it is back.
    NodeLost(usize, Micros),
    /// Nobody leads this partition for a while.
    Leaderless(TopicPartition, Micros),
    /// The network is bad for a while.
    Storm(Weather, Micros),
    /// Writes to the disk fail; the process ends, and starts again until they go through.
    DiskFull(usize, Micros),
    /// A writer of its own takes this process's producer name, as a second process in its slot would.
    Hijack(usize),
    /// The next so many transactions whose producer is not heard end without a marker anywhere, as those of Kafka 4.3 do while a
    /// partition has no leader (KAFKA-20734).
    Forget(usize),
    /// The next transaction that is ended is completed after this long, without a marker anywhere. Its producer is answered at once, and sees
    /// its connections break.
    LoseMarkers(Micros),
    /// If this process was put out of its group, the group's coordinator takes it for what it was when that one was in it.
    ForgetSince(usize),
    /// The coordinator of this process's group takes it for what it was so many generations ago.
    TakeBack(usize, usize),
    /// Old records of compacted topics go.
    Compact,
    /// The next time that this process asks for its changelog to be trimmed it is killed, its disk is what it was at the last
    /// [`Fault::KeepDisk`], and the log is trimmed when its successor has perhaps begun to read it.
    KillAtTrim(usize),
}

enum Event {
    Arrive {
        slot: u64,
        request: Request,
        from: usize,
    },
    Answer {
        slot: u64,
        response: Response,
        to: usize,
    },
    /// A fiber goes on, if it still waits for that.
    Wake {
        fiber: usize,
        ticket: u64,
    },
    Heartbeat {
        client: u64,
    },
    /// What the group said reaches a client.
    Hear {
        client: u64,
        response: Response,
    },
    Later(Later),
    Sweep,
    Append(Output),
    Fault(Fault),
    Calm,
    NodeUp(usize),
    Elect(usize),
}

/// A process: one worker, restarted for ever.
#[derive(Debug, Default)]
struct Process {
    /// Raised by each death: calls of an earlier life fail.
    life: u64,
    paused_until: Micros,
    isolated_until: Micros,
    full_until: Micros,
    /// Told to stop.
    stop: Option<Arc<std::sync::atomic::AtomicBool>>,
    /// How long it stays away after it has ended.
    away: Micros,
    disk: Disk,
    kept: Disk,
    /// The ticket that its fiber waits for.
    ticket: u64,
    /// Milliseconds that its clock is ahead.
    skew: i64,
    /// It is killed when it asks for a trim.
    is_doomed: bool,
    /// It is isolated for this long when it sends records.
    isolated_at_send: Option<Micros>,
    /// Its producer's connection is cut.
    muted_until: Micros,
    /// It is deaf for this long when it asks for a commit.
    deaf_at_commit: Option<Micros>,
    /// Nothing that its producer is answered comes back.
    deaf_until: Micros,
    /// Nothing that it is told of committed offsets comes back.
    unaware_until: Micros,
    /// It closes what was committed.
    closes: bool,
}

impl Process {
    /// Whether the answer to this request is lost because of what went wrong with its sender.
    fn misses(&self, request: &Request, now: Micros) -> bool {
        self.isolated_until > now
            || (request.is_of_producer() && self.deaf_until > now)
            || (matches!(request, Request::Committed { .. }) && self.unaware_until > now)
    }
}

struct Slot {
    fiber: usize,
    response: Option<Response>,
}

pub(crate) struct World {
    now: Micros,
    number: u64,
    events: BTreeMap<(Micros, u64), Event>,
    random: Random,
    weather: Weather,
    /// Storms that last.
    storms: u32,
    broker: Broker,
    processes: Vec<Process>,
    slots: BTreeMap<u64, Slot>,
    clients: BTreeMap<u64, Client>,
    sessions: Micros,
    transactions: Micros,
    /// Clients that join again by themselves once they are put out, of a thousand.
    rejoining: u64,
    /// Trims that were asked for: who, of what, to where.
    trims: Vec<(usize, TopicPartition, i64)>,
}

impl World {
    fn at(&mut self, when: Micros, event: Event) {
        self.number += 1;
        self.events.insert((when, self.number), event);
    }

    fn ticket(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// When a message arrives that is sent now; `None` if it is lost.
    fn travel(&mut self) -> Option<Micros> {
        let weather = self.weather;
        if self.random.chance(weather.lost) {
            return None;
        }
        let mut takes = self.random.between(weather.latency / 4, weather.latency + 1);
        if self.random.chance(weather.delayed) {
            takes += self.random.between(0, weather.late + 1);
        }
        Some(self.now + takes.max(1))
    }

    fn send(&mut self, slot: u64, request: Request, from: usize) {
        let process = &mut self.processes[from];
        if matches!(request, Request::Produce { .. })
            && let Some(long) = process.isolated_at_send.take()
        {
            process.isolated_until = self.now + long;
            process.muted_until = process.isolated_until + 1_500_000;
        }
        if matches!(request, Request::End { commits: true, .. })
            && let Some(long) = process.deaf_at_commit.take()
        {
            process.deaf_until = self.now + long;
            process.unaware_until = self.now + 2 * long;
        }
        if process.isolated_until > self.now || (request.is_of_producer() && process.muted_until > self.now) {
            return;
        }
        if let Some(mut when) = self.travel() {
            // Brokers may take their time to delete: a trim can fall into the restore of whoever comes next.
            if matches!(request, Request::Delete { .. }) && self.random.chance(400) {
                when += self.random.between(300_000, 4_000_000);
            }
            self.at(when, Event::Arrive { slot, request, from });
        }
    }

    /// Schedules what the brokers have to do later.
    fn schedule(&mut self) {
        for later in std::mem::take(&mut self.broker.later) {
            // Markers are not lost between brokers, but each takes its own time.
            let takes = if let Later::Forgotten { takes, .. } | Later::Broken { takes, .. } = &later {
                *takes
            } else if self.random.chance(50) {
                self.random.between(1000, 400_000)
            } else {
                self.random.between(200, 6000)
            };
            let when = self.now + takes;
            self.at(when, Event::Later(later));
        }
    }
}

/// A cluster with its processes.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
}

/// How a simulated process begins: it is given its own handle, and whether it is to stop.
pub type Body = Box<dyn Fn(&Host, &Arc<std::sync::atomic::AtomicBool>) -> String>;

/// A process to be run.
pub struct Job {
    /// What it does.
    pub body: Body,
    /// Milliseconds that its clock is ahead.
    pub skew: i64,
    /// When it begins for the first time.
    pub begins: Micros,
}

/// What the simulation looks at after every step; an error ends it.
pub trait Watch {
    /// A transaction was decided to be committed.
    ///
    /// # Errors
    /// What is wrong with it.
    fn decided(&mut self, sim: &Sim, decided: &Decided) -> Result<(), String>;

    /// A process asks for its changelog to be trimmed.
    ///
    /// # Errors
    /// Why it must not have.
    fn trimmed(&mut self, sim: &Sim, process: usize, of: &TopicPartition, before: i64) -> Result<(), String>;

    /// A process ended by itself, with what it said; it starts again unless this is an error.
    ///
    /// # Errors
    /// Why it must not have.
    fn ended(&mut self, process: usize, said: &str) -> Result<(), String>;

    /// A step was taken.
    ///
    /// # Errors
    /// What does not hold.
    fn step(&mut self, sim: &Sim) -> Result<(), String>;
}

/// How often brokers look at their clocks.
const SWEEP: Micros = 250_000;
/// How often a member says that it lives.
const HEARTBEAT: Micros = 300_000;

impl Sim {
    /// Brokers without topics, after which everything goes by `seed`.
    #[must_use]
    pub fn new(seed: u64, sessions: Duration, transactions: Duration) -> Self {
        let micros = |span: Duration| Micros::try_from(span.as_micros()).expect("short");
        let mut world = World {
            now: 0,
            number: 0,
            events: BTreeMap::new(),
            random: Random::new(seed),
            weather: Weather::CALM,
            storms: 0,
            broker: Broker::default(),
            processes: Vec::new(),
            slots: BTreeMap::new(),
            clients: BTreeMap::new(),
            sessions: micros(sessions),
            transactions: micros(transactions),
            rejoining: 300,
            trims: Vec::new(),
        };
        world.at(SWEEP, Event::Sweep);
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a topic.
    pub fn create(&self, topic: &str, partitions: usize) {
        self.lock().broker.create(topic, partitions);
    }

    /// Lets a record reach a topic at that time, as its sender's own.
    pub fn append_at(&self, when: Micros, output: Output) {
        self.lock().at(when, Event::Append(output));
    }

    /// Lets something go wrong at that time.
    pub fn fault_at(&self, when: Micros, fault: Fault) {
        self.lock().at(when, Event::Fault(fault));
    }

    /// So many clients of a thousand join again by themselves once they are put out, so that it can pass unnoticed.
    pub fn let_rejoin(&self, permille: u64) {
        self.lock().rejoining = permille;
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.lock().now
    }

    /// What a `read_committed` reader sees of a topic, partition by partition.
    #[must_use]
    pub fn visible(&self, topic: &str) -> Vec<Record> {
        self.lock().broker.visible(topic)
    }

    /// The times of the records that a `read_committed` reader sees of a partition, by offset.
    #[must_use]
    pub fn times(&self, of: &TopicPartition) -> Vec<(i64, Millis)> {
        self.lock().broker.times(of)
    }

    /// What a group has committed of a partition.
    #[must_use]
    pub fn committed(&self, group: &str, of: &TopicPartition) -> Option<Committed> {
        self.lock().broker.committed(group, of).cloned()
    }

    /// The next offset of a partition that will be written.
    #[must_use]
    pub fn end(&self, of: &TopicPartition) -> i64 {
        self.lock().broker.end(of)
    }

    /// The first offset of a partition that is still there.
    #[must_use]
    pub fn start(&self, of: &TopicPartition) -> i64 {
        self.lock().broker.start(of)
    }

    /// Whether no transaction is under way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.lock().broker.is_quiet()
    }

    /// The disk of a process.
    #[must_use]
    pub fn disk(&self, process: usize) -> Disk {
        self.lock().processes[process].disk.clone()
    }

    /// Runs processes until `until`, or until something is wrong.
    ///
    /// # Errors
    /// What `watch` found, with the time.
    pub fn run(&self, jobs: Vec<Job>, until: Micros, watch: &mut dyn Watch) -> Result<(), String> {
        let mut fibers = Vec::new();
        let ended: Arc<Mutex<Vec<(usize, String)>>> = Arc::default();
        for (index, Job { body, skew, begins }) in jobs.into_iter().enumerate() {
            let host = Host {
                sim: self.clone(),
                process: index,
            };
            {
                let mut world = self.lock();
                world.processes.push(Process {
                    skew,
                    ..Process::default()
                });
                let ticket = world.ticket();
                world.processes[index].ticket = ticket;
                // They do not start in the same instant.
                let when = begins + world.random.between(1, 20_000);
                world.at(when, Event::Wake { fiber: index, ticket });
            }
            let ended = Arc::clone(&ended);
            fibers.push(Fiber::new(move || live(&host, &body, &ended)));
        }
        let failed = |sim: &Self, why: String| format!("at {} ms: {why}", sim.now() / 1000);
        loop {
            let Some(wakes) = self.step(until) else { return Ok(()) };
            for fiber in wakes {
                let _entered = tracing::info_span!("process", number = fiber, millis = self.now() / 1000).entered();
                fibers[fiber].resume();
            }
            let decided = std::mem::take(&mut self.lock().broker.decided);
            for one in &decided {
                watch.decided(self, one).map_err(|why| failed(self, why))?;
            }
            let trims = std::mem::take(&mut self.lock().trims);
            for (process, of, before) in trims {
                watch
                    .trimmed(self, process, &of, before)
                    .map_err(|why| failed(self, why))?;
            }
            let said = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
            for (process, said) in said {
                watch.ended(process, &said).map_err(|why| failed(self, why))?;
            }
            watch.step(self).map_err(|why| failed(self, why))?;
        }
    }

    /// Takes the next event; returns the fibers that go on because of it. `None` at the end.
    fn step(&self, until: Micros) -> Option<Vec<usize>> {
        let mut world = self.lock();
        let ((when, _), event) = world.events.pop_first()?;
        if when > until {
            return None;
        }
        world.now = when;
        let mut wakes = Vec::new();
        match event {
            Event::Arrive { slot, request, from } => {
                // What was sent arrives, whatever has become of the sender.
                let misses = world.processes[from].misses(&request, when);
                let response = world.broker.handle(request, when);
                world.schedule();
                if let Some(response) = response
                    && !misses
                    && let Some(back) = world.travel()
                {
                    world.at(
                        back,
                        Event::Answer {
                            slot,
                            response,
                            to: from,
                        },
                    );
                }
            }
            Event::Answer { slot, response, to } => {
                let paused = world.processes[to].paused_until;
                if paused > when {
                    world.at(paused, Event::Answer { slot, response, to });
                } else if let Some(waits) = world.slots.get_mut(&slot)
                    && waits.response.is_none()
                {
                    waits.response = Some(response);
                    wakes.push(waits.fiber);
                }
            }
            Event::Wake { fiber, ticket } => {
                let paused = world.processes[fiber].paused_until;
                if paused > when {
                    world.at(paused, Event::Wake { fiber, ticket });
                } else if world.processes[fiber].ticket == ticket {
                    wakes.push(fiber);
                }
            }
            Event::Heartbeat { client } => world.heartbeat(client),
            Event::Hear { client, response } => world.hear(client, response),
            Event::Later(later) => {
                if !world.broker.mark(&later, when) {
                    world.at(when + 50_000, Event::Later(later));
                }
            }
            Event::Sweep => {
                world.broker.sweep(when);
                world.schedule();
                world.at(when + SWEEP, Event::Sweep);
            }
            Event::Append(output) => {
                let clock = Millis(EPOCH + i64::try_from(when / 1000).expect("small"));
                world.broker.append(output, clock, None);
            }
            Event::Fault(fault) => wakes.extend(world.fault(fault)),
            Event::Calm => {
                world.storms -= 1;
                if world.storms == 0 {
                    world.weather = Weather::CALM;
                }
            }
            Event::NodeUp(node) => {
                let seats = world.broker.node_up(node, when);
                world.reads_in_part(&seats);
            }
            Event::Elect(node) => {
                let seats = world.broker.elect(node, when);
                world.reads_in_part(&seats);
            }
        }
        Some(wakes)
    }
}

impl World {
    /// Does what goes wrong; returns a fiber that must notice at once.
    fn fault(&mut self, fault: Fault) -> Option<usize> {
        if let Fault::Kill(process, _)
        | Fault::KillAndLoseDisk(process, _)
        | Fault::KillAndOldDisk(process, _)
        | Fault::KillAndDamage(process, _)
        | Fault::Hijack(process) = fault
            && self.processes[process].closes
        {
            // What nobody could mend waits (`docs/GUARANTEES.md`).
            self.at(self.now + 100_000, Event::Fault(fault));
            return None;
        }
        let now = self.now;
        tracing::info!(millis = now / 1000, ?fault, "fault");
        match fault {
            Fault::Kill(process, away) => return Some(self.kill(process, away)),
            Fault::KillAndLoseDisk(process, away) => {
                let fiber = self.kill(process, away);
                self.processes[process].disk.lose();
                return Some(fiber);
            }
            Fault::KillAndOldDisk(process, away) => {
                let fiber = self.kill(process, away);
                let kept = self.processes[process].kept.copy();
                self.processes[process].disk.become_copy_of(&kept);
                return Some(fiber);
            }
            Fault::KillAndDamage(process, away) => {
                let fiber = self.kill(process, away);
                let disk = self.processes[process].disk.clone();
                disk.damage(|| self.random.chance(500));
                return Some(fiber);
            }
            Fault::KeepDisk(process) => self.processes[process].kept = self.processes[process].disk.copy(),
            Fault::Stop(process, away) => {
                let one = &mut self.processes[process];
                one.away = away;
                if let Some(stop) = &one.stop {
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                }
            }
            Fault::Pause(process, long) => self.processes[process].paused_until = now + long,
            Fault::Isolate(process, long) => self.processes[process].isolated_until = now + long,
            Fault::NodeDown(node, long) => {
                self.broker.down[node % NODES] = true;
                self.at(now + long, Event::NodeUp(node % NODES));
            }
            Fault::NodeLost(node, long) => {
                let node = node % NODES;
                self.broker.down[node] = true;
                self.at(now + long, Event::NodeUp(node));
                let election = self.random.between(50_000, 500_000);
                self.at(now + election, Event::Elect(node));
            }
            Fault::Leaderless(of, long) => self.broker.unseat(&of, now + long),
            Fault::Storm(weather, long) => {
                self.weather = weather;
                self.storms += 1;
                self.at(now + long, Event::Calm);
            }
            Fault::DiskFull(process, long) => self.processes[process].full_until = now + long,
            Fault::Forget(transactions) => self.broker.forgets += transactions,
            Fault::LoseMarkers(takes) => self.broker.loses = Some(takes),
            Fault::ForgetSince(process) => {
                let deadline = now + self.sessions;
                let clients = self.clients.iter().filter(|(_, client)| client.process == process);
                for (group, member) in clients.map(|(_, client)| client.member()) {
                    self.broker.forget_since(group, member, deadline);
                }
            }
            Fault::TakeBack(process, generations) => {
                let deadline = now + self.sessions;
                let clients = self.clients.values().filter(|client| client.process == process);
                let groups: BTreeSet<String> = clients.map(|client| client.member().0.to_owned()).collect();
                for group in groups {
                    self.broker.forget(&group, generations, deadline);
                }
            }
            Fault::Hijack(process) => self.hijack(process),
            Fault::IsolateAtSend(process, long) => self.processes[process].isolated_at_send = Some(long),
            Fault::DeafAtCommit(process, long) => self.processes[process].deaf_at_commit = Some(long),
            Fault::KillAtTrim(process) => self.processes[process].is_doomed = true,
            Fault::Compact => {
                self.broker.compact("journey.patterns");
                self.broker.compact("journey.profiles");
            }
        }
        None
    }

    /// Every other coordinator that begins to read its log reads it in part.
    fn reads_in_part(&mut self, seats: &[usize]) {
        if self.random.chance(500) {
            let commits = 1 + self.random.index(8);
            let deadline = self.now + self.sessions;
            self.broker.read_in_part(seats, commits, deadline);
        }
    }

    fn kill(&mut self, process: usize, away: Micros) -> usize {
        let one = &mut self.processes[process];
        one.life += 1;
        one.away = away;
        one.paused_until = 0;
        // Its clients fall silent; brokers learn of it by their clocks.
        self.clients.retain(|_, client| client.process != process);
        process
    }
}

/// A process for ever: it begins, ends, stays away for a while, and begins anew.
fn live(host: &Host, body: &Body, ended: &Mutex<Vec<(usize, String)>>) {
    loop {
        let stop = Arc::<std::sync::atomic::AtomicBool>::default();
        let life = {
            let mut world = host.sim.lock();
            let one = &mut world.processes[host.process];
            one.stop = Some(Arc::clone(&stop));
            one.away = 500_000;
            one.life
        };
        tracing::info!(millis = host.sim.now() / 1000, process = host.process, "process begins");
        let said = body(host, &stop);
        tracing::info!(
            millis = host.sim.now() / 1000,
            process = host.process,
            said,
            "process ends"
        );
        let (away, was_killed) = {
            let mut world = host.sim.lock();
            let was_killed = world.processes[host.process].life != life;
            world.clients.retain(|_, client| client.process != host.process);
            (world.processes[host.process].away, was_killed)
        };
        if !was_killed {
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push((host.process, said));
        }
        host.rest(away);
    }
}

/// A process's view of the machine that it runs on.
#[derive(Clone)]
pub struct Host {
    sim: Sim,
    process: usize,
}

impl Host {
    /// The cluster.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// Its own number.
    #[must_use]
    pub fn process(&self) -> usize {
        self.process
    }

    /// The time on its wall, which may be wrong.
    #[must_use]
    pub fn wall(&self) -> Millis {
        let world = self.sim.lock();
        let since = i64::try_from(world.now / 1000).expect("small");
        Millis(EPOCH + since + world.processes[self.process].skew)
    }

    /// Time since the beginning.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        Duration::from_micros(self.sim.lock().now)
    }

    /// Gives way for a while.
    pub fn sleep(&self, time: Duration) {
        self.rest(Micros::try_from(time.as_micros()).expect("short"));
    }

    fn rest(&self, time: Micros) {
        {
            let mut world = self.sim.lock();
            let ticket = world.ticket();
            world.processes[self.process].ticket = ticket;
            let when = world.now + time.max(1);
            let fiber = self.process;
            world.at(when, Event::Wake { fiber, ticket });
        }
        fiber::wait();
    }

    fn life(&self) -> u64 {
        self.sim.lock().processes[self.process].life
    }

    /// Sends a request, again and again until something comes back or `patience` is over; `None` then, or if the process dies.
    fn ask(&self, request: &Request, again: Micros, patience: Micros) -> Option<Response> {
        self.ask_while(|_| true, request, again, patience)
    }

    /// The same, and it is not sent again once `goes_on` says no.
    fn ask_while(
        &self,
        goes_on: impl Fn(&Broker) -> bool,
        request: &Request,
        again: Micros,
        patience: Micros,
    ) -> Option<Response> {
        let life = self.life();
        let (slot, until) = {
            let mut world = self.sim.lock();
            let slot = world.ticket();
            let fiber = self.process;
            world.slots.insert(slot, Slot { fiber, response: None });
            (slot, world.now + patience)
        };
        let answer = loop {
            {
                let mut world = self.sim.lock();
                world.send(slot, request.clone(), self.process);
                let ticket = world.ticket();
                world.processes[self.process].ticket = ticket;
                let when = (world.now + again).min(until);
                let fiber = self.process;
                world.at(when, Event::Wake { fiber, ticket });
            }
            fiber::wait();
            let mut world = self.sim.lock();
            if world.processes[self.process].life != life {
                break None;
            }
            if let Some(response) = world.slots.get_mut(&slot).and_then(|slot| slot.response.take()) {
                break Some(response);
            }
            if world.now >= until || !goes_on(&world.broker) {
                break None;
            }
        };
        self.sim.lock().slots.remove(&slot);
        answer
    }
}
