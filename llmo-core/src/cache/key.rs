//! Keys of cache entries.

use super::{CacheError, Result};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// A key: 1 to 256 of `A-Z a-z 0-9 - _ . :`. Safe in a URL path, in a Redis key and in a log line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(String);

impl CacheKey {
    /// Checks and wraps a key.
    ///
    /// # Errors
    /// [`CacheError::InvalidKey`] if it is empty, too long, starts with a dot or has other characters.
    pub fn new(key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(CacheError::InvalidKey(format!("1 to {MAX_KEY_BYTES} bytes, got {}", key.len())));
        }
        if key.starts_with('.') {
            return Err(CacheError::InvalidKey("must not start with a dot".into()));
        }
        if let Some(bad) = key.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.:".contains(*c))) {
            return Err(CacheError::InvalidKey(format!("{:?} is not allowed", bad)));
        }
        Ok(Self(key))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_in_urls_and_redis() {
        assert!(CacheKey::new("gen:v1:abc-DEF_0.9").is_ok());
        for bad in ["", "a b", "a/b", "../x", "a\0", "é", ".hidden", &"x".repeat(257)] {
            assert!(CacheKey::new(bad).is_err(), "{bad:?}");
        }
    }
}
