//! Normalises identifiers, so that one person written in two ways is one person.

use event::{Identifier, IdentifierKind};
use unicode_normalization::UnicodeNormalization;

/// Values that identify nobody, in lower case.
pub const PLACEHOLDERS: &[&str] = &[
    "",
    "null",
    "nil",
    "none",
    "undefined",
    "nan",
    "0",
    "-",
    "n/a",
    "na",
    "unknown",
    "anonymous",
    "guest",
    "test",
    "00000000-0000-0000-0000-000000000000",
];

/// What normalising an event's identifiers did.
#[derive(Debug, PartialEq, Eq)]
pub struct Identified {
    /// Those that identify somebody, strongest first, each once.
    pub identifiers: Vec<Identifier>,
    /// Whether any was dropped.
    pub dropped: bool,
}

/// Normalises, drops placeholders and withheld callers, removes repeats and sorts by strength.
#[must_use]
pub fn identify(raw: Vec<Identifier>, placeholders: &[String]) -> Identified {
    let mut identifiers: Vec<Identifier> = Vec::with_capacity(raw.len());
    let mut dropped = false;
    for identifier in raw {
        let Some(normal) = normalise(identifier, placeholders) else {
            dropped = true;
            continue;
        };
        match identifiers.iter_mut().find(|known| same_person(known, &normal)) {
            Some(known) => known.verified |= normal.verified,
            None => identifiers.push(normal),
        }
    }
    identifiers.sort_by_key(|identifier| match identifier.kind {
        IdentifierKind::Key => 0,
        IdentifierKind::Agent => 9,
        kind => kind.strength().unwrap_or(8),
    });
    Identified { identifiers, dropped }
}

fn same_person(one: &Identifier, other: &Identifier) -> bool {
    one.kind == other.kind && one.value == other.value && one.namespace == other.namespace
}

fn normalise(mut identifier: Identifier, placeholders: &[String]) -> Option<Identifier> {
    let trimmed = identifier.value.trim();
    let folded = trimmed.to_lowercase();
    if PLACEHOLDERS.contains(&folded.as_str()) || placeholders.contains(&folded) {
        return None;
    }
    identifier.value = match identifier.kind {
        IdentifierKind::Customer => trimmed.nfc().collect(),
        IdentifierKind::Contract => trimmed.split_whitespace().collect::<String>().to_uppercase(),
        IdentifierKind::Phone => phone(trimmed)?,
        IdentifierKind::Email => email(trimmed)?,
        IdentifierKind::Social => {
            identifier.namespace = identifier.namespace.trim().to_lowercase();
            trimmed.trim_start_matches('@').to_lowercase()
        }
        IdentifierKind::Other | IdentifierKind::Key | IdentifierKind::Device | IdentifierKind::Agent => {
            identifier.value
        }
    };
    Some(identifier)
}

/// E.164 where the number says its country; else its digits. A withheld caller (`anonymous`, `restricted`, no digits) is nobody.
fn phone(text: &str) -> Option<String> {
    let text = text.strip_prefix("tel:").unwrap_or(text);
    let text = text.split(['@', ';']).next().unwrap_or(text);
    let text = text.strip_prefix("sip:").unwrap_or(text);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let international = text.trim_start().starts_with('+');
    let (international, digits) = match digits.strip_prefix("00") {
        Some(rest) if !international => (true, rest.to_owned()),
        _ => (international, digits),
    };
    if text.chars().any(char::is_alphabetic) || !(3..=15).contains(&digits.len()) {
        return None;
    }
    Some(if international { format!("+{digits}") } else { digits })
}

fn email(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    if local.is_empty() || domain.is_empty() || text.contains(char::is_whitespace) {
        return None;
    }
    Some(format!("{}@{}", local.to_lowercase(), domain.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: IdentifierKind, value: &str, expected: Option<&str>) {
        let raw = Identifier {
            kind,
            value: value.into(),
            ..Identifier::default()
        };
        let found = identify(vec![raw], &["demo".to_owned()]);
        assert_eq!(
            found.identifiers.first().map(|identifier| identifier.value.as_str()),
            expected,
            "{kind} {value}"
        );
        assert_eq!(found.dropped, expected.is_none(), "{kind} {value}");
    }

    #[test]
    fn identifiers_are_normalised_or_dropped() {
        use IdentifierKind::{Contract, Customer, Device, Email, Phone, Social};
        check(Customer, " Ab1 ", Some("Ab1"));
        check(Customer, "e\u{301}", Some("\u{e9}"));
        check(Customer, "NULL", None);
        check(Customer, "Demo", None);
        check(Device, "00000000-0000-0000-0000-000000000000", None);
        check(Contract, "ab 12 c", Some("AB12C"));
        check(Phone, "+31 (0)6-1234", Some("+3106123 4".replace(' ', "").as_str()));
        check(Phone, "0031 612345678", Some("+31612345678"));
        check(Phone, "tel:+31612345678", Some("+31612345678"));
        check(Phone, "anonymous", None);
        check(Phone, "restricted", None);
        check(Email, " Anna.B+x@Example.COM ", Some("anna.b+x@example.com"));
        check(Email, "no-address", None);
        check(Social, "@Handle", Some("handle"));
    }

    #[test]
    fn repeats_are_united_and_the_strongest_comes_first() {
        let of = |kind, value: &str, verified| Identifier {
            kind,
            value: value.into(),
            namespace: String::new(),
            verified,
        };
        let found = identify(
            vec![
                of(IdentifierKind::Device, "d", false),
                of(IdentifierKind::Email, "A@x.nl", false),
                of(IdentifierKind::Email, "a@X.nl", true),
            ],
            &[],
        );
        assert_eq!(
            found.identifiers,
            vec![
                of(IdentifierKind::Email, "a@x.nl", true),
                of(IdentifierKind::Device, "d", false)
            ]
        );
    }
}
