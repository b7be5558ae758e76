//! The list of tensors, and where their data lie.

use super::reader::Reader;
use crate::weights::layout::check_disjoint;
use crate::weights::{GgmlType, WeightsError};

/// ggml keeps names in 64 bytes, the last of them zero.
const MAX_NAME_BYTES: usize = 63;
const MAX_DIMENSIONS: u32 = 4;

/// What the header says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GgufTensor {
    /// Its name, as in `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions, the fastest first; one to four, none of them zero.
    pub dimensions: Vec<u64>,
    /// How its numbers are stored.
    pub kind: GgmlType,
    /// Where its data begin, in bytes from the start of the data section.
    pub offset: u64,
    /// How many bytes of data it has.
    pub bytes: u64,
}

impl GgufTensor {
    /// How many numbers it holds.
    #[must_use]
    pub fn elements(&self) -> u64 {
        // The product was checked when the tensor was read.
        self.dimensions.iter().product()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WeightsError> {
        let name = reader.name("a tensor's name", MAX_NAME_BYTES)?;
        let what = |part: &str| format!("{part} of the tensor {name:?}");
        let count = reader.u32(&what("the number of dimensions"))?;
        if !(1..=MAX_DIMENSIONS).contains(&count) {
            return Err(WeightsError::invalid(format!("{} is {count}", what("the number of dimensions"))));
        }
        let mut dimensions = Vec::with_capacity(count as usize);
        let mut elements = 1u64;
        for _ in 0..count {
            let length = reader.u64(&what("a dimension"))?;
            let product = elements.checked_mul(length).filter(|product| *product > 0 && *product <= i64::MAX as u64);
            elements = product.ok_or_else(|| WeightsError::invalid(format!("{} is {length}", what("a dimension"))))?;
            dimensions.push(length);
        }
        let kind = GgmlType::from_id(reader.u32(&what("the type"))?)?;
        let offset = reader.u64(&what("the offset"))?;
        let bytes = kind.bytes_of(dimensions[0], elements).ok_or_else(|| {
            WeightsError::invalid(format!("{dimensions:?} does not fit {}: {}", kind.name, what("the shape")))
        })?;
        Ok(Self { name, dimensions, kind, offset, bytes })
    }
}

pub(super) fn read_all(reader: &mut Reader<'_>, count: u64) -> Result<Vec<GgufTensor>, WeightsError> {
    // Grows as tensors are read: `count` is not to be trusted with memory.
    let mut tensors: Vec<GgufTensor> = Vec::new();
    let mut names = std::collections::HashSet::new();
    for _ in 0..count {
        let tensor = GgufTensor::read(reader)?;
        if !names.insert(tensor.name.clone()) {
            return Err(WeightsError::invalid(format!("the tensor {:?} is there twice", tensor.name)));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// Tensors are aligned, lie inside the file and don't overlap.
pub(super) fn check_layout(
    tensors: &[GgufTensor],
    alignment: u64,
    data_start: u64,
    file_size: u64,
) -> Result<(), WeightsError> {
    let room = file_size.saturating_sub(data_start);
    for GgufTensor { name, offset, bytes, .. } in tensors {
        if !offset.is_multiple_of(alignment) {
            let reason = format!("the tensor {name:?} at {offset} is not aligned to {alignment} bytes");
            return Err(WeightsError::Invalid(reason));
        }
        if offset.checked_add(*bytes).is_none_or(|end| end > room) {
            let reason = format!("the tensor {name:?} ({bytes} bytes at {offset}) ends past the end of the file");
            return Err(WeightsError::Invalid(reason));
        }
    }
    check_disjoint(tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.offset..tensor.offset + tensor.bytes)))
}
