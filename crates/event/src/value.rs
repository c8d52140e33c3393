//! Times, money and ids.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z, or a span of milliseconds where a name says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// A time before every event.
    pub const MIN: Self = Self(i64::MIN);

    /// The time `span` milliseconds later; saturates.
    #[must_use]
    #[inline]
    pub const fn plus(self, span: i64) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// Reads a time as RFC 3339 writes it, in any year up to 9999; the date and the time may also stand without signs between, or without
    /// seconds, as ISO 8601 has it. `None` if it is none, if it names no offset, or one of a day and more, and for the 60th second of a
    /// minute other than the last of a UTC day, which is counted as the 59th.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const DAY: i32 = 86_400;
        let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset()?.seconds();
        if offset.abs() >= DAY {
            return None;
        }
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        let local = pieces.date().to_datetime(pieces.time()?).duration_since(epoch);
        let millis = local.as_millis() - i128::from(offset) * 1000;
        let at = Self(i64::try_from(millis).ok()?);
        let is_last_of_day = at.0.div_euclid(1000).rem_euclid(i64::from(DAY)) == i64::from(DAY) - 1;
        (!is_leap_second(text) || is_last_of_day).then_some(at)
    }

    /// The milliseconds from `earlier` to this time; saturates.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether the second that a time names is the 60th; the reader of times takes it for the 59th.
fn is_leap_second(text: &str) -> bool {
    let Some((_, time)) = text.split_once(['T', 't', ' ']) else {
        return false;
    };
    let end = time.find(|letter: char| !letter.is_ascii_digit() && letter != ':');
    let digits: String = time[..end.unwrap_or(time.len())].split(':').collect();
    digits.get(4..6) == Some("60")
}

/// Money in major units with four decimal places, `decimal(18,4)` in the schemas; the field counts ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Decimal(pub i64);

impl Decimal {
    /// Ten-thousandths in one major unit.
    pub const SCALE: i64 = 10_000;

    /// Reads a plain decimal number such as `309.90` or `-3`; `None` beyond four places or 18 digits, or if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 14 || fraction.len() > 4 {
            return None;
        }
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let mut units: i64 = whole.parse().ok()?;
        units = units.checked_mul(Self::SCALE)?;
        let mut scale = Self::SCALE;
        for byte in fraction.bytes() {
            scale /= 10;
            units += i64::from(byte - b'0') * scale;
        }
        Some(Self(if negative { -units } else { units }))
    }

    /// The nearest decimal to a double; `None` for one that is not finite or out of range.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        let scaled = (value * 10_000.0).round();
        // 18 digits is the schema's precision; every such integer fits an i64.
        if scaled.is_finite() && scaled.abs() < 1e18 {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be below 1e18")]
            Some(Self(scaled as i64))
        } else {
            None
        }
    }

    /// The double nearest to this amount, for comparison and display, never for booking.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "stated in the doc comment")]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 10_000.0
    }
}

impl fmt::Display for Decimal {
    /// Prints at least two decimal places: `309.90`, `-0.125`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        let fraction = format!("{:04}", units % 10_000);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{}.{}", units / 10_000, &fraction[..kept])
    }
}

/// A 128-bit id derived from what caused a record, so that a replay gives the same; printed as UUID version 8 (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OutputId([u8; 16]);

impl OutputId {
    /// Takes a hash and sets the six bits that say "UUID, version 8".
    #[must_use]
    pub const fn from_hash(mut hash: [u8; 16]) -> Self {
        hash[6] = (hash[6] & 0x0f) | 0x80;
        hash[8] = (hash[8] & 0x3f) | 0x80;
        Self(hash)
    }

    /// The 16 bytes, version and variant bits included.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the printed form, `77f4c0b6-0ee9-8a5c-b1e5-6f7a4817b8b1`, bit by bit: another kind of UUID is an id that nothing has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut id = [0u8; 16];
        let mut nibbles = 0;
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = char::from(*byte).to_digit(16)?;
            id[nibbles / 2] = (id[nibbles / 2] << 4) | u8::try_from(digit).ok()?;
            nibbles += 1;
        }
        Some(Self(id))
    }
}

impl fmt::Display for OutputId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written_and_refused_where_there_is_none_such() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01 00:00:00.25+00:00", 250),
            ("2026-11-21T13:00:00Z", 1_795_266_000_000),
            ("2026-11-21T14:00:00+01:00", 1_795_266_000_000),
            ("2026-11-21T14:00+0100", 1_795_266_000_000),
            ("20261121T130000Z", 1_795_266_000_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2017-01-01T00:59:60+01:00", 1_483_228_799_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ] {
            assert_eq!(Millis::parse(text), Some(Millis(millis)), "{text}");
        }
        for text in [
            "",
            "noon",
            "2026-11-21",
            "2026-11-21T13:00:00",
            "2026-11-21T13:00:00+25:00",
            "2026-11-21T13:00:00-24:00",
            "2026-11-21T13:00:60Z",
            "2026-11-21T130060Z",
            "2026-11-21T13:00:61Z",
            "2026-11-21T24:00:00Z",
            "2026-02-30T13:00:00Z",
            "2026-11-21T13:00:00Z and more",
        ] {
            assert_eq!(Millis::parse(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_print_what_they_read() {
        for (text, printed) in [
            ("309.90", "309.90"),
            ("309.9", "309.90"),
            ("3", "3.00"),
            ("-0.125", "-0.125"),
            ("0.0001", "0.0001"),
        ] {
            assert_eq!(
                Decimal::parse(text).map(|value| value.to_string()).as_deref(),
                Some(printed)
            );
        }
        for text in ["", ".5", "1.00001", "1e3", "--1", "123456789012345"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn output_ids_are_version_8_and_read_back() {
        let id = OutputId::from_hash([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(OutputId::parse(&id.to_string()), Some(id));
        assert_eq!(OutputId::parse("ffffffff-ffff-8fff-bfff-fffffffffff"), None);
    }
}
