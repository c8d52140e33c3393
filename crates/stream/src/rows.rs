//! The keys and heads of stored rows. Every byte of them is for ever: see the golden tests.
//!
//! | row | key | value |
//! |---|---|---|
//! | head of a key | `st` ‖ key16 ‖ `hd` | version ‖ deadline ‖ last `now` ‖ key ‖ payload |
//! | other rows | `st` ‖ key16 ‖ kind (2 ASCII) ‖ suffix | version ‖ payload |
//! | quarantine | `st` ‖ key16 ‖ `qu` | version ‖ cause ‖ be64(time) |
//! | timer | `ti` ‖ be64(due) ‖ key16 | empty |
//! | marker, position | `me/marker`, `me/position` | `marker` |

use crate::{Corrupt, Millis};

/// BLAKE3-128 of a routed key: one customer is one range of rows.
pub type Key16 = [u8; 16];

/// The row that holds the last committed marker.
pub const MARKER: &[u8] = b"me/marker";
/// The row that holds the changelog position which belongs to the marker; local to one disk.
pub const POSITION: &[u8] = b"me/position";
/// The name of a key's head row.
pub const HEAD: &[u8] = b"hd";
/// The name of the row that says that a key is quarantined; no stage may use it.
pub const QUARANTINE: &[u8] = b"qu";
const QUARANTINE_VERSION: u8 = 1;
/// The newest version of a head row.
const HEAD_VERSION: u8 = 1;
const NO_DEADLINE: i64 = i64::MAX;

/// Hashes a routed key.
#[must_use]
pub fn key16(key: &[u8]) -> Key16 {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(key).as_bytes()[..16]);
    short
}

/// One number for a list of byte strings: the first eight bytes of a BLAKE3 over each with its length before it.
#[must_use]
pub fn hash_of(parts: &[&[u8]]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_be_bytes(first)
}

/// Hashes a [`Key16`], which is a hash already: its first eight bytes. The order of a map with it repeats from run to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShortHasher(u64);

impl std::hash::Hasher for ShortHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of a key says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The full key of a key's row.
#[must_use]
pub fn state_key(key: &Key16, name: &[u8]) -> Vec<u8> {
    [b"st", key.as_slice(), name].concat()
}

/// Whose head row has this key; `None` if it is another row.
#[must_use]
pub fn head_of(key: &[u8]) -> Option<&Key16> {
    match key.strip_prefix(b"st")?.split_first_chunk()? {
        (short, HEAD) => Some(short),
        _ => None,
    }
}

/// The range that holds all rows of a key: from, and the first key behind it.
#[must_use]
pub fn state_range(key: &Key16) -> (Vec<u8>, Vec<u8>) {
    let from = state_key(key, b"");
    let mut to = from.clone();
    for index in (0..to.len()).rev() {
        if to[index] < u8::MAX {
            to[index] += 1;
            to.truncate(index + 1);
            break;
        }
    }
    (from, to)
}

/// The key of a timer row; byte order is time order, for times before 1970 too.
#[must_use]
pub fn timer_key(due: Millis, key: &Key16) -> [u8; 26] {
    let mut bytes = [0; 26];
    bytes[..2].copy_from_slice(b"ti");
    bytes[2..10].copy_from_slice(&ordered(due));
    bytes[10..].copy_from_slice(key);
    bytes
}

/// Reads a timer row's key back; `None` if it is none.
#[must_use]
pub fn read_timer(key: &[u8]) -> Option<(Millis, Key16)> {
    let rest = key.strip_prefix(b"ti")?;
    let (due, key) = rest.split_first_chunk::<8>()?;
    let due = Millis((u64::from_be_bytes(*due) ^ (1 << 63)).cast_signed());
    Some((due, key.try_into().ok()?))
}

fn ordered(time: Millis) -> [u8; 8] {
    (time.0.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// What the runtime keeps in a key's head, before the stage's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// When the key wants to be woken.
    pub deadline: Option<Millis>,
    /// The key's clock.
    pub now: Millis,
    /// The routed key itself.
    pub key: &'a [u8],
    /// The stage's own bytes.
    pub payload: &'a [u8],
}

impl<'a> Head<'a> {
    /// Writes the newest version.
    ///
    /// # Panics
    /// If the key is longer than 64 KiB; Kafka refuses such a record before.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(19 + self.key.len() + self.payload.len());
        bytes.push(HEAD_VERSION);
        bytes.extend_from_slice(&self.deadline.map_or(NO_DEADLINE, |due| due.0).to_be_bytes());
        bytes.extend_from_slice(&self.now.0.to_be_bytes());
        bytes.extend_from_slice(
            &u16::try_from(self.key.len())
                .expect("a routed key is short")
                .to_be_bytes(),
        );
        bytes.extend_from_slice(self.key);
        bytes.extend_from_slice(self.payload);
        bytes
    }

    /// Reads any known version.
    ///
    /// # Errors
    /// [`Corrupt`] if it is cut short or of an unknown version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let short = || Corrupt("head row is cut short".to_owned());
        let (version, rest) = bytes.split_first().ok_or_else(short)?;
        if *version != HEAD_VERSION {
            return Err(Corrupt(format!(
                "unknown head version: found={version} known={HEAD_VERSION}"
            )));
        }
        let (deadline, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (now, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if rest.len() < length {
            return Err(short());
        }
        let (key, payload) = rest.split_at(length);
        let deadline = i64::from_be_bytes(*deadline);
        Ok(Self {
            deadline: (deadline != NO_DEADLINE).then_some(Millis(deadline)),
            now: Millis(i64::from_be_bytes(*now)),
            key,
            payload,
        })
    }
}

/// Why something is kept from its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The stage panicked on it.
    Panicked,
    /// The process died with it in hand, again and again.
    CrashLoop,
}

impl Cause {
    /// The published reason code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Panicked => "panicked",
            Self::CrashLoop => "crash_loop",
        }
    }
}

/// What the row of a quarantined key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// Why.
    pub cause: Cause,
    /// The key's clock when it began.
    pub time: Millis,
}

impl Quarantine {
    /// Writes the newest version.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let cause = match self.cause {
            Cause::Panicked => 1,
            Cause::CrashLoop => 2,
        };
        [&[QUARANTINE_VERSION, cause], self.time.0.to_be_bytes().as_slice()].concat()
    }

    /// Reads any known version.
    ///
    /// # Errors
    /// [`Corrupt`] if it is cut short, too long, or of an unknown version or cause.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let (&[version, cause], time) = bytes
            .split_first_chunk()
            .ok_or_else(|| Corrupt("quarantine row is cut short".to_owned()))?;
        if version != QUARANTINE_VERSION {
            return Err(Corrupt(format!(
                "unknown quarantine version: found={version} known={QUARANTINE_VERSION}"
            )));
        }
        let cause = match cause {
            1 => Cause::Panicked,
            2 => Cause::CrashLoop,
            _ => return Err(Corrupt(format!("unknown cause of a quarantine: {cause}"))),
        };
        let time = time
            .try_into()
            .map_err(|_| Corrupt(format!("quarantine row of unknown form: bytes={}", bytes.len())))?;
        Ok(Self {
            cause,
            time: Millis(i64::from_be_bytes(time)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_quarantine_never_change() {
        for (cause, code) in [(Cause::Panicked, 1), (Cause::CrashLoop, 2)] {
            let quarantine = Quarantine {
                cause,
                time: Millis(-2),
            };
            let golden = [1, code, 255, 255, 255, 255, 255, 255, 255, 254];
            assert_eq!(quarantine.encode(), golden);
            assert_eq!(Quarantine::decode(&golden), Ok(quarantine));
        }
        assert!(Quarantine::decode(&[1]).is_err() && Quarantine::decode(&[1, 1, 0]).is_err());
        assert!(Quarantine::decode(&[2, 1, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(Quarantine::decode(&[1, 3, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn the_bytes_of_a_head_never_change() {
        let head = Head {
            deadline: Some(Millis(1)),
            now: Millis(-1),
            key: b"k",
            payload: &[7, 8],
        };
        let golden = [
            1, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 0, 1, b'k', 7, 8,
        ];
        assert_eq!(head.encode(), golden);
        assert_eq!(Head::decode(&golden), Ok(head));
        assert!(Head::decode(&golden[..18]).is_err());
        assert!(Head::decode(&[2]).is_err());
    }

    #[test]
    fn timers_sort_by_time_and_read_back() {
        let key = key16(b"a");
        let (early, late) = (timer_key(Millis(-5), &key), timer_key(Millis(5), &key));
        assert!(early < late);
        assert_eq!(read_timer(&early), Some((Millis(-5), key)));
        assert_eq!(read_timer(b"ti"), None);
    }

    #[test]
    fn a_key_is_one_range() {
        let (from, to) = state_range(&[255; 16]);
        assert!(from <= state_key(&[255; 16], HEAD) && state_key(&[255; 16], HEAD) < to);
        assert_eq!(to, b"su");
    }
}
