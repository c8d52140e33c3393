//! The two example channel services, subscribed to the whole pipeline on a real Kafka.

mod binary;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use binary::{Producer, Running, done, event, eventually, hesitation, repository, settings, tap, waymark};
use codec::Published as _;
use event::{Action, Effect, Intervention, OutChannel};
use serde_json::Value;
use testkit::broker::Kafka;

/// Both services, each with a group of its own; `None` where the Python packages are not there and nobody insists.
fn commands(brokers: &str, dir: &Path) -> Option<[(&'static str, Command, PathBuf); 2]> {
    let rust = Path::new(env!("CARGO_BIN_EXE_waymark")).with_file_name("chat-service");
    let python = repository().join("target/venv-examples/bin/python");
    if !(rust.exists() && python.exists()) {
        let required = std::env::var("WAYMARK_REQUIRE_KAFKA").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "`make examples-venv` and `cargo build -p chat-service` make the examples"
        );
        eprintln!("skipped: the examples are not built");
        return None;
    }
    let command = |name: &'static str, mut command: Command| {
        let shown = dir.join(format!("shown-{name}"));
        command.args(["--brokers", brokers, "--group", name, "--answer-after", "8", "--shown"]);
        command.arg(&shown);
        (name, command, shown)
    };
    let mut python = Command::new(python);
    python.arg(repository().join("examples/chat-python/chat_service.py"));
    Some([command("chat-rust", Command::new(rust)), command("chat-python", python)])
}

/// Reports of one service: (type, customer's key).
fn reports(set: &[String], source: &str) -> Vec<(String, String)> {
    let source = format!("examples/{source}");
    let mut found: Vec<(String, String)> = tap(set, "journey.events.business")
        .iter()
        .map(|line| &line["value"])
        .filter(|event| event["source"] == source.as_str())
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&event["type"]), text(&event["identifiers"][0]["value"]))
        })
        .collect();
    found.sort();
    found
}

/// An intervention as another producer of the topic might write it.
fn crafted(producer: &mut Producer, customer: &str, ce_id: &str, change: impl FnOnce(&mut Intervention)) {
    let now = service::wall();
    let mut intervention = Intervention {
        action: Action::Start,
        customer: customer.to_owned(),
        idempotency_key: format!("{customer}/chat"),
        kind: "chat_offer".to_owned(),
        channel: OutChannel::Chat,
        effect: Effect::Offer,
        created_at: now,
        expires_at: now.plus(600_000),
        because: [("en".to_owned(), "crafted".to_owned())].into(),
        ..Intervention::default()
    };
    change(&mut intervention);
    let headers = vec![("ce_id".to_owned(), Some(ce_id.as_bytes().to_vec()))];
    producer.publish("journey.interventions.chat", intervention.encode(), headers);
}

#[test]
fn both_services_show_accept_withdraw_and_refuse_as_they_must() {
    let Some(kafka) = Kafka::for_test() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let Some(services) = commands(kafka.address(), dir.path()) else {
        return;
    };
    let patterns = hesitation(dir.path(), 2);
    let set = settings(&kafka, dir.path(), &[]);
    done(waymark(&set, &["topics", "apply", "--yes"]));
    done(waymark(&set, &["pattern", "apply", &patterns, "--yes"]));
    let pipeline = Running::start(&set, &["intake", "monitor"], "one", dir.path());
    let mut running = Vec::new();
    let mut shown = Vec::new();
    for (name, mut command, file) in services {
        let log = std::fs::File::create(dir.path().join(format!("{name}.log"))).expect("a log");
        let child = command
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        running.push((name, Running::of(child.expect("it runs"))));
        shown.push(file);
    }
    let lines = |file: &Path| std::fs::read_to_string(file).unwrap_or_default().lines().count();

    let mut producer = Producer::open(kafka.address());
    producer.send("web", event("anna", "checkout.started"));
    eventually("anna is shown an offer", || shown.iter().all(|file| lines(file) == 1));
    eventually("anna accepts", || {
        running.iter().all(|(name, _)| {
            reports(&set, name)
                .iter()
                .any(|(kind, _)| kind == "intervention.accepted")
        })
    });
    producer.send("web", event("bert", "checkout.started"));
    eventually("bert is shown an offer", || shown.iter().all(|file| lines(file) == 2));
    producer.send("web", event("bert", "order.completed"));
    eventually("bert's offer is withdrawn", || {
        running.iter().all(|(name, _)| {
            reports(&set, name)
                .iter()
                .any(|(kind, _)| kind == "intervention.cancelled")
        })
    });

    // What the pipeline itself would not send in a test: expired, not understood, and one record twice.
    crafted(&mut producer, "c.expired", "1", |one| {
        one.expires_at = one.created_at.plus(-1)
    });
    crafted(&mut producer, "c.unknown", "2", |one| one.effect = Effect::Unknown);
    for _ in 0..2 {
        crafted(&mut producer, "c.twice", "3", |_| {});
    }
    eventually("the crafted one is shown once", || {
        shown.iter().all(|file| lines(file) == 3)
    });
    std::thread::sleep(Duration::from_secs(2));

    let signals = tap(&set, "journey.signals");
    let keys: Vec<&str> = signals
        .iter()
        .filter_map(|line| line["value"]["customer"].as_str())
        .collect();
    let [anna, bert] = keys[..] else {
        panic!("two customers: {signals:?}");
    };
    let of = |customer: &str, kinds: &[&str]| -> Vec<(String, String)> {
        kinds
            .iter()
            .map(|kind| (format!("intervention.{kind}"), customer.to_owned()))
            .collect()
    };
    let (anna, bert) = if reports(&set, "chat-rust").contains(&of(anna, &["accepted"])[0]) {
        (anna, bert)
    } else {
        (bert, anna)
    };
    let mut expected = [
        of(anna, &["shown", "accepted"]),
        of(bert, &["shown", "cancelled"]),
        of("c.unknown", &["failed"]),
        of("c.twice", &["shown"]),
    ]
    .concat();
    expected.sort();
    for (name, _) in &running {
        let log = std::fs::read_to_string(dir.path().join(format!("{name}.log"))).unwrap_or_default();
        assert_eq!(reports(&set, name), expected, "{name}\n{log}");
    }
    eventually("the journey knows that anna accepted", || {
        tap(&set, "journey.profiles").iter().any(|line| {
            let profile = &line["value"];
            profile["customer"] == anna && profile["interventions"].to_string().contains("accepted")
        })
    });
    for (name, one) in running {
        assert_eq!(one.stop(), Some(0), "{name} ends when asked");
    }
    assert_eq!(pipeline.stop(), Some(0));
}
