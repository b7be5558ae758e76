//! What the storage service answered.

use std::time::Duration;

use llmo_core::store::{ObjectMeta, Result, StoreError, StorePath};
use reqwest::Response;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::digest::is_sha256;
use crate::protocol::{ErrorBody, X_MODIFIED, X_SHA256, X_SIZE};

/// Longest wait for the body of a small answer.
const SMALL_ANSWER: Duration = Duration::from_secs(30);

/// The error that an answer tells of.
pub(super) async fn fault(response: Response, about: &str) -> StoreError {
    let status = response.status();
    let body = tokio::time::timeout(SMALL_ANSWER, response.json::<ErrorBody>()).await;
    match (body, status.as_u16()) {
        (Ok(Ok(body)), _) => body.into_error(about),
        // An answer to HEAD has no body.
        (_, 404) => StoreError::NotFound(about.to_owned()),
        (_, 507) => StoreError::NoSpace(about.to_owned()),
        _ => StoreError::Unavailable(format!("the storage service answered {status}")),
    }
}

/// A small JSON answer.
pub(super) async fn json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let fault =
        |reason: String| StoreError::Unavailable(format!("the storage service's answer can't be read: {reason}"));
    match tokio::time::timeout(SMALL_ANSWER, response.json()).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(error.to_string())),
        Err(_) => Err(fault("it did not end in time".to_owned())),
    }
}

/// What headers say of an object.
pub(super) fn meta(path: &StorePath, headers: &HeaderMap) -> Result<ObjectMeta> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(size) = text(X_SIZE).and_then(|size| size.parse().ok()) else {
        return Err(StoreError::Unavailable(format!(
            "whoever answers for {path} is no storage service: the header {X_SIZE} is missing"
        )));
    };
    let modified = text(X_MODIFIED).and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let mut meta = ObjectMeta::new(path.clone(), size, modified);
    meta.sha256 = text(X_SHA256).filter(|hash| is_sha256(hash)).map(str::to_owned);
    Ok(meta)
}

/// No answer, or only half of one.
pub(super) fn unavailable(base: &str, error: &reqwest::Error) -> StoreError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    StoreError::Unavailable(format!("the storage service at {base}: {cause}"))
}
