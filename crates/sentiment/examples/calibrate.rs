//! Prints the rows of `lexicons/calibration.tsv` for a language: isotonic steps per label, over the texts of several files.
//!
//! `cargo run -p sentiment --example calibrate -- en A.tsv B.tsv`, each line `label<TAB>text`. Every file counts alike, however many
//! texts it has.

use std::collections::BTreeSet;

use event::{Label, Modality, Role};
use sentiment::{Input, Scorer, Scratch, measure};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let lang = arguments.next().ok_or("a language is needed")?;
    let scorer = Scorer::new();
    let mut scratch = Scratch::default();
    let mut claims: Vec<(Label, f64, bool)> = Vec::new();
    let mut seen = BTreeSet::new();
    for path in arguments {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        for text in measure::read(&text).map_err(|problem| format!("{path}:{problem}"))? {
            if !seen.insert(measure::normal(&text.text)) {
                continue;
            }
            let input = Input {
                body: &text.text,
                lang: Some(&lang),
                role: Role::Customer,
                modality: Modality::Text,
                asr_confidence: None,
            };
            let reading = scorer.read(&input, &mut scratch).ok_or("customers are scored")?;
            if let Some(score) = reading.score {
                claims.push((reading.label, score.abs(), reading.label == text.label));
            }
        }
    }
    for label in [Label::Negative, Label::Neutral, Label::Positive] {
        let of: Vec<(f64, bool)> = claims
            .iter()
            .filter(|claim| claim.0 == label)
            .map(|claim| (claim.1, claim.2))
            .collect();
        for (index, (from, right)) in measure::isotonic(&of, (of.len() / 8).max(25)).into_iter().enumerate() {
            let from = if index == 0 { 0.0 } else { from };
            println!("{lang}\t{}\t{from:.2}\t{right:.2}", label.as_str());
        }
    }
    Ok(())
}
