//! How fetching a model goes on.

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::Result;

/// The steps of a pull. It ends without an error when the model is there. Dropping it ends the pull; what has come stays
/// for the next one.
pub type PullStream = BoxStream<'static, Result<PullProgress>>;

/// A step of a pull, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PullProgress {
    /// What is being done: `asking the hub`, `receiving model.gguf`.
    pub status: String,
    /// What is being received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Bytes of the whole model, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Of these, how many are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
}

impl PullProgress {
    /// Something is being done.
    #[must_use]
    pub fn step(status: impl Into<String>) -> Self {
        Self { status: status.into(), ..Self::default() }
    }

    /// With so many bytes of so many.
    #[must_use]
    pub fn bytes(mut self, completed: u64, total: Option<u64>) -> Self {
        self.completed = Some(completed);
        self.total = total;
        self
    }
}
