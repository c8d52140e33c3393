//! `waymark pattern apply`: lint, tests, the difference to what is published, a question, and the topic.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, IsTerminal as _, Write as _},
};

use event::Millis;
use pattern::POLICY_KEY;
use serde_json::{Value, json};
use service::{backend::Backend, wall};

use super::{
    diff,
    load::{Loaded, load},
};
use crate::{
    catalogue::{self, AHEAD, Begins, Plan, Publication},
    cli::{Apply, From, Global},
    context,
    report::{Exit, Failure, Report},
};

/// Publishes patterns and policy.
///
/// # Errors
/// [`Failure`] if a path cannot be read, or the log does not answer.
pub fn run(global: &Global, options: &Apply) -> Result<Report, Failure> {
    let loaded = load(&options.paths)?;
    let wrong = catalogue::errors(&loaded);
    if !wrong.is_empty() {
        return Ok(Report {
            command: "pattern apply",
            exit: Exit::Findings,
            findings: wrong,
            data: Value::Null,
            text: "nothing was published".to_owned(),
        });
    }
    let config = context::config(global)?;
    let is_wall = config.text("intake.clock") == "wall";
    let how = Publication {
        author: author(options),
        begins: match options.effective_from {
            Some(From::Read) => Begins::WhenRead,
            Some(From::At(at)) => Begins::At(Millis(at.as_millisecond())),
            None if is_wall => Begins::Soon(wall()),
            // Under `intake.clock = "events"` our now says nothing about the customers'.
            None => Begins::WhenRead,
        },
    };
    if config.text("service.log") == "embedded" {
        let dir = std::path::PathBuf::from(config.text("service.data_dir"));
        let backend = context::embedded(&config, &dir.join("log"))?;
        return apply(&backend, &loaded, &how, options);
    }
    apply(&context::kafka(&config)?, &loaded, &how, options)
}

fn author(options: &Apply) -> String {
    let named = options.author.clone();
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.or_else(user).unwrap_or_else(|| "unknown".to_owned())
}

fn apply<B: Backend>(backend: &B, loaded: &Loaded, how: &Publication, options: &Apply) -> Result<Report, Failure> {
    let remove: BTreeSet<String> = options.remove.iter().cloned().collect();
    let plan = catalogue::plan(loaded, &catalogue::published(backend)?, &remove, how);
    let mut report = Report {
        command: "pattern apply",
        exit: Exit::Done,
        findings: plan.refused.clone(),
        data: data(&plan),
        text: text(&plan),
    };
    if !plan.refused.is_empty() {
        report.exit = Exit::Unsafe;
        report.text.push_str("nothing was published");
        return Ok(report);
    }
    if options.dry_run || plan.entries.is_empty() {
        return Ok(report);
    }
    eprint!("{}", report.text);
    if !agreed(options.yes, &format!("Publish {}?", count(plan.entries.len()))) {
        report.exit = Exit::Findings;
        report.text = "nothing was published".to_owned();
        return Ok(report);
    }
    catalogue::write(backend, &plan)?;
    let names: Vec<&str> = plan.entries.iter().map(|entry| entry.key.as_str()).collect();
    report.text = format!("published {}", names.join(" "));
    report.data["published"] = json!(names);
    Ok(report)
}

fn count(changes: usize) -> String {
    if changes == 1 {
        "1 change".to_owned()
    } else {
        format!("{changes} changes")
    }
}

fn shown(key: &str) -> &str {
    if key == POLICY_KEY { "the policy" } else { key }
}

fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for entry in &plan.entries {
        let from = match (entry.effective_from, &entry.value) {
            (Some(at), _) => format!(", in force from {}", codec::time(at)),
            (None, Some(_)) => ", in force when read".to_owned(),
            (None, None) => ", with its open runs, when read".to_owned(),
        };
        text.push_str(&format!("{:8} {}{from}\n", entry.what, shown(&entry.key)));
        entry
            .changes
            .iter()
            .for_each(|change| text.push_str(&diff::line(change)));
    }
    text.push_str(&format!(
        "unchanged {}, to publish {}\n",
        plan.unchanged,
        plan.entries.len()
    ));
    text
}

fn data(plan: &Plan) -> Value {
    let entries: Vec<Value> = plan
        .entries
        .iter()
        .map(|entry| {
            let changes: Vec<Value> = entry
                .changes
                .iter()
                .map(|change| json!({ "path": change.path, "was": change.was, "is": change.is }))
                .collect();
            json!({
                "key": entry.key, "what": entry.what, "effective_from": entry.effective_from.map(codec::time),
                "changes": changes,
            })
        })
        .collect();
    json!({ "unchanged": plan.unchanged, "changes": entries, "ahead_ms": AHEAD, "published": [] })
}

/// Asks on the terminal, where there is one.
pub fn agreed(yes: bool, question: &str) -> bool {
    if yes {
        return true;
    }
    if !std::io::stdin().is_terminal() {
        eprintln!("{question} Pass --yes to agree.");
        return false;
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
