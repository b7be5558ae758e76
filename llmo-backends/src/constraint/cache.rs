//! Compiled grammars by their source, bounded in number and in bytes of source; the one used longest ago leaves first.

use std::collections::VecDeque;

use llmo_core::ModelError;

use super::matcher::Matcher;

/// What compiling gave: a matcher at its beginning, or why there is none.
pub(super) type Compiled = Result<Matcher, ModelError>;

/// See the module. A handful of entries: they are searched in turn.
#[derive(Debug)]
pub(super) struct Cache {
    /// Used longest ago first.
    entries: VecDeque<(String, Compiled)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Cache {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// What this source was compiled to.
    pub(super) fn get(&mut self, source: &str) -> Option<Compiled> {
        let at = self.entries.iter().position(|(key, _)| key == source)?;
        let entry = self.entries.remove(at)?;
        let compiled = entry.1.clone();
        self.entries.push_back(entry);
        Some(compiled)
    }

    /// Keeps what a source was compiled to.
    pub(super) fn put(&mut self, source: String, compiled: Compiled) {
        if source.len() > self.most_bytes || self.entries.iter().any(|(key, _)| *key == source) {
            return;
        }
        self.bytes += source.len();
        self.entries.push_back((source, compiled));
        while self.entries.len() > self.most || self.bytes > self.most_bytes {
            let Some((source, _)) = self.entries.pop_front() else { return };
            self.bytes -= source.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str) -> Compiled {
        Err(ModelError::invalid(name, "no"))
    }

    #[test]
    fn the_one_used_longest_ago_leaves_first() {
        let mut cache = Cache::new(2, 100);
        cache.put("a".into(), refusal("a"));
        cache.put("b".into(), refusal("b"));
        assert!(cache.get("a").is_some());
        cache.put("c".into(), refusal("c"));
        assert!(cache.get("a").is_some() && cache.get("b").is_none() && cache.get("c").is_some());
    }

    #[test]
    fn sources_are_bounded_in_bytes() {
        let mut cache = Cache::new(10, 10);
        cache.put("x".repeat(11), refusal("x"));
        assert_eq!(cache.bytes, 0);
        cache.put("a".repeat(6), refusal("a"));
        cache.put("b".repeat(6), refusal("b"));
        assert_eq!((cache.bytes, cache.entries.len()), (6, 1));
    }
}
