//! Does to processes and brokers what a schedule says, and measures how long the run needs to recover.

use std::{
    fs,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use testkit::cluster::{Cluster, Coordinated};

use crate::{
    fleet::{ENDING, Fleet},
    load::Shared,
    schedule::{Fault, KINDS, Kind},
    script::RAWS,
    watch::{Counts, Watch},
};

/// A run that does not recover within this time hangs.
const RECOVERY: Duration = Duration::from_secs(150);

/// A fault that was done.
pub struct Done {
    pub fault: Fault,
    pub target: String,
    /// Since the run began.
    pub at: Duration,
    /// From its first act to the moment nothing kept the run back any more.
    pub lasted: Duration,
    /// From that moment until everything sent before it had come out; `None` where the next fault came first.
    pub recovery: Option<Duration>,
}

/// What a run's faults act on.
pub struct Injector<'a> {
    pub cluster: &'a mut Cluster,
    pub fleet: &'a mut Fleet,
    pub watch: &'a mut Watch,
    pub shared: Arc<Shared>,
    pub disk: Option<Disk>,
    pub begun: Instant,
    pub stuck: Vec<String>,
}

impl Injector<'_> {
    /// The kinds that are possible here, and why the others are not.
    pub fn possible(&self, disk: Result<(), String>) -> (Vec<Kind>, Vec<String>) {
        let mut kinds = KINDS.to_vec();
        let mut skipped = Vec::new();
        if let Err(why) = disk {
            kinds.retain(|kind| *kind != Kind::DiskFull);
            skipped.push(format!("{}: {why}", Kind::DiskFull.name()));
        }
        if self.cluster.brokers() == 1 {
            // One broker has every role: whichever is aimed at, it is this one.
            kinds.retain(|kind| {
                !matches!(
                    kind,
                    Kind::KillController | Kind::KillGroupCoordinator | Kind::KillTransactionCoordinator
                )
            });
        }
        (kinds, skipped)
    }

    /// Whether the run is lost already, so that going on tells nothing more.
    pub fn is_lost(&self) -> bool {
        !self.fleet.halted.is_empty() || !self.stuck.is_empty()
    }

    /// Lets time pass, with supervisor and watch at work.
    pub fn pass(&mut self, millis: u64) {
        let until = Instant::now() + Duration::from_millis(millis);
        while Instant::now() < until {
            self.look();
        }
    }

    /// Waits until something comes out.
    pub fn flow(&mut self) {
        let began = Instant::now();
        while self.look().carts == 0 && !self.is_lost() {
            if began.elapsed() > RECOVERY {
                self.stuck.push("nothing ever came out".to_owned());
            }
        }
    }

    /// Waits until all was sent and has come out, or nothing moves for so long; returns when all was sent, since the run began.
    pub fn drain(&mut self, silence: Duration) -> Option<Duration> {
        let (mut moved, mut before, mut sent) = (Instant::now(), (Counts::default(), 0), None);
        while moved.elapsed() < silence && self.fleet.halted.is_empty() {
            let counts = self.look();
            let goal = Counts {
                events: self.shared.sent.load(Ordering::Relaxed),
                carts: self.shared.carts.load(Ordering::Relaxed),
                quiets: self.shared.quiets.load(Ordering::Relaxed),
            };
            if (counts, goal.events) != before {
                before = (counts, goal.events);
                moved = Instant::now();
            }
            if self.shared.done.load(Ordering::Relaxed) {
                sent = sent.or_else(|| Some(self.begun.elapsed()));
                let all = counts.events >= goal.events && counts.carts >= goal.carts && counts.quiets >= goal.quiets;
                if all {
                    return sent;
                }
            }
        }
        self.fleet.keep_metrics();
        self.stuck.push(format!("outputs came to a standstill: {before:?}"));
        sent
    }

    fn look(&mut self) -> Counts {
        self.fleet.tend();
        self.watch.look()
    }

    /// Does a fault, and waits for the recovery unless the next one is to overlap.
    pub fn inject(&mut self, fault: Fault) -> Done {
        self.pass(fault.before);
        let began = Instant::now();
        let at = began - self.begun;
        let target = self.act(&fault);
        let lasted = began.elapsed();
        let recovery = if fault.overlaps { None } else { self.recover(&fault) };
        eprintln!(
            "{:7.1} s  {} ({target}), lasted {:.1} s, {}",
            at.as_secs_f64(),
            fault.kind.name(),
            lasted.as_secs_f64(),
            recovery.map_or("overlapped by the next".to_owned(), |time| format!(
                "recovered in {:.1} s",
                time.as_secs_f64()
            ))
        );
        Done {
            fault,
            target,
            at,
            lasted,
            recovery,
        }
    }

    /// Waits until everything that was sent up to now has come out, and the brokers are whole.
    fn recover(&mut self, fault: &Fault) -> Option<Duration> {
        let goal = Counts {
            events: self.shared.sent.load(Ordering::Relaxed),
            carts: self.shared.carts.load(Ordering::Relaxed),
            quiets: 0,
        };
        let began = Instant::now();
        let mut recovered = None;
        while began.elapsed() < RECOVERY && !self.is_lost() {
            let counts = self.look();
            if recovered.is_none() && counts.events >= goal.events && counts.carts >= goal.carts {
                recovered = Some(began.elapsed());
            }
            // Two brokers away at once would be another fault.
            if recovered.is_some() && self.cluster.is_whole() {
                return recovered;
            }
        }
        if !self.is_lost() {
            let counts = self.look();
            self.fleet.keep_metrics();
            self.stuck.push(format!(
                "not recovered in time: fault={} wanted={goal:?} found={counts:?} whole={}",
                fault.kind.name(),
                self.cluster.is_whole()
            ));
        }
        None
    }

    fn act(&mut self, fault: &Fault) -> String {
        match fault.kind {
            Kind::KillIntake => self.down("intake", fault, |_| {}),
            Kind::KillMonitor => self.down("monitor", fault, |_| {}),
            Kind::StateLost => self.down("monitor", fault, |fleet| fleet.lose_disk()),
            Kind::StateDamaged => {
                let mut cut = Vec::new();
                let name = self.down("monitor", fault, |fleet| cut = fleet.damage_disk(fault.target >> 16));
                format!("{name}: {}", cut.join(" "))
            }
            Kind::TermIntake => self.term("intake", fault),
            Kind::TermMonitor => self.term("monitor", fault),
            Kind::StopShort | Kind::StopTransaction | Kind::StopSession => self.stop(fault),
            Kind::Twin => self.twin(fault),
            Kind::StateOld => self.old_state(fault),
            Kind::Storm => self.storm(fault),
            Kind::DiskFull => self.fill(fault),
            Kind::KillLeader | Kind::KillController | Kind::KillGroupCoordinator | Kind::KillTransactionCoordinator => {
                let (broker, role) = self.aim(fault);
                self.cluster.kill(broker);
                self.pass(fault.lasts);
                self.start_brokers(vec![broker]);
                format!("broker {broker}, {role}")
            }
            Kind::StopBroker => {
                let (broker, role) = self.aim(fault);
                let done = self.cluster.stop(broker);
                self.pass(fault.lasts);
                let done = done.and_then(|()| self.cluster.go_on(broker));
                self.stuck.extend(done.err());
                format!("broker {broker}, {role}")
            }
            Kind::BounceBrokers => {
                let all: Vec<usize> = (0..self.cluster.brokers()).collect();
                all.iter().for_each(|broker| self.cluster.kill(*broker));
                self.pass(fault.lasts);
                self.start_brokers(all);
                "all".to_owned()
            }
        }
    }

    fn member(&self, service: &str, fault: &Fault) -> usize {
        let of = self.fleet.of(service);
        of[(fault.target % of.len() as u64) as usize]
    }

    fn any(&self, fault: &Fault) -> usize {
        let service = if fault.target & 1024 == 0 { "intake" } else { "monitor" };
        self.member(service, fault)
    }

    fn name(&self, index: usize) -> String {
        let member = &self.fleet.members[index];
        format!("{} {}", member.service, member.instance)
    }

    /// Kills a process, does something to it while it is dead, and starts it again.
    fn down(&mut self, service: &str, fault: &Fault, meanwhile: impl FnOnce(&crate::fleet::Member)) -> String {
        let index = self.member(service, fault);
        self.fleet.members[index].held = true;
        self.fleet.members[index].kill();
        meanwhile(&self.fleet.members[index]);
        self.pass(fault.lasts);
        self.start(index);
        self.name(index)
    }

    fn start(&mut self, index: usize) {
        self.fleet.restart(index);
        self.fleet.members[index].held = false;
    }

    fn term(&mut self, service: &str, fault: &Fault) -> String {
        let index = self.member(service, fault);
        self.fleet.members[index].held = true;
        self.fleet.members[index].signal(libc::SIGTERM);
        let code = self.fleet.members[index].wait(Instant::now() + ENDING);
        if code != Some(0) {
            let reason = format!("{service} asked to end, exit {code:?}");
            *self.fleet.restarts.entry(reason).or_default() += 1;
        }
        self.pass(fault.lasts);
        self.start(index);
        self.name(index)
    }

    fn stop(&mut self, fault: &Fault) -> String {
        let index = self.any(fault);
        self.fleet.members[index].signal(libc::SIGSTOP);
        self.pass(fault.lasts);
        self.fleet.members[index].signal(libc::SIGCONT);
        self.name(index)
    }

    fn twin(&mut self, fault: &Fault) -> String {
        let index = self.any(fault);
        let (service, instance) = (
            self.fleet.members[index].service,
            self.fleet.members[index].instance.clone(),
        );
        let mut twin = self.fleet.extra(service, Some(&instance));
        self.pass(fault.lasts);
        twin.kill();
        self.name(index)
    }

    fn old_state(&mut self, fault: &Fault) -> String {
        let index = self.member("monitor", fault);
        let (dir, copy) = {
            let member = &self.fleet.members[index];
            (member.dir.clone(), member.dir.with_extension("copy"))
        };
        self.fleet.members[index].held = true;
        self.fleet.members[index].kill();
        let copied = copy_folder(&dir, &copy);
        self.start(index);
        self.pass(fault.lasts);
        self.fleet.members[index].held = true;
        self.fleet.members[index].kill();
        self.fleet.members[index].lose_disk();
        let back = copied.and_then(|()| copy_folder(&copy, &dir));
        self.stuck
            .extend(back.err().map(|error| format!("state cannot be copied: {error}")));
        // The copy is of this fault alone.
        let _ = fs::remove_dir_all(&copy);
        self.start(index);
        self.name(index)
    }

    fn storm(&mut self, fault: &Fault) -> String {
        let index = self.any(fault);
        let service = self.fleet.members[index].service;
        let members = 3 + fault.target % 3;
        for turn in 0..members {
            let mut extra = self.fleet.extra(service, None);
            self.pass(700 + fault.lasts / members);
            if turn % 2 == 0 {
                extra.signal(libc::SIGTERM);
                self.pass(500);
            }
            extra.kill();
        }
        format!("{members} times {service}")
    }

    fn fill(&mut self, fault: &Fault) -> String {
        let Some(disk) = &self.disk else {
            return "none".to_owned();
        };
        let filled = disk.fill();
        self.pass(fault.lasts);
        let Some(disk) = &self.disk else {
            return "none".to_owned();
        };
        disk.free();
        match filled {
            Ok(bytes) => format!("{} MiB", bytes >> 20),
            Err(error) => {
                self.stuck.push(format!("disk cannot be filled: {error}"));
                "none".to_owned()
            }
        }
    }

    /// The broker that has the role now; any where nobody has it.
    fn aim(&self, fault: &Fault) -> (usize, String) {
        let any = (fault.target % self.cluster.brokers() as u64) as usize;
        let index = self.any(fault);
        let member = &self.fleet.members[index];
        let (found, role) = match fault.kind {
            Kind::KillController => (self.cluster.controller(), "controller".to_owned()),
            Kind::KillGroupCoordinator => {
                let group = format!("waymark-{}", member.service);
                let found = self.cluster.coordinator(Coordinated::Group(&group));
                (found, format!("coordinator of {group}"))
            }
            Kind::KillTransactionCoordinator => {
                let id = format!("{}-{}-0", member.service, member.instance);
                let found = self.cluster.coordinator(Coordinated::Transaction(&id));
                (found, format!("coordinator of {id}"))
            }
            _ => {
                let topic = match fault.target % 5 {
                    0 => RAWS[0].topic(),
                    1 => RAWS[2].topic(),
                    2 => "journey.signals",
                    3 => "journey.changelog.monitor",
                    _ => "journey.timeline",
                };
                let partition = (fault.target >> 8) as i32 & 1;
                let found = self.cluster.leader(topic, partition);
                (found, format!("leader of {topic}/{partition}"))
            }
        };
        (found.unwrap_or(any), role)
    }

    fn start_brokers(&mut self, brokers: Vec<usize>) {
        let started = std::thread::scope(|scope| {
            let cluster = &mut *self.cluster;
            let starting = scope.spawn(move || cluster.resume(&brokers));
            while !starting.is_finished() {
                self.fleet.tend();
                self.watch.look();
            }
            starting
                .join()
                .unwrap_or_else(|_| Err("starting brokers panicked".to_owned()))
        });
        self.stuck.extend(started.err());
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == "lost+found" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// A small file system that is one process's state directory and can be filled.
pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts a file of `bytes` at `at`.
    ///
    /// # Errors
    /// Why that is not possible here, as without the right to mount.
    pub fn mount(at: &Path, bytes: u64) -> Result<Self, String> {
        let image = at.with_extension("image");
        let failed = |error: std::io::Error| error.to_string();
        fs::create_dir_all(at).map_err(failed)?;
        let file = fs::File::create(&image).map_err(failed)?;
        file.set_len(bytes).map_err(failed)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))
            .or_else(|_| {
                let size = format!("size={bytes}");
                run(Command::new("mount")
                    .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                    .arg(at))
            })
            .map(|()| Self { at: at.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Takes all the room there is; returns how much that was.
    fn fill(&self) -> Result<u64, String> {
        let file = fs::File::create(self.filler()).map_err(|error| error.to_string())?;
        // Set aside and not written: that would keep the machine busy for a minute.
        let (mut size, mut taken) = (1_i64 << 30, 0);
        while size >= 512 {
            // SAFETY: the file is open.
            match unsafe { libc::posix_fallocate(file.as_raw_fd(), taken, size) } {
                0 => taken += size,
                _ => size /= 2,
            }
        }
        Ok(taken.unsigned_abs())
    }

    fn free(&self) {
        // Whatever of it is there.
        let _ = fs::remove_file(self.filler());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since a process that was just killed may hold it.
        if let Err(error) = run(Command::new("umount").arg("-l").arg(&self.at)) {
            eprintln!("{}: cannot be unmounted: {error}", self.at.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{command:?}: {said}"))
}
