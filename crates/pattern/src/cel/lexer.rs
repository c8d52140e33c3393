//! Text to tokens, each with the character where it begins.

use super::Flaw;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    /// 9223372036854775808: only with a minus before it is it a number that there is.
    Least,
    Double(f64),
    Text(String),
    Sign(&'static str),
    End,
}

impl Token {
    /// The token as a message prints it.
    pub fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Int(value) => value.to_string(),
            Self::Least => LEAST.to_owned(),
            Self::Double(value) => value.to_string(),
            Self::Text(text) => format!("'{text}'"),
            Self::Sign(sign) => (*sign).to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// What stands behind the minus of the least whole number.
const LEAST: &str = "9223372036854775808";

const SIGNS: [&str; 27] = [
    "===", "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", "+", "-", "*", "/", "%", "(", ")", "[", "]",
    ",", ".", "{", "}", "=", "&",
];

pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Flaw> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut index = 0;
    while index < letters.len() {
        let (at, letter) = (index, letters[index]);
        let flaw = |message: String| Flaw::new(at, "where-syntax", message);
        if letter.is_whitespace() {
            index += 1;
        } else if matches!(letter, 'r' | 'R' | 'b' | 'B') && matches!(letters.get(index + 1), Some('\'' | '"')) {
            return Err(flaw(format!(
                "not supported in where: strings with {letter} before the quote"
            )));
        } else if letter.is_ascii_alphabetic() || letter == '_' {
            while index < letters.len() && (letters[index].is_ascii_alphanumeric() || letters[index] == '_') {
                index += 1;
            }
            tokens.push((at, Token::Name(letters[at..index].iter().collect())));
        } else if letter.is_ascii_digit() {
            index = number_end(&letters, index);
            let written: String = letters[at..index].iter().collect();
            if letters
                .get(index)
                .is_some_and(|next| next.is_ascii_alphanumeric() || *next == '_')
            {
                let rest = letters[index..].iter().take_while(|next| next.is_ascii_alphanumeric());
                let found: String = written.chars().chain(rest.copied()).collect();
                return Err(flaw(format!("not a number that a where can have: found={found}")));
            }
            let token = if written == LEAST {
                Some(Token::Least)
            } else if written.contains(['.', 'e', 'E']) {
                written.parse().ok().map(Token::Double)
            } else {
                written.parse().ok().map(Token::Int)
            };
            tokens.push((
                at,
                token.ok_or_else(|| flaw(format!("number out of range: found={written}")))?,
            ));
        } else if letter == '\'' || letter == '"' {
            let (text, end) = quoted(&letters, index)?;
            index = end;
            tokens.push((at, Token::Text(text)));
        } else {
            let rest: String = letters[index..letters.len().min(index + 3)].iter().collect();
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| {
                let is_quote = matches!(letter, '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{201e}');
                let help = is_quote.then(|| "quotes are straight: 'text'".to_owned());
                flaw(format!("unexpected character: found={letter}")).with_help(help)
            })?;
            index += sign.len();
            tokens.push((at, Token::Sign(sign)));
        }
    }
    tokens.push((letters.len(), Token::End));
    Ok(tokens)
}

fn number_end(letters: &[char], mut index: usize) -> usize {
    let digit = |at: usize| letters.get(at).is_some_and(char::is_ascii_digit);
    while digit(index) {
        index += 1;
    }
    if letters.get(index) == Some(&'.') && digit(index + 1) {
        index += 1;
        while digit(index) {
            index += 1;
        }
    }
    if matches!(letters.get(index), Some('e' | 'E')) {
        let sign = usize::from(matches!(letters.get(index + 1), Some('+' | '-')));
        if digit(index + 1 + sign) {
            index += 1 + sign;
            while digit(index) {
                index += 1;
            }
        }
    }
    index
}

fn quoted(letters: &[char], start: usize) -> Result<(String, usize), Flaw> {
    let flaw = |at: usize, message: String| Flaw::new(at, "where-syntax", message);
    let open = || flaw(start, "string is not closed".to_owned());
    let mut text = String::new();
    let mut index = start + 1;
    loop {
        match *letters.get(index).ok_or_else(open)? {
            closing if closing == letters[start] => return Ok((text, index + 1)),
            '\\' => {
                text.push(match *letters.get(index + 1).ok_or_else(open)? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    same @ ('\\' | '\'' | '"') => same,
                    other => {
                        let message = format!("not supported in where: escape=\\{other}");
                        return Err(flaw(index, message));
                    }
                });
                index += 2;
            }
            letter => {
                text.push(letter);
                index += 1;
            }
        }
    }
}
