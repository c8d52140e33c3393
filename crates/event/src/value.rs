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
