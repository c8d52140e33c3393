//! `waymark pattern lint|test|backtest`.

use std::{path::PathBuf, sync::Arc};

use pattern::{Finding, Pattern, Severity, lint, parse, run_tests};
use serde_json::{Value, json};

use crate::{
    backtest,
    cli::{Backtest, Deny, Global, PatternCommand},
    files::{PatternFile, read_patterns},
    report::{Exit, Failure, Report},
    setup,
};

/// Runs one command.
///
/// # Errors
/// A message where a path cannot be read.
pub fn run(command: &PatternCommand, global: &Global) -> Result<Report, Failure> {
    match command {
        PatternCommand::Lint { paths, deny } => Ok(lint_files(paths, *deny)?),
        PatternCommand::Test { paths } => Ok(test_files(paths)?),
        PatternCommand::Backtest(options) => Ok(backtest_files(options)?),
        PatternCommand::Apply { paths, yes, dry_run } => setup::apply_patterns(global, paths, *yes, *dry_run),
    }
}

fn findings_of(files: &[PatternFile]) -> Vec<Finding> {
    files
        .iter()
        .flat_map(|file| lint(&file.path.display().to_string(), &file.text))
        .collect()
}

fn errors(findings: &[Finding]) -> usize {
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count()
}

fn lint_files(paths: &[PathBuf], deny: Option<Deny>) -> Result<Report, String> {
    let files = read_patterns(paths)?;
    let findings = findings_of(&files);
    let errors = errors(&findings);
    let warnings = findings.len() - errors;
    let fails = errors > 0 || (deny.is_some() && warnings > 0);
    Ok(Report {
        command: "pattern lint",
        exit: if fails { Exit::Findings } else { Exit::Done },
        findings,
        data: json!({ "files": files.len(), "errors": errors, "warnings": warnings }),
        text: format!("files {}, errors {errors}, warnings {warnings}", files.len()),
    })
}

fn test_files(paths: &[PathBuf]) -> Result<Report, String> {
    let files = read_patterns(paths)?;
    let findings = findings_of(&files);
    let (mut text, mut tests, mut failed) = (String::new(), Vec::<Value>::new(), 0);
    for file in &files {
        let name = file.path.display().to_string();
        let Ok(pattern) = parse(&name, &file.text) else {
            continue;
        };
        for result in run_tests(&pattern) {
            match &result.failure {
                None => text.push_str(&format!("ok      {}: {}\n", pattern.id, result.name)),
                Some(failure) => {
                    failed += 1;
                    text.push_str(&format!(
                        "FAILED  {}: {}\n  {name}:{}: {failure}\n",
                        pattern.id, result.name, result.line
                    ));
                    for step in &result.steps {
                        text.push_str(&format!("    {step}\n"));
                    }
                }
            }
            tests.push(json!({
                "pattern": pattern.id, "name": result.name, "file": name, "line": result.line,
                "ok": result.failure.is_none(), "failure": result.failure,
            }));
        }
    }
    text.push_str(&format!("tests {}, failed {failed}", tests.len()));
    let fails = failed > 0 || errors(&findings) > 0;
    Ok(Report {
        command: "pattern test",
        exit: if fails { Exit::Findings } else { Exit::Done },
        findings: findings
            .into_iter()
            .filter(|finding| finding.severity == Severity::Error)
            .collect(),
        data: json!({ "tests": tests, "failed": failed }),
        text,
    })
}

fn backtest_files(options: &Backtest) -> Result<Report, String> {
    let mut report = Report {
        command: "pattern backtest",
        exit: Exit::Invalid,
        findings: Vec::new(),
        data: Value::Null,
        text: String::new(),
    };
    let files = read_patterns(std::slice::from_ref(&options.patterns))?;
    report.findings = findings_of(&files);
    report.findings.retain(|finding| finding.severity == Severity::Error);
    if !report.findings.is_empty() {
        return Ok(report);
    }
    let parsed = files
        .iter()
        .filter_map(|file| parse(&file.path.display().to_string(), &file.text).ok());
    let mut patterns: Vec<Arc<Pattern>> = parsed.map(Arc::new).collect();
    if let Some(unknown) = options
        .names
        .iter()
        .find(|name| !patterns.iter().any(|pattern| pattern.id == **name))
    {
        return Err(format!("{}: no such pattern: {unknown}", options.patterns.display()));
    }
    patterns.retain(|pattern| options.names.is_empty() || options.names.contains(&pattern.id));
    let events = backtest::read(&options.events, options.map.as_deref())?;
    let result = backtest::run(&patterns, &events, options.drain);
    let inside = |at: event::Millis| {
        options.since.is_none_or(|since| at.0 >= since.as_millisecond())
            && options.until.is_none_or(|until| at.0 < until.as_millisecond())
    };
    let lines: Vec<String> = result
        .found
        .iter()
        .filter(|found| inside(found.matched.matched_at))
        .map(|found| found.json().to_string())
        .collect();
    let mut customers: Vec<&str> = result.found.iter().map(|found| found.customer.as_str()).collect();
    customers.sort_unstable();
    customers.dedup();
    eprintln!(
        "events {}, duplicates {}, matches {}, customers {}, open waits {}, runs capped {}",
        events.len(),
        result.duplicates,
        lines.len(),
        customers.len(),
        result.open_waits,
        result.capped,
    );
    for (pattern, failures) in &result.failed {
        eprintln!("predicate failed: pattern={pattern} times={failures}");
    }
    report.exit = Exit::Done;
    report.data = json!({
        "events": events.len(), "duplicates": result.duplicates, "matches": lines.len(), "open_waits": result.open_waits,
        "capped": result.capped,
    });
    report.text = lines.join("\n");
    Ok(report)
}
