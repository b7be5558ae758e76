//! How much is measured: a few seconds when a model is loaded, a minute or so when somebody asks for it.

use std::time::Duration;

use super::candidate::Factor;
use super::measure::{STRIDE, Workload};
use super::search::Plan;
use crate::llama_cpp::options::{LlamaCppOptions, TuneMode};

/// Longest time for the perplexity with both KV types, where memory and not speed asks for it.
pub(super) const PERPLEXITY_LIMIT: Duration = Duration::from_secs(30);

/// For `slots` sequences: what to vary and how, and what to measure each time.
pub(super) fn of(mode: TuneMode, options: &LlamaCppOptions, slots: u32) -> (Plan, Workload) {
    let full = mode == TuneMode::Full;
    let mut batches: Vec<u32> = [1, 8, 32].into_iter().map(|batch: u32| batch.min(slots)).collect();
    batches.dedup();
    let plan = if full {
        Plan {
            factors: vec![
                Factor::Attention,
                Factor::Threads,
                Factor::BatchThreads,
                Factor::Chunk,
                Factor::MicroBatch,
                Factor::Unified,
            ],
            pairs: 3,
            confirmations: 5,
            limit: Duration::from_secs(240),
            min_gain: 1.03,
        }
    } else {
        Plan {
            factors: vec![Factor::Attention, Factor::Threads, Factor::Chunk],
            pairs: 1,
            confirmations: 2,
            limit: Duration::from_secs(12),
            // With so few measurements only what is plain to see.
            min_gain: 1.06,
        }
    };
    let workload = Workload {
        batches,
        depths: if full { vec![2 * STRIDE, 8 * STRIDE] } else { vec![2 * STRIDE] },
        steps: if full { 12 } else { 5 },
        kv_bytes: kv_bytes(options),
        text: if full { 2048 } else { 512 },
    };
    (plan, workload)
}

/// Most bytes of KV cache in a measurement.
pub(super) fn kv_bytes(options: &LlamaCppOptions) -> u64 {
    if options.kv_budget_bytes > 0 { options.kv_budget_bytes } else { 1 << 30 }
}
