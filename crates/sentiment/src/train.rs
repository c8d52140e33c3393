//! Trains a linear model on an operator's own labels, and says whether it is worth having.
//!
//! Every text is judged once by a model that has not seen it: five folds, stratified by label, drawn by a fixed seed. The gain over
//! lexicon and rules is the difference of macro-F1 on the same texts, with its 95 % interval by a paired bootstrap. A model is
//! accepted when the whole interval lies above zero; it is then trained on all labels.

use std::collections::BTreeSet;

use event::{Label, Modality, Role};

use crate::{
    Input, Scorer, Scratch,
    linear::{Features, LABELS, Linear, Trained, Weights, softmax},
    measure::{self, Answer, Dice, Labelled},
};

/// Fewer distinct labelled texts teach nothing.
pub const FEWEST: usize = 200;
const FOLDS: usize = 5;
// Few and small steps: with a thousand texts and 32,768 rows, more of them learn the texts by heart (−0.015 macro-F1 over nine
// development sets).
const EPOCHS: usize = 8;
const RATE: f32 = 0.03;
/// Figures of lexicon and rules are seen this much larger while weights are found, so that they are found sooner than n-grams.
const FIGURES: f32 = 2.0;
const SHRINK: f32 = 1e-4;

/// Why no model was trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Too few distinct texts.
    TooFew(usize),
    /// A label with fewer texts than there are folds.
    Lopsided(Label, usize),
    /// One label alone: a model that always says it would be right, and useless.
    OneLabel(Label),
    /// No lexicon to compare with.
    NoLexicon(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFew(found) => write!(f, "too few distinct labelled texts: found={found} needed={FEWEST}"),
            Self::Lopsided(label, found) => {
                write!(
                    f,
                    "too few texts of one label: label={} found={found} needed={FOLDS}",
                    label.as_str()
                )
            }
            Self::OneLabel(label) => write!(
                f,
                "all texts have the same label: found={} needed=2 labels",
                label.as_str()
            ),
            Self::NoLexicon(lang) => write!(f, "no such language: found={lang} known={}", crate::LANGUAGES.join(" ")),
        }
    }
}

/// What training gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The model, trained on every label.
    pub model: Linear,
    /// Texts that were left out because another one says the same.
    pub duplicates: usize,
    /// Lexicon and rules on every text.
    pub lexicon: measure::Figures,
    /// The model on texts that it had not seen.
    pub linear: measure::Figures,
    /// The gain of macro-F1.
    pub gain: f64,
    /// Its 95 % interval.
    pub gain_interval: [f64; 2],
}

impl Outcome {
    /// Whether the whole interval of the gain lies above zero.
    #[must_use]
    pub fn is_gain(&self) -> bool {
        self.gain_interval[0] > 0.0
    }
}

/// Trains on labelled texts of one language. The same texts in the same order give the same bytes.
pub fn train(scorer: &Scorer, lang: &str, texts: &[Labelled]) -> Result<Outcome, Refusal> {
    let mut seen = BTreeSet::new();
    let distinct: Vec<&Labelled> = texts
        .iter()
        .filter(|text| seen.insert(measure::normal(&text.text)))
        .collect();
    if distinct.len() < FEWEST {
        return Err(Refusal::TooFew(distinct.len()));
    }
    let present: Vec<Label> = LABELS
        .into_iter()
        .filter(|label| distinct.iter().any(|text| text.label == *label))
        .collect();
    if let [only] = present[..] {
        return Err(Refusal::OneLabel(only));
    }
    for label in &present {
        let found = distinct.iter().filter(|text| text.label == *label).count();
        if found < FOLDS {
            return Err(Refusal::Lopsided(*label, found));
        }
    }
    let mut scratch = Scratch::default();
    let mut samples = Vec::with_capacity(distinct.len());
    let mut by_lexicon = Vec::with_capacity(distinct.len());
    for text in &distinct {
        let features = scorer
            .features(&text.text, lang, &mut scratch)
            .ok_or_else(|| Refusal::NoLexicon(lang.to_owned()))?;
        samples.push(Sample {
            label: place(text.label),
            features,
        });
        by_lexicon.push(answer(scorer, lang, text, &mut scratch));
    }
    let folds = folds(&samples);
    let mut by_linear = by_lexicon.clone();
    let mut claims = Vec::with_capacity(samples.len());
    for fold in 0..FOLDS {
        let seen: Vec<&Sample> = samples
            .iter()
            .zip(&folds)
            .filter(|(_, of)| **of != fold)
            .map(|(sample, _)| sample)
            .collect();
        let model = Linear::of(lang, &fit(&seen));
        for (index, sample) in samples.iter().enumerate().filter(|(index, _)| folds[*index] == fold) {
            let judged = model.judge_features(&sample.features);
            let answer = &mut by_linear[index];
            (answer.found, answer.score) = (judged.label, Some(judged.score));
            answer.confidence = Some(judged.confidence);
            claims.push((judged.confidence, judged.label == answer.truth));
        }
    }
    let gained = |picks: &[usize]| {
        let of =
            |answers: &[Answer]| measure::macro_f1_of(&picks.iter().map(|pick| answers[*pick]).collect::<Vec<_>>());
        of(&by_linear) - of(&by_lexicon)
    };
    let gain_interval = measure::interval(samples.len(), gained);
    let (lexicon, linear) = (measure::figures(&by_lexicon), measure::figures(&by_linear));
    let gain = linear.macro_f1 - lexicon.macro_f1;
    let mut model = Linear::of(lang, &fit(&samples.iter().collect::<Vec<_>>()));
    model.calibrate(&measure::isotonic(
        &claims,
        (claims.len() / crate::linear::STEPS).max(20),
    ));
    #[expect(clippy::cast_possible_truncation, reason = "shares")]
    let narrow = |figure: f64| figure as f32;
    model.trained = Trained {
        labels: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        lexicon: narrow(lexicon.macro_f1),
        linear: narrow(linear.macro_f1),
        gain_from: narrow(gain_interval[0]),
        gain_to: narrow(gain_interval[1]),
    };
    Ok(Outcome {
        model,
        duplicates: texts.len() - samples.len(),
        lexicon,
        linear,
        gain,
        gain_interval,
    })
}

/// What a scorer says of a labelled text.
#[must_use]
pub fn answer(scorer: &Scorer, lang: &str, text: &Labelled, scratch: &mut Scratch) -> Answer {
    let input = Input {
        body: &text.text,
        lang: Some(lang),
        role: Role::Customer,
        modality: Modality::Text,
        asr_confidence: None,
    };
    let reading = scorer.read(&input, scratch);
    Answer {
        truth: text.label,
        found: reading.map_or(Label::Unscored, |reading| reading.label),
        score: reading.and_then(|reading| reading.score),
        confidence: reading.and_then(|reading| reading.confidence),
    }
}

struct Sample {
    label: usize,
    features: Features,
}

fn place(label: Label) -> usize {
    LABELS.iter().position(|known| *known == label).unwrap_or(1)
}

/// The fold of each sample: shuffled, then dealt out label by label.
fn folds(samples: &[Sample]) -> Vec<usize> {
    let mut folds = vec![0; samples.len()];
    let order = shuffled(samples.len(), &mut Dice::new(2));
    for label in 0..LABELS.len() {
        let of_label = order.iter().filter(|index| samples[**index].label == label);
        for (dealt, index) in of_label.enumerate() {
            folds[*index] = dealt % FOLDS;
        }
    }
    folds
}

fn shuffled(count: usize, dice: &mut Dice) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, dice.roll(last + 1));
    }
    order
}

/// Logistic regression over three labels by adaptive steps (Duchi, Hazan and Singer, 2011). A label that is rare counts more, by a
/// power of how rare it is, since macro-F1 weighs labels alike.
fn fit(samples: &[&Sample]) -> Weights {
    let mut weights = Weights::default();
    let mut squares = Weights::default();
    let mut dice = Dice::new(3);
    #[expect(clippy::cast_precision_loss, reason = "counts of texts")]
    let worth: [f32; 3] = std::array::from_fn(|label| {
        let of_label = samples.iter().filter(|sample| sample.label == label).count().max(1);
        (samples.len() as f32 / (3.0 * of_label as f32)).powf(0.75)
    });
    for _ in 0..EPOCHS {
        for index in shuffled(samples.len(), &mut dice) {
            step(&mut weights, &mut squares, samples[index], worth[samples[index].label]);
        }
    }
    weights.dense.iter_mut().flatten().for_each(|weight| *weight *= FIGURES);
    weights
}

fn step(weights: &mut Weights, squares: &mut Weights, sample: &Sample, worth: f32) {
    let Features { buckets, dense } = &sample.features;
    let dense = dense.map(|figure| figure * FIGURES);
    #[expect(clippy::cast_precision_loss, reason = "a text has few n-grams")]
    let norm = 1.0 / (buckets.len().max(1) as f32).sqrt();
    let mut logits = weights.bias;
    for bucket in buckets {
        let row = &weights.rows[usize::from(*bucket)];
        logits
            .iter_mut()
            .zip(row)
            .for_each(|(logit, weight)| *logit += weight * norm);
    }
    for (figure, row) in dense.iter().zip(&weights.dense) {
        logits
            .iter_mut()
            .zip(row)
            .for_each(|(logit, weight)| *logit += figure * weight);
    }
    let chances = softmax(logits);
    let slopes: [f32; 3] =
        std::array::from_fn(|label| (chances[label] - if label == sample.label { 1.0 } else { 0.0 }) * worth);
    let down = |weight: &mut f32, square: &mut f32, slope: f32| {
        let slope = slope + SHRINK * *weight;
        *square += slope * slope;
        *weight -= RATE * slope / (square.sqrt() + 1e-6);
    };
    for (label, slope) in slopes.into_iter().enumerate() {
        down(&mut weights.bias[label], &mut squares.bias[label], slope);
        for (figure, (row, square)) in dense.iter().zip(weights.dense.iter_mut().zip(&mut squares.dense)) {
            down(&mut row[label], &mut square[label], slope * figure);
        }
    }
    for bucket in buckets {
        let (row, square) = (
            &mut weights.rows[usize::from(*bucket)],
            &mut squares.rows[usize::from(*bucket)],
        );
        for (slope, (weight, square)) in slopes.into_iter().zip(row.iter_mut().zip(square)) {
            down(weight, square, slope * norm);
        }
    }
}
