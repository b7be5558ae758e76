//! What an object's bytes were when it was written: its sha256, recorded beside it.
//!
//! The record names the file it belongs to by size, time of change and inode. If somebody replaces the file by hand,
//! the record no longer fits and the hash is unknown again, rather than wrong.

use std::fs::Metadata;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::staging::StagedFile;

/// One record file.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    sha256: String,
    file: Identity,
}

/// Which file on disk a record speaks of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    size: u64,
    modified_ns: u128,
    inode: u64,
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(meta);
        #[cfg(not(unix))]
        let inode = 0;
        Self {
            size: meta.len(),
            modified_ns: modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
            inode,
        }
    }
}

/// The hash recorded for the file that has `meta`. Blocking.
pub(super) fn read(record: &Path, meta: &Metadata) -> Option<String> {
    let text = std::fs::read_to_string(record).ok()?;
    let record: Record = serde_json::from_str(&text).ok()?;
    (record.file == Identity::of(meta)).then_some(record.sha256)
}

/// Records a hash, replacing the record as a whole. Blocking.
pub(super) fn write(record: &Path, sha256: &str, meta: &Metadata, temporary: &Path) -> std::io::Result<()> {
    let content = serde_json::to_vec(&Record { sha256: sha256.to_owned(), file: Identity::of(meta) })?;
    if let Some(dir) = record.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut staged = StagedFile::create(temporary)?;
    staged.append(&content)?;
    std::fs::rename(staged.path(), record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_void_when_the_file_was_changed_by_hand() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (file, record, temporary) = (dir.path().join("f"), dir.path().join("r/.sum"), dir.path());
        std::fs::write(&file, b"one")?;
        write(&record, "abc", &file.metadata()?, temporary)?;
        assert_eq!(read(&record, &file.metadata()?).as_deref(), Some("abc"));
        std::fs::write(&file, b"other")?;
        assert_eq!(read(&record, &file.metadata()?), None);
        Ok(())
    }
}
