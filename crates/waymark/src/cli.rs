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
  waymark demo                          a shop with generated customers, no broker needed
  waymark pattern test patterns/        run the tests inside pattern files
  waymark topics plan                   what would be created on the configured brokers
  waymark run intake monitor            run services until SIGTERM

Results go to stdout, all else to stderr. Exit codes: 0 done, 1 findings, 2 command line not understood,
3 invalid configuration or pattern, 4 something outside did not answer, 5 refused as unsafe, 6 halted."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args, Clone)]
pub struct Global {
    /// The configuration file; `waymark.toml` is read if it exists
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one option, e.g. `--set kafka.brokers=localhost:9092`; wins over file and environment
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
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
    /// Run services until SIGTERM or Ctrl-C
    #[command(after_help = "Example: waymark run intake monitor --config waymark.toml")]
    Run {
        /// intake, monitor, console; with `service.log = \"embedded\"` name all of them in one process
        #[arg(required = true, value_enum, value_name = "SERVICE")]
        services: Vec<Role>,
    },
    /// Run everything in one process on the embedded log, with generated customers
    Demo(Demo),
    /// Send a CSV or JSON-lines file in event-time order to the raw topics
    #[command(after_help = "The services that read must run with intake.clock = \"events\".
A killed replay goes on where it stood. With --embedded DIR the services run in this process and no broker is needed.")]
    Replay(Replay),
    /// Check configuration and patterns without opening a socket
    Check {
        /// Pattern files and folders [default: patterns]
        paths: Vec<PathBuf>,
        /// Also ask the brokers, five seconds each
        #[arg(long)]
        connect: bool,
    },
    /// Show the configuration in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write, test and publish patterns
    #[command(subcommand)]
    Pattern(PatternCommand),
    /// Create topics, or see what is missing
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Print live records of a topic, decoded and redacted
    Tap(Tap),
    /// Look at records that were refused
    #[command(subcommand)]
    Dlq(DlqCommand),
}

/// The services of this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Raw topics in, the timeline out
    Intake,
    /// Folds journeys, matches patterns, decides
    Monitor,
    /// The page with the live feed
    Console,
}

/// `waymark demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// The generator's seed; the same seed gives the same customers
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Event time passes this many times faster than the clock on the wall
    #[arg(long, default_value_t = 600.0, value_name = "FACTOR")]
    pub speed: f64,
    /// How many customers are generated
    #[arg(long, default_value_t = 500)]
    pub customers: u32,
    /// Patterns to run instead of those that ship
    #[arg(long, value_name = "DIR")]
    pub patterns: Option<PathBuf>,
    /// Keep the log and state here; a second run goes on where it stopped
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// `waymark replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// The file: CSV or JSON lines, plain or gzip
    #[arg(long, value_name = "FILE")]
    pub events: PathBuf,
    /// Which column means what
    #[arg(long, value_name = "MAPPING.toml")]
    pub map: PathBuf,
    /// Patterns to lint and publish first
    #[arg(long, value_name = "DIR")]
    pub patterns: Option<PathBuf>,
    /// Run the services here on an embedded log in this folder, to the end of the file
    #[arg(long, value_name = "DIR")]
    pub embedded: Option<PathBuf>,
    /// Rows in one transaction
    #[arg(long, default_value_t = 1000, value_name = "ROWS")]
    pub batch: usize,
    /// Wait this long after each transaction
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub pause: u64,
}

/// `waymark config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print effective values; secrets are masked
    Show {
        /// Name each value's source: default, file, variable or flag
        #[arg(long)]
        origin: bool,
        /// Print the defaults alone
        #[arg(long)]
        defaults: bool,
    },
}

/// `waymark pattern`.
#[derive(Debug, Subcommand)]
pub enum PatternCommand {
    /// Print findings with file, line and column
    Lint {
        /// Files and folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Fail on warnings too
        #[arg(long, value_enum)]
        deny: Option<Deny>,
    },
    /// Run the tests inside pattern files
    Test {
        /// Files and folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Also write a JUnit report
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Run patterns over a file of events and print one JSON line per match
    Backtest(Backtest),
    /// Lint, test and publish patterns to journey.patterns
    Apply {
        /// Files and folders
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Agree to the change shown
        #[arg(long)]
        yes: bool,
        /// Show the change and stop
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
}

/// What `--deny` denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Deny {
    /// Warnings as well as errors
    Warnings,
}

/// `waymark pattern backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// Only these patterns
    pub names: Vec<String>,
    /// Canonical events as JSON lines, or a CSV with id,time,customer,type and further columns as fields
    #[arg(long, value_name = "FILE")]
    pub events: PathBuf,
    /// Where the patterns are
    #[arg(long, default_value = "patterns", value_name = "DIR")]
    pub patterns: PathBuf,
    /// Which column means what, where the file is neither
    #[arg(long, value_name = "MAPPING.toml")]
    pub map: Option<PathBuf>,
    /// Skip events before this time
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Stop at this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Let waits that are open at the end fire
    #[arg(long)]
    pub drain: bool,
}

/// `waymark topics`.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Print what is missing or differs
    Plan,
    /// Create and alter topics
    Apply {
        /// Agree to the change shown
        #[arg(long)]
        yes: bool,
        /// Show the change and stop
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
}

/// `waymark tap`.
#[derive(Debug, Args)]
pub struct Tap {
    /// The topic, without the configured prefix, e.g. journey.signals
    pub topic: String,
    /// Only this customer key
    #[arg(long)]
    pub customer: Option<String>,
    /// Only this pattern
    #[arg(long)]
    pub pattern: Option<String>,
    /// Stop after this many
    #[arg(long)]
    pub max: Option<u64>,
    /// Begin at the topic's beginning instead of now
    #[arg(long)]
    pub from_start: bool,
    /// Stop at the end that the topic has now
    #[arg(long)]
    pub to_end: bool,
    /// Show texts and identifiers
    #[arg(long)]
    pub reveal: bool,
}

/// `waymark dlq`.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// Count dead letters by topic and reason
    List {
        /// Only those of this source topic
        #[arg(long)]
        topic: Option<String>,
        /// Only this reason code
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show one dead letter with its origin
    Show {
        /// TOPIC/PARTITION/OFFSET as `list` prints it
        position: String,
        /// Show the original bytes
        #[arg(long)]
        reveal: bool,
    },
}
