//! What stands in `deploy/` fits what the services are.

use std::{collections::BTreeSet, path::Path};

use service::{
    config::OPTIONS,
    telemetry::{Kind, METRICS},
};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names that begin with `waymark_`.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    text.match_indices("waymark_")
        .map(|(at, _)| &text[at..at + text[at..].find(|letter| !is_part(letter)).unwrap_or(text.len() - at)])
        .collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let mut exported = BTreeSet::new();
    for metric in METRICS {
        exported.insert(metric.name.to_owned());
        if matches!(metric.kind, Kind::Seconds | Kind::Score) {
            exported.extend(["_bucket", "_count", "_sum"].map(|part| format!("{}{part}", metric.name)));
        }
    }
    for path in [
        "deploy/prometheus/waymark.rules.yml",
        "deploy/prometheus/waymark.rules.test.yml",
        "deploy/grafana/dashboards/waymark.json",
    ] {
        let text = file(path);
        let found = names(&text);
        assert!(found.len() > 10, "{path} names metrics");
        let unknown: Vec<&&str> = found.iter().filter(|name| !exported.contains(**name)).collect();
        assert!(unknown.is_empty(), "{path} names what nobody exports: {unknown:?}");
    }
}

#[test]
fn every_alert_has_a_rule_a_metric_that_names_it_and_a_section_of_the_runbook() {
    let rules = file("deploy/prometheus/waymark.rules.yml");
    let alerts: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let runbook = file("docs/RUNBOOK.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(alerts, sections);
    let named: BTreeSet<&str> = METRICS
        .iter()
        .filter_map(|metric| metric.meaning.split("**").nth(1))
        .collect();
    assert_eq!(alerts, named);
    for alert in alerts {
        let anchor = format!("docs/RUNBOOK.md#{}", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{alert} leads to its section");
    }
}

#[test]
fn compose_runs_the_kafka_that_is_tested_and_sets_options_that_exist() {
    let compose = file("docker-compose.yml");
    let pom = file("tests/kafka/pom.xml");
    let tested = pom
        .split("<kafka.version>")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let tested = tested.expect("a version");
    assert!(
        compose.contains(&format!("image: apache/kafka:{tested}\n")),
        "tested with {tested}"
    );
    let known: BTreeSet<String> = OPTIONS
        .iter()
        .map(|option| format!("WAYMARK__{}", option.key.replace('.', "__").to_uppercase()))
        .collect();
    for text in [&compose, &file("deploy/Dockerfile")] {
        for (at, _) in text.match_indices("WAYMARK__") {
            let rest = &text[at..];
            let end = rest.find(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
            let name = &rest[..end.unwrap_or(rest.len())];
            assert!(known.contains(name), "no such option: {name}");
        }
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("deploy/grafana/dashboards/waymark.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let source = file("deploy/grafana/provisioning/datasources/prometheus.yml");
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(
            panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()),
            "{title} shows something"
        );
        let uid = panel["datasource"]["uid"].as_str().expect("a source");
        assert!(
            source.contains(&format!("uid: {uid}\n")),
            "{title} asks a source that is provisioned"
        );
    }
}
