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
    /// Measure how well texts are read, and train a model on labels of your own
    #[command(subcommand)]
    Sentiment(SentimentCommand),
    /// Compare what the services count with what is visible: lost, torn, duplicated; exit code 1 if anything is
    #[command(
        after_help = "Reads as any consumer does (read_committed), joins no group and writes nothing; a live cluster may be audited.
The changelog is trimmed behind its snapshots, so an audit that is to cover everything follows it: --follow 1d.
docs/AUDIT.md says what it can and cannot say, and describes every byte it reads."
    )]
    Audit(Audit),
    /// Measure this machine: recovery, lateness, the changelog's length; what a text, an event, a pattern costs
    #[command(
        subcommand,
        after_help = "pattern, monitor and sentiment need no brokers. Benches on Kafka make topics under a prefix of their own, bench-<time>., on the brokers that --set kafka.brokers names, and leave them there."
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
    /// The engine alone: nanoseconds per event by size of the catalogue, per touched run and predicate; allocations; bytes per run
    Pattern {
        /// Only cells whose name contains this
        #[arg(long, value_name = "NAME")]
        cell: Option<String>,
    },
    /// The monitor in this process, without brokers: what an event costs by size of the catalogue
    #[command(
        after_help = "The task and stage of the service on a database of its own: decode, fold, match, decide, pack the changelog, flush. Reading from
and writing to brokers is not in it. Sizes take turns, so that a busy machine slows all alike. Exit code 1 if the last size costs
more than twice the first."
    )]
    Monitor(BenchMonitor),
    /// Nanoseconds per text by length, language and tier, language known, each with its target and verdict; detection apart
    Sentiment {
        /// Only cells whose name contains this
        #[arg(long, value_name = "NAME")]
        cell: Option<String>,
    },
}

/// `waymark bench monitor`.
#[derive(Debug, Args)]
pub struct BenchMonitor {
    /// Sizes of the catalogue, the first of which the others are compared with
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub patterns: Vec<u32>,
    /// Customers
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// Events in an epoch; the service takes at most 10,000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub epoch: u32,
    /// Epochs of each size that are measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// What customers do
    #[arg(long, value_enum, default_value_t = MonitorLoad::Spread)]
    pub load: MonitorLoad,
}

/// What customers do in `waymark bench monitor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MonitorLoad {
    /// Every event concerns eight patterns, or all where there are fewer; nothing ever matches
    Spread,
    /// Half of the events follow a pattern of three steps over 500 types, so that many match
    Follow,
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

/// `waymark sentiment`.
#[derive(Debug, Subcommand)]
pub enum SentimentCommand {
    /// Measure accuracy, macro-F1, negative recall and precision, unscored share and calibration on labelled texts
    #[command(
        after_help = "A line is `label<TAB>text`; labels are -1, 0, 1 or negative, neutral, positive. A text that another one repeats,
in the same file or an earlier one, is left out. Unscored counts as neutral. The interval is that of 1,000 resamples.
Models and lexicons of sentiment.models_dir are in use, as they are in intake.

Exit codes: 0 measured, 3 a file cannot be read or has a line that is none."
    )]
    Eval {
        /// Labelled texts
        #[arg(required = true, value_name = "FILE.tsv")]
        files: Vec<PathBuf>,
        /// The texts' language as BCP 47 [default: the one that most texts of a file are in]
        #[arg(long)]
        lang: Option<String>,
    },
    /// Measure how right a transformer's chances are on labelled texts, so that its confidence is what it says
    #[command(
        after_help = "Only texts that reach sentiment.transformer count, and of a language at least 200 of them. Put the table beside the weights as
calibration.tsv and name its SHA-256 in sentiment.transformer_sha256; one that is named there already is left aside here."
    )]
    Calibrate {
        /// Labelled texts
        #[arg(required = true, value_name = "FILE.tsv")]
        files: Vec<PathBuf>,
        /// The texts' language as BCP 47 [default: the one that most texts of a file are in]
        #[arg(long)]
        lang: Option<String>,
        /// Where the table goes [default: it is printed]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Train a linear model on labelled texts and compare it with the lexicons on texts that it has not seen
    #[command(
        after_help = "A line is `label<TAB>text`, as eval reads it. Refuses fewer than 200 distinct texts, and texts of one label. The model is written only if the whole
95 % interval of the gain lies above zero. It is in use for its language once it lies in sentiment.models_dir.

Exit codes: 0 written, 1 refused since the gain is not certain, 3 a file cannot be read or written, 5 refused since labels are too few or all alike."
    )]
    Train {
        /// Labelled texts
        #[arg(value_name = "LABELS.tsv")]
        labels: PathBuf,
        /// The texts' language as BCP 47 [default: the one that most texts are in]
        #[arg(long)]
        lang: Option<String>,
        /// Where the model is written [default: LANG.model in sentiment.models_dir, else here]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Compare only
        #[arg(long)]
        dry_run: bool,
    },
}

/// What can be done with patterns.
#[derive(Debug, Subcommand)]
pub enum PatternCommand {
    /// Write the skeleton of a pattern, with two tests that pass, and print its path
    #[command(after_help = "Example:
  waymark pattern new cart-doubt --from absence
  waymark pattern test patterns/cart-doubt.yaml

Exit codes: 0 written, 5 the file exists and was left as it is.")]
    New(New),
    /// Check pattern files: FILE:LINE:COLUMN: SEVERITY[CODE]: MESSAGE
    #[command(
        after_help = "Opens no socket and needs no configuration. A file policy.yaml is read as the policy.

Exit codes: 0 no error, 1 an error, or with --deny warnings any finding, 3 a path cannot be read."
    )]
    Lint {
        /// Pattern files, or folders of them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Fail on warnings too
        #[arg(long, value_enum)]
        deny: Option<Deny>,
    },
    /// Run the tests inside pattern files, on the engine that runs live
    #[command(after_help = "Exit codes: 0 all pass, 1 one fails or a file has an error, 3 a path cannot be read.")]
    Test {
        /// Pattern files, or folders of them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Also write the results as JUnit XML, for a build server
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Find the matches of patterns in a file of events, one JSON line each
    #[command(
        after_help = "Rows are sorted stably by time; the clock stops at the last one, and waits still open are counted, not \
                            fired, unless --drain is given.

A CSV needs the columns id, time, customer and type; further columns are fields, an empty cell is a missing field. JSON lines
are canonical events, or flat objects of the same names. A time is RFC 3339 with an offset, or epoch milliseconds; an id names one
event of its customer: a row that repeats one of the last 24 hours is not counted. Other files are read through a mapping, as `--map mapping.toml`.
A file may be larger than memory. Nothing is printed of a file with a row that cannot be read.

Matches go to stdout. Stderr says what would have been done: interventions, withheld by reason, load per hour, waits still
open. Drafts are taken as in shadow; a policy.yaml among the patterns holds. With --output json a last line holds the summary.

Example:
  waymark pattern backtest cart-doubt --events may.csv.gz --since 2026-05-02T00:00:00Z

Exit codes: 0 done, 3 a pattern or a row cannot be read."
    )]
    Backtest(Backtest),
    /// Say what the engine did with each event of a customer, and why it did nothing
    #[command(
        after_help = "Prints the pattern as one sentence, then per event which step saw it, which run moved, held, broke, ended or was cleared, and
otherwise why not: type, `where` with the values that it read, missing field, window. The engine itself tells it, as it runs live.

Examples:
  waymark pattern explain cart-doubt --events one-customer.csv
  waymark pattern explain cart-doubt --customer customer:48213 --set kafka.brokers=localhost:9092 \
    --set privacy.key_secret_file=/run/secrets/waymark

Exit codes: 0 done, 3 no such pattern or customer, no secret, or a row cannot be read, 4 the log does not answer."
    )]
    Explain(Explain),
    /// Say what a change means: steps, windows, arms; with --events which matches are gained and lost
    #[command(
        after_help = "Compares two files, or two folders by pattern id. Titles, owners and tests mean nothing to a customer.

A match is kept if customer, `by`, moment, evidence and absences are the same. One that only comes at another moment, as after a
change of a wait, is lost and gained; how many of those there are is said.
All matches of both versions are held in memory, about 5 kB each.

Example:
  waymark pattern diff old/cart-doubt.yaml patterns/cart-doubt.yaml --events may.csv.gz

Exit codes: 0 no difference, 1 a difference, 3 a pattern or a row cannot be read, 5 unsafe: `when` changed under one version, or
seed or holdout changed on a live pattern."
    )]
    Diff(Diff),
    /// Print the JSON Schema of pattern files, for editors
    #[command(after_help = "Example: waymark pattern schema > patterns/pattern.schema.json

An editor with a YAML language server completes and checks a file that begins with
  # yaml-language-server: $schema=./pattern.schema.json")]
    Schema,
    /// Lint, test and publish patterns and policy to `journey.patterns`
    #[command(
        after_help = "Shows how each differs from what is published, and asks. Running monitors follow the topic and take the
change up without a restart; runs that are open then finish under their version.

What is new is in force from now on, what changes something in force a minute later, so that every monitor knows of it by then
and a replay switches where the live run did. Under intake.clock = \"events\" a change is in force when it is read.

Example:
  waymark pattern apply patterns --set kafka.brokers=localhost:9092

Exit codes: 0 published, or nothing to do; 1 a file has an error, a test fails, or nobody agreed; 3 a path or the configuration
cannot be read; 4 the log does not answer; 5 unsafe: `when` changed under one version, seed or holdout changed on a live pattern, a
retired id used again, or `--remove` names nothing that is published."
    )]
    Apply(Apply),
}

/// Options of `pattern apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// Pattern files, or folders of them; a file `policy.yaml` is the policy
    #[arg(required_unless_present = "remove")]
    pub paths: Vec<PathBuf>,
    /// From when it holds: a time (RFC 3339) on the customers' clocks, or `read` for the moment at which a monitor reads it
    #[arg(long, value_name = "TIME", value_parser = from)]
    pub effective_from: Option<From>,
    /// Take this pattern from the topic, with its open runs; may be given more than once
    #[arg(long, value_name = "ID")]
    pub remove: Vec<String>,
    /// Who publishes [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Show only
    #[arg(long)]
    pub dry_run: bool,
}

/// From when a publication holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// From the moment it is read.
    Read,
    /// From this time on.
    At(jiff::Timestamp),
}

fn from(text: &str) -> Result<From, String> {
    if text == "read" {
        return Ok(From::Read);
    }
    let at = text.parse().map(From::At);
    at.map_err(|_| "expected a time such as 2026-11-21T13:00:00Z, or `read`".to_owned())
}

/// Options of `pattern new`.
#[derive(Debug, Args)]
pub struct New {
    /// The pattern's id: 3 to 63 of a-z, 0-9 and -, beginning with a letter
    #[arg(value_parser = pattern_id)]
    pub name: String,
    /// What it is made from
    #[arg(long, value_enum, default_value_t = Skeleton::Sequence)]
    pub from: Skeleton,
    /// Where it is written
    #[arg(long, value_name = "DIR", default_value = "patterns")]
    pub dir: PathBuf,
}

/// What a new pattern is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Skeleton {
    /// One thing after another
    Sequence,
    /// One thing again and again
    Count,
    /// Something awaited that does not happen
    Absence,
}

fn pattern_id(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let good = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && (3..=63).contains(&text.len())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if good {
        Ok(text.to_owned())
    } else {
        Err("an id is 3 to 63 of a-z, 0-9 and -, beginning with a letter".to_owned())
    }
}

/// Options of `pattern explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The pattern
    pub name: String,
    /// Events: CSV or JSON lines, plain or gz
    #[arg(long, value_name = "FILE", required_unless_present = "customer")]
    pub events: Option<PathBuf>,
    /// Only this customer of the file; without a file the customer of the running system, as TYPE:VALUE or by key
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,
    /// Pattern files, or a folder of them
    #[arg(long, value_name = "DIR", default_value = "patterns")]
    pub patterns: PathBuf,
    /// How rows become events
    #[arg(long, value_name = "MAPPING.toml", requires = "events")]
    pub map: Option<PathBuf>,
    /// Fire the waits that are open after the last event
    #[arg(long)]
    pub drain: bool,
}

/// Options of `pattern diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// A pattern file, or a folder, before the change
    pub old: PathBuf,
    /// The same after it
    pub new: PathBuf,
    /// Events on which both are tried: CSV or JSON lines, plain or gz
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// How rows become events
    #[arg(long, value_name = "MAPPING.toml", requires = "events")]
    pub map: Option<PathBuf>,
    /// Fire the waits that are open after the last event
    #[arg(long, requires = "events")]
    pub drain: bool,
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
    /// Events held in memory, in MiB [default: 256]; more are sorted in a temporary file
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..))]
    pub memory: Option<u16>,
}
