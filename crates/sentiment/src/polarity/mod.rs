//! How a text feels: hits, what governs them, and their sum.

mod collect;
mod govern;
mod marks;

use event::Label;

use collect::collect;
use govern::{bare, deny, govern};
use marks::marks;

use crate::{
    derive,
    lexicon::{Found, Kind, Lexicon},
    rounded,
    rules::Rules,
    signals,
    tokens::Tokens,
};

/// What one hit says in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// First byte in the text.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// Its weight after the rules.
    pub weight: f64,
    /// The rule that decided it.
    pub rule: &'static str,
    /// The entry.
    pub entry: u16,
    /// Whether the entry is one of the table of emoji.
    pub emoji: bool,
}

/// What was read.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Read {
    /// Whether anything spoke of good or bad.
    pub scored: bool,
    /// −1 to 1.
    pub score: f64,
    /// The same without what exclamation marks add.
    pub unmarked: f64,
    /// The sum of what is bad, positive.
    pub neg: f64,
    /// The sum of what is good.
    pub pos: f64,
    /// How many hits there are.
    pub hits: u32,
    /// Whether the text speaks both ways.
    pub mixed: bool,
    /// The share of words with a hit.
    pub coverage: f64,
    /// How far the label's confidence may be trusted: less where irony or contradiction is about.
    pub trust: f64,
    /// Whether it names third parties, as news does, and is addressed to nobody.
    pub named: bool,
    /// Whether it points to a page, so that its words may be that page's.
    pub linked: bool,
}

/// What a score is called. Where third parties are named or a page is shown, one weak word is no complaint.
pub fn label(read: &Read, rules: &Rules) -> Label {
    let cut = &rules.cut;
    let (mut positive, mut negative, mut against) = (cut.positive, cut.negative, read.score);
    if read.named {
        // Who shouts about others need not complain: marks alone do not make a weak word a strong one here.
        (negative, against) = (negative.max(cut.negative_named), read.unmarked);
    }
    if read.linked {
        negative = negative.max(cut.negative_linked);
        positive = positive.max(cut.positive_linked);
    }
    if read.score >= positive {
        Label::Positive
    } else if against <= -negative {
        Label::Negative
    } else {
        Label::Neutral
    }
}

#[derive(Debug, Clone, Copy)]
struct Hit {
    first: u32,
    last: u32,
    entry: u16,
    kind: Kind,
    weight: f64,
    rule: &'static str,
}

/// What a word does to those around it.
#[derive(Debug, Clone, Copy, Default)]
struct Governor {
    negator: bool,
    flipper: bool,
    too: bool,
    booster: f64,
    taken: bool,
    filler: bool,
    /// A negator that turned something round.
    used: bool,
    /// One more than the first word of the polar phrase that it is part of, 0 if none.
    phrase: u32,
    /// A hit begins here.
    felt: bool,
    /// Part of a name of several words: Bad Blood.
    named: bool,
}

/// What a sentence holds that bears on its hits.
#[derive(Debug, Clone, Copy, Default)]
struct Sentence {
    /// One more than the last word of contrast, 0 if none.
    contrast: u32,
    resolved: bool,
    lasting: bool,
    event: bool,
    asks: bool,
}

/// Buffers of one reading after the other.
#[derive(Debug, Default)]
pub struct Buffers {
    hits: Vec<Hit>,
    governors: Vec<Governor>,
    sentences: Vec<Sentence>,
    derive: derive::Buffers,
}

/// A text with so many capitals inside its sentences names third parties.
const NAMES: u32 = 2;

/// What a text is read by.
#[derive(Clone, Copy)]
pub struct By<'a> {
    /// The language's terms.
    pub lexicon: &'a Lexicon,
    /// The language's rules.
    pub rules: &'a Rules,
    /// Marks of every language.
    pub emoji: &'a Lexicon,
    /// Whether it was spoken.
    pub transcript: bool,
}

/// Reads hits by the rules of a language; `said` gets what decided.
pub fn read(
    body: &str,
    tokens: &Tokens,
    found: &[Found],
    by: By<'_>,
    buffers: &mut Buffers,
    said: &mut Vec<Said>,
) -> Read {
    let By {
        lexicon,
        rules,
        transcript,
        ..
    } = by;
    let words = &tokens.words;
    collect(tokens, found, by, buffers);
    let Buffers {
        hits,
        governors,
        sentences,
        ..
    } = buffers;
    let count = words.last().map_or(0, |word| word.sentence as usize + 1);
    sentences.clear();
    sentences.resize(count, Sentence::default());
    for sentence in &tokens.asking {
        if let Some(sentence) = sentences.get_mut(*sentence as usize) {
            sentence.asks = true;
        }
    }
    let mut ironic = false;
    for (index, hit) in found.iter().enumerate() {
        let sentence = &mut sentences[words[hit.first as usize].sentence as usize];
        match lexicon.entry(hit.entry).kind {
            Kind::Contrast if hit.first > 0 => sentence.contrast = hit.first + 1,
            Kind::Resolved => sentence.resolved |= signals::is_meant(tokens, &found[..index], lexicon, hit),
            Kind::Duration => sentence.lasting = true,
            Kind::Irony => ironic = true,
            _ => {}
        }
    }
    for hit in hits.iter_mut() {
        if hit.kind != Kind::Idiom {
            govern(hit, words, governors, rules, tokens.has_small && !transcript);
        } else if !lexicon.entry(hit.entry).denies {
            deny(hit, words, governors, rules);
        }
        let sentence = sentences[words[hit.first as usize].sentence as usize];
        if hit.kind == Kind::Event && sentence.resolved {
            (hit.weight, hit.rule) = (0.0, signals::SETTLED);
        }
        // Who asks praises nothing yet (will it be on time?); a phrase of blame is often put as a question (how hard can it be?).
        let asked = hit.kind == Kind::Word || (hit.kind == Kind::Idiom && hit.weight > 0.0);
        if sentence.asks && asked {
            hit.weight *= rules.emphasis.asking;
        }
        if hit.weight < 0.0 && sentence.lasting {
            hit.weight *= rules.emphasis.lasting;
        }
        if sentence.contrast > 0 {
            hit.weight *= if hit.first + 1 < sentence.contrast {
                rules.contrast.before
            } else {
                rules.contrast.after
            };
        }
    }
    hits.retain(|hit| hit.kind != Kind::Functional || hit.rule == "negated");
    bare(hits, tokens, found, governors, sentences, by);
    for hit in hits.iter() {
        sentences[words[hit.first as usize].sentence as usize].event |= hit.kind == Kind::Event && hit.weight < 0.0;
    }
    let mut both = false;
    for hit in hits.iter_mut() {
        if hit.weight > 0.0 && sentences[words[hit.first as usize].sentence as usize].event {
            (hit.weight, hit.rule, both) = (0.0, "muted", true);
        }
    }
    if transcript && let [only] = &mut hits[..] {
        only.weight *= rules.spoken.once;
    }
    let (mut sums, mut covered) = (Sums::default(), 0);
    for hit in hits.iter() {
        sums.add(hit.weight);
        covered += 1 + hit.last - hit.first;
        let (start, end) = (words[hit.first as usize].start, words[hit.last as usize].end);
        said.push(Said {
            start,
            end,
            weight: hit.weight,
            rule: hit.rule,
            entry: hit.entry,
            emoji: false,
        });
    }
    if !transcript {
        let spoken = sums.total();
        let mut marked = Sums::default();
        both |= marks(body, tokens, by.emoji, sentences, &mut marked, said);
        both |= spoken * marked.total() < 0.0;
        sums.join(&marked);
    }
    let counted = words.iter().filter(|word| !word.masked).count();
    let exclamations = if transcript { 0 } else { tokens.exclamations };
    Read {
        named: tokens.titles >= NAMES && !tokens.addressed && !transcript,
        linked: tokens.links > 0 && !transcript,
        ..conclude(&sums, exclamations, rules, ironic, both, share(covered, counted))
    }
}

#[derive(Default)]
struct Sums {
    pos: f64,
    neg: f64,
    hits: u32,
}

impl Sums {
    fn add(&mut self, weight: f64) {
        self.hits += 1;
        *(if weight > 0.0 { &mut self.pos } else { &mut self.neg }) += weight.abs();
    }

    fn join(&mut self, other: &Self) {
        self.pos += other.pos;
        self.neg += other.neg;
        self.hits += other.hits;
    }

    fn total(&self) -> f64 {
        self.pos - self.neg
    }
}

fn share(covered: u32, counted: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a text has few words")]
    let counted = counted.max(1) as f64;
    rounded((f64::from(covered) / counted).min(1.0))
}

fn conclude(sums: &Sums, exclamations: u32, rules: &Rules, ironic: bool, both: bool, coverage: f64) -> Read {
    let mut total = sums.total();
    if sums.neg > 0.0 {
        total = sums.pos * rules.emphasis.outweighed - sums.neg;
    }
    let squashed = |total: f64| rounded(total / (total * total + rules.cut.much).sqrt());
    let unmarked = squashed(total);
    if total != 0.0 {
        total += total.signum() * rules.emphasis.exclamation * f64::from(exclamations.min(4));
    }
    let mixed = both || (sums.pos >= 1.0 && sums.neg >= 1.0);
    Read {
        scored: sums.hits > 0,
        score: squashed(total),
        unmarked,
        neg: rounded(sums.neg),
        pos: rounded(sums.pos),
        hits: sums.hits,
        mixed,
        coverage,
        trust: if ironic { 0.5 } else { 1.0 } * if mixed { 0.75 } else { 1.0 },
        named: false,
        linked: false,
    }
}
