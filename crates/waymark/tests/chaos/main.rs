//! Chaos on real brokers: a load whose outcome is known, two intakes and two monitors, and faults from a seeded schedule. Without
//! variables this is the short form; `make chaos` is the long one. `docs/CHAOS.md` says how to read the result.

#[path = "../binary/mod.rs"]
mod binary;
mod faults;
mod fleet;
mod history;
mod load;
mod report;
mod schedule;
mod script;
mod verdict;
mod watch;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use binary::{done, eventually, repository, waymark};
use faults::{Disk, Injector};
use fleet::{ENDING, Fleet};
use kafka::{Admin, KafkaConfig};
use load::{BATCHES, Load, Sent, Shared};
use report::Report;
use schedule::{schedule, variant};
use testkit::cluster::Cluster;
use verdict::Verdict;
use watch::Watch;

/// Outputs that do not move for this long will not come any more.
const SILENCE: Duration = Duration::from_secs(60);
/// After the last output, how long doubles may still come.
const SETTLING: u64 = 3_000;

/// What a run is asked for.
#[derive(Debug, Clone)]
struct Asked {
    brokers: usize,
    events: u64,
    faults: usize,
    seed: u64,
    rate: u64,
    /// Only faults whose name contains this.
    only: Option<String>,
}

impl Asked {
    /// The short form with `faults` faults, or what the variables say; `None` if they name another number of brokers.
    fn from_env(brokers: usize, faults: usize) -> Option<Self> {
        let wanted = number("WAYMARK_CHAOS_BROKERS").unwrap_or(brokers as u64);
        if wanted != brokers as u64 {
            eprintln!("skipped: WAYMARK_CHAOS_BROKERS={wanted}");
            return None;
        }
        let faults = number("WAYMARK_CHAOS_FAULTS").map_or(faults, |faults| faults as usize);
        let events = number("WAYMARK_CHAOS_EVENTS").unwrap_or(3_000);
        // A fault takes about ten seconds with its recovery.
        let usual = (events / (faults as u64 * 10).max(1)).clamp(150, 20_000);
        Some(Self {
            brokers,
            events,
            faults,
            seed: number("WAYMARK_CHAOS_SEED").unwrap_or(1),
            rate: number("WAYMARK_CHAOS_RATE").unwrap_or(usual),
            only: text("WAYMARK_CHAOS_ONLY"),
        })
    }
}

/// A variable that is set and not empty.
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str) -> Option<u64> {
    let text = text(name)?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// Scenarios take turns: each wants the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the harness itself connects; its clients say nothing of brokers that are away, since that is what a run is about.
fn client(brokers: &str, name: &str) -> KafkaConfig {
    let mut config = KafkaConfig::new(brokers, name, name);
    config.properties.insert("log_level".to_owned(), "0".to_owned());
    config
}

/// Where results, and what is kept of failed runs, lie.
fn results() -> PathBuf {
    repository().join("target/chaos")
}

/// A run's folder: deleted after a clean run, kept after any other.
struct Folder(Option<tempfile::TempDir>);

impl Folder {
    fn new() -> Self {
        std::fs::create_dir_all(results()).expect("the folder of results can be made");
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(results());
        Self(Some(folder.expect("a folder")))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().expect("it is there until the end").path()
    }

    fn forget(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(folder) = self.0.take() {
            eprintln!("logs are kept: {}", folder.keep().display());
        }
    }
}

/// Makes topics and publishes the patterns; returns the settings of every process.
fn prepare(cluster: &Cluster, dir: &Path, more: &[String]) -> Vec<String> {
    let secret = dir.join("secret");
    std::fs::write(&secret, "waymark-demo").expect("written");
    let patterns = dir.join("patterns");
    std::fs::create_dir(&patterns).expect("made");
    for (name, text) in script::FILES {
        std::fs::write(patterns.join(name), text).expect("written");
    }
    let replication = cluster.brokers().min(3);
    let own = [
        format!("kafka.brokers={}", cluster.address()),
        format!("privacy.key_secret_file={}", secret.display()),
        format!("topics.replication={replication}"),
    ];
    let small = [
        "intake.start=earliest",
        "topics.partitions=4",
        "topics.raw_partitions=2",
        "topics.output_partitions=2",
        "topics.retention=0",
        "kafka.session_timeout=6s",
        "kafka.transaction_timeout=4s",
        "epoch.interval=100ms",
        "state.flush_interval=1s",
    ];
    let small = small.iter().map(|set| (*set).to_owned());
    let set: Vec<String> = own.into_iter().chain(small).chain(more.iter().cloned()).collect();
    done(waymark(&set, &["topics", "apply", "--yes"]));
    eventually("every broker knows the topics", || {
        let planned = waymark(&set, &["topics", "plan"]).output().expect("the binary runs");
        planned.status.success() && cluster.is_whole()
    });
    let patterns = patterns.to_str().expect("a path");
    done(waymark(&set, &["pattern", "apply", patterns, "--yes"]));
    let admin = Admin::connect(&client(&cluster.address(), "chaos")).expect("a client");
    let copies = i32::try_from(replication).expect("few");
    let made = admin.create(BATCHES, 1, copies, &BTreeMap::new());
    assert!(made.is_ok_and(|made| made), "the topic of batches is made");
    set
}

fn chaos(asked: &Asked) {
    let Some(mut cluster) = Cluster::for_test(asked.brokers) else {
        return;
    };
    let begun = Instant::now();
    let folder = Folder::new();
    let dir = folder.path();
    let variant = variant(asked.seed);
    let set = prepare(
        &cluster,
        dir,
        &[
            format!("order.window={}", variant.window),
            format!("service.static_members={}", variant.static_members),
            format!("service.workers={}", variant.workers),
            format!("profiles.publish={}", variant.profiles),
            "state.snapshot_bytes=64KiB".to_owned(),
        ],
    );
    // A customer's state takes about a kilobyte.
    let disk = Disk::mount(&dir.join("monitor-b"), (512 << 20) + asked.events * 1_024);
    let (disk, mounted) = match disk {
        Ok(disk) => (Some(disk), Ok(())),
        Err(why) => {
            eprintln!("no fault will fill the disk: {why}");
            (None, Err(why))
        }
    };
    let mut fleet = Fleet::new(set.clone(), dir);
    for service in ["intake", "monitor"] {
        for instance in ["a", "b"] {
            fleet.add(service, instance);
        }
    }
    let shared = Arc::new(Shared::default());
    let mut watch = Watch::new(&cluster.address(), Arc::clone(&shared));
    let load = Load {
        brokers: cluster.address(),
        seed: asked.seed,
        events: asked.events,
        rate: asked.rate,
    };
    let sending = std::thread::spawn({
        let shared = Arc::clone(&shared);
        move || load::send(&load, &shared)
    });
    let mut injector = Injector {
        cluster: &mut cluster,
        fleet: &mut fleet,
        watch: &mut watch,
        shared: Arc::clone(&shared),
        disk,
        begun,
        stuck: Vec::new(),
    };
    let (mut possible, skipped) = injector.possible(mounted);
    possible.retain(|kind| asked.only.as_ref().is_none_or(|only| kind.name().contains(only)));
    let mut all_done = Vec::new();
    // The first faults, too, meet something that flows.
    injector.flow();
    for fault in schedule(asked.seed, asked.faults, &possible) {
        if injector.is_lost() {
            break;
        }
        all_done.push(injector.inject(fault));
    }
    shared.calm.store(true, Ordering::Relaxed);
    let loaded = injector.drain(SILENCE).unwrap_or_else(|| begun.elapsed());
    injector.pass(SETTLING);
    let mut stuck = std::mem::take(&mut injector.stuck);
    let disk = injector.disk.take();
    shared.stop.store(true, Ordering::Relaxed);
    let sent = sending.join().expect("the load does not panic");
    stuck.extend(end(&mut fleet));
    let audit = audit(&set, &mut stuck);
    let verdict = judged(&cluster, asked.seed, sent, &mut stuck);
    drop(disk);
    let report = Report {
        seed: asked.seed,
        brokers: asked.brokers,
        variant,
        events_asked: asked.events,
        faults_asked: asked.faults,
        only: asked.only.clone(),
        rate: asked.rate,
        done: all_done,
        skipped,
        verdict,
        restarts: std::mem::take(&mut fleet.restarts),
        halted: std::mem::take(&mut fleet.halted),
        stuck,
        audit,
        lasted: begun.elapsed(),
        loaded,
    };
    let file = report.write(&results());
    eprintln!("\n{}\nresult: {}", report.table(), file.display());
    if !report.is_clean() {
        for member in &fleet.members {
            eprintln!("{}:\n{}\n", member.log.display(), member.tail(8));
        }
        drop(fleet);
        eprintln!("the brokers' files are kept: {}", cluster.keep().display());
        panic!("a promise was broken; again: {}", report.command());
    }
    drop(fleet);
    folder.forget();
}

fn judged(cluster: &Cluster, seed: u64, sent: Sent, stuck: &mut Vec<String>) -> Verdict {
    verdict::judge(&cluster.address(), seed, sent).unwrap_or_else(|error| {
        stuck.push(error);
        Verdict::default()
    })
}

/// Asks every process to end; returns what did not end as it should.
fn end(fleet: &mut Fleet) -> Vec<String> {
    for member in &fleet.members {
        member.signal(libc::SIGTERM);
    }
    let mut wrong = Vec::new();
    let until = Instant::now() + ENDING;
    for member in &mut fleet.members {
        match member.wait(until) {
            Some(0) => {}
            code => wrong.push(format!("{} {} ended with {code:?}", member.service, member.instance)),
        }
    }
    wrong
}

/// Lets the binary's own auditor look, where it has one.
fn audit(set: &[String], stuck: &mut Vec<String>) -> Option<i32> {
    let help = waymark(&[], &["audit", "--help"]).output().expect("the binary runs");
    if !help.status.success() {
        return None;
    }
    let output = waymark(set, &["audit"]).output().expect("the binary runs");
    let code = output.status.code().unwrap_or(-1);
    if code != 0 {
        stuck.push(format!(
            "audit: exit {code}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Some(code)
}

#[test]
fn one_broker_loses_nothing() {
    let _turn = alone();
    if let Some(asked) = Asked::from_env(1, 8) {
        chaos(&asked);
    }
}

#[test]
fn three_brokers_lose_nothing() {
    let _turn = alone();
    if let Some(asked) = Asked::from_env(3, 5) {
        chaos(&asked);
    }
}
