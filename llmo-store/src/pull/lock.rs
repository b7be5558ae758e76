//! One pull per model, across tasks and processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llmo_core::store::{Result, StoreError};

use super::progress::{Phase, Progress};
use crate::local::{io_fault, off_thread};

/// How often a waiting pull looks whether it is its turn. The kernel's own waiting would block a thread per pull.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The right to pull one model. The kernel takes it back when the process dies, however it dies.
#[derive(Debug)]
pub(super) struct PullLock {
    _file: File,
}

impl PullLock {
    /// Waits for its turn.
    pub(super) async fn acquire(locks: &Path, model: &str, progress: &dyn Progress) -> Result<Arc<Self>> {
        let doing = format!("locking the pull of {model}");
        let (dir, path, opening) = (locks.to_owned(), locks.join(format!("{model}.lock")), doing.clone());
        // The lock file stays: removing it would let a third process lock a new file of the same name.
        let mut file = off_thread(move || {
            std::fs::create_dir_all(&dir)
                .and_then(|()| OpenOptions::new().create(true).truncate(false).write(true).open(path))
                .map_err(|e| io_fault(&opening, e))
        })
        .await?;
        let mut told = false;
        loop {
            let (returned, outcome) = off_thread(move || {
                let outcome = file.try_lock();
                Ok((file, outcome))
            })
            .await?;
            file = returned;
            match outcome {
                Ok(()) => return Ok(Arc::new(Self { _file: file })),
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        progress.phase(&Phase::Waiting { model: model.to_owned() });
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                // A file system without locks: better two pulls that overwrite each other with the same checked
                // bytes than none.
                Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                    return Ok(Arc::new(Self { _file: file }));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::Io { context: format!("{doing}: {error}"), source: error });
                }
            }
        }
    }
}
