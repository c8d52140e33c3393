//! `waymark topics`, `config show`, `check`: what an operator does before anything runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use kafka::Admin;
use serde_json::{Value, json};
use service::{config::OPTIONS, topics::TopicSpec};

use crate::{
    catalogue,
    cli::{ConfigCommand, Global, TopicsCommand},
    context,
    patterns::apply::agreed,
    report::{Exit, Failure, Report},
};

/// What a topic needs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Create,
    Alter(BTreeMap<String, String>),
    /// Another partition count: keys would change owner.
    Refused(i32),
    Nothing,
}

/// `waymark topics plan|apply`.
///
/// # Errors
/// [`Failure`] if the brokers do not answer, or a partition count differs.
pub fn topics(global: &Global, command: &TopicsCommand) -> Result<Report, Failure> {
    let config = context::config(global)?;
    let admin = Admin::connect(&context::kafka(&config)?.connection())?;
    let specs = context::specs(&config);
    let replication = i32::try_from(config.number("topics.replication")).unwrap_or(3);
    let needs = plan(&admin, &specs)?;
    let mut text = String::new();
    let mut rows: Vec<Value> = Vec::new();
    for (spec, need) in specs.iter().zip(&needs) {
        let (word, detail) = match need {
            Need::Create => (
                "create",
                format!("partitions={} replication={replication}", spec.partitions),
            ),
            Need::Alter(settings) => {
                let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
                ("alter", settings.join(" "))
            }
            Need::Refused(found) => ("refused", format!("partitions={found} expected={}", spec.partitions)),
            Need::Nothing => ("ok", String::new()),
        };
        text.push_str(format!("{word:8} {} {detail}", spec.name).trim_end());
        text.push('\n');
        rows.push(json!({ "topic": spec.name, "need": word, "detail": detail }));
    }
    let refused = needs.iter().any(|need| matches!(need, Need::Refused(_)));
    let todo = needs
        .iter()
        .filter(|need| matches!(need, Need::Create | Need::Alter(_)))
        .count();
    let mut report = Report {
        command: "topics plan",
        exit: if refused { Exit::Unsafe } else { Exit::Done },
        findings: Vec::new(),
        data: json!({ "topics": rows, "to_do": todo }),
        text,
    };
    let TopicsCommand::Apply { yes, dry_run } = command else {
        if report.exit == Exit::Done && todo > 0 {
            report.exit = Exit::Findings;
        }
        return Ok(report);
    };
    report.command = "topics apply";
    if refused || *dry_run || todo == 0 {
        return Ok(report);
    }
    eprint!("{}", report.text);
    if !agreed(*yes, &format!("Change {todo} topics?")) {
        report.text = "nothing was changed".to_owned();
        report.exit = Exit::Findings;
        return Ok(report);
    }
    for (spec, need) in specs.iter().zip(&needs) {
        match need {
            Need::Create => {
                let mut settings = spec.configs.clone();
                settings.insert("min.insync.replicas".to_owned(), (replication - 1).max(1).to_string());
                admin.create(&spec.name, spec.partitions, replication, &settings)?;
            }
            Need::Alter(settings) => admin.alter(&spec.name, settings)?,
            Need::Refused(_) | Need::Nothing => {}
        }
    }
    wait_until_known(&admin, specs.iter().map(|spec| spec.name.as_str()).collect())?;
    report.text = format!("changed {todo} topics");
    Ok(report)
}

/// How long a broker may take to know topics that its controller has made.
const SPREADING: Duration = Duration::from_secs(30);

/// Waits until topics are known: who starts a service next should find them.
fn wait_until_known(admin: &Admin, mut names: BTreeSet<&str>) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let known = admin.topics()?;
        names.retain(|name| !known.iter().any(|state| state.name == *name));
        let Some(missing) = names.first() else { return Ok(()) };
        if begun.elapsed() > SPREADING {
            return Err(format!("topics were made, and the broker does not know them yet: topic={missing}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn plan(admin: &Admin, specs: &[TopicSpec]) -> Result<Vec<Need>, Failure> {
    let known = admin.topics()?;
    specs
        .iter()
        .map(|spec| {
            let Some(found) = known.iter().find(|state| state.name == spec.name) else {
                return Ok(Need::Create);
            };
            if found.partitions != spec.partitions {
                return Ok(Need::Refused(found.partitions));
            }
            let settings = admin.settings(&spec.name)?;
            let differs = spec
                .configs
                .iter()
                .filter(|(key, value)| settings.get(*key) != Some(value));
            let differs: BTreeMap<String, String> = differs.map(|(key, value)| (key.clone(), value.clone())).collect();
            Ok(if differs.is_empty() {
                Need::Nothing
            } else {
                Need::Alter(differs)
            })
        })
        .collect()
}

/// `waymark config show`.
///
/// # Errors
/// [`Failure`] if the configuration is wrong.
pub fn show_config(global: &Global, command: &ConfigCommand) -> Result<Report, Failure> {
    let ConfigCommand::Show { origin, defaults } = command;
    let mut text = String::new();
    let mut rows: Vec<Value> = Vec::new();
    if *defaults {
        for option in OPTIONS {
            let default = option.default.unwrap_or("-");
            text.push_str(&format!("{:28} {default:20} {}\n", option.key, option.meaning));
            rows.push(
                json!({ "option": option.key, "default": option.default, "meaning": option.meaning,
                "changes_outputs": option.changes_outputs }),
            );
        }
    } else {
        let config = context::config(global)?;
        for (key, value, from) in config.iter() {
            text.push_str(&format!("{key} = {value:?}"));
            if *origin {
                text.push_str(&format!("  # {from}"));
            }
            text.push('\n');
            rows.push(json!({ "option": key, "value": value, "origin": from.to_string() }));
        }
    }
    Ok(Report {
        command: "config show",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({ "options": rows }),
        text,
    })
}

/// `waymark check`: configuration and patterns; with `connect` the brokers too.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn check(global: &Global, paths: &[PathBuf], connect: bool) -> Result<Report, Failure> {
    let config = context::config(global)?;
    let mut lines = vec!["configuration  ok".to_owned()];
    let default = [PathBuf::from("patterns")];
    let paths = if paths.is_empty() && default[0].is_dir() {
        &default
    } else {
        paths
    };
    if !paths.is_empty() {
        let catalogue = catalogue::read(paths)?;
        lines.push(format!(
            "patterns       ok: {} with their tests",
            catalogue.patterns.len()
        ));
    }
    match context::secret(&config) {
        Ok(_) => lines.push("secret         ok".to_owned()),
        Err(failure) => lines.push(format!("secret         note: {}", failure.message)),
    }
    let mut exit = Exit::Done;
    if connect {
        let admin = Admin::connect(&context::kafka(&config)?.connection())?;
        let specs = context::specs(&config);
        let needs = plan(&admin, &specs)?;
        let missing = needs.iter().filter(|need| **need != Need::Nothing).count();
        if missing > 0 {
            exit = Exit::Findings;
        }
        lines.push(format!(
            "brokers        ok: {} topics, {missing} with work to do",
            specs.len()
        ));
    }
    Ok(Report {
        command: "check",
        exit,
        findings: Vec::new(),
        data: json!({ "checks": lines }),
        text: lines.join("\n"),
    })
}
