//! sha256 and size of a stream of bytes, and whether they are the expected ones.

use llmo_core::store::{Result, StoreError, StorePutOptions};
use sha2::{Digest as _, Sha256};

/// Sums bytes up while they pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summing {
    hasher: Sha256,
    size: u64,
}

impl Summing {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes so far.
    #[cfg(feature = "pull")]
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn finish(self) -> Digest {
        Digest { sha256: hex::encode(self.hasher.finalize()), size: self.size }
    }
}

/// What bytes were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    /// sha256 in lower-case hexadecimal.
    pub(crate) sha256: String,
    /// Bytes.
    pub(crate) size: u64,
}

impl Digest {
    /// Are these the bytes that were promised? The size first: it is the easier one to understand.
    pub(crate) fn check(&self, path: &str, options: &StorePutOptions) -> Result<()> {
        if let Some(expected) = options.expected_size
            && expected != self.size
        {
            return Err(StoreError::SizeMismatch { path: path.to_owned(), expected, actual: self.size });
        }
        match &options.expected_sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(&self.sha256) => Err(StoreError::HashMismatch {
                path: path.to_owned(),
                expected: expected.clone(),
                actual: self.sha256.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// sha256 of a file in lower-case hexadecimal. Blocks, for about a second a gigabyte.
///
/// # Errors
/// What reading the file fails with.
pub fn file_sha256(path: &std::path::Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Is this a sha256 in hexadecimal?
#[must_use]
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256_in_lower_case_hexadecimal() {
        let mut sum = Summing::default();
        sum.update(b"a");
        sum.update(b"bc");
        let digest = sum.finish();
        assert_eq!(digest.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.size, 3);
        assert!(digest.check("x", &StorePutOptions::sha256(digest.sha256.to_uppercase())).is_ok());
    }

    #[test]
    fn other_bytes_or_sizes_than_promised_are_refused() {
        let digest = Summing::default().finish();
        assert!(matches!(digest.check("x", &StorePutOptions::sha256("00")), Err(StoreError::HashMismatch { .. })));
        let mut options = StorePutOptions::default();
        options.expected_size = Some(1);
        assert!(matches!(digest.check("x", &options), Err(StoreError::SizeMismatch { expected: 1, actual: 0, .. })));
    }
}
