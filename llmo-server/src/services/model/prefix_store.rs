//! The store for computed beginnings of prompts, as the configuration names it.

use std::sync::Arc;

use llmo_backends::llama_cpp::PrefixStore;
use llmo_config::ModelConfig;
use llmo_core::{Store, StoreError};
use llmo_store::local::LocalStore;
use llmo_store::remote::{RemoteStore, RemoteStoreOptions};

/// Opens it, if there is to be one. Blocking; on a thread of a runtime. A store that can't be had is a warning: models answer
/// without, only slower.
pub(super) fn open(config: &ModelConfig) -> Option<PrefixStore> {
    let place = config.prefix_store.as_str();
    if place.is_empty() {
        return None;
    }
    let opened = store(place).and_then(PrefixStore::new);
    let mut opened = opened.inspect_err(|error| tracing::warn!(place, %error, "no prefix store")).ok()?;
    (opened.max_bytes, opened.max_entries) = (config.prefix_store_max_bytes, config.prefix_store_max_entries);
    Some(opened)
}

fn store(place: &str) -> Result<Arc<dyn Store>, StoreError> {
    if place.starts_with("http://") || place.starts_with("https://") {
        return Ok(Arc::new(RemoteStore::new(place, &RemoteStoreOptions::default())?));
    }
    let runtime = tokio::runtime::Handle::try_current().map_err(|e| StoreError::Unavailable(e.to_string()))?;
    Ok(Arc::new(runtime.block_on(LocalStore::open(place))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(place: &str) -> ModelConfig {
        ModelConfig { prefix_store: place.to_owned(), prefix_store_max_entries: 7, ..ModelConfig::default() }
    }

    #[tokio::test]
    async fn a_directory_an_address_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").display().to_string();
        let opened = tokio::task::spawn_blocking(move || open(&config(&path))).await.unwrap().unwrap();
        assert_eq!((opened.store.kind(), opened.max_entries), ("local", 7));
        let remote = open(&config("http://127.0.0.1:1")).unwrap();
        assert_eq!(remote.store.kind(), "remote");
        assert!(open(&config("")).is_none());
    }

    #[tokio::test]
    async fn a_place_that_can_t_be_had_is_no_reason_to_stop() {
        let opened = tokio::task::spawn_blocking(|| open(&config("/dev/null/x"))).await.unwrap();
        assert!(opened.is_none());
    }
}
