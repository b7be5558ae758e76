//! Opens a GGUF file and checks its header in full.
//!
//! candle's own reader never sees the file: it leaves the product of a tensor's dimensions unchecked and divides by
//! whatever alignment it reads.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use llmo_core::weights::gguf::GgufHeader;
use llmo_core::{ModelError, ModelInfo};
use memmap2::Mmap;

use super::decoder::Weights;
use super::metadata::Metadata;

/// A file whose header is sound.
pub(super) struct GgufFile {
    map: Mmap,
    header: GgufHeader,
    model: String,
}

/// Opens the file and tells what its header says about the model.
///
/// # Errors
/// [`ModelError::Corrupt`] for a damaged header, [`ModelError::Internal`] if the file can't be read.
pub(super) fn open(path: &Path, info: &mut ModelInfo) -> Result<GgufFile, ModelError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    // SAFETY: weights are not written to after they were put in place (stores replace files by renaming), so the bytes
    // behind this slice don't change while it lives.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| unreadable(path, &error))?;
    let corrupt = |reason: String| ModelError::Corrupt { model: info.id.clone(), reason };
    let header = GgufHeader::parse(&map, map.len() as u64).map_err(|error| corrupt(error.to_string()))?;
    info.family = header.architecture().unwrap_or_default().to_owned();
    info.quantisation = header.quantisation();
    info.parameters = header.parameters();
    info.size_bytes = map.len() as u64;
    info.created = now();
    Ok(GgufFile { map, header, model: info.id.clone() })
}

impl GgufFile {
    pub(super) fn metadata(&self) -> Metadata<'_> {
        Metadata::new(&self.header, &self.model)
    }

    pub(super) fn weights(&self) -> Weights<'_> {
        Weights::new(self.metadata(), &self.map)
    }
}

/// The file's name without its extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy().into_owned())
}

/// The file's name: whole paths don't belong into messages that callers see.
pub(super) fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> ModelError {
    ModelError::Internal(format!("{} can't be read: {error}", name(path)))
}

/// Unix time in seconds.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
