//! The numbers that shape a model, and what sets the architectures apart.

use llmo_core::ModelError;

use crate::candle::metadata::Metadata;

/// The architectures this decoder computes, by GGUF's names.
pub(crate) const ARCHITECTURES: &[&str] = &["llama", "qwen2", "qwen3", "gemma3"];

/// Gemma 3 looks at the whole context in every sixth layer only.
const GEMMA3_GLOBAL_EVERY: usize = 6;
/// RoPE base of Gemma 3's other layers.
const GEMMA3_LOCAL_ROPE_BASE: f64 = 10_000.0;
/// The only Gemma 3 whose attention isn't scaled by the size of a head.
const GEMMA3_27B_LAYERS: usize = 62;

/// Which numbers of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotaryPairs {
    /// Number 2i with 2i+1; llama, whose weights GGUF permutes for it.
    Interleaved,
    /// Number i with i+d/2; all others.
    Halves,
}

/// The function in the feed-forward network's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    /// Approximated by tanh.
    Gelu,
}

/// Layers that look at the last `size` tokens only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SlidingWindow {
    pub(super) size: usize,
    /// Every n-th layer looks at everything; 0: none does.
    pub(super) global_every: usize,
    pub(super) rope_base: f64,
}

/// All that is known before the first weight is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hyperparameters {
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) feed_forward: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    /// Numbers in a head.
    pub(super) head: usize,
    /// The longest sequence the model was trained for, in tokens.
    pub(super) context_length: usize,
    pub(super) norm_epsilon: f32,
    pub(super) rope_base: f64,
    /// Positions are divided by this in layers that look at everything.
    pub(super) rope_scale: f64,
    pub(super) pairs: RotaryPairs,
    pub(super) activation: Activation,
    /// Queries are multiplied by this.
    pub(super) attention_scale: f64,
    /// Token embeddings are multiplied by this.
    pub(super) embedding_scale: f64,
    /// Queries and keys are normalised head by head.
    pub(super) norms_heads: bool,
    /// What attention and feed-forward add is normalised once more.
    pub(super) norms_outputs: bool,
    pub(super) window: Option<SlidingWindow>,
    /// Logits are squeezed into plus or minus this.
    pub(super) logit_cap: Option<f64>,
}

impl Hyperparameters {
    /// # Errors
    /// [`ModelError::Unsupported`] for an architecture or a variant that would be computed wrongly,
    /// [`ModelError::Corrupt`] for numbers that are missing or contradict each other.
    pub(super) fn read(metadata: Metadata<'_>) -> Result<Self, ModelError> {
        let key = "general.architecture";
        let architecture = metadata.need(key, metadata.text(key))?;
        if !ARCHITECTURES.contains(&architecture) {
            let works = ARCHITECTURES.join(", ");
            return Err(metadata.unsupported(format!("the architecture {architecture:?} on candle ({works} work)")));
        }
        let name = |key: &str| format!("{architecture}.{key}");
        let size = |key: &str| {
            let key = name(key);
            let size = metadata.need(&key, metadata.count(&key))?;
            match usize::try_from(size) {
                Ok(size) if (1..=1 << 24).contains(&size) => Ok(size),
                _ => Err(metadata.corrupt(format!("{key} is {size}"))),
            }
        };
        let number = |key: &str| metadata.number(&name(key)).filter(|number| number.is_finite());
        if metadata.count(&name("expert_count")).is_some_and(|experts| experts > 0) {
            return Err(metadata.unsupported("mixtures of experts on candle"));
        }

        let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let kv_heads = if metadata.count(&name("attention.head_count_kv")).is_some() {
            size("attention.head_count_kv")?
        } else {
            heads
        };
        let head = match metadata.count(&name("attention.key_length")) {
            Some(_) => size("attention.key_length")?,
            None => width / heads,
        };
        if head < 2 || !head.is_multiple_of(2) || !heads.is_multiple_of(kv_heads) {
            return Err(metadata.corrupt(format!("{heads} heads of {head} numbers over {kv_heads} key-value heads")));
        }
        for key in ["rope.dimension_count", "attention.value_length"] {
            if metadata.count(&name(key)).is_some_and(|length| length != head as u64) {
                return Err(metadata.unsupported(format!("{key} other than the length of a head on candle")));
            }
        }
        let pattern = name("attention.sliding_window_pattern");
        if metadata.array(&pattern).is_some() {
            return Err(metadata.unsupported("a sliding window pattern given layer by layer on candle"));
        }
        let rope_scale = match metadata.text(&name("rope.scaling.type")) {
            Some("none") => 1.0,
            None | Some("linear") => number("rope.scaling.factor").filter(|factor| *factor > 0.0).unwrap_or(1.0),
            Some(other) => return Err(metadata.unsupported(format!("RoPE scaling {other:?} on candle"))),
        };
        let epsilon_key = name("attention.layer_norm_rms_epsilon");
        let gemma = architecture == "gemma3";
        let layers = size("block_count")?;
        let attended = if gemma && layers == GEMMA3_27B_LAYERS { width / heads } else { head };
        let window = metadata.count(&name("attention.sliding_window")).filter(|size| gemma && *size > 0);
        Ok(Self {
            layers,
            width,
            feed_forward: size("feed_forward_length")?,
            heads,
            kv_heads,
            head,
            context_length: size("context_length")?,
            norm_epsilon: metadata.need(&epsilon_key, metadata.number(&epsilon_key))? as f32,
            rope_base: number("rope.freq_base").filter(|base| *base > 0.0).unwrap_or(10_000.0),
            rope_scale,
            pairs: if architecture == "llama" { RotaryPairs::Interleaved } else { RotaryPairs::Halves },
            activation: if gemma { Activation::Gelu } else { Activation::Silu },
            attention_scale: 1.0 / (attended as f64).sqrt(),
            embedding_scale: if gemma { (width as f64).sqrt() } else { 1.0 },
            norms_heads: gemma || architecture == "qwen3",
            norms_outputs: gemma,
            window: window.map(|size| SlidingWindow {
                size: usize::try_from(size).unwrap_or(usize::MAX),
                global_every: metadata
                    .count(&pattern)
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(GEMMA3_GLOBAL_EVERY),
                rope_base: number("rope.freq_base_swa").unwrap_or(GEMMA3_LOCAL_ROPE_BASE),
            }),
            logit_cap: number("final_logit_softcapping").filter(|cap| gemma && *cap > 0.0),
        })
    }

    /// The window of this layer; `None` where it looks at everything.
    pub(super) fn window_of(&self, layer: usize) -> Option<SlidingWindow> {
        self.window.filter(|window| window.global_every == 0 || !(layer + 1).is_multiple_of(window.global_every))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::gguf_file::Value;

    use super::*;
    use crate::candle::metadata::header_of;

    /// Metadata of a sound model with `changes` made.
    fn read(architecture: &str, changes: &[(&str, Value)]) -> Result<Hyperparameters, ModelError> {
        let sizes = [
            ("block_count", 2),
            ("embedding_length", 64),
            ("feed_forward_length", 128),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("context_length", 256),
        ];
        let mut entries = vec![
            ("general.architecture".to_owned(), Value::String(architecture.into())),
            (format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        ];
        entries.extend(sizes.map(|(key, size)| (format!("{architecture}.{key}"), Value::U32(size))));
        for (key, value) in changes {
            entries.retain(|entry| entry.0 != *key);
            entries.push(((*key).to_owned(), value.clone()));
        }
        Hyperparameters::read(Metadata::new(&header_of(&entries), "m"))
    }

    #[test]
    fn an_architecture_without_a_decoder_names_those_that_have_one() {
        let error = read("mamba", &[]).unwrap_err();
        assert_eq!(error.code(), "unsupported");
        assert!(error.to_string().contains("llama, qwen2, qwen3, gemma3"), "{error}");
    }

    #[test]
    fn sizes_that_are_zero_absurd_or_contradictory_are_refused_by_name() {
        for (key, size) in [("attention.head_count", 0), ("block_count", u32::MAX), ("attention.head_count_kv", 3)] {
            let error = read("llama", &[(&format!("llama.{key}"), Value::U32(size))]).unwrap_err();
            assert_eq!(error.code(), "model_corrupt", "{key} = {size}");
        }
    }

    #[test]
    fn what_would_be_computed_wrongly_is_refused() {
        let wrong = [
            ("llama.expert_count", Value::U32(8)),
            ("llama.rope.scaling.type", Value::String("yarn".into())),
            ("llama.rope.dimension_count", Value::U32(8)),
        ];
        for (key, value) in wrong {
            assert_eq!(read("llama", &[(key, value)]).unwrap_err().code(), "unsupported", "{key}");
        }
    }

    #[test]
    fn every_sixth_layer_of_gemma_3_looks_at_everything() {
        let parameters = read("gemma3", &[("gemma3.attention.sliding_window", Value::U32(32))]).unwrap();
        let local: Vec<bool> = (0..12).map(|layer| parameters.window_of(layer).is_some()).collect();
        assert_eq!(local.iter().filter(|local| !**local).count(), 2);
        assert!(!local[5] && !local[11]);
    }
}
