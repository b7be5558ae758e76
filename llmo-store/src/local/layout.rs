//! Where things lie below the root of a [`LocalStore`](super::LocalStore), and that nothing leads out of it.
//!
//! ```text
//! ROOT/smollm2-135m/model.gguf                    an object: a plain file under its own path
//! ROOT/.llmo/tmp/…                                files being written, locked by their writer
//! ROOT/.llmo/sha256/smollm2-135m/model.gguf/.sum  what an object's bytes were when it was written
//! ROOT/.llmo/pulls/smollm2-135m/…                 parts of downloads, kept for resuming
//! ROOT/.llmo/locks/…                              one pull per model, across processes
//! ```
//!
//! No segment of a [`StorePath`] starts with a dot, so no object can collide with `.llmo` or with a `.sum`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use llmo_core::store::{Result, StoreError, StorePath};

use super::fault::io_fault;

const HIDDEN: &str = ".llmo";

/// The directory of a store, canonical.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories. Blocking.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let doing = format!("opening the store at {}", dir.display());
        std::fs::create_dir_all(dir).map_err(|e| io_fault(&doing, e))?;
        let root = dir.canonicalize().map_err(|e| io_fault(&doing, e))?;
        let layout = Self { root };
        for dir in [layout.temporary(), layout.hidden("sha256")] {
            std::fs::create_dir_all(&dir).map_err(|e| io_fault(&doing, e))?;
        }
        Ok(layout)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.hidden("tmp")
    }

    /// A directory of ours that is no object.
    pub(crate) fn hidden(&self, name: &str) -> PathBuf {
        self.root.join(HIDDEN).join(name)
    }

    pub(crate) fn object(&self, path: &StorePath) -> PathBuf {
        self.root.join(path.as_str())
    }

    pub(crate) fn record(&self, path: &StorePath) -> PathBuf {
        self.hidden("sha256").join(path.as_str()).join(".sum")
    }

    /// The file of an existing object, after following links. Blocking.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] also for a directory; [`StoreError::InvalidPath`] if a link leads out of the root.
    pub(crate) fn existing(&self, path: &StorePath) -> Result<PathBuf> {
        let real = self.object(path).canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => StoreError::NotFound(path.to_string()),
            _ => io_fault(&format!("looking for {path}"), error),
        })?;
        self.confine(path, &real)?;
        if real.is_file() { Ok(real) } else { Err(StoreError::NotFound(path.to_string())) }
    }

    /// Makes the directories above an object to be. Blocking.
    ///
    /// # Errors
    /// [`StoreError::InvalidPath`] if a link leads out of the root, or an object is where a directory is needed.
    pub(crate) fn make_parents(&self, path: &StorePath) -> Result<()> {
        let target = self.object(path);
        let Some(parent) = target.parent() else { return Ok(()) };
        // The deepest directory that exists is looked at before anything is created: a link must not make us create
        // directories elsewhere.
        let existing = parent.ancestors().find_map(|dir| dir.canonicalize().ok());
        if let Some(real) = existing {
            self.confine(path, &real)?;
        }
        std::fs::create_dir_all(parent).map_err(|error| match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StoreError::InvalidPath {
                path: path.to_string(),
                reason: "an object lies where this needs a directory".to_owned(),
            },
            _ => io_fault(&format!("making the directory of {path}"), error),
        })?;
        if target.is_dir() {
            return Err(StoreError::InvalidPath {
                path: path.to_string(),
                reason: "a directory has this name".to_owned(),
            });
        }
        Ok(())
    }

    /// Removes directories above `path` that have become empty. Blocking.
    pub(crate) fn prune_parents(&self, path: &StorePath) {
        for (file, stop) in [(self.object(path), self.root.clone()), (self.record(path), self.hidden("sha256"))] {
            for dir in file.ancestors().skip(1).take_while(|dir| *dir != stop) {
                // Fails on the first one that isn't empty, as it should.
                if std::fs::remove_dir(dir).is_err() {
                    break;
                }
            }
        }
    }

    fn confine(&self, path: &StorePath, real: &Path) -> Result<()> {
        if real.starts_with(&self.root) && !real.starts_with(self.root.join(HIDDEN)) {
            return Ok(());
        }
        Err(StoreError::InvalidPath {
            path: path.to_string(),
            reason: "a symbolic link leads out of the store".to_owned(),
        })
    }
}
