//! How many sequences there are, how long they are, and how many tokens run at once.
//!
//! llama.cpp fills the KV cache with zeros, so all of it is resident from the first moment, used or not. What nobody has
//! asked for is therefore chosen within a budget: [`SHARE`] of the memory that is free when the model is loaded, and at most
//! [`BUDGET_AT_MOST`]. Within it there are up to [`SLOTS_BY_DEFAULT`] sequences of [`ENOUGH`] tokens; what is left makes
//! them longer. Where that is not possible, there are fewer of them, and below [`FEWEST`] shorter ones.

use llama_cpp_2::model::LlamaModel;
use llmo_core::ModelError;
use serde::{Deserialize, Serialize};

use super::context::ContextShape;
use super::options::{KvType, LlamaCppOptions};
use super::{cores, memory};

/// Longest context that is chosen without being asked for.
const LONGEST_BY_DEFAULT: u32 = 8192;
/// A sequence that holds a prompt of 4 000 tokens and an answer.
const ENOUGH: u32 = 4352;
/// Sequences, if memory allows. More of them decode hardly faster on a CPU.
const SLOTS_BY_DEFAULT: u32 = 32;
/// Rather than fewer sequences, shorter ones.
const FEWEST: u32 = 4;
/// Of the memory that is free, in hundredths.
const SHARE: u64 = 15;
/// In bytes.
const BUDGET_AT_MOST: u64 = 4 << 30;
/// Where the free memory is not known, in bytes.
const BUDGET_UNKNOWN: u64 = 1 << 30;
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
    /// Values of a head's key, and of its value; 0 if these differ.
    pub(super) head: u32,
}

impl ModelSize {
    pub(super) fn of(model: &LlamaModel, architecture: &str) -> Self {
        let per_head = u64::try_from(model.n_embd()).unwrap_or(0) / u64::from(model.n_head().max(1));
        let length = |name: &str| {
            let stored = model.meta_val_str(&format!("{architecture}.attention.{name}_length"));
            stored.ok().and_then(|text| text.parse().ok()).unwrap_or(per_head)
        };
        let heads = u64::from(model.n_layer()) * u64::from(model.n_head_kv());
        let (key, value) = (length("key"), length("value"));
        let head = if key == value { u32::try_from(key).unwrap_or(0) } else { 0 };
        Self { trained_for: model.n_ctx_train(), kv_values: heads * (key + value), head }
    }

    /// Bytes of the KV cache of a context of this shape.
    pub(super) fn kv_bytes(&self, shape: &ContextShape) -> u64 {
        let tokens = u64::from(shape.slots) * u64::from(shape.context_length.next_multiple_of(CELLS));
        shape.kv_type.bytes(self.kv_values).saturating_mul(tokens)
    }
}

/// What a model's header says of its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderSizes {
    /// Tokens that it was trained for.
    pub trained_for: u32,
    /// Keys and values of one token, over all layers.
    pub kv_values: u64,
    /// Tokens that it knows.
    pub vocabulary: u64,
}

impl HeaderSizes {
    /// What a header says.
    #[must_use]
    pub fn new(trained_for: u32, kv_values: u64, vocabulary: u64) -> Self {
        Self { trained_for, kv_values, vocabulary }
    }
}

/// How many sequences a context has, how long they are, and what that takes: decided before a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// Sequences.
    pub slots: u32,
    /// Tokens of each.
    pub context_length: u32,
    /// Bytes of the KV cache, in 16 bits unless the options say otherwise: nobody knows yet what the tuner will find.
    pub kv_bytes: u64,
    /// Bytes of the buffers to compute in.
    pub buffer_bytes: u64,
}

/// Plans a context from a model's header as [`LlamaCpp::load`](super::LlamaCpp::load) would decide now, but with at most `room`
/// bytes of KV cache as far as its size is chosen and not set. The shortest cache that makes sense may be larger.
///
/// # Errors
/// [`ModelError::InvalidRequest`], naming the option that is out of range.
pub fn plan(options: &LlamaCppOptions, sizes: HeaderSizes, room: u64) -> Result<Plan, ModelError> {
    let size = ModelSize { trained_for: sizes.trained_for, kv_values: sizes.kv_values, head: 0 };
    let options = LlamaCppOptions { kv_budget_bytes: budget(options).min(room).max(1), plan: None, ..options.clone() };
    let shape = shape(&options, size)?;
    Ok(Plan {
        slots: shape.slots,
        context_length: shape.context_length,
        kv_bytes: size.kv_bytes(&shape),
        buffer_bytes: buffer_bytes(&shape, sizes.vocabulary),
    })
}

/// Bytes that a draft model takes beside its weights, whose header says `sizes`, for a model with contexts of this length.
#[must_use]
pub fn draft_bytes(sizes: HeaderSizes, context_length: u32) -> u64 {
    let length = context_length.min(sizes.trained_for.max(1)).next_multiple_of(CELLS);
    let cache = KvType::F16.bytes(sizes.kv_values).saturating_mul(u64::from(length) * u64::from(super::engine::LANES));
    cache.saturating_add(buffers(DEFAULT_CHUNK, sizes.vocabulary))
}

/// Bytes that a context of this shape takes beside its KV cache: logits of a whole run, twice (llama.cpp computes them in one
/// place and hands them out in another), and what layers compute in.
pub(super) fn buffer_bytes(shape: &ContextShape, vocabulary: u64) -> u64 {
    buffers(shape.micro_batch.max(shape.slots), vocabulary)
}

fn buffers(tokens: u32, vocabulary: u64) -> u64 {
    /// Of one layer, the vocabulary's texts, and what allocators hold back.
    const REST: u64 = 64 << 20;
    u64::from(tokens).saturating_mul(vocabulary).saturating_mul(2 * 4).saturating_add(REST)
}

/// Decides the shape of the context.
///
/// # Errors
/// [`ModelError::InvalidRequest`], naming the option that is out of range.
pub(super) fn shape(options: &LlamaCppOptions, size: ModelSize) -> Result<ContextShape, ModelError> {
    let (slots, context_length) = sequences(options, size)?;
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

/// How many sequences, and how long.
fn sequences(options: &LlamaCppOptions, size: ModelSize) -> Result<(u32, u32), ModelError> {
    if let Some(plan) = options.plan {
        let length = plan.context_length.clamp(1, size.trained_for.max(CELLS));
        return Ok((within("slots", plan.slots, 1..=MOST_SLOTS)?, length));
    }
    let asked = match options.context_length {
        // Positions past the training length are possible, but the output is noise.
        Some(asked) => Some(within("context_length", asked, 1..=size.trained_for.max(CELLS))?),
        None => None,
    };
    let tokens = affordable_tokens(options, size);
    let slots = match options.slots {
        0 => {
            let (length, fewest) = asked.map_or((size.trained_for.clamp(1, ENOUGH), FEWEST), |length| (length, 1));
            u32::try_from(tokens / u64::from(length.next_multiple_of(CELLS)))
                .unwrap_or(u32::MAX)
                .clamp(fewest, SLOTS_BY_DEFAULT)
        }
        slots => within("slots", slots, 1..=MOST_SLOTS)?,
    };
    let length = asked.unwrap_or_else(|| {
        let each = u32::try_from(tokens / u64::from(slots)).unwrap_or(u32::MAX);
        size.trained_for.clamp(1, LONGEST_BY_DEFAULT).min((each / CELLS * CELLS).max(2 * CELLS))
    });
    Ok((slots, length))
}

/// Tokens that the budget pays for, over all sequences.
fn affordable_tokens(options: &LlamaCppOptions, size: ModelSize) -> u64 {
    // Whoever asks for 8 bits wants memory back, not longer sequences for the same memory.
    let kv_type = if options.tuning.int8_kv { KvType::F16 } else { options.kv_type.unwrap_or_default() };
    budget(options) / kv_type.bytes(size.kv_values).max(1)
}

/// Bytes of KV cache, as far as its size is chosen.
fn budget(options: &LlamaCppOptions) -> u64 {
    match options.kv_budget_bytes {
        0 => memory::available().map_or(BUDGET_UNKNOWN, |free| (free / 100 * SHARE).min(BUDGET_AT_MOST)),
        bytes => bytes,
    }
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
    const SMALL: ModelSize = ModelSize { trained_for: 8192, kv_values: 30 * 3 * 128, head: 64 };
    /// Llama 3.1 8B: 128 KiB a token.
    const LARGE: ModelSize = ModelSize { trained_for: 131_072, kv_values: 32 * 8 * 256, head: 128 };

    fn options(set: impl FnOnce(&mut LlamaCppOptions)) -> LlamaCppOptions {
        let mut options = LlamaCppOptions { kv_budget_bytes: 4 << 30, ..LlamaCppOptions::default() };
        set(&mut options);
        options
    }

    fn sequences(set: impl FnOnce(&mut LlamaCppOptions), size: ModelSize) -> (u32, u32) {
        let shape = shape(&options(set), size).unwrap();
        (shape.slots, shape.context_length)
    }

    #[test]
    fn a_small_model_serves_32_prompts_of_4000_tokens() {
        assert_eq!(sequences(|_| (), SMALL), (32, 5632));
        assert_eq!(sequences(|o| o.kv_type = Some(KvType::Q8_0), SMALL), (32, 8192));
    }

    #[test]
    fn with_less_memory_there_are_fewer_sequences_then_shorter_ones() {
        assert_eq!(sequences(|o| o.kv_budget_bytes = 1 << 30, SMALL), (10, 4608));
        assert_eq!(sequences(|_| (), LARGE), (7, 4608));
        assert_eq!(sequences(|o| o.kv_budget_bytes = 1 << 30, LARGE), (4, 2048));
        assert_eq!(sequences(|o| o.kv_budget_bytes = 1, LARGE), (4, 512));
    }

    #[test]
    fn what_is_asked_for_is_given() {
        assert_eq!(sequences(|o| o.slots = 4, SMALL), (4, 8192));
        assert_eq!(sequences(|o| o.slots = 4, LARGE), (4, 8192));
        assert_eq!(sequences(|o| o.context_length = Some(1024), SMALL), (32, 1024));
        assert_eq!(sequences(|o| o.context_length = Some(100_000), LARGE), (1, 100_000));
        assert_eq!(sequences(|o| (o.slots, o.context_length) = (3, Some(1000)), LARGE), (3, 1000));
    }

    #[test]
    fn the_cache_stays_within_the_budget() {
        for budget in [1u64 << 30, 3 << 30, 5 << 30] {
            for size in [SMALL, LARGE] {
                let shape = shape(&options(|o| o.kv_budget_bytes = budget), size).unwrap();
                assert!(size.kv_bytes(&shape) <= budget, "{shape:?}");
            }
        }
    }

    #[test]
    fn what_was_planned_is_what_is_used_whatever_is_free_later() {
        let header = |size: ModelSize| HeaderSizes::new(size.trained_for, size.kv_values, 49_152);
        for size in [SMALL, LARGE] {
            for room in [u64::MAX, 1 << 30, 1] {
                let planned = plan(&options(|_| ()), header(size), room).unwrap();
                // By the time it is loaded there is much less.
                let later = options(|o| (o.plan, o.kv_budget_bytes) = (Some(planned), 1));
                let used = shape(&later, size).unwrap();
                assert_eq!((used.slots, used.context_length), (planned.slots, planned.context_length));
                assert_eq!(size.kv_bytes(&used), planned.kv_bytes);
                assert!(room < 1 << 20 || planned.kv_bytes <= room, "{planned:?} in {room}");
            }
        }
        assert_eq!(plan(&options(|_| ()), header(SMALL), u64::MAX).unwrap().slots, 32);
        assert_eq!(plan(&options(|_| ()), header(SMALL), 1).unwrap().slots, FEWEST);
    }

    #[test]
    fn every_slot_fits_into_one_batch() {
        let shape = shape(&options(|o| (o.slots, o.prefill_chunk) = (200, Some(64))), SMALL).unwrap();
        assert_eq!(shape.batch, 200);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let cases: [(&str, LlamaCppOptions); 7] = [
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
