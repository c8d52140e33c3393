//! One text in, one reading out.

use event::{Evidence, Label, LangSource, Modality, Role, Score, Text, Tier};
use sha2::{Digest, Sha256};

use crate::{
    calibration::{self, Calibration},
    language::{self, Code, Told},
    lexicon::{Found, Lexicon},
    linear::{self, Linear},
    polarity::{self, By, Read, Said},
    rounded,
    rules::Rules,
    signals::{self, SIGNALS, Strengths},
    tokens::Tokens,
};

/// The model's name on scores by lexicon and rules.
pub const MODEL: &str = "waymark-lexicon";
/// Texts are cut here, in bytes, before they are scored.
pub const LONGEST: usize = 16 * 1024;
/// Below this confidence of the recogniser nothing is read into a transcript.
const POOR_TRANSCRIPT: f64 = 0.3;

/// The languages that have a lexicon.
pub const LANGUAGES: [&str; 6] = ["en", "nl", "it", "de", "fr", "es"];

/// Languages that are read, and may be read badly: their figures on public sets are not known. The version of what reads them says so.
const EXPERIMENTAL: [&str; 1] = ["it"];

/// A language's lexicon and rules as they ship.
const SHIPPED: [(&str, &str, &str); 6] = [
    (
        "en",
        include_str!("../lexicons/en.tsv"),
        include_str!("../rules/en.toml"),
    ),
    (
        "nl",
        include_str!("../lexicons/nl.tsv"),
        include_str!("../rules/nl.toml"),
    ),
    (
        "it",
        include_str!("../lexicons/it.tsv"),
        include_str!("../rules/it.toml"),
    ),
    (
        "de",
        include_str!("../lexicons/de.tsv"),
        include_str!("../rules/de.toml"),
    ),
    (
        "fr",
        include_str!("../lexicons/fr.tsv"),
        include_str!("../rules/fr.toml"),
    ),
    (
        "es",
        include_str!("../lexicons/es.tsv"),
        include_str!("../rules/es.toml"),
    ),
];
const EMOJI: &str = include_str!("../lexicons/emoji.tsv");

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

impl<'a> Input<'a> {
    /// An event's text as it stands there.
    #[must_use]
    pub fn of(text: &'a Text) -> Self {
        Self {
            body: &text.body,
            lang: text.lang.as_deref(),
            role: text.role,
            modality: text.modality,
            asr_confidence: text.asr_confidence,
        }
    }
}

/// Buffers that are used again from text to text. They decide nothing.
#[derive(Default)]
pub struct Scratch {
    tokens: Tokens,
    found: Vec<Found>,
    polarity: polarity::Buffers,
    said: Vec<Said>,
}

/// What an operator adds to a language that ships.
#[derive(Debug, Clone, Default)]
pub struct Extension {
    /// The language.
    pub lang: String,
    /// Rows of a lexicon that replace and add to ours.
    pub overlay: Option<String>,
    /// The bytes of a model that `waymark sentiment train` wrote.
    pub model: Option<Vec<u8>>,
    /// The rules instead of ours.
    pub rules: Option<String>,
}

struct Language {
    code: &'static str,
    lexicon: Lexicon,
    rules: Rules,
    linear: Option<Linear>,
    version: String,
}

/// Scores texts by the lexicons that ship, and by what an operator adds.
pub struct Scorer {
    languages: Vec<Language>,
    /// For languages without a lexicon: nothing.
    none: Language,
    emoji: Lexicon,
    calibration: Calibration,
    version: String,
}

impl Default for Scorer {
    fn default() -> Self {
        Self::new()
    }
}

/// What was read from a text, with what decided it in the scratch's buffers.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The language scored in.
    pub lang: Option<Code>,
    /// What told the language.
    pub lang_source: LangSource,
    /// The polarity.
    pub label: Label,
    /// −1 to 1; `None` when unscored.
    pub score: Option<f64>,
    /// The calibrated chance that the label is right; `None` when unscored.
    pub confidence: Option<f64>,
    /// What lexicon and rules found.
    read: Read,
    /// The kind of model.
    pub tier: Tier,
    /// Service signals, in the order of their names.
    pub signals: Strengths,
    /// Why nothing was scored.
    pub abstains: Option<&'static str>,
    /// Whether the text was cut before scoring.
    pub truncated: bool,
    said: &'a [Said],
}

impl Scorer {
    /// Loads the lexicons that ship.
    ///
    /// # Panics
    /// If one of them is broken, which a test rules out.
    #[must_use]
    pub fn new() -> Self {
        Self::with(&[]).unwrap_or_else(|problem| panic!("what ships is broken: {problem}"))
    }

    /// Loads what ships and what an operator adds. The message names what is broken: of an extension the file that it comes from,
    /// `<lang>.tsv` with its line, or `<lang>.model`.
    pub fn with(extensions: &[Extension]) -> Result<Self, String> {
        for Extension { lang, .. } in extensions {
            if !LANGUAGES.contains(&lang.as_str()) {
                return Err(format!("no such language: found={lang} known={}", LANGUAGES.join(" ")));
            }
        }
        let emoji = Lexicon::read(&[EMOJI], None).map_err(|problem| format!("emoji: {problem}"))?;
        let mut whole = Sha256::new();
        let mut languages = Vec::new();
        for (code, tsv, toml) in SHIPPED {
            let mut texts = vec![tsv];
            let of = || extensions.iter().filter(|extension| extension.lang == code);
            texts.extend(of().filter_map(|extension| extension.overlay.as_deref()));
            let toml = of().find_map(|extension| extension.rules.as_deref()).unwrap_or(toml);
            let rules = Rules::read(toml).map_err(|problem| format!("rules of {code}: {problem}"))?;
            let lexicon = Lexicon::read(&texts, Some(&rules.words)).map_err(|problem| match problem.text {
                0 => format!("lexicon of {code}: {problem}"),
                _ => format!("{code}.tsv:{}: {}", problem.line, problem.message),
            })?;
            let mut hash = Sha256::new();
            texts.iter().for_each(|text| hash.update(text));
            for part in [toml, EMOJI, calibration::TABLE] {
                hash.update(part);
            }
            let hash = hash.finalize();
            whole.update(hash);
            let stage = if EXPERIMENTAL.contains(&code) {
                "-experimental"
            } else {
                ""
            };
            let mut version = format!("2{stage}+{}", short(&hash));
            let mut linear = None;
            for bytes in of().filter_map(|extension| extension.model.as_deref()) {
                let model = Linear::read(bytes).map_err(|problem| format!("{code}.model: {problem}"))?;
                if model.lang() != code {
                    return Err(format!(
                        "{code}.model: trained for another language: found={}",
                        model.lang()
                    ));
                }
                let hash = Sha256::digest(bytes);
                whole.update(hash);
                version = format!("{version}.{}+{}", linear::VERSION, short(&hash));
                linear = Some(model);
            }
            languages.push(Language {
                code,
                lexicon,
                rules,
                linear,
                version,
            });
        }
        let none = Language {
            code: "und",
            lexicon: Lexicon::default(),
            rules: languages[0].rules.clone(),
            linear: None,
            version: languages[0].version.clone(),
        };
        Ok(Self {
            languages,
            none,
            emoji,
            calibration: Calibration::read().map_err(|problem| format!("calibration: {problem}"))?,
            version: format!("2+{}", short(&whole.finalize())),
        })
    }

    /// Version and the beginning of the SHA-256 of everything that decides, over all languages.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The same for one language.
    #[must_use]
    pub fn version_of(&self, lang: &str) -> &str {
        &self.language(lang).version
    }

    /// The kind of model that reads a language.
    #[must_use]
    pub fn tier_of(&self, lang: &str) -> Tier {
        if self.language(lang).linear.is_some() {
            Tier::Linear
        } else {
            Tier::Lexicon
        }
    }

    fn language(&self, lang: &str) -> &Language {
        self.languages
            .iter()
            .find(|language| language.code == lang)
            .unwrap_or(&self.none)
    }

    /// Scores a customer's text; `None` for an agent's, a bot's or a system's, for a voice's tone, and for an unknown modality.
    /// A text whose author nobody names is taken for the customer's. Nothing is allocated once the scratch has grown.
    #[must_use]
    pub fn read<'a>(&self, input: &Input<'_>, scratch: &'a mut Scratch) -> Option<Reading<'a>> {
        if !matches!(input.role, Role::Customer | Role::Unknown)
            || !matches!(input.modality, Modality::Text | Modality::Transcript)
        {
            return None;
        }
        let (body, truncated) = cut(input.body);
        let told = language::tell(input.lang, body);
        let (lang, lang_source) = match told {
            Told::Hint(code) => (Some(code), LangSource::Hint),
            Told::Detected(code) => (Code::of(code), LangSource::Detect),
            Told::Unknown => (None, LangSource::default()),
        };
        let mut reading = Reading {
            lang,
            lang_source,
            label: Label::Unscored,
            score: None,
            confidence: None,
            read: Read::default(),
            tier: Tier::Lexicon,
            signals: Strengths::default(),
            abstains: None,
            truncated,
            said: &[],
        };
        let language = self.language(told.as_str());
        reading.abstains = self.fill(body, input, &told, language, scratch, &mut reading);
        scratch
            .said
            .sort_unstable_by_key(|said| (said.start, said.end, said.entry, said.rule));
        reading.said = &scratch.said;
        Some(reading)
    }

    /// Fills polarity and signals; returns why nothing was scored.
    fn fill(
        &self,
        body: &str,
        input: &Input<'_>,
        told: &Told,
        language: &Language,
        scratch: &mut Scratch,
        reading: &mut Reading<'_>,
    ) -> Option<&'static str> {
        let Scratch {
            tokens,
            found,
            polarity,
            said,
        } = scratch;
        said.clear();
        let transcript = input.modality == Modality::Transcript;
        let heard = if transcript {
            input.asr_confidence.unwrap_or(1.0)
        } else {
            1.0
        };
        if heard < POOR_TRANSCRIPT {
            return Some("transcript_poor");
        }
        let Language {
            code, lexicon, rules, ..
        } = language;
        tokens.read(body, rules.words.elisions);
        if transcript {
            // A recogniser's marks are guesses.
            tokens.asking.clear();
        }
        lexicon.find(tokens, found);
        tokens.mask(lexicon, found);
        let by = By {
            lexicon,
            rules,
            emoji: &self.emoji,
            transcript,
        };
        let read = polarity::read(body, tokens, found, by, polarity, said);
        let label = polarity::label(&read, rules);
        let negative = read.scored && label == Label::Negative && !read.named;
        reading.signals = signals::read(tokens, found, lexicon, negative, said);
        reading.read = read;
        if let Some(linear) = language.linear.as_ref().filter(|_| tokens.words() > 0) {
            let judged = linear.judge(body, tokens, &read);
            reading.tier = Tier::Linear;
            reading.label = judged.label;
            reading.score = Some(rounded(judged.score));
            reading.confidence = Some(rounded(judged.confidence * read.trust * heard));
            return None;
        }
        if !read.scored {
            return Some(match told {
                _ if tokens.words() == 0 => "too_short",
                Told::Unknown => "language_unknown",
                _ if lexicon.is_empty() => "language_unsupported",
                _ => "no_hit",
            });
        }
        reading.label = label;
        reading.score = Some(read.score);
        let confidence = self.calibration.confidence(code, reading.label, read.score);
        reading.confidence = Some(rounded(confidence * read.trust * heard));
        None
    }

    /// Scores a text as [`Scorer::read`] does, as the record that travels.
    #[must_use]
    pub fn score(&self, input: &Input<'_>, scratch: &mut Scratch) -> Option<Score> {
        let reading = self.read(input, scratch)?;
        let lang = reading.lang.as_ref().map(Code::as_str);
        let language = self.language(lang.unwrap_or_default());
        let scored = reading.score.is_some();
        let calibration = match reading.tier {
            Tier::Linear => linear::CALIBRATION,
            _ => calibration::NAME,
        };
        let evidence = reading.said.iter().map(|said| {
            let lexicon = if said.emoji { &self.emoji } else { &language.lexicon };
            Evidence {
                start: said.start,
                end: said.end,
                weight: rounded(said.weight),
                rule: said.rule.to_owned(),
                entry: Some(lexicon.entry(said.entry).term.to_string()),
            }
        });
        let signals = SIGNALS
            .iter()
            .zip(reading.signals)
            .filter(|(_, strength)| *strength > 0.0);
        Some(Score {
            lang: lang.map(ToOwned::to_owned),
            lang_source: reading.lang_source,
            label: reading.label,
            score: reading.score,
            confidence: reading.confidence,
            neg: reading.read.neg,
            pos: reading.read.pos,
            mixed: reading.read.mixed,
            coverage: reading.read.coverage,
            tier: reading.tier,
            model: if reading.tier == Tier::Linear {
                linear::MODEL
            } else {
                MODEL
            }
            .to_owned(),
            model_version: language.version.clone(),
            calibration: scored.then(|| calibration.to_owned()),
            evidence: evidence.collect(),
            signals: signals
                .map(|(kind, strength)| (kind.as_str().to_owned(), rounded(strength)))
                .collect(),
            abstain_reason: reading.abstains.map(ToOwned::to_owned),
            truncated: reading.truncated,
        })
    }

    /// Calls `each` with the features of a text in a language, for training; `None` if the language has no lexicon.
    pub(crate) fn features(&self, body: &str, lang: &str, scratch: &mut Scratch) -> Option<linear::Features> {
        let language = self.languages.iter().find(|language| language.code == lang)?;
        let Scratch {
            tokens,
            found,
            polarity,
            said,
        } = scratch;
        said.clear();
        let (body, _) = cut(body);
        tokens.read(body, language.rules.words.elisions);
        language.lexicon.find(tokens, found);
        tokens.mask(&language.lexicon, found);
        let by = By {
            lexicon: &language.lexicon,
            rules: &language.rules,
            emoji: &self.emoji,
            transcript: false,
        };
        let read = polarity::read(body, tokens, found, by, polarity, said);
        Some(linear::Features::of(body, tokens, &read))
    }
}

fn short(hash: &[u8]) -> String {
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// What of a text is read, and whether that is less than all.
pub(crate) fn cut(body: &str) -> (&str, bool) {
    if body.len() <= LONGEST {
        return (body, false);
    }
    let mut end = LONGEST;
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    (&body[..end], true)
}
