//! Where models are looked for, and what is accepted from there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use llmo_core::store::Store;

/// Where and how a [`Puller`](super::Puller) gets models.
#[derive(Clone)]
#[non_exhaustive]
pub struct PullOptions {
    /// Kinds of sources, in the order in which they are tried.
    pub sources: Vec<SourceKind>,
    /// Base URL of the model hub.
    pub hub_endpoint: String,
    /// The Python interpreter whose `pip` knows the package registry of this machine.
    pub python: PathBuf,
    /// Directories with models, laid out like a store; for [`SourceKind::Directory`].
    pub directories: Vec<PathBuf>,
    /// A storage service or a bucket; for [`SourceKind::Store`].
    pub upstream: Option<Arc<dyn Store>>,
    /// Longest wait for a connection. Short, so that a machine without a network goes on to the next source at once.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes of a transfer.
    pub stall_timeout: Duration,
    /// How often a broken transfer is resumed without a single new byte before its source is given up.
    pub retries: u32,
    /// Accept files that the catalogue doesn't pin by a hash.
    pub allow_unpinned: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            sources: vec![SourceKind::Hub, SourceKind::Registry, SourceKind::Directory, SourceKind::Store],
            hub_endpoint: "https://huggingface.co".to_owned(),
            python: PathBuf::from("python3"),
            directories: Vec::new(),
            upstream: None,
            connect_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(30),
            retries: 4,
            allow_unpinned: false,
        }
    }
}

impl std::fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullOptions")
            .field("sources", &self.sources)
            .field("hub_endpoint", &self.hub_endpoint)
            .field("directories", &self.directories)
            .field("upstream", &self.upstream.as_ref().map(|store| store.kind()))
            .field("allow_unpinned", &self.allow_unpinned)
            .finish_non_exhaustive()
    }
}

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// The model hub, over HTTPS.
    Hub,
    /// The package registry, through `pip` as this machine is set up.
    Registry,
    /// A directory of this machine.
    Directory,
    /// Another [`Store`]: the storage service, a bucket.
    Store,
}

impl std::str::FromStr for SourceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "hub" => Ok(Self::Hub),
            "registry" => Ok(Self::Registry),
            "directory" => Ok(Self::Directory),
            "store" => Ok(Self::Store),
            other => Err(format!("{other:?} is no source of models: use hub, registry, directory or store")),
        }
    }
}
