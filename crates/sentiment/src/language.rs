//! Which language a text is in: a hint, else the text itself.

/// What told the language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The producer said so.
    Hint(String),
    /// The text did.
    Detected(&'static str),
    /// Too short, or in several scripts.
    Unknown,
}

impl Told {
    pub fn is(&self, lang: &str) -> bool {
        match self {
            Self::Hint(told) => told == lang,
            Self::Detected(told) => *told == lang,
            Self::Unknown => false,
        }
    }
}

/// Fewer letters than this tell nothing.
const LETTERS: usize = 15;

/// A hint's primary subtag, or what the letters say.
pub fn tell(hint: Option<&str>, body: &str) -> Told {
    let primary = hint
        .and_then(|hint| hint.split(['-', '_']).next())
        .map(str::to_ascii_lowercase)
        .filter(|primary| matches!(primary.len(), 2 | 3) && primary != "und");
    if let Some(primary) = primary {
        return Told::Hint(primary);
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
            Told::Hint("nl".to_owned())
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
