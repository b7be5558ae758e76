//! Which entries carry a tag.

use std::collections::HashMap;

use llmo_core::CacheKey;
use parking_lot::Mutex;

/// From tags to entries, each entry known by key and id.
///
/// As large as the cache lets it be: an entry's tags are part of its weight, and what leaves the cache leaves the
/// index through the eviction listener. An entry is in here from just before it enters the cache until it has left.
#[derive(Debug, Default)]
pub(super) struct TagIndex {
    by_tag: Mutex<HashMap<String, HashMap<CacheKey, u64>>>,
}

impl TagIndex {
    /// Notes that the entry `id` under `key` carries these tags.
    pub(super) fn insert(&self, tags: &[String], key: &CacheKey, id: u64) {
        if tags.is_empty() {
            return;
        }
        let mut by_tag = self.by_tag.lock();
        for tag in tags {
            by_tag.entry(tag.clone()).or_default().insert(key.clone(), id);
        }
    }

    /// Forgets the entry `id`; a later entry under the same key stays.
    pub(super) fn forget(&self, tags: &[String], key: &CacheKey, id: u64) {
        if tags.is_empty() {
            return;
        }
        let mut by_tag = self.by_tag.lock();
        for tag in tags {
            let Some(entries) = by_tag.get_mut(tag) else { continue };
            if entries.get(key) == Some(&id) {
                entries.remove(key);
            }
            if entries.is_empty() {
                by_tag.remove(tag);
            }
        }
    }

    /// The entries that carry `tag` now.
    pub(super) fn entries_of(&self, tag: &str) -> Vec<(CacheKey, u64)> {
        let by_tag = self.by_tag.lock();
        by_tag.get(tag).map_or_else(Vec::new, |entries| entries.iter().map(|(key, id)| (key.clone(), *id)).collect())
    }

    /// How many (tag, entry) pairs are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_tag.lock().values().map(HashMap::len).sum()
    }
}
