//! A place that files can be had from.

use async_trait::async_trait;
use llmo_core::store::StoreError;

use super::job::Job;

/// A place that may have the files of one model.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// What people call it, with its address.
    fn name(&self) -> String;

    /// Completes every missing file of the job, or says why it can't. Files that are complete stay so.
    async fn fetch(&self, job: &Job) -> Result<(), SourceError>;
}

/// Why a source could not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// It can't be reached, has nothing, or has something else. The next source may serve.
    #[error("{reason}")]
    Unusable {
        /// Why.
        reason: String,
        /// What would make it work.
        remedy: Option<String>,
    },
    /// No other source can help either: the disk is full, the directory not writable.
    #[error(transparent)]
    Fatal(StoreError),
}

impl SourceError {
    pub(super) fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable { reason: reason.into(), remedy: None }
    }

    pub(super) fn with_remedy(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unusable { reason: reason.into(), remedy: Some(remedy.into()) }
    }
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace(_) | StoreError::Permission(_) | StoreError::Io { .. } => Self::Fatal(error),
            other => Self::unusable(other.to_string()),
        }
    }
}
