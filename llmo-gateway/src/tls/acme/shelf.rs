//! Account, key and certificate on disk, for their owner's eyes only.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::AcmeError;

/// The directory.
#[derive(Debug, Clone)]
pub(super) struct Shelf(PathBuf);

impl Shelf {
    /// Makes the directory.
    pub(super) fn open(dir: &Path) -> Result<Self, AcmeError> {
        std::fs::create_dir_all(dir).map_err(|source| at(dir, source))?;
        Ok(Self(dir.to_owned()))
    }

    /// What is there under a name.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(name)).ok()
    }

    /// Puts something there, whole or not at all.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), AcmeError> {
        let (path, fresh) = (self.0.join(name), self.0.join(format!(".{name}.new")));
        let put = || {
            // One that was left behind may have had other rights.
            let _ = std::fs::remove_file(&fresh);
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        put().map_err(|source| at(&path, source))
    }
}

fn at(path: &Path, source: std::io::Error) -> AcmeError {
    AcmeError::Disk { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_is_kept_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::open(&dir.path().join("deep/er")).expect("it can be made");
        for text in ["one", "two"] {
            shelf.write("key.pem", text.as_bytes()).expect("written");
            assert_eq!(shelf.read("key.pem").expect("there"), text.as_bytes());
        }
        let mode = std::fs::metadata(dir.path().join("deep/er/key.pem")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(shelf.read("other").is_none());
    }
}
