//! What can go wrong with a model, named for what it means to the caller.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ModelInfo;

/// Result of a model operation.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// Why a model refused, or could not finish, a request.
///
/// A dialect maps each variant to a status and an error body in one place (`llmo-server`).
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ModelError {
    /// A parameter is wrong. The caller must change the request.
    #[error("{param}: {message}")]
    InvalidRequest {
        /// The parameter, in the request's own spelling.
        param: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Prompt and output don't fit the model's context.
    #[error(
        "the prompt has {prompt_tokens} tokens and {max_tokens} more were asked for, but the context of this model \
         holds {context_length}: shorten the prompt or lower max_tokens"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: u64,
        /// Tokens asked for.
        max_tokens: u64,
        /// What the model holds.
        context_length: u64,
    },
    /// No model of this name.
    #[error("the model {model:?} does not exist{}", did_you_mean(.suggestion))]
    NotFound {
        /// The name asked for.
        model: String,
        /// A similar name that exists.
        suggestion: Option<String>,
    },
    /// The model exists and can't do this.
    #[error("the model {model:?} does not support {what}")]
    Unsupported {
        /// The model.
        model: String,
        /// What it can't do.
        what: String,
    },
    /// Too much to do already. Try again later: nothing was started.
    #[error("overloaded: {reason}; try again in {} s", .retry_after.as_secs_f32().ceil())]
    Overloaded {
        /// Which limit was reached.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Nobody can serve this model right now. Nothing was started.
    #[error("unavailable: {reason}; try again in {} s", .retry_after.as_secs_f32().ceil())]
    Unavailable {
        /// Why.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The deadline passed.
    #[error("the deadline passed {stage}")]
    DeadlineExceeded {
        /// Where the request was: `in the queue`, `while generating`.
        stage: String,
    },
    /// The service is going down and the stream can't be finished.
    #[error("the service is shutting down")]
    Shutdown,
    /// The weights are damaged or not what they claim to be.
    #[error("the weights of {model:?} are damaged: {reason}; delete and pull the model again")]
    Corrupt {
        /// The model.
        model: String,
        /// What was found.
        reason: String,
    },
    /// There is no room for what had to be written: weights that were being fetched, say.
    #[error("no space is left for {what}: make room, or delete models (llmo rm NAME)")]
    NoSpace {
        /// What was being written.
        what: String,
    },
    /// The model behind this one failed while it worked. `started` tells whether output had begun.
    #[error("upstream failed: {message}")]
    Upstream {
        /// What happened.
        message: String,
        /// Output may have been produced: the request can't simply be sent again.
        started: bool,
    },
    /// The engine's process died with the request in it, which may have been the reason, or may not. `started` tells whether
    /// output had begun.
    #[error("{message}")]
    EngineDied {
        /// What it died of.
        message: String,
        /// Output may have been produced: the request can't simply be sent again.
        started: bool,
    },
    /// The engine died of this very request, so far as anybody can tell: it was there at two deaths. It is not tried
    /// again, here or elsewhere.
    #[error("{message}")]
    Crashed {
        /// What was seen, and how long the request stays refused.
        message: String,
    },
    /// The backend failed in a way it should not have.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ModelError {
    /// A wrong parameter.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidRequest { param: param.into(), message: message.into() }
    }

    /// This model can't do `what`.
    pub fn unsupported(info: &ModelInfo, what: impl Into<String>) -> Self {
        Self::Unsupported { model: info.id.clone(), what: what.into() }
    }

    /// Nobody can serve right now; try again in a second.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: Duration::from_secs(1) }
    }

    /// May the same request be sent to another replica without doing anything twice?
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::Unavailable { .. } | Self::Shutdown => true,
            Self::Upstream { started, .. } | Self::EngineDied { started, .. } => !started,
            _ => false,
        }
    }

    /// A short stable name, for metrics and error bodies.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest { .. } => "invalid_request",
            Self::ContextOverflow { .. } => "context_length_exceeded",
            Self::NotFound { .. } => "model_not_found",
            Self::Unsupported { .. } => "unsupported",
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { .. } => "model_unavailable",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::Shutdown => "shutdown",
            Self::Corrupt { .. } => "model_corrupt",
            Self::NoSpace { .. } => "no_space",
            Self::Upstream { .. } => "upstream_failed",
            Self::EngineDied { .. } => "engine_died",
            Self::Crashed { .. } => "upstream_crashed",
            Self::Internal(_) => "internal",
        }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |s| format!("; did you mean {s:?}?"))
}
