//! Ids of what is said: the same log gives the same ids.

use event::OutputId;

/// BLAKE3-128 of parts, each behind its length, so that no two lists of parts are the same bytes.
#[must_use]
pub fn output_id<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> OutputId {
    OutputId::from_hash(hash(parts))
}

/// The 16 bytes before they are made a UUID.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_changes_and_parts_do_not_run_together() {
        let id = output_id([b"monitor".as_slice(), b"signal", b"p"]);
        assert_eq!(id.to_string(), "bd246740-12b4-8a20-9d31-eded569fd0f1");
        assert_ne!(output_id([b"ab".as_slice(), b"c"]), output_id([b"a".as_slice(), b"bc"]));
    }
}
