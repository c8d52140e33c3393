//! Our own service texts: what is read from them must not get worse. The floors are what was measured, rounded down.
#![expect(clippy::cast_precision_loss, reason = "a few hundred texts")]

use std::{collections::BTreeMap, fs, path::Path};

use event::{Label, Modality, Role};
use sentiment::{Input, Scorer, Scratch, measure, train};

static SCORER: std::sync::LazyLock<Scorer> = std::sync::LazyLock::new(Scorer::new);

fn file(lang: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/service/{lang}.tsv"));
    fs::read_to_string(path).expect("a set of texts")
}

/// Macro-F1, negative recall and precision at least.
fn polarity(lang: &str, floors: [f64; 3]) {
    let texts = measure::read(&file(lang)).expect("labelled texts");
    assert_eq!(texts.len(), 300, "{lang}");
    let mut scratch = Scratch::default();
    let answers: Vec<_> = texts
        .iter()
        .map(|text| train::answer(&SCORER, lang, text, &mut scratch))
        .collect();
    let figures = measure::figures(&answers);
    let found = [figures.macro_f1, figures.recall[0], figures.precision[0]];
    eprintln!("{lang}: macro-F1, negative recall, precision {found:.3?}");
    assert!(
        found.iter().zip(floors).all(|(found, floor)| *found >= floor),
        "{lang}: {found:.3?} floors {floors:?}"
    );
}

#[test]
fn polarity_of_service_texts() {
    polarity("en", FLOORS[0]);
    polarity("nl", FLOORS[1]);
    polarity("it", FLOORS[2]);
}

const FLOORS: [[f64; 3]; 3] = [[0.72, 0.59, 0.87], [0.68, 0.61, 0.85], [0.69, 0.62, 0.77]];

/// Recall and precision of all signals together, and of each on stderr.
fn signals(lang: &str, floors: [f64; 2]) {
    let mut scratch = Scratch::default();
    // Right, found, meant.
    let mut counts: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for line in file(lang).lines() {
        let mut cells = line.split('\t').skip(1);
        let body = cells.next().expect("a text");
        let meant: Vec<&str> = cells.next().map(|cell| cell.split(',').collect()).unwrap_or_default();
        let input = Input {
            body,
            lang: Some(lang),
            role: Role::Customer,
            modality: Modality::Text,
            asr_confidence: None,
        };
        let score = SCORER.score(&input, &mut scratch).expect("scored");
        assert!(score.label != Label::Unscored || score.score.is_none());
        for signal in &meant {
            counts.entry((*signal).to_owned()).or_default()[2] += 1.0;
        }
        for signal in score.signals.keys() {
            let count = counts.entry(signal.clone()).or_default();
            count[1] += 1.0;
            count[0] += f64::from(u8::from(meant.contains(&signal.as_str())));
        }
    }
    let mut all = [0.0; 3];
    for (signal, count) in &counts {
        eprintln!(
            "{lang}: {signal}: recall {:.2} precision {:.2} of {}",
            count[0] / count[2],
            count[0] / count[1].max(1.0),
            count[2]
        );
        all.iter_mut().zip(count).for_each(|(sum, count)| *sum += count);
    }
    let found = [all[0] / all[2], all[0] / all[1]];
    eprintln!("{lang}: all signals: recall, precision {found:.3?}");
    assert!(
        found[0] >= floors[0] && found[1] >= floors[1],
        "{lang}: {found:.3?} floors {floors:?}"
    );
}

#[test]
fn signals_of_service_texts() {
    signals("en", SIGNAL_FLOORS[0]);
    signals("nl", SIGNAL_FLOORS[1]);
    signals("it", SIGNAL_FLOORS[2]);
}

const SIGNAL_FLOORS: [[f64; 2]; 3] = [[0.69, 0.80], [0.70, 0.81], [0.73, 0.80]];

/// How far the two labellings of a file agree: same labels, Cohen's kappa (1960), and F1 of the second's signals against the first's.
fn agreement(lang: &str) -> (usize, f64, f64) {
    let first = file(lang);
    let second = file(&format!("second/{lang}"));
    assert_eq!(first.lines().count(), second.lines().count(), "{lang}: line by line");
    let (mut same, mut counts) = (0, BTreeMap::<&str, [f64; 2]>::new());
    let (mut both, mut either) = (0.0, 0.0);
    for (index, (one, other)) in first.lines().zip(second.lines()).enumerate() {
        let one: Vec<&str> = one.split('\t').collect();
        let other: Vec<&str> = other.split('\t').collect();
        assert!(
            ["negative", "neutral", "positive"].contains(&other[0]),
            "{lang}:{}",
            index + 1
        );
        same += usize::from(one[0] == other[0]);
        counts.entry(one[0]).or_default()[0] += 1.0;
        counts.entry(other[0]).or_default()[1] += 1.0;
        let signals = |cell: Option<&&str>| -> Vec<String> {
            let words = cell.map(|cell| cell.split(',').map(ToOwned::to_owned).collect());
            words.unwrap_or_default()
        };
        let (one, other) = (signals(one.get(2)), signals(other.get(1)));
        both += 2.0 * one.iter().filter(|signal| other.contains(signal)).count() as f64;
        either += (one.len() + other.len()) as f64;
    }
    let texts = first.lines().count() as f64;
    let chance: f64 = counts.values().map(|[one, other]| one * other / texts / texts).sum();
    (same, (same as f64 / texts - chance) / (1.0 - chance), both / either)
}

#[test]
fn labels_agree() {
    // As the README of the texts says.
    for (lang, expected) in [
        ("en", (292, 0.96, 0.79)),
        ("nl", (289, 0.94, 0.82)),
        ("it", (289, 0.94, 0.82)),
    ] {
        let (same, kappa, signals) = agreement(lang);
        eprintln!("{lang}: same {same}, kappa {kappa:.3}, signals {signals:.3}");
        assert_eq!(same, expected.0, "{lang}");
        assert!(
            (kappa - expected.1).abs() < 0.005 && (signals - expected.2).abs() < 0.006,
            "{lang}: {kappa} {signals}"
        );
    }
}
