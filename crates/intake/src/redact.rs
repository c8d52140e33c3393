//! Takes out of texts and URLs what identifies a person or an account, before anything is stored.

use std::borrow::Cow;

use regex::{Captures, Regex};

/// How much of a customer's text is kept on the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepText {
    /// IBAN and card numbers, mail addresses and phone numbers are replaced.
    #[default]
    Redacted,
    /// Only IBAN and card numbers are replaced.
    Full,
    /// The body is emptied after scoring.
    None,
}

/// What was replaced, and how often: the labels of `waymark_redactions_total`.
pub const KINDS: [&str; 4] = ["iban", "card", "email", "phone"];

/// Replaces what identifies by its kind in brackets. Compiled once.
pub struct Redactor {
    iban: Regex,
    digits: Regex,
    email: Regex,
    phone: Regex,
}

impl Default for Redactor {
    fn default() -> Self {
        let compile = |text: &str| Regex::new(text).expect("a constant expression that a test compiles");
        Self {
            iban: compile(r"\b[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"),
            digits: compile(r"\b[0-9](?:[ -]?[0-9]){12,18}\b"),
            email: compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
            phone: compile(r"(?:\+|\b0)[0-9](?:[ ()./-]{0,2}[0-9]){7,13}\b"),
        }
    }
}

impl Redactor {
    /// The text without what `keep` forbids, and how often each of [`KINDS`] was replaced.
    #[must_use]
    pub fn redact(&self, text: &str, keep: KeepText) -> (String, [u32; 4]) {
        let mut counts = [0; 4];
        if keep == KeepText::None {
            return (String::new(), counts);
        }
        let mut text = replace(&self.iban, Cow::Borrowed(text), "[iban]", &mut counts[0], iban_checks);
        text = replace(&self.digits, text, "[card]", &mut counts[1], luhn_checks);
        if keep == KeepText::Redacted {
            text = replace(&self.email, text, "[email]", &mut counts[2], |_| true);
            text = replace(&self.phone, text, "[phone]", &mut counts[3], |_| true);
        }
        (text.into_owned(), counts)
    }
}

fn replace<'a>(
    pattern: &Regex,
    text: Cow<'a, str>,
    by: &str,
    count: &mut u32,
    holds: impl Fn(&str) -> bool,
) -> Cow<'a, str> {
    let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
        if holds(&found[0]) {
            *count += 1;
            by.to_owned()
        } else {
            found[0].to_owned()
        }
    });
    match replaced {
        Cow::Borrowed(_) => text,
        Cow::Owned(new) => Cow::Owned(new),
    }
}

/// ISO 7064 mod 97-10, as ISO 13616 asks of an IBAN.
fn iban_checks(text: &str) -> bool {
    let compact: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_uppercase())
        .collect();
    if !(15..=34).contains(&compact.len()) {
        return false;
    }
    let remainder = compact[4..].iter().chain(&compact[..4]).fold(0u32, |sum, byte| {
        if byte.is_ascii_digit() {
            (sum * 10 + u32::from(byte - b'0')) % 97
        } else {
            (sum * 100 + u32::from(byte - b'A') + 10) % 97
        }
    });
    remainder == 1
}

/// ISO/IEC 7812-1, the check digit of payment cards.
fn luhn_checks(text: &str) -> bool {
    let sum: u32 = text
        .bytes()
        .rev()
        .filter(u8::is_ascii_digit)
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            match (index % 2, digit * 2) {
                (0, _) => digit,
                (_, double) => double / 10 + double % 10,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A URL without its fragment and without query parameters that are not in `kept`.
#[must_use]
pub fn strip_url(url: &str, kept: &[String]) -> String {
    let url = url.split('#').next().unwrap_or(url);
    let Some((path, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let query: Vec<&str> = query
        .split('&')
        .filter(|pair| kept.iter().any(|name| pair.split('=').next() == Some(name)))
        .collect();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Redactor::default().redact(text, KeepText::Redacted).0, expected);
    }

    #[test]
    fn what_identifies_is_replaced_and_nothing_else() {
        check("mail anna.b+x@example.co.uk now", "mail [email] now");
        check("bel +31 6 12345678 aub", "bel [phone] aub");
        check("my card 4111 1111 1111 1111!", "my card [card]!");
        check("order 4111 1111 1111 1112", "order 4111 1111 1111 1112");
        check("iban NL91ABNA0417164300.", "iban [iban].");
        check("iban NL91 ABNA 0417 1643 00 ok", "iban [iban] ok");
        check("not NL92ABNA0417164300", "not NL92ABNA0417164300");
        check("I waited 3 weeks for order 10023", "I waited 3 weeks for order 10023");
    }

    #[test]
    fn full_keeps_addresses_but_never_accounts() {
        let redactor = Redactor::default();
        let (text, counts) = redactor.redact("a@b.nl NL91ABNA0417164300", KeepText::Full);
        assert_eq!((text.as_str(), counts), ("a@b.nl [iban]", [1, 0, 0, 0]));
        assert_eq!(redactor.redact("hello", KeepText::None).0, "");
    }

    #[test]
    fn urls_lose_fragments_and_parameters() {
        let kept = ["page".to_owned()];
        assert_eq!(
            strip_url("https://x/y?token=1&page=2#frag", &kept),
            "https://x/y?page=2"
        );
        assert_eq!(strip_url("/y?email=a", &kept), "/y");
        assert_eq!(strip_url("/y", &kept), "/y");
    }
}
