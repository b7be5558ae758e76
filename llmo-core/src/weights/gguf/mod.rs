//! GGUF, versions 2 and 3, little-endian: the format of llama.cpp.
//!
//! ```text
//!  "GGUF" version tensor_count metadata_count | metadata … | tensor infos … | padding | tensor data …
//!  └──────────────────────── read and checked here ──────────────────────┘            └ only its place is checked
//! ```

mod facts;
mod reader;
mod tensor;
mod value;
mod vocabulary;

use std::collections::HashMap;

use super::WeightsError;
use reader::Reader;
pub use tensor::GgufTensor;
pub use value::{GgufArray, GgufValue};

const MAGIC: &[u8] = b"GGUF";
/// Real files have some fifty entries.
const MAX_METADATA: u64 = 1 << 16;
/// Real files have some thousand tensors.
const MAX_TENSORS: u64 = 1 << 17;
const MAX_KEY_BYTES: usize = 1 << 16;
const DEFAULT_ALIGNMENT: u64 = 32;
/// More than a page of the largest kind is nobody's alignment.
const MAX_ALIGNMENT: u64 = 1 << 30;

/// The checked header of a GGUF file.
///
/// ```
/// use llmo_core::weights::{GgufHeader, WeightsError};
///
/// let not_gguf = GgufHeader::parse(b"PK\x03\x04 is a zip file", 22);
/// assert_eq!(not_gguf.unwrap_err(), WeightsError::Magic { format: "GGUF" });
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    version: u32,
    metadata: HashMap<String, GgufValue>,
    tensors: Vec<GgufTensor>,
    alignment: u64,
    data_start: u64,
}

impl GgufHeader {
    /// Reads and checks the header at the beginning of `bytes`; the whole file has `file_size` bytes.
    ///
    /// # Errors
    /// [`WeightsError::Truncated`] if `bytes` end inside the header: give more of the file. Any other error: the file
    /// must not reach an engine.
    pub fn parse(bytes: &[u8], file_size: u64) -> Result<Self, WeightsError> {
        let mut reader = Reader::new(bytes);
        // A short file of another kind is not a truncated GGUF file.
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(WeightsError::Magic { format: "GGUF" });
        }
        reader.take(MAGIC.len(), "the magic")?;
        let version = reader.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(WeightsError::Version(version));
        }
        let tensor_count = reader.count("the number of tensors", MAX_TENSORS)?;
        let metadata_count = reader.count("the number of metadata entries", MAX_METADATA)?;
        let metadata = read_metadata(&mut reader, metadata_count)?;
        let alignment = alignment(&metadata)?;
        let tensors = tensor::read_all(&mut reader, tensor_count)?;
        let data_start = reader.position().next_multiple_of(alignment);
        tensor::check_layout(&tensors, alignment, data_start, file_size)?;
        Ok(Self { version, metadata, tensors, alignment, data_start })
    }

    /// The format's version: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// A metadata entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.metadata.get(key)
    }

    /// All metadata entries, in no order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &GgufValue)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// All tensors, in the file's order.
    #[must_use]
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// Tensors begin at multiples of this many bytes.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Where the tensors' data begin, in bytes from the start of the file.
    #[must_use]
    pub fn data_start(&self) -> u64 {
        self.data_start
    }
}

fn read_metadata(reader: &mut Reader<'_>, count: u64) -> Result<HashMap<String, GgufValue>, WeightsError> {
    let mut metadata = HashMap::new();
    for _ in 0..count {
        let key = reader.name("a metadata key", MAX_KEY_BYTES)?;
        let start = reader.position();
        let value = GgufValue::read(reader, &key)?;
        if key == vocabulary::KEY {
            vocabulary::check(reader.since(start))?;
        }
        if let Some(key) = metadata.contains_key(&key).then(|| key.clone()) {
            return Err(WeightsError::invalid(format!("the metadata key {key:?} is there twice")));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &HashMap<String, GgufValue>) -> Result<u64, WeightsError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(GgufValue::Unsigned(alignment)) if alignment.is_power_of_two() && *alignment <= MAX_ALIGNMENT => {
            Ok(*alignment)
        }
        Some(other) => {
            Err(WeightsError::invalid(format!("general.alignment must be a power of two, but it is {other:?}")))
        }
    }
}
