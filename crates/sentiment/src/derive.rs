//! Words that are no entry but are made of one.

use crate::{
    lexicon::{Lexicon, fold, strip_begin, strip_end},
    rules::{Rules, Words},
};

/// An entry, the word's weight, and the rule that made it.
pub type Derived = (u16, f64, &'static str);

/// Buffers of one word after the other.
#[derive(Debug, Default)]
pub struct Buffers {
    folded: String,
    made: String,
}

/// A word that is longer is none that can be taken apart: so that a text's time grows with its length alone.
const LONGEST: usize = 64;
/// Letters that a part of a word must have.
const PART: usize = 4;
/// A word that is shorter is no compound.
const COMPOUND: usize = 9;
/// Nor has it a shorter last part: many words end in what is a short word by chance.
const LAST: usize = 6;

/// What a word that has no entry is worth by what it is made of.
pub fn derive(form: &str, lexicon: &Lexicon, rules: &Rules, buffers: &mut Buffers) -> Option<Derived> {
    if form.len() < PART || form.len() > LONGEST || form.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    let words = &rules.words;
    if let Some((entry, weight)) = stretched(form, lexicon, &mut buffers.made) {
        return Some((entry, weight + weight.signum() * rules.emphasis.stretched, "stretched"));
    }
    if let Some(derived) = superlative(form, lexicon, words, &mut buffers.made) {
        return Some(derived);
    }
    if words.stem_factor > 0.0
        && let Some((entry, weight)) = by_stem(form, lexicon, words, &mut buffers.folded)
        && !lexicon.knows(form)
    {
        return Some((entry, weight * words.stem_factor, "stem"));
    }
    affixed(form, lexicon, rules, buffers)
}

/// A letter drawn out: bruttooo, sooo gooood.
fn stretched(form: &str, lexicon: &Lexicon, made: &mut String) -> Option<(u16, f64)> {
    let bytes = form.as_bytes();
    if !bytes
        .windows(3)
        .any(|three| three[0] == three[1] && three[1] == three[2])
    {
        return None;
    }
    for keep in [2, 1] {
        made.clear();
        let (mut before, mut run) = ('\0', 0);
        for letter in form.chars() {
            run = if letter == before { run + 1 } else { 1 };
            before = letter;
            if run > 2 || (run == 2 && keep == 1 && is_long(form, letter)) {
                continue;
            }
            made.push(letter);
        }
        if let Some(found) = lexicon.feels(made) {
            return Some(found);
        }
    }
    None
}

/// Whether a letter stands three times in a row somewhere.
fn is_long(form: &str, letter: char) -> bool {
    let (mut run, mut longest) = (0, 0);
    for other in form.chars() {
        run = if other == letter { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest >= 3
}

/// -issimo and its like.
fn superlative(form: &str, lexicon: &Lexicon, words: &Words, made: &mut String) -> Option<Derived> {
    let stem = words.superlatives.iter().find_map(|ending| strip_end(form, ending))?;
    ["o", "a", "e", "i", "", "te"].iter().find_map(|vowel| {
        made.clear();
        made.push_str(stem);
        made.push_str(vowel);
        let (entry, weight) = lexicon.feels(made)?;
        Some((entry, weight * words.superlative, "superlative"))
    })
}

/// A word by itself or by its stem.
fn feels(form: &str, lexicon: &Lexicon, words: &Words, folded: &mut String) -> Option<(u16, f64)> {
    let felt = if lexicon.may_feel(form) {
        lexicon.feels(form)
    } else {
        None
    };
    felt.or_else(|| by_stem(form, lexicon, words, folded))
}

/// A word by its stem; one without accents is not copied.
fn by_stem(form: &str, lexicon: &Lexicon, words: &Words, folded: &mut String) -> Option<(u16, f64)> {
    if form.is_ascii() {
        return lexicon.feels_by_stem(form, words);
    }
    fold(form, folded);
    lexicon.feels_by_stem(folded, words)
}

/// What is left of a form without a beginning, if that can be a word.
fn without<'a>(form: &'a str, beginning: &str) -> Option<&'a str> {
    strip_begin(form, beginning).filter(|rest| rest.len() >= PART)
}

/// Beginnings that strengthen, damn or turn round, and the last part of a compound.
fn affixed(form: &str, lexicon: &Lexicon, rules: &Rules, buffers: &mut Buffers) -> Option<Derived> {
    let words = &rules.words;
    let folded = &mut buffers.folded;
    for beginning in &words.strong {
        let rest = without(form, beginning).and_then(|rest| feels(rest, lexicon, words, folded));
        if let Some((entry, weight)) = rest {
            return Some((entry, weight + weight.signum() * words.strengthens, "compound"));
        }
    }
    for beginning in &words.bad {
        if strip_begin(form, beginning).is_some_and(|rest| rest.len() > 2)
            && let Some((entry, weight)) = lexicon.feels(beginning)
        {
            return Some((entry, weight, "compound"));
        }
    }
    for beginning in &words.opposite {
        let rest = without(form, beginning).and_then(|rest| feels(rest, lexicon, words, folded));
        if let Some((entry, weight)) = rest.filter(|(_, weight)| *weight > 0.0) {
            return Some((entry, -weight * rules.negation.good, "opposite"));
        }
    }
    for end in &words.without {
        let rest = strip_end(form, end).filter(|rest| rest.len() >= PART);
        if let Some((entry, weight)) = rest.and_then(|rest| feels(rest, lexicon, words, folded)) {
            return Some((entry, -weight * rules.negation.good, "without"));
        }
    }
    if words.compounds && form.len() >= COMPOUND {
        return compound(form, lexicon, rules);
    }
    None
}

/// The longest last part that is a word, turned round where a beginning that turns round stands before it.
fn compound(form: &str, lexicon: &Lexicon, rules: &Rules) -> Option<Derived> {
    let starts = form.char_indices().map(|(at, _)| at).skip(3);
    for at in starts.take_while(|at| form.len() - at >= LAST) {
        let last = &form[at..];
        let Some((entry, weight)) = lexicon.may_feel(last).then(|| lexicon.feels(last)).flatten() else {
            continue;
        };
        let turned = rules
            .words
            .opposite
            .iter()
            .any(|beginning| form[..at].ends_with(beginning.as_str()));
        return Some(if turned && weight > 0.0 {
            (entry, -weight * rules.negation.good, "opposite")
        } else {
            (entry, weight * rules.words.compound_factor, "compound")
        });
    }
    None
}
