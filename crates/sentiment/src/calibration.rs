//! The chance that a label is right, by language and strength, measured on labelled texts.

use event::Label;

/// `lang, label, from, confidence`: the chance from this |score| on.
pub const TABLE: &str = include_str!("../lexicons/calibration.tsv");
/// The name of this calibration.
pub const NAME: &str = "isotonic-1";
/// The chance where nothing was measured.
const UNMEASURED: f64 = 0.4;

/// The table, read once.
pub struct Calibration {
    bins: Vec<Bin>,
}

struct Bin {
    lang: &'static str,
    label: &'static str,
    from: f64,
    chance: f64,
}

impl Calibration {
    /// Reads the table that ships; a broken line is named by its number.
    pub fn read() -> Result<Self, String> {
        let line = |(index, line): (usize, &'static str)| {
            let cells: Vec<&'static str> = line.split('\t').collect();
            let wrong = || format!("line {}: four cells expected, two of them numbers", index + 1);
            let [lang, label, from, chance] = cells[..] else {
                return Err(wrong());
            };
            Ok(Bin {
                lang,
                label,
                from: from.parse().map_err(|_| wrong())?,
                chance: chance.parse().map_err(|_| wrong())?,
            })
        };
        let bins = TABLE.lines().enumerate().skip(1).map(line).collect::<Result<_, _>>()?;
        Ok(Self { bins })
    }

    /// The chance that a label is right: that of the last bin that the score reaches.
    pub fn confidence(&self, lang: &str, label: Label, score: f64) -> f64 {
        let reached = |bin: &&Bin| bin.lang == lang && bin.label == label.as_str() && score.abs() >= bin.from;
        self.bins.iter().rfind(reached).map_or(UNMEASURED, |bin| bin.chance)
    }
}
