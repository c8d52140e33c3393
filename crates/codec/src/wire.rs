//! Avro's binary encoding: zigzag varints, length-prefixed bytes, blocks, unions by index.

use std::collections::BTreeMap;

use event::{Decimal, Millis};

use crate::Refusal;

pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    if rest < 0x80 {
        out.push(rest as u8);
        return;
    }
    // Ten bytes hold any; to enter all at once and cut behind the last looks once whether there is room.
    let mut bytes = [0; 10];
    let mut last = 0;
    while rest >= 0x80 {
        bytes[last] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        last += 1;
    }
    bytes[last] = rest as u8;
    let begin = out.len();
    out.extend_from_slice(&bytes);
    out.truncate(begin + last + 1);
}

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_long(out, i64::try_from(count).unwrap_or(i64::MAX));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// A time: milliseconds in memory, microseconds on the wire.
pub(crate) fn put_time(out: &mut Vec<u8>, time: Millis) {
    put_long(out, time.0.saturating_mul(1000));
}

/// A decimal of scale 4: the shortest big-endian two's complement.
pub(crate) fn put_decimal(out: &mut Vec<u8>, value: Decimal) {
    let bytes = value.0.to_be_bytes();
    let sign = if value.0 < 0 { 0xff } else { 0 };
    let keeps_sign = |byte: u8| (byte & 0x80 != 0) == (value.0 < 0);
    let skipped = (0..7)
        .take_while(|index| bytes[*index] == sign && keeps_sign(bytes[index + 1]))
        .count();
    put_bytes(out, &bytes[skipped..]);
}

/// A union of null and something.
pub(crate) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(2);
            put(out, value);
        }
    }
}

pub(crate) fn put_list<T>(out: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        put_count(out, items.len());
        for item in items {
            put(out, item);
        }
    }
    out.push(0);
}

/// A map; entries in key order, so that equal maps are equal bytes.
pub(crate) fn put_map<T>(out: &mut Vec<u8>, map: &BTreeMap<String, T>, mut put: impl FnMut(&mut Vec<u8>, &T)) {
    if !map.is_empty() {
        put_count(out, map.len());
        for (key, value) in map {
            put_text(out, key);
            put(out, value);
        }
    }
    out.push(0);
}

/// Reads one value after the other; every failure names its offset.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8], next: usize) -> Self {
        Self { bytes, next }
    }

    pub fn malformed(&self, what: &str) -> Refusal {
        Refusal::new("avro_malformed", format!("{what}: offset={}", self.next))
    }

    pub fn end(&self) -> Result<(), Refusal> {
        if self.next == self.bytes.len() {
            Ok(())
        } else {
            Err(self.malformed("bytes are left over"))
        }
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self
            .bytes
            .get(self.next)
            .ok_or_else(|| self.malformed("the value ends too early"))?;
        self.next += 1;
        Ok(byte)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let rest = &self.bytes[self.next..];
        let taken = rest
            .get(..length)
            .ok_or_else(|| self.malformed("the value ends too early"))?;
        self.next += length;
        Ok(taken)
    }

    pub fn long(&mut self) -> Result<i64, Refusal> {
        if let Some(byte) = self.bytes.get(self.next).filter(|byte| **byte < 0x80) {
            self.next += 1;
            return Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1));
        }
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(self.malformed("a number is too long"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
            shift += 7;
        }
    }

    fn length(&mut self) -> Result<usize, Refusal> {
        let length = self.long()?;
        usize::try_from(length).map_err(|_| self.malformed("a length is negative"))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.length()?;
        self.take(length)
    }

    pub fn text(&mut self) -> Result<String, Refusal> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes)
            .map(ToOwned::to_owned)
            .map_err(|_| self.malformed("a string is not UTF-8"))
    }

    /// So many bytes, without a length before them.
    pub fn fixed<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Refusal> {
        let mut value = [0; BYTES];
        value.copy_from_slice(self.take(BYTES)?);
        Ok(value)
    }

    pub fn double(&mut self) -> Result<f64, Refusal> {
        self.fixed().map(f64::from_le_bytes)
    }

    pub fn bool(&mut self) -> Result<bool, Refusal> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("a boolean is neither 0 nor 1")),
        }
    }

    pub fn time(&mut self) -> Result<Millis, Refusal> {
        Ok(Millis(self.long()?.div_euclid(1000)))
    }

    pub fn decimal(&mut self) -> Result<Decimal, Refusal> {
        let bytes = self.bytes()?;
        if bytes.is_empty() || bytes.len() > 8 {
            return Err(self.malformed("a decimal has 1 to 8 bytes"));
        }
        let start = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
        Ok(Decimal(
            bytes.iter().fold(start, |value, byte| (value << 8) | i64::from(*byte)),
        ))
    }

    /// The index of an enum's symbol or of a union's branch, below `count`.
    pub fn index(&mut self, count: usize) -> Result<usize, Refusal> {
        let index = self.long()?;
        let index = usize::try_from(index).ok().filter(|index| *index < count);
        index.ok_or_else(|| self.malformed("an index is out of range"))
    }

    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<Option<T>, Refusal> {
        if self.index(2)? == 0 {
            Ok(None)
        } else {
            read(self).map(Some)
        }
    }

    /// Calls `read` once per item of an array or a map.
    pub fn blocks(&mut self, mut read: impl FnMut(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // A negative count is followed by the block's size in bytes.
                self.long()?;
                count = count
                    .checked_neg()
                    .ok_or_else(|| self.malformed("a count is out of range"))?;
            }
            if usize::try_from(count).is_ok_and(|count| count > self.bytes.len() - self.next) {
                return Err(self.malformed("a count exceeds the value"));
            }
            for _ in 0..count {
                read(self)?;
            }
        }
    }

    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
        let mut items = Vec::new();
        self.blocks(|reader| {
            items.push(read(reader)?);
            Ok(())
        })?;
        Ok(items)
    }

    pub fn map<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Refusal>,
    ) -> Result<BTreeMap<String, T>, Refusal> {
        let mut map = BTreeMap::new();
        self.blocks(|reader| {
            let key = reader.text()?;
            map.insert(key, read(reader)?);
            Ok(())
        })?;
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_the_fewest_bytes_and_reads_back() {
        let lengths = [
            (0, 1),
            (-64, 1),
            (63, 1),
            (64, 2),
            (-65, 2),
            (8191, 2),
            (8192, 3),
            (i64::MAX >> 1, 9),
            (i64::MAX, 10),
            (i64::MIN, 10),
        ];
        for (value, length) in lengths {
            let mut bytes = vec![7];
            put_long(&mut bytes, value);
            assert_eq!(bytes.len(), 1 + length, "{value}");
            let mut from = Reader::new(&bytes, 1);
            assert_eq!(from.long(), Ok(value));
            assert_eq!(from.end(), Ok(()));
            for cut in 1..bytes.len() {
                assert!(Reader::new(&bytes[..cut], 1).long().is_err(), "{value} cut at {cut}");
            }
        }
    }
}
