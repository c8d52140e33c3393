//! Models: refused, trained, written, read, judged.

use event::{Label, Modality, Role, Tier};
use sentiment::{
    Extension, Input, Scorer, Scratch,
    linear::Linear,
    measure::Labelled,
    train::{Refusal, train},
};
use sha2::{Digest as _, Sha256};

static SCORER: std::sync::LazyLock<Scorer> = std::sync::LazyLock::new(Scorer::new);

/// A made-up trade whose words no lexicon knows.
fn labels(count: usize) -> Vec<Labelled> {
    let (good, bad, plain) = (
        ["zilp", "worbly", "tanish"],
        ["grokked", "flimmed", "ploosh"],
        ["today", "table", "yesterday"],
    );
    let made = |index: usize| {
        let (label, word) = match index % 3 {
            0 => (Label::Negative, bad[index / 3 % 3]),
            1 => (Label::Neutral, plain[index / 3 % 3]),
            _ => (Label::Positive, good[index / 3 % 3]),
        };
        Labelled {
            label,
            text: format!("the widget number {index} seemed {word} to me"),
        }
    };
    (0..count).map(made).collect()
}

#[test]
fn too_few_labels_are_refused_and_repeated_ones_do_not_count() {
    assert_eq!(
        train(&SCORER, "en", &labels(199)).expect_err("refused"),
        Refusal::TooFew(199)
    );
    let mut repeated = labels(150);
    repeated.extend(labels(150).into_iter().map(|text| Labelled {
        text: format!("{}!!", text.text.to_uppercase()),
        ..text
    }));
    assert_eq!(
        train(&SCORER, "en", &repeated).expect_err("refused"),
        Refusal::TooFew(150)
    );
    let mut lopsided = labels(300);
    lopsided.retain(|text| text.label != Label::Positive);
    lopsided.extend(labels(9).into_iter().map(|text| Labelled {
        text: format!("{} indeed", text.text),
        ..text
    }));
    assert_eq!(
        train(&SCORER, "en", &lopsided).expect_err("refused"),
        Refusal::Lopsided(Label::Positive, 3)
    );
    let mut alone = labels(750);
    alone.retain(|text| text.label == Label::Negative);
    let refusal = train(&SCORER, "en", &alone).expect_err("refused");
    assert_eq!(refusal, Refusal::OneLabel(Label::Negative));
    assert_eq!(
        refusal.to_string(),
        "all texts have the same label: found=negative needed=2 labels"
    );
}

#[test]
fn labels_that_teach_are_accepted_and_others_are_not() {
    let outcome = train(&SCORER, "en", &labels(300)).expect("enough");
    assert!(
        outcome.is_gain() && outcome.linear.macro_f1 > 0.9,
        "{:?}",
        outcome.gain_interval
    );
    // What the lexicon reads without a fault leaves nothing to gain.
    let plain = |index: usize| {
        let (label, word) = [
            (Label::Negative, "terrible"),
            (Label::Neutral, "square"),
            (Label::Positive, "excellent"),
        ][index % 3];
        Labelled {
            label,
            text: format!("the widget number {index} seemed {word} to me"),
        }
    };
    let outcome = train(&SCORER, "en", &(0..300).map(plain).collect::<Vec<_>>()).expect("enough");
    assert!(!outcome.is_gain(), "{:?}", outcome.gain_interval);
}

#[test]
fn a_model_judges_its_own_language_and_says_so() {
    let model = train(&SCORER, "en", &labels(300)).expect("enough").model;
    let bytes = model.write();
    assert_eq!(Linear::read(&bytes).expect("whole"), model);
    let extension = Extension {
        lang: "en".to_owned(),
        model: Some(bytes),
        ..Extension::default()
    };
    let scorer = Scorer::with(std::slice::from_ref(&extension)).expect("sound");
    let input = Input {
        body: "the widget seemed flimmed to me",
        lang: Some("en"),
        role: Role::Customer,
        modality: Modality::Text,
        asr_confidence: None,
    };
    let score = scorer.score(&input, &mut Scratch::default()).expect("scored");
    assert_eq!((score.label, score.tier), (Label::Negative, Tier::Linear));
    assert!(score.model_version.contains(".1+"), "{}", score.model_version);
    assert_ne!(scorer.version(), SCORER.version());
    let dutch = Input {
        lang: Some("nl"),
        ..input
    };
    assert_eq!(
        scorer.score(&dutch, &mut Scratch::default()).expect("read").tier,
        Tier::Lexicon
    );
    let elsewhere = Extension {
        lang: "nl".to_owned(),
        ..extension
    };
    let problem = Scorer::with(&[elsewhere]).err().expect("refused");
    assert_eq!(problem, "nl.model: trained for another language: found=en");
}

#[test]
fn a_damaged_newer_or_foreign_file_is_refused() {
    let bytes = train(&SCORER, "en", &labels(300)).expect("enough").model.write();
    let read = |bytes: &[u8]| Linear::read(bytes).expect_err("refused");
    assert_eq!(read(b"hello"), "not a linear model");
    let mut damaged = bytes.clone();
    damaged[1000] ^= 1;
    assert_eq!(read(&damaged), "model is damaged: its SHA-256 does not agree");
    assert_eq!(
        read(&bytes[..bytes.len() - 1]),
        "model is damaged: its SHA-256 does not agree"
    );
    let mut newer = bytes.clone();
    newer[14] = 2;
    assert_eq!(read(&newer), "unknown model version: found=Some(2) known=1");
}

/// The file's form, frozen: version 1 of the model whose every weight is known.
#[test]
fn version_1_is_as_it_was() {
    let mut weights = sentiment::linear::Weights {
        bias: [0.25, -0.5, 1.0],
        ..Default::default()
    };
    weights.dense[3] = [0.5, 0.0, -0.5];
    weights.rows[0] = [1.27, -1.27, 0.0];
    weights.rows[32_767] = [0.01, 0.02, -0.03];
    let mut model = Linear::of("nl", &weights);
    model.calibrate(&[(0.0, 0.4), (0.5, 0.75)]);
    model.trained = sentiment::linear::Trained {
        labels: 1000,
        lexicon: 0.5,
        linear: 0.75,
        gain_from: 0.125,
        gain_to: 0.25,
    };
    let bytes = model.write();
    let hash: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!((bytes.len(), hash.as_str()), (GOLDEN.0, GOLDEN.1));
    assert_eq!(&bytes[..17], b"waymark-linear\x01\x02n");
    assert_eq!(Linear::read(&bytes).expect("whole"), model);
}

const GOLDEN: (usize, &str) = (
    98_503,
    "a88e0924e23a95206a0f926e64d4ed1be746e77a44d20fb3d595b50cc13718a6",
);

#[test]
fn an_overlay_silences_a_term() {
    let overlay = "term\tweight\tkind\tsource\nterrible\t0\tplain\tours\nthank you for holding\t0\tplain\tours\n";
    let extension = Extension {
        lang: "en".to_owned(),
        overlay: Some(overlay.to_owned()),
        ..Extension::default()
    };
    let scorer = Scorer::with(&[extension]).expect("sound");
    for body in ["you are terrible", "Thank you for holding"] {
        let input = Input {
            body,
            lang: Some("en"),
            role: Role::Customer,
            modality: Modality::Text,
            asr_confidence: None,
        };
        let ours = SCORER.score(&input, &mut Scratch::default()).expect("read");
        assert_ne!(ours.label, Label::Unscored, "{body}");
        let score = scorer.score(&input, &mut Scratch::default()).expect("read");
        assert_eq!(score.label, Label::Unscored, "{:#?}", score.evidence);
    }
}
