//! A GGUF file, looked at in Rust before llama.cpp sees it.

use std::fs::File;
use std::path::Path;
use std::time::UNIX_EPOCH;

use llmo_core::ModelError;
use llmo_core::model::Quantisation;
use llmo_core::weights::GgufHeader;

/// What a checked header says, and what the file system knows of the file.
#[derive(Debug)]
pub(super) struct Weights {
    /// GGUF's name of the model family.
    pub(super) architecture: String,
    pub(super) quantisation: Quantisation,
    /// Unix time in seconds of the last change.
    pub(super) changed_at: u64,
}

/// Architectures that read text but don't continue it.
const ENCODERS: [&str; 9] = [
    "bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "modern-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "t5",
    "t5encoder",
];

/// Checks the header of a GGUF file without llama.cpp: what a process does that leaves the loading to another.
///
/// # Errors
/// [`ModelError::NotFound`] without such a file, [`ModelError::Corrupt`] if it is damaged, [`ModelError::Unsupported`] if
/// it does not generate text.
pub fn check(id: &str, path: &Path) -> Result<(), ModelError> {
    Weights::open(id, path).map(drop)
}

impl Weights {
    /// Reads and checks the header of the model called `id`.
    ///
    /// llama.cpp aborts the process on some damaged files: nothing that fails here may reach it.
    ///
    /// # Errors
    /// [`ModelError::NotFound`] without such a file, [`ModelError::Corrupt`] if it is damaged,
    /// [`ModelError::Unsupported`] if it does not generate text.
    pub(super) fn open(id: &str, path: &Path) -> Result<Self, ModelError> {
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => {
                ModelError::NotFound { model: path.display().to_string(), suggestion: None }
            }
            _ => ModelError::Internal(format!("{} can't be read: {e}", path.display())),
        };
        let corrupt = |reason: String| ModelError::Corrupt { model: id.to_owned(), reason };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(corrupt(format!("{} is empty or not a file", path.display())));
        }
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        // SAFETY: the map is read-only and private to this function. A file that shrinks meanwhile would fault, as it
        // would under llama.cpp, which maps the same file for as long as the model lives; the store never changes a
        // file in place.
        #[allow(unsafe_code)]
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
        let header = GgufHeader::parse(&bytes, metadata.len()).map_err(|e| corrupt(e.to_string()))?;
        let architecture = header.architecture().ok_or_else(|| corrupt("it does not say what it is".into()))?;
        if ENCODERS.contains(&architecture) {
            let what = format!("generation: it is an encoder ({architecture})");
            return Err(ModelError::Unsupported { model: id.to_owned(), what });
        }
        Ok(Self {
            architecture: architecture.to_owned(),
            quantisation: header.quantisation(),
            changed_at: changed.map_or(0, |since| since.as_secs()),
        })
    }
}
