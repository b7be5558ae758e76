//! What the file system says, as a [`StoreError`] that says what to do.

use std::io::{Error, ErrorKind};

use llmo_core::store::StoreError;

/// `doing` is what was being done, as in "writing model.gguf".
pub(crate) fn io_fault(doing: &str, error: Error) -> StoreError {
    match error.kind() {
        // A quota, a file system that takes no files of this size, and `ulimit -f` call for the same remedy.
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::NoSpace(doing.to_owned())
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::Permission(format!("{doing}: {error}"))
        }
        _ => StoreError::Io { context: format!("{doing}: {error}"), source: error },
    }
}

/// Runs blocking work off the runtime's own threads.
///
/// # Errors
/// Those of `work`; [`StoreError::Unavailable`] if it panicked or the runtime is shutting down.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => Err(StoreError::Unavailable(format!("a file operation did not finish: {join}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        let full = Error::from(ErrorKind::StorageFull);
        assert!(matches!(io_fault("writing x", full), StoreError::NoSpace(what) if what == "writing x"));
        let denied = Error::from(ErrorKind::PermissionDenied);
        assert!(matches!(io_fault("writing x", denied), StoreError::Permission(_)));
        assert!(matches!(io_fault("writing x", Error::other("?")), StoreError::Io { .. }));
    }
}
