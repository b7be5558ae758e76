//! BERT (Devlin et al., 2019): the encoder, from tokens to one vector a token.

use candle_core::{D, Device, Module, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Embedding, LayerNorm, Linear, VarBuilder, embedding, layer_norm, linear};

use super::config::{Activation, NetworkConfig};

/// The weights of a BERT.
#[derive(Debug)]
pub(super) struct Encoder {
    words: Embedding,
    /// Shape (positions, width), with the embedding of the only segment added.
    positions: Tensor,
    /// What the second segment's embedding has more than the first's, shape (1, 1, width); `None` if there is only one.
    second: Option<Tensor>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    heads: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    activation: Activation,
    down: Linear,
    output_norm: LayerNorm,
}

impl Encoder {
    /// Reads the weights of a network of this shape; `bert.` in front of their names is allowed.
    pub(super) fn load(weights: VarBuilder<'_>, config: &NetworkConfig) -> Result<Self> {
        let prefixed = weights.contains_tensor("bert.embeddings.word_embeddings.weight");
        let weights = if prefixed { weights.pp("bert") } else { weights };
        let (width, names) = (config.hidden_size, weights.pp("embeddings"));
        let positions = names.get((config.max_position_embeddings, width), "position_embeddings.weight")?;
        let segments = names.get((config.type_vocab_size, width), "token_type_embeddings.weight")?;
        let layer = |i: usize| Layer::load(&weights.pp("encoder.layer").pp(i), config);
        Ok(Self {
            words: embedding(config.vocab_size, width, names.pp("word_embeddings"))?,
            positions: positions.broadcast_add(&segments.narrow(0, 0, 1)?)?,
            second: match config.type_vocab_size {
                0 | 1 => None,
                _ => Some((segments.narrow(0, 1, 1)? - segments.narrow(0, 0, 1)?)?.unsqueeze(0)?),
            },
            norm: layer_norm(width, config.layer_norm_eps, names.pp("LayerNorm"))?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        })
    }

    /// `tokens` of shape (texts, tokens), padded; `mask` of the same shape is 1 for tokens and 0 for padding; `second`,
    /// if there is one, is 1 for tokens of the second segment. Gives shape (texts, tokens, width).
    pub(super) fn forward(&self, tokens: &Tensor, mask: &Tensor, second: Option<&Tensor>) -> Result<Tensor> {
        let positions = self.positions.narrow(0, 0, tokens.dim(1)?)?;
        let mut embedded = self.words.forward(tokens)?.broadcast_add(&positions)?;
        if let (Some(difference), Some(second)) = (&self.second, second) {
            embedded = (embedded + second.unsqueeze(2)?.broadcast_mul(difference)?)?;
        }
        let mut x = self.norm.forward(&embedded)?;
        // Added to scores: padding gets no attention. Finite, so that a row of padding stays a number.
        let hidden = Tensor::new(f32::MIN / 2.0, &Device::Cpu)?;
        let padding = (1.0 - mask)?.broadcast_mul(&hidden)?.unsqueeze(1)?.unsqueeze(1)?;
        for layer in &self.layers {
            x = layer.forward(&x, &padding)?;
        }
        Ok(x)
    }
}

impl Layer {
    fn load(weights: &VarBuilder<'_>, config: &NetworkConfig) -> Result<Self> {
        let (width, inner, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        Ok(Self {
            heads: config.num_attention_heads,
            query: linear(width, width, weights.pp("attention.self.query"))?,
            key: linear(width, width, weights.pp("attention.self.key"))?,
            value: linear(width, width, weights.pp("attention.self.value"))?,
            attention_output: linear(width, width, weights.pp("attention.output.dense"))?,
            attention_norm: layer_norm(width, epsilon, weights.pp("attention.output.LayerNorm"))?,
            up: linear(width, inner, weights.pp("intermediate.dense"))?,
            activation: config.hidden_act,
            down: linear(inner, width, weights.pp("output.dense"))?,
            output_norm: layer_norm(width, epsilon, weights.pp("output.LayerNorm"))?,
        })
    }

    fn forward(&self, x: &Tensor, padding: &Tensor) -> Result<Tensor> {
        let (texts, tokens, width) = x.dims3()?;
        let head = width / self.heads;
        // (texts, tokens, width) → (texts, heads, tokens, head)
        let split = |x: Tensor| x.reshape((texts, tokens, self.heads, head))?.transpose(1, 2)?.contiguous();
        let query = (split(self.query.forward(x)?)? / (head as f64).sqrt())?;
        let scores = query.matmul(&split(self.key.forward(x)?)?.t()?)?.broadcast_add(padding)?;
        let attended = softmax_last_dim(&scores)?.matmul(&split(self.value.forward(x)?)?)?;
        let attended = attended.transpose(1, 2)?.flatten_from(D::Minus2)?.contiguous()?;
        let x = self.attention_norm.forward(&(x + self.attention_output.forward(&attended)?)?)?;
        let inner = self.up.forward(&x)?;
        let inner = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::GeluNew => inner.gelu()?,
            Activation::Relu => inner.relu()?,
        };
        self.output_norm.forward(&(x + self.down.forward(&inner)?)?)
    }
}
