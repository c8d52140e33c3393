//! How right a transformer's chances are: isotonic steps per language, measured on an operator's labels.

use std::collections::BTreeMap;

use crate::{LANGUAGES, measure};

/// The first line of a table, which names its version.
const HEAD: &str = "# calibration of a transformer 1";
/// Texts of a language below which nothing is measured.
pub const FEWEST: usize = 200;
/// Texts in a step at least.
const STEP: usize = 25;

/// The chance that a label is right, by language and by the chance that the model gives it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    steps: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Calibration {
    /// Measures the model's chances of one language, each with whether the label was right.
    ///
    /// # Errors
    /// If there are fewer than [`FEWEST`].
    pub fn measure(&mut self, lang: &str, claims: &[(f64, bool)]) -> Result<(), String> {
        if claims.len() < FEWEST {
            return Err(format!(
                "too few texts that the transformer has read: lang={lang} found={} least={FEWEST}",
                claims.len()
            ));
        }
        let mut claims = claims.to_vec();
        claims.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let mut steps: Vec<(f64, f64)> = Vec::new();
        for (from, right) in measure::isotonic(&claims, (claims.len() / 8).max(STEP)) {
            let (from, right) = (crate::rounded(from), crate::rounded(right));
            match steps.last_mut() {
                // What lies below the least chance that was seen is no better than that.
                None => steps.push((0.0, right)),
                // Few texts in a step are counted less, which may bring it below the one before.
                Some(last) if from <= last.0 => last.1 = last.1.max(right),
                Some(last) => {
                    let right = right.max(last.1);
                    steps.push((from, right));
                }
            }
        }
        self.steps.insert(lang.to_owned(), steps);
        Ok(())
    }

    /// Reads a table: the line that names its version, then `lang<TAB>from<TAB>confidence`, of a language in rising order.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(format!("line 1: must be `{HEAD}`"));
        }
        let mut steps: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (number, line) in lines.enumerate() {
            let wrong = |what: &str| format!("line {}: {what}", number + 2);
            let cells: Vec<&str> = line.split('\t').collect();
            let [lang, from, right] = cells[..] else {
                return Err(wrong("three cells expected: lang, from, confidence"));
            };
            if !LANGUAGES.contains(&lang) {
                return Err(wrong(&format!(
                    "no such language: found={lang} known={}",
                    LANGUAGES.join(" ")
                )));
            }
            let chance = |cell: &str, column: &str| {
                let number = cell.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
                number.ok_or_else(|| wrong(&format!("must be a number from 0 to 1: column={column} found={cell}")))
            };
            let step = (chance(from, "from")?, chance(right, "confidence")?);
            let known = steps.entry(lang.to_owned()).or_default();
            if known.last().is_some_and(|last| last.0 >= step.0 || last.1 > step.1) {
                return Err(wrong("must lie above the line before"));
            }
            known.push(step);
        }
        if steps.is_empty() {
            return Err("no line of any language".to_owned());
        }
        Ok(Self { steps })
    }

    /// The table as [`Calibration::read`] reads it.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for (lang, steps) in &self.steps {
            for (from, right) in steps {
                text.push_str(&format!("{lang}\t{from:.4}\t{right:.4}\n"));
            }
        }
        text
    }

    /// The measured chance that a label is right to which the model gives `chance`; `None` where the language was not measured.
    #[must_use]
    pub fn confidence(&self, lang: &str, chance: f64) -> Option<f64> {
        let steps = self.steps.get(lang)?;
        let reached = steps.iter().rfind(|(from, _)| chance >= *from).or(steps.first());
        reached.map(|(_, right)| *right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_what_they_were_on_the_labels() {
        // Sure of everything, and right half of the time below 0.9, nine times in ten above.
        let claims: Vec<(f64, bool)> = (0..400u32)
            .map(|text| {
                let chance = 0.5 + f64::from(text) / 800.0;
                (chance, if chance < 0.9 { text % 2 == 0 } else { text % 10 > 0 })
            })
            .collect();
        let mut table = Calibration::default();
        assert_eq!(table.measure("nl", &claims), Ok(()));
        let of = |chance: f64| table.confidence("nl", chance).expect("measured");
        assert!(
            (of(0.6) - 0.5).abs() < 0.05 && (of(0.99) - 0.9).abs() < 0.05,
            "{table:?}"
        );
        assert!(of(0.0) <= of(0.5));
        assert_eq!(table.confidence("en", 0.9), None);
        assert_eq!(Calibration::read(&table.write()), Ok(table.clone()));
        let again = {
            let mut turned = claims.clone();
            turned.reverse();
            let mut again = Calibration::default();
            again.measure("nl", &turned).map(|()| again.write())
        };
        assert_eq!(again, Ok(table.write()), "whatever the order");
        let few = table.measure("en", &claims[..199]).expect_err("too few");
        assert!(few.contains("found=199"), "{few}");
    }

    #[test]
    fn the_bytes_never_change_and_broken_lines_are_named() {
        let text = "# calibration of a transformer 1\nen\t0.0000\t0.5000\nen\t0.8000\t0.7500\nnl\t0.0000\t0.6000\n";
        let table = Calibration::read(text).expect("readable");
        assert_eq!(table.write(), text);
        assert_eq!(table.confidence("en", 0.8), Some(0.75));
        assert_eq!(table.confidence("en", 0.79), Some(0.5));
        let check = |text: &str, expected: &str| {
            let found = Calibration::read(text).expect_err("refused");
            assert!(found.contains(expected), "{found}");
        };
        check("", "line 1");
        check("# calibration of a transformer 2\n", "line 1");
        check("# calibration of a transformer 1\n", "no line");
        check("# calibration of a transformer 1\nen\t0.5\n", "line 2: three cells");
        check(
            "# calibration of a transformer 1\nxx\t0.5\t0.5\n",
            "line 2: no such language: found=xx",
        );
        check(
            "# calibration of a transformer 1\nen\t0.5\t7\n",
            "column=confidence found=7",
        );
        check(
            "# calibration of a transformer 1\nen\t0.5\t0.5\nen\t0.4\t0.6\n",
            "line 3: must lie above",
        );
        check(
            "# calibration of a transformer 1\nen\t0.5\t0.5\nen\t0.6\t0.4\n",
            "line 3: must lie above",
        );
    }
}
