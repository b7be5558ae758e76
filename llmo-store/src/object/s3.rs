//! S3, and what speaks its protocol.

use std::sync::Arc;

use llmo_core::store::{Result, StoreError};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::ObjectStoreBackend;

/// Which bucket, where. Keys come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or a role of the
/// machine) or from files that it names (`AWS_ACCESS_KEY_ID_FILE`, …), never from a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Where it is if not at the cloud provider, as in `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Put before every path.
    pub prefix: Option<String>,
}

impl ObjectStoreBackend {
    /// A bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the options can't be.
    pub fn s3(options: &S3Options) -> Result<Self> {
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&options.bucket).with_region(&options.region);
        if let (Some(id), Some(secret)) = (from_file("AWS_ACCESS_KEY_ID"), from_file("AWS_SECRET_ACCESS_KEY")) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        }
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(|e| StoreError::Unavailable(format!("S3: {e}")))?;
        Ok(match options.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => Self::new(Arc::new(PrefixStore::new(store, Path::from(prefix))), "s3"),
            None => Self::new(Arc::new(store), "s3"),
        })
    }
}

/// What the file that `NAME_FILE` names holds; `None` if `NAME` itself is set, or there is no such file.
fn from_file(name: &str) -> Option<String> {
    if std::env::var_os(name).is_some_and(|value| !value.is_empty()) {
        return None;
    }
    let text = std::fs::read_to_string(std::env::var_os(format!("{name}_FILE"))?).ok()?;
    Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
}
