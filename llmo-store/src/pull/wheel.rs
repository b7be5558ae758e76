//! Taking files out of a wheel. A wheel is a zip archive from a registry: nothing in it is believed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::part::Part;
use super::source::SourceError;

/// Unpacked at once, in bytes.
const PORTION: usize = 1 << 20;

/// An opened wheel.
pub(super) struct Wheel {
    archive: ZipArchive<BufReader<File>>,
}

impl Wheel {
    /// Opens and checks the table of contents. Blocking.
    ///
    /// No entry is ever unpacked under its own name; an archive with a name that leads out of a directory was made
    /// to do harm all the same, so none of it is used.
    ///
    /// # Errors
    /// [`SourceError::Unusable`].
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|e| SourceError::unusable(format!("opening the wheel: {e}")))?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(unreadable)?;
            if leads_out(entry.name()) || entry.is_symlink() {
                return Err(SourceError::unusable(format!(
                    "the wheel has the entry {:?}, which leads out of it: nothing of it is used",
                    entry.name()
                )));
            }
        }
        Ok(Self { archive })
    }

    /// Appends the entry `member` to an empty part. Blocking.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] also if the entry is larger than what is wanted: what it says of its own size is
    /// checked first, what really comes out of it is bounded all the same.
    pub(super) fn extract(&mut self, member: &str, part: &Part) -> Result<(), SourceError> {
        let mut entry = match self.archive.by_name(member) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => {
                return Err(SourceError::unusable(format!("the wheel has no entry {member:?}")));
            }
            Err(error) => return Err(unreadable(error)),
        };
        if let Some(size) = part.wanted().size
            && entry.size() != size
        {
            return Err(SourceError::unusable(format!(
                "the wheel's {member:?} has {} bytes instead of {size}",
                entry.size()
            )));
        }
        let mut portion = Vec::with_capacity(PORTION);
        loop {
            portion.clear();
            match entry.by_ref().take(PORTION as u64).read_to_end(&mut portion) {
                Ok(0) => return Ok(()),
                Ok(_) => part.append_now(&portion)?,
                Err(error) => return Err(SourceError::unusable(format!("unpacking {member:?}: {error}"))),
            }
        }
    }
}

/// Written out here: what the crate calls an enclosed name may begin with a slash.
fn leads_out(name: &str) -> bool {
    name.starts_with('/') || name.contains(['\\', '\0', ':']) || name.split('/').any(|segment| segment == "..")
}

fn unreadable(error: ZipError) -> SourceError {
    SourceError::unusable(format!("the wheel can't be read: {error}"))
}
