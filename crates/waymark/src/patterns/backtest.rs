//! `waymark pattern backtest`: matches as JSON lines on stdout, a summary on stderr.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Write as _},
};

use event::{Millis, WithheldReason};
use pattern::{Finding, Severity};
use serde_json::{Value, json};

use super::load::load;
use crate::{
    backtest::{self, Counts, Found, MEMORY},
    cli::Backtest,
    replay::rows::Unreadable,
    report::{Exit, Failure, Report, heard},
};

const HOUR: i64 = 3_600_000;

/// What was found between `--since` and `--until`.
#[derive(Default)]
struct Tally {
    matches: u64,
    by_pattern: BTreeMap<String, PatternTally>,
    /// Interventions by hour since 1970.
    hours: BTreeMap<i64, u64>,
}

#[derive(Default)]
struct PatternTally {
    matches: u64,
    sent: u64,
    withheld: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn take(&mut self, found: &Found) {
        self.matches += 1;
        let of = self.by_pattern.entry(found.matched.pattern.id.clone()).or_default();
        of.matches += 1;
        match found.withheld {
            Some(reason) => *of.withheld.entry(WithheldReason::as_str(reason)).or_default() += 1,
            None => {
                of.sent += 1;
                *self
                    .hours
                    .entry(found.matched.matched_at.0.div_euclid(HOUR))
                    .or_default() += 1;
            }
        }
    }

    fn sent(&self) -> u64 {
        self.by_pattern.values().map(|of| of.sent).sum()
    }

    fn withheld(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for (reason, times) in self.by_pattern.values().flat_map(|of| &of.withheld) {
            *all.entry(*reason).or_default() += times;
        }
        all
    }

    /// Interventions in a mean hour of the file, and the fullest hour.
    fn load(&self, counts: &Counts) -> (f64, Option<(Millis, u64)>) {
        let hours = counts.span.map_or(1, |(first, last)| {
            last.0.div_euclid(HOUR) - first.0.div_euclid(HOUR) + 1
        });
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let mean = self.sent() as f64 / hours.max(1) as f64;
        let most = self.hours.iter().max_by_key(|(hour, sent)| (**sent, -**hour));
        (mean, most.map(|(hour, sent)| (Millis(hour * HOUR), *sent)))
    }

    fn data(&self, counts: &Counts) -> Value {
        let (mean, most) = self.load(counts);
        let patterns: serde_json::Map<String, Value> = self
            .by_pattern
            .iter()
            .map(|(id, of)| {
                let of = json!({ "matches": of.matches, "interventions": of.sent, "withheld": of.withheld });
                (id.clone(), of)
            })
            .collect();
        json!({
            "events": counts.events, "duplicates": counts.duplicates, "customers": counts.customers,
            "matches": self.matches, "interventions": self.sent(), "withheld": self.withheld(),
            "per_hour": { "mean": mean, "most": most.map(|(_, sent)| sent), "most_at": most.map(|(at, _)| codec::time(at)) },
            "open_waits": counts.open_waits, "capped": counts.capped, "predicates_failed": counts.failed, "patterns": patterns,
        })
    }

    fn text(&self, counts: &Counts) -> String {
        let list = |reasons: &BTreeMap<&'static str, u64>| {
            let reasons: Vec<String> = reasons
                .iter()
                .map(|(reason, times)| format!("{reason} {times}"))
                .collect();
            if reasons.is_empty() {
                "none".to_owned()
            } else {
                reasons.join(", ")
            }
        };
        let mut lines = vec![
            format!(
                "events {}, duplicates {} (same customer and id within 24 hours, not counted), customers {}",
                counts.events, counts.duplicates, counts.customers
            ),
            format!(
                "matches {}, interventions {}, withheld: {}",
                self.matches,
                self.sent(),
                list(&self.withheld())
            ),
        ];
        let (mean, most) = self.load(counts);
        let most = most.map_or_else(String::new, |(at, sent)| {
            format!(", most {sent} from {}", codec::time(at))
        });
        lines.push(format!("interventions per hour: mean {mean:.2}{most}"));
        lines.push(format!(
            "open waits {}, runs capped {}",
            counts.open_waits, counts.capped
        ));
        let width = self.by_pattern.keys().map(String::len).max().unwrap_or(0);
        for (id, of) in &self.by_pattern {
            lines.push(format!(
                "  {id:width$}  matches {}, interventions {}, withheld: {}",
                of.matches,
                of.sent,
                list(&of.withheld)
            ));
        }
        for (pattern, failures) in &counts.failed {
            lines.push(format!(
                "a where could not be evaluated, a field is missing or of another type (`pattern explain` tells of each): \
                 pattern={pattern} times={failures}"
            ));
        }
        if counts.span.is_some_and(|(_, last)| (1..SECONDS_LIKE).contains(&last.0)) {
            lines.push(format!(
                "every time lies before {}: are they seconds? A mapping with format = \"epoch_s\" reads those",
                codec::time(Millis(SECONDS_LIKE))
            ));
        }
        lines.join("\n")
    }
}

/// A file that ends before this, in March 1973, gives its times in seconds most probably: read as milliseconds they are of January 1970.
const SECONDS_LIKE: i64 = 100_000_000_000;

/// An unreadable row as a finding.
pub(super) fn finding(wrong: &Unreadable) -> Finding {
    let place = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(1);
    Finding {
        code: "row",
        severity: Severity::Error,
        file: wrong.file.clone(),
        line: place(wrong.line),
        column: place(wrong.column),
        message: wrong.message.clone(),
        help: None,
    }
}

/// Runs patterns over a file of events.
///
/// # Errors
/// [`Failure`] where a path cannot be read, or stdout cannot be written.
pub fn run(options: &Backtest) -> Result<Report, Failure> {
    let mut report = Report {
        command: "pattern backtest",
        exit: Exit::Invalid,
        findings: Vec::new(),
        data: Value::Null,
        text: String::new(),
    };
    let loaded = load(std::slice::from_ref(&options.patterns))?;
    report.findings = loaded.errors();
    if !report.findings.is_empty() {
        return Ok(report);
    }
    let patterns = loaded
        .named(&options.names)
        .map_err(|message| format!("{}: {message}", options.patterns.display()))?;
    let memory = options.memory.map_or(MEMORY, |mib| usize::from(mib) << 20);
    if let (Some(since), Some(until)) = (options.since, options.until)
        && since >= until
    {
        return Err(Failure::usage(format!(
            "nothing lies between: since={since} until={until}"
        )));
    }
    let events = match backtest::read(&options.events, options.map.as_deref(), memory) {
        Ok(events) => events,
        Err(wrong) if wrong.line.is_none() => return Err(Failure::invalid(wrong.to_string())),
        Err(wrong) => {
            report.findings = vec![finding(&wrong)];
            return Ok(report);
        }
    };
    let inside = |at: Millis| {
        options.since.is_none_or(|since| at.0 >= since.as_millisecond())
            && options.until.is_none_or(|until| at.0 < until.as_millisecond())
    };
    let mut tally = Tally::default();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let policy = loaded.policy.unwrap_or_default();
    let mut is_heard = true;
    let counts = backtest::run(&patterns, &policy, &events, options.drain, &mut |found| {
        if !inside(found.matched.matched_at) {
            return Ok(());
        }
        tally.take(&found);
        // Who reads no further wants the summary all the same.
        if is_heard {
            is_heard = heard(writeln!(out, "{}", found.json())).map_err(|failure| failure.message)?;
        }
        Ok(())
    })?;
    heard(out.flush())?;
    drop(out);
    eprintln!("{}", tally.text(&counts));
    report.exit = Exit::Done;
    report.data = tally.data(&counts);
    Ok(report)
}
