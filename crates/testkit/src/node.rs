//! One broker's process: started from jars, watched by a shell, killed, stopped and asked whether it answers.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::ask;

/// How long a broker may take to answer its first request.
const START_BUDGET: Duration = Duration::from_secs(90);

/// The cluster id that storage is formatted with.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// The addresses of a broker that is also a controller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) broker: u16,
    pub(crate) controller: u16,
}

impl Ports {
    /// Finds two ports that nobody uses now for each of `nodes` nodes.
    pub(crate) fn free(nodes: usize) -> Result<Vec<Self>, String> {
        // All are held until all are known, so they differ.
        let listeners = (0..nodes * 2).map(|_| listener()).collect::<Result<Vec<_>, _>>()?;
        let port = |listener: &TcpListener| {
            let address = listener.local_addr();
            address
                .map(|address| address.port())
                .map_err(|error| format!("no free port: {error}"))
        };
        let pair = |two: &[TcpListener]| {
            Ok(Self {
                broker: port(&two[0])?,
                controller: port(&two[1])?,
            })
        };
        listeners.chunks_exact(2).map(pair).collect()
    }
}

fn listener() -> Result<TcpListener, String> {
    TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no free port: {error}"))
}

/// A broker's folder and process.
#[derive(Debug)]
pub(crate) struct Node {
    address: String,
    folder: PathBuf,
    libs: PathBuf,
    heap: &'static str,
    process: Option<Child>,
}

impl Node {
    /// Writes the configuration and formats the storage of node `index` of `all`, without starting it.
    pub(crate) fn format(
        libs: &Path,
        folder: PathBuf,
        index: usize,
        all: &[Ports],
        heap: &'static str,
    ) -> Result<Self, String> {
        fs::create_dir_all(&folder).map_err(|error| format!("folder cannot be made: {error}"))?;
        let node = Self {
            address: format!("127.0.0.1:{}", all[index].broker),
            folder,
            libs: libs.to_owned(),
            heap,
            process: None,
        };
        let text = properties(index, all, &node.folder.join("data"));
        fs::write(node.config(), text).map_err(|error| format!("configuration cannot be written: {error}"))?;
        let formatted = node
            .java()
            .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
            .arg(node.config())
            .output()
            .map_err(|error| format!("Java cannot be run: {error}"))?;
        if !formatted.status.success() {
            return Err(format!(
                "storage cannot be formatted: {}",
                String::from_utf8_lossy(&formatted.stderr)
            ));
        }
        Ok(node)
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn config(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args([self.heap, "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4"]);
        java.arg(format!("-Dkafka.logs.dir={}", self.folder.display()));
        java.arg("-cp").arg(format!("{}/*", self.libs.display()));
        java
    }

    /// Starts the process on its files; it does not answer yet.
    pub(crate) fn spawn(&mut self) -> Result<(), String> {
        let output = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("broker.log"))
            .map_err(|error| format!("log cannot be created: {error}"))?;
        let errors = output
            .try_clone()
            .map_err(|error| format!("log cannot be shared: {error}"))?;
        let mut command = Command::new("sh");
        // The shell holds our pipe: when this process ends, however it ends, the pipe closes and the broker goes too.
        command.args([
            "-c",
            "\"$@\" & broker=$!; echo $broker >\"$0\"; cat >/dev/null; kill -9 $broker; wait $broker",
        ]);
        let java = self.java();
        command
            .arg(self.pid_file())
            .arg(java.get_program())
            .args(java.get_args())
            .arg("kafka.Kafka")
            .arg(self.config());
        let process = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("broker cannot be started: {error}"))?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until the process answers; one that does not is killed.
    pub(crate) fn await_answer(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < START_BUDGET {
            if self.answers() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.kill();
        let log = fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        Err(format!(
            "broker did not answer in time: {}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        ))
    }

    /// Whether it answers now.
    pub(crate) fn answers(&self) -> bool {
        ask::answers(&self.address)
    }

    /// Ends the process at once, as a machine that loses power does; its files stay.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The shell that watches the broker kills it when its input closes.
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }

    /// Sends a signal to the broker itself, not to the shell that watches it.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), String> {
        let text = fs::read_to_string(self.pid_file()).map_err(|error| format!("no process id: {error}"))?;
        let pid: i32 = text.trim().parse().map_err(|error| format!("no process id: {error}"))?;
        if self.process.is_none() {
            return Err("broker does not run".to_owned());
        }
        // SAFETY: the process is a child of our own shell, which waits for it only after we close its input.
        if unsafe { libc::kill(pid, signal) } == 0 {
            return Ok(());
        }
        Err(format!("signal was refused: {}", std::io::Error::last_os_error()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A broker that died is noticed within three seconds instead of nine: until then nobody else leads its partitions, and its own next
/// incarnation is refused.
fn properties(index: usize, all: &[Ports], data: &Path) -> String {
    let Ports { broker, controller } = all[index];
    let id = index + 1;
    let voters: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(index, ports)| format!("{}@127.0.0.1:{}", index + 1, ports.controller))
        .collect();
    let (voters, replication) = (voters.join(","), all.len().min(3));
    let in_sync = replication.saturating_sub(1).max(1);
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=2097152
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=5000
",
        data.display()
    )
}

/// The folder of jars: named by `WAYMARK_KAFKA_LIBS`, or `target/kafka/libs` of the nearest workspace above.
pub(crate) fn libs() -> Result<PathBuf, String> {
    if let Ok(named) = std::env::var("WAYMARK_KAFKA_LIBS") {
        return Ok(PathBuf::from(named));
    }
    let here = std::env::current_dir().map_err(|error| format!("no working folder: {error}"))?;
    let found = here
        .ancestors()
        .map(|folder| folder.join("target/kafka/libs"))
        .find(|libs| libs.is_dir());
    found.ok_or_else(|| {
        "no jars in target/kafka/libs; fetch them: mvn -f tests/kafka/pom.xml dependency:copy-dependencies".to_owned()
    })
}

/// Starts something, or prints why not and returns `None`, unless the environment says that a real Kafka is required.
pub(crate) fn for_test<T>(start: impl FnOnce() -> Result<T, String>) -> Option<T> {
    match start() {
        Ok(started) => Some(started),
        Err(error) => {
            let required = std::env::var("WAYMARK_REQUIRE_KAFKA").is_ok_and(|value| value == "1");
            assert!(!required, "a real Kafka is required: {error}");
            eprintln!("skipped: no real Kafka: {error}");
            None
        }
    }
}
