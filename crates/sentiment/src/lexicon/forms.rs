//! Forms of words: those of a term, without an ending or a beginning, without accents.

use crate::{rules::Words, tokens::Tokens};

/// A term's words as those of a text would be.
pub fn forms(term: &str, elisions: bool, tokens: &mut Tokens) -> Vec<String> {
    let mut forms: Vec<String> = Vec::new();
    for part in term.split(' ') {
        if part == "#" {
            forms.push("#".to_owned());
            continue;
        }
        tokens.read(part, elisions);
        forms.extend(tokens.words.iter().map(|token| tokens.norm(token).to_owned()));
    }
    forms
}

/// What remains without the longest ending.
pub fn stem_of<'a>(folded: &'a str, words: &Words) -> &'a str {
    let longest = words.endings.iter().find_map(|ending| {
        let stem = folded.strip_suffix(ending.as_str())?;
        (stem.chars().count() >= words.stem_letters).then_some(stem)
    });
    longest.unwrap_or(folded)
}

/// What is left of a form without an ending; the last byte rules out most.
pub fn strip_end<'a>(form: &'a str, ending: &str) -> Option<&'a str> {
    if form.as_bytes().last() == ending.as_bytes().last() {
        form.strip_suffix(ending)
    } else {
        None
    }
}

/// What is left of a form without a beginning; the first byte rules out most.
pub fn strip_begin<'a>(form: &'a str, beginning: &str) -> Option<&'a str> {
    if form.as_bytes().first() == beginning.as_bytes().first() {
        form.strip_prefix(beginning)
    } else {
        None
    }
}

/// A form without accents: sources and customers leave them out.
pub fn fold(form: &str, into: &mut String) {
    into.clear();
    into.extend(form.chars().map(|letter| match letter {
        'à' | 'á' | 'â' | 'ä' | 'ã' => 'a',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ò' | 'ó' | 'ô' | 'ö' | 'õ' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    }));
}
