//! safetensors: a JSON header in front of the tensors' data.
//!
//! ```text
//!  header length (u64) | {"name": {"dtype", "shape", "data_offsets"}, …, "__metadata__": {…}} | tensor data …
//! ```
//!
//! The data have no holes and no overlaps and end where the file ends, as in the format's own implementation.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::WeightsError;
use super::layout::check_disjoint;

/// Longest header, in bytes: the limit of the format's own implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH_BYTES: usize = 8;

/// The checked header of a safetensors file.
///
/// ```
/// use llmo_core::weights::SafetensorsHeader;
///
/// let json = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
/// let mut file = (json.len() as u64).to_le_bytes().to_vec();
/// file.extend_from_slice(json);
/// file.extend_from_slice(&[0; 8]);
/// let header = SafetensorsHeader::parse(&file, file.len() as u64)?;
/// assert_eq!(header.parameters(), 2);
/// # Ok::<(), llmo_core::weights::WeightsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsHeader {
    tensors: BTreeMap<String, SafetensorsTensor>,
    metadata: BTreeMap<String, String>,
    data_start: u64,
}

/// What the header says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SafetensorsTensor {
    /// How its numbers are stored, as in `F32`.
    pub dtype: String,
    /// Its dimensions, the slowest first. None: a single number.
    pub shape: Vec<u64>,
    /// Where its data begin and end, in bytes from the start of the data.
    pub data_offsets: (u64, u64),
}

impl SafetensorsTensor {
    /// How many numbers it holds.
    #[must_use]
    pub fn elements(&self) -> u64 {
        // The product was checked when the header was read.
        self.shape.iter().product()
    }
}

impl SafetensorsHeader {
    /// Reads and checks the header at the beginning of `bytes`; the whole file has `file_size` bytes.
    ///
    /// # Errors
    /// [`WeightsError::Truncated`] if `bytes` end inside the header: give more of the file. Any other error: the file
    /// must not reach an engine.
    pub fn parse(bytes: &[u8], file_size: u64) -> Result<Self, WeightsError> {
        let truncated =
            |needed: u64| WeightsError::Truncated { what: "the JSON header".into(), needed, given: bytes.len() as u64 };
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| truncated(LENGTH_BYTES as u64))?;
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER_BYTES {
            let what = "the length of the header".into();
            return Err(WeightsError::TooLarge { what, value: length, limit: MAX_HEADER_BYTES });
        }
        let data_start = length + LENGTH_BYTES as u64;
        // Compared before the bytes are read, or a header in a shorter file would look as if more of it could be had.
        if data_start > file_size {
            return Err(WeightsError::invalid("the header is longer than the file"));
        }
        let json = rest.get(..length as usize).ok_or_else(|| truncated(data_start))?;
        // The format's own implementation insists on this: nothing may come before the JSON.
        if !json.starts_with(b"{") {
            return Err(WeightsError::Magic { format: "safetensors" });
        }
        let entries: Entries = serde_json::from_slice(json)
            .map_err(|error| WeightsError::invalid(format!("the header is not the right JSON: {error}")))?;
        let header = Self { tensors: entries.tensors, metadata: entries.metadata, data_start };
        header.check(file_size - data_start)?;
        Ok(header)
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &SafetensorsTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// A tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SafetensorsTensor> {
        self.tensors.get(name)
    }

    /// What its makers wrote into it.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Where the tensors' data begin, in bytes from the start of the file.
    #[must_use]
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Number of weights in all tensors.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(SafetensorsTensor::elements).fold(0, u64::saturating_add)
    }

    fn check(&self, data_bytes: u64) -> Result<(), WeightsError> {
        let mut covered = 0u64;
        for (name, tensor) in &self.tensors {
            covered = covered.saturating_add(check_tensor(name, tensor, data_bytes)?);
        }
        check_disjoint(self.tensors.iter().map(|(name, t)| (name.as_str(), t.data_offsets.0..t.data_offsets.1)))?;
        // Without overlaps, tensors that cover as many bytes as there are leave no hole.
        if covered != data_bytes {
            let reason = format!("the tensors cover {covered} bytes of data, but there are {data_bytes}");
            return Err(WeightsError::Invalid(reason));
        }
        Ok(())
    }
}

/// The bytes of a tensor whose parts fit together.
fn check_tensor(name: &str, tensor: &SafetensorsTensor, data_bytes: u64) -> Result<u64, WeightsError> {
    let (start, end) = tensor.data_offsets;
    let invalid = |reason: String| WeightsError::invalid(format!("the tensor {name:?}: {reason}"));
    if start > end || end > data_bytes {
        return Err(invalid(format!("data from {start} to {end} in a file with {data_bytes} bytes of data")));
    }
    let bits = dtype_bits(&tensor.dtype).ok_or_else(|| invalid(format!("unknown type {:?}", tensor.dtype)))?;
    let expected = tensor
        .shape
        .iter()
        .try_fold(1u64, |product, length| product.checked_mul(*length))
        .and_then(|elements| elements.checked_mul(bits))
        .filter(|bits| bits.is_multiple_of(8));
    if expected.map(|bits| bits / 8) != Some(end - start) {
        return Err(invalid(format!("{:?} of {} is not {} bytes", tensor.shape, tensor.dtype, end - start)));
    }
    Ok(end - start)
}

/// Bits of a number of this type.
fn dtype_bits(name: &str) -> Option<u64> {
    Some(match name {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// The JSON, read without keeping a generic tree: a name that is there twice is an error, not the last one.
#[derive(Default)]
struct Entries {
    tensors: BTreeMap<String, SafetensorsTensor>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "__metadata__" {
                        entries.metadata = map.next_value()?;
                        std::mem::replace(&mut has_metadata, true)
                    } else {
                        let tensor = map.next_value()?;
                        entries.tensors.insert(name.clone(), tensor).is_some()
                    };
                    if twice {
                        return Err(A::Error::custom(format!("{name:?} is there twice")));
                    }
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}
