//! `ResponseCache` and embeddings.

use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::model::{CacheStatus, CacheUse};
use llmo_core::{Cache, EmbedRequest, Model};

use crate::cached_sim::{Setup, setup, written};

#[tokio::test]
async fn vectors_are_cached_text_by_text() {
    let Setup { cached, .. } = setup();
    let batch = |texts: &[&str]| EmbedRequest::new(texts.iter().copied());
    let first = cached.embed(batch(&["a cat", "a dog"])).await.unwrap();
    assert_eq!(first.origin.cache, CacheStatus::Miss);
    written(&cached, 2).await;

    let same = cached.embed(batch(&["a cat", "a dog"])).await.unwrap();
    assert_eq!(same.origin.cache, CacheStatus::Hit);
    assert_eq!((&same.vectors, same.usage), (&first.vectors, first.usage));
    assert_eq!(cached.stats().counts().saved_tokens, first.usage.total());

    let mixed = cached.embed(batch(&["a dog", "a bird", "a cat"])).await.unwrap();
    assert_eq!(mixed.origin.cache, CacheStatus::Miss);
    assert_eq!((&mixed.vectors[0], &mixed.vectors[2]), (&first.vectors[1], &first.vectors[0]));
    assert_eq!(
        mixed.vectors[1],
        SimModel::new(SimOptions::default()).embed(batch(&["a bird"])).await.unwrap().vectors[0]
    );
    let counts = cached.stats().counts();
    assert_eq!((counts.hits, counts.misses), (4, 3));
}

#[tokio::test]
async fn embeddings_honour_the_use_of_the_cache() {
    let Setup { cached, memory, .. } = setup();
    let mut request = EmbedRequest::new(["text"]);
    request.cache = CacheUse::Off;
    assert_eq!(cached.embed(request.clone()).await.unwrap().origin.cache, CacheStatus::Bypass);
    assert_eq!(memory.stats().await.unwrap().puts, 0);
    request.cache = CacheUse::Refresh;
    assert_eq!(cached.embed(request.clone()).await.unwrap().origin.cache, CacheStatus::Bypass);
    written(&cached, 1).await;
    request.cache = CacheUse::Default;
    assert_eq!(cached.embed(request).await.unwrap().origin.cache, CacheStatus::Hit);
}
