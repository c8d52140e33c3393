//! Our own service texts: what is read from them must not get worse. The floors are what was measured, rounded down.

use std::{collections::BTreeMap, fs, path::Path};

use event::{Label, Modality};
use sentiment::{Scratch, measure, train};
use stage::SCORER;

mod stage;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/{name}.tsv"));
    fs::read_to_string(path).expect("a set of texts")
}

/// Of so many texts of a set macro-F1, negative recall and precision at least.
fn polarity((set, count): (&str, usize), lang: &str, floors: [f64; 3]) {
    let texts = measure::read(&file(set)).expect("labelled texts");
    assert_eq!(texts.len(), count, "{set}");
    let mut scratch = Scratch::default();
    let answers: Vec<_> = texts
        .iter()
        .map(|text| train::answer(&SCORER, lang, text, &mut scratch))
        .collect();
    let figures = measure::figures(&answers);
    let found = [figures.macro_f1, figures.recall[0], figures.precision[0]];
    eprintln!("{set}: macro-F1, negative recall, precision {found:.3?}");
    assert!(
        found.iter().zip(floors).all(|(found, floor)| *found >= floor),
        "{set}: {found:.3?} floors {floors:?}"
    );
}

#[test]
fn polarity_of_service_texts() {
    polarity(("service/en", 300), "en", FLOORS[0]);
    polarity(("service/nl", 300), "nl", FLOORS[1]);
    polarity(("service/it", 300), "it", FLOORS[2]);
}

const FLOORS: [[f64; 3]; 3] = [[0.75, 0.63, 0.88], [0.71, 0.66, 0.87], [0.76, 0.68, 0.83]];

#[test]
fn polarity_of_travel_texts() {
    polarity(("travel/en", 60), "en", [0.92, 0.90, 0.97]);
    polarity(("travel/nl", 60), "nl", [0.73, 0.69, 0.97]);
    polarity(("travel/it", 60), "it", [0.86, 0.78, 0.97]);
}

#[test]
fn polarity_of_four_domains() {
    polarity(("domains/airline-en", 132), "en", [0.87, 0.80, 0.97]);
    polarity(("domains/hotel-it", 111), "it", [0.92, 0.88, 0.97]);
    polarity(("domains/books-nl", 98), "nl", [0.90, 0.88, 0.95]);
    polarity(("domains/table-nl", 78), "nl", [0.88, 0.83, 0.97]);
}

/// Cohen's kappa of two labellings (Cohen, 1960).
fn kappa(pairs: &[(&str, &str)]) -> f64 {
    let share = |count: usize| {
        f64::from(u32::try_from(count).expect("few")) / f64::from(u32::try_from(pairs.len()).expect("few"))
    };
    let agreed = share(pairs.iter().filter(|(first, second)| first == second).count());
    let by_chance = |label: &str| {
        let first = pairs.iter().filter(|(first, _)| *first == label).count();
        let second = pairs.iter().filter(|(_, second)| *second == label).count();
        share(first) * share(second)
    };
    let chance: f64 = ["negative", "neutral", "positive"].into_iter().map(by_chance).sum();
    (agreed - chance) / (1.0 - chance)
}

#[test]
fn every_service_text_was_labelled_twice() {
    let table = file("service/labellings");
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    for lang in ["en", "nl", "it"] {
        let texts = measure::read(&file(&format!("service/{lang}"))).expect("labelled texts");
        let of: Vec<&Vec<&str>> = rows.iter().filter(|row| row[0] == lang).collect();
        assert_eq!(of.len(), texts.len(), "{lang}");
        for (index, (row, text)) in of.iter().zip(&texts).enumerate() {
            assert_eq!(row[1], (index + 1).to_string(), "{lang}");
            let settled = text.label.as_str();
            assert!([row[2], row[4]].contains(&settled), "{lang}:{}: {settled}", row[1]);
        }
        let pairs: Vec<(&str, &str)> = of.iter().map(|row| (row[2], row[4])).collect();
        let found = kappa(&pairs);
        eprintln!("{lang}: kappa {found:.3}");
        assert!(found > 0.9, "{lang}: {found:.3}");
    }
}

/// Recall and precision of all signals together, and of each on stderr.
fn signals(lang: &str, floors: [f64; 2]) {
    let mut scratch = Scratch::default();
    // Right, found, meant.
    let mut counts: BTreeMap<String, [f64; 3]> = BTreeMap::new();
    for line in file(&format!("service/{lang}")).lines() {
        let mut cells = line.split('\t').skip(1);
        let body = cells.next().expect("a text");
        let meant: Vec<&str> = cells.next().map(|cell| cell.split(',').collect()).unwrap_or_default();
        let score = stage::heard(body, Some(lang), Modality::Text, &mut scratch);
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

const SIGNAL_FLOORS: [[f64; 2]; 3] = [[0.62, 0.79], [0.65, 0.77], [0.67, 0.76]];
