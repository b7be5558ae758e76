//! Files being written: in the store's own file system, locked by their writer, gone unless they are published.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use llmo_core::store::{ByteStream, Result};

use super::fault::{io_fault, off_thread};
use crate::digest::{Digest, Summing};

/// Bytes are handed to the disk in portions of at least this size: a hop to another thread for each network packet
/// would cost more than the write.
const PORTION: usize = 1 << 20;

/// A file that nobody sees yet. Dropping it removes it.
#[derive(Debug)]
pub(super) struct StagedFile {
    path: PathBuf,
    file: File,
    sum: Summing,
}

impl StagedFile {
    /// A new, empty, locked file in `dir`. Blocking.
    pub(super) fn create(dir: &Path) -> std::io::Result<Self> {
        loop {
            let path = unique_path(dir);
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            // The lock tells the sweep of another process that this file has an owner. File systems without locks
            // are never swept, see `sweep`.
            let _ = file.try_lock();
            // A sweep may have come between creating and locking.
            if path.exists() {
                return Ok(Self { path, file, sum: Summing::default() });
            }
        }
    }

    /// Writes a whole stream. `doing` names the work in errors.
    pub(super) async fn fill(mut self, doing: &str, mut data: ByteStream) -> Result<Self> {
        let mut portion: Vec<Bytes> = Vec::new();
        let mut waiting = 0;
        while let Some(piece) = data.next().await {
            let piece = piece?;
            waiting += piece.len();
            portion.push(piece);
            if waiting >= PORTION {
                self = self.write(doing, std::mem::take(&mut portion)).await?;
                waiting = 0;
            }
        }
        self.write(doing, portion).await
    }

    /// The file itself travels to the blocking thread: if the caller goes away meanwhile, it is dropped there and
    /// removes itself.
    async fn write(mut self, doing: &str, portion: Vec<Bytes>) -> Result<Self> {
        let doing = doing.to_owned();
        off_thread(move || {
            for piece in &portion {
                self.append(piece).map_err(|e| io_fault(&doing, e))?;
            }
            Ok(self)
        })
        .await
    }

    /// Blocking.
    pub(super) fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.file.write_all(bytes)
    }

    /// What has been written so far.
    pub(super) fn digest(&self) -> Digest {
        self.sum.clone().finish()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After publishing there is nothing under this name any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A name in `dir` that no file has.
fn unique_path(dir: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    dir.join(format!("{}-{nanoseconds:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Removes files whose writer is gone. Blocking.
pub(super) fn sweep(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let owned = File::open(&path).and_then(|file| Ok(file.try_lock()?)).is_err();
        if !owned {
            tracing::debug!(path = %path.display(), "removing the leftover of an interrupted write");
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok(())
}
