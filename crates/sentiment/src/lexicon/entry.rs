//! The rows of a lexicon: terms, what they weigh and what they do.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// What a term does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $variant),+ }

        impl Kind {
            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// As it is written in a lexicon.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

kinds! {
    /// Feels good or bad.
    Word = "word",
    /// What remains of words without their endings.
    Stem = "stem",
    /// Neither, whatever a source says; as a phrase it takes its words with it.
    Plain = "plain",
    /// The same, as a whole that means something else than its words; only a negator before it turns it round.
    Idiom = "idiom",
    /// Something that went wrong; good words beside it do not count.
    Event = "event",
    /// Counts only when it is denied.
    Functional = "functional",
    /// A span that makes a bad thing worse.
    Duration = "duration",
    /// Turns round what it governs.
    Negator = "negator",
    /// Turns round the word behind it.
    Flipper = "flipper",
    /// Strengthens or weakens.
    Booster = "booster",
    /// More than is good.
    Too = "too",
    /// What follows weighs more.
    Contrast = "contrast",
    /// Opens a letter.
    Greeting = "greeting",
    /// Ends a letter.
    Closing = "closing",
    /// At the end of a line: what follows was written by somebody else.
    Quote = "quote",
    /// Says nothing.
    Filler = "filler",
    /// May mean the opposite.
    Irony = "irony",
    /// A number.
    Number = "number",
    /// Good or bad in every language.
    Emoji = "emoji",
    /// The same in marks.
    Emoticon = "emoticon",
    /// A service signal.
    Complaint = "complaint",
    /// A service signal.
    ChurnIntent = "churn_intent",
    /// A service signal.
    Escalation = "escalation",
    /// A service signal.
    LegalThreat = "legal_threat",
    /// A service signal.
    Urgency = "urgency",
    /// A service signal.
    Profanity = "profanity",
    /// A service signal.
    Resolved = "resolved",
}

impl Kind {
    /// Whether it speaks of good or bad by itself.
    pub fn is_polar(self) -> bool {
        matches!(self, Self::Word | Self::Idiom | Self::Event | Self::Functional)
    }
}

/// One term.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As the lexicon writes it.
    pub term: Box<str>,
    /// −4 to 4 for what is good or bad; 0 to 1 for signals; what a booster adds.
    pub weight: f64,
    /// What it does.
    pub kind: Kind,
    /// Whether a negator is one of its words, so that it says already what it means.
    pub denies: bool,
}

/// A problem of a lexicon, with its text and line.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the texts that were read together; counts from 0.
    pub text: usize,
    /// Counts from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

const HEADER: &str = "term\tweight\tkind\tsource";

/// The rows of a lexicon, which is the `place`th of several that are read together; a byte order mark says nothing.
pub fn rows(place: usize, text: &str) -> Result<Vec<Entry>, Problem> {
    let problem = |line: usize, message: String| Problem {
        text: place,
        line: line + 1,
        message,
    };
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some(HEADER) {
        return Err(problem(0, format!("header must be {HEADER:?}")));
    }
    let row = |(number, line): (usize, &str)| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [term, weight, kind, _source] = cells[..] else {
            return Err(problem(number, format!("four cells expected: found={}", cells.len())));
        };
        let weight: f64 = weight
            .parse()
            .map_err(|_| problem(number, format!("weight is no number: found={weight}")))?;
        if !(-5.0..=5.0).contains(&weight) {
            return Err(problem(number, format!("weight lies beyond −5..5: found={weight}")));
        }
        let kind = Kind::parse(kind).ok_or_else(|| problem(number, format!("unknown kind: found={kind}")))?;
        Ok(Entry {
            term: term.into(),
            weight,
            kind,
            denies: false,
        })
    };
    lines.map(row).collect()
}
