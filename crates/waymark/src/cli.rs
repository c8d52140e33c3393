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
  waymark demo                          everything in one process, with generated customers
  waymark pattern test patterns/        run the tests inside pattern files
  waymark topics plan                   what would be created on the configured brokers
  waymark run intake monitor console    run services until SIGTERM

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
#[derive(Debug, Args, Clone, Default)]
pub struct Global {
    /// The configuration file; `waymark.toml` is read if it exists
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one option, as `--set kafka.brokers=localhost:9092`; wins over file and environment
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// For people
    #[default]
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
        /// intake, monitor, console; with `service.log = \"embedded\"` name intake and monitor in one process
        #[arg(required = true, value_enum, value_name = "SERVICE")]
        services: Vec<Role>,
    },
    /// Watch interventions happen: all services on an embedded log, with generated customers
    #[command(
        after_help = "Event time runs --speed times as fast as yours. At the end, what was found is compared with what the
generator knows to be true. The same seed gives the same customers and the same interventions."
    )]
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
    /// Write, check, try and publish patterns
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
    /// Compare what the services count with what is visible: lost, torn, duplicated; exit code 1 if anything is
    #[command(
        after_help = "Reads as any consumer does (read_committed), joins no group and writes nothing; a live cluster may be audited.
The changelog is trimmed behind its snapshots, so an audit that is to cover everything follows it: --follow 1d.
docs/AUDIT.md says what it can and cannot say, and describes every byte it reads."
    )]
    Audit(Audit),
    /// Measure this machine: recovery, lateness, the changelog's length
    #[command(
        subcommand,
        after_help = "Benches on Kafka make topics under a prefix of their own, bench-<time>., on the brokers that --set kafka.brokers names, and leave them there."
    )]
    Bench(BenchCommand),
}

/// `waymark bench`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Kill a monitor under load, with its disk and without: time to the first epoch, and until the lag is gone
    Recovery(BenchRecovery),
    /// How long after its deadline an absence is visible, where nothing else happens
    Lateness(BenchLateness),
    /// The changelog's length under load, as snapshots and trims bound it
    Changelog(BenchChangelog),
}

/// `waymark bench recovery`.
#[derive(Debug, Args)]
pub struct BenchRecovery {
    /// Events a second
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Customers
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub customers: u64,
    /// Partitions of the timeline
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// How long the load runs before the first death
    #[arg(long, default_value = "20s", value_name = "SPAN", value_parser = span)]
    pub warm: std::time::Duration,
    /// Deaths with a disk, and as many without
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
}

/// `waymark bench lateness`.
#[derive(Debug, Args)]
pub struct BenchLateness {
    /// Absences to wait for
    #[arg(long, default_value_t = 200)]
    pub absences: usize,
    /// Customers that begin a second
    #[arg(long, default_value_t = 4.0)]
    pub rate: f64,
}

/// `waymark bench changelog`.
#[derive(Debug, Args)]
pub struct BenchChangelog {
    /// How long to follow it
    #[arg(long, default_value = "1h", value_name = "SPAN", value_parser = span)]
    pub span: std::time::Duration,
    /// Events a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Customers
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub customers: u64,
}

/// `waymark audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Whose promises are audited
    #[arg(long, value_enum, default_value_t = Audited::All)]
    pub service: Audited,
    /// Go on for this long, or until SIGTERM, and say what is found when it is certain (30s, 15m, 1d)
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub follow: Option<std::time::Duration>,
    /// Only what happened in this last span, instead of everything still there
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub since: Option<std::time::Duration>,
}

/// Whose promises are audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Audited {
    /// Raw topics against the timeline and dead letters
    Intake,
    /// The changelog's markers against what the monitor writes
    Monitor,
    /// Both
    All,
}

/// Reads a span such as 500ms, 30s, 15m, 1d.
fn span(text: &str) -> Result<std::time::Duration, String> {
    let units = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let read = digits.parse::<u64>().ok().zip(factor);
    let millis = read.and_then(|(number, factor)| number.checked_mul(factor));
    millis
        .filter(|millis| *millis <= 366 * 86_400_000)
        .map(std::time::Duration::from_millis)
        .ok_or_else(|| "expected a span such as 30s, 15m, 1d".to_owned())
}

/// The services of this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Raw topics in, the timeline out
    Intake,
    /// Folds journeys, matches patterns, decides
    Monitor,
    /// The live page
    Console,
}

impl Role {
    /// The service's name in groups, ids and metrics.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::Intake => intake::SERVICE,
            Self::Monitor => monitor::SERVICE,
            Self::Console => console::SERVICE,
        }
    }
}

/// `waymark demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// The same seed gives the same customers
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// How many times as fast as yours event time runs
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub speed: u32,
    /// How many customers there are; one comes every minute of event time
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub customers: u32,
    /// The patterns to watch for
    #[arg(long, value_name = "DIR", default_value = "patterns")]
    pub patterns: PathBuf,
    /// Keep log and state here; a second run goes on where the first stood
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
    /// Patterns to lint, test and publish first
    #[arg(long, value_name = "DIR")]
    pub patterns: Option<PathBuf>,
    /// Run the services here on an embedded log in this folder, to the end of the file
    #[arg(long, value_name = "DIR")]
    pub embedded: Option<PathBuf>,
    /// The sender's name; a second run under it goes on where the first stood [default: the file's name]
    #[arg(long)]
    pub sender: Option<String>,
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
    /// Print the effective values
    Show {
        /// Name where each value comes from
        #[arg(long)]
        origin: bool,
        /// Print the built-in defaults, with what they mean
        #[arg(long)]
        defaults: bool,
    },
}

/// `waymark topics`.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Show what apply would do; exit code 1 if there is anything
    Plan,
    /// Create what is missing and set what differs
    Apply {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Show only
        #[arg(long)]
        dry_run: bool,
    },
}

/// `waymark tap`.
#[derive(Debug, Args)]
pub struct Tap {
    /// The topic without prefix, as `journey.signals`
    pub topic: String,
    /// Only records of this customer key
    #[arg(long, value_name = "KEY")]
    pub customer: Option<String>,
    /// Only records of this pattern
    #[arg(long, value_name = "ID")]
    pub pattern: Option<String>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// Begin at the topic's start, and stop at its end
    #[arg(long)]
    pub all: bool,
    /// Show identifiers and texts
    #[arg(long)]
    pub reveal: bool,
}

/// `waymark dlq`.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// Count refused records by topic and reason
    List {
        /// Only this source topic, without prefix
        #[arg(long)]
        topic: Option<String>,
        /// Only this reason code
        #[arg(long)]
        reason: Option<String>,
    },
    /// Print refused records with their origin and reason
    Show {
        /// Only this source topic, without prefix
        #[arg(long)]
        topic: Option<String>,
        /// Only this reason code
        #[arg(long)]
        reason: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 10)]
        max: usize,
        /// Show the original bytes too
        #[arg(long)]
        reveal: bool,
    },
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
    /// Lint, test and publish patterns and policy to `journey.patterns`
    Apply {
        /// Pattern files, or folders of them; a file `policy.yaml` is the policy
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Show only
        #[arg(long)]
        dry_run: bool,
    },
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
