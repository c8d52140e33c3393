//! What reading a text costs.

use std::hint::black_box;

use ::sentiment::{Input, Scorer, Scratch, samples};
use event::{Modality, Role};

use super::cells::{Cell, Timed, time};

/// Nanoseconds that a text of 72 bytes may take by lexicon and by model: 0.5 and 0.25 million a second.
const LEXICON: f64 = 2000.0;
const LINEAR: f64 = 4000.0;

pub(super) fn cells(only: Option<&str>) -> Vec<Cell> {
    let lexicon = Scorer::new();
    let linear = Scorer::with(&[samples::model()]).unwrap_or_default();
    let mut scratch = Scratch::default();
    let mut cells = Vec::new();
    let mut cell = |name: String, scorer: &Scorer, lang: Option<&str>, body: &str, target: Option<f64>| {
        if only.is_some_and(|only| !name.contains(only)) {
            return;
        }
        let input = Input {
            body,
            lang,
            role: Role::Customer,
            modality: Modality::Text,
            asr_confidence: None,
        };
        let Timed { ns, spread, own_ns } = time(|| {
            black_box(
                scorer
                    .read(black_box(&input), &mut scratch)
                    .and_then(|reading| reading.score),
            );
        });
        cells.push(Cell {
            name,
            ns,
            spread,
            own_ns,
            bytes: Some(body.len()),
            target,
        });
    };
    for (bytes, body) in samples::ENGLISH {
        let target = |target| (bytes <= 72).then_some(target);
        cell(
            format!("lexicon en {bytes} bytes"),
            &lexicon,
            Some("en"),
            body,
            target(LEXICON),
        );
        cell(
            format!("linear en {bytes} bytes"),
            &linear,
            Some("en"),
            body,
            target(LINEAR),
        );
    }
    for (lang, body) in samples::OTHERS {
        cell(
            format!("lexicon {lang} {} bytes", body.len()),
            &lexicon,
            Some(lang),
            body,
            Some(LEXICON),
        );
    }
    let (bytes, body) = samples::ENGLISH[1];
    cell(
        format!("lexicon en {bytes} bytes, detected"),
        &lexicon,
        None,
        body,
        None,
    );
    cells
}
