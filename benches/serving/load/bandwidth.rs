//! How fast this machine reads memory, in a buffer as large as the weights: no decoder of one stream is faster.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::flags::Flags;

pub(crate) fn run(flags: &Flags) -> Result<Value> {
    let bytes = flags.number("bytes", 98_362_432)?;
    let threads = usize::try_from(flags.number("threads", 2)?)?.max(1);
    let words = vec![1_u64; usize::try_from(bytes / 8)?];
    let mut passes: Vec<Duration> = (0..40).map(|_| pass(&words, threads)).collect();
    passes.sort_unstable();
    let rate = |took: Duration| bytes as f64 / took.as_secs_f64() / 1e9;
    Ok(json!({
        "bytes": bytes, "threads": threads,
        "median_gb_per_second": rate(passes[passes.len() / 2]), "best_gb_per_second": rate(passes[0]),
    }))
}

/// Every thread reads its part ten times, as weights are read token after token.
fn pass(words: &[u64], threads: usize) -> Duration {
    const TIMES: u32 = 10;
    let started = Instant::now();
    thread::scope(|scope| {
        for part in words.chunks(words.len().div_ceil(threads)) {
            scope.spawn(move || {
                for _ in 0..TIMES {
                    black_box(black_box(part).iter().fold(0_u64, |sum, &word| sum.wrapping_add(word)));
                }
            });
        }
    });
    started.elapsed() / TIMES
}
