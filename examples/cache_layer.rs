//! The same question twice: the second answer comes from a cache.
//!
//! `cargo run -p llmo-examples --no-default-features --example cache_layer`

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_backends::sim::{SimModel, SimOptions};
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_cache::response::{ResponseCache, ResponseCachePolicy};
use llmo_core::model::CacheStatus;
use llmo_core::{GenerateRequest, Model};

#[tokio::main]
async fn main() -> llmo_core::model::Result<()> {
    // Any model will do. This one takes a second for its answer.
    let mut options = SimOptions::default();
    options.decode_tokens_per_second = 20.0;
    let slow = Arc::new(SimModel::new(options));

    // The layer is a model around a model; with a `RedisCache` several processes would share the answers.
    let cache = Arc::new(MemoryCache::new(MemoryOptions::default()));
    let model = ResponseCache::new(slow, cache, ResponseCachePolicy::default());

    // Greedy, so that the same question has the same answer. A request that samples without a seed is not cached.
    let question = GenerateRequest::ask("What is the capital of France?").max_tokens(20);
    loop {
        let asked = Instant::now();
        let stream = model.generate(question.clone()).await?;
        let cache = stream.origin.cache;
        let (answer, _) = stream.collect_all().await?;
        println!("{cache:?} after {:?}: {}", asked.elapsed(), answer.text);
        if cache == CacheStatus::Hit {
            return Ok(());
        }
        // Answers are written in the background: nobody waits for a cache.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
