//! Sources that disagree, by weight; our own words above all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::formats::{Shape, Votes};
use crate::manifest::Lexicon;

/// The first line of a lexicon.
pub const HEADER: &str = "term\tweight\tkind\tsource";
/// Weaker words say nothing.
const FAINT: f64 = 0.25;

/// One of our own rows.
pub struct Own {
    term: String,
    weight: String,
    kind: String,
}

impl Own {
    /// Kinds that settle what a term is worth, so that no source adds to it.
    fn settles(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "word"
                | "idiom"
                | "event"
                | "functional"
                | "plain"
                | "greeting"
                | "closing"
                | "contrast"
                | "quote"
                | "negator"
                | "flipper"
                | "booster"
                | "too"
                | "filler"
                | "number"
                | "emoji"
                | "emoticon"
        )
    }
}

/// Reads `term, weight, kind, source` under the header; the source is ours.
pub fn own(text: &str) -> Result<Vec<Own>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("line 1: header must be {HEADER:?}"));
    }
    let mut seen = BTreeSet::new();
    let mut rows = Vec::new();
    for (index, line) in lines.enumerate() {
        let number = index + 2;
        let cells: Vec<&str> = line.split('\t').collect();
        let [term, weight, kind, "waymark"] = cells[..] else {
            return Err(format!(
                "line {number}: term, weight, kind and the source waymark expected"
            ));
        };
        if weight.parse::<f64>().is_err() {
            return Err(format!("line {number}: weight is no number: found={weight}"));
        }
        if !seen.insert((term, kind)) {
            return Err(format!("line {number}: said twice: term={term} kind={kind}"));
        }
        rows.push(Own {
            term: term.to_owned(),
            weight: weight.to_owned(),
            kind: kind.to_owned(),
        });
    }
    Ok(rows)
}

/// Our rows as they are, then what the sources say of other terms: Σ weight·vote / max(1, Σ weight), over the sources that know it;
/// of a good vote counts what its source's `good` leaves.
pub fn merge(own: &[Own], sources: &[(&Lexicon, Votes)]) -> String {
    let mut rows: BTreeMap<(&str, &str), (String, String)> = BTreeMap::new();
    let mut settled = BTreeSet::new();
    for row in own {
        if row.settles() {
            settled.insert(row.term.as_str());
        }
        rows.insert((&row.kind, &row.term), (row.weight.clone(), "waymark".to_owned()));
    }
    let negators: BTreeSet<&str> = own
        .iter()
        .filter(|row| row.kind == "negator")
        .map(|row| row.term.as_str())
        .collect();
    let terms: BTreeSet<&(String, Shape)> = sources.iter().flat_map(|(_, votes)| votes.keys()).collect();
    for key in terms {
        let (term, shape) = key;
        // A phrase with a negator in it would be turned round twice: that is our rules' work.
        let denied = term.contains(' ') && term.split([' ', '\'']).any(|word| negators.contains(word));
        if settled.contains(term.as_str()) || denied {
            continue;
        }
        let (mut sum, mut weight) = (0.0, 0.0);
        let mut names: Vec<&str> = Vec::new();
        for (lexicon, votes) in sources {
            if let Some(vote) = votes.get(key) {
                let left = if *vote > 0.0 { lexicon.good } else { 1.0 };
                sum += lexicon.weight * vote * left;
                weight += lexicon.weight;
                names.push(&lexicon.artefact);
            }
        }
        names.dedup();
        let value = sum / f64::max(1.0, weight);
        if value.abs() < FAINT {
            continue;
        }
        let kind = match shape {
            Shape::Word => "word",
            Shape::Stem => "stem",
            Shape::Emoji => "emoji",
        };
        rows.insert((kind, term), (format!("{value:.2}"), names.join("+")));
    }
    let mut text = format!("{HEADER}\n");
    for ((kind, term), (weight, source)) in rows {
        let _ = writeln!(text, "{term}\t{weight}\t{kind}\t{source}");
    }
    text
}

/// The weighed words of a lexicon that was merged.
pub fn words(text: &str) -> BTreeMap<String, f64> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [term, weight, "word", _] = cells[..] else {
            return None;
        };
        Some((term.to_owned(), weight.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Format;

    fn lexicon(name: &str, weight: f64) -> Lexicon {
        Lexicon {
            lang: "it".into(),
            artefact: name.into(),
            path: "p".into(),
            format: Format::Json,
            weight,
            scale: 1.0,
            good: 1.0,
        }
    }

    fn votes(terms: &[(&str, f64)]) -> Votes {
        terms
            .iter()
            .map(|(term, weight)| (((*term).to_owned(), Shape::Word), *weight))
            .collect()
    }

    #[test]
    fn sources_vote_by_weight_and_ours_settle() {
        let own = own(
            "term\tweight\tkind\tsource\nma\t1\tcontrast\twaymark\nbasta\t0\tplain\twaymark\nbello\t2\tword\twaymark\n",
        )
        .expect("sound");
        let (good, poor) = (lexicon("good", 0.9), lexicon("poor", 0.3));
        let sources = [
            (
                &good,
                votes(&[("bello", 3.0), ("basta", -2.0), ("buono", 2.0), ("alto", 0.2)]),
            ),
            (&poor, votes(&[("buono", -2.0), ("acre", -2.0), ("alto", 0.0)])),
        ];
        assert_eq!(
            merge(&own, &sources),
            "term\tweight\tkind\tsource\nma\t1\tcontrast\twaymark\nbasta\t0\tplain\twaymark\nacre\t-0.60\tword\tpoor\nbello\t2\tword\twaymark\nbuono\t1.00\tword\tgood+poor\n"
        );
    }

    #[test]
    fn good_words_may_count_less_than_bad_ones() {
        let modest = Lexicon {
            good: 0.5,
            ..lexicon("modest", 1.0)
        };
        assert_eq!(
            merge(&[], &[(&modest, votes(&[("bello", 3.0), ("brutto", -3.0)]))]),
            "term\tweight\tkind\tsource\nbello\t1.50\tword\tmodest\nbrutto\t-3.00\tword\tmodest\n"
        );
    }

    #[test]
    fn our_own_rows_are_checked() {
        let read = |text| own(text).map(|_| ()).expect_err("broken");
        assert_eq!(read("x"), format!("line 1: header must be {HEADER:?}"));
        assert_eq!(
            read("term\tweight\tkind\tsource\na\t1\tword\tother\n"),
            "line 2: term, weight, kind and the source waymark expected"
        );
        assert_eq!(
            read("term\tweight\tkind\tsource\na\t1\tword\twaymark\na\t2\tword\twaymark\n"),
            "line 3: said twice: term=a kind=word"
        );
    }
}
