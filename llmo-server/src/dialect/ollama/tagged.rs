//! Names with Ollama's tags.

/// The name without `:latest`, which clients add to names that have no tag.
#[must_use]
pub fn untagged(name: &str) -> Option<&str> {
    name.strip_suffix(":latest").filter(|rest| !rest.is_empty())
}
