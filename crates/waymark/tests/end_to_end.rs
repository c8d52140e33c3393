//! The shop's log through the binary's services on the embedded log.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The log lies beside the checkout, never in it.
fn data() -> Option<PathBuf> {
    let beside = repository().join("../shared/data/journeys/ecom.csv.gz");
    let found = std::env::var_os("WAYMARK_ECOM").map_or(beside, PathBuf::from);
    if found.is_file() {
        return Some(found);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the shop's log is absent: {}",
        found.display()
    );
    eprintln!("skipped: the shop's log is absent: {}", found.display());
    None
}

fn waymark(set: &[String], words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waymark"));
    command.current_dir(repository()).args(words);
    for set in set {
        command.arg("--set").arg(set);
    }
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().expect("the binary runs");
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn tap(set: &[String], topic: &str) -> Vec<Value> {
    let output = done(waymark(set, &["tap", topic, "--all", "--reveal"]));
    let text = String::from_utf8(output.stdout).expect("JSON lines");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

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

fn embedded(data: &Path, dir: &Path) -> BTreeMap<String, Value> {
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
    done(replay);
    let set = [
        "service.log=embedded".to_owned(),
        format!("service.data_dir={}", dir.display()),
    ];
    check_nothing_is_lost(&set);
    signals(&set)
}

#[test]
fn the_embedded_log_finds_what_the_file_contains() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let first = embedded(&data, dir.path());
    check_figures(&first);
    // A second run under the same name sends nothing more.
    assert_eq!(embedded(&data, dir.path()), first);
}
