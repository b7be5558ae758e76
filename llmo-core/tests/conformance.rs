//! The suites accept what keeps the contracts, and find what doesn't.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/toy_model.rs"]
mod toy_model;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use llmo_core::conformance::{cache, model, store};
use llmo_core::model::{EventStream, GenerateRequest, Load, Model, ModelInfo, Result};
use memory::{LARGEST, MapCache, MapStore};
use toy_model::ToyModel;

fn toy() -> ToyModel {
    ToyModel::new(2, Duration::from_millis(1))
}

#[tokio::test]
async fn a_model_that_keeps_the_contract_passes() {
    let options = model::ModelSuite::default().meanings("abc abc", "cab bca", "xyz zyx");
    model::check(Arc::new(toy()), options).await;
}

#[tokio::test]
async fn a_cache_that_keeps_the_contract_passes() {
    cache::check(Arc::new(MapCache::default()), cache::CacheSuite::default().too_large(LARGEST + 1)).await;
}

#[tokio::test]
async fn a_store_that_keeps_the_contract_passes() {
    store::check(Arc::new(MapStore::default()), store::StoreSuite::default()).await;
}

#[tokio::test]
#[should_panic(expected = "the stream failed")]
async fn a_stream_that_fails_is_found() {
    let toy = toy();
    toy.fail_after.store(3, Ordering::SeqCst);
    model::check(Arc::new(toy), model::ModelSuite::default()).await;
}

/// Passes on to a toy model a request that a fault has changed.
struct Faulty(ToyModel, fn(&mut GenerateRequest));

#[async_trait]
impl Model for Faulty {
    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    async fn generate(&self, mut request: GenerateRequest) -> Result<EventStream> {
        self.1(&mut request);
        self.0.generate(request).await
    }

    fn load(&self) -> Load {
        self.0.load()
    }
}

#[tokio::test]
#[should_panic(expected = "a stop string ends the text before it")]
async fn stops_that_are_ignored_are_found() {
    let toy = Faulty(toy(), |request| request.stop.clear());
    generation_only(toy).await;
}

#[tokio::test]
#[should_panic(expected = "max_tokens")]
async fn a_limit_that_is_ignored_is_found() {
    generation_only(Faulty(toy(), |request| request.max_tokens = request.max_tokens.map(|n| n + 1))).await;
}

#[tokio::test]
#[should_panic(expected = "deadline")]
async fn a_deadline_that_is_ignored_is_found() {
    generation_only(Faulty(toy(), |request| request.deadline = None)).await;
}

#[tokio::test]
#[should_panic(expected = "a prompt that doesn't fit")]
async fn a_context_that_is_cut_is_found() {
    generation_only(Faulty(toy(), |request| {
        if let llmo_core::model::Prompt::Text(text) = &mut request.prompt {
            text.truncate(100);
        }
    }))
    .await;
}

/// Runs the suite on a model that can only generate.
async fn generation_only(faulty: Faulty) {
    let mut faulty = faulty;
    faulty.0.only_generates();
    model::check(Arc::new(faulty), model::ModelSuite::default()).await;
}

#[tokio::test]
#[should_panic(expected = "an entry ends with its time to live")]
async fn a_cache_that_never_forgets_is_found() {
    let mut options = cache::CacheSuite::default();
    options.patience = Duration::from_millis(500);
    cache::check(Arc::new(MapCache { immortal: true, ..MapCache::default() }), options).await;
}

#[tokio::test]
#[should_panic(expected = "leave")]
async fn a_store_that_keeps_parts_is_found() {
    store::check(Arc::new(MapStore { keeps_parts: true, ..MapStore::default() }), store::StoreSuite::default()).await;
}
