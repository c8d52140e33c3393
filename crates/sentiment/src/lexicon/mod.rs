//! Terms with weights: words by their form, stems, and phrases by an automaton over words.

mod entry;
mod forms;

use entry::rows;
pub use entry::{Entry, Kind, Problem};
pub use forms::{fold, strip_begin, strip_end};
use forms::{forms, stem_of};
use hashbrown::HashMap;

use crate::{rules::Words, tokens::Tokens};

/// A term found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its first word.
    pub first: u32,
    /// Its last word.
    pub last: u32,
    /// Its entry.
    pub entry: u16,
}

/// A form that a text may hold.
#[derive(Debug, Clone, Copy)]
struct Form {
    id: u32,
    /// Its entries in [`Lexicon::of_form`].
    from: u32,
    to: u32,
    number: bool,
    opens: bool,
}

/// The terms of one language.
#[derive(Debug, Default)]
pub struct Lexicon {
    entries: Vec<Entry>,
    forms: HashMap<Box<str>, Form>,
    of_form: Vec<u16>,
    stems: HashMap<Box<str>, (u16, f64)>,
    /// How stems begin, and how words do: most forms begin like none of them.
    stem_heads: Heads,
    word_heads: Heads,
    /// From a node of the automaton by a form to the next node; 0 is the root.
    steps: HashMap<(u32, u32), u32>,
    /// The entries that end at a node, in [`Lexicon::ends`].
    ends: Vec<Vec<u16>>,
    number: Option<u32>,
    longest: u32,
}

/// The first four bytes of many strings, as bits: says no for certain and yes perhaps.
#[derive(Debug)]
struct Heads(Box<[u64; 1024]>);

impl Default for Heads {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Heads {
    /// The place of a string's bit; a string shorter than four bytes has none.
    fn place(text: &str) -> Option<(usize, u64)> {
        let head = u32::from_le_bytes(*text.as_bytes().first_chunk::<4>()?);
        let hash = head.wrapping_mul(0x9e37_79b1) >> 16;
        Some(((hash >> 6) as usize, 1 << (hash & 63)))
    }

    fn add(&mut self, text: &str) {
        // A shorter one is asked for by its own length alone, which is not ruled out.
        if let Some((index, bit)) = Self::place(text) {
            self.0[index] |= bit;
        }
    }

    fn may_hold(&self, text: &str) -> bool {
        Self::place(text).is_none_or(|(index, bit)| self.0[index] & bit != 0)
    }
}

/// What may stand behind an emoticon.
const ENDS: [char; 4] = ['.', ',', '!', '?'];

impl Lexicon {
    /// Reads `term, weight, kind, source`, tab-separated, under a header. Of several rows of one term that say how it
    /// feels, and of several of one kind, the last one counts: so a later text replaces what an earlier one says.
    pub fn read(texts: &[&str], words: Option<&Words>) -> Result<Self, Problem> {
        let mut lexicon = Self {
            ends: vec![Vec::new()],
            ..Self::default()
        };
        let mut known: HashMap<(Box<str>, &'static str), usize> = HashMap::new();
        for (place, text) in texts.iter().enumerate() {
            for entry in rows(place, text)? {
                let polar = entry.kind.is_polar() || entry.kind == Kind::Plain;
                let means = if polar { "polar" } else { entry.kind.as_str() };
                let place = known
                    .entry((entry.term.clone(), means))
                    .or_insert(lexicon.entries.len());
                if *place == lexicon.entries.len() {
                    lexicon.entries.push(entry);
                } else {
                    lexicon.entries[*place] = entry;
                }
            }
        }
        if u16::try_from(lexicon.entries.len()).is_err() {
            return Err(Problem {
                text: texts.len() - 1,
                line: 1,
                message: "more than 65,535 terms".to_owned(),
            });
        }
        lexicon.index(words);
        Ok(lexicon)
    }

    fn index(&mut self, words: Option<&Words>) {
        let mut tokens = Tokens::default();
        let elisions = words.is_some_and(|words| words.elisions);
        let mut of: Vec<Vec<u16>> = Vec::new();
        let mut phrases: Vec<(Vec<u32>, u16)> = Vec::new();
        let mut rooted: std::collections::BTreeMap<Box<str>, Vec<u16>> = std::collections::BTreeMap::new();
        let negators = self.entries.iter().filter(|entry| entry.kind == Kind::Negator);
        let negators: std::collections::BTreeSet<String> = negators.map(|entry| entry.term.to_string()).collect();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let place = u16::try_from(index).unwrap_or(u16::MAX);
            if entry.kind == Kind::Stem {
                rooted.entry(entry.term.clone()).or_default().push(place);
                continue;
            }
            let forms = if matches!(entry.kind, Kind::Emoji | Kind::Emoticon) {
                vec![entry.term.to_string()]
            } else {
                forms(&entry.term, elisions, &mut tokens)
            };
            entry.denies = forms.iter().any(|form| negators.contains(form));
            let ids = forms.iter().map(|form| {
                let next = u32::try_from(of.len()).unwrap_or(u32::MAX);
                let form = self.forms.entry(form.as_str().into()).or_insert_with(|| {
                    of.push(Vec::new());
                    Form {
                        id: next,
                        from: 0,
                        to: 0,
                        number: false,
                        opens: false,
                    }
                });
                form.id
            });
            let ids: Vec<u32> = ids.collect();
            match ids[..] {
                [] => {}
                [id] => of[id as usize].push(place),
                _ => phrases.push((ids, place)),
            }
            if entry.kind == Kind::Word && forms.len() == 1 && words.is_some() {
                self.word_heads.add(&forms[0]);
                rooted.entry(forms[0].as_str().into()).or_default().push(place);
            }
        }
        for form in self.forms.values_mut() {
            form.from = u32::try_from(self.of_form.len()).unwrap_or(u32::MAX);
            self.of_form.extend(&of[form.id as usize]);
            form.to = u32::try_from(self.of_form.len()).unwrap_or(u32::MAX);
            form.number = of[form.id as usize]
                .iter()
                .any(|entry| self.entries[usize::from(*entry)].kind == Kind::Number);
        }
        self.number = self.forms.get("#").map(|form| form.id);
        for (ids, entry) in phrases {
            let mut node = 0;
            for id in &ids {
                let next = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
                node = *self.steps.entry((node, *id)).or_insert_with(|| {
                    self.ends.push(Vec::new());
                    next
                });
            }
            self.ends[node as usize].push(entry);
            self.longest = self.longest.max(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        }
        for form in self.forms.values_mut() {
            form.opens = self.steps.contains_key(&(0, form.id))
                || (form.number && self.number.is_some_and(|number| self.steps.contains_key(&(0, number))));
        }
        if let Some(words) = words {
            self.root(&rooted, words);
        }
    }

    /// Files words under what remains without their endings. Words of one stem that disagree about good and bad say nothing.
    fn root(&mut self, rooted: &std::collections::BTreeMap<Box<str>, Vec<u16>>, words: &Words) {
        let mut stems: std::collections::BTreeMap<String, (u16, f64, f64, bool)> = std::collections::BTreeMap::new();
        let mut folded = String::new();
        for (form, entries) in rooted {
            fold(form, &mut folded);
            for entry in entries {
                let weight = self.entries[usize::from(*entry)].weight;
                let stem = stem_of(&folded, words);
                let known = stems.entry(stem.to_owned()).or_insert((*entry, 0.0, 0.0, false));
                known.3 |= known.1 * weight < 0.0;
                known.1 += weight;
                known.2 += 1.0;
            }
        }
        for (stem, (entry, sum, n, torn)) in stems {
            if !torn {
                self.stem_heads.add(&stem);
                self.stems.insert(stem.into(), (entry, sum / n));
            }
        }
    }

    /// An entry.
    pub fn entry(&self, entry: u16) -> &Entry {
        &self.entries[usize::from(entry)]
    }

    /// The words of the longest phrase.
    pub fn longest(&self) -> u32 {
        self.longest
    }

    /// Whether it has no terms.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn of(&self, form: &Form) -> &[u16] {
        &self.of_form[form.from as usize..form.to as usize]
    }

    /// Whether a form has entries of its own.
    pub fn knows(&self, form: &str) -> bool {
        self.forms.get(form).is_some_and(|form| form.from < form.to)
    }

    /// The weight of a word that feels good or bad.
    pub fn feels(&self, form: &str) -> Option<(u16, f64)> {
        let mut of = self.of(self.forms.get(form)?).iter();
        of.find(|entry| self.entry(**entry).kind == Kind::Word)
            .map(|entry| (*entry, self.entry(*entry).weight))
    }

    /// Whether a part of a form may be a word that feels good or bad; most parts are told by their first bytes.
    pub fn may_feel(&self, part: &str) -> bool {
        self.word_heads.may_hold(part)
    }

    /// The same by what remains without an ending.
    pub fn feels_by_stem(&self, folded: &str, words: &Words) -> Option<(u16, f64)> {
        if !self.stem_heads.may_hold(folded) {
            return None;
        }
        let by = |stem: &str| self.stems.get(stem).copied();
        for ending in &words.endings {
            if let Some(stem) = strip_end(folded, ending)
                && stem.chars().count() >= words.stem_letters
                && let Some(found) = by(stem)
            {
                return Some(found);
            }
        }
        by(folded)
    }

    /// Everything that stands in a text, by first word, longest first; phrases do not cross sentences.
    pub fn find(&self, tokens: &mut Tokens, into: &mut Vec<Found>) {
        into.clear();
        let count = u32::try_from(tokens.words.len()).unwrap_or(u32::MAX);
        let mut opens = false;
        for word in 0..count {
            let Some(form) = self.forms.get(tokens.norm(&tokens.words[word as usize])) else {
                continue;
            };
            opens |= form.opens;
            for entry in self.of(form) {
                into.push(Found {
                    first: word,
                    last: word,
                    entry: *entry,
                });
            }
            let token = &mut tokens.words[word as usize];
            (token.form, token.number, token.opens) = (form.id, form.number, form.opens);
        }
        if opens {
            for first in 0..count {
                if tokens.words[first as usize].opens {
                    self.walk(tokens, first, into);
                }
            }
        }
        into.sort_unstable_by_key(|found| (found.first, std::cmp::Reverse(found.last), found.entry));
    }

    fn walk(&self, tokens: &Tokens, first: u32, into: &mut Vec<Found>) {
        let mut node = 0;
        let sentence = tokens.words[first as usize].sentence;
        for (last, token) in (first..)
            .zip(&tokens.words[first as usize..])
            .take(self.longest as usize)
        {
            if token.sentence != sentence {
                return;
            }
            let by = |form: u32| self.steps.get(&(node, form)).copied();
            let number = self.number.filter(|_| token.number);
            let Some(next) = by(token.form).or_else(|| number.and_then(by)) else {
                return;
            };
            node = next;
            for entry in &self.ends[node as usize] {
                into.push(Found {
                    first,
                    last,
                    entry: *entry,
                });
            }
        }
    }

    /// The longest mark that begins a text: an emoji, or an emoticon that stands alone.
    pub fn mark(&self, text: &str) -> Option<(u16, usize)> {
        let first = text.chars().next()?;
        let mut known = [0; 4];
        if let Some(form) = self.forms.get(&*first.encode_utf8(&mut known)) {
            return self.of(form).first().map(|entry| (*entry, first.len_utf8()));
        }
        if !first.is_ascii() {
            return None;
        }
        // Up to four marks, the last one as often as it likes, then a space; full stops and their like may stand between.
        let mut marks = text.char_indices().enumerate();
        let end = marks.find(|(count, (_, mark))| *count == 5 || mark.is_whitespace());
        let end = end.map_or(text.len(), |(_, (at, _))| at);
        let alone = text[..end].trim_end_matches(ENDS);
        let mut bytes = alone.as_bytes();
        while let [.., one, other] = bytes
            && one == other
            && bytes.len() > 2
        {
            bytes = &bytes[..bytes.len() - 1];
        }
        if bytes.len() > 4 || !alone.is_ascii() {
            return None;
        }
        let mut small = [0; 4];
        for (to, from) in small.iter_mut().zip(bytes) {
            *to = from.to_ascii_lowercase();
        }
        let (entry, length) = (2..=bytes.len()).rev().find_map(|length| {
            let form = self.forms.get(std::str::from_utf8(&small[..length]).ok()?)?;
            self.of(form).first().map(|entry| (*entry, length))
        })?;
        let last = char::from(*bytes.last()?);
        let behind = text[bytes.len()..].trim_start_matches(last).trim_start_matches(ENDS);
        (behind.is_empty() || behind.starts_with(char::is_whitespace)).then_some((entry, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_lexicon_names_its_line() {
        let read = |text: &str| Lexicon::read(&[text], None).expect_err("broken").to_string();
        assert_eq!(read("x"), "line 1: header must be \"term\\tweight\\tkind\\tsource\"");
        assert_eq!(
            read("term\tweight\tkind\tsource\na\t1\n"),
            "line 2: four cells expected: found=2"
        );
        assert_eq!(
            read("term\tweight\tkind\tsource\na\tx\tword\tw\n"),
            "line 2: weight is no number: found=x"
        );
        assert_eq!(
            read("term\tweight\tkind\tsource\na\t1\tverb\tw\n"),
            "line 2: unknown kind: found=verb"
        );
        assert_eq!(
            read("term\tweight\tkind\tsource\na\tNaN\tword\tw\n"),
            "line 2: weight lies beyond −5..5: found=NaN"
        );
    }

    #[test]
    fn phrases_see_numbers_and_stay_in_their_sentence() {
        let lexicon = Lexicon::read(
            &["term\tweight\tkind\tsource\nfor # weeks\t1\tduration\tw\nthree\t1\tnumber\tw\nnot bad\t1\tidiom\tw\n"],
            None,
        )
        .expect("sound");
        let mut found = Vec::new();
        let mut terms = |body: &str| {
            let mut tokens = Tokens::default();
            tokens.read(body, false);
            lexicon.find(&mut tokens, &mut found);
            found
                .iter()
                .map(|hit| lexicon.entry(hit.entry).term.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(terms("waiting for 3 weeks"), ["for # weeks"]);
        assert_eq!(terms("waiting for three weeks"), ["for # weeks", "three"]);
        assert_eq!(terms("not bad"), ["not bad"]);
        assert!(terms("It is not. Bad").is_empty());
    }

    #[test]
    fn a_later_text_replaces_rows() {
        let header = "term\tweight\tkind\tsource\n";
        let (ours, overlay) = (
            format!("{header}fine\t1\tword\tw\n"),
            format!("{header}fine\t-1\tword\tu\n"),
        );
        let lexicon = Lexicon::read(&[&ours, &overlay], None).expect("sound");
        assert_eq!(lexicon.feels("fine").map(|(_, weight)| weight), Some(-1.0));
        let marked = format!("\u{feff}{overlay}").replace('\n', "\r\n");
        let lexicon = Lexicon::read(&[&ours, &marked], None).expect("sound");
        assert_eq!(lexicon.feels("fine").map(|(_, weight)| weight), Some(-1.0));
        let problem = Lexicon::read(&[&ours, "x"], None).expect_err("broken");
        assert_eq!((problem.text, problem.line), (1, 1));
    }
}
