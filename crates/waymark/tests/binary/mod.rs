//! The binary as a user runs it.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::{KafkaConfig, Publisher};
use serde_json::{Value, json};
use stream::Output;
use testkit::broker::Kafka;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn waymark(set: &[String], words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waymark"));
    command.current_dir(repository()).args(words);
    for set in set {
        command.arg("--set").arg(set);
    }
    command
}

/// Settings for small services on a broker, with a secret in the folder.
pub fn settings(kafka: &Kafka, dir: &Path, more: &[&str]) -> Vec<String> {
    let secret = dir.join("secret");
    std::fs::write(&secret, "waymark-demo").expect("written");
    let own = [
        format!("kafka.brokers={}", kafka.address()),
        format!("privacy.key_secret_file={}", secret.display()),
    ];
    let small = [
        "intake.start=earliest",
        "topics.partitions=4",
        "topics.raw_partitions=2",
        "topics.output_partitions=2",
        "topics.replication=1",
    ];
    let rest = small.iter().chain(more).map(|set| (*set).to_owned());
    own.into_iter().chain(rest).collect()
}

/// An event of the web shop, as its producer writes it.
pub fn event(customer: &str, kind: &str) -> Vec<u8> {
    let attributes = match kind {
        "order.completed" => json!({ "order_id": "o-1", "value": 9.5, "currency": "EUR" }),
        _ => json!({ "value": 9.5, "currency": "EUR" }),
    };
    let event = json!({
        "id": format!("{customer}-{kind}"), "source": "shop/web", "type": kind, "time": codec::time(service::wall()),
        "identifiers": [{ "kind": "customer", "value": customer }], "attributes": attributes,
    });
    event.to_string().into_bytes()
}

/// Writes a pattern into a folder of its own: a checkout without an order within some seconds.
pub fn hesitation(dir: &Path, seconds: u32) -> String {
    let folder = dir.join("patterns");
    std::fs::create_dir(&folder).expect("made");
    let pattern = HESITATION.replace("SECONDS", &seconds.to_string());
    std::fs::write(folder.join("live-hesitation.yaml"), pattern).expect("written");
    folder.to_str().expect("a path").to_owned()
}

const HESITATION: &str = r#"
pattern: live-hesitation
version: 1
title: Starts to pay, then goes quiet for some seconds
owner: test
status: live
when:
  within: 1m
  sequence:
    - see: checkout.started
    - absent: order.completed
      for: SECONDSs
then:
  intervene: chat_offer
  channels: [chat]
  priority: 50
  valid_for: 10m
  cancel_on: [order.completed]
  because:
    en: "quiet for SECONDS seconds"
guard: { consent: service, cooldown: 1h }
rollout: { percent: 100, holdout: 0, seed: live-1 }
tests:
  - name: quiet
    given:
      - { at: 0s, is: checkout.started, value: 1, currency: EUR }
    expect: [ { at: SECONDSs, intervene: chat_offer } ]
  - name: pays
    given:
      - { at: 0s, is: checkout.started, value: 1, currency: EUR }
      - { at: 1s, is: order.completed, order_id: o1, value: 1, currency: EUR }
    expect: []
"#;

pub fn done(mut command: Command) -> process::Output {
    let output = command.output().expect("the binary runs");
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub fn tap(set: &[String], topic: &str) -> Vec<Value> {
    let output = done(waymark(set, &["tap", topic, "--all", "--reveal"]));
    let text = String::from_utf8(output.stdout).expect("JSON lines");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

/// A service that is killed if the test fails.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Watches over a process.
    pub fn of(child: Child) -> Self {
        let log = PathBuf::new();
        Self { child, log }
    }

    /// Starts services in one process, with a disk and a log of their own.
    pub fn start(set: &[String], services: &[&str], instance: &str, dir: &Path) -> Self {
        let mut set = set.to_vec();
        set.push(format!("service.instance={instance}"));
        set.push(format!("service.data_dir={}", dir.join(instance).display()));
        set.push("service.admin_listen=127.0.0.1:0".to_owned());
        set.push("console.listen=127.0.0.1:0".to_owned());
        let log = dir.join(format!("{}-{instance}.log", services.join("-")));
        let file = std::fs::File::create(&log).expect("a log");
        let words: Vec<&str> = std::iter::once("run").chain(services.iter().copied()).collect();
        let child = waymark(&set, &words).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.expect("the binary runs");
        Self { child, log }
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end; returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: the process is our own child and not yet waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.child.wait().expect("it ends").code()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The address in the log line with this message; waits for it.
    pub fn address(&self, message: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            for line in self.log().lines() {
                let line: Value = serde_json::from_str(line).unwrap_or_default();
                if line["message"] == message {
                    return line["address"].as_str().expect("an address").to_owned();
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no line {message:?} in:\n{}", self.log());
    }
}

/// Status and body of a page.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.expect("a status"), body.to_owned())
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A live producer.
pub struct Producer(Publisher);

impl Producer {
    /// Connects.
    pub fn open(brokers: &str) -> Self {
        Self(Publisher::open(&KafkaConfig::new(brokers, "", "live-producer")).expect("a producer"))
    }

    /// Sends to a raw topic, without a key, as many senders do.
    pub fn send(&mut self, channel: &str, value: Vec<u8>) {
        self.publish(&format!("journey.events.{channel}"), value, Vec::new());
    }

    /// Sends to any topic.
    pub fn publish(&mut self, topic: &str, value: Vec<u8>, headers: Vec<stream::Header>) {
        let output = Output {
            topic: Arc::from(topic),
            partition: None,
            timestamp: None,
            key: None,
            value: Some(value),
            headers,
        };
        self.publish_all(&[output]);
    }

    /// Sends records as they are.
    pub fn publish_all(&mut self, outputs: &[Output]) {
        self.0.publish(outputs).expect("sent");
    }
}
