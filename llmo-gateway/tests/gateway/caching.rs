//! What the response cache and coalescing spare the replicas; real sockets all the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::site::{Site, text, words};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use llmo_backends::sim::SimOptions;
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_core::cache::{CacheError, CacheStats, Entry, PutOptions, Result};
use llmo_core::{Cache, CacheKey};
use reqwest::Response;
use serde_json::Value;

fn memory() -> Option<Arc<dyn Cache>> {
    Some(Arc::new(MemoryCache::new(MemoryOptions::default())))
}

fn cached(answer: &Response) -> &str {
    answer.headers().get("x-cache").map_or("absent", |value| value.to_str().expect("text"))
}

/// A cache whose backend is gone; `slow`: it doesn't even say so.
struct Broken {
    slow: bool,
}

impl Broken {
    async fn fail<T>(&self) -> Result<T> {
        if self.slow {
            std::future::pending::<()>().await;
        }
        Err(CacheError::Unavailable("connection refused".into()))
    }
}

#[async_trait]
impl Cache for Broken {
    async fn get(&self, _: &CacheKey) -> Result<Option<Entry>> {
        self.fail().await
    }
    async fn put(&self, _: &CacheKey, _: Bytes, _: PutOptions) -> Result<()> {
        self.fail().await
    }
    async fn remove(&self, _: &CacheKey) -> Result<bool> {
        self.fail().await
    }
    async fn remove_tag(&self, _: &str) -> Result<u64> {
        self.fail().await
    }
    async fn clear(&self) -> Result<()> {
        self.fail().await
    }
    async fn stats(&self) -> Result<CacheStats> {
        self.fail().await
    }
    fn tier(&self) -> &'static str {
        "broken"
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_again_is_answered_without_any_replica() {
    let site = Site::with(2, SimOptions::default(), memory(), |_| {}).await;
    let first = site.completion("capital of France?", 5).send().await.expect("an answer");
    assert_eq!(cached(&first), "miss");
    assert_eq!(text(&first.json::<Value>().await.expect("JSON")), words(5));
    let before = site.attempts().await;
    // The answer is written in the background.
    let begun = Instant::now();
    loop {
        let again = site.completion("capital of France?", 5).send().await.expect("an answer");
        if cached(&again) == "hit" {
            assert_eq!(text(&again.json::<Value>().await.expect("JSON")), words(5));
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "never cached");
    }
    let tries = site.attempts().await - before;
    let hit = site.completion("capital of France?", 5).send().await.expect("an answer");
    assert_eq!((cached(&hit), site.attempts().await - before), ("hit", tries));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_streams_too() {
    let site = Site::with(1, SimOptions::default(), memory(), |_| {}).await;
    let begun = Instant::now();
    loop {
        let answer = site.streamed("stream me", 5).send().await.expect("an answer");
        let hit = cached(&answer) == "hit";
        let body = answer.text().await.expect("text");
        assert!(body.contains("t4") && body.trim_end().ends_with("data: [DONE]"), "{body}");
        if hit {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "never cached");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_cache_is_bypassed() {
    for slow in [false, true] {
        let site = Site::with(1, SimOptions::default(), Some(Arc::new(Broken { slow })), |_| {}).await;
        let begun = Instant::now();
        for _ in 0..5 {
            let answer = site.completion("hello", 3).send().await.expect("an answer");
            assert_eq!((answer.status().as_u16(), cached(&answer)), (200, "bypass"));
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_identical_questions_at_once_are_one_generation() {
    // Slow enough for all of them to come while the first is being answered.
    let mut sim = SimOptions::default();
    sim.answer_tokens = 100;
    sim.decode_tokens_per_second = 20.0;
    let site = Site::with(3, sim, memory(), |_| {}).await;
    let before = site.attempts().await;
    let answers = join_all((0..500).map(|_| site.completion("all at once", 80).send())).await;
    let mut texts = Vec::new();
    for answer in answers {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        texts.push(text(&answer.json::<Value>().await.expect("JSON")).to_owned());
    }
    assert!(texts.iter().all(|text| *text == words(80)));
    assert_eq!(site.attempts().await - before, 1);
}
