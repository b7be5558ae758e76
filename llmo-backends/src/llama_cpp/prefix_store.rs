//! Where beginnings of prompts that come again are kept.

use std::sync::Arc;

use llmo_core::Store;
use llmo_core::store::StorePath;

/// A store for what was computed of beginnings that many prompts share: a system prompt survives a restart and reaches
/// other replicas.
///
/// Entries are kept apart by tenant, and taken only by the same model, build, kernels and kind of KV cache. They hold the
/// tokens of prompts: who can read the store can read those.
#[derive(Clone)]
#[non_exhaustive]
pub struct PrefixStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Everything is below this path.
    pub directory: StorePath,
    /// Most bytes of all entries of one model; the oldest go first.
    pub max_bytes: u64,
    /// Most entries of one model.
    pub max_entries: usize,
}

impl PrefixStore {
    /// Keeps up to 64 entries and 1 GiB a model below `prefix-cache/`.
    ///
    /// # Errors
    /// Never with this path; the type of it says that there may be some.
    pub fn new(store: Arc<dyn Store>) -> Result<Self, llmo_core::store::StoreError> {
        Ok(Self { store, directory: StorePath::new("prefix-cache")?, max_bytes: 1 << 30, max_entries: 64 })
    }
}

impl std::fmt::Debug for PrefixStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixStore")
            .field("store", &self.store.kind())
            .field("directory", &self.directory)
            .field("max_bytes", &self.max_bytes)
            .field("max_entries", &self.max_entries)
            .finish()
    }
}

impl PartialEq for PrefixStore {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
            && (&self.directory, self.max_bytes, self.max_entries)
                == (&other.directory, other.max_bytes, other.max_entries)
    }
}
