//! llama.cpp's context as a [`Forward`].

use std::num::NonZeroU32;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::context::session::LlamaStateSeqFlags;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::adapter::Adapter;
use super::forward::{Feed, Forward, ForwardError};
use super::options::KvType;
use super::{runtime, sequence_state};

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
    can_copy: bool,
    /// Streams of the KV cache.
    streams: u32,
    /// Holds a sequence on its way to another. Kept, because fresh memory costs as much as the copy.
    copied: Vec<u8>,
    /// The slot that `copied` is of, as it still is: several requests often take the same beginning one after the other.
    copied_from: Option<u32>,
}

/// More than this is given back after a copy.
const COPIED_AT_MOST: usize = 64 << 20;

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
        let forgets_parts = !model.is_recurrent() && !model.is_hybrid();
        let can_copy = can_copy(model);
        let streams = if shape.kv_unified { 1 } else { shape.slots };
        Ok(Self { context, forgets_parts, batch, can_copy, streams, copied: Vec::new(), copied_from: None })
    }

    /// Puts an adapter over the weights, for all sequences.
    pub(super) fn apply(&mut self, adapter: &mut Adapter) -> Result<(), String> {
        let applied = self.context.lora_adapter_set(&mut adapter.handle, adapter.scale);
        applied.map_err(|e| format!("llama.cpp does not take the adapter: {e}"))
    }

    /// Writes what the cache holds for a slot over `state`.
    fn write_state(&self, slot: u32, state: &mut Vec<u8>) -> bool {
        let slot = slot as i32;
        let size = self.context.state_seq_get_size_ext(slot, LlamaStateSeqFlags::empty());
        state.clear();
        state.reserve(size);
        // SAFETY: llama.cpp writes as many bytes as it has just said, and there is room for them. Those that it says it has
        // written are initialised.
        #[allow(unsafe_code)]
        let written = unsafe {
            let written =
                self.context.state_seq_get_data_ext(state.as_mut_ptr(), slot, LlamaStateSeqFlags::empty()).min(size);
            state.set_len(written);
            written
        };
        size > 0 && written == size
    }

    /// A slot changes.
    fn changes(&mut self, slot: u32) {
        if self.copied_from == Some(slot) {
            self.copied_from = None;
        }
    }

    fn read_state(&mut self, slot: u32, state: &[u8]) -> bool {
        self.changes(slot);
        // SAFETY: the bytes were written by `write_state`: in this process, or in another one with the same model, build
        // and kind of cache, which the caller has checked together with a checksum over them. llama.cpp checks the number of
        // streams and of cells against its own.
        #[allow(unsafe_code)]
        let read = unsafe { self.context.state_seq_set_data_ext(state, slot as i32, LlamaStateSeqFlags::empty()) };
        if !read {
            self.keep(slot, 0);
        }
        read
    }
}

/// Are all cells of a sequence in its saved state, and can a part of them be removed?
fn can_copy(model: &LlamaModel) -> bool {
    let architecture = model.meta_val_str("general.architecture").unwrap_or_default();
    let window = model.meta_val_str(&format!("{architecture}.attention.sliding_window"));
    !model.is_recurrent() && !model.is_hybrid() && window.is_err()
}

impl Forward for Context<'_> {
    fn run(&mut self, feeds: &[Feed]) -> Result<(), ForwardError> {
        let failed = |e: &dyn std::fmt::Display| ForwardError(e.to_string());
        self.batch.clear();
        for feed in feeds {
            self.changes(feed.slot);
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
        self.changes(slot);
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

    fn can_copy(&self) -> bool {
        self.can_copy
    }

    /// Through memory of our own, and not by `llama_memory_seq_cp`: with one stream a sequence that copies whole streams,
    /// used or not, and not before the next run. Measured with 8192 cells of 23 KB: 40 to 60 ms, against 7 µs a cell that
    /// is used.
    fn copy(&mut self, from: u32, to: u32) -> bool {
        let mut state = std::mem::take(&mut self.copied);
        let is_there = self.copied_from.take() == Some(from);
        let written = self.can_copy && (is_there || self.write_state(from, &mut state));
        let copied = written && self.read_state(to, &state);
        if state.capacity() <= COPIED_AT_MOST {
            self.copied = state;
            self.copied_from = written.then_some(from);
        }
        if !copied {
            self.keep(to, 0);
        }
        copied
    }

    fn save(&mut self, slot: u32) -> Option<Vec<u8>> {
        let mut state = Vec::new();
        let written = self.can_copy && self.write_state(slot, &mut state);
        written.then_some(state).and_then(sequence_state::of_one_stream)
    }

    fn restore(&mut self, slot: u32, state: &[u8]) -> bool {
        let state = sequence_state::with_streams(state, self.streams).filter(|_| self.can_copy);
        state.is_some_and(|state| self.read_state(slot, &state))
    }
}
