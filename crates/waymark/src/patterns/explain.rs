//! `waymark pattern explain`: what the engine did with each event of a customer, and why it did nothing.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use codec::time;
use event::{Attribute, Event, Identifier, IdentifierKind, Intervention, Millis};
use intake::Keys;
use journey::{Counted, Ears, Journey, Moment, Rules};
use pattern::{Ignored, Match, Note, Observer, POLICY_KEY, Pattern, Policy, Published, Subject, sentence};
use serde_json::{Value, json};
use service::backend::Backend;

use super::{backtest::finding, load::load};
use crate::{
    backtest::{self, MEMORY},
    catalogue,
    cli::{Explain, Global},
    context,
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
    let (pattern, policy, customers) = match &options.events {
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
            let customers = match from_file(path, options) {
                Ok(customers) => customers,
                Err(wrong) => {
                    report.findings = vec![finding(&wrong)];
                    return Ok(report);
                }
            };
            let policy = loaded.policy.map(|policy| (*policy).clone()).unwrap_or_default();
            (Arc::clone(&named[0]), policy, customers)
        }
        None => live(global, options)?,
    };
    if customers.is_empty() {
        let who = options.customer.as_deref().unwrap_or("anybody");
        return Err(Failure::invalid(format!("no event of this customer: customer={who}")));
    }
    let mut text = format!(
        "{} version {}, {}: {}\n",
        pattern.id,
        pattern.version,
        pattern.status.as_str(),
        sentence(&pattern)
    );
    let mut rows = Vec::new();
    for (customer, events) in &customers {
        let (told, open) = explained(&pattern, &policy, customer, events, options.drain);
        text.push_str(&format!("\ncustomer {customer}\n"));
        told.iter().for_each(|told| text.push_str(&told.text()));
        if let Some(due) = open {
            text.push_str(&format!("open at the end: a wait until {}\n", time(due)));
        }
        rows.push(json!({
            "customer": customer, "moments": told.iter().map(Told::data).collect::<Vec<_>>(),
            "open_until": open.map(time),
        }));
    }
    report.exit = Exit::Done;
    report.data = json!({
        "pattern": pattern.id, "version": pattern.version, "sentence": sentence(&pattern), "customers": rows,
    });
    report.text = text;
    Ok(report)
}

type Customers = BTreeMap<String, Vec<Event>>;

fn from_file(path: &Path, options: &Explain) -> Result<Customers, crate::replay::rows::Unreadable> {
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
    Ok(customers)
}

/// The published pattern, and the customer's events as they stand on the timeline.
fn live(global: &Global, options: &Explain) -> Result<(Arc<Pattern>, Policy, Customers), Failure> {
    let config = context::config(global)?;
    let Some(customer) = &options.customer else {
        return Err(Failure::invalid("--events FILE or --customer ID is needed"));
    };
    let key = match customer.split_once(':') {
        Some((kind, value)) => {
            let kind = IdentifierKind::parse(kind)
                .ok_or_else(|| Failure::invalid(format!("unknown kind of identifier: found={kind}")))?;
            let identifier = Identifier {
                kind,
                value: value.to_owned(),
                namespace: String::new(),
                verified: true,
            };
            Keys::new(&context::secret(&config)?).key("default", &identifier)
        }
        None => customer.clone(),
    };
    if config.text("service.log") == "embedded" {
        let dir = Path::new(config.text("service.data_dir")).join("log");
        return live_on(&context::embedded_as_is(&config, &dir)?, &options.name, &key);
    }
    live_on(&context::kafka(&config)?, &options.name, &key)
}

fn live_on<B: Backend>(backend: &B, name: &str, key: &str) -> Result<(Arc<Pattern>, Policy, Customers), Failure> {
    let values = catalogue::published(backend)?;
    let invalid = |findings: Vec<pattern::Finding>| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Failure::invalid(lines.join("\n"))
    };
    let Some(value) = values.get(name) else {
        let near = pattern::nearest(name, values.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
        return Err(Failure::invalid(format!("not published: pattern={name}{near}")));
    };
    let pattern = Published::<Pattern>::read("journey.patterns", value)
        .map_err(invalid)?
        .what;
    let policy = match values.get(POLICY_KEY) {
        Some(value) => (*Published::<Policy>::read("journey.patterns", value)
            .map_err(invalid)?
            .what)
            .clone(),
        None => Policy::default(),
    };
    let mut reader = backend.reader(&[&backend.names().timeline()], true)?;
    let (mut records, mut events) = (Vec::new(), Vec::new());
    let mut heard = std::time::Instant::now();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(100), &mut records)?;
        if !records.is_empty() {
            heard = std::time::Instant::now();
        }
        for record in records
            .drain(..)
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
        {
            events.extend(codec::decode_event(record.value.as_deref().unwrap_or_default()).ok());
        }
        if heard.elapsed() > Duration::from_secs(30) {
            return Err(Failure::no_answer("the timeline was not read to its end in time"));
        }
    }
    let customers = if events.is_empty() {
        Customers::new()
    } else {
        Customers::from([(key.to_owned(), events)])
    };
    Ok((pattern, policy, customers))
}

/// Steps one customer's journey, and writes down what the engine says.
fn explained(
    pattern: &Arc<Pattern>,
    policy: &Policy,
    customer: &str,
    events: &[Event],
    drain: bool,
) -> (Vec<Told>, Option<Millis>) {
    let rules = Rules {
        catalogue: Arc::new(backtest::catalogue(std::slice::from_ref(pattern))),
        policy: policy.clone(),
        timeline_events: 1,
        customer_rate: 1_000_000_000,
        publish_profiles: false,
        profile_interval: 30_000,
        read_again: None,
    };
    let (mut journey, mut told, mut last) = (Journey::default(), Vec::new(), None);
    for event in events {
        let now = last.map_or(event.time, |last: Millis| last.max(event.time));
        fire(&mut journey, &rules, customer, now, &mut told);
        let mut notes = Notes::default();
        let counted = notes.step(&mut journey, &rules, customer, now, Some(event));
        if counted.duplicates > 0 {
            notes.add(
                "repeated",
                String::new(),
                "repeats an event of the last 24 hours and is not counted".to_owned(),
            );
        }
        if notes.lines.is_empty() {
            notes.add(
                "ignored",
                String::new(),
                "nothing is open that it could move or break".to_owned(),
            );
        }
        told.push(Told {
            at: now,
            event: Some((event.id.clone(), event.kind.clone())),
            notes: notes.lines,
        });
        last = Some(now);
    }
    if drain {
        fire(&mut journey, &rules, customer, Millis(i64::MAX), &mut told);
    } else if let Some(last) = last {
        fire(&mut journey, &rules, customer, last, &mut told);
    }
    (told, journey.runs.deadline())
}

fn fire(journey: &mut Journey, rules: &Rules, customer: &str, clock: Millis, told: &mut Vec<Told>) {
    while let Some(due) = journey::deadline(journey, rules).filter(|due| *due <= clock) {
        let mut notes = Notes::default();
        notes.step(journey, rules, customer, due, None);
        // Deadlines that are not the pattern's own say nothing.
        if !notes.lines.is_empty() {
            told.push(Told {
                at: due,
                event: None,
                notes: notes.lines,
            });
        }
    }
}

#[derive(Default)]
struct Notes {
    lines: Vec<Line>,
}

impl Notes {
    fn add(&mut self, kind: &'static str, by: String, text: String) {
        self.lines.push(Line { kind, by, text });
    }

    fn step(
        &mut self,
        journey: &mut Journey,
        rules: &Rules,
        customer: &str,
        now: Millis,
        event: Option<&Event>,
    ) -> Counted {
        let at = Moment {
            now,
            clock: now,
            customer,
            position: "",
            arrival: now,
        };
        let mut decided = Vec::new();
        let mut hear = |_: &Match, intervention: &Intervention| {
            decided.push(match &intervention.withheld {
                Some(withheld) => format!("decided: withheld, {}", withheld.reason.as_str()),
                None => format!("decided: {} by {}", intervention.kind, intervention.channel.as_str()),
            });
        };
        let (mut said, mut counted) = (Vec::new(), Counted::default());
        let ears = Ears {
            hear: &mut hear,
            observer: self,
        };
        match event {
            Some(event) => journey::hear_event(journey, event, &at, rules, &mut said, &mut counted, ears),
            None => journey::hear_time(journey, &at, rules, &mut said, &mut counted, ears),
        }
        for text in decided {
            self.add("decided", String::new(), text);
        }
        counted
    }
}

impl Observer for Notes {
    fn note(&mut self, of: &Subject<'_>, note: &Note<'_>) {
        let names: Vec<String> = of.by.iter().map(shown).collect();
        let (kind, text) = described(note);
        self.add(kind, names.join(", "), text);
    }
}

fn shown(value: &Attribute) -> String {
    match value {
        Attribute::Null => "null".to_owned(),
        Attribute::Bool(value) => value.to_string(),
        Attribute::Long(value) => value.to_string(),
        Attribute::Double(value) => value.to_string(),
        Attribute::Text(text) => format!("'{text}'"),
        Attribute::List(list) => format!("[{}]", list.join(", ")),
    }
}

/// Milliseconds as people say them: `1 h 2 min 3.5 s`.
fn span(millis: i64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)];
    let (mut rest, mut parts) = (millis, Vec::new());
    for (name, unit) in units {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if rest > 0 || parts.is_empty() {
        parts.push(if rest % 1000 == 0 {
            format!("{}s", rest / 1000)
        } else {
            format!("{rest}ms")
        });
    }
    parts.join(" ")
}

fn described(note: &Note<'_>) -> (&'static str, String) {
    match note {
        Note::Saw {
            step,
            seen,
            times,
            since,
        } => (
            "saw",
            format!("step {step} sees it, {seen} of {times}; run since {}", time(*since)),
        ),
        Note::Completed { step, next, deadline } => {
            let next = match (next, deadline) {
                (Some(next), Some(due)) => format!("step {next} waits until {}", time(*due)),
                (Some(next), None) => format!("step {next} is awaited"),
                (None, _) => "nothing more is awaited".to_owned(),
            };
            ("completed", format!("step {step} is complete; {next}"))
        }
        Note::Held { step, since } => ("held", format!("step {step} held: nothing came since {}", time(*since))),
        Note::Broken { step, since } => (
            "broken",
            format!("it breaks step {step}; the run since {} is gone", time(*since)),
        ),
        Note::Ended { runs } => (
            "ended",
            format!("`until`: everything unfinished is forgotten, runs {runs}"),
        ),
        Note::Expired { step, since } => (
            "expired",
            format!(
                "the run since {} is older than `within`; it awaited step {step}",
                time(*since)
            ),
        ),
        Note::Replaced { step, since } => (
            "replaced",
            format!(
                "a later run takes the place of that since {}; both await step {step}",
                time(*since)
            ),
        ),
        Note::Capped { runs } => ("capped", format!("too many runs: the oldest are dropped, {runs}")),
        Note::DateChanged => (
            "date_changed",
            "the date of `during` has changed: everything unfinished is forgotten".to_owned(),
        ),
        Note::OtherVersion { version } => (
            "other_version",
            format!("version {version} has matched: everything unfinished is forgotten"),
        ),
        Note::Matched { since, events } => {
            let events: Vec<String> = events.iter().map(|events| events.join(" ")).collect();
            (
                "matched",
                format!("MATCH, begun {}: {}", time(*since), events.join(" | ")),
            )
        }
        Note::Ignored(why) => ("ignored", ignored(why)),
    }
}

fn ignored(why: &Ignored<'_>) -> String {
    match why {
        Ignored::Type => "no step names this type".to_owned(),
        Ignored::By { field } => format!("it has no {field}, by which events are joined"),
        Ignored::NotAwaited { step } => format!("step {step} names this type and is not awaited yet"),
        Ignored::Where {
            step,
            text,
            reads,
            failed,
        } => {
            let reads: Vec<String> = reads
                .iter()
                .map(|(path, value)| match value {
                    Some(value) => format!("{path} = {}", shown(value)),
                    None => format!("{path} is missing"),
                })
                .collect();
            let verb = if *failed { "fails" } else { "does not hold" };
            format!("the `where` of step {step} {verb}: {text} ({})", reads.join(", "))
        }
        Ignored::Across { step, field } => format!("it has no {field}, of which step {step} needs different values"),
        Ignored::Window {
            step,
            span: found,
            within,
        } => format!(
            "too late for step {step}: {} after the first event, within is {}",
            span(*found),
            span(*within)
        ),
        Ignored::StepWindow {
            step,
            span: found,
            within,
        } => format!(
            "too late for step {step}: {} after the step before, its within is {}",
            span(*found),
            span(*within)
        ),
        Ignored::During { date: Some(date) } => format!("outside of `during`: the date is {}", time(*date)),
        Ignored::During { date: None } => "outside of `during`: there is no such date in the profile".to_owned(),
        Ignored::Version => "this version starts no run any more".to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_read_well() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (90_000, "1m 30s"),
            (90_061_001, "1d 1h 1m 1001ms"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
