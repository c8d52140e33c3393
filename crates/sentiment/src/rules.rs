//! A language's rules as data: `rules/<lang>.toml`.

use serde::Deserialize;

/// What a language's lexicon is read by.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Where labels begin.
    pub cut: Cut,
    /// What turns round.
    pub negation: Negation,
    /// What strengthens.
    pub emphasis: Emphasis,
    /// But and its like.
    pub contrast: Contrast,
    /// Transcripts.
    pub spoken: Spoken,
    /// How words are made.
    pub words: Words,
}

/// Where labels begin.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// A score from here on is positive.
    pub positive: f64,
    /// A score from minus this on down is negative.
    pub negative: f64,
    /// The same for a text that names third parties.
    pub negative_named: f64,
    /// The same for a text that points to a page.
    pub negative_linked: f64,
    /// From where on a text that points to a page is positive.
    pub positive_linked: f64,
    /// Where a sum begins to be much, squared.
    pub much: f64,
}

/// What turns round.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Negation {
    /// Words before a hit in which a negator counts.
    pub reach: usize,
    /// Words behind something that counts only when it is denied.
    pub behind: usize,
    /// Words behind any other word.
    pub word_behind: usize,
    /// What a denied good word is worth, turned round.
    pub good: f64,
    /// What a denied bad word is worth, turned round.
    pub bad: f64,
    /// What a negator says that turns nothing round.
    pub alone: f64,
    /// What is left of that in a question.
    pub asking: f64,
    /// Endings of words that deny.
    pub endings: Vec<String>,
}

/// What strengthens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emphasis {
    /// What each further word of distance leaves of an intensifier.
    pub fading: Vec<f64>,
    /// A word in capitals among small letters.
    pub capitals: f64,
    /// An exclamation mark, of at most four.
    pub exclamation: f64,
    /// A word with a letter drawn out.
    pub stretched: f64,
    /// Too good.
    pub too_good: f64,
    /// Too bad.
    pub too_bad: f64,
    /// Too, before a word that is neither good nor bad.
    pub too_plain: f64,
    /// A bad thing that lasts.
    pub lasting: f64,
    /// What is left of what is good beside anything bad: bad outweighs good.
    pub outweighed: f64,
    /// What is left of a word in a question.
    pub asking: f64,
    /// What is left of a word that is part of a name, such as *Bad Blood*.
    pub named: f64,
}

/// But and its like.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// What stands before.
    pub before: f64,
    /// What stands behind.
    pub after: f64,
}

/// Transcripts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spoken {
    /// A lone hit.
    pub once: f64,
}

/// How words are made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Whether an apostrophe ends a word.
    pub elisions: bool,
    /// Endings that may be taken off.
    pub endings: Vec<String>,
    /// Letters that must remain.
    pub stem_letters: usize,
    /// What a word weighs that is known by its stem alone.
    pub stem_factor: f64,
    /// Endings of infinitives, where *too* is also a particle before them.
    pub infinitives: Vec<String>,
    /// Beginnings that strengthen.
    pub strong: Vec<String>,
    /// By how much.
    pub strengthens: f64,
    /// Beginnings that are words of contempt by themselves.
    pub bad: Vec<String>,
    /// Beginnings that turn round.
    pub opposite: Vec<String>,
    /// Ends that turn round.
    pub without: Vec<String>,
    /// Endings of superlatives.
    pub superlatives: Vec<String>,
    /// What they multiply by.
    pub superlative: f64,
    /// Whether a long word's last part counts.
    pub compounds: bool,
    /// What it weighs.
    pub compound_factor: f64,
}

impl Rules {
    /// Reads a rules file; the message names line and column. Endings are sorted, longest first.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut rules: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if rules.emphasis.fading.is_empty() {
            return Err("emphasis.fading must not be empty".to_owned());
        }
        rules
            .words
            .endings
            .sort_by_key(|ending| std::cmp::Reverse(ending.len()));
        Ok(rules)
    }
}
