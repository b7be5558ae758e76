//! A decoder-only transformer over GGUF weights: llama, qwen2, qwen3 and gemma3 by one set of formulas.
//!
//! ```text
//!  tokens ─► embedding ─► layer × n ─► norm ─► head ─► logits of the last token
//!                           │  ▲
//!                           ▼  │ kv_cache: keys and values of one sequence
//! ```
//!
//! Written on candle's quantised matrices instead of its `quantized_*` models, because those (0.11) keep a mask for every
//! length ever seen, copy the whole cache for each token, stop at 4 096 tokens (llama), round RoPE's angles to half
//! precision (qwen3) or gate with the wrong function and can't read a prompt in chunks (gemma3), and ignore llama 3.1's
//! RoPE factors. `tests/candle_vs_llama.rs` holds it against llama.cpp for every architecture.

mod hyperparameters;
mod kv_cache;
mod layer;
mod rotary;
mod weights;

use std::sync::Arc;

use candle_core::{Device, IndexOp, Tensor};
use llmo_core::ModelError;
use llmo_core::model::TokenId;

use self::hyperparameters::{Hyperparameters, SlidingWindow};
use self::layer::{Layer, Norm, Step};
use self::rotary::Rotary;
pub(super) use self::weights::Weights;
use self::weights::{Embedding, Linear};

/// A model and the one sequence it is reading.
#[derive(Debug)]
pub(super) struct Decoder {
    parameters: Hyperparameters,
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
    rotary: Rotary,
    local_rotary: Option<Rotary>,
    /// Tokens of the sequence that were read.
    len: usize,
}

impl Decoder {
    /// Reads all weights.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] and [`ModelError::Corrupt`], saying what was found.
    pub(super) fn load(weights: Weights<'_>, vocab_size: usize) -> Result<Self, ModelError> {
        let metadata = weights.metadata;
        let p = Hyperparameters::read(metadata)?;
        let failed = |error: candle_core::Error| metadata.corrupt(error.to_string());
        let table = Arc::new(weights.tensor("token_embd.weight", &[vocab_size, p.width])?);
        let head = if weights.has("output.weight") {
            weights.linear("output", p.width, vocab_size)?
        } else {
            Linear::new(Arc::clone(&table), None).map_err(failed)?
        };
        let factors = match weights.has("rope_freqs.weight") {
            true => Some(weights.vector("rope_freqs.weight", p.head / 2)?.to_vec1::<f32>().map_err(failed)?),
            false => None,
        };
        let local = |window: SlidingWindow| Rotary::new(p.head, window.rope_base, 1.0, None, p.pairs);
        Ok(Self {
            embedding: Embedding::new(table).map_err(failed)?,
            layers: (0..p.layers).map(|i| Layer::load(&weights, &p, i)).collect::<Result<_, _>>()?,
            norm: Norm::load(&weights, "output_norm", p.width, p.norm_epsilon)?,
            head,
            rotary: Rotary::new(p.head, p.rope_base, p.rope_scale, factors.as_deref(), p.pairs),
            local_rotary: p.window.map(local),
            len: 0,
            parameters: p,
        })
    }

    /// The longest sequence the model was trained for.
    pub(super) fn context_length(&self) -> usize {
        self.parameters.context_length
    }

    /// Starts a new sequence.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.layers.iter_mut().for_each(Layer::clear);
    }

    /// Reads more of the sequence; what comes next is not asked yet. Costs memory for (tokens · all tokens so far).
    pub(super) fn read(&mut self, tokens: &[TokenId]) -> candle_core::Result<()> {
        self.advance(tokens).map(|_| ())
    }

    /// Reads more of the sequence: the logits of what comes after it, one for each token of the vocabulary.
    pub(super) fn next(&mut self, tokens: &[TokenId]) -> candle_core::Result<Vec<f32>> {
        let x = self.advance(tokens)?;
        let last = x.i((.., tokens.len() - 1.., ..))?.contiguous()?;
        let mut logits = self.head.forward(&self.norm.forward(&last)?)?;
        if let Some(cap) = self.parameters.logit_cap {
            logits = ((logits / cap)?.tanh()? * cap)?;
        }
        logits.flatten_all()?.to_vec1()
    }

    fn advance(&mut self, tokens: &[TokenId]) -> candle_core::Result<Tensor> {
        let p = &self.parameters;
        let mut x = (self.embedding.forward(tokens)?.unsqueeze(0)? * p.embedding_scale)?;
        let global = step(&self.rotary, None, self.len, tokens.len())?;
        let local = match (&self.local_rotary, p.window) {
            (Some(rotary), Some(window)) => Some(step(rotary, Some(window.size), self.len, tokens.len())?),
            _ => None,
        };
        for (i, layer) in self.layers.iter_mut().enumerate() {
            let step = local.as_ref().filter(|_| p.window_of(i).is_some()).unwrap_or(&global);
            x = layer.forward(&x, p, step)?;
        }
        self.len += tokens.len();
        Ok(x)
    }
}

/// What layers of a kind need to read `count` tokens after the first `len`; each token sees itself and up to
/// `window - 1` before it.
fn step(rotary: &Rotary, window: Option<usize>, len: usize, count: usize) -> candle_core::Result<Step> {
    let sees_from = |token: usize| window.map_or(0, |window| (token + 1).saturating_sub(window));
    let first = sees_from(len);
    let mask = if count == 1 {
        None
    } else {
        let row = |token: usize| (first..len + count).map(move |other| (sees_from(token)..=token).contains(&other));
        let mask: Vec<f32> =
            (len..len + count).flat_map(row).map(|sees| if sees { 0.0 } else { f32::NEG_INFINITY }).collect();
        Some(Tensor::from_vec(mask, (count, len + count - first), &Device::Cpu)?)
    };
    Ok(Step { angles: rotary.angles(len, count)?, first, mask })
}

#[cfg(test)]
mod tests {
    use super::hyperparameters::RotaryPairs;
    use super::*;

    #[test]
    fn a_token_sees_itself_and_what_the_window_holds_before_it() {
        let rotary = Rotary::new(4, 10_000.0, 1.0, None, RotaryPairs::Halves);
        let visible = |window, len, count| {
            let step = step(&rotary, window, len, count).unwrap();
            let mask = step.mask.unwrap().to_vec2::<f32>().unwrap();
            let rows = mask.iter().map(|row| row.iter().map(|m| if *m == 0.0 { 'x' } else { '.' }).collect());
            (step.first, rows.collect::<Vec<String>>())
        };
        assert_eq!(visible(None, 2, 2), (0, vec!["xxx.".into(), "xxxx".into()]));
        assert_eq!(visible(Some(2), 2, 3), (1, vec!["xx..".into(), ".xx.".into(), "..xx".into()]));
        assert_eq!(step(&rotary, Some(2), 9, 1).unwrap().first, 8, "the window ends with the token itself");
    }
}
