//! The way from texts to vectors: padding, the encoder, pooling, unit length.

use std::fs;
use std::path::Path;

use candle_core::{D, DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use llmo_core::ModelError;
use llmo_core::model::TokenId;
use llmo_core::weights::safetensors::SafetensorsHeader;

use super::config::{Config, Pooling};
use super::encoder::Encoder;
use crate::candle::file;

/// Added to the number of tokens a mean is divided by, as in sentence-transformers.
const LEAST_TOKENS: f64 = 1e-9;

/// Weights and what is done with them.
#[derive(Debug)]
pub(super) struct Network {
    encoder: Encoder,
    pooling: Pooling,
}

/// What loading found out about the weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) parameters: u64,
    pub(super) bytes: u64,
}

impl Network {
    /// Reads `model.safetensors` in `folder`; its header is checked before candle sees it.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if the file is damaged or lacks a tensor.
    pub(super) fn load(folder: &Path, config: &Config, model: &str) -> Result<(Self, Size), ModelError> {
        let path = folder.join("model.safetensors");
        let corrupt = |reason: String| ModelError::Corrupt { model: model.to_owned(), reason };
        let data = fs::read(&path).map_err(|error| file::unreadable(&path, &error))?;
        let bytes = data.len() as u64;
        let header = SafetensorsHeader::parse(&data, bytes).map_err(|error| corrupt(error.to_string()))?;
        let size = Size { parameters: header.parameters(), bytes };
        let encoder = VarBuilder::from_buffered_safetensors(data, DType::F32, &Device::Cpu)
            .and_then(|weights| Encoder::load(weights, &config.network))
            .map_err(|error| corrupt(error.to_string()))?;
        Ok((Self { encoder, pooling: config.pooling }, size))
    }

    /// One vector of unit length for each text; none of the texts is empty.
    pub(super) fn embed(&self, texts: &[&[TokenId]]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let shape = (texts.len(), longest);
        let padded = |value: fn(TokenId) -> u32| -> Vec<u32> {
            let row = |text: &&[TokenId]| {
                let padding = longest - text.len();
                text.iter().map(|token| value(*token)).chain(std::iter::repeat_n(0, padding)).collect::<Vec<u32>>()
            };
            texts.iter().flat_map(row).collect()
        };
        let tokens = Tensor::from_vec(padded(|token| token), shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(padded(|_| 1), shape, &Device::Cpu)?.to_dtype(DType::F32)?;
        let vectors = self.encoder.forward(&tokens, &mask)?;
        let pooled = match self.pooling {
            Pooling::First => vectors.i((.., 0))?,
            Pooling::Mean => {
                let mask = mask.unsqueeze(2)?;
                let sum = vectors.broadcast_mul(&mask)?.sum(1)?;
                sum.broadcast_div(&(mask.sum(1)? + LEAST_TOKENS)?)?
            }
        };
        let length = pooled.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        pooled.broadcast_div(&length)?.to_vec2()
    }
}
