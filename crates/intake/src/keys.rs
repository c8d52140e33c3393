//! The customer key: a pseudonym of the strongest identifier, the same on every machine that has the secret.

use event::{Identifier, IdentifierKind};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Makes customer keys with one deployment's secret. Another secret is another deployment.
#[derive(Clone)]
pub struct Keys {
    mac: Hmac<Sha256>,
}

impl Keys {
    /// Takes the secret's bytes as they stand in `privacy.key_secret_file`, without a final line break.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { mac }
    }

    /// The key of an identifier: the kind's letter, a dot, and base32 of the first 128 bits of
    /// HMAC-SHA-256(secret, tenant ␀ kind ␀ namespace ␀ value). A `key` identifier is one already.
    #[must_use]
    pub fn key(&self, tenant: &str, identifier: &Identifier) -> String {
        let Some(letter) = identifier.kind.letter() else {
            return identifier.value.clone();
        };
        let mut mac = self.mac.clone();
        for (index, part) in [
            tenant,
            identifier.kind.as_str(),
            &identifier.namespace,
            &identifier.value,
        ]
        .iter()
        .enumerate()
        {
            if index > 0 {
                mac.update(&[0]);
            }
            mac.update(part.as_bytes());
        }
        let hash = mac.finalize().into_bytes();
        let mut key = String::with_capacity(28);
        key.push(letter);
        key.push('.');
        push_base32(&hash[..16], &mut key);
        key
    }
}

/// The identifier that decides where an event goes: `key` before all, then by strength; none among an empty list.
#[must_use]
pub fn strongest(identifiers: &[Identifier]) -> Option<&Identifier> {
    identifiers.iter().min_by_key(|identifier| match identifier.kind {
        IdentifierKind::Key => 0,
        IdentifierKind::Agent => 9,
        kind => kind.strength().unwrap_or(8),
    })
}

/// RFC 4648 base32 in lower case without padding.
fn push_base32(bytes: &[u8], into: &mut String) {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut buffer: u32 = 0;
    let mut bits = 0;
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            into.push(char::from(ALPHABET[((buffer >> bits) & 31) as usize]));
        }
    }
    if bits > 0 {
        into.push(char::from(ALPHABET[((buffer << (5 - bits)) & 31) as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(kind: IdentifierKind, value: &str) -> Identifier {
        Identifier {
            kind,
            value: value.into(),
            ..Identifier::default()
        }
    }

    #[test]
    fn the_published_test_vector_holds() {
        let keys = Keys::new(b"waymark-demo");
        let mail = identifier(IdentifierKind::Email, "anna@example.com");
        assert_eq!(keys.key("default", &mail), "e.4pcsm62wtlnk5j2axdlwkld7fm");
    }

    #[test]
    fn a_key_is_its_own_key_and_goes_before_all() {
        let keys = Keys::new(b"x");
        let echoed = identifier(IdentifierKind::Key, "c.abc");
        assert_eq!(keys.key("default", &echoed), "c.abc");
        let list = [
            identifier(IdentifierKind::Device, "d"),
            identifier(IdentifierKind::Customer, "1"),
            echoed,
        ];
        assert_eq!(strongest(&list).map(|found| found.kind), Some(IdentifierKind::Key));
        assert_eq!(
            strongest(&list[..2]).map(|found| found.kind),
            Some(IdentifierKind::Customer)
        );
        assert_eq!(strongest(&[]), None);
    }
}
