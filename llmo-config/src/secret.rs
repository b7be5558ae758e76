//! A value that must not be printed.

use serde::{Deserialize, Serialize};

/// A key or a password. Written and read as plain text, since configurations are; what is printed for debugging hides it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself; empty: none was given.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Was none given?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "…" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_but_not_printed() {
        let key = Secret::from("sk-1".to_owned());
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"sk-1\"");
        assert_eq!(serde_json::from_str::<Secret>("\"sk-1\"").unwrap(), key);
        assert!(!format!("{key:?}").contains("sk-1"));
    }
}
