//! The shop's log through the binary's services: the same signals on the embedded log and on a real Kafka, with two monitor workers,
//! `kill -9` of every process in the middle, and a deleted state directory.

mod binary;
mod shop;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use binary::{Running, done, eventually, settings, tap, waymark};
use serde_json::Value;
use shop::data;
use testkit::broker::Kafka;

/// Without what depends on where records happened to stand.
fn without_positions(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| name.as_str() != "position");
            Value::Object(
                kept.map(|(name, value)| (name.clone(), without_positions(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(without_positions).collect(),
        other => other.clone(),
    }
}

/// Signals by id; a second record of one id is a failure.
fn signals(set: &[String]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for line in tap(set, "journey.signals") {
        let value = without_positions(&line["value"]);
        let id = value["id"].as_str().expect("an id").to_owned();
        assert!(found.insert(id, value).is_none(), "a signal was published twice");
    }
    found
}

fn check_figures(signals: &BTreeMap<String, Value>) {
    let of = |pattern: &str| {
        let matches: Vec<&Value> = signals.values().filter(|signal| signal["pattern"] == pattern).collect();
        let sessions: BTreeSet<&str> = matches
            .iter()
            .filter_map(|signal| signal["by"]["session"].as_str())
            .collect();
        (matches.len(), sessions.len())
    };
    assert_eq!(of("ecom-payment-failed"), (13, 13));
    assert_eq!(of("ecom-cart-abandoned"), (881, 870));
}

fn check_nothing_is_lost(set: &[String]) {
    let events = tap(set, "journey.timeline")
        .into_iter()
        .filter(|line| line["value"]["type"] != "tick")
        .count();
    assert_eq!(
        events, 31_106,
        "rows sent = events on the timeline; nothing is dead-lettered"
    );
}

/// Replays on the embedded log; returns the signals and the last log line, which holds what was counted.
fn embedded(data: &Path, dir: &Path) -> (BTreeMap<String, Value>, Value) {
    let mut replay = waymark(
        &[],
        &[
            "replay",
            "--map",
            "tests/ecom/mapping.toml",
            "--patterns",
            "tests/ecom/patterns",
        ],
    );
    replay.arg("--events").arg(data).arg("--embedded").arg(dir);
    let output = done(replay);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = log.lines().rev().find(|line| line.starts_with('{')).unwrap_or("null");
    let counted = serde_json::from_str(last).expect("a log line");
    let set = [
        "service.log=embedded".to_owned(),
        format!("service.data_dir={}", dir.display()),
    ];
    check_nothing_is_lost(&set);
    (signals(&set), counted)
}

#[test]
fn the_embedded_log_finds_what_the_file_contains() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let (first, counted) = embedded(&data, dir.path());
    check_figures(&first);
    assert_eq!(
        (&counted["message"], &counted["duplicates"]),
        (&Value::from("stopped"), &Value::from(30))
    );
    assert_eq!(counted["matches"], 13 + 881);
    // A second run under the same name sends nothing more.
    assert_eq!(embedded(&data, dir.path()).0, first);
}

#[test]
fn a_real_kafka_finds_the_same_though_every_process_is_killed() {
    let Some(data) = data() else { return };
    let Some(kafka) = Kafka::for_test() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let (expected, _) = embedded(&data, &dir.path().join("embedded"));

    let more = [
        "kafka.session_timeout=6s",
        "intake.clock=events",
        "topics.retention=0",
        // Often enough that a restore finds a trimmed changelog.
        "state.snapshot_bytes=64KiB",
    ];
    let set = settings(&kafka, dir.path(), &more);
    done(waymark(&set, &["topics", "apply", "--yes"]));
    done(waymark(&set, &["pattern", "apply", "tests/ecom/patterns", "--yes"]));

    let start = |service: &str, instance: &str| Running::start(&set, &[service], instance, dir.path());
    let (intake, one, two) = (start("intake", "a"), start("monitor", "m1"), start("monitor", "m2"));
    let replay = |pause: &str| {
        let mut replay = waymark(
            &set,
            &[
                "replay",
                "--map",
                "tests/ecom/mapping.toml",
                "--batch",
                "500",
                "--pause",
                pause,
            ],
        );
        replay.arg("--events").arg(&data);
        replay
    };
    let sending = Running::of(
        replay("100")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary runs"),
    );
    let is_trimmed = || {
        ["monitor-m1", "monitor-m2"].iter().any(|name| {
            let log = std::fs::read_to_string(dir.path().join(format!("{name}.log"))).unwrap_or_default();
            log.contains("changelog trimmed to its snapshot")
        })
    };
    std::thread::sleep(Duration::from_secs(5));
    // A machine that is busy has come less far by then.
    eventually("what is restored begins with a snapshot", is_trimmed);
    // Every process dies in the middle; one monitor loses its disk too.
    sending.kill();
    intake.kill();
    one.kill();
    two.kill();
    std::fs::remove_dir_all(dir.path().join("m1")).expect("its state was there");
    let _running = (start("intake", "a"), start("monitor", "m1"), start("monitor", "m2"));
    done(replay("0"));

    let until = Instant::now() + Duration::from_secs(180);
    let mut found = BTreeMap::new();
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(2));
        found = signals(&set);
        if found.len() >= expected.len() {
            break;
        }
    }
    if found.len() != expected.len() {
        for name in ["intake-a", "monitor-m1", "monitor-m2"] {
            let log = std::fs::read_to_string(dir.path().join(format!("{name}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("{name}:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
    check_figures(&found);
    assert_eq!(found, expected);
    check_nothing_is_lost(&set);
    // An outsider who knows the topics alone agrees, while the services run.
    done(waymark(&set, &["audit"]));
}
