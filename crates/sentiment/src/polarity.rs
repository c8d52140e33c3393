//! How a text feels: hits, what governs them, and their sum.

use event::Label;

use crate::{
    derive,
    lexicon::{Found, Kind, Lexicon, strip_end},
    rounded,
    rules::Rules,
    tokens::{Token, Tokens},
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
    let (mut positive, mut negative) = (cut.positive, cut.negative);
    if read.named {
        negative = negative.max(cut.negative_named);
    }
    if read.linked {
        negative = negative.max(cut.negative_linked);
        positive = positive.max(cut.positive_linked);
    }
    if read.score >= positive {
        Label::Positive
    } else if read.score <= -negative {
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
            sentence.asks = !transcript;
        }
    }
    let mut ironic = false;
    for hit in found {
        let sentence = &mut sentences[words[hit.first as usize].sentence as usize];
        match lexicon.entry(hit.entry).kind {
            Kind::Contrast if hit.first > 0 => sentence.contrast = hit.first + 1,
            Kind::Resolved => sentence.resolved = true,
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
            (hit.weight, hit.rule) = (0.0, "resolved");
        }
        if sentence.asks && hit.kind == Kind::Word {
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

/// What deny and *too* say by themselves: they speak of something missing or in excess, whatever the words beside them.
fn bare(
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
    if total != 0.0 {
        total += total.signum() * rules.emphasis.exclamation * f64::from(exclamations.min(4));
    }
    let mixed = both || (sums.pos >= 1.0 && sums.neg >= 1.0);
    Read {
        scored: sums.hits > 0,
        score: rounded(total / (total * total + rules.cut.much).sqrt()),
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

/// Emoji and emoticons. Negation leaves them alone; beside an event a good one does not count. Returns whether one was muted so.
fn marks(
    body: &str,
    tokens: &Tokens,
    emoji: &Lexicon,
    sentences: &[Sentence],
    sums: &mut Sums,
    said: &mut Vec<Said>,
) -> bool {
    let mut muted = false;
    let mut until = 0;
    for (start, sentence) in &tokens.marks {
        if *start < until {
            continue;
        }
        let Some((entry, length)) = emoji.mark(&body[*start as usize..]) else {
            continue;
        };
        until = start + u32::try_from(length).unwrap_or(u32::MAX);
        let weight = emoji.entry(entry).weight;
        let event = sentences.get(*sentence as usize).is_some_and(|sentence| sentence.event);
        let (weight, rule) = if weight > 0.0 && event {
            muted = true;
            (0.0, "muted")
        } else {
            (weight, "emoji")
        };
        sums.add(weight);
        said.push(Said {
            start: *start,
            end: until,
            weight,
            rule,
            entry,
            emoji: true,
        });
    }
    muted
}

/// Polar hits, longest first and none inside another, and what governs.
fn collect(tokens: &Tokens, found: &[Found], by: By<'_>, buffers: &mut Buffers) {
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

/// Turns an idiom round if a negator stands before it: *did not like it*. One that holds a negator means what it says.
fn deny(hit: &mut Hit, words: &[Token], governors: &mut [Governor], rules: &Rules) {
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
fn govern(hit: &mut Hit, words: &[Token], governors: &mut [Governor], rules: &Rules, capitals: bool) {
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
