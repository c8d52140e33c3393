//! Reads one text: its language, how it feels, and what it asks for.
//!
//! One pure function. Language comes from a hint or from the text; polarity from a lexicon and rules in the manner of VADER
//! (Hutto and Gilbert, 2014), with rules of its own for Dutch and Italian; service signals from cues. What has no hit is
//! `unscored`, which is not neutral.

mod calibration;
mod language;
mod lexicon;
mod polarity;
mod signals;
mod tokens;

use calibration::Calibration;
use event::{Evidence, Label, LangSource, Modality, Role, Score, Tier};
use language::Told;
use lexicon::Lexicon;
use sha2::{Digest, Sha256};
use tokens::Tokens;

/// The model's name on every score.
pub const MODEL: &str = "waymark-lexicon";
/// Texts are cut here, in bytes, before they are scored.
pub const LONGEST: usize = 16 * 1024;
/// Below this confidence of the recogniser nothing is read into a transcript.
const POOR_TRANSCRIPT: f64 = 0.3;

/// One text and what is known about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'a> {
    /// The text, redacted of nothing, so that offsets point into the original.
    pub body: &'a str,
    /// A language hint as BCP 47.
    pub lang: Option<&'a str>,
    /// Who wrote or spoke it.
    pub role: Role,
    /// Written or transcribed.
    pub modality: Modality,
    /// The recogniser's confidence, 0 to 1.
    pub asr_confidence: Option<f64>,
}

/// Buffers that are used again from text to text. They decide nothing.
#[derive(Default)]
pub struct Scratch {
    tokens: Tokens,
    found: Vec<lexicon::Found>,
}

/// Scores texts by the lexicons that ship.
pub struct Scorer {
    lexicons: [(&'static str, Lexicon); 3],
    emoji: Lexicon,
    calibration: Calibration,
    version: String,
}

impl Default for Scorer {
    fn default() -> Self {
        Self::new()
    }
}

/// The languages that have a lexicon.
pub const LANGUAGES: [&str; 3] = ["en", "nl", "it"];

const SOURCES: [(&str, &str); 3] = [
    ("en", include_str!("../lexicons/en.tsv")),
    ("nl", include_str!("../lexicons/nl.tsv")),
    ("it", include_str!("../lexicons/it.tsv")),
];
const EMOJI: &str = include_str!("../lexicons/emoji.tsv");

impl Scorer {
    /// Loads the lexicons that ship.
    ///
    /// # Panics
    /// If one of them is broken, which a test rules out.
    #[must_use]
    pub fn new() -> Self {
        let load = |lang: &'static str, text: &'static str| {
            Lexicon::read(lang, text).unwrap_or_else(|problem| panic!("lexicon of {lang}: {problem}"))
        };
        let mut hash = Sha256::new();
        for text in SOURCES.iter().map(|(_, text)| *text).chain([EMOJI, calibration::TABLE]) {
            hash.update(text);
        }
        let hash = hash.finalize();
        let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self {
            lexicons: SOURCES.map(|(lang, text)| (lang, load(lang, text))),
            emoji: load("emoji", EMOJI),
            calibration: Calibration::read().unwrap_or_else(|problem| panic!("calibration: {problem}")),
            version: format!("1+{hash}"),
        }
    }

    /// Version and the beginning of the SHA-256 of everything that decides.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Scores a customer's text; `None` for an agent's, a bot's or a system's, for a voice's tone, and for an unknown modality.
    /// A text whose author nobody names is taken for the customer's.
    #[must_use]
    pub fn score(&self, input: &Input<'_>, scratch: &mut Scratch) -> Option<Score> {
        if !matches!(input.role, Role::Customer | Role::Unknown)
            || !matches!(input.modality, Modality::Text | Modality::Transcript)
        {
            return None;
        }
        let (body, truncated) = cut(input.body);
        let mut score = Score {
            tier: Tier::Lexicon,
            model: MODEL.to_owned(),
            model_version: self.version.clone(),
            truncated,
            ..Score::default()
        };
        let told = language::tell(input.lang, body);
        let abstains = self.read(body, input, &told, scratch, &mut score);
        match told {
            Told::Hint(lang) => (score.lang, score.lang_source) = (Some(lang), LangSource::Hint),
            Told::Detected(lang) => (score.lang, score.lang_source) = (Some(lang.to_owned()), LangSource::Detect),
            Told::Unknown => {}
        }
        score.abstain_reason = abstains.map(ToOwned::to_owned);
        Some(score)
    }

    /// Fills polarity and signals; returns why nothing was scored.
    fn read(
        &self,
        body: &str,
        input: &Input<'_>,
        told: &Told,
        scratch: &mut Scratch,
        score: &mut Score,
    ) -> Option<&'static str> {
        let Scratch { tokens, found } = scratch;
        let transcript = input.modality == Modality::Transcript;
        if transcript
            && input
                .asr_confidence
                .is_some_and(|confidence| confidence < POOR_TRANSCRIPT)
        {
            return Some("transcript_poor");
        }
        let lexicon = self.lexicons.iter().find(|(lang, _)| told.is(lang));
        let (lang, lexicon) = lexicon.map_or(("und", &self.emoji), |(lang, lexicon)| (*lang, lexicon));
        tokens.read(body, lang);
        lexicon.find(tokens, found);
        tokens.mask(lexicon, found);
        let read = polarity::read(tokens, found, lexicon, &self.emoji, transcript);
        signals::read(tokens, found, lexicon, score);
        score.neg = read.neg;
        score.pos = read.pos;
        score.mixed = read.mixed;
        score.coverage = read.coverage;
        score.evidence.extend(read.evidence);
        score.evidence.sort_by_key(|evidence| (evidence.start, evidence.end));
        if !read.scored {
            return Some(match told {
                _ if tokens.words() == 0 => "too_short",
                Told::Unknown => "language_unknown",
                _ if lang == "und" => "language_unsupported",
                _ => "no_hit",
            });
        }
        let label = polarity::label(read.score);
        score.label = label;
        score.score = Some(read.score);
        let confidence = self.calibration.confidence(lang, label, read.score);
        let heard = if transcript {
            input.asr_confidence.unwrap_or(1.0)
        } else {
            1.0
        };
        score.confidence = Some(rounded(confidence * read.trust * heard));
        score.calibration = Some(calibration::NAME.to_owned());
        debug_assert_ne!(label, Label::Unscored, "a scored text has a label");
        None
    }
}

/// Four places: more would be noise, and every machine prints the same.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

fn cut(body: &str) -> (&str, bool) {
    if body.len() <= LONGEST {
        return (body, false);
    }
    let mut end = LONGEST;
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    (&body[..end], true)
}

fn evidence(start: u32, end: u32, weight: f64, rule: &str, entry: Option<&str>) -> Evidence {
    Evidence {
        start,
        end,
        weight: rounded(weight),
        rule: rule.to_owned(),
        entry: entry.map(ToOwned::to_owned),
    }
}
