//! Terms with weights: words by their form, phrases by one automaton.

use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use hashbrown::HashMap;

use crate::tokens::Tokens;

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
    /// The same, as a whole that no rule turns round.
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

    /// Whether it is a service signal.
    pub fn is_signal(self) -> bool {
        matches!(
            self,
            Self::Complaint
                | Self::ChurnIntent
                | Self::Escalation
                | Self::LegalThreat
                | Self::Urgency
                | Self::Profanity
                | Self::Resolved
        )
    }
}

/// One term.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As the lexicon writes it.
    pub term: &'static str,
    /// −4 to 4 for what is good or bad; 0 to 1 for signals; what a booster adds.
    pub weight: f64,
    /// What it does.
    pub kind: Kind,
}

/// A term found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its first word.
    pub first: usize,
    /// Its last word.
    pub last: usize,
    /// Its entry.
    pub entry: u16,
}

/// A problem of a lexicon, with its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    line: usize,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The terms of one language.
pub struct Lexicon {
    /// Its language.
    pub lang: &'static str,
    entries: Vec<Entry>,
    words: HashMap<Box<str>, Vec<u16>>,
    phrases: AhoCorasick,
    /// The entry of each pattern of the automaton.
    of_pattern: Vec<u16>,
}

const HEADER: &str = "term\tweight\tkind\tsource";

impl Lexicon {
    /// Reads `term, weight, kind, source`, tab-separated, under a header.
    pub fn read(lang: &'static str, text: &'static str) -> Result<Self, Problem> {
        let problem = |line: usize, message: String| Problem {
            line: line + 1,
            message,
        };
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(HEADER) {
            return Err(problem(0, format!("header must be {HEADER:?}")));
        }
        let mut lexicon = Self {
            lang,
            entries: Vec::new(),
            words: HashMap::new(),
            phrases: AhoCorasick::new(Vec::<&str>::new()).map_err(|error| problem(0, error.to_string()))?,
            of_pattern: Vec::new(),
        };
        let mut patterns: Vec<String> = Vec::new();
        let mut tokens = Tokens::default();
        for (number, line) in lines {
            let cells: Vec<&'static str> = line.split('\t').collect();
            let [term, weight, kind, _source] = cells[..] else {
                return Err(problem(number, format!("four cells expected: found={}", cells.len())));
            };
            let weight: f64 = weight
                .parse()
                .map_err(|_| problem(number, format!("weight is no number: found={weight}")))?;
            let kind = Kind::parse(kind).ok_or_else(|| problem(number, format!("unknown kind: found={kind}")))?;
            let entry = u16::try_from(lexicon.entries.len())
                .map_err(|_| problem(number, "more than 65,535 terms".to_owned()))?;
            lexicon.entries.push(Entry { term, weight, kind });
            let form = if matches!(kind, Kind::Emoji | Kind::Emoticon) {
                term.to_owned()
            } else {
                form(term, lang, &mut tokens)
            };
            match form.split_once(' ') {
                None => lexicon.words.entry(form.into()).or_default().push(entry),
                Some(_) => {
                    patterns.push(format!(" {} ", form.replace(' ', "  ")));
                    lexicon.of_pattern.push(entry);
                }
            }
        }
        lexicon.phrases = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .map_err(|error| problem(0, error.to_string()))?;
        Ok(lexicon)
    }

    /// An entry.
    pub fn entry(&self, entry: u16) -> &Entry {
        &self.entries[usize::from(entry)]
    }

    /// The entries of a form.
    pub fn of(&self, form: &str) -> &[u16] {
        self.words.get(form).map_or(&[], Vec::as_slice)
    }

    /// The weight of a word that feels good or bad.
    pub fn feels(&self, form: &str) -> Option<(u16, f64)> {
        let mut of = self.of(form).iter();
        of.find(|entry| self.entry(**entry).kind == Kind::Word)
            .map(|entry| (*entry, self.entry(*entry).weight))
    }

    /// Everything that stands in a text, by first word; phrases do not cross sentences. Number words become numbers on the way.
    pub fn find(&self, tokens: &mut Tokens, into: &mut Vec<Found>) {
        into.clear();
        for word in 0..tokens.words.len() {
            let mut number = false;
            for entry in self.of(tokens.norm(&tokens.words[word])) {
                number |= self.entry(*entry).kind == Kind::Number;
                into.push(Found {
                    first: word,
                    last: word,
                    entry: *entry,
                });
            }
            if number {
                tokens.number(word);
            }
        }
        for hit in self.phrases.find_overlapping_iter(tokens.all()) {
            let (Some(first), Some(last)) = (tokens.at(hit.start() + 1), tokens.until(hit.end() - 1)) else {
                continue;
            };
            if tokens.words[first].sentence == tokens.words[last].sentence {
                into.push(Found {
                    first,
                    last,
                    entry: self.of_pattern[hit.pattern().as_usize()],
                });
            }
        }
        into.sort_by_key(|found| (found.first, std::cmp::Reverse(found.last), found.entry));
    }

    /// The longest mark that begins a text: an emoji, or an emoticon that stands alone.
    pub fn mark(&self, text: &str) -> Option<(u16, usize)> {
        let first = text.chars().next()?;
        let mut known = [0; 4];
        if let Some(entry) = self.of(first.encode_utf8(&mut known)).first() {
            return Some((*entry, first.len_utf8()));
        }
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let mut alone = text[..end].trim_end_matches(['.', ',', '!', '?']).to_lowercase();
        if alone.len() > 4 {
            return None;
        }
        while alone.len() > 1 {
            if let Some(entry) = self.of(&alone).first() {
                return Some((*entry, alone.len()));
            }
            alone.pop();
        }
        None
    }
}

/// A term as the tokens of a text would be, one space between words.
fn form(term: &str, lang: &str, tokens: &mut Tokens) -> String {
    let mut forms: Vec<String> = Vec::new();
    for part in term.split(' ') {
        if part == "#" {
            forms.push("#".to_owned());
            continue;
        }
        tokens.read(part, lang);
        forms.extend(tokens.words.iter().map(|token| tokens.norm(token).to_owned()));
    }
    forms.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_lexicon_names_its_line() {
        let read = |text: &'static str| Lexicon::read("en", text).map(|_| ()).expect_err("broken").to_string();
        assert_eq!(read("x"), "line 1: header must be \"term\\tweight\\tkind\\tsource\"");
        assert_eq!(
            read("term\tweight\tkind\tsource\na\t1\n"),
            "line 2: four cells expected: found=2"
        );
        assert_eq!(
            read("term\tweight\tkind\tsource\na\tx\tword\tw\n"),
            "line 2: weight is no number: found=x"
        );
        assert_eq!(
            read("term\tweight\tkind\tsource\na\t1\tverb\tw\n"),
            "line 2: unknown kind: found=verb"
        );
    }

    #[test]
    fn phrases_see_numbers_and_stay_in_their_sentence() {
        let lexicon = Lexicon::read(
            "en",
            "term\tweight\tkind\tsource\nfor # weeks\t1\tduration\tw\nthree\t1\tnumber\tw\nnot bad\t1\tidiom\tw\n",
        )
        .expect("sound");
        let mut found = Vec::new();
        let mut terms = |body: &str| {
            let mut tokens = Tokens::default();
            tokens.read(body, "en");
            lexicon.find(&mut tokens, &mut found);
            found
                .iter()
                .map(|hit| lexicon.entry(hit.entry).term)
                .collect::<Vec<_>>()
        };
        assert_eq!(terms("waiting for three weeks"), ["for # weeks", "three"]);
        assert_eq!(terms("for 12 weeks"), ["for # weeks"]);
        assert_eq!(terms("it is not. bad luck"), Vec::<&str>::new());
    }
}
