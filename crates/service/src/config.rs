//! Configuration: one table of options; a TOML file, overridden by variables, overridden by flags; every value knows its origin.

mod options;

use std::{collections::BTreeMap, fmt};

pub use options::{Kind, OPTIONS, Opt};

/// The prefix of variables: `WAYMARK__SECTION__KEY`.
const VARIABLE: &str = "WAYMARK__";
/// Free keys that are handed to librdkafka.
const PROPERTIES: &str = "kafka.properties.";
/// Client settings that carry the promises and are ours.
const OURS: [&str; 13] = [
    "group.protocol",
    "partition.assignment.strategy",
    "group.instance.id",
    "transactional.id",
    "isolation.level",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.idempotence",
    "acks",
    "partitioner",
    "statistics.interval.ms",
    "bootstrap.servers",
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A file and the line, where known.
    File(String),
    /// An environment variable.
    Variable(String),
    /// `--set`.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The option as it was written.
    pub key: String,
    /// Where it stood.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.message)
    }
}

/// A checked configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    values: BTreeMap<String, (String, Origin)>,
}

/// What a configuration is read from; the last one wins.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    /// Name and text of the TOML file.
    pub file: Option<(&'a str, &'a str)>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// `--set section.key=value`.
    pub flags: &'a [String],
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// Everything wrong with them: unknown keys with the nearest name, values of the wrong kind, secrets in plain.
    pub fn read(sources: &Sources<'_>) -> Result<Self, Vec<Problem>> {
        let mut config = Self::default();
        for option in OPTIONS {
            if let Some(default) = option.default {
                config
                    .values
                    .insert(option.key.to_owned(), (default.to_owned(), Origin::Default));
            }
        }
        let mut problems = Vec::new();
        let mut given = Vec::new();
        if let Some((name, text)) = sources.file {
            let origin = |_: &str| Origin::File(name.to_owned());
            match text.parse::<toml::Table>() {
                Ok(table) => flatten("", &table, &mut |key, value| {
                    given.push((key.clone(), value, origin(&key)))
                }),
                Err(error) => problems.push(Problem {
                    key: "toml".to_owned(),
                    origin: Origin::File(name.to_owned()),
                    message: error.to_string().trim().replace('\n', " "),
                }),
            }
        }
        for (name, value) in &sources.variables {
            if let Some(rest) = name.strip_prefix(VARIABLE) {
                let key = rest.to_lowercase().replacen("__", ".", 1).replace("__", ".");
                given.push((key, value.clone(), Origin::Variable(name.clone())));
            }
        }
        for flag in sources.flags {
            match flag.split_once('=') {
                Some((key, value)) => given.push((key.trim().to_owned(), value.trim().to_owned(), Origin::Flag)),
                None => problems.push(Problem {
                    key: flag.clone(),
                    origin: Origin::Flag,
                    message: "written section.key=value".to_owned(),
                }),
            }
        }
        for (key, value, origin) in given {
            match check(&key, &value) {
                Ok(key) => {
                    config.values.insert(key, (value, origin));
                }
                Err(message) => problems.push(Problem { key, origin, message }),
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Every value with its origin, in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.values
            .iter()
            .map(|(key, (value, origin))| (key.as_str(), value.as_str(), origin))
    }

    /// A value, if one is set.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        debug_assert!(options::find(key).is_some(), "no such option: {key}");
        self.values
            .get(key)
            .map(|(value, _)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// A text; empty where none is set.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// A whole number, a span in milliseconds, or a number of bytes, by the option's kind.
    ///
    /// # Panics
    /// If the option has none of these kinds or no default.
    #[must_use]
    pub fn number(&self, key: &str) -> i64 {
        let option = options::find(key).expect("the option is in the table");
        number(option.kind, self.text(key)).expect("values were checked when they were read")
    }

    /// Threads per service: as configured, or one for each core.
    #[must_use]
    pub fn workers(&self) -> usize {
        match usize::try_from(self.number("service.workers")) {
            Ok(0) | Err(_) => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            Ok(workers) => workers,
        }
    }

    /// The pairs `a=b` of an option.
    #[must_use]
    pub fn pairs(&self, key: &str) -> BTreeMap<String, String> {
        let found = pairs(self.text(key)).flatten();
        found.map(|(left, right)| (left.to_owned(), right.to_owned())).collect()
    }

    /// A switch.
    #[must_use]
    pub fn is_on(&self, key: &str) -> bool {
        self.text(key) == "true"
    }

    /// What goes to librdkafka as it is. Variables and flags write `_` for `.`.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        for (key, (value, origin)) in &self.values {
            let Some(name) = key.strip_prefix(PROPERTIES) else {
                continue;
            };
            let name = if matches!(origin, Origin::File(_)) {
                name.to_owned()
            } else {
                name.replace('_', ".")
            };
            properties.insert(name, value.clone());
        }
        properties
    }

    /// A short hash of all options that change outputs: instances of one service must agree on it.
    #[must_use]
    pub fn outputs_hash(&self) -> String {
        let mut told = String::new();
        for option in OPTIONS.iter().filter(|option| option.changes_outputs) {
            told.push_str(option.key);
            told.push('=');
            told.push_str(self.text(option.key));
            told.push('\n');
        }
        blake3::hash(told.as_bytes()).to_hex()[..8].to_owned()
    }
}

fn flatten(prefix: &str, table: &toml::Table, take: &mut dyn FnMut(String, String)) {
    for (key, value) in table {
        let key = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, take),
            toml::Value::String(text) => take(key, text.clone()),
            toml::Value::Array(items) => {
                let words = items
                    .iter()
                    .map(|item| item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned));
                take(key, words.collect::<Vec<_>>().join(","));
            }
            other => take(key, other.to_string()),
        }
    }
}

/// Checks one option; returns its key.
fn check(key: &str, value: &str) -> Result<String, String> {
    if let Some(name) = key.strip_prefix(PROPERTIES) {
        let name = name.replace('_', ".");
        if OURS.contains(&name.as_str()) {
            return Err("this setting carries the promises and is Waymark's".to_owned());
        }
        if ["password", "secret", "passphrase", ".pem"]
            .iter()
            .any(|word| name.contains(word))
            && !name.ends_with(".file")
        {
            return Err("a secret is only accepted as a file: add _file to the name".to_owned());
        }
        return Ok(key.to_owned());
    }
    let Some(option) = options::find(key) else {
        let known = OPTIONS.iter().map(|option| option.key);
        let nearest = known.min_by_key(|known| distance(key, known)).unwrap_or_default();
        return Err(format!("unknown option: nearest={nearest}"));
    };
    let expected = match option.kind {
        Kind::Text => None,
        Kind::Pairs => (!pairs(value).all(|pair| pair.is_some())).then(|| "pairs as a=b, comma-separated".to_owned()),
        Kind::Switch => (!matches!(value, "true" | "false")).then(|| "true or false".to_owned()),
        Kind::Choice(words) => (!words.contains(&value)).then(|| format!("one of {}", words.join(", "))),
        Kind::Span => number(option.kind, value)
            .is_none()
            .then(|| "a span such as 500ms, 30s, 28d".to_owned()),
        Kind::Bytes => number(option.kind, value)
            .is_none()
            .then(|| "a size such as 64MiB".to_owned()),
        Kind::Whole(low, high) => {
            let fits = number(option.kind, value).is_some_and(|number| (low..=high).contains(&number));
            (!fits).then(|| format!("a whole number from {low} to {high}"))
        }
    };
    match expected {
        Some(expected) => Err(format!("expected {expected}: found={value}")),
        None => Ok(key.to_owned()),
    }
}

fn number(kind: Kind, text: &str) -> Option<i64> {
    let units: &[(&str, i64)] = match kind {
        Kind::Span => &[
            ("ms", 1),
            ("s", 1000),
            ("m", 60_000),
            ("h", 3_600_000),
            ("d", 86_400_000),
        ],
        Kind::Bytes => &[("KiB", 1024), ("MiB", 1 << 20), ("GiB", 1 << 30)],
        Kind::Whole(..) => return text.parse().ok(),
        _ => return None,
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    if unit.is_empty() {
        return (digits == "0").then_some(0);
    }
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    digits.parse::<i64>().ok()?.checked_mul(factor)
}

/// The pairs `a=b` of a comma-separated list; `None` for what is none.
fn pairs(value: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| {
        let (left, right) = word.split_once('=')?;
        let (left, right) = (left.trim(), right.trim());
        (!left.is_empty() && !right.is_empty() && !right.contains('=')).then_some((left, right))
    })
}

/// Edits between two names (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, from) in one.chars().enumerate() {
        let mut before = row[0];
        row[0] = index + 1;
        for (column, to) in other.iter().enumerate() {
            let change = before + usize::from(from != *to);
            before = row[column + 1];
            row[column + 1] = change.min(before + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, Vec<String>> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let sources = Sources {
            file: Some(("waymark.toml", file)),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            flags: &flags,
        };
        Config::read(&sources).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let file =
            "[epoch]\ninterval = \"50ms\"\n[kafka]\nprefix = \"a.\"\nproperties.\"sasl.mechanism\" = \"PLAIN\"\n";
        let variables = [
            ("WAYMARK__KAFKA__PREFIX", "b."),
            ("WAYMARK__ORDER__WINDOW", "0"),
            ("WAYMARK__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
            ("HOME", "/root"),
        ];
        let config = read(file, &variables, &["order.window=1s"]).expect("valid");
        assert_eq!(
            (config.number("epoch.interval"), config.text("kafka.prefix")),
            (50, "b.")
        );
        assert_eq!(config.number("order.window"), 1000);
        assert_eq!(config.number("limits.epoch_bytes"), 32 << 20);
        let expected = [("sasl.mechanism", "PLAIN"), ("security.protocol", "SASL_SSL")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(config.properties(), BTreeMap::from(expected));
        let origin = config
            .iter()
            .find(|(key, ..)| *key == "kafka.prefix")
            .map(|(.., origin)| origin.to_string());
        assert_eq!(origin.as_deref(), Some("variable WAYMARK__KAFKA__PREFIX"));
    }

    #[test]
    fn everything_wrong_is_named() {
        let wrong = |file: &str| read(file, &[], &[]).expect_err("refused").join("\n");
        assert_eq!(
            wrong("[epoch]\nintervall = \"1s\"\n"),
            "file waymark.toml: epoch.intervall: unknown option: nearest=epoch.interval"
        );
        assert!(wrong("[order]\nwindow = 5\n").ends_with("expected a span such as 500ms, 30s, 28d: found=5"));
        assert!(wrong("[service]\nworkers = -1\n").contains("from 0 to"));
        assert!(wrong("[intake]\ntypes = \"a=b, c\"\n").contains("expected pairs as a=b, comma-separated"));
        assert!(wrong("[kafka.properties]\n\"acks\" = \"1\"\n").contains("Waymark's"));
        assert!(wrong("[kafka.properties]\n\"sasl.password\" = \"x\"\n").contains("only accepted as a file"));
        assert!(wrong("[kafka\n").starts_with("file waymark.toml: toml: "));
    }

    #[test]
    fn pairs_are_read_from_any_source() {
        let config = read("", &[], &["intake.types=x.y=order.completed, z=page.viewed,"]).expect("valid");
        let pairs = config.pairs("intake.types");
        assert_eq!((pairs.len(), pairs["x.y"].as_str()), (2, "order.completed"));
        assert!(config.pairs("intake.consent_categories").is_empty());
    }

    #[test]
    fn only_what_changes_outputs_changes_the_hash() {
        let hash = |flag: &str| read("", &[], &[flag]).expect("valid").outputs_hash();
        assert_eq!(hash("service.workers=1"), hash("service.workers=2"));
        assert_ne!(hash("order.window=0"), hash("order.window=1s"));
    }

    #[test]
    fn the_documentation_lists_every_option() {
        let mut page = "# Configuration

One TOML file (`--config`, or `waymark.toml` where it exists), overridden by variables (`WAYMARK__SECTION__KEY`), overridden by
`--set section.key=value`. Unknown keys are errors with the nearest name. Options marked \u{2020} change outputs, so all instances must
agree on them. `[kafka.properties]` takes any librdkafka key, quoted, except those that carry the promises; secrets only as files.

| option | default | meaning |
|---|---|---|
"
        .to_owned();
        for option in OPTIONS {
            let mark = if option.changes_outputs { " \u{2020}" } else { "" };
            let default = option.default.unwrap_or("\u{2013}");
            page.push_str(&format!(
                "| `{}`{mark} | {default} | {} |\n",
                option.key, option.meaning
            ));
        }
        assert_eq!(page, include_str!("../../../docs/CONFIG.md"));
    }
}
