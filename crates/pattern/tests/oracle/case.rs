//! A case: patterns, and one customer's moments. What it is made of, and how it is written for `waymark pattern explain`.

use std::fmt::Write as _;

#[derive(Debug, Clone)]
pub struct Case {
    /// Their ids are `random-0`, `random-1` and so on.
    pub patterns: Vec<Description>,
    /// Before which moment the next version of the first pattern comes into force, and what it says.
    pub newer: Option<(usize, Description)>,
    /// Runs per pattern and per customer, where they are few.
    pub caps: Option<[usize; 2]>,
    /// The customer's index of the first event.
    pub first_index: u64,
    pub moments: Vec<Moment>,
}

/// What stands in `when`. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    pub by: Vec<Key>,
    pub within: i64,
    pub until: Vec<char>,
    pub any_order: bool,
    pub during: Option<During>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct During {
    pub before: bool,
    pub span: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub types: Vec<char>,
    pub condition: Option<Test>,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    See {
        times: usize,
        across: Option<(Key, usize)>,
        within: Option<i64>,
    },
    Guard,
    Wait(i64),
}

/// A field that joins, or whose values are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key {
    K,
    Y,
    /// Of the envelope.
    Session,
}

/// What such a field was sent as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sent {
    Long(i64),
    /// A number with a point, in halves.
    Halves(i64),
    Text(&'static str),
}

/// What it holds, so that values differ where CEL says so: 1 and 1.0 are one, `"1"` is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    Long(i64),
    /// Of what is no whole number.
    Halves(i64),
    Text(&'static str),
}

impl Sent {
    pub const fn held(self) -> Held {
        match self {
            Self::Long(number) => Held::Long(number),
            Self::Halves(halves) if halves % 2 == 0 => Held::Long(halves / 2),
            Self::Halves(halves) => Held::Halves(halves),
            Self::Text(text) => Held::Text(text),
        }
    }
}

/// A `where`.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Compare(Comparison, Operand, Operand),
    Has(Operand),
    /// The event's own type.
    Is(char),
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    Equal,
    Unequal,
    Less,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operand {
    Number(i64),
    Event(Field),
    /// Of the event that completed this `see`.
    Captured(usize, Field),
    /// `event.x / event.z`
    Quotient,
    /// `profile.level`
    Profile,
    /// `journey.contacts_7d`
    Journey,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field {
    X,
    Z,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Moment {
    Event(Happened),
    /// An event derived from the one before, with an `x` of its own or its record's.
    Derived {
        kind: char,
        x: Option<i64>,
    },
    Clock(i64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Happened {
    pub kind: char,
    pub at: i64,
    pub x: Option<i64>,
    pub z: Option<i64>,
    pub y: Option<Sent>,
    pub k: Option<Sent>,
    pub session: Option<&'static str>,
    /// The profile's date from this event on, if it changes it.
    pub date: Option<Option<i64>>,
    /// What profile and journey say from this event on, if it changes that.
    pub fact: Option<Option<i64>>,
}

impl Step {
    pub fn is_see(&self) -> bool {
        matches!(self.what, What::See { .. })
    }

    pub fn times(&self) -> usize {
        match self.what {
            What::See { times, .. } => times,
            _ => 0,
        }
    }

    pub fn across(&self) -> Option<(Key, usize)> {
        match self.what {
            What::See { across, .. } => across,
            _ => None,
        }
    }
}

impl Description {
    pub fn sees(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_see())
    }
}

impl Test {
    pub fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        match self {
            Self::Compare(_, left, right) => {
                visit(*left);
                visit(*right);
            }
            Self::Has(operand) => visit(*operand),
            Self::Is(_) => {}
            Self::Not(inner) => inner.operands(visit),
            Self::And(left, right) | Self::Or(left, right) => {
                left.operands(visit);
                right.operands(visit);
            }
        }
    }

    /// Whether it reads what this `see` captured, or any other.
    pub fn captures(&self, see: Option<usize>) -> bool {
        let mut found = false;
        self.operands(&mut |operand| {
            if let Operand::Captured(of, _) = operand {
                found |= see.is_none_or(|see| see == of);
            }
        });
        found
    }

    fn text(&self) -> String {
        match self {
            Self::Compare(comparison, left, right) => {
                let sign = match comparison {
                    Comparison::Equal => "==",
                    Comparison::Unequal => "!=",
                    Comparison::Less => "<",
                    Comparison::AtLeast => ">=",
                };
                format!("{} {sign} {}", left.text(), right.text())
            }
            Self::Has(operand) => format!("has({})", operand.text()),
            Self::Is(kind) => format!("event.type == 't.{kind}'"),
            Self::Not(inner) => format!("!({})", inner.text()),
            Self::And(left, right) => format!("({}) && ({})", left.text(), right.text()),
            Self::Or(left, right) => format!("({}) || ({})", left.text(), right.text()),
        }
    }
}

impl Operand {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Event(field) => format!("event.{}", field.name()),
            Self::Captured(see, field) => format!("p{see}.{}", field.name()),
            Self::Quotient => "event.x / event.z".to_owned(),
            Self::Profile => "profile.level".to_owned(),
            Self::Journey => "journey.contacts_7d".to_owned(),
        }
    }
}

impl Field {
    pub const fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Z => "z",
        }
    }
}

impl Key {
    /// The texts that such fields hold.
    pub const TEXTS: [&'static str; 3] = ["1", "v", "w"];

    /// One of them.
    pub fn text(text: &str) -> &'static str {
        let known = Self::TEXTS.into_iter().find(|known| *known == text);
        known.expect("fields hold no other texts")
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::K => "k",
            Self::Y => "y",
            Self::Session => "session",
        }
    }
}

/// A pattern file.
pub fn yaml(id: usize, version: i32, of: &Description) -> String {
    let list = |types: &[char]| {
        types
            .iter()
            .map(|kind| format!("t.{kind}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = format!(
        "pattern: random-{id}\nversion: {version}\ntitle: Random\nowner: tests\nstatus: live\nwhen:\n  within: {}\n",
        span(of.within)
    );
    if !of.by.is_empty() {
        let names: Vec<&str> = of.by.iter().map(|key| key.name()).collect();
        let _ = writeln!(text, "  by: [{}]", names.join(", "));
    }
    if !of.until.is_empty() {
        let _ = writeln!(text, "  until: [{}]", list(&of.until));
    }
    if let Some(During { before, span: length }) = of.during {
        let (side, long) = if before { ("before", "lead") } else { ("after", "lag") };
        let _ = writeln!(
            text,
            "  during: {{ {side}: profile.renewal_date, {long}: {} }}",
            span(length)
        );
    }
    text.push_str(if of.any_order { "  all:\n" } else { "  sequence:\n" });
    let mut sees = 0;
    for step in &of.steps {
        match step.what {
            What::See { times, across, within } => {
                let _ = writeln!(text, "    - see: [{}]", list(&step.types));
                if times > 1 {
                    let _ = writeln!(text, "      times: {times}");
                }
                if let Some((key, at_least)) = across {
                    let _ = writeln!(text, "      across: {{ field: {}, at_least: {at_least} }}", key.name());
                }
                if let Some(within) = within {
                    let _ = writeln!(text, "      within: {}", span(within));
                }
                let is_read = |other: &Step| other.condition.as_ref().is_some_and(|test| test.captures(Some(sees)));
                if of.steps.iter().any(is_read) {
                    let _ = writeln!(text, "      as: p{sees}");
                }
                sees += 1;
            }
            What::Guard => {
                let _ = writeln!(text, "    - absent: [{}]", list(&step.types));
            }
            What::Wait(wait) => {
                let _ = writeln!(text, "    - absent: [{}]\n      for: {}", list(&step.types), span(wait));
            }
        }
        if let Some(test) = &step.condition {
            let _ = writeln!(text, "      where: \"{}\"", test.text());
        }
    }
    let _ = write!(
        text,
        "then: {{ intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: {{ en: '{{{{ seen[0].first.x }}}} {{{{ \
         seen[{}].last.x }}}}' }} }}
guard: {{ consent: service, cooldown: 1ms }}
rollout: {{ percent: 100, holdout: 0, seed: random-1 }}
tests:
  - {{ name: nothing, given: [], expect: [] }}
  - {{ name: nothing again, given: [], expect: [] }}
",
        of.sees().count() - 1
    );
    text
}

/// A duration as it is written.
fn span(millis: i64) -> String {
    let (amount, unit) = match millis {
        _ if millis % 3_600_000 == 0 => (millis / 3_600_000, "h"),
        _ if millis % 1000 == 0 => (millis / 1000, "s"),
        _ => (millis, "ms"),
    };
    format!("{amount}{unit}")
}

/// The history as lines that `waymark pattern explain random-0 --events FILE` reads. Its clock never lags.
pub fn lines(moments: &[Moment]) -> String {
    let mut text = String::new();
    let (mut record, mut number) = (None, 0);
    for moment in moments {
        let of = match moment {
            Moment::Event(of) => {
                record = Some(*of);
                *of
            }
            Moment::Derived { kind, x } => {
                let Some(record) = record else { continue };
                Happened {
                    kind: *kind,
                    x: x.or(record.x),
                    ..record
                }
            }
            Moment::Clock(_) => continue,
        };
        let _ = write!(
            text,
            r#"{{"id":"{number}","time":{},"customer":"c","type":"t.{}""#,
            of.at, of.kind
        );
        for (name, value) in [("x", of.x), ("z", of.z)] {
            if let Some(value) = value {
                let _ = write!(text, r#","{name}":{value}"#);
            }
        }
        for (name, value) in [("y", of.y), ("k", of.k), ("session", of.session.map(Sent::Text))] {
            match value {
                Some(Sent::Long(value)) => _ = write!(text, r#","{name}":{value}"#),
                Some(Sent::Halves(halves)) => _ = write!(text, r#","{name}":{:?}"#, halves as f64 / 2.0),
                Some(Sent::Text(value)) => _ = write!(text, r#","{name}":"{value}""#),
                None => {}
            }
        }
        text.push_str("}\n");
        number += 1;
    }
    text
}
