//! What the storage service and its client agree on.
//!
//! ```text
//! GET    /v1/objects/{path}    bytes; Range → 206 or 416         x-sha256, etag, last-modified-unix
//! HEAD   /v1/objects/{path}    the same without bytes
//! PUT    /v1/objects/{path}    bytes in, metadata out            x-sha256 (expected)
//! DELETE /v1/objects/{path}    204
//! GET    /v1/objects?prefix=…  {"objects": [metadata, …]}
//! errors                       {"error": {"code", "message", …}}
//! ```

use llmo_core::store::{ObjectMeta, StoreError};
use serde::{Deserialize, Serialize};

/// Where objects are, below the service's base URL.
pub const OBJECTS: &str = "/v1/objects";
/// Header: sha256 of the whole object in hexadecimal. In a request: what it must be.
pub const X_SHA256: &str = "x-sha256";
/// Header: Unix time of the object's last change, in seconds.
pub const X_MODIFIED: &str = "x-modified-unix";
/// Header: bytes of the whole object. A `HEAD` answer's `content-length` is lost in some clients and proxies.
pub const X_SIZE: &str = "x-object-size";

/// Answer to a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listing {
    /// Ordered by path.
    pub objects: Vec<ObjectMeta>,
}

impl Listing {
    /// A listing of these.
    #[must_use]
    pub fn new(objects: Vec<ObjectMeta>) -> Self {
        Self { objects }
    }
}

/// Body of every answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error, with what is needed to make the [`StoreError`] of it again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ErrorDetail {
    /// Which error, in `snake_case`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The object it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The hash or size that was expected, or the first byte asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The hash or size that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

impl ErrorBody {
    /// An error that is no [`StoreError`]: a fault of the transfer.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        let (code, message) = (code.to_owned(), message.to_owned());
        Self { error: ErrorDetail { code, message, ..Default::default() } }
    }

    /// What a client is told of `error`. Paths of the service's machine are not among it.
    #[must_use]
    pub fn of(error: &StoreError) -> Self {
        let mut detail = ErrorDetail { code: code(error).to_owned(), message: error.to_string(), ..Default::default() };
        match error {
            StoreError::NotFound(path) | StoreError::InvalidPath { path, .. } => detail.path = Some(path.clone()),
            StoreError::InvalidRange { offset, size } => {
                detail.expected = Some(offset.to_string());
                detail.actual = Some(size.to_string());
            }
            StoreError::HashMismatch { path, expected, actual } => {
                detail.path = Some(path.clone());
                detail.expected = Some(expected.clone());
                detail.actual = Some(actual.clone());
            }
            StoreError::SizeMismatch { path, expected, actual } => {
                detail.path = Some(path.clone());
                detail.expected = Some(expected.to_string());
                detail.actual = Some(actual.to_string());
            }
            StoreError::Io { .. } | StoreError::Permission(_) => {
                detail.message = "the storage service can't read or write its files; its log says why".to_owned();
            }
            _ => {}
        }
        Self { error: detail }
    }

    /// The error that this body tells of.
    #[must_use]
    pub fn into_error(self, path: &str) -> StoreError {
        let ErrorDetail { code, message, path: named, expected, actual } = self.error;
        let path = named.unwrap_or_else(|| path.to_owned());
        let (expected, actual) = (expected.unwrap_or_default(), actual.unwrap_or_default());
        let number = |text: &str| text.parse().unwrap_or_default();
        match code.as_str() {
            "not_found" => StoreError::NotFound(path),
            "invalid_path" => StoreError::InvalidPath { path, reason: message },
            "invalid_range" => StoreError::InvalidRange { offset: number(&expected), size: number(&actual) },
            "hash_mismatch" => StoreError::HashMismatch { path, expected, actual },
            "size_mismatch" => StoreError::SizeMismatch { path, expected: number(&expected), actual: number(&actual) },
            "no_space" => StoreError::NoSpace(path),
            "permission_denied" => StoreError::Permission(message),
            _ => StoreError::Unavailable(message),
        }
    }
}

/// HTTP status for an error.
#[must_use]
pub fn status(error: &StoreError) -> u16 {
    match error {
        StoreError::NotFound(_) => 404,
        StoreError::InvalidPath { .. } | StoreError::SizeMismatch { .. } => 400,
        StoreError::InvalidRange { .. } => 416,
        StoreError::HashMismatch { .. } => 422,
        StoreError::NoSpace(_) => 507,
        StoreError::Unavailable(_) => 503,
        _ => 500,
    }
}

fn code(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound(_) => "not_found",
        StoreError::InvalidPath { .. } => "invalid_path",
        StoreError::InvalidRange { .. } => "invalid_range",
        StoreError::HashMismatch { .. } => "hash_mismatch",
        StoreError::SizeMismatch { .. } => "size_mismatch",
        StoreError::NoSpace(_) => "no_space",
        StoreError::Permission(_) => "permission_denied",
        StoreError::Unavailable(_) => "unavailable",
        _ => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_the_wire_whole() {
        let hash = || ("a/b".to_owned(), "00".to_owned(), "11".to_owned());
        let (path, expected, actual) = hash();
        for error in [
            StoreError::NotFound("a/b".into()),
            StoreError::InvalidRange { offset: 9, size: 3 },
            StoreError::HashMismatch { path, expected, actual },
            StoreError::SizeMismatch { path: "a/b".into(), expected: 1, actual: 2 },
        ] {
            let text = error.to_string();
            assert_eq!(ErrorBody::of(&error).into_error("a/b").to_string(), text);
        }
    }

    #[test]
    fn paths_of_the_services_machine_stay_there() {
        let error = StoreError::Io { context: "/srv/x: broken".into(), source: std::io::Error::other("?") };
        assert!(!ErrorBody::of(&error).error.message.contains("/srv"));
    }
}
