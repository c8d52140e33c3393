//! The ways in which word lists are written.

use std::collections::BTreeMap;

use crate::manifest::{Format, Lexicon};

/// What a source says about a term: the mean over its senses, on −4..4.
pub type Votes = BTreeMap<(String, Shape), f64>;

/// Whether a term is a word or the beginning of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// A word or phrase.
    Word,
    /// What remains without endings.
    Stem,
    /// A pictograph.
    Emoji,
}

/// Shorter stems are the beginning of too much.
const SHORTEST_STEM: usize = 4;

/// Reads a word list. `rated` are the English words that rate names of emoji.
pub fn read(lexicon: &Lexicon, text: &str, rated: &BTreeMap<String, f64>) -> Result<Votes, String> {
    let mut senses: BTreeMap<(String, Shape), (f64, f64)> = BTreeMap::new();
    let mut vote = |term: &str, shape: Shape, weight: f64| {
        let term = if shape == Shape::Emoji {
            term.to_owned()
        } else {
            clean(term)
        };
        let long = shape != Shape::Stem || term.chars().count() >= SHORTEST_STEM;
        if long && (shape == Shape::Emoji || is_words(&term)) {
            let sum = senses.entry((term, shape)).or_default();
            sum.0 += weight * lexicon.scale;
            sum.1 += 1.0;
        }
    };
    match lexicon.format {
        Format::Tab => {
            for (number, line) in text.lines().enumerate() {
                let mut cells = line.split('\t');
                let (Some(term), Some(weight)) = (cells.next(), cells.next()) else {
                    if line.trim().is_empty() {
                        continue;
                    }
                    return Err(format!("line {}: a tab expected", number + 1));
                };
                vote(term, Shape::Word, number_in(weight, number)?);
            }
        }
        Format::Js => {
            for (number, line) in text.lines().enumerate() {
                let line = line.trim().trim_end_matches(',');
                let Some((term, weight)) = line.rsplit_once(": ") else {
                    continue;
                };
                if weight.parse::<f64>().is_ok() {
                    vote(term.trim_matches(['\'', '"']), Shape::Word, number_in(weight, number)?);
                }
            }
        }
        Format::Json | Format::Stems => {
            let shape = if lexicon.format == Format::Stems {
                Shape::Stem
            } else {
                Shape::Word
            };
            let terms: BTreeMap<String, f64> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            for (term, weight) in terms {
                vote(&term, shape, weight);
            }
        }
        Format::Pattern => {
            for (number, line) in text.lines().enumerate() {
                let line = line.trim_start();
                if !line.starts_with("<word ") {
                    continue;
                }
                let polarity =
                    attribute(line, "polarity").ok_or_else(|| format!("line {}: no polarity", number + 1))?;
                let form = attribute(line, "form").ok_or_else(|| format!("line {}: no form", number + 1))?;
                vote(form, Shape::Word, number_in(polarity, number)?);
            }
        }
        Format::EmojiNames => {
            for line in text.lines() {
                let Some((emoji, name)) = line.split_once('\t') else {
                    continue;
                };
                let mut letters = emoji.chars().filter(|letter| *letter != '\u{fe0f}');
                if let (Some(letter), None) = (letters.next(), letters.next()) {
                    let felt: f64 = name.split([' ', '-']).filter_map(|word| rated.get(word)).sum();
                    vote(&letter.to_string(), Shape::Emoji, felt.clamp(-3.0, 3.0));
                }
            }
        }
    }
    Ok(senses.into_iter().map(|(term, (sum, n))| (term, sum / n)).collect())
}

fn number_in(cell: &str, line: usize) -> Result<f64, String> {
    cell.trim()
        .parse()
        .map_err(|_| format!("line {}: no number: found={cell}", line + 1))
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let begin = line.find(&format!(" {name}=\""))? + name.len() + 3;
    let end = begin + line[begin..].find('"')?;
    Some(&line[begin..end])
}

/// Lower case, one space between words, straight apostrophes.
fn clean(term: &str) -> String {
    let term = term.to_lowercase().replace('’', "'").replace(['_', '-'], " ");
    term.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Letters, digits, spaces and apostrophes, and at least two letters: no emoticons, no tags.
fn is_words(term: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || letter == ' ' || letter == '\'';
    term.chars().all(fits) && term.chars().filter(|letter| letter.is_alphabetic()).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon(format: Format) -> Lexicon {
        Lexicon {
            lang: "nl".into(),
            artefact: "a".into(),
            path: "p".into(),
            format,
            weight: 1.0,
            scale: 2.0,
            good: 1.0,
        }
    }

    fn votes(format: Format, text: &str) -> Vec<(String, f64)> {
        let none = BTreeMap::from([("joy".to_owned(), 1.4)]);
        let read = read(&lexicon(format), text, &none).expect("readable");
        read.into_iter().map(|((term, _), weight)| (term, weight)).collect()
    }

    #[test]
    fn senses_are_averaged_and_forms_cleaned() {
        let xml = "<!-- x -->\n<word form=\"Scherp\" wordnet_id=\"\" polarity=\"-0.5\" />\n<word form=\"scherp\" polarity=\"1.0\" />\n";
        assert_eq!(votes(Format::Pattern, xml), [("scherp".to_owned(), 0.5)]);
        assert_eq!(
            votes(Format::Tab, "good\t1.5\t0.2\n:)\t2\t0\n"),
            [("good".to_owned(), 3.0)]
        );
        assert_eq!(
            votes(Format::Js, "export const a = {\n  'can’t stand': -3,\n  bad: -1\n}"),
            [("bad".to_owned(), -2.0), ("can't stand".to_owned(), -6.0)]
        );
        assert_eq!(
            votes(Format::Stems, "{\"no\":-1,\"amabl\":0.5}"),
            [("amabl".to_owned(), 1.0)]
        );
        assert_eq!(
            votes(Format::EmojiNames, "😂\tface with tears of joy\n"),
            [("😂".to_owned(), 2.8)]
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        let none = BTreeMap::new();
        let read = |format, text| read(&lexicon(format), text, &none).expect_err("broken");
        assert_eq!(read(Format::Tab, "good\t1\nbad"), "line 2: a tab expected");
        assert_eq!(read(Format::Tab, "good\tx"), "line 1: no number: found=x");
        assert_eq!(read(Format::Pattern, "<word form=\"x\" />"), "line 1: no polarity");
    }
}
