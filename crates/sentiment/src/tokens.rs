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
    /// Counts sentences.
    pub sentence: u32,
    /// Counts clauses over the whole text.
    pub clause: u32,
    /// Written in capitals, three letters or more.
    pub caps: bool,
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
    /// Whether any word has a small letter.
    pub has_small: bool,
    text: String,
}

/// How many words behind a closing belong to the signature.
const SIGNATURE: usize = 8;

impl Tokens {
    /// Cuts a text by the rules of a language.
    pub fn read(&mut self, body: &str, lang: &str) {
        self.norm.clear();
        self.words.clear();
        self.marks.clear();
        self.text.clear();
        self.text.push_str(body);
        self.exclamations = 0;
        self.has_small = false;
        let (mut sentence, mut clause) = (0, 0);
        let mut begins_line = true;
        let mut at = 0;
        while let Some(first) = body[at..].chars().next() {
            if begins_line && (first == '>' || body[at..].starts_with("-- ")) {
                // A quoted line; a signature takes all that follows.
                let rest = if first == '>' { body[at..].find('\n') } else { None };
                at = rest.map_or(body.len(), |rest| at + rest);
                continue;
            }
            if first.is_alphanumeric() {
                let end = word_end(body, at, lang);
                if is_address(body, at, end) {
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
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            self.norm.push('#');
        } else {
            for letter in word.chars() {
                if letter == '’' {
                    self.norm.push('\'');
                } else {
                    self.norm.extend(letter.to_lowercase());
                }
            }
        }
        let norm = (offset(from), offset(self.norm.len()));
        self.norm.push(' ');
        self.has_small |= word.chars().any(char::is_lowercase);
        let caps = word.chars().count() >= 3 && word.chars().all(char::is_uppercase);
        self.words.push(Token {
            start: offset(start),
            end: offset(end),
            norm,
            sentence,
            clause,
            caps,
            begins_line,
            masked: false,
        });
    }

    /// Takes a number word as a number, so that cues need not name each.
    pub fn number(&mut self, word: usize) {
        let (from, to) = self.words[word].norm;
        self.norm.replace_range(from as usize..to as usize, "#");
        let shorter = to - from - 1;
        self.words[word].norm.1 = from + 1;
        for token in &mut self.words[word + 1..] {
            token.norm = (token.norm.0 - shorter, token.norm.1 - shorter);
        }
    }

    /// The lower-case form of a word.
    pub fn norm(&self, token: &Token) -> &str {
        self.norm[token.norm.0 as usize..token.norm.1 as usize].trim_end_matches('\u{1}')
    }

    /// All forms, each between spaces of its own.
    pub fn all(&self) -> &str {
        &self.norm
    }

    /// The word whose form begins at a byte of [`Tokens::all`].
    pub fn at(&self, norm: usize) -> Option<usize> {
        self.words
            .binary_search_by_key(&norm, |token| token.norm.0 as usize)
            .ok()
    }

    /// The word whose form ends at a byte of [`Tokens::all`].
    pub fn until(&self, norm: usize) -> Option<usize> {
        self.words
            .binary_search_by_key(&norm, |token| token.norm.1 as usize)
            .ok()
    }

    /// The original text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Words that are not masked.
    pub fn words(&self) -> usize {
        self.words.iter().filter(|token| !token.masked).count()
    }

    /// Masks greetings, and closings with the names behind them.
    pub fn mask(&mut self, lexicon: &Lexicon, found: &[Found]) {
        for hit in found {
            match lexicon.entry(hit.entry).kind {
                Kind::Greeting if self.words[hit.first].begins_line => {
                    self.words[hit.first..=hit.last]
                        .iter_mut()
                        .for_each(|token| token.masked = true);
                }
                Kind::Closing => {
                    let behind = self.words.len() - 1 - hit.last;
                    let to = if behind <= SIGNATURE && ends_clause(&self.words, hit.last) {
                        self.words.len()
                    } else {
                        hit.last + 1
                    };
                    self.words[hit.first..to]
                        .iter_mut()
                        .for_each(|token| token.masked = true);
                }
                _ => {}
            }
        }
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
fn word_end(body: &str, at: usize, lang: &str) -> usize {
    let mut end = at;
    let mut letters = body[at..].char_indices().peekable();
    while let Some((index, letter)) = letters.next() {
        let after = at + index + letter.len_utf8();
        if letter.is_alphanumeric() {
            end = after;
        } else if matches!(letter, '\'' | '’') && letters.peek().is_some_and(|(_, next)| next.is_alphanumeric()) {
            if lang == "it" {
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
    rest.starts_with("http://")
        || rest.starts_with("https://")
        || rest.starts_with("www.")
        || (body[end..].starts_with('@') && body[end + 1..].starts_with(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str, lang: &str) -> Vec<String> {
        let mut tokens = Tokens::default();
        tokens.read(body, lang);
        tokens.words.iter().map(|token| tokens.norm(token).to_owned()).collect()
    }

    #[test]
    fn words_keep_what_binds_them_and_lose_what_names_somebody() {
        assert_eq!(
            words("I can’t, it's 12 o'clock!", "en"),
            ["i", "can't", "it's", "#", "o'clock"]
        );
        assert_eq!(words("l'assistenza c’è", "it"), ["l'", "assistenza", "c'", "è"]);
        assert_eq!(
            words("@acme see https://a.b/c or mail me@x.org now", "en"),
            ["see", "or", "mail", "now"]
        );
        assert_eq!(
            words("yes\n> you wrote: no\nindeed\n-- \nJohn Good", "en"),
            ["yes", "indeed"]
        );
    }

    #[test]
    fn places_point_into_the_original() {
        let mut tokens = Tokens::default();
        let body = "ÉÉN fout. Hè?";
        tokens.read(body, "nl");
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
