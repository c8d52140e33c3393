//! The command line as a user sees it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Watches every customer's journey while it happens, notices the one that is about to fail, and tells the channel that can
/// still save it.
#[derive(Debug, Parser)]
#[command(
    name = "waymark",
    version,
    propagate_version = true,
    after_help = "Start here:
  waymark pattern test DIR                              run the tests inside pattern files
  waymark pattern backtest --patterns DIR --events FILE find their matches in a file of events

Results go to stdout, all else to stderr. Exit codes: 0 done, 1 findings, 2 command line not understood,
3 invalid pattern or unreadable file."
)]
pub struct Cli {
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One object, or one per line for commands that follow a stream
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write, check and try patterns; opens no connection
    #[command(subcommand)]
    Pattern(PatternCommand),
}

/// What can be done with patterns.
#[derive(Debug, Subcommand)]
pub enum PatternCommand {
    /// Check pattern files: FILE:LINE:COLUMN: SEVERITY[CODE]: MESSAGE
    Lint {
        /// Pattern files, or folders of them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Fail on warnings too
        #[arg(long, value_enum)]
        deny: Option<Deny>,
    },
    /// Run the tests inside pattern files
    Test {
        /// Pattern files, or folders of them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Find the matches of patterns in a file of events, one JSON line each
    #[command(
        after_help = "Rows are sorted stably by time; the clock stops at the last one, and waits still open are counted, not \
                            fired, unless --drain is given.

A CSV needs the columns id, time, customer and type; further columns are fields, an empty cell is a missing field. JSON lines
are canonical events, or flat objects of the same names. Other files are read through a mapping, as `--map mapping.toml`."
    )]
    Backtest(Backtest),
}

/// What else fails a lint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deny {
    /// Warnings count as errors
    Warnings,
}

/// Options of `pattern backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// Only these patterns
    pub names: Vec<String>,
    /// Events: CSV or JSON lines, plain or gz
    #[arg(long, value_name = "FILE")]
    pub events: PathBuf,
    /// Pattern files, or a folder of them
    #[arg(long, value_name = "DIR", default_value = "patterns")]
    pub patterns: PathBuf,
    /// How rows become events
    #[arg(long, value_name = "MAPPING.toml")]
    pub map: Option<PathBuf>,
    /// Only matches complete at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<jiff::Timestamp>,
    /// Only matches complete before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub until: Option<jiff::Timestamp>,
    /// Fire the waits that are open after the last event
    #[arg(long)]
    pub drain: bool,
}
