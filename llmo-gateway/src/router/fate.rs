//! What the end of an attempt says about the replica.

use std::time::Duration;

use llmo_core::model::ModelError;

/// What the end of an attempt says about the replica it ran on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// The replica did its work, which may be to refuse a wrong request.
    Fine,
    /// It has too much to do. No fault of its own.
    Busy,
    /// Nobody there, or the connection broke before any output: treat it as down until a check says otherwise.
    Lost,
    /// It is there, and failed.
    Failed,
}

impl Fate {
    /// The name that metrics use as the reason of a retry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "none",
            Self::Busy => "busy",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }

    /// What a refusal counts as when replicas are compared by latency. A replica that fails quickly would look like the
    /// quickest of all, and draw every request.
    pub(super) fn penalty(self) -> Option<Duration> {
        match self {
            Self::Fine => None,
            Self::Busy => Some(Duration::from_millis(500)),
            Self::Lost | Self::Failed => Some(Duration::from_secs(1)),
        }
    }

    /// The fate of a request that ended with this error before any output.
    #[must_use]
    pub fn of(error: &ModelError) -> Self {
        match error {
            ModelError::Overloaded { .. } => Self::Busy,
            ModelError::Upstream { started: false, .. } => Self::Lost,
            ModelError::Upstream { .. }
            | ModelError::Unavailable { .. }
            | ModelError::Shutdown
            | ModelError::EngineDied { .. }
            | ModelError::Corrupt { .. }
            | ModelError::Internal(_) => Self::Failed,
            _ => Self::Fine,
        }
    }
}
