//! A linear model over hashed n-grams and over what lexicon and rules found, trained by whoever runs it.
//!
//! Words, pairs of words and three to five bytes inside a word each choose one of 32,768 rows of three small integers, one per
//! label: 96 KiB. A file holds its version, the language, what was measured when it was trained, and a SHA-256 over all of it.

use event::Label;
use sha2::{Digest, Sha256};

use crate::{polarity::Read, tokens::Tokens};

/// The model's name on scores.
pub const MODEL: &str = "waymark-linear";
/// The name of its calibration: isotonic, from texts that the judging model had not seen.
pub const CALIBRATION: &str = "isotonic-1";
/// The version of the file, and of the features.
pub const VERSION: u8 = 1;
/// Rows of weights.
pub const BUCKETS: usize = 1 << 15;
/// Labels in the order of weights.
pub const LABELS: [Label; 3] = [Label::Negative, Label::Neutral, Label::Positive];
/// Figures of lexicon and rules.
pub const DENSE: usize = 8;
/// Steps of the calibration at most.
pub const STEPS: usize = 16;

const MAGIC: &[u8; 14] = b"waymark-linear";
const HASH: usize = 32;

/// What a text is to a linear model.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Rows, as often as they occur.
    pub buckets: Vec<u16>,
    /// Figures of lexicon and rules.
    pub dense: [f32; DENSE],
}

impl Features {
    /// Those of a text that has been cut and read.
    pub(crate) fn of(body: &str, tokens: &Tokens, read: &Read) -> Self {
        let mut buckets = Vec::new();
        grams(body, tokens, |bucket| buckets.push(bucket));
        Self {
            buckets,
            dense: dense(tokens, read),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a score between −1 and 1")]
fn dense(tokens: &Tokens, read: &Read) -> [f32; DENSE] {
    let flag = |set: bool| if set { 1.0 } else { 0.0 };
    let score = read.score as f32;
    let (pos, neg) = (read.pos as f32, read.neg as f32);
    [
        score,
        score.abs(),
        pos / (2.0 + pos),
        neg / (2.0 + neg),
        flag(read.scored),
        flag(tokens.exclamations > 0),
        flag(tokens.questions > 0),
        flag(tokens.links > 0),
    ]
}

const SEED: u32 = 0x811c_9dc5;

fn mix(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

fn bucket(hash: u32) -> u16 {
    // The upper 15 bits: 32,768 rows.
    (hash.wrapping_mul(0x9e37_79b1) >> 17) as u16
}

/// Calls `each` with the row of every n-gram outside masked spans.
fn grams(body: &str, tokens: &Tokens, mut each: impl FnMut(u16)) {
    let mut before: Option<u32> = None;
    for token in tokens.words.iter().filter(|token| !token.masked) {
        let form = tokens.norm(token).as_bytes();
        let word = form.iter().fold(SEED, |hash, byte| mix(hash, *byte));
        each(bucket(mix(word, 1)));
        if let Some(before) = before {
            each(bucket(mix(before.rotate_left(7) ^ word, 2)));
        }
        before = Some(word);
        // Three to five bytes, the space before and behind the word included; a long form is cut, whatever it is.
        let form = &form[..form.len().min(32)];
        let count = form.len() + 2;
        let at = |place: usize| {
            if place == 0 || place > form.len() {
                b' '
            } else {
                form[place - 1]
            }
        };
        for start in 0..count.saturating_sub(2) {
            let mut hash = SEED;
            for (length, place) in (1_u8..=5).zip(start..count) {
                hash = mix(hash, at(place));
                if length >= 3 {
                    each(bucket(mix(hash, 2 + length)));
                }
            }
        }
    }
    for (start, _) in &tokens.marks {
        let mark = body[*start as usize..].chars().next().filter(|mark| !mark.is_ascii());
        if let Some(mark) = mark {
            let hash = u32::from(mark)
                .to_be_bytes()
                .iter()
                .fold(SEED, |hash, byte| mix(hash, *byte));
            each(bucket(mix(hash, 9)));
        }
    }
}

/// What a model says of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The label of the greatest chance.
    pub label: Label,
    /// The chance of positive minus that of negative.
    pub score: f64,
    /// The calibrated chance that the label is right.
    pub confidence: f64,
}

/// What was measured when a model was trained, on texts that the judging model had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trained {
    /// Distinct labelled texts.
    pub labels: u32,
    /// Macro-F1 of lexicon and rules.
    pub lexicon: f32,
    /// Macro-F1 of the model.
    pub linear: f32,
    /// Where the 95 % interval of the gain begins.
    pub gain_from: f32,
    /// Where it ends.
    pub gain_to: f32,
}

/// Weights that are still being found.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Per row and label.
    pub rows: Vec<[f32; 3]>,
    /// Per figure and label.
    pub dense: [[f32; 3]; DENSE],
    /// Per label.
    pub bias: [f32; 3],
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            rows: vec![[0.0; 3]; BUCKETS],
            dense: [[0.0; 3]; DENSE],
            bias: [0.0; 3],
        }
    }
}

/// A model that judges.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    lang: String,
    /// What was measured.
    pub trained: Trained,
    bias: [f32; 3],
    dense: [[f32; 3]; DENSE],
    scale: f32,
    rows: Vec<[i8; 3]>,
    /// From which chance on how many are right.
    calibration: Vec<(f32, f32)>,
}

impl Linear {
    /// Rounds weights to 8 bits under one scale.
    #[must_use]
    pub fn of(lang: &str, weights: &Weights) -> Self {
        let greatest = weights
            .rows
            .iter()
            .flatten()
            .fold(0.0_f32, |most, weight| most.max(weight.abs()));
        let scale = if greatest > 0.0 { greatest / 127.0 } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, reason = "within ±127 by the scale")]
        let rounded = |weight: f32| (weight / scale).round() as i8;
        Self {
            lang: lang.to_owned(),
            trained: Trained::default(),
            bias: weights.bias,
            dense: weights.dense,
            scale,
            rows: weights.rows.iter().map(|row| row.map(rounded)).collect(),
            calibration: Vec::new(),
        }
    }

    /// Says how many are right from which chance on; at most [`STEPS`] of them, rising.
    pub fn calibrate(&mut self, steps: &[(f64, f64)]) {
        #[expect(clippy::cast_possible_truncation, reason = "chances")]
        let narrow = |(from, right): &(f64, f64)| (*from as f32, *right as f32);
        self.calibration = steps.iter().take(STEPS).map(narrow).collect();
    }

    /// The language it was trained for.
    #[must_use]
    pub fn lang(&self) -> &str {
        &self.lang
    }

    pub(crate) fn judge(&self, body: &str, tokens: &Tokens, read: &Read) -> Judged {
        let (mut sums, mut count) = ([0_i32; 3], 0_u32);
        grams(body, tokens, |bucket| {
            let row = &self.rows[usize::from(bucket)];
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += i32::from(*weight);
            }
            count += 1;
        });
        self.conclude(sums, count, &dense(tokens, read))
    }

    /// The same from features.
    #[must_use]
    pub fn judge_features(&self, features: &Features) -> Judged {
        let mut sums = [0_i32; 3];
        for bucket in &features.buckets {
            for (sum, weight) in sums.iter_mut().zip(&self.rows[usize::from(*bucket)]) {
                *sum += i32::from(*weight);
            }
        }
        self.conclude(
            sums,
            u32::try_from(features.buckets.len()).unwrap_or(u32::MAX),
            &features.dense,
        )
    }

    #[expect(clippy::cast_precision_loss, reason = "a text has few n-grams")]
    fn conclude(&self, sums: [i32; 3], count: u32, dense: &[f32; DENSE]) -> Judged {
        let norm = 1.0 / (count.max(1) as f32).sqrt();
        let mut logits = self.bias;
        for (logit, sum) in logits.iter_mut().zip(sums) {
            *logit += sum as f32 * self.scale * norm;
        }
        for (figure, weights) in dense.iter().zip(&self.dense) {
            for (logit, weight) in logits.iter_mut().zip(weights) {
                *logit += figure * weight;
            }
        }
        let chances = softmax(logits);
        let best = (0..3).fold(
            0,
            |best, label| if chances[label] > chances[best] { label } else { best },
        );
        let reached = self.calibration.iter().rfind(|(from, _)| chances[best] >= *from);
        let confidence = reached
            .or(self.calibration.first())
            .map_or(chances[best], |(_, right)| *right);
        Judged {
            label: LABELS[best],
            score: f64::from(chances[2] - chances[0]),
            confidence: f64::from(confidence),
        }
    }

    /// The file's bytes. All figures are big-endian.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BUCKETS * 3 + 512);
        bytes.extend(MAGIC);
        bytes.push(VERSION);
        bytes.push(u8::try_from(self.lang.len()).unwrap_or_default());
        bytes.extend(self.lang.as_bytes());
        bytes.extend(self.trained.labels.to_be_bytes());
        let Trained {
            lexicon,
            linear,
            gain_from,
            gain_to,
            ..
        } = self.trained;
        let mut figures = vec![lexicon, linear, gain_from, gain_to];
        figures.extend(self.bias);
        figures.extend(self.dense.iter().flatten());
        figures.push(self.scale);
        figures.iter().for_each(|figure| bytes.extend(figure.to_be_bytes()));
        bytes.push(u8::try_from(self.calibration.len()).unwrap_or_default());
        for (from, right) in &self.calibration {
            bytes.extend(from.to_be_bytes());
            bytes.extend(right.to_be_bytes());
        }
        bytes.extend(self.rows.iter().flatten().map(|weight| weight.to_be_bytes()[0]));
        let hash = Sha256::digest(&bytes);
        bytes.extend(hash);
        bytes
    }

    /// Reads a file; one that is cut, changed or newer is refused by name.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err("not a linear model".to_owned());
        };
        match rest.first() {
            Some(&VERSION) => {}
            found => return Err(format!("unknown model version: found={found:?} known={VERSION}")),
        }
        let split = bytes.len().checked_sub(HASH).ok_or("model is cut short")?;
        let (body, hash) = bytes.split_at(split);
        if Sha256::digest(body)[..] != *hash {
            return Err("model is damaged: its SHA-256 does not agree".to_owned());
        }
        let mut reader = Reader {
            rest: &body[MAGIC.len() + 1..],
        };
        let length = usize::from(reader.take(1)?[0]);
        let lang = std::str::from_utf8(reader.take(length)?)
            .map_err(|_| "language is no text")?
            .to_owned();
        let labels = u32::from_be_bytes(reader.array()?);
        let [lexicon, linear, gain_from, gain_to] =
            [reader.figure()?, reader.figure()?, reader.figure()?, reader.figure()?];
        let bias = [reader.figure()?, reader.figure()?, reader.figure()?];
        let mut dense = [[0.0; 3]; DENSE];
        for weight in dense.iter_mut().flatten() {
            *weight = reader.figure()?;
        }
        let scale = reader.figure()?;
        let steps = usize::from(reader.take(1)?[0]);
        let mut calibration = Vec::new();
        for _ in 0..steps {
            calibration.push((reader.figure()?, reader.figure()?));
        }
        let rows = reader.take(BUCKETS * 3)?;
        let (rows, _) = rows.as_chunks::<3>();
        let rows = rows
            .iter()
            .map(|row| row.map(|byte| i8::from_be_bytes([byte])))
            .collect();
        if !reader.rest.is_empty() {
            return Err("model is longer than its version says".to_owned());
        }
        let trained = Trained {
            labels,
            lexicon,
            linear,
            gain_from,
            gain_to,
        };
        Ok(Self {
            lang,
            trained,
            bias,
            dense,
            scale,
            rows,
            calibration,
        })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("model is cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array(&mut self) -> Result<[u8; 4], String> {
        Ok(self.take(4)?.try_into().unwrap_or_default())
    }

    fn figure(&mut self) -> Result<f32, String> {
        let figure = f32::from_be_bytes(self.array()?);
        if figure.is_finite() {
            Ok(figure)
        } else {
            Err("model holds a figure that is no number".to_owned())
        }
    }
}

/// Chances out of logits.
pub(crate) fn softmax(logits: [f32; 3]) -> [f32; 3] {
    let most = logits.iter().fold(f32::MIN, |most, logit| most.max(*logit));
    let grown = logits.map(|logit| (logit - most).exp());
    let sum: f32 = grown.iter().sum();
    grown.map(|chance| chance / sum)
}
