//! What a bench on Kafka stands on: topics of its own, services as processes of their own, and a load.

use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kafka::{Admin, Bystander, Outsider};
use service::{
    backend::{Backend as _, KafkaBackend},
    wall,
};
use stream::{Output, TopicPartition};
use tempfile::TempDir;

use crate::{
    catalogue,
    cli::{Global, Role},
    context,
    report::Failure,
};

/// A pattern of which every customer of the load makes a run and some a match.
const PATTERN: &str = "pattern: bench-quiet
version: 1
title: Starts to pay, then goes quiet
owner: bench
status: live
when:
  within: 1m
  sequence:
    - see: checkout.started
    - absent: order.completed
      for: 3s
then:
  intervene: chat_offer
  channels: [chat]
  priority: 50
  valid_for: 10m
  cancel_on: [order.completed]
  because: { en: quiet for 3 seconds }
guard: { consent: service, cooldown: 1h }
rollout: { percent: 100, holdout: 10, seed: bench-1 }
tests:
  - name: quiet
    given: [ { at: 0s, is: checkout.started, value: 1, currency: EUR } ]
    expect: [ { at: 3s, intervene: chat_offer } ]
  - name: pays
    given:
      - { at: 0s, is: checkout.started, value: 1, currency: EUR }
      - { at: 1s, is: order.completed, order_id: o1, value: 1, currency: EUR }
    expect: []
";
/// How long the absence of [`PATTERN`] is, in milliseconds.
pub(super) const ABSENCE: i64 = 3_000;
/// How often the load sends.
const BEAT: Duration = Duration::from_millis(100);
/// A service answers within this time, or the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Topics under a prefix of their own, a folder, and the processes.
pub(super) struct Rig {
    pub(super) backend: KafkaBackend,
    global: Global,
    dir: TempDir,
    outsider: Outsider,
    group: Bystander,
    /// The timeline's partitions.
    pub(super) timeline: Vec<TopicPartition>,
}

impl Rig {
    /// Creates topics under a prefix that nobody has, and publishes a pattern. What the user sets goes over `sets`.
    pub(super) fn new(global: &Global, sets: &[String]) -> Result<Self, Failure> {
        let dir = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
        let secret = dir.path().join("secret");
        fs::write(&secret, "bench").map_err(|error| format!("{}: {error}", secret.display()))?;
        let own = [
            format!("kafka.prefix=bench-{}.", wall().0),
            format!("privacy.key_secret_file={}", secret.display()),
            "intake.start=earliest".to_owned(),
            "topics.retention=0".to_owned(),
            "topics.replication=1".to_owned(),
            "topics.raw_partitions=2".to_owned(),
            "topics.output_partitions=2".to_owned(),
            // A member that is back before its session ends keeps its place.
            "service.static_members=true".to_owned(),
        ];
        let mut global = global.clone();
        global.set.splice(0..0, own.into_iter().chain(sets.iter().cloned()));
        let config = context::config(&global)?;
        let backend = context::kafka(&config)?;
        let admin = Admin::connect(&backend.connection())?;
        let replication = i32::try_from(config.number("topics.replication")).unwrap_or(1);
        for spec in context::specs(&config) {
            admin.create(&spec.name, spec.partitions, replication, &spec.configs)?;
        }
        // A topic that was just made is not known to every client at once.
        let begun = Instant::now();
        while backend.partitions(&[backend.names().patterns()]).is_err() && begun.elapsed() < PATIENCE {
            std::thread::sleep(BEAT);
        }
        let patterns = dir.path().join("patterns");
        fs::create_dir(&patterns).map_err(|error| format!("{}: {error}", patterns.display()))?;
        let file = patterns.join("bench-quiet.yaml");
        fs::write(&file, PATTERN).map_err(|error| format!("{}: {error}", file.display()))?;
        catalogue::publish(&backend, &catalogue::read(&[patterns])?)?;
        let names = backend.names();
        let timeline = of(&names.timeline(), context::counts(&config).timeline);
        let connection = backend.connection();
        Ok(Self {
            outsider: Outsider::open(&connection)?,
            group: Bystander::open_impatient(&connection, &names.group(monitor::SERVICE))?,
            backend,
            global,
            dir,
            timeline,
        })
    }

    /// What sends events to these topics.
    pub(super) fn load(&self) -> Load {
        Load(self.backend.clone())
    }

    /// Where the state of a service lies.
    pub(super) fn state(&self, role: Role) -> PathBuf {
        self.dir.path().join(role.service())
    }

    /// Starts a service as a process of its own.
    pub(super) fn start(&self, role: Role) -> Result<Process, Failure> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("no free port: {error}"))?.port();
        let log = self.dir.path().join(format!("{}.log", role.service()));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(|error| format!("{}: {error}", log.display()))?;
        let binary = std::env::current_exe().map_err(|error| format!("no path of this program: {error}"))?;
        let mut command = Command::new(binary);
        command.args(["run", role.service()]);
        if let Some(config) = &self.global.config {
            command.arg("--config").arg(config);
        }
        for set in &self.global.set {
            command.args(["--set", set]);
        }
        let own = [
            format!("service.instance=bench-{}", role.service()),
            format!("service.data_dir={}", self.state(role).display()),
            format!("service.admin_listen=127.0.0.1:{port}"),
            "telemetry.format=json".to_owned(),
        ];
        for set in own {
            command.arg("--set").arg(set);
        }
        let child = command.stdout(Stdio::null()).stderr(file).spawn();
        Ok(Process {
            child: child.map_err(|error| format!("{} cannot be started: {error}", role.service()))?,
            log,
        })
    }

    /// Where the monitor's group stands, partition by partition.
    pub(super) fn committed(&self) -> Result<Vec<i64>, Failure> {
        let found = self.group.committed(&self.timeline)?;
        Ok(found
            .into_iter()
            .map(|found| found.map_or(0, |found| found.offset))
            .collect())
    }

    /// Records of the timeline that the monitor's group has not committed.
    pub(super) fn lag(&self) -> Result<i64, Failure> {
        let mut lag = 0;
        for (of, committed) in self.timeline.iter().zip(self.committed()?) {
            lag += (self.outsider.bounds(of)?.end - committed).max(0);
        }
        Ok(lag)
    }

    /// The number of records between the changelog's start and end, summed over its partitions.
    pub(super) fn changelog(&self) -> Result<i64, Failure> {
        let mut length = 0;
        let topic = self.backend.names().changelog(monitor::SERVICE);
        let partitions = i32::try_from(self.timeline.len()).unwrap_or(i32::MAX);
        for of in of(&topic, partitions) {
            let bounds = self.outsider.bounds(&of)?;
            length += bounds.end - bounds.start;
        }
        Ok(length)
    }

    /// Waits until `holds`.
    pub(super) fn until(
        &self,
        what: &str,
        process: &mut Process,
        mut holds: impl FnMut(&Self) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        while !holds(self)? {
            process.runs()?;
            if begun.elapsed() > PATIENCE {
                return Err(Failure::no_answer(format!("not in time: {what}\n{}", process.tail())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Sends events.
#[derive(Clone)]
pub(super) struct Load(KafkaBackend);

impl Load {
    /// One event of a customer as a raw record.
    pub(super) fn event(&self, id: &str, customer: &str, kind: &str) -> Output {
        let mut text = String::with_capacity(256);
        let time = codec::time(wall());
        // A string takes all that is written to it.
        let _ = write!(
            text,
            r#"{{"id":"{id}","source":"bench","type":"{kind}","time":"{time}","identifiers":[{{"kind":"customer","value":"{customer}"}}],"attributes":{{"product_id":"p1","value":9.5,"currency":"EUR"}}}}"#
        );
        Output {
            topic: Arc::from(self.0.names().raw("web")),
            partition: None,
            timestamp: None,
            key: Some(customer.as_bytes().to_vec()),
            value: Some(text.into_bytes()),
            headers: Vec::new(),
        }
    }

    /// Sends views of customers at a rate a second until told to stop.
    pub(super) fn send(&self, rate: u64, customers: u64, sent: &AtomicU64, stop: &AtomicBool) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
            // A load that fell behind does not send it all at once.
            let last = due.min(number + rate / 5);
            let batch: Vec<Output> = (number..last)
                .map(|number| {
                    // Spread, and the same every time.
                    let customer = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % customers.max(1);
                    self.event(&format!("v{number}"), &format!("c{customer}"), "product.viewed")
                })
                .collect();
            if !batch.is_empty() {
                self.0.publish("bench", &batch)?;
            }
            number = last;
            sent.store(number, Ordering::Relaxed);
            std::thread::sleep(BEAT);
        }
        Ok(())
    }
}

/// The partitions of a topic.
fn of(topic: &str, partitions: i32) -> Vec<TopicPartition> {
    let topic: Arc<str> = Arc::from(topic);
    (0..partitions)
        .map(|partition| TopicPartition {
            topic: Arc::clone(&topic),
            partition,
        })
        .collect()
}

/// A service that runs. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Ends it at once, as a machine that loses power does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    fn runs(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            ended => Err(Failure::no_answer(format!(
                "a service ended: {ended:?}\n{}",
                self.tail()
            ))),
        }
    }

    /// Where it logs.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
