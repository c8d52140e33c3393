//! Which language a text is in: a hint, else the text itself.

/// An ISO 639 code of two or three small letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    letters: [u8; 3],
    length: u8,
}

impl Code {
    /// Reads the primary subtag of a BCP 47 tag; `None` for `und` and for what is no tag.
    #[must_use]
    pub fn of(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        if !matches!(primary.len(), 2 | 3) || !primary.is_ascii() {
            return None;
        }
        let mut letters = [0; 3];
        for (to, from) in letters.iter_mut().zip(primary.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        let length = u8::try_from(primary.len()).unwrap_or_default();
        Some(Self { letters, length }).filter(|code| code.as_str() != "und")
    }

    /// Its letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// What told the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The producer said so, or the journey.
    Hint(Code),
    /// The text did.
    Detected(&'static str),
    /// Too short, or in several scripts.
    Unknown,
}

impl Told {
    /// The language's code, or nothing.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Hint(told) => told.as_str(),
            Self::Detected(told) => told,
            Self::Unknown => "",
        }
    }
}

/// Fewer letters than this tell nothing.
const LETTERS: usize = 15;

/// A hint's primary subtag, or what the letters say.
pub fn tell(hint: Option<&str>, body: &str) -> Told {
    if let Some(code) = hint.and_then(Code::of) {
        return Told::Hint(code);
    }
    let (mut letters, mut latin) = (0, 0);
    for letter in body.chars().filter(|letter| letter.is_alphabetic()) {
        letters += 1;
        latin += usize::from(matches!(letter, '\0'..='\u{24f}'));
    }
    if letters < LETTERS || (latin > 0 && latin * 10 < letters * 9) {
        return Told::Unknown;
    }
    Told::Detected(code(whichlang::detect_language(body)))
}

fn code(lang: whichlang::Lang) -> &'static str {
    use whichlang::Lang;
    match lang {
        Lang::Ara => "ar",
        Lang::Cmn => "zh",
        Lang::Deu => "de",
        Lang::Eng => "en",
        Lang::Fra => "fr",
        Lang::Hin => "hi",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Nld => "nl",
        Lang::Por => "pt",
        Lang::Rus => "ru",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tur => "tr",
        Lang::Vie => "vi",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_wins_and_too_little_tells_nothing() {
        assert_eq!(
            tell(Some("nl-BE"), "this is plainly English"),
            Told::Hint(Code::of("nl").expect("a code"))
        );
        assert_eq!(tell(Some("und"), "help"), Told::Unknown);
        assert_eq!(
            tell(None, "ik wil graag mijn bestelling annuleren"),
            Told::Detected("nl")
        );
        assert_eq!(tell(None, "non funziona niente da ieri sera"), Told::Detected("it"));
        assert_eq!(tell(None, "where is my order, please tell me"), Told::Detected("en"));
        assert_eq!(tell(None, "привет hello how are you today"), Told::Unknown);
    }
}
