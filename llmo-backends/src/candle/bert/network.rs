//! The way from texts to vectors: padding, the encoder, pooling, unit length; and from pairs of texts to scores.

use std::fs;
use std::path::Path;

use candle_core::{D, DType, Device, IndexOp, Tensor};
use candle_nn::{Linear, Module, VarBuilder, linear};
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
    judge: Option<Judge>,
}

/// What makes a cross-encoder of a BERT (`BertForSequenceClassification` with one label).
#[derive(Debug)]
struct Judge {
    pooler: Linear,
    classifier: Linear,
}

impl Judge {
    /// `None` if the weights have no classifier of one label.
    fn load(weights: &VarBuilder<'_>, width: usize) -> candle_core::Result<Option<Self>> {
        if !weights.contains_tensor("classifier.weight") {
            return Ok(None);
        }
        let Ok(classifier) = linear(width, 1, weights.pp("classifier")) else { return Ok(None) };
        let bert =
            if weights.contains_tensor("bert.pooler.dense.weight") { weights.pp("bert") } else { weights.clone() };
        Ok(Some(Self { pooler: linear(width, width, bert.pp("pooler.dense"))?, classifier }))
    }
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
        let (encoder, judge) = VarBuilder::from_buffered_safetensors(data, DType::F32, &Device::Cpu)
            .and_then(|weights| {
                let judge = Judge::load(&weights, config.network.hidden_size)?;
                Ok((Encoder::load(weights, &config.network)?, judge))
            })
            .map_err(|error| corrupt(error.to_string()))?;
        Ok((Self { encoder, pooling: config.pooling, judge }, size))
    }

    /// Was it trained to judge pairs of texts?
    pub(super) fn judges(&self) -> bool {
        self.judge.is_some()
    }

    /// One number for each pair of texts: the more, the better they fit. `seconds` tells where the second text of each
    /// pair begins.
    pub(super) fn score(&self, pairs: &[&[TokenId]], seconds: &[usize]) -> candle_core::Result<Vec<f32>> {
        let Some(judge) = &self.judge else { candle_core::bail!("the model has no classifier") };
        let (tokens, mask) = padded(pairs)?;
        let (texts, longest) = tokens.dims2()?;
        let segment = |(pair, &second): (&&[TokenId], &usize)| {
            (0..longest).map(|i| if (second..pair.len()).contains(&i) { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
        };
        let segments: Vec<f32> = pairs.iter().zip(seconds).flat_map(segment).collect();
        let segments = Tensor::from_vec(segments, (texts, longest), &Device::Cpu)?;
        let first = self.encoder.forward(&tokens, &mask, Some(&segments))?.i((.., 0))?.contiguous()?;
        let logits = judge.classifier.forward(&judge.pooler.forward(&first)?.tanh()?)?;
        logits.squeeze(1)?.to_vec1()
    }

    /// One vector of unit length for each text; none of the texts is empty.
    pub(super) fn embed(&self, texts: &[&[TokenId]]) -> candle_core::Result<Vec<Vec<f32>>> {
        let (tokens, mask) = padded(texts)?;
        let vectors = self.encoder.forward(&tokens, &mask, None)?;
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

/// Tokens of shape (texts, longest text), and a mask of the same shape: 1 for tokens, 0 for padding.
fn padded(texts: &[&[TokenId]]) -> candle_core::Result<(Tensor, Tensor)> {
    let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
    let shape = (texts.len(), longest);
    let rows = |value: fn(TokenId) -> u32| -> Vec<u32> {
        let row = |text: &&[TokenId]| {
            let padding = longest - text.len();
            text.iter().map(|token| value(*token)).chain(std::iter::repeat_n(0, padding)).collect::<Vec<u32>>()
        };
        texts.iter().flat_map(row).collect()
    };
    let tokens = Tensor::from_vec(rows(|token| token), shape, &Device::Cpu)?;
    let mask = Tensor::from_vec(rows(|_| 1), shape, &Device::Cpu)?.to_dtype(DType::F32)?;
    Ok((tokens, mask))
}
