//! Identical requests share a generation, whoever of them leaves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::layers::{Coalesce, CoalesceOptions};
use llmo_core::model::{
    CacheStatus, CacheUse, EmbedRequest, Embeddings, EventStream, GenerateRequest, Load, Model, ModelError, ModelInfo,
    Result, SamplingParams, TokenId, TokenizeOptions,
};

use crate::toy_model::ToyModel;
use crate::{PATIENCE, TOKEN, next_delta, request, text_of};

fn shared_with(options: CoalesceOptions) -> (Arc<ToyModel>, Arc<Coalesce>) {
    let toy = Arc::new(ToyModel::new(64, TOKEN));
    let inner: Arc<dyn Model> = Arc::clone(&toy) as _;
    (toy, Arc::new(Coalesce::new(inner, options)))
}

fn shared() -> (Arc<ToyModel>, Arc<Coalesce>) {
    shared_with(CoalesceOptions::default())
}

/// Time enough to be accepted on a busy machine, and not enough for a long answer.
const HURRY: Duration = Duration::from_millis(250);

fn long() -> GenerateRequest {
    request().max_tokens(300)
}

fn started(toy: &ToyModel) -> usize {
    toy.started.load(Ordering::SeqCst)
}

#[tokio::test]
async fn the_contract_is_kept() {
    check(shared().1, ModelSuite::default()).await;
}

/// The suite's requests want no cache and pass by; as these want one, all of them are shared.
struct Sharing(Coalesce);

#[async_trait]
impl Model for Sharing {
    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    async fn generate(&self, mut request: GenerateRequest) -> Result<EventStream> {
        request.cache = CacheUse::Default;
        self.0.generate(request).await
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        self.0.tokenize(text, options).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.0.detokenize(tokens).await
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.0.embed(request).await
    }

    fn load(&self) -> Load {
        self.0.load()
    }
}

#[tokio::test]
async fn the_contract_is_kept_while_sharing() {
    let toy = Arc::new(ToyModel::new(4, TOKEN));
    let sharing = Sharing(Coalesce::new(toy, CoalesceOptions::default()));
    check(Arc::new(sharing), ModelSuite::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_identical_requests_are_one_generation() {
    let (toy, model) = shared();
    let expected = text_of(toy.generate(request()).await.expect("alone")).await;
    let mut callers = Vec::new();
    for _ in 0..500 {
        let model = Arc::clone(&model);
        callers.push(tokio::spawn(async move {
            let stream = model.generate(request()).await.expect("accepted");
            (stream.origin.cache, text_of(stream).await)
        }));
    }
    let answers: Vec<_> = join_all(callers).await.into_iter().map(|answer| answer.expect("no panic")).collect();
    assert!(answers.iter().all(|(_, text)| *text == expected));
    assert_eq!(answers.iter().filter(|(cache, _)| *cache == CacheStatus::Coalesced).count(), 499);
    assert_eq!(started(&toy), 2, "one alone, one for all");
    assert_eq!(toy.running(), 0);
}

#[tokio::test]
async fn who_joins_late_gets_all_events_from_the_start() {
    let (toy, model) = shared();
    let mut early = model.generate(request()).await.expect("accepted");
    let mut text = String::new();
    for _ in 0..10 {
        text.push_str(&next_delta(&mut early).await.text);
    }
    let late = model.generate(request()).await.expect("joins");
    assert_eq!(late.origin.cache, CacheStatus::Coalesced);
    text.push_str(&text_of(early).await);
    assert_eq!(text_of(late).await, text, "also what was left in the buffer by a stream that is gone");
    assert_eq!(started(&toy), 1);
}

#[tokio::test]
async fn when_the_first_leaves_the_others_go_on_with_the_same_generation() {
    let (toy, model) = shared();
    for read in [0, 5] {
        let before = started(&toy);
        let mut first = model.generate(request()).await.expect("accepted");
        let others: Vec<_> = join_all((0..3).map(|_| model.generate(request()))).await;
        for _ in 0..read {
            next_delta(&mut first).await;
        }
        drop(first);
        let texts = join_all(others.into_iter().map(|stream| text_of(stream.expect("joined")))).await;
        assert!(!texts[0].is_empty() && texts.iter().all(|text| *text == texts[0]));
        assert_eq!(started(&toy), before + 1);
    }
}

#[tokio::test]
async fn when_the_first_leaves_before_it_is_accepted_the_others_are_served() {
    let toy = Arc::new(ToyModel::new(1, TOKEN));
    let model = Coalesce::new(Arc::clone(&toy) as Arc<dyn Model>, CoalesceOptions::default());
    let occupied = toy.generate(request()).await.expect("takes the only slot");
    let mut first = Box::pin(model.generate(request()));
    let mut second = Box::pin(model.generate(request()));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    drop(first);
    drop(occupied);
    let stream = tokio::time::timeout(PATIENCE, second).await.expect("woken").expect("accepted");
    assert!(!text_of(stream).await.is_empty());
    assert_eq!(started(&toy), 2);
}

#[tokio::test]
async fn when_all_leave_the_generation_is_cancelled() {
    let (toy, model) = shared();
    let mut streams: Vec<_> = join_all((0..5).map(|_| model.generate(request()))).await;
    for stream in streams.iter_mut().flatten() {
        next_delta(stream).await;
    }
    assert_eq!(toy.running(), 1);
    streams.clear();
    assert_eq!(toy.running(), 0);
    assert!(!text_of(model.generate(request()).await.expect("a new one")).await.is_empty());
    assert_eq!(started(&toy), 2);
}

#[tokio::test]
async fn only_identical_deterministic_requests_that_allow_it_share() {
    let (toy, model) = shared();
    let mut tenant = request();
    tenant.tenant = Some("other".into());
    let mut no_cache = request();
    no_cache.cache = CacheUse::Off;
    let random = request().sampling(SamplingParams::at_temperature(1.0));
    let different = [
        request(),
        tenant,
        no_cache.clone(),
        no_cache,
        random.clone(),
        random,
        request().stop("§"),
        request().max_tokens(21),
    ];
    let count = different.len();
    let streams = join_all(different.map(|request| model.generate(request))).await;
    assert!(streams.iter().flatten().all(|stream| stream.origin.cache == CacheStatus::None));
    assert_eq!(started(&toy), count);
}

#[tokio::test]
async fn an_error_is_everybody_s_and_starts_nothing() {
    let (toy, model) = shared();
    toy.fail_after.store(4, Ordering::SeqCst);
    let streams = join_all((0..3).map(|_| model.generate(request()))).await;
    for stream in streams {
        let error = stream.expect("accepted").collect_all().await.expect_err("fails");
        assert!(matches!(error, ModelError::Upstream { .. }), "{error:?}");
    }
    let refusals = join_all((0..3).map(|_| model.generate(request().max_tokens(100_000)))).await;
    assert!(refusals.iter().all(|result| matches!(result, Err(ModelError::ContextOverflow { .. }))));
    assert_eq!(started(&toy), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_a_generation_dies_one_new_one_serves_all_that_are_left() {
    let (toy, model) = shared();
    let expected = text_of(toy.generate(request()).await.expect("alone")).await;
    toy.panic_after.store(7, Ordering::SeqCst);
    let streams = join_all((0..20).map(|_| model.generate(request()))).await;
    let callers = streams.into_iter().map(|stream| tokio::spawn(text_of(stream.expect("accepted"))));
    let answers = tokio::time::timeout(PATIENCE, join_all(callers)).await.expect("nobody is left waiting");
    let (whole, broken): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(broken.len(), 1, "only the task that drove it panics");
    assert!(whole.into_iter().flatten().all(|text| text == expected), "nothing is lost and nothing comes twice");
    assert_eq!(started(&toy), 3, "alone, the one that died, and one new one");
}

#[tokio::test]
async fn the_deadline_of_the_first_ends_only_the_first() {
    let (toy, model) = shared();
    let expected = text_of(toy.generate(long()).await.expect("alone")).await;
    let hurried = long().deadline_after(Instant::now(), HURRY);
    let first = model.generate(hurried).await.expect("accepted");
    let others = join_all((0..5).map(|_| model.generate(long()))).await;
    let others = join_all(others.into_iter().map(|stream| text_of(stream.expect("joined"))));
    let (first, texts) = futures::join!(first.collect_all(), others);
    assert!(matches!(first, Err(ModelError::DeadlineExceeded { .. })), "{first:?}");
    assert!(texts.iter().all(|text| *text == expected), "{texts:?}");
    assert_eq!(started(&toy), 3, "alone, the hurried one, and one for all others");
}

#[tokio::test]
async fn a_caller_in_a_hurry_is_not_held_by_a_patient_generation() {
    let (_, model) = shared();
    let patient = model.generate(long()).await.expect("accepted");
    let hurried = long().deadline_after(Instant::now(), HURRY);
    let hurried = model.generate(hurried).await.expect("joined");
    let (patient, hurried) = futures::join!(patient.collect_all(), hurried.collect_all());
    assert!(patient.is_ok());
    assert!(matches!(hurried, Err(ModelError::DeadlineExceeded { .. })), "{hurried:?}");
}

#[tokio::test]
async fn a_caller_that_falls_behind_is_cut_off_and_the_others_are_not() {
    let mut options = CoalesceOptions::default();
    options.buffer_bytes = 2000;
    let (toy, model) = shared_with(options);
    let long = request().max_tokens(200);
    let quick = model.generate(long.clone()).await.expect("accepted");
    let mut slow = model.generate(long.clone()).await.expect("joined");
    assert_eq!(slow.origin.cache, CacheStatus::Coalesced);
    next_delta(&mut slow).await;
    let (whole, finish) = quick.collect_all().await.expect("the quick one gets everything");
    assert_eq!((whole.tokens.len(), finish.usage.completion_tokens), (200, 200));
    let error = slow.collect_all().await.expect_err("too far behind");
    assert!(matches!(error, ModelError::Upstream { started: true, .. }), "{error:?}");
    assert_eq!(started(&toy), 1);
}

#[tokio::test]
async fn a_generation_that_outgrew_its_buffer_is_not_joined() {
    let mut options = CoalesceOptions::default();
    options.buffer_bytes = 2000;
    let (toy, model) = shared_with(options);
    let mut first = model.generate(request().max_tokens(100)).await.expect("accepted");
    for _ in 0..60 {
        next_delta(&mut first).await;
    }
    let second = model.generate(request().max_tokens(100)).await.expect("accepted");
    assert_eq!((second.origin.cache, started(&toy)), (CacheStatus::None, 2));
}
