//! The names of our keys in Redis.

use llmo_core::CacheKey;

/// Names under one prefix. Entries and tags have a letter of their own, so that no key can be taken for a tag.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn entry(&self, key: &CacheKey) -> Vec<u8> {
        self.entry_named(key.as_str().as_bytes())
    }

    /// The name of an entry whose key comes from a tag's set.
    pub(super) fn entry_named(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"e:", key].concat()
    }

    pub(super) fn tag(&self, tag: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), b"t:", tag.as_bytes()].concat()
    }

    /// A glob that matches exactly the names under the prefix, whatever characters the prefix has.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.prefix.len() + 8);
        for c in self.prefix.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push_str("[et]:*");
        pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_taken_for_a_tag() {
        let keys = Keys::new("llmo:");
        assert_eq!(keys.entry(&CacheKey::new("t:x").unwrap()), b"llmo:e:t:x");
        assert_eq!(keys.tag("e:x"), b"llmo:t:e:x");
    }

    #[test]
    fn a_prefix_is_matched_literally() {
        assert_eq!(Keys::new("a*b[1]?").pattern(), r"a\*b\[1\]\?[et]:*");
    }
}
