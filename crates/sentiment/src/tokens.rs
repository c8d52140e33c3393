//! A text cut once: words, runs of marks, emoji, with their places in the original.

use crate::lexicon::{Found, Kind, Lexicon};

/// A word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// First byte in the text.
    pub start: u32,
    /// One past the last.
    pub end: u32,
    /// Its lower-case form in [`Tokens::norm`].
    norm: (u32, u32),
    /// The lexicon's name of its form.
    pub form: u32,
    /// Whether the lexicon takes it for a number.
    pub number: bool,
    /// Whether a phrase may begin with it.
    pub opens: bool,
    /// Counts sentences.
    pub sentence: u32,
    /// Counts clauses over the whole text.
    pub clause: u32,
    /// Written in capitals, three letters or more.
    pub caps: bool,
    /// Begins with a capital inside its sentence, small letters behind it.
    pub title: bool,
    /// First on its line.
    pub begins_line: bool,
    /// Greeting, closing, signature, quote: not the customer's point.
    pub masked: bool,
}

/// A text's tokens; the buffers are used again.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Every word in lower case between two spaces; numbers are `#`.
    norm: String,
    /// The words.
    pub words: Vec<Token>,
    /// Characters that might be emoji or emoticons: byte, sentence.
    pub marks: Vec<(u32, u32)>,
    /// Exclamation marks.
    pub exclamations: u32,
    /// Question marks.
    pub questions: u32,
    /// Addresses of pages.
    pub links: u32,
    /// Whether any word has a small letter.
    pub has_small: bool,
    /// How many words begin with a capital inside their sentence.
    pub titles: u32,
    /// Whether it begins with a mention: it is addressed to somebody.
    pub addressed: bool,
    /// Sentences that end in a question mark, in their order.
    pub asking: Vec<u32>,
}

/// How many words behind a closing belong to the signature.
const SIGNATURE: usize = 8;
/// How many words a line of names has at most.
const NAMES: usize = 4;
/// The form of a word that the lexicon does not know.
pub const UNKNOWN: u32 = u32::MAX;
/// An apostrophe that was escaped twice on its way here.
const ESCAPED: &str = "\\u2019";

impl Tokens {
    /// Cuts a text by the rules of a language.
    pub fn read(&mut self, body: &str, elisions: bool) {
        self.norm.clear();
        self.words.clear();
        self.marks.clear();
        self.exclamations = 0;
        self.questions = 0;
        self.links = 0;
        self.has_small = false;
        self.titles = 0;
        self.addressed = body.trim_start().starts_with('@');
        self.asking.clear();
        let (mut sentence, mut clause) = (0, 0);
        let mut begins_line = true;
        let mut at = 0;
        while let Some(first) = body[at..].chars().next() {
            if begins_line && (first == '>' || (first == '-' && body[at..].starts_with("-- "))) {
                // A quoted line; a signature takes all that follows.
                let rest = if first == '>' { body[at..].find('\n') } else { None };
                at = rest.map_or(body.len(), |rest| at + rest);
                continue;
            }
            if first.is_alphanumeric() {
                let end = word_end(body, at, elisions);
                if is_address(body, at, end) {
                    self.links += 1;
                    at += body[at..].find(char::is_whitespace).unwrap_or(body.len() - at);
                } else {
                    self.push(body, at, end, sentence, clause, begins_line);
                    at = end;
                }
                begins_line = false;
                continue;
            }
            let next = at + first.len_utf8();
            match first {
                '\n' => {
                    begins_line = true;
                    sentence += 1;
                    clause += 1;
                }
                '.' | '!' | '?' | '…' => {
                    self.exclamations += u32::from(first == '!');
                    if first == '?' {
                        self.questions += 1;
                        if self.asking.last() != Some(&sentence) {
                            self.asking.push(sentence);
                        }
                    }
                    let ends = body[next..].chars().next().is_none_or(|after| !after.is_alphanumeric());
                    sentence += u32::from(ends);
                    clause += u32::from(ends);
                }
                ',' | ';' | '(' | ')' | '"' | '–' | '—' | '«' | '»' => clause += 1,
                '@' => {
                    // A mention names somebody: skipped with its name.
                    at = next
                        + body[next..]
                            .find(|c: char| !c.is_alphanumeric() && c != '_')
                            .unwrap_or(body.len() - next);
                    continue;
                }
                _ => {}
            }
            if !first.is_whitespace() && !matches!(first, '.' | ',' | '!' | '?') {
                self.marks.push((offset(at), sentence));
            }
            at = next;
        }
    }

    fn push(&mut self, body: &str, start: usize, end: usize, sentence: u32, clause: u32, begins_line: bool) {
        let word = &body[start..end];
        self.norm.push(' ');
        let from = self.norm.len();
        let (mut small, mut capital, mut letters) = (false, true, 0);
        let starts = self.words.last().is_none_or(|before| before.sentence != sentence);
        let mut title = !starts && word.starts_with(char::is_uppercase);
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            self.norm.push('#');
            capital = false;
        } else if !word.is_ascii() || word.contains('\\') {
            let mut rest = word;
            while let Some(letter) = rest.chars().next() {
                if let Some(behind) = rest.strip_prefix(ESCAPED) {
                    self.norm.push('\'');
                    rest = behind;
                    continue;
                }
                small |= letter.is_lowercase();
                capital &= letter.is_uppercase();
                title &= letters == 0 || !letter.is_uppercase();
                letters += 1;
                if letter == '’' {
                    self.norm.push('\'');
                } else {
                    self.norm.extend(letter.to_lowercase());
                }
                rest = &rest[letter.len_utf8()..];
            }
        } else {
            let smalls = word.bytes().filter(u8::is_ascii_lowercase).count();
            let capitals = word.bytes().filter(u8::is_ascii_uppercase).count();
            letters = word.len();
            (small, capital) = (smalls > 0, capitals == letters);
            title &= capitals == 1;
            self.norm.push_str(word);
            if capitals > 0 {
                self.norm[from..].make_ascii_lowercase();
            }
        }
        title &= letters > 1;
        self.titles += u32::from(title);
        let norm = (offset(from), offset(self.norm.len()));
        self.norm.push(' ');
        self.has_small |= small;
        let caps = letters >= 3 && capital;
        self.words.push(Token {
            start: offset(start),
            end: offset(end),
            norm,
            form: UNKNOWN,
            number: false,
            opens: false,
            sentence,
            clause,
            caps,
            title,
            begins_line,
            masked: false,
        });
    }

    /// The lower-case form of a word.
    pub fn norm(&self, token: &Token) -> &str {
        &self.norm[token.norm.0 as usize..token.norm.1 as usize]
    }

    /// Words that are not masked.
    pub fn words(&self) -> usize {
        self.words.iter().filter(|token| !token.masked).count()
    }

    /// Masks greetings, and closings with the names behind them.
    pub fn mask(&mut self, lexicon: &Lexicon, found: &[Found]) {
        for hit in found {
            match lexicon.entry(hit.entry).kind {
                Kind::Greeting => {
                    let first = hit.first as usize;
                    // A second greeting stands behind the first: hola, buenos días.
                    if self.words[first].begins_line || (first > 0 && self.words[first - 1].masked) {
                        self.hide(first, hit.last as usize + 1);
                    }
                }
                Kind::Closing => {
                    let last = hit.last as usize;
                    let ends = ends_clause(&self.words, last);
                    let to = if ends { signed(&self.words, last) } else { last + 1 };
                    self.hide(hit.first as usize, to);
                }
                Kind::Quote => {
                    let last = hit.last as usize;
                    if self.words.get(last + 1).is_none_or(|next| next.begins_line) {
                        let opens = |word: &Token| word.begins_line;
                        let first = self.words[..=hit.first as usize].iter().rposition(opens);
                        self.hide(first.unwrap_or(0), self.words.len());
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    fn hide(&mut self, from: usize, to: usize) {
        self.words[from..to].iter_mut().for_each(|token| token.masked = true);
    }
}

/// Where a signature behind a closing ends: at the text's end if that is near, else behind a short line.
fn signed(words: &[Token], last: usize) -> usize {
    let behind = &words[last + 1..];
    if behind.len() <= SIGNATURE {
        return words.len();
    }
    let same_line = behind.iter().take_while(|word| !word.begins_line).count();
    let next_line = 1 + behind[same_line..]
        .iter()
        .skip(1)
        .take_while(|word| !word.begins_line)
        .count();
    if same_line <= NAMES && next_line <= NAMES {
        last + 1 + same_line + next_line
    } else {
        last + 1
    }
}

fn ends_clause(words: &[Token], word: usize) -> bool {
    words
        .get(word + 1)
        .is_none_or(|next| next.clause != words[word].clause || next.caps || next.begins_line)
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Letters and digits, apostrophes between them included; Italian elisions end behind theirs.
fn word_end(body: &str, at: usize, elisions: bool) -> usize {
    let bytes = body.as_bytes();
    let plain = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    match bytes.get(at + plain) {
        // Most words are plain letters with a space or a mark behind them.
        Some(byte) if byte.is_ascii() && !matches!(byte, b'\'' | b'\\') => return at + plain,
        None => return at + plain,
        Some(_) => {}
    }
    let (mut end, at) = (at + plain, at + plain);
    let mut letters = body[at..].char_indices().peekable();
    while let Some((index, letter)) = letters.next() {
        let after = at + index + letter.len_utf8();
        if letter == '\\' && body[at + index..].starts_with(ESCAPED) {
            let behind = at + index + ESCAPED.len();
            if !body[behind..].starts_with(char::is_alphanumeric) {
                break;
            }
            if elisions {
                return behind;
            }
            // The escape's own letters are letters and digits, so the loop goes on over them.
            continue;
        }
        if letter.is_alphanumeric() {
            end = after;
        } else if matches!(letter, '\'' | '’') && letters.peek().is_some_and(|(_, next)| next.is_alphanumeric()) {
            if elisions {
                return after;
            }
        } else if letter == '\u{fe0f}' || ('\u{300}'..='\u{36f}').contains(&letter) {
            end = after;
        } else {
            break;
        }
    }
    end
}

fn is_address(body: &str, at: usize, end: usize) -> bool {
    let rest = &body[at..];
    let page = match rest.as_bytes()[0] {
        b'h' => &body[at..end] == "http" || rest.starts_with("http://") || rest.starts_with("https://"),
        b'w' => rest.starts_with("www."),
        _ => false,
    };
    page || (body[end..].starts_with('@') && body[end + 1..].starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str, elisions: bool) -> Vec<String> {
        let mut tokens = Tokens::default();
        tokens.read(body, elisions);
        tokens.words.iter().map(|token| tokens.norm(token).to_owned()).collect()
    }

    #[test]
    fn words_keep_what_binds_them_and_lose_what_names_somebody() {
        assert_eq!(
            words("I can’t, it's 12 o'clock!", false),
            ["i", "can't", "it's", "#", "o'clock"]
        );
        assert_eq!(words("l'assistenza c’è", true), ["l'", "assistenza", "c'", "è"]);
        assert_eq!(
            words("@acme see https://a.b/c or mail me@x.org now", false),
            ["see", "or", "mail", "now"]
        );
        assert_eq!(
            words("yes\n> you wrote: no\nindeed\n-- \nJohn Good", false),
            ["yes", "indeed"]
        );
    }

    #[test]
    fn places_point_into_the_original() {
        let mut tokens = Tokens::default();
        let body = "ÉÉN fout. Hè?";
        tokens.read(body, false);
        let found: Vec<&str> = tokens
            .words
            .iter()
            .map(|token| &body[token.start as usize..token.end as usize])
            .collect();
        assert_eq!(found, ["ÉÉN", "fout", "Hè"]);
        assert!(tokens.words[0].caps);
        assert_eq!(tokens.words[2].sentence, 1);
    }
}
