//! Reading numbers and strings from bytes that nobody has checked yet.

use crate::weights::WeightsError;

/// A place in the header. Every read checks that the bytes are there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Array elements that may still be read: what a header takes in memory is bounded by more than its length.
    elements: u64,
}

/// Elements of all arrays together. The largest vocabularies have a million tokens and two million merges.
const MAX_ELEMENTS: u64 = 1 << 24;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, elements: MAX_ELEMENTS }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// What was read since this position.
    pub(super) fn since(&self, position: u64) -> &'a [u8] {
        self.bytes.get(position as usize..self.at).unwrap_or_default()
    }

    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], WeightsError> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            return Err(self.truncated(what, length as u64));
        };
        self.at += length;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], WeightsError> {
        let taken = self.take(N, what)?;
        taken.try_into().map_err(|_| self.truncated(what, N as u64))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, WeightsError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, WeightsError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count that is at most `limit`.
    pub(super) fn count(&mut self, what: &str, limit: u64) -> Result<u64, WeightsError> {
        let value = self.u64(what)?;
        if value > limit {
            return Err(WeightsError::TooLarge { what: what.to_owned(), value, limit });
        }
        Ok(value)
    }

    /// The number of an array's elements, each of which takes at least `least_bytes`.
    pub(super) fn elements(&mut self, what: &str, least_bytes: u64) -> Result<usize, WeightsError> {
        let count = self.count(what, self.elements)?;
        self.elements -= count;
        let needed = count * least_bytes;
        if needed > (self.bytes.len() - self.at) as u64 {
            return Err(self.truncated(what, needed));
        }
        Ok(count as usize)
    }

    /// Text of any length. Bytes that aren't UTF-8 become U+FFFD: some vocabularies hold single bytes.
    pub(super) fn text(&mut self, what: &str) -> Result<String, WeightsError> {
        Ok(String::from_utf8_lossy(self.string(what)?).into_owned())
    }

    /// A name: UTF-8, not empty, at most `limit` bytes.
    pub(super) fn name(&mut self, what: &str, limit: usize) -> Result<String, WeightsError> {
        let bytes = self.string(what)?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() && name.len() <= limit && !name.contains('\0') => Ok(name.to_owned()),
            _ => Err(WeightsError::invalid(format!("{what} is empty, too long or not text"))),
        }
    }

    /// Bytes behind their length.
    pub(super) fn string(&mut self, what: &str) -> Result<&'a [u8], WeightsError> {
        let length = self.u64(what)?;
        // No file is longer than this; without the check, the sum of position and length could overflow.
        if length > i64::MAX as u64 / 2 {
            return Err(WeightsError::TooLarge {
                what: format!("the length of {what}"),
                value: length,
                limit: i64::MAX as u64 / 2,
            });
        }
        match usize::try_from(length) {
            Ok(length) => self.take(length, what),
            Err(_) => Err(self.truncated(what, length)),
        }
    }

    fn truncated(&self, what: &str, more: u64) -> WeightsError {
        WeightsError::Truncated {
            what: what.to_owned(),
            needed: (self.at as u64).saturating_add(more),
            given: self.bytes.len() as u64,
        }
    }
}
