//! The storage service and where models come from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The store and the storage service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Where weights are kept.
    pub backend: StoreBackend,
    /// Directory of weights on this machine; empty: `llmo/models` in the user's data directory.
    pub dir: PathBuf,
    /// Address of the storage service.
    pub host: String,
    /// Port of the storage service (`STORAGE_SERVICE_PORT`).
    pub port: u16,
    /// Base URL of the storage service for its clients; empty: the local one.
    pub url: String,
    /// Where models are pulled from, in order: `hub`, `registry`.
    pub sources: Vec<String>,
    /// Base URL of the model hub (`HF_ENDPOINT`).
    pub hub_endpoint: String,
    /// S3 bucket, for the backend s3.
    pub s3_bucket: String,
    /// S3 region.
    pub s3_region: String,
    /// S3 endpoint; empty: the cloud provider's own.
    pub s3_endpoint: String,
    /// Prefix of all objects in the bucket.
    pub s3_prefix: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            backend: StoreBackend::Local,
            dir: PathBuf::new(),
            host: "127.0.0.1".into(),
            port: 8083,
            url: String::new(),
            sources: vec!["hub".into(), "registry".into()],
            hub_endpoint: "https://huggingface.co".into(),
            s3_bucket: String::new(),
            s3_region: "us-east-1".into(),
            s3_endpoint: String::new(),
            s3_prefix: String::new(),
        }
    }
}

impl StoreConfig {
    /// The directory of weights: `dir`, or `llmo/models` in the user's data directory (`XDG_DATA_HOME`, `HOME`).
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        if !self.dir.as_os_str().is_empty() {
            return self.dir.clone();
        }
        let data = std::env::var_os("XDG_DATA_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|h| PathBuf::from(h).join(".local/share"));
        data.or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("llmo/models")
    }
}

/// Where weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StoreBackend {
    /// A directory.
    #[default]
    Local,
    /// S3, or what speaks its protocol.
    S3,
    /// The storage service; weights are fetched into the directory when they are needed.
    Remote,
}
