//! Measures the scorer on labelled texts and prints the rows of `lexicons/calibration.tsv`.
//!
//! `cargo run -p sentiment --example calibrate -- en A.tsv B.tsv`, each line `label<TAB>text` with −1, 0 or 1 for the label, or its
//! name. Figures go to stderr.

use std::collections::BTreeMap;

use event::{Label, Modality, Role};
use sentiment::{Input, Scorer, Scratch};

const LABELS: [Label; 3] = [Label::Negative, Label::Neutral, Label::Positive];
const EDGES: [f64; 4] = [0.0, 0.35, 0.55, 0.75];

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let lang = arguments.next().ok_or("a language is needed")?;
    let scorer = Scorer::new();
    let mut scratch = Scratch::default();
    let mut bins: BTreeMap<(&str, usize), (u32, u32)> = BTreeMap::new();
    for path in arguments {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let mut confusion = [[0_u32; 3]; 3];
        let mut unscored = 0;
        for line in text.lines() {
            let Some((label, body)) = line.split_once('\t') else {
                continue;
            };
            let Some(truth) = truth(label) else { continue };
            let input = Input {
                body,
                lang: Some(&lang),
                role: Role::Customer,
                modality: Modality::Text,
                asr_confidence: None,
            };
            let Some(score) = scorer.score(&input, &mut scratch) else {
                continue;
            };
            let found = LABELS.iter().position(|known| *known == score.label);
            unscored += u32::from(found.is_none());
            confusion[truth][found.unwrap_or(1)] += 1;
            if let (Some(found), Some(strength)) = (found, score.score) {
                let edge = EDGES.iter().rposition(|edge| strength.abs() >= *edge).unwrap_or(0);
                let bin = bins.entry((LABELS[found].as_str(), edge)).or_default();
                bin.0 += u32::from(found == truth);
                bin.1 += 1;
            }
        }
        report(&path, &confusion, unscored);
    }
    for ((label, edge), (right, all)) in bins {
        // Laplace's rule: a bin of few texts says little.
        let chance = f64::from(right + 1) / f64::from(all + 2);
        println!("{lang}\t{label}\t{}\t{chance:.2}", EDGES[edge]);
    }
    Ok(())
}

/// A label's place in [`LABELS`].
fn truth(label: &str) -> Option<usize> {
    let numbers = ["-1", "0", "1"].iter().position(|number| *number == label);
    numbers.or_else(|| LABELS.iter().position(|known| known.as_str() == label))
}

fn report(path: &str, confusion: &[[u32; 3]; 3], unscored: u32) {
    let all: u32 = confusion.iter().flatten().sum();
    let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
    let recall = |label: usize| share(confusion[label][label], confusion[label].iter().sum());
    let precision = |label: usize| share(confusion[label][label], confusion.iter().map(|row| row[label]).sum());
    let f1 = |label: usize| {
        let (precision, recall) = (precision(label), recall(label));
        2.0 * precision * recall / (precision + recall).max(f64::MIN_POSITIVE)
    };
    eprintln!(
        "{path}: texts {all} accuracy {:.3} macro-F1 {:.3} negative recall {:.2} precision {:.2} unscored {:.2}",
        share((0..3).map(|label| confusion[label][label]).sum(), all),
        (0..3).map(f1).sum::<f64>() / 3.0,
        recall(0),
        precision(0),
        share(unscored, all),
    );
}
