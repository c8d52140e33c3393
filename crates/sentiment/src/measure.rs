//! How well labels are found: figures over labelled texts, with the interval that so few texts allow.

use event::Label;

use crate::linear::LABELS;

/// A text whose label is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// What it is: negative, neutral or positive.
    pub label: Label,
    /// The text.
    pub text: String,
}

/// Reads `label<TAB>text` lines; what stands behind a further tab is not read. Labels are −1, 0, 1 or negative, neutral, positive, in capitals or
/// not; a byte order mark and empty lines are skipped; the message names the line. Lines end with a line feed, a carriage return before it or not;
/// in a file without any line feed, with a carriage return. Where both end lines, the file is refused: a label would be read as text.
pub fn read(file: &str) -> Result<Vec<Labelled>, String> {
    let mut texts = Vec::new();
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let end = if file.contains('\n') { '\n' } else { '\r' };
    for (index, line) in file.split(end).enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        let wrong = |message: String| format!("{}: {message}", index + 1);
        let (label, rest) = line
            .split_once('\t')
            .ok_or_else(|| wrong("a tab between label and text expected".to_owned()))?;
        let known = parse(label).ok_or_else(|| {
            wrong(format!(
                "unknown label: found={} known=negative,neutral,positive,-1,0,1",
                label.trim()
            ))
        })?;
        let mut behind = rest.match_indices('\r').map(|(at, _)| &rest[at + 1..]);
        if behind.any(begins_with_label) {
            return Err(wrong(
                "a bare carriage return ends a line, others end with a line feed".to_owned(),
            ));
        }
        texts.push(Labelled {
            label: known,
            text: rest.split('\t').next().unwrap_or_default().to_owned(),
        });
    }
    Ok(texts)
}

/// Whether a label and a tab come next; only so many bytes are looked at as the longest label has, and some spaces.
fn begins_with_label(text: &str) -> bool {
    let tab = text.bytes().take(16).position(|byte| byte == b'\t');
    tab.is_some_and(|at| parse(&text[..at]).is_some())
}

fn parse(label: &str) -> Option<Label> {
    match label.trim().to_ascii_lowercase().as_str() {
        "-1" | "negative" => Some(Label::Negative),
        "0" | "neutral" => Some(Label::Neutral),
        "1" | "+1" | "positive" => Some(Label::Positive),
        _ => None,
    }
}

/// What texts have in common that differ in case, spaces and marks alone. A text of marks and emoji alone has only itself.
#[must_use]
pub fn normal(text: &str) -> String {
    let mut normal = String::new();
    for word in text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        normal.extend(word.chars().flat_map(char::to_lowercase));
        normal.push(' ');
    }
    if normal.is_empty() {
        normal.push_str(text.trim());
    }
    normal
}

/// One text's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// What it is.
    pub truth: Label,
    /// What was found; unscored counts as neutral.
    pub found: Label,
    /// The score, where there is one.
    pub score: Option<f64>,
    /// The chance that was claimed, where there is one.
    pub confidence: Option<f64>,
}

/// Figures of one set of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Texts.
    pub texts: usize,
    /// The share of right labels.
    pub accuracy: f64,
    /// The mean of F1 over the labels that occur.
    pub macro_f1: f64,
    /// The 95 % interval of macro-F1, by resampling.
    pub macro_f1_interval: [f64; 2],
    /// Recall of each label.
    pub recall: [f64; 3],
    /// Precision of each label.
    pub precision: [f64; 3],
    /// The share without a hit.
    pub unscored: f64,
    /// The mean distance between claimed and true chance over ten bins of claimed chances, weighed by their size.
    pub calibration_error: f64,
    /// Where there are texts and none is neutral: the share of right signs, a score of 0 and none counting as positive.
    pub binary_accuracy: Option<f64>,
}

type Counts = [[u32; 3]; 3];

fn place(label: Label) -> usize {
    LABELS.iter().position(|known| *known == label).unwrap_or(1)
}

fn counts<'a>(answers: impl Iterator<Item = &'a Answer>) -> Counts {
    let mut counts = Counts::default();
    for answer in answers {
        counts[place(answer.truth)][place(answer.found)] += 1;
    }
    counts
}

fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1))
}

fn recall(counts: &Counts, label: usize) -> f64 {
    share(counts[label][label], counts[label].iter().sum())
}

fn precision(counts: &Counts, label: usize) -> f64 {
    share(counts[label][label], counts.iter().map(|row| row[label]).sum())
}

fn macro_f1(counts: &Counts) -> f64 {
    let (mut sum, mut labels) = (0.0, 0.0);
    for label in (0..3).filter(|label| counts[*label].iter().sum::<u32>() > 0) {
        let (precision, recall) = (precision(counts, label), recall(counts, label));
        if precision + recall > 0.0 {
            sum += 2.0 * precision * recall / (precision + recall);
        }
        labels += 1.0;
    }
    sum / f64::max(labels, 1.0)
}

/// Macro-F1 of answers.
#[must_use]
pub fn macro_f1_of(answers: &[Answer]) -> f64 {
    macro_f1(&counts(answers.iter()))
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 1000;

/// Dice that fall the same way every time.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `below`, which must not be 0. `SplitMix64`, Steele, Lea and Flood, 2014.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let wide = u128::from(mixed) * (below as u128);
        usize::try_from(wide >> 64).unwrap_or_default()
    }
}

/// The 95 % interval of a figure over resamples of `count` texts.
pub fn interval(count: usize, mut figure: impl FnMut(&[usize]) -> f64) -> [f64; 2] {
    if count == 0 {
        return [0.0; 2];
    }
    let mut dice = Dice::new(1);
    let mut picks = vec![0; count];
    let mut figures: Vec<f64> = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        picks.iter_mut().for_each(|pick| *pick = dice.roll(count));
        figures.push(figure(&picks));
    }
    figures.sort_by(f64::total_cmp);
    [figures[RESAMPLES * 25 / 1000], figures[RESAMPLES * 975 / 1000 - 1]]
}

/// Figures of a set of answers.
#[must_use]
pub fn figures(answers: &[Answer]) -> Figures {
    let all = counts(answers.iter());
    let texts = answers.len();
    let of = |count: usize| {
        share(
            u32::try_from(count).unwrap_or(u32::MAX),
            u32::try_from(texts).unwrap_or(u32::MAX),
        )
    };
    let right = |answer: &&Answer| place(answer.truth) == place(answer.found);
    let each = |figure: fn(&Counts, usize) -> f64| [figure(&all, 0), figure(&all, 1), figure(&all, 2)];
    let sign = |answer: &&Answer| (answer.score.unwrap_or(0.0) < 0.0) == (answer.truth == Label::Negative);
    let neutral: u32 = all[1].iter().sum();
    Figures {
        texts,
        accuracy: of(answers.iter().filter(right).count()),
        macro_f1: macro_f1(&all),
        macro_f1_interval: interval(texts, |picks| {
            macro_f1(&counts(picks.iter().map(|pick| &answers[*pick])))
        }),
        recall: each(recall),
        precision: each(precision),
        unscored: of(answers.iter().filter(|answer| answer.score.is_none()).count()),
        calibration_error: calibration_error(answers),
        binary_accuracy: (neutral == 0 && texts > 0).then(|| of(answers.iter().filter(sign).count())),
    }
}

fn calibration_error(answers: &[Answer]) -> f64 {
    let mut bins = [(0.0, 0.0, 0.0); 10];
    for answer in answers {
        if let Some(claimed) = answer.confidence {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10")]
            let bin = &mut bins[((claimed * 10.0) as usize).min(9)];
            bin.0 += claimed;
            bin.1 += f64::from(u8::from(answer.truth == answer.found));
            bin.2 += 1.0;
        }
    }
    let scored: f64 = bins.iter().map(|bin| bin.2).sum();
    let apart: f64 = bins.iter().map(|(claimed, right, _)| (claimed - right).abs()).sum();
    if scored > 0.0 { apart / scored } else { 0.0 }
}

/// Steps that rise: from which claim on which share is right. Pool adjacent violators, Ayer and others, 1955; steps of fewer than
/// `least` answers are pooled with their neighbours.
#[must_use]
pub fn isotonic(claims: &[(f64, bool)], least: usize) -> Vec<(f64, f64)> {
    let mut sorted = claims.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
    // (from, right, all)
    let mut steps: Vec<(f64, f64, f64)> = Vec::new();
    for chunk in sorted.chunks(least.max(1)) {
        let right = chunk.iter().filter(|(_, right)| *right).count();
        #[expect(clippy::cast_precision_loss, reason = "counts of texts")]
        steps.push((chunk[0].0, right as f64, chunk.len() as f64));
        // What is left over at the end is a step of too few.
        let few = chunk.len() < least;
        while let [.., one, other] = &steps[..]
            && (one.1 / one.2 >= other.1 / other.2 || (few && other.0 == chunk[0].0))
        {
            let pooled = (one.0, one.1 + other.1, one.2 + other.2);
            steps.truncate(steps.len() - 2);
            steps.push(pooled);
        }
    }
    // Laplace's rule: a step of few texts says little.
    steps
        .into_iter()
        .map(|(from, right, all)| (from, (right + 1.0) / (all + 2.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(truth: Label, found: Label) -> Answer {
        let scored = found != Label::Unscored;
        Answer {
            truth,
            found,
            score: scored.then_some(0.0),
            confidence: scored.then_some(0.75),
        }
    }

    #[test]
    fn figures_are_those_of_the_textbook() {
        use Label::{Negative, Neutral, Positive, Unscored};
        let answers = [
            answer(Negative, Negative),
            answer(Negative, Unscored),
            answer(Neutral, Neutral),
            answer(Positive, Positive),
            answer(Positive, Positive),
            answer(Positive, Negative),
        ];
        let figures = figures(&answers);
        assert!((figures.accuracy - 4.0 / 6.0).abs() < 1e-9);
        assert_eq!(figures.recall, [0.5, 1.0, 2.0 / 3.0]);
        assert_eq!(figures.precision, [0.5, 0.5, 1.0]);
        assert!((figures.macro_f1 - (0.5 + 2.0 / 3.0 + 0.8) / 3.0).abs() < 1e-9);
        assert!((figures.unscored - 1.0 / 6.0).abs() < 1e-9);
        assert!((figures.calibration_error - 0.05).abs() < 1e-9, "{figures:?}");
        assert_eq!(figures.binary_accuracy, None);
        assert_eq!(super::figures(&[]).binary_accuracy, None, "nothing is no share");
        assert_eq!(super::figures(&answers[..2]).binary_accuracy, Some(0.0));
        assert!(figures.macro_f1_interval[0] <= figures.macro_f1 && figures.macro_f1 <= figures.macro_f1_interval[1]);
    }

    #[test]
    fn steps_rise_and_files_are_read() {
        let claims: Vec<(f64, bool)> = (0..100).map(|n| (f64::from(n) / 100.0, n % 10 < n / 10)).collect();
        let steps = isotonic(&claims, 10);
        assert!(
            steps.len() > 3 && steps.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1),
            "{steps:?}"
        );
        assert_eq!(
            read("x").expect_err("broken"),
            "1: a tab between label and text expected"
        );
        assert_eq!(
            read("0\ta\n2\tb").expect_err("broken"),
            "2: unknown label: found=2 known=negative,neutral,positive,-1,0,1"
        );
        let sound = read("-1\ta\tb\n\npositive\tc").expect("sound");
        assert_eq!(
            sound.iter().map(|text| text.text.as_str()).collect::<Vec<_>>(),
            ["a", "c"]
        );
        assert_eq!(
            read("\u{feff}Negative\ta\r\nNEUTRAL\tb\r\n").expect("sound"),
            read("negative\ta\nneutral\tb\n").expect("sound"),
            "mark, capitals and ends of lines say nothing"
        );
        assert_eq!(
            read("\u{feff}negative\ta\r\r0\tb\tc\r1\td\r").expect("sound"),
            read("negative\ta\n\n0\tb\n1\td\n").expect("sound"),
            "carriage returns alone end lines too"
        );
        assert_eq!(
            read("0\ta\r7\tb\r").expect_err("broken"),
            "2: unknown label: found=7 known=negative,neutral,positive,-1,0,1"
        );
        assert_eq!(
            read("0\ta\n0\tb\tb\r1\tc\n").expect_err("broken"),
            "2: a bare carriage return ends a line, others end with a line feed"
        );
        let inside = read("0\ta\rb\n").expect("sound");
        assert_eq!(inside[0].text, "a\rb", "one inside a text is part of it");
        assert_eq!(normal("Not OK!!  really"), normal("not ok, really"));
        assert_ne!(normal("😡"), normal("😍"), "marks alone are not all the same");
    }
}
