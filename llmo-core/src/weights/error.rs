//! What can be wrong with a weight file.

/// Why the header of a weight file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The bytes end inside the header. With more of the same file it may be sound.
    #[error("the header is cut off: {what} ends at byte {needed}, but there are {given}")]
    Truncated {
        /// What is missing.
        what: String,
        /// How many bytes it takes at least.
        needed: u64,
        /// How many there are.
        given: u64,
    },
    /// The file is of another kind.
    #[error("not a {format} file")]
    Magic {
        /// The kind that was expected.
        format: &'static str,
    },
    /// A version that nobody reads any more, or yet.
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    /// A count or a length is larger than any sound file has.
    #[error("{what} is {value}, but at most {limit} is sound")]
    TooLarge {
        /// The count.
        what: String,
        /// Its value.
        value: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// Something contradicts itself or the format.
    #[error("{0}")]
    Invalid(String),
}

impl WeightsError {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}
