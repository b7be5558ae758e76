//! What an object store says, as a [`StoreError`].

use std::error::Error as _;
use std::io::ErrorKind;

use llmo_core::store::StoreError;
use object_store::Error;

/// `about` is the object, or what was being done.
pub(super) fn fault(about: &str, error: &Error) -> StoreError {
    let text = || format!("{about}: {}", innermost(error));
    match error {
        Error::NotFound { .. } => StoreError::NotFound(about.to_owned()),
        Error::InvalidPath { .. } => StoreError::InvalidPath { path: about.to_owned(), reason: error.to_string() },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => StoreError::Permission(text()),
        _ if is_full(error) => StoreError::NoSpace(about.to_owned()),
        _ => StoreError::Unavailable(text()),
    }
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn is_full(error: &Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn innermost(error: &Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}
