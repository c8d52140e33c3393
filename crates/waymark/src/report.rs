//! How commands say what they found: text for people, one JSON object for programs, and the exit code.

use std::io::Write as _;

use pattern::Finding;
use serde_json::{Value, json};

use crate::cli::Format;

/// How a command ended. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It found something: a lint error, a failing test, a plan with work to do.
    Findings = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration or a pattern is invalid.
    Invalid = 3,
    /// Something outside did not answer in time.
    NoAnswer = 4,
    /// It was refused as unsafe.
    Unsafe = 5,
    /// A service halted on positions that contradict each other.
    Halted = 6,
}

/// Why a command could not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One line per thing wrong.
    pub message: String,
}

impl Failure {
    /// Something that the user wrote is wrong.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Invalid,
            message: message.into(),
        }
    }

    /// The command line makes no sense.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }

    /// Something outside did not answer.
    #[must_use]
    pub fn no_answer(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::NoAnswer,
            message: message.into(),
        }
    }
}

impl Failure {
    /// The failure as the object that `--output json` prints: one finding without a place in a file.
    #[must_use]
    pub fn report(&self) -> Report {
        let finding = Finding {
            code: "failure",
            severity: pattern::Severity::Error,
            file: String::new(),
            line: 0,
            column: 0,
            message: self.message.clone(),
            help: None,
        };
        Report {
            command: "",
            exit: self.exit,
            findings: vec![finding],
            data: Value::Null,
            text: String::new(),
        }
    }
}

impl Failure {
    /// Says on stderr what went wrong, and returns the exit code.
    #[must_use]
    pub fn tell(&self) -> u8 {
        eprintln!("error: {}", self.message);
        self.exit as u8
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::invalid(message)
    }
}

impl From<stream::LogError> for Failure {
    fn from(error: stream::LogError) -> Self {
        Self::no_answer(error.to_string())
    }
}

impl From<kafka::AdminError> for Failure {
    fn from(error: kafka::AdminError) -> Self {
        Self::no_answer(error.to_string())
    }
}

impl From<service::worker::Stop> for Failure {
    fn from(stop: service::worker::Stop) -> Self {
        let exit = match stop {
            service::worker::Stop::Halted(_) => Exit::Halted,
            _ => Exit::NoAnswer,
        };
        Self {
            exit,
            message: stop.to_string(),
        }
    }
}

/// Prints a line on stdout; false if nobody reads it. One who reads no further, as `head`, has seen enough, and that is no error.
///
/// # Errors
/// [`Failure`] where it cannot be written, as on a disk that is full.
pub fn say(line: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    heard(writeln!(out, "{line}").and_then(|()| out.flush()))
}

/// What a write to stdout came to; see [`say`].
///
/// # Errors
/// As [`say`].
pub fn heard(written: std::io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::invalid(format!("stdout cannot be written: {error}"))),
    }
}

/// What a command prints at its end.
#[derive(Debug)]
pub struct Report {
    /// The command's words: `pattern lint`.
    pub command: &'static str,
    /// How it ended.
    pub exit: Exit,
    /// What it found in files.
    pub findings: Vec<Finding>,
    /// Its result as data.
    pub data: Value,
    /// Its result for people, on stdout.
    pub text: String,
}

impl Report {
    /// Prints the report and returns its exit code.
    pub fn print(&self, format: Format) -> u8 {
        let said = match format {
            Format::Text => {
                for finding in &self.findings {
                    eprintln!("{finding}");
                }
                if self.text.is_empty() {
                    Ok(true)
                } else {
                    say(self.text.trim_end())
                }
            }
            Format::Json => say(&self.envelope().to_string()),
        };
        match said {
            Ok(_) => self.exit as u8,
            Err(failure) => failure.tell(),
        }
    }

    /// The object that `--output json` prints.
    #[must_use]
    pub fn envelope(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "code": finding.code,
                    "severity": finding.severity.as_str(),
                    "file": finding.file, "line": finding.line, "column": finding.column,
                    "message": finding.message, "help": finding.help,
                })
            })
            .collect();
        json!({
            "format": "waymark.cli/1", "command": self.command, "ok": self.exit == Exit::Done,
            "findings": findings, "data": self.data,
        })
    }
}
