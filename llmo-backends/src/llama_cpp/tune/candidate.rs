//! What the tuner chooses between.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::llama_cpp::context::ContextShape;
use crate::llama_cpp::options::{KvType, LlamaCppOptions};

/// One value for every option that the tuner may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Threads that generate.
    pub threads: u32,
    /// Threads that read prompts.
    pub threads_batch: u32,
    /// Most tokens of prompts in one run.
    pub prefill_chunk: u32,
    /// Most tokens that llama.cpp computes at once.
    pub micro_batch: u32,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Fused attention.
    pub flash_attention: bool,
    /// One KV cache for all sequences.
    pub kv_unified: bool,
}

impl Candidate {
    pub(in super::super) fn of(shape: &ContextShape) -> Self {
        Self {
            threads: shape.threads,
            threads_batch: shape.threads_batch,
            prefill_chunk: shape.prefill_chunk,
            micro_batch: shape.micro_batch,
            kv_type: shape.kv_type,
            flash_attention: shape.flash_attention,
            kv_unified: shape.kv_unified,
        }
    }

    /// Sets the options that nobody has set.
    pub(in super::super) fn fill(&self, options: &mut LlamaCppOptions) {
        options.threads.get_or_insert(self.threads);
        options.threads_batch.get_or_insert(self.threads_batch);
        let chunk = *options.prefill_chunk.get_or_insert(self.prefill_chunk);
        options.micro_batch.get_or_insert(self.micro_batch.min(chunk.max(options.slots)));
        match (options.kv_type, options.flash_attention) {
            (None, None) => {
                (options.kv_type, options.flash_attention) = (Some(self.kv_type), Some(self.flash_attention));
            }
            // An 8-bit cache needs fused attention: what is set decides what the other can be.
            (None, Some(flash)) => options.kv_type = Some(if flash { self.kv_type } else { KvType::F16 }),
            (Some(KvType::Q8_0), None) => options.flash_attention = Some(true),
            (Some(_), None) => options.flash_attention = Some(self.flash_attention),
            (Some(_), Some(_)) => {}
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, threads_batch, prefill_chunk, micro_batch, kv_type, .. } = self;
        let attention = if self.flash_attention { "flash" } else { "plain" };
        let unified = if self.kv_unified { ", unified" } else { "" };
        f.pad(&format!(
            "{threads}+{threads_batch} threads, chunk {prefill_chunk}/{micro_batch}, {kv_type} {attention}{unified}"
        ))
    }
}

/// A group of options that are varied together, while the others stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factor {
    /// KV type and attention.
    Attention,
    /// Threads, of both kinds.
    Threads,
    /// Threads that read prompts.
    BatchThreads,
    /// Tokens in a run of a prompt.
    Chunk,
    /// Tokens that are computed at once.
    MicroBatch,
    /// One KV cache for all.
    Unified,
}

/// What may be chosen: the options that nobody has set, on a machine with so many cores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    pub(super) threads: bool,
    pub(super) threads_batch: bool,
    pub(super) prefill_chunk: bool,
    pub(super) micro_batch: bool,
    pub(super) kv_type: bool,
    pub(super) flash_attention: bool,
    pub(super) slots: u32,
    pub(super) physical: u32,
    pub(super) logical: u32,
}

impl Space {
    pub(super) fn of(options: &LlamaCppOptions, slots: u32, physical: u32, logical: u32) -> Self {
        Self {
            threads: options.threads.is_none(),
            threads_batch: options.threads_batch.is_none(),
            prefill_chunk: options.prefill_chunk.is_none(),
            micro_batch: options.micro_batch.is_none(),
            kv_type: options.kv_type.is_none(),
            flash_attention: options.flash_attention.is_none(),
            slots,
            physical,
            logical,
        }
    }

    /// What `factor` could be instead of what it is in `current`.
    pub(super) fn alternatives(&self, factor: Factor, current: Candidate) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = match factor {
            Factor::Attention => [(KvType::F16, true), (KvType::F16, false), (KvType::Q8_0, true)]
                .into_iter()
                .filter(|(kv, _)| self.kv_type || *kv == current.kv_type)
                .filter(|(_, flash)| self.flash_attention || *flash == current.flash_attention)
                .map(|(kv_type, flash_attention)| Candidate { kv_type, flash_attention, ..current })
                .collect(),
            Factor::Threads if self.threads => {
                let counts = [self.logical, self.physical, self.physical.div_ceil(2)];
                let both = |threads| Candidate {
                    threads,
                    threads_batch: if self.threads_batch { threads } else { current.threads_batch },
                    ..current
                };
                counts.into_iter().map(both).collect()
            }
            Factor::BatchThreads if self.threads_batch => {
                let counts = [self.logical, self.physical];
                counts.into_iter().map(|threads_batch| Candidate { threads_batch, ..current }).collect()
            }
            Factor::Chunk if self.prefill_chunk => [128, 256, 512]
                .into_iter()
                .map(|chunk: u32| Candidate {
                    prefill_chunk: chunk,
                    micro_batch: if self.micro_batch { chunk.max(self.slots) } else { current.micro_batch },
                    ..current
                })
                .collect(),
            Factor::MicroBatch if self.micro_batch => {
                vec![Candidate { micro_batch: (current.prefill_chunk / 2).max(self.slots), ..current }]
            }
            Factor::Unified => vec![Candidate { kv_unified: !current.kv_unified, ..current }],
            _ => Vec::new(),
        };
        found.retain(|candidate| *candidate != current);
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Candidate = Candidate {
        threads: 4,
        threads_batch: 4,
        prefill_chunk: 128,
        micro_batch: 128,
        kv_type: KvType::F16,
        flash_attention: true,
        kv_unified: false,
    };

    #[test]
    fn what_is_set_is_never_varied() {
        let mut options = LlamaCppOptions::default();
        let all = [Factor::Attention, Factor::Threads, Factor::BatchThreads, Factor::Chunk, Factor::MicroBatch];
        let count = |options: &LlamaCppOptions| {
            let space = Space::of(options, 4, 4, 8);
            all.iter().map(|factor| space.alternatives(*factor, DEFAULT).len()).collect::<Vec<_>>()
        };
        assert_eq!(count(&options), [2, 2, 1, 2, 1]);
        options.kv_type = Some(KvType::F16);
        options.threads = Some(4);
        options.threads_batch = Some(4);
        assert_eq!(count(&options), [1, 0, 0, 2, 1]);
        options.flash_attention = Some(true);
        options.prefill_chunk = Some(128);
        options.micro_batch = Some(128);
        assert_eq!(count(&options), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn explicit_options_win_over_tuned_ones() {
        let tuned = Candidate { threads: 8, kv_type: KvType::Q8_0, ..DEFAULT };
        let mut options =
            LlamaCppOptions { threads: Some(3), flash_attention: Some(false), ..LlamaCppOptions::default() };
        tuned.fill(&mut options);
        assert_eq!((options.threads, options.threads_batch), (Some(3), Some(4)));
        assert_eq!((options.kv_type, options.flash_attention), (Some(KvType::F16), Some(false)));
        let mut options = LlamaCppOptions { kv_type: Some(KvType::Q8_0), ..LlamaCppOptions::default() };
        Candidate { flash_attention: false, ..DEFAULT }.fill(&mut options);
        assert_eq!((options.kv_type, options.flash_attention), (Some(KvType::Q8_0), Some(true)));
    }
}
