//! Reads a model's tensors by name, each of the shape that the hyperparameters ask for.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::quantized::ggml_file::qtensor_from_ggml;
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use llmo_core::ModelError;
use llmo_core::weights::gguf::GgufTensor;

use crate::candle::metadata::Metadata;

/// Blocks of numbers are read where they lie if they lie at a multiple of this many bytes; all of candle's need less.
const ALIGNMENT: usize = 8;

/// The tensors of an open GGUF file.
pub(crate) struct Weights<'a> {
    pub(super) metadata: Metadata<'a>,
    tensors: HashMap<&'a str, &'a GgufTensor>,
    data: &'a [u8],
}

impl<'a> Weights<'a> {
    /// `file` is the whole file whose header was checked.
    pub(crate) fn new(metadata: Metadata<'a>, file: &'a [u8]) -> Self {
        let header = metadata.header();
        let start = usize::try_from(header.data_start()).unwrap_or(usize::MAX);
        let tensors = header.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        Self { metadata, tensors, data: file.get(start..).unwrap_or_default() }
    }

    /// # Errors
    /// [`ModelError::Corrupt`] if the tensor is missing or has another shape, [`ModelError::Unsupported`] if candle
    /// can't compute with the way it is stored.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<QTensor, ModelError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.metadata.corrupt(format!("there is no tensor {name}")));
        };
        let found: Vec<usize> = tensor.dimensions.iter().rev().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        if found != shape {
            return Err(self.metadata.corrupt(format!("tensor {name} has the shape {found:?}, not {shape:?}")));
        }
        let Some(dtype) = dtype(tensor.kind.name) else {
            return Err(self.metadata.unsupported(format!("weights of type {} on candle", tensor.kind.name)));
        };
        let past_the_end = || self.metadata.corrupt(format!("tensor {name} ends past the end of the file"));
        let start = usize::try_from(tensor.offset).map_err(|_| past_the_end())?;
        let end = usize::try_from(tensor.bytes).ok().and_then(|bytes| start.checked_add(bytes));
        let bytes = end.and_then(|end| self.data.get(start..end)).ok_or_else(past_the_end)?;
        // A file may be aligned to less than its numbers need. What an allocator gives always suffices.
        let copy: Vec<u8>;
        let aligned = if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
            bytes
        } else {
            copy = bytes.to_vec();
            &copy
        };
        qtensor_from_ggml(dtype, aligned, found, &Device::Cpu)
            .map_err(|error| self.metadata.corrupt(format!("tensor {name}: {error}")))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A vector in full precision, e.g. of a norm.
    pub(super) fn vector(&self, name: &str, len: usize) -> Result<Tensor, ModelError> {
        let tensor = self.tensor(name, &[len])?;
        tensor.dequantize(&Device::Cpu).map_err(|error| self.metadata.corrupt(format!("tensor {name}: {error}")))
    }

    /// `name.weight` of shape (`outputs`, `inputs`), and `name.bias` if there is one.
    pub(super) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias_name = format!("{name}.bias");
        let bias = if self.has(&bias_name) { Some(self.vector(&bias_name, outputs)?) } else { None };
        Linear::new(Arc::new(weight), bias).map_err(|error| self.metadata.corrupt(format!("tensor {name}: {error}")))
    }
}

/// A matrix, quantised as in the file, and what is added after it.
#[derive(Debug)]
pub(super) struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(weight: Arc<QTensor>, bias: Option<Tensor>) -> candle_core::Result<Self> {
        Ok(Self { weight: QMatMul::from_arc(weight)?, bias })
    }

    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = self.weight.forward(x)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// Token embeddings; only the rows asked for are dequantised, so that 250 000 rows cost what they cost in the file.
#[derive(Debug)]
pub(super) struct Embedding {
    table: Arc<QTensor>,
    /// Of full or half precision files: candle looks those up in a plain tensor.
    plain: Option<QMatMul>,
}

impl Embedding {
    pub(super) fn new(table: Arc<QTensor>) -> candle_core::Result<Self> {
        let full = matches!(table.dtype(), GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        let plain = if full { Some(QMatMul::from_arc(Arc::clone(&table))?) } else { None };
        Ok(Self { table, plain })
    }

    /// Shape (tokens, width).
    pub(super) fn forward(&self, tokens: &[u32]) -> candle_core::Result<Tensor> {
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        match &self.plain {
            Some(plain) => plain.embedding(&ids),
            None => self.table.embedding(&ids),
        }
    }
}

/// candle's name of a ggml type; `None` if it can't compute with it.
fn dtype(name: &str) -> Option<GgmlDType> {
    let dtype = match name {
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "BF16" => GgmlDType::BF16,
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        "Q5_0" => GgmlDType::Q5_0,
        "Q5_1" => GgmlDType::Q5_1,
        "Q8_0" => GgmlDType::Q8_0,
        "Q2_K" => GgmlDType::Q2K,
        "Q3_K" => GgmlDType::Q3K,
        "Q4_K" => GgmlDType::Q4K,
        "Q5_K" => GgmlDType::Q5K,
        "Q6_K" => GgmlDType::Q6K,
        _ => return None,
    };
    Some(dtype)
}
