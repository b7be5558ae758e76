//! What can be wrong with a configuration.

use std::path::PathBuf;

use crate::Origin;

/// Why a configuration can't be used. Each says what, where, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file isn't TOML.
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A key that doesn't exist.
    #[error("unknown setting {key:?} in {origin}{}", suggestion.as_ref().map_or_else(String::new, |s| format!("; did you mean {s:?}?")))]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// A similar key that exists.
        suggestion: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("{key} = {value} in {origin}: {message}")]
    InvalidValue {
        /// The key, dotted.
        key: String,
        /// What stands there.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// What is wrong.
        message: String,
    },
    /// `--set` without `key=value`.
    #[error("{0:?} is not of the form section.key=value")]
    InvalidFlag(String),
}
