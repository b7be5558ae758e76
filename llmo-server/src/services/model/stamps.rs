//! Files whose bytes this process has compared with their hash, by what the file system says of them.
//!
//! A file counts as the same while its size, its inode and its times of change (of the content and of the inode) are.
//! Nothing of this is written to disk: what one process believes, the next one checks for itself.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

/// What the file system says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    /// Inode, and the time of its last change in seconds and nanoseconds: rewriting a file and setting its time back
    /// changes it.
    inode: (u64, i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = path.metadata()?;
        Ok(Self { size: meta.len(), modified: meta.modified().ok(), inode: inode(&meta) })
    }
}

#[cfg(unix)]
fn inode(meta: &Metadata) -> (u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (meta.ino(), meta.ctime(), meta.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> (u64, i64, i64) {
    (0, 0, 0)
}

/// Files that were verified. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Stamps {
    verified: Arc<Mutex<HashMap<PathBuf, Stamp>>>,
    digests: Arc<Mutex<HashMap<PathBuf, (Stamp, String)>>>,
}

/// Stamps taken before a verification: what changes while it is read is not remembered as verified.
pub(super) struct Taken(Vec<(PathBuf, Stamp)>);

impl Stamps {
    /// Were all of these verified, and are they the same files? Blocking.
    pub(super) fn known(&self, paths: &[PathBuf]) -> bool {
        let verified = self.verified.lock();
        paths.iter().all(|path| {
            let known = verified.get(path);
            known.is_some() && Stamp::of(path).ok().as_ref() == known
        })
    }

    /// Stamps of these files.
    pub(super) fn take(&self, paths: &[PathBuf]) -> Taken {
        Taken(paths.iter().filter_map(|path| Some((path.clone(), Stamp::of(path).ok()?))).collect())
    }

    /// They were verified, with these stamps before.
    pub(super) fn remember(&self, taken: Taken) {
        self.verified.lock().extend(taken.0);
    }

    /// sha256 of a file; computed once for as long as the file stays the same. Blocking.
    pub(super) fn digest(&self, path: &Path) -> io::Result<String> {
        let stamp = Stamp::of(path)?;
        if let Some((_, digest)) = self.digests.lock().get(path).filter(|(known, _)| *known == stamp) {
            return Ok(digest.clone());
        }
        let digest = llmo_store::file_sha256(path)?;
        self.digests.lock().insert(path.to_owned(), (stamp, digest.clone()));
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_touched_is_no_longer_known() {
        let dir = tempfile::tempdir().unwrap();
        let paths = vec![dir.path().join("a"), dir.path().join("b")];
        paths.iter().for_each(|path| std::fs::write(path, b"one").unwrap());
        let stamps = Stamps::default();
        assert!(!stamps.known(&paths));
        stamps.remember(stamps.take(&paths));
        assert!(stamps.known(&paths));
        let modified = paths[1].metadata().unwrap().modified().unwrap();
        std::fs::write(&paths[1], b"two").unwrap();
        // Same size, and the time of change set back: the inode tells.
        std::fs::File::options().write(true).open(&paths[1]).unwrap().set_modified(modified).unwrap();
        assert!(!stamps.known(&paths));
        std::fs::remove_file(&paths[1]).unwrap();
        assert!(!stamps.known(&paths));
    }
}
