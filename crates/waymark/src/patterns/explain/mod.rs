//! `waymark pattern explain`: what the engine did with each event of a customer, and why it did nothing.

mod live;
mod steps;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use codec::time;
use event::{Event, Millis};
use pattern::{Pattern, sentence};
use serde_json::{Value, json};

use super::{backtest::finding, load::load};
use crate::{
    backtest::{self, MEMORY},
    cli::{Explain, Global},
    report::{Exit, Failure, Report},
};

/// What happened at one moment of a customer.
struct Told {
    at: Millis,
    /// The event's id and type; none for a deadline.
    event: Option<(String, String)>,
    notes: Vec<Line>,
}

/// One note, as a word for programs and a line for people.
struct Line {
    kind: &'static str,
    by: String,
    text: String,
}

/// What is told of one customer, and the wait that is open at the end.
struct Account {
    customer: String,
    told: Vec<Told>,
    open: Option<Millis>,
}

/// What is explained, and to whom it happened.
struct Explained {
    pattern: Arc<Pattern>,
    /// From when on the pattern is in force as it is; before, it was another or none.
    since: Option<Millis>,
    accounts: Vec<Account>,
}

/// Explains one pattern on the events of one customer, or of each customer of a file.
///
/// # Errors
/// [`Failure`] where a path cannot be read, the pattern or the customer is not there, or the log does not answer.
pub fn run(global: &Global, options: &Explain) -> Result<Report, Failure> {
    let mut report = Report {
        command: "pattern explain",
        exit: Exit::Invalid,
        findings: Vec::new(),
        data: Value::Null,
        text: String::new(),
    };
    let found = match &options.events {
        Some(path) => {
            let loaded = load(std::slice::from_ref(&options.patterns))?;
            let named = loaded.named(std::slice::from_ref(&options.name));
            let Ok(named) = named else {
                report.findings = loaded.errors();
                if report.findings.is_empty() {
                    let message = named.err().unwrap_or_default();
                    return Err(Failure::invalid(format!("{}: {message}", options.patterns.display())));
                }
                return Ok(report);
            };
            let (customers, end) = match from_file(path, options) {
                Ok(found) => found,
                Err(wrong) => {
                    report.findings = vec![finding(&wrong)];
                    return Ok(report);
                }
            };
            let pattern = Arc::clone(&named[0]);
            let policy = loaded.policy.map(|policy| (*policy).clone()).unwrap_or_default();
            let rules = steps::rules(&pattern, &policy);
            let accounts = customers
                .iter()
                .map(|(customer, events)| steps::explained(&rules, customer, events, end, options.drain));
            Explained {
                accounts: accounts.collect(),
                since: None,
                pattern,
            }
        }
        None => live::explained(global, options)?,
    };
    if found.accounts.is_empty() {
        let who = options.customer.as_deref().unwrap_or("anybody");
        return Err(Failure::invalid(format!("no event of this customer: customer={who}")));
    }
    let pattern = &found.pattern;
    let mut text = format!(
        "{} version {}, {}: {}\n",
        pattern.id,
        pattern.version,
        pattern.status.as_str(),
        sentence(pattern)
    );
    if let Some(since) = found.since {
        text.push_str(&format!("in force like this from {}\n", time(since)));
    }
    let mut rows = Vec::new();
    for Account { customer, told, open } in &found.accounts {
        text.push_str(&format!("\ncustomer {customer}\n"));
        told.iter().for_each(|told| text.push_str(&told.text()));
        if let Some(due) = open {
            text.push_str(&format!("open at the end: a wait until {}\n", time(*due)));
        }
        rows.push(json!({
            "customer": customer, "moments": told.iter().map(Told::data).collect::<Vec<_>>(),
            "open_until": open.map(time),
        }));
    }
    report.exit = Exit::Done;
    report.data = json!({
        "pattern": pattern.id, "version": pattern.version, "sentence": sentence(pattern), "since": found.since.map(time),
        "customers": rows,
    });
    report.text = text;
    Ok(report)
}

type Customers = BTreeMap<String, Vec<Event>>;

/// The events of the customers that are meant, and when the file's last event was: the clock goes on to it, whoever it is of.
fn from_file(path: &Path, options: &Explain) -> Result<(Customers, Option<Millis>), crate::replay::rows::Unreadable> {
    let sorted = backtest::read(path, options.map.as_deref(), MEMORY)?;
    let wrong = |error: std::io::Error| crate::replay::rows::Unreadable::file(path, error.to_string());
    let mut customers = Customers::new();
    for event in sorted.events().map_err(wrong)? {
        let event = event.map_err(wrong)?;
        let Some(name) = event.identifiers.first().map(|identifier| identifier.value.clone()) else {
            continue;
        };
        if options.customer.as_ref().is_none_or(|wanted| *wanted == name) {
            customers.entry(name).or_default().push(event);
        }
    }
    Ok((customers, sorted.last()))
}

impl Told {
    fn text(&self) -> String {
        let mut text = match &self.event {
            Some((id, kind)) => format!("{} {id} {kind}\n", time(self.at)),
            None => format!("{} deadline\n", time(self.at)),
        };
        for line in &self.notes {
            let by = if line.by.is_empty() {
                String::new()
            } else {
                format!("[{}] ", line.by)
            };
            text.push_str(&format!("  {by}{}\n", line.text));
        }
        text
    }

    fn data(&self) -> Value {
        let notes: Vec<Value> = self
            .notes
            .iter()
            .map(|line| json!({ "kind": line.kind, "by": line.by, "text": line.text }))
            .collect();
        let (id, kind) = self.event.clone().unzip();
        json!({ "at": time(self.at), "event": id, "type": kind, "notes": notes })
    }
}
