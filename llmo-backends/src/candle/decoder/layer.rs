//! One transformer layer: attention over everything read so far, then the gated feed-forward network.

use candle_core::{D, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use llmo_core::ModelError;

use super::hyperparameters::{Activation, Hyperparameters};
use super::kv_cache::KvCache;
use super::rotary::Angles;
use super::weights::{Linear, Weights};

/// Root mean square norm.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Tensor,
    epsilon: f32,
}

impl Norm {
    pub(super) fn load(weights: &Weights<'_>, name: &str, len: usize, epsilon: f32) -> Result<Self, ModelError> {
        Ok(Self { weight: weights.vector(&format!("{name}.weight"), len)?, epsilon })
    }

    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        rms_norm(x, &self.weight, self.epsilon)
    }
}

/// What a layer needs to know about the tokens it reads.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) angles: Angles,
    /// First token that is looked at.
    pub(super) first: usize,
    /// Shape (tokens, tokens looked at): 0 or minus infinity. `None` if every token sees everything from `first` on.
    pub(super) mask: Option<Tensor>,
}

#[derive(Debug)]
pub(super) struct Layer {
    attention_norm: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    attention_output: Linear,
    attention_output_norm: Option<Norm>,
    feed_forward_norm: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
    feed_forward_output_norm: Option<Norm>,
    cache: KvCache,
}

impl Layer {
    pub(super) fn load(weights: &Weights<'_>, p: &Hyperparameters, index: usize) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let (q, kv, eps) = (p.heads * p.head, p.kv_heads * p.head, p.norm_epsilon);
        Ok(Self {
            attention_norm: Norm::load(weights, &name("attn_norm"), p.width, eps)?,
            query: weights.linear(&name("attn_q"), p.width, q)?,
            key: weights.linear(&name("attn_k"), p.width, kv)?,
            value: weights.linear(&name("attn_v"), p.width, kv)?,
            query_norm: load_if(p.norms_heads, || Norm::load(weights, &name("attn_q_norm"), p.head, eps))?,
            key_norm: load_if(p.norms_heads, || Norm::load(weights, &name("attn_k_norm"), p.head, eps))?,
            attention_output: weights.linear(&name("attn_output"), q, p.width)?,
            attention_output_norm: load_if(p.norms_outputs, || {
                Norm::load(weights, &name("post_attention_norm"), p.width, eps)
            })?,
            feed_forward_norm: Norm::load(weights, &name("ffn_norm"), p.width, eps)?,
            gate: weights.linear(&name("ffn_gate"), p.width, p.feed_forward)?,
            up: weights.linear(&name("ffn_up"), p.width, p.feed_forward)?,
            down: weights.linear(&name("ffn_down"), p.feed_forward, p.width)?,
            feed_forward_output_norm: load_if(p.norms_outputs, || {
                Norm::load(weights, &name("post_ffw_norm"), p.width, eps)
            })?,
            cache: KvCache::default(),
        })
    }

    pub(super) fn clear(&mut self) {
        self.cache.clear();
    }

    /// `x` of shape (1, tokens, width), and the same out.
    pub(super) fn forward(&mut self, x: &Tensor, p: &Hyperparameters, step: &Step) -> candle_core::Result<Tensor> {
        let attended = self.attend(&self.attention_norm.forward(x)?, p, step)?;
        let x = (x + normed(self.attention_output_norm.as_ref(), attended)?)?;
        let inner = self.feed_forward_norm.forward(&x)?;
        let gate = self.gate.forward(&inner)?;
        let gate = match p.activation {
            Activation::Silu => silu(&gate)?,
            Activation::Gelu => gate.gelu()?,
        };
        let added = self.down.forward(&(gate * self.up.forward(&inner)?)?)?;
        x + normed(self.feed_forward_output_norm.as_ref(), added)?
    }

    fn attend(&mut self, x: &Tensor, p: &Hyperparameters, step: &Step) -> candle_core::Result<Tensor> {
        let (_, tokens, _) = x.dims3()?;
        // (1, tokens, heads · head) → (1, heads, tokens, head)
        let split = |x: Tensor, heads: usize| x.reshape((1, tokens, heads, p.head))?.transpose(1, 2)?.contiguous();
        let q = normed(self.query_norm.as_ref(), split(self.query.forward(x)?, p.heads)?)?;
        let k = normed(self.key_norm.as_ref(), split(self.key.forward(x)?, p.kv_heads)?)?;
        let v = split(self.value.forward(x)?, p.kv_heads)?;
        self.cache.append(&step.angles.turn(&k)?, &v)?;
        let (keys, values) = self.cache.from(step.first)?;

        // The heads that share keys are put side by side, which spares a copy of the keys for each of them.
        let shared = p.heads / p.kv_heads;
        let q = (step.angles.turn(&q)? * p.attention_scale)?.reshape((p.kv_heads, shared * tokens, p.head))?;
        let mut scores = q.matmul(&keys.t()?)?;
        if let Some(mask) = &step.mask {
            let seen = keys.dim(1)?;
            scores = scores.reshape((p.kv_heads, shared, tokens, seen))?.broadcast_add(mask)?.reshape((
                p.kv_heads,
                shared * tokens,
                seen,
            ))?;
        }
        let attended = softmax_last_dim(&scores)?.matmul(&values)?;
        let attended = attended.reshape((1, p.heads, tokens, p.head))?.transpose(1, 2)?.flatten_from(D::Minus2)?;
        self.attention_output.forward(&attended.contiguous()?)
    }
}

fn normed(norm: Option<&Norm>, x: Tensor) -> candle_core::Result<Tensor> {
    norm.map_or(Ok(x.clone()), |norm| norm.forward(&x))
}

fn load_if<T>(wanted: bool, load: impl FnOnce() -> Result<T, ModelError>) -> Result<Option<T>, ModelError> {
    if wanted { load().map(Some) } else { Ok(None) }
}
