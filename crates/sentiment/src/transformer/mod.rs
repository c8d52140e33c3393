//! A transformer that an operator brings along: which texts reach it, what its classes mean, and what its answer changes.
//!
//! Which texts reach it depends on the text and on the event's id alone, never on load or time, so that a text that is read again
//! after an abort is read by the same model. There is no time limit either: what bounds the cost is the number of tokens.

#[cfg(feature = "safetensors")]
mod bert;
mod calibration;
#[cfg(any(feature = "onnx", feature = "safetensors"))]
mod encode;
#[cfg(feature = "onnx")]
mod onnx;

use std::collections::BTreeMap;

use event::{Label, Score, Tier};
use sha2::{Digest, Sha256};

use crate::{LANGUAGES, signals::SIGNALS};
pub use calibration::{Calibration, FEWEST};

/// The name of the calibration where nobody has measured one: the model's own chances.
pub const CALIBRATION: &str = "softmax-1";
/// The name of one that was measured on an operator's labels.
pub const MEASURED: &str = "isotonic-1";
/// The version of how answers are read.
const VERSION: u8 = 1;
/// Shares of a sample are counted in these.
pub const SAMPLES: u64 = 10_000;
/// Why a text that should have been read by the transformer was not.
pub const FAILED: &str = "transformer_failed";

/// How a model's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An ONNX graph, run by `tract`.
    Onnx,
    /// Weights of a BERT in safetensors, run by `candle`.
    Safetensors,
}

impl Format {
    /// By the file's ending; `None` for any other.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "onnx" => Some(Self::Onnx),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
    }

    /// The cargo feature that can read it.
    #[must_use]
    pub fn feature(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
        }
    }

    /// Whether this binary can read it.
    #[must_use]
    pub fn is_built(self) -> bool {
        match self {
            Self::Onnx => cfg!(feature = "onnx"),
            Self::Safetensors => cfg!(feature = "safetensors"),
        }
    }
}

/// One file of a model.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Its name, for messages.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// The SHA-256 that the operator expects, in hexadecimal.
    pub sha256: String,
}

impl File {
    /// Its hash.
    ///
    /// # Errors
    /// If it is not the expected one; the message names both.
    fn verify(&self) -> Result<String, String> {
        let found: String = Sha256::digest(&self.bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if found.eq_ignore_ascii_case(&self.sha256) {
            return Ok(found);
        }
        Err(format!(
            "{}: not the file that was configured: expected sha256={} found={found}",
            self.name, self.sha256
        ))
    }
}

/// The files of a model.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `model.onnx` or `model.safetensors`.
    pub weights: File,
    /// `tokenizer.json`.
    pub tokenizer: File,
    /// `config.json`.
    pub config: File,
    /// How right its chances are, as `waymark sentiment calibrate` has measured it.
    pub calibration: Option<File>,
}

/// What an operator chooses.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Texts that the first reading is less sure of reach the model; an unscored one is sure of nothing.
    pub below: f64,
    /// So many of [`SAMPLES`] texts reach it too, chosen by a hash of their ids.
    pub sample: u64,
    /// Tokens at most, the special ones included; what follows is cut.
    pub max_tokens: usize,
    /// Languages that it knows.
    pub languages: Vec<String>,
    /// What its classes mean, by their names in `config.json`, where these do not say it: `negative`, `neutral`, `positive`, or a number
    /// from −1 to 1.
    pub labels: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            below: 0.6,
            sample: 0,
            max_tokens: 128,
            languages: LANGUAGES.map(ToOwned::to_owned).to_vec(),
            labels: BTreeMap::new(),
        }
    }
}

/// What one class of a model is worth, −1 to 1. Its sign is the label.
#[cfg(any(feature = "onnx", feature = "safetensors", test))]
fn worth(name: &str, labels: &BTreeMap<String, String>) -> Result<f64, String> {
    let told = labels.get(name).map_or(name, String::as_str).trim().to_lowercase();
    if labels.contains_key(name)
        && let Ok(number) = told.parse::<f64>()
    {
        return if (-1.0..=1.0).contains(&number) {
            Ok(number)
        } else {
            Err(format!("a class is worth −1 to 1: class={name} found={number}"))
        };
    }
    Ok(match told.as_str() {
        "negative" | "neg" => -1.0,
        "neutral" | "neu" => 0.0,
        "positive" | "pos" => 1.0,
        "1 star" | "1 stars" => -1.0,
        "2 stars" => -0.5,
        "3 stars" => 0.0,
        "4 stars" => 0.5,
        "5 stars" => 1.0,
        _ => {
            return Err(format!(
                "what a class means is not known: class={name}; say it in sentiment.transformer_labels, as `{name}=negative`"
            ));
        }
    })
}

/// The label of a class's worth.
fn label_of(worth: f64) -> Label {
    match worth {
        worth if worth < 0.0 => Label::Negative,
        worth if worth > 0.0 => Label::Positive,
        _ => Label::Neutral,
    }
}

/// What chances of classes come to: the label of the greatest sum, the mean of the worths, and the label's chance.
fn conclude(chances: &[f32], worths: &[f64]) -> (Label, f64, f64) {
    let (mut sums, mut score) = ([0.0_f64; 3], 0.0);
    for (chance, worth) in chances.iter().zip(worths) {
        let chance = f64::from(*chance);
        let place = match label_of(*worth) {
            Label::Negative => 0,
            Label::Positive => 2,
            _ => 1,
        };
        sums[place] += chance;
        score += chance * worth;
    }
    let best = (0..3).fold(0, |best, place| if sums[place] > sums[best] { place } else { best });
    let label = [Label::Negative, Label::Neutral, Label::Positive][best];
    (label, score.clamp(-1.0, 1.0), sums[best].min(1.0))
}

/// Whether a text reaches the model, by its first reading and by the id of its event.
#[must_use]
pub fn reaches(settings: &Settings, score: &Score, id: &str) -> bool {
    let lang = score.lang.as_deref().unwrap_or_default();
    if !settings.languages.iter().any(|known| known == lang) {
        return false;
    }
    // Nothing there to read.
    if matches!(score.abstain_reason.as_deref(), Some("too_short" | "transcript_poor")) {
        return false;
    }
    score.confidence.unwrap_or(0.0) < settings.below || bucket(id) < settings.sample
}

/// Where an id falls, below [`SAMPLES`].
fn bucket(id: &str) -> u64 {
    let hash = Sha256::digest(id.as_bytes());
    let first = hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    first % SAMPLES
}

#[cfg(any(feature = "onnx", feature = "safetensors"))]
enum Engine {
    #[cfg(feature = "onnx")]
    Onnx(onnx::Graph),
    #[cfg(feature = "safetensors")]
    Bert(bert::Bert),
}

/// A model that reads.
pub struct Transformer {
    settings: Settings,
    name: String,
    version: String,
    worths: Vec<f64>,
    calibration: Calibration,
    #[cfg(any(feature = "onnx", feature = "safetensors"))]
    encoder: encode::Encoder,
    #[cfg(any(feature = "onnx", feature = "safetensors"))]
    engine: Engine,
}

impl Transformer {
    /// Loads a model and reads one text with it, so that a file that does not fit stops the start and not a text.
    ///
    /// # Errors
    /// If this binary cannot read the format, a file is not the one that was configured or cannot be understood, a class's meaning is
    /// not known, or the model's answer has not as many classes as `config.json` names.
    pub fn load(files: Files, settings: Settings) -> Result<Self, String> {
        let format = Format::of(&files.weights.name)
            .ok_or_else(|| format!("{}: neither .onnx nor .safetensors", files.weights.name))?;
        if !format.is_built() {
            return Err(format!(
                "{}: this binary was built without the cargo feature `{}`; build it with `cargo build --bin waymark --features {}`",
                files.weights.name,
                format.feature(),
                format.feature()
            ));
        }
        let weights = files.weights.verify()?;
        let (tokenizer, config) = (files.tokenizer.verify()?, files.config.verify()?);
        let mut calibration = Calibration::default();
        let mut parts = vec![
            tokenizer,
            config,
            format!("{} {:?}", settings.max_tokens, settings.labels),
        ];
        if let Some(file) = &files.calibration {
            parts.push(file.verify()?);
            let table = std::str::from_utf8(&file.bytes).map_err(|error| error.to_string());
            let table = table.and_then(Calibration::read);
            calibration = table.map_err(|problem| format!("{}: {problem}", file.name))?;
        }
        let mut rest = Sha256::new();
        for part in parts {
            rest.update(part);
            rest.update([0]);
        }
        let rest: String = rest
            .finalize()
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let version = format!("{VERSION}+{}.{rest}", &weights[..12]);
        let bare = Self::build(files, settings, version, format)?;
        Ok(Self { calibration, ..bare })
    }

    #[cfg(not(any(feature = "onnx", feature = "safetensors")))]
    fn build(files: Files, settings: Settings, version: String, _: Format) -> Result<Self, String> {
        // Out of reach: `load` has refused every format by now.
        let (name, worths) = (files.weights.name, Vec::new());
        Ok(Self {
            settings,
            name,
            version,
            worths,
            calibration: Calibration::default(),
        })
    }

    #[cfg(any(feature = "onnx", feature = "safetensors"))]
    fn build(files: Files, settings: Settings, version: String, format: Format) -> Result<Self, String> {
        let Files {
            weights,
            tokenizer,
            config,
            ..
        } = files;
        let told = encode::Told::read(&config.bytes).map_err(|problem| format!("{}: {problem}", config.name))?;
        let worths = told
            .classes
            .iter()
            .map(|class| worth(class, &settings.labels))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| format!("{}: {problem}", config.name))?;
        if settings.max_tokens < 3 || told.positions.is_some_and(|positions| settings.max_tokens > positions) {
            return Err(format!(
                "{}: sentiment.transformer_tokens must lie between 3 and the model's positions: found={} positions={}",
                config.name,
                settings.max_tokens,
                told.positions
                    .map_or("unknown".to_owned(), |positions| positions.to_string())
            ));
        }
        let encoder = encode::Encoder::read(&tokenizer.bytes, settings.max_tokens)
            .map_err(|problem| format!("{}: {problem}", tokenizer.name))?;
        let engine = match format {
            #[cfg(feature = "onnx")]
            Format::Onnx => onnx::Graph::read(&weights.bytes, settings.max_tokens).map(Engine::Onnx),
            #[cfg(feature = "safetensors")]
            Format::Safetensors => bert::Bert::read(weights.bytes, &config.bytes).map(Engine::Bert),
            #[cfg(not(all(feature = "onnx", feature = "safetensors")))]
            other => Err(format!("needs the cargo feature `{}`", other.feature())),
        };
        let engine = engine.map_err(|problem| format!("{}: {problem}", weights.name))?;
        let transformer = Self {
            settings,
            name: told.name,
            version,
            worths,
            calibration: Calibration::default(),
            encoder,
            engine,
        };
        transformer
            .chances("a b c")
            .map_err(|problem| format!("{}: {problem}", weights.name))?;
        Ok(transformer)
    }

    /// The version of how answers are read, the beginning of the weights' SHA-256, and that of everything else that decides.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the operator chose.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The chance of each class, and whether the text was cut.
    #[cfg(any(feature = "onnx", feature = "safetensors"))]
    fn chances(&self, body: &str) -> Result<(Vec<f32>, bool), String> {
        let (tokens, truncated) = self.encoder.encode(body)?;
        let logits = match &self.engine {
            #[cfg(feature = "onnx")]
            Engine::Onnx(graph) => graph.logits(&tokens)?,
            #[cfg(feature = "safetensors")]
            Engine::Bert(bert) => bert.logits(&tokens)?,
        };
        if logits.len() != self.worths.len() {
            return Err(format!(
                "the model's answer and config.json name different numbers of classes: found={} named={}",
                logits.len(),
                self.worths.len()
            ));
        }
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err("the model's answer is no number".to_owned());
        }
        Ok((softmax(&logits), truncated))
    }

    #[cfg(not(any(feature = "onnx", feature = "safetensors")))]
    fn chances(&self, _: &str) -> Result<(Vec<f32>, bool), String> {
        Err(format!("{}: no cargo feature that reads it", self.name))
    }

    /// The label that the model gives a text, and the chance that it gives the label, which nothing has calibrated.
    ///
    /// # Errors
    /// If no number comes out.
    pub fn claim(&self, body: &str) -> Result<(Label, f64), String> {
        let (chances, _) = self.chances(body)?;
        let (label, _, chance) = conclude(&chances, &self.worths);
        Ok((label, chance))
    }

    /// Puts the model's answer in the place of the first reading's polarity. Signals and their evidence stay; `heard` is the recogniser's
    /// confidence, 1 for what was written. Where the model fails on a text, the first reading stands and says so.
    pub(crate) fn refine(&self, body: &str, heard: f64, score: &mut Score) {
        match self.chances(body) {
            Ok((chances, truncated)) => {
                let (label, mean, chance) = conclude(&chances, &self.worths);
                let lang = score.lang.as_deref().unwrap_or_default();
                let measured = self.calibration.confidence(lang, chance);
                let name = if measured.is_some() { MEASURED } else { CALIBRATION };
                score.label = label;
                score.score = Some(crate::rounded(mean));
                score.confidence = Some(crate::rounded(measured.unwrap_or(chance) * heard));
                score.tier = Tier::Transformer;
                score.model.clone_from(&self.name);
                score.model_version.clone_from(&self.version);
                score.calibration = Some(name.to_owned());
                score.abstain_reason = None;
                score.truncated |= truncated;
                // Words of the lexicon have decided nothing.
                let is_signal = |rule: &str| SIGNALS.iter().any(|kind| kind.as_str() == rule);
                score.evidence.retain(|evidence| is_signal(&evidence.rule));
            }
            Err(_) => score.abstain_reason = Some(FAILED.to_owned()),
        }
    }
}

#[cfg(any(feature = "onnx", feature = "safetensors"))]
fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().fold(f32::MIN, |most, logit| most.max(*logit));
    let grown: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = grown.iter().sum();
    grown.iter().map(|chance| chance / sum).collect()
}

#[cfg(test)]
mod tests;
