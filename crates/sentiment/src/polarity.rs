//! How a text feels: hits, what governs them, and their sum.

use event::{Evidence, Label};

use crate::{
    evidence,
    lexicon::{Entry, Found, Kind, Lexicon},
    rounded,
    tokens::{Token, Tokens},
};

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// Whether anything spoke of good or bad.
    pub scored: bool,
    /// −1 to 1.
    pub score: f64,
    /// The sum of what is bad, positive.
    pub neg: f64,
    /// The sum of what is good.
    pub pos: f64,
    /// Whether the text speaks both ways.
    pub mixed: bool,
    /// The share of words with a hit.
    pub coverage: f64,
    /// How far the label's confidence may be trusted: less where irony or contradiction is about.
    pub trust: f64,
    /// What decided.
    pub evidence: Vec<Evidence>,
}

/// A word denied loses some of its strength: Hutto and Gilbert's figure.
const DENIED: f64 = -0.74;
/// How many words a negation or an intensifier reaches.
const REACH: usize = 3;
/// What each further word of distance leaves of an intensifier.
const FADING: [f64; REACH] = [1.0, 0.95, 0.9];
/// Capitals in a text that has small letters: Hutto and Gilbert's figure.
const CAPITALS: f64 = 0.733;
/// An exclamation mark, of at most four: theirs too.
const EXCLAMATION: f64 = 0.292;
/// Before and after a contrast.
const BEFORE: f64 = 0.5;
const AFTER: f64 = 1.5;
/// A bad thing that lasts.
const LASTING: f64 = 1.25;
/// A lone hit in a transcript.
const HEARD_ONCE: f64 = 0.7;
/// Where a sum begins to be much: Hutto and Gilbert's normalisation.
const MUCH: f64 = 15.0;

/// One good word is weak, one bad word is strong.
pub fn label(score: f64) -> Label {
    if score >= 0.33 {
        Label::Positive
    } else if score <= -0.05 {
        Label::Negative
    } else {
        Label::Neutral
    }
}

struct Hit {
    first: usize,
    last: usize,
    entry: u16,
    kind: Kind,
    weight: f64,
    rule: &'static str,
}

/// What governs each word.
struct Governors {
    negator: Vec<bool>,
    flipper: Vec<bool>,
    too: Vec<bool>,
    booster: Vec<f64>,
    taken: Vec<bool>,
}

/// Reads hits by the rules of the lexicon's language.
pub fn read(tokens: &Tokens, found: &[Found], lexicon: &Lexicon, emoji: &Lexicon, transcript: bool) -> Read {
    let words = &tokens.words;
    let (mut hits, governors) = collect(tokens, found, lexicon);
    let of_sentence = |kind: Kind| -> Vec<u32> {
        let of_kind = found.iter().filter(|hit| lexicon.entry(hit.entry).kind == kind);
        of_kind.map(|hit| words[hit.first].sentence).collect()
    };
    let (resolved, lasting) = (of_sentence(Kind::Resolved), of_sentence(Kind::Duration));
    let contrasts: Vec<usize> = found
        .iter()
        .filter(|hit| lexicon.entry(hit.entry).kind == Kind::Contrast && hit.first > 0)
        .map(|hit| hit.first)
        .collect();
    for hit in &mut hits {
        govern(hit, words, &governors, lexicon.lang, tokens.has_small && !transcript);
        let sentence = words[hit.first].sentence;
        if hit.kind == Kind::Event && resolved.contains(&sentence) {
            (hit.weight, hit.rule) = (0.0, "resolved");
        }
        if hit.weight < 0.0 && lasting.contains(&sentence) {
            hit.weight *= LASTING;
        }
        let mut here = contrasts.iter().filter(|at| words[**at].sentence == sentence);
        if let Some(at) = here.next_back() {
            hit.weight *= if hit.first < *at { BEFORE } else { AFTER };
        }
    }
    hits.retain(|hit| hit.kind != Kind::Functional || hit.rule == "negated");
    let events: Vec<u32> = hits
        .iter()
        .filter(|hit| hit.kind == Kind::Event && hit.weight < 0.0)
        .map(|hit| words[hit.first].sentence)
        .collect();
    let mut both = false;
    for hit in &mut hits {
        if hit.weight > 0.0 && events.contains(&words[hit.first].sentence) {
            (hit.weight, hit.rule, both) = (0.0, "muted", true);
        }
    }
    if transcript && hits.len() == 1 {
        hits[0].weight *= HEARD_ONCE;
    }
    let mut read = Read {
        trust: 1.0,
        ..Read::default()
    };
    for hit in &hits {
        let (first, last) = (&words[hit.first], &words[hit.last]);
        let entry = Some(lexicon.entry(hit.entry).term);
        read.evidence
            .push(evidence(first.start, last.end, hit.weight, hit.rule, entry));
    }
    let mut weights: Vec<f64> = hits.iter().map(|hit| hit.weight).collect();
    if !transcript {
        both |= marks(tokens, emoji, &events, &mut weights, &mut read.evidence);
    }
    sum(&weights, if transcript { 0 } else { tokens.exclamations }, &mut read);
    let ironic = found.iter().any(|hit| lexicon.entry(hit.entry).kind == Kind::Irony);
    read.mixed = both || (read.pos >= 1.0 && read.neg >= 1.0);
    read.trust = if ironic { 0.5 } else { 1.0 } * if read.mixed { 0.75 } else { 1.0 };
    let counted = words.iter().filter(|word| !word.masked).count();
    let covered: usize = hits.iter().map(|hit| 1 + hit.last - hit.first).sum();
    #[expect(clippy::cast_precision_loss, reason = "a text has few words")]
    if counted > 0 {
        read.coverage = rounded((covered as f64 / counted as f64).min(1.0));
    }
    read
}

fn sum(weights: &[f64], exclamations: u32, read: &mut Read) {
    read.scored = !weights.is_empty();
    let mut total: f64 = weights.iter().sum();
    read.pos = rounded(weights.iter().filter(|weight| **weight > 0.0).sum());
    read.neg = rounded(-weights.iter().filter(|weight| **weight < 0.0).sum::<f64>());
    if total != 0.0 {
        total += total.signum() * EXCLAMATION * f64::from(exclamations.min(4));
    }
    read.score = rounded(total / (total * total + MUCH).sqrt());
}

/// Emoji and emoticons. Negation leaves them alone; beside an event a good one does not count. Returns whether one was muted so.
fn marks(tokens: &Tokens, emoji: &Lexicon, events: &[u32], weights: &mut Vec<f64>, said: &mut Vec<Evidence>) -> bool {
    let mut muted = false;
    let mut until = 0;
    for (start, sentence) in &tokens.marks {
        let Some((entry, length)) = (*start >= until)
            .then(|| emoji.mark(&tokens.text()[*start as usize..]))
            .flatten()
        else {
            continue;
        };
        until = start + u32::try_from(length).unwrap_or(u32::MAX);
        let Entry { term, weight, .. } = *emoji.entry(entry);
        let (weight, rule) = if weight > 0.0 && events.contains(sentence) {
            muted = true;
            (0.0, "muted")
        } else {
            (weight, "emoji")
        };
        weights.push(weight);
        said.push(evidence(*start, until, weight, rule, Some(term)));
    }
    muted
}

/// Polar hits, longest first and none inside another, and what governs.
fn collect(tokens: &Tokens, found: &[Found], lexicon: &Lexicon) -> (Vec<Hit>, Governors) {
    let words = &tokens.words;
    let mut governors = Governors {
        negator: vec![false; words.len()],
        flipper: vec![false; words.len()],
        too: vec![false; words.len()],
        booster: vec![0.0; words.len()],
        taken: vec![false; words.len()],
    };
    let mut hits: Vec<Hit> = Vec::new();
    let mut free = 0;
    for hit in found {
        let Entry { kind, weight, .. } = *lexicon.entry(hit.entry);
        if !kind.is_polar() || hit.first < free || words[hit.first].masked {
            continue;
        }
        // A word that is both weighs by its first meaning; phrases come before the words in them.
        free = hit.last + 1;
        governors.taken[hit.first..=hit.last].fill(true);
        hits.push(Hit {
            first: hit.first,
            last: hit.last,
            entry: hit.entry,
            kind,
            weight,
            rule: kind.as_str(),
        });
    }
    for (index, word) in words.iter().enumerate() {
        if !governors.taken[index] && !word.masked {
            hits.extend(derived(index, tokens.norm(word), lexicon));
        }
    }
    hits.sort_by_key(|hit| hit.first);
    for hit in found {
        let Entry { kind, weight, .. } = *lexicon.entry(hit.entry);
        let span = hit.first..=hit.last;
        // What is part of a longer phrase governs nothing outside it.
        let part = hits
            .iter()
            .any(|polar| polar.first != polar.last && polar.first <= hit.first && hit.last <= polar.last);
        if part {
            continue;
        }
        match kind {
            Kind::Negator => governors.negator[span].fill(true),
            Kind::Flipper => governors.flipper[span].fill(true),
            Kind::Too => governors.too[span].fill(true),
            Kind::Booster => governors.booster[hit.last] = weight,
            _ => {}
        }
    }
    (hits, governors)
}

/// Applies what stands around a hit. Negation turns round once, however many negators there are.
fn govern(hit: &mut Hit, words: &[Token], by: &Governors, lang: &str, capitals: bool) {
    if hit.kind == Kind::Idiom {
        return;
    }
    let clause = words[hit.first].clause;
    let near = |index: usize| words[index].clause == clause;
    let before = (hit.first.saturating_sub(REACH)..hit.first).filter(|index| near(*index));
    let after = (hit.last + 1..words.len().min(hit.last + 1 + REACH)).filter(|index| near(*index));
    let sign = hit.weight.signum();
    if hit.kind == Kind::Word {
        for index in before.clone() {
            hit.weight += sign * by.booster[index] * FADING[hit.first - index - 1];
        }
        if capitals && words[hit.first].caps {
            hit.weight += sign * CAPITALS;
        }
    }
    let denied_before = before.clone().any(|index| by.negator[index]);
    // Dutch and Italian deny a verb from behind: werkt niet, funziona mica.
    let denied_behind = hit.kind == Kind::Functional && lang != "en" && after.clone().any(|index| by.negator[index]);
    let direct = hit.first.checked_sub(1).filter(|index| near(*index));
    if denied_before || denied_behind {
        hit.rule = "negated";
        hit.weight *= match hit.kind {
            Kind::Functional => -1.0,
            Kind::Event => 0.0,
            _ => DENIED,
        };
    } else if direct.is_some_and(|index| by.flipper[index]) {
        (hit.weight, hit.rule) = (hit.weight * DENIED, "flipped");
    } else if direct.is_some_and(|index| by.too[index]) {
        hit.weight *= if hit.weight > 0.0 { -0.5 } else { 1.2 };
        hit.rule = "too";
    }
}

/// Words that are no entry but are made of one.
fn derived(index: usize, form: &str, lexicon: &Lexicon) -> Option<Hit> {
    let (entry, weight, rule) = match lexicon.lang {
        "en" => without(form, "un").and_then(|rest| opposite(rest, lexicon)),
        "nl" => dutch(form, lexicon),
        "it" => italian(form, lexicon),
        _ => None,
    }?;
    Some(Hit {
        first: index,
        last: index,
        entry,
        kind: Kind::Word,
        weight,
        rule,
    })
}

type Derived = (u16, f64, &'static str);

/// What is left of a form without a beginning, if that can be a word.
fn without<'a>(form: &'a str, beginning: &str) -> Option<&'a str> {
    form.strip_prefix(beginning).filter(|rest| rest.chars().count() >= 4)
}

fn opposite(rest: &str, lexicon: &Lexicon) -> Option<Derived> {
    let (entry, weight) = lexicon.feels(rest)?;
    (weight > 0.0).then_some((entry, weight * DENIED, "opposite"))
}

/// Super-, top- and the like; kut-, klote-; -on-; and the last part of a compound.
fn dutch(form: &str, lexicon: &Lexicon) -> Option<Derived> {
    for beginning in ["super", "top", "mega", "reuze", "ultra"] {
        let rest = without(form, beginning).and_then(|rest| lexicon.feels(rest));
        if let Some((entry, weight)) = rest {
            return Some((entry, weight + weight.signum() * 0.6, "compound"));
        }
    }
    for beginning in ["kut", "klote"] {
        if without(form, beginning).is_some()
            && let Some((entry, weight)) = lexicon.feels(beginning)
        {
            return Some((entry, weight, "compound"));
        }
    }
    let starts = form.char_indices().map(|(at, _)| at);
    for at in starts.filter(|at| form.len() - at >= 5) {
        let (before, rest) = form.split_at(at);
        if let Some(unless) = before.strip_suffix("on")
            && (unless.is_empty() || unless.len() >= 3)
            && let Some(derived) = opposite(rest, lexicon)
        {
            return Some(derived);
        }
        if before.len() >= 3
            && let Some((entry, weight)) = lexicon.feels(rest)
        {
            return Some((entry, weight * 0.8, "compound"));
        }
    }
    None
}

/// -issimo and its like.
fn italian(form: &str, lexicon: &Lexicon) -> Option<Derived> {
    let stem = ["issimo", "issima", "issimi", "issime"]
        .iter()
        .find_map(|ending| form.strip_suffix(ending))?;
    ["o", "a", "e", "i"].iter().find_map(|vowel| {
        let (entry, weight) = lexicon.feels(&format!("{stem}{vowel}"))?;
        Some((entry, weight * 1.4, "superlative"))
    })
}
