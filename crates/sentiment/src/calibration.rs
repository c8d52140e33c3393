//! The chance that a label is right, by language and strength, measured on labelled texts.

use event::Label;

/// `lang, label, from, confidence`: the chance from this |score| on.
pub const TABLE: &str = include_str!("../lexicons/calibration.tsv");
const NAME: &str = "bins-1";

/// The chance that a label is right, and the name of the calibration. Unmeasured languages take the least of all.
pub fn confidence(lang: &str, label: Label, score: f64) -> (f64, &'static str) {
    let mut chance = 0.4;
    for line in TABLE.lines().skip(1) {
        let mut cells = line.split('\t');
        let (Some(of), Some(called), Some(from), Some(value)) =
            (cells.next(), cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        let from: f64 = from.parse().unwrap_or(f64::INFINITY);
        if of == lang && called == label.as_str() && score.abs() >= from {
            chance = value.parse().unwrap_or(chance);
        }
    }
    (chance, NAME)
}
