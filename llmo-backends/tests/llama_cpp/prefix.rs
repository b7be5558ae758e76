//! Reuse of the beginnings of prompts: what it saves, and that it changes nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use llmo_backends::llama_cpp::{KvType, LlamaCpp, LlamaCppOptions, PrefixStore};
use llmo_core::model::{Finish, TokenId};
use llmo_core::{GenerateRequest, Model};

use crate::memory_store::MemoryStore;
use crate::support::{load, options, run};

/// Some 300 tokens that many prompts begin with, and what each asks.
fn ask(topic: &str) -> GenerateRequest {
    let rules =
        (1..25).map(|i| format!("Rule {i}: an answer about the sea is short, true and polite. ")).collect::<String>();
    GenerateRequest::complete(format!("{rules}Tell me something about {topic}:")).max_tokens(24)
}

const TOPICS: [&str; 5] = ["whales", "the tide and the moon", "salt", "old wooden ships", "fish that live in the deep"];

fn of_tenant(mut request: GenerateRequest, tenant: &str) -> GenerateRequest {
    request.tenant = Some(tenant.to_owned());
    request
}

async fn answer(model: &LlamaCpp, request: GenerateRequest) -> (Vec<TokenId>, Finish) {
    let (delta, finish) = run(model, request).await.unwrap();
    (delta.tokens, finish)
}

/// What each topic is answered without any reuse.
async fn cold(model: &LlamaCpp) -> Vec<Vec<TokenId>> {
    let mut answers = Vec::new();
    for topic in TOPICS {
        let (tokens, finish) = answer(model, of_tenant(ask(topic), topic)).await;
        assert_eq!(finish.usage.cached_tokens, 0);
        answers.push(tokens);
    }
    answers
}

fn with(kv_type: KvType, flash_attention: bool) -> LlamaCppOptions {
    let mut options = options();
    (options.kv_type, options.flash_attention) = (Some(kv_type), Some(flash_attention));
    options
}

#[tokio::test]
async fn an_answer_is_the_same_whatever_was_reused_for_it() {
    for (kv_type, flash) in [(KvType::Q8_0, true), (KvType::F16, false), (KvType::F16, true)] {
        let model = load(with(kv_type, flash));
        let cold = cold(&model).await;
        for round in 0..2 {
            for (topic, cold) in TOPICS.iter().zip(&cold) {
                let (tokens, finish) = answer(&model, ask(topic)).await;
                assert_eq!(tokens, *cold, "{topic}, round {round}, {kv_type:?}, flash {flash}");
                let first = round == 0 && *topic == TOPICS[0];
                assert!(first || finish.usage.cached_tokens > 200, "{:?}", finish.usage);
            }
        }
    }
}

#[tokio::test]
async fn a_conversation_that_goes_on_is_answered_as_if_it_were_new() {
    for (kv_type, flash) in [(KvType::Q8_0, true), (KvType::F16, true)] {
        let model = load(with(kv_type, flash));
        let (first, _) = run(&model, ask("whales")).await.unwrap();
        let next = |tenant: Option<&str>| {
            let mut request = ask(&format!("whales:{} And now about", first.text)).max_tokens(24);
            request.tenant = tenant.map(str::to_owned);
            request
        };
        let (warm, finish) = answer(&model, next(None)).await;
        let (cold, _) = answer(&model, next(Some("new"))).await;
        assert_eq!(warm, cold, "{kv_type:?}, flash {flash}");
        assert!(finish.usage.cached_tokens > 200, "{:?}", finish.usage);
    }
}

#[tokio::test]
async fn eight_requests_that_begin_alike_read_the_beginning_once() {
    let mut options = with(KvType::Q8_0, true);
    options.slots = 12;
    let model = load(options);
    let cold = cold(&model).await;
    let before = model.load();
    let requests: Vec<_> = (0..8).map(|i| of_tenant(ask(TOPICS[i % 5]), "shared")).collect();
    let answers = join_all(requests.into_iter().map(|request| answer(&model, request))).await;
    for (i, (tokens, _)) in answers.iter().enumerate() {
        assert_eq!(*tokens, cold[i % 5]);
    }
    let prompt = answers[0].1.usage.prompt_tokens;
    let read = model.load().prefill_tokens - before.prefill_tokens;
    assert!(read < prompt + 8 * 20, "{read} tokens were read of 8 prompts of some {prompt}");
    assert!(model.load().prefix_hit_tokens - before.prefix_hit_tokens > 6 * prompt);
}

#[tokio::test]
async fn tenants_don_t_share() {
    let model = load(options());
    answer(&model, of_tenant(ask("salt"), "a")).await;
    let (_, finish) = answer(&model, of_tenant(ask("salt"), "b")).await;
    assert_eq!(finish.usage.cached_tokens, 0);
    let (_, finish) = answer(&model, ask("salt")).await;
    assert_eq!(finish.usage.cached_tokens, 0);
}

/// An engine with this store, which has looked into it.
async fn with_store(store: &Arc<MemoryStore>, kv_type: KvType) -> Arc<LlamaCpp> {
    with_store_and_slots(store, kv_type, 4).await
}

async fn with_store_and_slots(store: &Arc<MemoryStore>, kv_type: KvType, slots: u32) -> Arc<LlamaCpp> {
    let (lists, reads) = (store.lists.load(Ordering::SeqCst), store.reads.load(Ordering::SeqCst));
    let objects = store.objects.lock().len();
    let mut options = with(kv_type, true);
    options.digest = Some("0123".into());
    options.slots = slots;
    options.prefix_store = PrefixStore::new(Arc::clone(store) as _).ok();
    let model = load(options);
    until(|| store.lists.load(Ordering::SeqCst) > lists).await;
    if kv_type == KvType::Q8_0 {
        until(|| store.reads.load(Ordering::SeqCst) >= reads + objects).await;
    }
    // What was read is known some microseconds later; nothing tells when.
    tokio::time::sleep(Duration::from_millis(100)).await;
    model
}

async fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A store with the beginning of tenant a's prompts, and the answer about salt.
async fn filled() -> (Arc<MemoryStore>, Vec<TokenId>) {
    let store = Arc::new(MemoryStore::default());
    let model = with_store(&store, KvType::Q8_0).await;
    let mut salt = Vec::new();
    for topic in TOPICS {
        let (tokens, _) = answer(&model, of_tenant(ask(topic), "a")).await;
        if topic == "salt" {
            salt = tokens;
        }
    }
    until(|| !store.objects.lock().is_empty()).await;
    (store, salt)
}

#[tokio::test]
async fn a_popular_beginning_survives_a_restart_and_only_for_its_tenant() {
    let (store, cold) = filled().await;
    let model = with_store(&store, KvType::Q8_0).await;
    let (_, finish) = answer(&model, of_tenant(ask("salt"), "b")).await;
    assert_eq!(finish.usage.cached_tokens, 0);
    let (tokens, finish) = answer(&model, of_tenant(ask("salt"), "a")).await;
    assert_eq!(tokens, cold);
    assert!(finish.usage.cached_tokens > 200, "{:?}", finish.usage);
}

#[tokio::test]
async fn what_four_slots_have_saved_is_taken_by_any_number_of_them_and_answered_alike() {
    let (store, cold) = filled().await;
    for slots in [8, 1, 3] {
        let model = with_store_and_slots(&store, KvType::Q8_0, slots).await;
        for round in 0..2 {
            let (tokens, finish) = answer(&model, of_tenant(ask("salt"), "a")).await;
            assert_eq!(tokens, cold, "{slots} slots, round {round}");
            assert!(finish.usage.cached_tokens > 200, "{slots} slots, round {round}: {:?}", finish.usage);
        }
    }
}

#[tokio::test]
async fn a_damaged_entry_is_a_miss_and_removed() {
    let (store, cold) = filled().await;
    let model = with_store(&store, KvType::Q8_0).await;
    for bytes in store.objects.lock().values_mut() {
        let mut damaged = bytes.to_vec();
        let place = damaged.len() - 1000;
        damaged[place] ^= 1;
        *bytes = Bytes::from(damaged);
    }
    let (tokens, finish) = answer(&model, of_tenant(ask("salt"), "a")).await;
    assert_eq!((tokens, finish.usage.cached_tokens), (cold, 0));
    assert!(store.objects.lock().is_empty());
}

#[tokio::test]
async fn another_kind_of_cache_does_not_take_it() {
    let (store, _) = filled().await;
    let model = with_store(&store, KvType::F16).await;
    let (_, finish) = answer(&model, of_tenant(ask("salt"), "a")).await;
    assert_eq!(finish.usage.cached_tokens, 0);
    assert_eq!(store.objects.lock().len(), 1, "its owner may come back");
}
