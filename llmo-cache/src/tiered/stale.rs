//! Keys whose value in the second tier is older than what this client wrote.

use std::collections::{HashSet, VecDeque};

use llmo_core::CacheKey;
use parking_lot::Mutex;

/// Marks kept at most. Beyond, the oldest is forgotten, and a value that was replaced while the second tier was down
/// may be seen again once it is back.
const MOST: usize = 16 * 1024;

/// A bounded set of keys that must not be read from the second tier.
#[derive(Debug, Default)]
pub(super) struct StaleKeys(Mutex<Marks>);

#[derive(Debug, Default)]
struct Marks {
    marked: HashSet<CacheKey>,
    oldest_first: VecDeque<CacheKey>,
}

/// A write to the second tier. Unless it is said to have gone well, also if it is cancelled, the key is marked.
pub(super) struct Write<'a> {
    keys: &'a StaleKeys,
    key: &'a CacheKey,
    settled: bool,
}

// === impl StaleKeys ===

impl StaleKeys {
    pub(super) fn contains(&self, key: &CacheKey) -> bool {
        let marks = self.0.lock();
        !marks.marked.is_empty() && marks.marked.contains(key)
    }

    /// A write of this key begins.
    pub(super) fn write<'a>(&'a self, key: &'a CacheKey) -> Write<'a> {
        Write { keys: self, key, settled: false }
    }

    pub(super) fn unmark_all(&self) {
        *self.0.lock() = Marks::default();
    }

    pub(super) fn mark(&self, key: &CacheKey) {
        let mut marks = self.0.lock();
        if !marks.marked.insert(key.clone()) {
            return;
        }
        marks.oldest_first.push_back(key.clone());
        if marks.oldest_first.len() > MOST
            && let Some(oldest) = marks.oldest_first.pop_front()
        {
            marks.marked.remove(&oldest);
        }
    }

    fn unmark(&self, key: &CacheKey) {
        let mut marks = self.0.lock();
        if marks.marked.remove(key)
            && let Some(at) = marks.oldest_first.iter().position(|marked| marked == key)
        {
            marks.oldest_first.remove(at);
        }
    }
}

// === impl Write ===

impl Write<'_> {
    /// The second tier holds the new value, or certainly nothing.
    pub(super) fn succeeded(mut self) {
        self.settled = true;
        self.keys.unmark(self.key);
    }

    /// The second tier holds what it held before, and that is as current as it was.
    pub(super) fn changed_nothing(mut self) {
        self.settled = true;
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.keys.mark(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> CacheKey {
        CacheKey::new(n.to_string()).unwrap()
    }

    #[test]
    fn a_write_that_is_given_up_marks_its_key() {
        let stale = StaleKeys::default();
        drop(stale.write(&key(1)));
        assert!(stale.contains(&key(1)));
        stale.write(&key(1)).changed_nothing();
        assert!(stale.contains(&key(1)));
        stale.write(&key(1)).succeeded();
        assert!(!stale.contains(&key(1)));
    }

    #[test]
    fn marks_are_bounded_and_the_oldest_goes_first() {
        let stale = StaleKeys::default();
        for n in 0..=MOST {
            stale.mark(&key(n));
        }
        assert!(!stale.contains(&key(0)));
        assert!(stale.contains(&key(1)) && stale.contains(&key(MOST)));
        assert_eq!(stale.0.lock().marked.len(), MOST);
    }
}
