//! Poison: what makes a stage panic becomes a dead letter or a quarantine, and so does, after three deaths, what ends the process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use embedded::{Embedded, Kept};
use proptest::prelude::*;
use service::{
    Machine,
    topics::Changelog,
    worker::{Clock, Hand, Hooks, Observation, OpenDb, Start, Worker, WorkerConfig},
};
use stream::{Cause, Millis, Output, Record, SnapshotRule, Statefulness, TopicPartition, TopicReader as _};
use testkit::{
    memory::{Broker, Disk, Fuse, MemoryLog},
    waiting::{Waiting, dead_letter},
};

fn config(open_db: OpenDb, changelog: Option<&str>, window: i64, clock: Box<dyn Clock>) -> WorkerConfig {
    WorkerConfig {
        epoch_interval: Duration::ZERO,
        epoch_records: 3,
        poll_records: 4,
        flush_bytes: 400,
        flush_interval: Duration::from_secs(3600),
        window,
        state: Statefulness::Keyed,
        cached_keys: 2,
        timers_per_round: 1000,
        changelog: changelog.map(|topic| Changelog::new(topic, vec!["in".to_owned()])),
        snapshots: SnapshotRule { after: 150, chunk: 40 },
        start: Start::Earliest,
        dead_letters: Arc::new(dead_letter),
        open_db,
        clock,
    }
}

/// Time stands, so that each run takes the same steps.
struct Standing;

impl Clock for Standing {
    fn wall(&self) -> Millis {
        Millis(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) {}
}

fn input(partition: i32, value: &str) -> Output {
    let at = value.split(' ').next_back().and_then(|time| time.parse().ok());
    Output {
        topic: Arc::from("in"),
        partition: Some(partition),
        timestamp: Some(Millis(at.expect("a time"))),
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: vec![("from".to_owned(), Some(b"test".to_vec()))],
    }
}

/// What was said by key, in order; dead letters under their reason.
fn said(records: &[Record]) -> BTreeMap<String, Vec<String>> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records {
        let key = match record.headers.iter().find(|(name, _)| name == "reason") {
            Some((_, reason)) => format!("dead {}", text(reason)),
            None => text(&record.key),
        };
        by_key.entry(key).or_default().push(text(&record.value));
    }
    by_key
}

/// Remembers what it is told of quarantines.
#[derive(Default)]
struct Counts {
    quarantined: Vec<Cause>,
}

impl Hooks<Waiting> for Counts {
    fn observe(&mut self, what: &Observation<'_>) {
        if let Observation::Quarantined(cause) = what {
            self.quarantined.push(*cause);
        }
    }
}

fn broker(history: &[String]) -> Broker {
    let broker = Broker::default();
    for (topic, partitions) in [("in", 1), ("out", 2), ("log", 1), ("in.dlq", 1)] {
        broker.create(topic, partitions);
    }
    broker.publish(history.iter().map(|value| input(0, value)));
    broker
}

fn on_memory(broker: &Broker, fuse: &Fuse, disk: &Disk, window: i64) -> Worker<MemoryLog, Waiting, Counts> {
    let (disk, disk_fuse) = (disk.clone(), fuse.clone());
    let open_db: OpenDb = Box::new(move |of: &TopicPartition| Ok(Box::new(disk.open(of, &disk_fuse))));
    let log = MemoryLog::join(broker, fuse, "g", &["in"], Some("log"));
    Worker::new(
        log,
        Arc::new(Waiting),
        Counts::default(),
        config(open_db, Some("log"), window, Box::new(Standing)),
    )
}

fn outputs(broker: &Broker) -> BTreeMap<String, Vec<String>> {
    let mut records = broker.read("out");
    records.extend(broker.read("in.dlq"));
    said(&records)
}

fn lines(of: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    of.iter()
        .map(|(key, values)| ((*key).to_owned(), owned(values)))
        .collect()
}

#[test]
fn a_panic_costs_one_record_or_one_key() {
    let history = [
        "tick - 0",
        "a x 10",
        "a fuse 10",
        "panic x 20",
        "tick - 100",
        "a fuse 110",
        "b x 120",
        "b fuse 130",
        "tick - 500",
    ]
    .map(ToOwned::to_owned);
    let broker = broker(&history);
    let mut worker = on_memory(&broker, &Fuse::default(), &Disk::default(), 0);
    for _ in 0..20 {
        worker.turn().expect("no panic stops a worker");
    }
    worker.finish().expect("no panic stops a worker");
    let expected = lines(&[
        ("dead panicked", &["panic x 20"]),
        ("dead quarantined", &["a fuse 110", "b fuse 130"]),
        ("fuse", &["a 1 at 10"]),
        ("x", &["a 1 at 10", "late after 1 at 60", "b 2 at 120"]),
    ]);
    assert_eq!(outputs(&broker), expected);
    assert_eq!(worker.hooks().quarantined, [Cause::Panicked]);
}

fn history() -> impl Strategy<Value = Vec<String>> {
    let keys = prop_oneof![Just("x"), Just("y"), Just("fuse1"), Just("fuse2")];
    proptest::collection::vec((0..12u8, keys, 0..40i64), 1..12).prop_map(|steps| {
        let mut now = 0;
        let mut history = vec!["tick - 0".to_owned()];
        for (kind, key, gap) in steps {
            now += gap;
            history.push(match kind {
                0..=5 => format!("a {key} {now}"),
                6 => format!("b {key} {now}"),
                7 => format!("panic {key} {now}"),
                _ => format!("tick - {now}"),
            });
        }
        history.push(format!("tick - {}", now + 1000));
        history.push(format!("tick - {}", now + 2000));
        history
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn dying_at_any_step_poisons_the_same(history in history(), window in prop_oneof![Just(0i64), Just(25)]) {
        // Every panic reads an epoch again.
        let turns = history.len() * 3 + 10;
        let run = |broker: &Broker, fuse: &Fuse, disk: &Disk| {
            let mut worker = on_memory(broker, fuse, disk, window);
            for _ in 0..turns {
                worker.turn()?;
            }
            worker.finish()
        };
        let fuse = Fuse::default();
        let clean = broker(&history);
        run(&clean, &fuse, &Disk::default()).expect("no faults");
        let (expected, steps) = (outputs(&clean), fuse.steps());
        for dies_at in 1..=steps {
            let (broker, disk) = (broker(&history), Disk::default());
            fuse.mend(Some(dies_at));
            prop_assert!(run(&broker, &fuse, &disk).is_err(), "step {dies_at} of {steps}");
            if dies_at % 2 == 0 {
                disk.lose();
            }
            fuse.mend(None);
            prop_assert_eq!(run(&broker, &fuse, &disk), Ok(()), "step {} of {}", dies_at, steps);
            prop_assert_eq!(outputs(&broker), expected.clone(), "step {} of {}", dies_at, steps);
        }
    }
}

const WORKERS: i32 = 2;
const BUDGET: Duration = Duration::from_secs(60);

fn embedded(dir: &Path) -> Embedded {
    let log = Embedded::open(&dir.join("log"), || Millis(0)).expect("the directory is free");
    for (topic, partitions) in [("in", WORKERS), ("out", 1), ("in.dlq", 1)] {
        log.create(topic, partitions, Kept::All).expect("made");
    }
    log
}

/// The body of the processes that die: run by the tests below with a directory, a look at an unset variable else. Ends when a file
/// `enough` lies there and everything has been read.
#[test]
fn a_process_of_its_own() {
    let Some(dir) = std::env::var_os("WAYMARK_TEST_POISON").map(PathBuf::from) else {
        return;
    };
    let log = embedded(&dir);
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        for index in 0..WORKERS {
            let (log, dir, stop) = (&log, &dir, &stop);
            scope.spawn(move || {
                let joined = log
                    .join("g", "s", &["in".to_owned()], index, WORKERS)
                    .expect("members are known");
                let db = log.clone();
                let open_db: OpenDb = Box::new(move |of: &TopicPartition| Ok(Box::new(db.db("s", of.partition))));
                let hand = Hand::open(dir, "s", usize::try_from(index).expect("few"));
                let mut config = config(open_db, None, 0, Box::new(Machine::default()));
                config.epoch_interval = Duration::from_millis(5);
                config.epoch_records = 20;
                let mut worker = Worker::new(joined, Arc::new(Waiting), (), config).with_hand(hand);
                worker.run(stop).expect("no faults but its end");
            });
        }
        let inputs = ["in".to_owned()];
        while !dir.join("enough").exists() || log.lag("g", &inputs).expect("disk works") > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn start_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().expect("the test is a file"))
        .args(["--exact", "a_process_of_its_own", "--nocapture"])
        .env("WAYMARK_TEST_POISON", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test can run itself")
}

/// Everything that was said, once no process has the log.
fn read(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let log = embedded(dir);
    let mut reader = log.reader(&["out", "in.dlq"], true).expect("topics are there");
    let mut records = Vec::new();
    while !reader.is_at_end() {
        reader.read(Duration::ZERO, &mut records).expect("disk works");
    }
    said(&records)
}

/// Events of six keys a partition, each of which comes ten times.
fn innocents(kind: &str) -> Vec<Output> {
    let mut inputs = Vec::new();
    for partition in 0..WORKERS {
        for step in 0..60 {
            inputs.push(input(partition, &format!("{kind} p{partition}k{} {step}", step % 6)));
        }
    }
    inputs
}

fn expected(kind: char) -> BTreeMap<String, Vec<String>> {
    let mut by_key = BTreeMap::new();
    for partition in 0..WORKERS {
        for key in 0..6 {
            let lines = (0..10).map(|round| format!("{kind} {} at {}", round + 1, round * 6 + key));
            by_key.insert(format!("p{partition}k{key}"), lines.collect());
        }
    }
    by_key
}

#[test]
fn what_aborts_the_process_three_times_is_a_dead_letter_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = embedded(dir.path());
    log.publish(&innocents("b")).expect("published");
    let poison = [
        "tick - 100",
        "abort x 110",
        "a bomb 120",
        "b x 130",
        "tick - 300",
        "a bomb 310",
        "b x 320",
    ];
    log.publish(&poison.map(|value| input(0, value))).expect("published");
    // Slow company: each death would hit the same record of the other worker, were suspects not taken alone.
    log.publish(&[input(1, "long y 60")]).expect("published");
    let slow: Vec<Output> = (0..500).map(|step| input(1, &format!("slow z {step}"))).collect();
    log.publish(&slow).expect("published");
    drop(log);

    let begun = Instant::now();
    let mut deaths = 0;
    // Three for the record, three for the timer; then it lives.
    let mut child = start_child(dir.path());
    let mut expected = expected('b');
    expected.insert("dead crash_loop".to_owned(), vec!["abort x 110".to_owned()]);
    expected.insert("dead quarantined".to_owned(), vec!["a bomb 310".to_owned()]);
    expected.insert("bomb".to_owned(), vec!["a 1 at 120".to_owned()]);
    expected.insert("x".to_owned(), vec!["b 1 at 130".to_owned(), "b 2 at 320".to_owned()]);
    expected.insert("y".to_owned(), vec!["l 1 at 60".to_owned()]);
    let slow = (0..500).map(|step| format!("s {} at {step}", step + 1)).collect();
    expected.insert("z".to_owned(), slow);
    while deaths < 6 {
        assert!(begun.elapsed() < BUDGET, "deaths={deaths}");
        if child.try_wait().expect("it can be asked").is_some() {
            deaths += 1;
            child = start_child(dir.path());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // All is read long before, and a seventh death would be told.
    std::thread::sleep(Duration::from_millis(2500));
    std::fs::write(dir.path().join("enough"), b"").expect("written");
    assert!(child.wait().expect("it ends").success(), "it died once more");
    assert_eq!(read(dir.path()), expected);
    for worker in 0..WORKERS {
        let file = std::fs::read(dir.path().join("in-hand").join(format!("s-{worker}"))).expect("it is there");
        let word = |at: usize| u64::from_be_bytes(file[at * 8..][..8].try_into().expect("eight bytes"));
        assert_eq!(word(1), 0, "nothing is in hand");
        // Whose epoch was committed when the other worker's poison killed the process a moment later may stay, with that one death.
        let suspects = usize::try_from(word(2)).expect("few");
        let deaths: Vec<u64> = (0..suspects).map(|index| word(4 + index * 2)).collect();
        assert!(deaths.iter().all(|deaths| *deaths == 1), "{deaths:?}");
    }
}

/// What the workers have in hand, by name; 0 for one that has nothing.
fn in_hand(dir: &Path) -> Vec<u64> {
    let word = |worker| {
        let file = std::fs::read(dir.join("in-hand").join(format!("s-{worker}"))).ok()?;
        Some(u64::from_be_bytes(file.get(8..16)?.try_into().ok()?))
    };
    (0..WORKERS).map(|worker| word(worker).unwrap_or(0)).collect()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.expect("there is a command kill").success(), "{name}");
}

/// Stops a process, and waits until each of its threads stands.
fn stop(child: &Child) {
    signal(child, "-STOP");
    let stands = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"));
    let tasks = || std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("it has threads");
    let reads = |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("stat")).ok();
    while !tasks().filter_map(reads).all(stands) {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A record in whose hands the process dies three times is taken for what kills it, so a kill that would be the third is put off: how
/// often chance hits the same one depends on how fast the machine is.
#[test]
fn what_is_killed_at_random_is_not_blamed() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = embedded(dir.path());
    log.publish(&innocents("slow")).expect("published");
    drop(log);
    let mut deaths: BTreeMap<u64, u32> = BTreeMap::new();
    for life in 0..25 {
        let mut child = start_child(dir.path());
        let begun = Instant::now();
        let held = loop {
            std::thread::sleep(Duration::from_micros(700 + life * 331 % 2000));
            stop(&child);
            let held = in_hand(dir.path());
            let is_third = held
                .iter()
                .any(|name| deaths.get(name).is_some_and(|deaths| *deaths >= 2));
            let is_some = held.iter().any(|name| *name != 0);
            if !is_third && (is_some || begun.elapsed() > Duration::from_secs(1)) {
                break held;
            }
            assert!(begun.elapsed() < BUDGET, "life={life}");
            signal(&child, "-CONT");
        };
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        for name in held.into_iter().filter(|name| *name != 0) {
            *deaths.entry(name).or_default() += 1;
        }
    }
    let mut child = start_child(dir.path());
    std::fs::write(dir.path().join("enough"), b"").expect("written");
    assert!(child.wait().expect("it ends").success());
    let hits: u32 = deaths.values().sum();
    eprintln!("kills with something in hand: {hits}, of {} records", deaths.len());
    assert!(hits >= 20, "hardly a kill hit anything: the test shows nothing");
    assert!(deaths.values().any(|deaths| *deaths == 2), "{deaths:?}");
    assert_eq!(read(dir.path()), expected('s'));
}
