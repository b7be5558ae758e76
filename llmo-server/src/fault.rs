//! Why a request is not answered with what was asked for: one type for all dialects.
//!
//! Handlers return `Result<Response, Fault>`. The response that a fault becomes carries it in its extensions, and
//! [`http::faults`](crate::http::faults) renders it in the dialect of the path, in one place.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llmo_core::ModelError;

/// Why a request was refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The model's own error.
    #[error("{}", model_message(.0))]
    Model(#[from] ModelError),
    /// The body is not what it has to be; `param` where one field is to blame.
    #[error("{message}")]
    Body {
        /// The field, as a path: `messages[0].content`.
        param: Option<String>,
        /// What is wrong, with line and column where known.
        message: String,
    },
    /// The request asks for something that this server can't do yet.
    #[error("{param}: {message}")]
    Unsupported {
        /// The field that asks for it.
        param: String,
        /// What can't be done.
        message: String,
    },
    /// The body is larger than allowed.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body has a type or encoding that is not taken.
    #[error("{0}")]
    MediaType(String),
    /// The body did not come in time.
    #[error("the request body did not arrive within {} s", .0.as_secs())]
    SlowBody(Duration),
    /// The client closed the connection, or broke the protocol, in the middle of the body.
    #[error("the request body is incomplete")]
    BrokenBody,
    /// The request wants another protocol, and has a body that would be read by its rules.
    #[error("no protocol is switched to here: send the request without the header upgrade")]
    Upgrade,
    /// The request has no API key that holds. Which of the reasons it is, nobody is told.
    #[error("no valid API key: send one as \"Authorization: Bearer KEY\" or as \"x-api-key: KEY\"")]
    NoKey,
    /// There is nothing under this path.
    #[error("there is nothing under {path}")]
    UnknownPath {
        /// The path, escaped.
        path: String,
    },
    /// The path exists, the method does not.
    #[error("{method} is not allowed here")]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
    },
    /// The dialect has this, and this server does not.
    #[error("{0}")]
    NotImplemented(String),
    /// A handler panicked. The details are in the log only.
    #[error("internal error")]
    Panic,
}

impl Fault {
    /// A wrong field of the body.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Model(ModelError::invalid(param, message))
    }

    /// Something that can't be done yet.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Unsupported { param: param.into(), message: message.into() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Model(error) => model_status(error),
            Self::Body { .. } | Self::Unsupported { .. } | Self::BrokenBody | Self::Upgrade => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NoKey => StatusCode::UNAUTHORIZED,
            Self::UnknownPath { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A short stable name, for error bodies and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Model(error) => error.code(),
            Self::Body { .. } | Self::BrokenBody | Self::Upgrade => "invalid_request",
            Self::Unsupported { .. } => "unsupported",
            Self::TooLarge { .. } => "request_too_large",
            Self::MediaType(_) => "unsupported_media_type",
            Self::SlowBody(_) => "request_timeout",
            Self::NoKey => "invalid_api_key",
            Self::UnknownPath { .. } => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotImplemented(_) => "not_implemented",
            Self::Panic => "internal",
        }
    }

    /// The same, with a parameter's name as a dialect spells it: `names` are pairs of ours and theirs.
    #[must_use]
    pub fn spelled(self, names: &[(&str, &str)]) -> Self {
        let Self::Model(ModelError::InvalidRequest { param, message }) = self else { return self };
        let theirs = names.iter().find(|(ours, _)| *ours == param).map_or(param.as_str(), |(_, theirs)| theirs);
        let message = message.strip_prefix(&format!("{param}: ")).unwrap_or(&message);
        Self::invalid(theirs, message)
    }

    /// The parameter that is to blame, if one is.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Model(ModelError::InvalidRequest { param, .. }) => Some(param),
            Self::Model(ModelError::NotFound { .. }) => Some("model"),
            Self::Body { param, .. } => param.as_deref(),
            Self::Unsupported { param, .. } => Some(param),
            _ => None,
        }
    }

    /// When to try again, before jitter. `None`: trying again won't help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Model(ModelError::Overloaded { retry_after, .. } | ModelError::Unavailable { retry_after, .. }) => {
                Some(*retry_after)
            }
            Self::Model(ModelError::Shutdown | ModelError::EngineDied { started: false, .. }) => {
                Some(Duration::from_secs(1))
            }
            _ => None,
        }
    }

    /// Logs what callers are not told.
    pub(crate) fn log_details(&self, request_id: &str) {
        if let Self::Model(ModelError::Internal(details)) = self {
            tracing::error!(request_id, ?details, "internal error");
        }
    }

    /// Must the connection be closed, because the rest of the request is still on it?
    #[must_use]
    pub fn closes_connection(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::SlowBody(_) | Self::BrokenBody | Self::MediaType(_) | Self::Upgrade
        )
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn model_status(error: &ModelError) -> StatusCode {
    match error {
        ModelError::InvalidRequest { .. } | ModelError::ContextOverflow { .. } | ModelError::Unsupported { .. } => {
            StatusCode::BAD_REQUEST
        }
        ModelError::NotFound { .. } => StatusCode::NOT_FOUND,
        ModelError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        ModelError::Unavailable { .. } | ModelError::Shutdown | ModelError::EngineDied { started: false, .. } => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ModelError::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
        ModelError::Corrupt { .. } => StatusCode::CONFLICT,
        ModelError::NoSpace { .. } => StatusCode::INSUFFICIENT_STORAGE,
        ModelError::Upstream { .. } | ModelError::Crashed { .. } | ModelError::EngineDied { .. } => {
            StatusCode::BAD_GATEWAY
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The error's text; a parameter's name comes once, even if an upstream has put it there already.
fn model_message(error: &ModelError) -> String {
    match error {
        ModelError::InvalidRequest { param, message } if message.starts_with(&format!("{param}: ")) => message.clone(),
        // What went wrong inside is for the log, not for callers.
        ModelError::Internal(_) => "internal error".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_named_once_however_many_services_the_error_passed() {
        let direct = Fault::invalid("top_p", "must be above 0");
        assert_eq!(direct.to_string(), "top_p: must be above 0");
        assert_eq!(Fault::invalid("top_p", direct.to_string()).to_string(), "top_p: must be above 0");
    }

    #[test]
    fn only_what_may_work_later_says_when() {
        assert!(Fault::from(ModelError::unavailable("loading")).retry_after().is_some());
        assert!(Fault::from(ModelError::Shutdown).retry_after().is_some());
        let died = |started| Fault::from(ModelError::EngineDied { message: "abort".into(), started });
        assert_eq!((died(false).status().as_u16(), died(false).retry_after().is_some()), (503, true));
        assert_eq!((died(true).status().as_u16(), died(true).retry_after().is_some()), (502, false));
        assert!(Fault::invalid("n", "too large").retry_after().is_none());
    }

    #[test]
    fn a_request_that_crashed_the_engine_is_a_502_that_nobody_should_repeat() {
        let fault = Fault::from(ModelError::Crashed { message: "twice".into() });
        assert_eq!((fault.status().as_u16(), fault.code(), fault.retry_after()), (502, "upstream_crashed", None));
    }

    #[test]
    fn details_of_internal_errors_stay_inside() {
        assert_eq!(Fault::from(ModelError::Internal("tensor 5 at 0x7f".into())).to_string(), "internal error");
    }
}
