//! Writes and reads the runtime's own records: a version byte, then big-endian fields.

use crate::Corrupt;

/// Builds a record.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with the version.
    #[must_use]
    pub fn new(version: u8) -> Self {
        Self { bytes: vec![version] }
    }

    /// Adds four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Adds four bytes.
    pub fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Adds eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Adds eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Adds a length and the bytes.
    ///
    /// # Panics
    /// If they are 4 GiB or more, which no record can be.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u32(u32::try_from(value.len()).expect("a record is below 4 GiB"));
        self.bytes.extend_from_slice(value);
    }

    /// The record.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes a record apart.
#[derive(Debug)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks the version byte.
    ///
    /// # Errors
    /// [`Corrupt`] if there is none, or it is not the one known.
    pub fn new(what: &'static str, bytes: &'a [u8], known: u8) -> Result<Self, Corrupt> {
        match bytes.split_first() {
            Some((version, rest)) if *version == known => Ok(Self { what, rest }),
            Some((version, _)) => Err(Corrupt(format!(
                "unknown {what} version: found={version} known={known}"
            ))),
            None => Err(Corrupt(format!("{what} is empty"))),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| Corrupt(format!("{} is cut short", self.what)))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Corrupt`] if the record is cut short, as for all below.
    pub fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(self.take::<1>()?[0])
    }

    /// Takes four bytes.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn u32(&mut self) -> Result<u32, Corrupt> {
        self.take().map(u32::from_be_bytes)
    }

    /// Takes four bytes.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn i32(&mut self) -> Result<i32, Corrupt> {
        self.take().map(i32::from_be_bytes)
    }

    /// Takes eight bytes.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn u64(&mut self) -> Result<u64, Corrupt> {
        self.take().map(u64::from_be_bytes)
    }

    /// Takes eight bytes.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn i64(&mut self) -> Result<i64, Corrupt> {
        self.take().map(i64::from_be_bytes)
    }

    /// Takes a length and that many bytes.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.u32()? as usize;
        if length > self.rest.len() {
            return Err(Corrupt(format!("{} is cut short", self.what)));
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    /// The bytes that have not been taken.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing is left.
    ///
    /// # Errors
    /// [`Corrupt`] if something is.
    pub fn end(&self) -> Result<(), Corrupt> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Corrupt(format!("{} is too long: bytes={}", self.what, self.rest.len())))
    }
}
