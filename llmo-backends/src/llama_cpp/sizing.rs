//! How long the sequences are and how many tokens run at once.

use llama_cpp_2::model::LlamaModel;
use llmo_core::ModelError;

use super::context::ContextShape;
use super::cores;
use super::options::{KvType, LlamaCppOptions};

/// Longest context that is chosen without being asked for.
const LONGEST_BY_DEFAULT: u32 = 8192;
/// llama.cpp rounds each sequence's cells up to this.
const CELLS: u32 = 256;
/// llama.cpp's own limit on sequences.
const MOST_SLOTS: u32 = 256;
/// Short enough that running streams and cancellations don't wait, long enough that matrices are worth their name.
pub(super) const DEFAULT_CHUNK: u32 = 128;
const PREFILL_CHUNKS: std::ops::RangeInclusive<u32> = 16..=4096;

/// What a model says of its sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelSize {
    /// Tokens that it was trained for.
    pub(super) trained_for: u32,
    /// Keys and values of one token, over all layers.
    pub(super) kv_values: u64,
}

impl ModelSize {
    pub(super) fn of(model: &LlamaModel, architecture: &str) -> Self {
        let per_head = u64::try_from(model.n_embd()).unwrap_or(0) / u64::from(model.n_head().max(1));
        let length = |name: &str| {
            let stored = model.meta_val_str(&format!("{architecture}.attention.{name}_length"));
            stored.ok().and_then(|text| text.parse().ok()).unwrap_or(per_head)
        };
        let heads = u64::from(model.n_layer()) * u64::from(model.n_head_kv());
        Self { trained_for: model.n_ctx_train(), kv_values: heads * (length("key") + length("value")) }
    }
}

/// Decides the shape of the context.
///
/// # Errors
/// [`ModelError::InvalidRequest`], naming the option that is out of range.
pub(super) fn shape(options: &LlamaCppOptions, size: ModelSize) -> Result<ContextShape, ModelError> {
    let slots = within("slots", options.slots, 1..=MOST_SLOTS)?;
    let chunk = within("prefill_chunk", options.prefill_chunk.unwrap_or(DEFAULT_CHUNK), PREFILL_CHUNKS)?;
    let threads = within("threads", options.threads.unwrap_or_else(cores::usable), 1..=512)?;
    let threads_batch = within("threads_batch", options.threads_batch.unwrap_or(threads), 1..=512)?;
    let batch = chunk.max(slots);
    let micro_batch =
        within("micro_batch", options.micro_batch.unwrap_or(batch), 1..=*PREFILL_CHUNKS.end())?.min(batch);
    let flash_attention = options.flash_attention.unwrap_or(true);
    let kv_type = options.kv_type.unwrap_or_default();
    if kv_type == KvType::Q8_0 && !flash_attention {
        return Err(ModelError::invalid("kv_type", "an 8-bit KV cache needs flash attention"));
    }
    let context_length = match options.context_length {
        // Positions past the training length are possible, but the output is noise.
        Some(asked) => within("context_length", asked, 1..=size.trained_for.max(CELLS))?,
        None => default_length(options, slots, size),
    };
    Ok(ContextShape {
        slots,
        context_length,
        prefill_chunk: chunk,
        batch,
        micro_batch,
        threads,
        threads_batch,
        kv_type,
        flash_attention,
        kv_unified: options.kv_unified,
    })
}

fn default_length(options: &LlamaCppOptions, slots: u32, size: ModelSize) -> u32 {
    let token_bytes = options.kv_type.unwrap_or_default().bytes(size.kv_values).saturating_mul(u64::from(slots)).max(1);
    let affordable = u32::try_from(options.kv_budget_bytes / token_bytes).unwrap_or(u32::MAX);
    let affordable = (affordable / CELLS * CELLS).max(2 * CELLS);
    size.trained_for.clamp(1, LONGEST_BY_DEFAULT).min(affordable)
}

fn within(name: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, ModelError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ModelError::invalid(name, format!("must be between {} and {}, got {value}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SmolLM2-135M: 23 KB a token.
    const SMALL: ModelSize = ModelSize { trained_for: 8192, kv_values: 30 * 3 * 128 };
    /// Llama 3.1 8B: 128 KiB a token.
    const LARGE: ModelSize = ModelSize { trained_for: 131_072, kv_values: 32 * 8 * 256 };

    fn options(set: impl FnOnce(&mut LlamaCppOptions)) -> LlamaCppOptions {
        let mut options = LlamaCppOptions::default();
        set(&mut options);
        options
    }

    #[test]
    fn a_small_model_gets_the_context_it_was_trained_for() {
        assert_eq!(shape(&options(|_| ()), SMALL).unwrap().context_length, 8192);
    }

    #[test]
    fn the_default_context_of_all_slots_stays_within_the_budget() {
        let shape = shape(&options(|_| ()), LARGE).unwrap();
        assert_eq!(shape.context_length, 2048);
        let eight_bit = super::shape(&options(|o| o.kv_type = Some(KvType::Q8_0)), LARGE).unwrap();
        assert_eq!(eight_bit.context_length, 3840);
    }

    #[test]
    fn every_slot_fits_into_one_batch() {
        let shape = shape(&options(|o| (o.slots, o.prefill_chunk) = (200, Some(64))), SMALL).unwrap();
        assert_eq!(shape.batch, 200);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let cases: [(&str, LlamaCppOptions); 8] = [
            ("slots", options(|o| o.slots = 0)),
            ("slots", options(|o| o.slots = 257)),
            ("prefill_chunk", options(|o| o.prefill_chunk = Some(0))),
            ("threads", options(|o| o.threads = Some(0))),
            ("threads_batch", options(|o| o.threads_batch = Some(0))),
            ("micro_batch", options(|o| o.micro_batch = Some(0))),
            ("context_length", options(|o| o.context_length = Some(9000))),
            ("kv_type", options(|o| (o.kv_type, o.flash_attention) = (Some(KvType::Q8_0), Some(false)))),
        ];
        for (name, options) in cases {
            let error = shape(&options, SMALL).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
