//! Paths of objects in a store.

use serde::{Deserialize, Serialize};

use super::{Result, StoreError};

const MAX_BYTES: usize = 512;
const MAX_SEGMENT_BYTES: usize = 200;

/// A relative path of 1 to 16 segments joined by `/`; a segment has only `A-Z a-z 0-9 - _ .` and does not start with a
/// dot. It can't lead out of a directory, name a device, or look like another path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// Checks and wraps a path.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] saying what is wrong.
    pub fn new(path: impl Into<String>) -> Result<Self> {
        let path = path.into();
        match fault(&path) {
            None => Ok(Self(path)),
            Some(reason) => Err(StoreError::InvalidPath { path, reason: reason.to_owned() }),
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path with more segments behind it.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn join(&self, more: &str) -> Result<Self> {
        Self::new(format!("{}/{more}", self.0))
    }

    /// Does this path lie in the directory `prefix`, or is it the same?
    #[must_use]
    pub fn is_under(&self, prefix: &Self) -> bool {
        self.0.strip_prefix(&prefix.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > MAX_BYTES {
        return Some("must be 1 to 512 bytes long");
    }
    if path.split('/').count() > 16 {
        return Some("must have at most 16 segments");
    }
    path.split('/').find_map(|segment| match segment {
        "" => Some("has an empty segment"),
        s if s.starts_with('.') => Some("a segment must not start with a dot"),
        s if s.len() > MAX_SEGMENT_BYTES => Some("a segment must be at most 200 bytes long"),
        s if !s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) => {
            Some("only letters, digits, '-', '_', '.' and '/' are allowed")
        }
        _ => None,
    })
}

impl TryFrom<String> for StorePath {
    type Error = StoreError;

    fn try_from(path: String) -> Result<Self> {
        Self::new(path)
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl std::fmt::Display for StorePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_store() {
        assert!(StorePath::new("smollm2-135m/model.gguf").is_ok());
        for bad in
            ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "%2e%2e/x", "a\\b", "a\0b", "a b", "ａ", ".git", "a/.x"]
        {
            assert!(StorePath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prefixes_are_whole_segments() -> Result<()> {
        let dir = StorePath::new("a/b")?;
        assert!(StorePath::new("a/b/c")?.is_under(&dir));
        assert!(StorePath::new("a/b")?.is_under(&dir));
        assert!(!StorePath::new("a/bc")?.is_under(&dir));
        Ok(())
    }
}
