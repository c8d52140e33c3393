//! `waymark pattern`: everything that is done with pattern files.

pub mod apply;
mod backtest;
mod diff;
mod explain;
pub mod load;
mod new;
mod test;

use std::path::PathBuf;

use serde_json::json;

use crate::{
    cli::{Deny, Global, PatternCommand},
    report::{Exit, Failure, Report},
};

/// Runs one command.
///
/// # Errors
/// [`Failure`] where a path cannot be read, or something outside does not answer.
pub fn run(command: &PatternCommand, global: &Global) -> Result<Report, Failure> {
    match command {
        PatternCommand::New(options) => new::run(options),
        PatternCommand::Lint { paths, deny } => Ok(lint_files(paths, *deny)?),
        PatternCommand::Test { paths, junit } => test::run(paths, junit.as_deref()),
        PatternCommand::Backtest(options) => backtest::run(options),
        PatternCommand::Explain(options) => explain::run(global, options),
        PatternCommand::Diff(options) => diff::run(options),
        PatternCommand::Schema => Ok(schema()),
        PatternCommand::Apply(options) => apply::run(global, options),
    }
}

fn lint_files(paths: &[PathBuf], deny: Option<Deny>) -> Result<Report, String> {
    let loaded = load::load(paths)?;
    let errors = loaded.errors().len();
    let warnings = loaded.findings.len() - errors;
    let fails = errors > 0 || (deny.is_some() && warnings > 0);
    let files = loaded.files.len();
    Ok(Report {
        command: "pattern lint",
        exit: if fails { Exit::Findings } else { Exit::Done },
        findings: loaded.findings,
        data: json!({ "files": files, "errors": errors, "warnings": warnings }),
        text: format!("files {files}, errors {errors}, warnings {warnings}"),
    })
}

fn schema() -> Report {
    let schema = pattern::schema();
    Report {
        command: "pattern schema",
        exit: Exit::Done,
        findings: Vec::new(),
        text: format!("{schema:#}"),
        data: json!({ "schema": schema }),
    }
}
