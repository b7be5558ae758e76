//! llama.cpp's context as a [`Forward`].

use std::num::NonZeroU32;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::adapter::Adapter;
use super::forward::{Feed, Forward, ForwardError};
use super::options::KvType;
use super::runtime;

/// Sizes of a context, all checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContextShape {
    /// Sequences.
    pub(super) slots: u32,
    /// Tokens a sequence.
    pub(super) context_length: u32,
    /// Most tokens of prompts in one run.
    pub(super) prefill_chunk: u32,
    /// Most tokens in one run.
    pub(super) batch: u32,
    /// Most tokens that llama.cpp computes at once; at most `batch`.
    pub(super) micro_batch: u32,
    /// Threads that compute.
    pub(super) threads: u32,
    /// Threads that compute runs of more than one token a sequence.
    pub(super) threads_batch: u32,
    /// How keys and values are stored.
    pub(super) kv_type: KvType,
    /// Fused attention.
    pub(super) flash_attention: bool,
    /// One cache for all sequences.
    pub(super) kv_unified: bool,
}

/// A context and the batch that feeds it. Belongs to one thread.
pub(super) struct Context<'model> {
    context: LlamaContext<'model>,
    /// Recurrent models have one state a sequence, not one a token.
    forgets_parts: bool,
    batch: LlamaBatch<'static>,
}

impl<'model> Context<'model> {
    /// Allocates the KV cache and the compute buffers.
    ///
    /// One KV stream a sequence, if not told otherwise: attention then reads a sequence's own cells only. A unified cache, llama-server's
    /// default, decodes 32 sequences at a third of the speed (design facts).
    pub(super) fn new(model: &'model LlamaModel, shape: &ContextShape) -> Result<Self, String> {
        let kv_type = match shape.kv_type {
            KvType::F16 => KvCacheType::F16,
            KvType::Q8_0 => KvCacheType::Q8_0,
        };
        let total = shape.context_length.checked_mul(shape.slots).ok_or("the context is too long for so many slots")?;
        let threads = |count: u32| i32::try_from(count).map_err(|e| e.to_string());
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(total))
            .with_n_seq_max(shape.slots)
            .with_n_batch(shape.batch)
            .with_n_ubatch(shape.micro_batch)
            .with_n_threads(threads(shape.threads)?)
            .with_n_threads_batch(threads(shape.threads_batch)?)
            .with_type_k(kv_type)
            .with_type_v(kv_type)
            .with_flash_attention_policy(i32::from(shape.flash_attention))
            .with_kv_unified(shape.kv_unified)
            .with_no_perf(true);
        let context = runtime::new_context(model, params)?;
        let batch = LlamaBatch::new(shape.batch as usize, 1);
        Ok(Self { context, forgets_parts: !model.is_recurrent() && !model.is_hybrid(), batch })
    }

    /// Puts an adapter over the weights, for all sequences.
    pub(super) fn apply(&mut self, adapter: &mut Adapter) -> Result<(), String> {
        let applied = self.context.lora_adapter_set(&mut adapter.handle, adapter.scale);
        applied.map_err(|e| format!("llama.cpp does not take the adapter: {e}"))
    }
}

impl Forward for Context<'_> {
    fn run(&mut self, feeds: &[Feed]) -> Result<(), ForwardError> {
        let failed = |e: &dyn std::fmt::Display| ForwardError(e.to_string());
        self.batch.clear();
        for feed in feeds {
            // Slots, positions and tokens are far below 2^31: all three are bounded when a model is loaded.
            let (slot, token, position) = (feed.slot as i32, LlamaToken(feed.token as i32), feed.position as i32);
            self.batch.add(token, position, &[slot], feed.logits).map_err(|e| failed(&e))?;
        }
        self.context.decode(&mut self.batch).map_err(|e| failed(&e))
    }

    fn logits(&self, feed: usize) -> &[f32] {
        self.context.get_logits_ith(feed as i32)
    }

    fn keep(&mut self, slot: u32, length: u32) -> u32 {
        if length > 0 && self.context.clear_kv_cache_seq(Some(slot), Some(length), None) == Ok(true) {
            return length;
        }
        // Removing a whole sequence always succeeds.
        let _ = self.context.clear_kv_cache_seq(Some(slot), None, None);
        0
    }

    fn forgets_parts(&self) -> bool {
        self.forgets_parts
    }
}
