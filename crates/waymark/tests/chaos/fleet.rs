//! The processes of a run, and who starts them again when they end by themselves, as a cluster's supervisor would.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::binary::{get, waymark};

/// How long the supervisor waits before it starts a process again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a process may take to end when it is asked to; its own budget is 25 s.
pub const ENDING: Duration = Duration::from_secs(40);

/// One process in its slot.
pub struct Member {
    pub service: &'static str,
    pub instance: String,
    pub dir: PathBuf,
    pub log: PathBuf,
    child: Option<Child>,
    /// A fault has it: the supervisor keeps off.
    pub held: bool,
    ended: Option<Instant>,
    /// Bytes of the log that were looked through.
    looked: u64,
}

impl Member {
    fn pid(&self) -> Option<i32> {
        i32::try_from(self.child.as_ref()?.id()).ok()
    }

    /// Sends a signal; nothing if it does not run.
    pub fn signal(&self, signal: i32) {
        if let Some(pid) = self.pid() {
            // SAFETY: the process is our own child and not yet waited for.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its end; `None` if it does not run, or does not end in time and had to be killed.
    pub fn wait(&mut self, until: Instant) -> Option<i32> {
        loop {
            match self.child.as_mut()?.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                Ok(Some(status)) => {
                    self.child = None;
                    return status.code();
                }
                _ => {
                    self.kill();
                    return None;
                }
            }
        }
    }

    /// What it logged, the last lines.
    pub fn tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(lines).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The address of metrics and health of its newest incarnation, once it is logged.
    pub fn admin(&self) -> Option<String> {
        let text = fs::read_to_string(&self.log).ok()?;
        let lines = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
        let of = |line: Value| {
            (line["message"] == "metrics and health are served")
                .then(|| line["address"].as_str().map(ToOwned::to_owned))
                .flatten()
        };
        lines.filter_map(of).next()
    }

    /// Empties its disk; the folder itself stays, since it may be a mount.
    pub fn lose_disk(&self) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        for entry in entries.filter(|entry| entry.file_name() != "lost+found") {
            let path = entry.path();
            let gone = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            gone.unwrap_or_else(|error| panic!("{}: cannot be deleted: {error}", path.display()));
        }
    }

    /// Cuts one file of each of its databases in half, as a disk does that fails in the middle of a write; returns which.
    pub fn damage_disk(&self, choice: u64) -> Vec<String> {
        let (mut folders, mut cut) = (vec![self.dir.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            folders.extend(paths.iter().filter(|path| path.is_dir()).cloned());
            let mut read: Vec<(String, &PathBuf)> = paths
                .iter()
                .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
                .filter(|(name, _)| name == "CURRENT" || name.starts_with("MANIFEST-") || name.ends_with(".sst"))
                .collect();
            if read.iter().all(|(name, _)| name != "CURRENT") {
                continue;
            }
            read.sort();
            let (name, path) = &read[((choice + cut.len() as u64) % read.len() as u64) as usize];
            let done = fs::OpenOptions::new().write(true).open(path).and_then(|file| {
                let half = file.metadata()?.len() / 2;
                file.set_len(half)
            });
            done.unwrap_or_else(|error| panic!("{}: cannot be cut: {error}", path.display()));
            cut.push(name.clone());
        }
        cut
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All processes.
pub struct Fleet {
    pub members: Vec<Member>,
    set: Vec<String>,
    dir: PathBuf,
    /// Processes that ended by themselves, by what they said last.
    pub restarts: BTreeMap<String, u64>,
    /// Lines in which a process says that it halted.
    pub halted: Vec<String>,
    extras: u32,
}

impl Fleet {
    pub fn new(set: Vec<String>, dir: &Path) -> Self {
        Self {
            members: Vec::new(),
            set,
            dir: dir.to_owned(),
            restarts: BTreeMap::new(),
            halted: Vec::new(),
            extras: 0,
        }
    }

    /// Starts a process in a slot of its own; returns its index.
    pub fn add(&mut self, service: &'static str, instance: &str) -> usize {
        let dir = self.dir.join(format!("{service}-{instance}"));
        let log = self.dir.join(format!("{service}-{instance}.log"));
        let member = self.member(service, instance, dir, log);
        self.members.push(member);
        self.members.len() - 1
    }

    /// A further process, in the slot of `instance` or in a new one; the caller keeps it.
    pub fn extra(&mut self, service: &'static str, instance: Option<&str>) -> Member {
        self.extras += 1;
        let own = format!("extra-{}", self.extras);
        let dir = self.dir.join(format!("{service}-{own}"));
        let log = self.dir.join(format!("{service}-{own}.log"));
        self.member(service, instance.unwrap_or(&own), dir, log)
    }

    fn member(&self, service: &'static str, instance: &str, dir: PathBuf, log: PathBuf) -> Member {
        let mut member = Member {
            service,
            instance: instance.to_owned(),
            dir,
            log,
            child: None,
            held: false,
            ended: None,
            looked: 0,
        };
        start(&mut member, &self.set);
        member
    }

    /// The indices of a service's processes.
    pub fn of(&self, service: &str) -> Vec<usize> {
        let all = self.members.iter().enumerate();
        all.filter(|(_, member)| member.service == service)
            .map(|(index, _)| index)
            .collect()
    }

    /// Starts a process again in its slot.
    pub fn restart(&mut self, index: usize) {
        start(&mut self.members[index], &self.set);
    }

    /// Keeps what each process measures now, beside its log.
    pub fn keep_metrics(&self) {
        for member in &self.members {
            let admin = member.admin().filter(|address| TcpStream::connect(address).is_ok());
            if let Some(admin) = admin {
                // For whoever looks into a standstill; without it there is less to look at.
                let _ = fs::write(member.log.with_extension("metrics"), get(&admin, "/metrics").1);
            }
        }
    }

    /// Starts again what has ended by itself, and looks for processes that halted.
    pub fn tend(&mut self) {
        for member in &mut self.members {
            self.halted
                .extend(new_lines(member).filter(|line| line.contains("halted")));
            if member.held {
                continue;
            }
            if let Some(child) = &mut member.child
                && let Ok(Some(status)) = child.try_wait()
            {
                member.child = None;
                member.ended = Some(Instant::now());
                let reason = format!("{} exit {:?}: {}", member.service, status.code(), last_word(member));
                *self.restarts.entry(reason).or_default() += 1;
            }
            if member.child.is_none() && member.ended.is_none_or(|ended| ended.elapsed() >= AGAIN) {
                start(member, &self.set);
            }
        }
    }
}

fn start(member: &mut Member, set: &[String]) {
    let mut set = set.to_vec();
    set.push(format!("service.instance={}", member.instance));
    set.push(format!("service.data_dir={}", member.dir.display()));
    set.push("service.admin_listen=127.0.0.1:0".to_owned());
    let log = OpenOptions::new().create(true).append(true).open(&member.log);
    let log = log.expect("a log can be written");
    let child = waymark(&set, &["run", member.service])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    member.child = Some(child.expect("the binary runs"));
    member.ended = None;
}

/// Whole lines logged since the last look.
fn new_lines(member: &mut Member) -> impl Iterator<Item = String> + use<> {
    let mut text = String::new();
    if let Ok(mut file) = File::open(&member.log)
        && file.seek(SeekFrom::Start(member.looked)).is_ok()
    {
        // A line that is not UTF-8, or not whole yet, is looked at again.
        let _ = file.read_to_string(&mut text);
    }
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    member.looked += whole as u64;
    text.truncate(whole);
    text.lines().map(ToOwned::to_owned).collect::<Vec<_>>().into_iter()
}

/// Why a process ended, by the last error it logged; numbers are left out, so that equal reasons are counted together.
fn last_word(member: &Member) -> String {
    let tail = member.tail(40);
    let mut lines = tail.lines().rev();
    let error = lines.find(|line| line.contains("\"ERROR\"") || !line.starts_with('{'));
    let Some(error) = error else {
        return "said nothing".to_owned();
    };
    let line: Value = serde_json::from_str(error).unwrap_or_else(|_| Value::from(error));
    let said = ["error", "reason", "message"]
        .iter()
        .find_map(|name| line[*name].as_str());
    let said = said.or_else(|| line.as_str()).unwrap_or(error);
    let mut plain = String::new();
    for sign in said.chars() {
        match (sign.is_ascii_digit(), plain.ends_with('#')) {
            (true, true) => {}
            (true, false) => plain.push('#'),
            (false, _) => plain.push(sign),
        }
    }
    plain.chars().take(160).collect()
}
