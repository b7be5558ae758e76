//! A file being received: kept when the pull is interrupted, continued by the next one, believed only by its hash.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use llmo_core::store::{Result, StoreError, StorePutOptions};
use parking_lot::Mutex;

use super::job::{Meter, Wanted};
use super::lock::PullLock;
use crate::digest::{Digest, Summing};
use crate::local::{io_fault, off_thread};

/// A part of one wanted file, or all of it. Cheap to clone; clones are the same part.
#[derive(Clone)]
pub(super) struct Part {
    path: Arc<PathBuf>,
    wanted: Arc<Wanted>,
    state: Arc<Mutex<State>>,
}

struct State {
    file: File,
    sum: Summing,
    meter: Arc<Meter>,
    /// A write may outlive the pull that began it by a moment; nobody else may touch the file until then.
    _lock: Arc<PullLock>,
}

impl Part {
    /// Opens what an earlier pull left, and reads it for its hash; begins anew if that can't be the beginning of
    /// what is wanted.
    pub(super) async fn open(path: PathBuf, wanted: Wanted, meter: Arc<Meter>, lock: Arc<PullLock>) -> Result<Self> {
        off_thread(move || {
            let doing = format!("resuming {}", wanted.name);
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|e| io_fault(&doing, e))?;
            let mut sum = Summing::default();
            let length = file.metadata().map_err(|e| io_fault(&doing, e))?.len();
            if wanted.size.is_some_and(|size| length > size) {
                file.set_len(0).map_err(|e| io_fault(&doing, e))?;
            }
            read_all(&mut file, &mut sum).map_err(|e| io_fault(&doing, e))?;
            meter.add(sum.size());
            let state = State { file, sum, meter, _lock: lock };
            Ok(Self { path: Arc::new(path), wanted: Arc::new(wanted), state: Arc::new(Mutex::new(state)) })
        })
        .await
    }

    /// What is wanted.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are here.
    pub(super) fn offset(&self) -> u64 {
        self.state.lock().sum.size()
    }

    /// Is everything here, as far as the size tells?
    pub(super) fn is_full(&self) -> bool {
        self.wanted.size == Some(self.offset())
    }

    /// Throws away what is here.
    pub(super) async fn restart(&self) -> Result<()> {
        let this = self.clone();
        off_thread(move || {
            let mut state = this.state.lock();
            state.meter.take_back(state.sum.size());
            state.sum = Summing::default();
            state
                .file
                .set_len(0)
                .and_then(|()| state.file.seek(SeekFrom::Start(0)).map(drop))
                .map_err(|e| io_fault(&format!("restarting {}", this.wanted.name), e))
        })
        .await
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`StoreError::SizeMismatch`] if that would be more than is wanted; [`StoreError::NoSpace`].
    pub(super) async fn append(&self, pieces: Vec<Bytes>) -> Result<()> {
        let this = self.clone();
        off_thread(move || pieces.iter().try_for_each(|piece| this.append_now(piece))).await
    }

    /// [`append`](Self::append), blocking.
    pub(super) fn append_now(&self, piece: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        let grown = state.sum.size() + piece.len() as u64;
        if let Some(expected) = self.wanted.size
            && grown > expected
        {
            return Err(StoreError::SizeMismatch { path: self.wanted.name.clone(), expected, actual: grown });
        }
        state.file.write_all(piece).map_err(|e| io_fault(&format!("writing {}", self.wanted.name), e))?;
        state.sum.update(piece);
        state.meter.add(piece.len() as u64);
        Ok(())
    }

    /// What is here, if that is what was wanted.
    ///
    /// # Errors
    /// [`StoreError::HashMismatch`], [`StoreError::SizeMismatch`].
    pub(super) fn check(&self) -> Result<Digest> {
        let digest = self.state.lock().sum.clone().finish();
        let mut options = StorePutOptions::default();
        options.expected_sha256.clone_from(&self.wanted.sha256);
        options.expected_size = self.wanted.size;
        digest.check(&self.wanted.name, &options)?;
        Ok(digest)
    }
}

fn read_all(file: &mut File, sum: &mut Summing) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => sum.update(&buffer[..n]),
        }
    }
}
