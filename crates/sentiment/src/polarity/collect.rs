//! What a text holds: its hits, and what governs them.

use super::{Buffers, By, Governor, Hit};
use crate::{
    derive,
    lexicon::{Found, Kind, strip_end},
    tokens::Tokens,
};

/// Polar hits, longest first and none inside another, and what governs.
pub fn collect(tokens: &Tokens, found: &[Found], by: By<'_>, buffers: &mut Buffers) {
    let lexicon = by.lexicon;
    let words = &tokens.words;
    let Buffers {
        hits,
        governors,
        derive,
        ..
    } = buffers;
    governors.clear();
    governors.resize(words.len(), Governor::default());
    hits.clear();
    if by.rules.emphasis.named < 1.0 && !by.transcript {
        name(tokens, governors);
    }
    let mut free = 0;
    for hit in found {
        let entry = lexicon.entry(hit.entry);
        let settles = entry.kind.is_polar() || entry.kind == Kind::Plain;
        if !settles || hit.first < free || words[hit.first as usize].masked {
            continue;
        }
        // A word that is both weighs by its first meaning; phrases come before the words in them.
        free = hit.last + 1;
        let phrase = if hit.first < hit.last { hit.first + 1 } else { 0 };
        for word in &mut governors[hit.first as usize..=hit.last as usize] {
            (word.taken, word.phrase) = (true, phrase);
        }
        hits.push(Hit {
            first: hit.first,
            last: hit.last,
            entry: hit.entry,
            kind: entry.kind,
            weight: entry.weight,
            rule: entry.kind.as_str(),
        });
    }
    let named = |hit: &Hit, governors: &[Governor]| hit.kind == Kind::Word && governors[hit.first as usize].named;
    for hit in hits.iter_mut().filter(|hit| named(hit, governors)) {
        (hit.weight, hit.rule) = (hit.weight * by.rules.emphasis.named, "named");
    }
    for hit in found {
        let entry = lexicon.entry(hit.entry);
        let governs = matches!(
            entry.kind,
            Kind::Negator | Kind::Flipper | Kind::Too | Kind::Booster | Kind::Filler
        );
        // What is part of a longer phrase governs nothing outside it.
        let phrase = governors[hit.first as usize].phrase;
        let named = governors[hit.first as usize].named;
        if !governs || named || (phrase > 0 && phrase == governors[hit.last as usize].phrase) {
            continue;
        }
        for word in &mut governors[hit.first as usize..=hit.last as usize] {
            word.negator |= entry.kind == Kind::Negator;
            word.flipper |= entry.kind == Kind::Flipper;
            word.too |= entry.kind == Kind::Too;
            word.filler |= entry.kind == Kind::Filler && by.transcript;
        }
        if entry.kind == Kind::Booster {
            governors[hit.last as usize].booster = entry.weight;
        }
    }
    let known = hits.len();
    for (index, word) in (0..).zip(words) {
        let governor = &mut governors[index as usize];
        if governor.taken
            || governor.named
            || word.masked
            || governor.negator
            || governor.booster != 0.0
            || governor.flipper
        {
            continue;
        }
        let form = tokens.norm(word);
        if by
            .rules
            .negation
            .endings
            .iter()
            .any(|ending| strip_end(form, ending).is_some())
        {
            governor.negator = true;
            continue;
        }
        if let Some((entry, weight, rule)) = derive::derive(form, lexicon, by.rules, derive) {
            hits.push(Hit {
                first: index,
                last: index,
                entry,
                kind: Kind::Word,
                weight,
                rule,
            });
        }
    }
    hits.retain(|hit| hit.kind != Kind::Plain && hit.weight != 0.0);
    if known > 0 {
        hits.sort_unstable_by_key(|hit| hit.first);
    }
}

/// Finds names of several words: two with a capital side by side inside a sentence, unless the whole text is written so.
fn name(tokens: &Tokens, governors: &mut [Governor]) {
    let words = &tokens.words;
    if tokens.titles < 2 || tokens.titles as usize * 2 > words.len() {
        return;
    }
    for index in 1..words.len() {
        let (before, word) = (&words[index - 1], &words[index]);
        if before.title && word.title && before.clause == word.clause {
            (governors[index - 1].named, governors[index].named) = (true, true);
        }
    }
}
