//! What stands around a hit and bears on it: negation, intensifiers, *too*.

use super::{By, Governor, Hit, Sentence};
use crate::{
    lexicon::{Found, Kind},
    rules::Rules,
    tokens::{Token, Tokens},
};

/// Turns an idiom round if a negator stands before it: *did not like it*. One that holds a negator means what it says.
pub fn deny(hit: &mut Hit, words: &[Token], governors: &mut [Governor], rules: &Rules) {
    let first = hit.first as usize;
    let before = words[..first].iter().zip(governors.iter_mut()).rev();
    let near = before.take(rules.negation.reach);
    let mut near = near.take_while(|(word, _)| word.clause == words[first].clause);
    let Some((_, negator)) = near.find(|(_, governor)| governor.negator) else {
        return;
    };
    (negator.used, hit.rule) = (true, "negated");
    hit.weight *= if hit.weight > 0.0 {
        -rules.negation.good
    } else {
        -rules.negation.bad
    };
}

/// Applies what stands around a hit. Negation turns round once, however many negators there are.
pub fn govern(hit: &mut Hit, words: &[Token], governors: &mut [Governor], rules: &Rules, capitals: bool) {
    let (first, last) = (hit.first as usize, hit.last as usize);
    let clause = words[first].clause;
    let sign = hit.weight.signum();
    let (mut denied, mut distance) = (false, 0);
    let mut direct: Option<Governor> = None;
    for index in (0..first).rev() {
        if words[index].clause != clause || distance == rules.negation.reach {
            break;
        }
        let governor = &mut governors[index];
        if governor.filler {
            continue;
        }
        direct = direct.or(Some(*governor));
        denied |= governor.negator;
        governor.used |= governor.negator;
        if hit.kind == Kind::Word {
            let fading = &rules.emphasis.fading;
            hit.weight += sign * governor.booster * fading.get(distance).copied().unwrap_or_default();
        }
        distance += 1;
    }
    // Dutch, German and Italian deny a verb from behind: werkt niet, funziona mica.
    if matches!(hit.kind, Kind::Functional | Kind::Word) && !denied {
        let reach = if hit.kind == Kind::Functional {
            rules.negation.behind
        } else {
            rules.negation.word_behind
        };
        let behind = words.iter().zip(governors.iter_mut()).skip(last + 1).take(reach);
        let negator = behind
            .take_while(|(word, _)| word.clause == clause)
            .find(|(_, governor)| governor.negator);
        if let Some((_, governor)) = negator {
            (denied, governor.used) = (true, true);
        }
    }
    if hit.kind == Kind::Word && capitals && words[first].caps {
        hit.weight += sign * rules.emphasis.capitals;
    }
    if denied {
        hit.rule = "negated";
        hit.weight *= match hit.kind {
            Kind::Functional => -1.0,
            Kind::Event => 0.0,
            _ if hit.weight > 0.0 => -rules.negation.good,
            _ => -rules.negation.bad,
        };
    } else if direct.is_some_and(|governor| governor.flipper) {
        (hit.weight, hit.rule) = (hit.weight * -rules.negation.good, "flipped");
    } else if direct.is_some_and(|governor| governor.too) {
        hit.weight *= if hit.weight > 0.0 {
            rules.emphasis.too_good
        } else {
            rules.emphasis.too_bad
        };
        hit.rule = "too";
    }
}

/// What deny and *too* say by themselves: they speak of something missing or in excess, whatever the words beside them.
pub fn bare(
    hits: &mut Vec<Hit>,
    tokens: &Tokens,
    found: &[Found],
    governors: &mut [Governor],
    sentences: &[Sentence],
    by: By<'_>,
) {
    let (rules, words) = (by.rules, &tokens.words);
    for hit in hits.iter() {
        governors[hit.first as usize].felt = true;
    }
    let known = hits.len();
    let mut said = u32::MAX;
    for found in found {
        let kind = by.lexicon.entry(found.entry).kind;
        let (first, last) = (found.first as usize, found.last as usize);
        let governor = &governors[first];
        if words[first].masked || governor.taken || governor.named {
            continue;
        }
        let (weight, rule) = match kind {
            Kind::Negator if !governor.used && words[first].clause != said => {
                let asks = sentences[words[first].sentence as usize].asks;
                let left = if asks { rules.negation.asking } else { 1.0 };
                (rules.negation.alone * left, "denial")
            }
            Kind::Too => {
                let next = words.get(last + 1).filter(|next| next.clause == words[last].clause);
                let infinitive = |form: &str| {
                    rules
                        .words
                        .infinitives
                        .iter()
                        .any(|ending| form.ends_with(ending.as_str()))
                };
                // A word that is felt is weighed by the rule that *too* governs it by.
                if next.is_none_or(|next| infinitive(tokens.norm(next))) || governors[last + 1].felt {
                    continue;
                }
                (rules.emphasis.too_plain, "too")
            }
            _ => continue,
        };
        if weight == 0.0 {
            continue;
        }
        said = words[first].clause;
        hits.push(Hit {
            first: found.first,
            last: found.last,
            entry: found.entry,
            kind: Kind::Idiom,
            weight,
            rule,
        });
    }
    if hits.len() > known {
        hits.sort_unstable_by_key(|hit| (hit.first, hit.entry));
    }
}
