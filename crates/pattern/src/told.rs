//! What the engine did, in words: for `explain`, and for the steps of a failing test.

use event::{Attribute, Millis};

use crate::{Ignored, Note, Subject};

impl Subject<'_> {
    /// The values of the `by` fields, as a reader tells them apart; empty where there are none.
    #[must_use]
    pub fn by_in_words(&self) -> String {
        let values: Vec<String> = self.by.iter().map(shown).collect();
        values.join(", ")
    }
}

impl Note<'_> {
    /// One word for it, for programs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Saw { .. } => "saw",
            Self::Completed { .. } => "completed",
            Self::Held { .. } => "held",
            Self::Broken { .. } => "broken",
            Self::Ended { .. } => "ended",
            Self::Expired { .. } => "expired",
            Self::Replaced { .. } => "replaced",
            Self::Capped { .. } => "capped",
            Self::DateChanged => "date_changed",
            Self::OtherVersion { .. } => "other_version",
            Self::Matched { .. } => "matched",
            Self::Ignored(_) => "ignored",
        }
    }

    /// One line about it; `time` writes a moment as its reader knows it.
    #[must_use]
    pub fn in_words(&self, time: &dyn Fn(Millis) -> String) -> String {
        match self {
            Self::Saw {
                step,
                seen,
                times,
                values,
                since,
            } => {
                let values = values.map_or_else(String::new, |(found, needed)| {
                    format!(", different values {found} of {needed}")
                });
                format!(
                    "step {step} sees it, {seen} of {times}{values}; run since {}",
                    time(*since)
                )
            }
            Self::Completed { step, next, deadline } => {
                let next = match (next, deadline) {
                    (Some(next), Some(due)) => format!("step {next} waits until {}", time(*due)),
                    (Some(next), None) => format!("step {next} is awaited"),
                    (None, _) => "nothing more is awaited".to_owned(),
                };
                format!("step {step} is complete; {next}")
            }
            Self::Held { step, since } => format!("step {step} held: nothing came since {}", time(*since)),
            Self::Broken { step, since } => format!("it breaks step {step}; the run since {} is gone", time(*since)),
            Self::Ended { runs } => format!("`until`: everything unfinished is forgotten, runs {runs}"),
            Self::Expired { step, since } => format!(
                "the run since {} is older than `within`; it awaited step {step}",
                time(*since)
            ),
            Self::Replaced { step, since } => format!(
                "a later run takes the place of that since {}; both await step {step}",
                time(*since)
            ),
            Self::Capped { runs } => format!("too many runs: the oldest are dropped, {runs}"),
            Self::DateChanged => "the date of `during` has changed: everything unfinished is forgotten".to_owned(),
            Self::OtherVersion { version } => {
                format!("version {version} has matched: everything unfinished is forgotten")
            }
            Self::Matched { since, events } => {
                let events: Vec<String> = events.iter().map(|events| events.join(" ")).collect();
                format!("MATCH, begun {}: {}", time(*since), events.join(" | "))
            }
            Self::Ignored(why) => why.in_words(time),
        }
    }
}

impl Ignored<'_> {
    fn in_words(&self, time: &dyn Fn(Millis) -> String) -> String {
        match self {
            Self::Type => "no step names this type".to_owned(),
            Self::By { field } => format!("it has no {field}, by which events are joined"),
            Self::NotAwaited { step } => format!("step {step} names this type and is not awaited yet"),
            Self::Where {
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
            Self::Across { step, field } => format!("it has no {field}, of which step {step} needs different values"),
            Self::Window {
                step,
                span: found,
                within,
            } => format!(
                "too late for step {step}: {} after the first event, within is {}",
                span(*found),
                span(*within)
            ),
            Self::StepWindow {
                step,
                span: found,
                within,
            } => format!(
                "too late for step {step}: {} after the step before, its within is {}",
                span(*found),
                span(*within)
            ),
            Self::During { date: Some(date) } => format!("outside of `during`: the date is {}", time(*date)),
            Self::During { date: None } => "outside of `during`: there is no such date in the profile".to_owned(),
            Self::Version => "this version starts no run any more".to_owned(),
        }
    }
}

/// A value so that no two kinds look alike: 7, 7.0 and '7' are three. `by` tells the text apart from the numbers, which are one there.
fn shown(value: &Attribute) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    match value {
        Attribute::Null => "null".to_owned(),
        Attribute::Bool(value) => value.to_string(),
        Attribute::Long(value) => value.to_string(),
        Attribute::Double(value) => format!("{value:?}"),
        Attribute::Text(text) => quoted(text),
        Attribute::List(list) => {
            let texts: Vec<String> = list.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
    }
}

/// Milliseconds as people say them: `1h 2m 3s`.
pub(crate) fn span(millis: i64) -> String {
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

#[cfg(test)]
mod tests {
    use event::Attribute;

    use super::{shown, span};

    #[test]
    fn values_of_two_kinds_never_look_alike() {
        let text = |text: &str| Attribute::Text(text.to_owned());
        let list = |texts: &[&str]| Attribute::List(texts.iter().map(|text| (*text).to_owned()).collect());
        for (value, expected) in [
            (Attribute::Long(7), "7"),
            (Attribute::Double(7.0), "7.0"),
            (Attribute::Double(0.25), "0.25"),
            (text("7"), "'7'"),
            (text("7.0"), "'7.0'"),
            (Attribute::Bool(true), "true"),
            (text("true"), "'true'"),
            (Attribute::Null, "null"),
            (text("null"), "'null'"),
            (list(&["7", "a, b"]), "['7', 'a, b']"),
            (list(&["7", "a", "b"]), "['7', 'a', 'b']"),
            (text("['7']"), r"'[\'7\']'"),
            (text(r"a\"), r"'a\\'"),
        ] {
            assert_eq!(shown(&value), expected);
        }
    }

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
