//! Which store, and where models come from.

use std::sync::Arc;

use llmo_config::{StoreBackend, StoreConfig};
use llmo_core::Store;
use llmo_store::catalogue::Catalogue;
use llmo_store::local::LocalStore;
use llmo_store::pull::{PullOptions, Puller, SourceKind};
use llmo_store::remote::{RemoteStore, RemoteStoreOptions};

use super::WiringError;

/// The directory of models on this machine.
///
/// # Errors
/// [`WiringError::Store`] if it can't be made or read.
pub async fn local_store(config: &StoreConfig) -> Result<LocalStore, WiringError> {
    LocalStore::open(config.directory()).await.map_err(|source| WiringError::Store { setting: "dir", source })
}

/// What the storage service serves.
///
/// # Errors
/// As for [`local_store`]; [`WiringError::Value`] if the service would ask itself.
pub async fn service_store(config: &StoreConfig) -> Result<Arc<dyn Store>, WiringError> {
    match config.backend {
        // On one host the storage service's clients have `remote` in the same file: the service has the directory.
        StoreBackend::S3 => s3(config),
        _ => Ok(Arc::new(local_store(config).await?)),
    }
}

/// Gets models into the directory of this machine: from the hub and the registry, and from the storage service or the bucket
/// where the configuration has one. `unpinned` accepts files whose hash nobody has written down.
///
/// # Errors
/// [`WiringError`] naming the setting that can't be.
pub async fn model_source(config: &StoreConfig, unpinned: bool) -> Result<Puller, WiringError> {
    let mut options = PullOptions::default();
    options.hub_endpoint.clone_from(&config.hub_endpoint);
    options.sources = config.sources.iter().map(|name| source_kind(name)).collect::<Result<_, _>>()?;
    options.allow_unpinned = unpinned;
    options.upstream = match config.backend {
        StoreBackend::Remote => Some(remote(config)?),
        StoreBackend::S3 => Some(s3(config)?),
        _ => None,
    };
    if options.upstream.is_some() && !options.sources.contains(&SourceKind::Store) {
        options.sources.insert(0, SourceKind::Store);
    }
    Ok(Puller::new(local_store(config).await?, Arc::new(Catalogue::builtin()?), options))
}

fn source_kind(name: &str) -> Result<SourceKind, WiringError> {
    name.parse().map_err(|message| WiringError::Value { key: "store.sources", value: name.to_owned(), message })
}

fn remote(config: &StoreConfig) -> Result<Arc<dyn Store>, WiringError> {
    let local = format!("http://{}:{}", config.host, config.port);
    let url = if config.url.is_empty() { &local } else { &config.url };
    let store = RemoteStore::new(url, &RemoteStoreOptions::default());
    Ok(Arc::new(store.map_err(|source| WiringError::Store { setting: "url", source })?))
}

#[cfg(feature = "s3")]
fn s3(config: &StoreConfig) -> Result<Arc<dyn Store>, WiringError> {
    let mut options = llmo_store::object::S3Options::default();
    options.bucket.clone_from(&config.s3_bucket);
    options.region.clone_from(&config.s3_region);
    options.endpoint = Some(config.s3_endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
    options.prefix = Some(config.s3_prefix.clone()).filter(|prefix| !prefix.is_empty());
    let store = llmo_store::object::ObjectStoreBackend::s3(&options);
    Ok(Arc::new(store.map_err(|source| WiringError::Store { setting: "s3_bucket", source })?))
}

#[cfg(not(feature = "s3"))]
fn s3(_: &StoreConfig) -> Result<Arc<dyn Store>, WiringError> {
    Err(WiringError::Value {
        key: "store.backend",
        value: "s3".into(),
        message: "this program was built without S3: build it with --features s3".into(),
    })
}
