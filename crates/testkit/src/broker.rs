//! A real Apache Kafka for tests: one KRaft broker from jars, on free ports, gone with its owner.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a broker may take to answer its first request.
const START_BUDGET: Duration = Duration::from_secs(90);

/// A running broker. Dropping it stops the process and deletes its files.
#[derive(Debug)]
pub struct Kafka {
    address: String,
    config: PathBuf,
    libs: PathBuf,
    process: Option<Child>,
    // Declared last: the files go after the process.
    folder: TempDir,
}

impl Kafka {
    /// Starts a broker, or says why it cannot.
    ///
    /// # Errors
    /// A message if jars or Java are absent, or no broker answers in time.
    pub fn start() -> Result<Self, String> {
        let libs = libs()?;
        let mut last = String::new();
        // A free port may be taken by another before the broker binds it.
        for _ in 0..3 {
            match Self::try_start(&libs) {
                Ok(kafka) => return Ok(kafka),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Starts a broker for a test. Where there are no jars it prints why and returns `None`, unless the environment says that
    /// a real Kafka is required.
    ///
    /// # Panics
    /// If no broker starts although one is required.
    #[must_use]
    pub fn for_test() -> Option<Self> {
        match Self::start() {
            Ok(kafka) => Some(kafka),
            Err(error) => {
                let required = std::env::var("WAYMARK_REQUIRE_KAFKA").is_ok_and(|value| value == "1");
                assert!(!required, "a real Kafka is required: {error}");
                eprintln!("skipped: no real Kafka: {error}");
                None
            }
        }
    }

    fn try_start(libs: &Path) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
        let (broker, controller) = (free_port()?, free_port()?);
        let config = folder.path().join("server.properties");
        let data = folder.path().join("data");
        let text = properties(broker, controller, &data);
        fs::write(&config, text).map_err(|error| format!("configuration cannot be written: {error}"))?;
        let formatted = java(libs, folder.path())
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "MkU3OEVBNTcwNTJENDM2Qg",
                "-c",
            ])
            .arg(&config)
            .output()
            .map_err(|error| format!("Java cannot be run: {error}"))?;
        if !formatted.status.success() {
            return Err(format!(
                "storage cannot be formatted: {}",
                String::from_utf8_lossy(&formatted.stderr)
            ));
        }
        let mut kafka = Self {
            address: format!("127.0.0.1:{broker}"),
            config,
            libs: libs.to_owned(),
            process: None,
            folder,
        };
        kafka.resume()?;
        Ok(kafka)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the broker at once, as a machine that loses power does; its files stay.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The shell that watches the broker kills it when its input closes.
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }

    /// Starts the broker again on its files.
    ///
    /// # Errors
    /// A message if it does not answer in time.
    pub fn resume(&mut self) -> Result<(), String> {
        let output = fs::File::create(self.folder.path().join("broker.log"))
            .map_err(|error| format!("log cannot be created: {error}"))?;
        let errors = output
            .try_clone()
            .map_err(|error| format!("log cannot be shared: {error}"))?;
        let mut command = Command::new("sh");
        // The shell holds our pipe: when this process ends, however it ends, the pipe closes and the broker goes too.
        command.args([
            "-c",
            "\"$@\" & broker=$!; cat >/dev/null; kill -9 $broker; wait $broker",
            "sh",
        ]);
        let java = java(&self.libs, self.folder.path());
        command
            .arg(java.get_program())
            .args(java.get_args())
            .arg("kafka.Kafka")
            .arg(&self.config);
        let process = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("broker cannot be started: {error}"))?;
        self.process = Some(process);
        let begun = Instant::now();
        while begun.elapsed() < START_BUDGET {
            if answers(&self.address) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        self.kill();
        let log = fs::read_to_string(self.folder.path().join("broker.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        Err(format!(
            "broker did not answer in time: {}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        ))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.kill();
    }
}

fn java(libs: &Path, folder: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4"]);
    java.arg(format!("-Dkafka.logs.dir={}", folder.display()));
    java.arg("-cp").arg(format!("{}/*", libs.display()));
    java
}

fn properties(broker: u16, controller: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=2097152
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
",
        data.display()
    )
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no free port: {error}"))?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// Asks for the broker's API versions: a real request, since a port is open before requests are served.
fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        // Size, ApiVersions (18) version 0, correlation id 1, client id of length 0.
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0, 0])?;
        let mut head = [0; 10];
        stream.read_exact(&mut head)?;
        Ok(head[4..8] == [0, 0, 0, 1] && head[8..10] == [0, 0])
    };
    ask().unwrap_or(false)
}

/// The folder of jars: named by `WAYMARK_KAFKA_LIBS`, or `target/kafka/libs` of the nearest workspace above.
fn libs() -> Result<PathBuf, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_answers_dies_and_comes_back_on_the_same_address() {
        let Some(mut kafka) = Kafka::for_test() else { return };
        assert!(answers(kafka.address()));
        kafka.kill();
        assert!(!answers(kafka.address()));
        kafka.resume().expect("starts again");
        assert!(answers(kafka.address()));
    }
}
