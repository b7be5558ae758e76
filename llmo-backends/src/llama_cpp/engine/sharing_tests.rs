//! Who reads what, and who goes first: rules of the prefix cache and of admission, over the fake model.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use llmo_core::ModelError;
use llmo_core::model::{EventStream, GenerateRequest, TokenId};

use super::tests::{Bench, is_idle, prompt};

/// A beginning of 500 tokens and an end of its own.
fn shared(own: TokenId) -> GenerateRequest {
    prompt((100..600).chain([own, own + 1])).max_tokens(3)
}

/// Submits these while the engine stands still, so that it finds them all at once.
async fn together(bench: &Bench, requests: Vec<GenerateRequest>) -> Vec<(Vec<TokenId>, u64)> {
    bench.control.stopped.store(true, Ordering::SeqCst);
    let blocker = bench.start(prompt([1]).max_tokens(1)).await.unwrap();
    let submitted: Vec<_> = requests.into_iter().map(|request| bench.submit(request).ok().unwrap()).collect();
    bench.control.stopped.store(false, Ordering::SeqCst);
    blocker.collect_all().await.unwrap();
    let answers = submitted.into_iter().map(|submitted| async move {
        submitted.started.await.unwrap().unwrap();
        let (delta, finish) = EventStream::new(submitted.events).collect_all().await.unwrap();
        (delta.tokens, finish.usage.cached_tokens)
    });
    join_all(answers).await
}

#[tokio::test]
async fn requests_that_come_together_read_their_common_beginning_once() {
    let bench = Bench::new(16, 64);
    let answers = together(&bench, (0..8).map(|i| shared(700 + 10 * i)).collect()).await;
    for (i, (tokens, _)) in (0..).zip(&answers) {
        assert_eq!(*tokens, [702 + 10 * i, 703 + 10 * i, 704 + 10 * i]);
    }
    assert_eq!(answers.iter().filter(|(_, cached)| *cached == 500).count(), 7);
    let load = bench.mailbox.load();
    assert_eq!(load.prefill_tokens, 1 + 500 + 8 * 2);
    assert_eq!(load.prefix_query_tokens, 1 + 8 * 502);
    assert_eq!(load.prefix_hit_tokens, 7 * 500);
    bench.until(|load| load.decode_tokens == 1 + 8 * 3).await;
    bench.until(is_idle).await;
}

#[tokio::test]
async fn choices_of_one_prompt_read_it_once() {
    let bench = Bench::new(8, 64);
    let answers = together(&bench, vec![shared(700); 6]).await;
    assert!(answers.iter().all(|(tokens, _)| *tokens == [702, 703, 704]));
    // The last token of a prompt is always read: its logits are needed.
    assert_eq!(bench.mailbox.load().prefill_tokens, 1 + 502 + 5);
}

#[tokio::test]
async fn tenants_that_come_together_share_nothing() {
    let bench = Bench::new(8, 64);
    let ask = |tenant: &str| {
        let mut request = shared(700);
        request.tenant = Some(tenant.into());
        request
    };
    let answers = together(&bench, vec![ask("a"), ask("b"), ask("a")]).await;
    let mut cached: Vec<u64> = answers.iter().map(|(_, cached)| *cached).collect();
    cached.sort_unstable();
    assert_eq!(cached, [0, 0, 501]);
}

#[tokio::test]
async fn who_waits_for_a_beginning_goes_on_alone_when_its_reader_leaves() {
    let bench = Bench::new(4, 64);
    bench.control.step_us.store(3000, Ordering::SeqCst);
    let first = bench.start(prompt((0..3000).map(|i| i % 900)).max_tokens(1)).await.unwrap();
    let second = bench.submit(prompt((0..3000).map(|i| i % 900)).max_tokens(1)).ok().unwrap();
    second.started.await.unwrap().unwrap();
    drop(first);
    let (delta, finish) = EventStream::new(second.events).collect_all().await.unwrap();
    assert_eq!(delta.tokens, [300]);
    assert!(finish.usage.cached_tokens < 2999, "what the first had read is used, the rest is read");
    let load = bench.mailbox.load();
    assert!(load.prefill_tokens <= 3000 + 128, "{load:?}");
}

#[tokio::test]
async fn the_beginning_of_a_running_stream_is_copied() {
    let bench = Bench::new(4, 8);
    bench.control.step_us.store(500, Ordering::SeqCst);
    let mut request = shared(700);
    request.max_tokens = Some(250);
    let mut running = bench.start(request).await.unwrap();
    running.next().await.unwrap().unwrap();
    let (tokens, finish) = bench.run(shared(800)).await.unwrap();
    assert_eq!((tokens, finish.usage.cached_tokens), (vec![802, 803, 804], 500));
    assert_eq!(bench.control.copies.load(Ordering::SeqCst), 1);
    let (rest, _) = running.collect_all().await.unwrap();
    assert_eq!(rest.tokens, (703..952).collect::<Vec<_>>(), "it goes on undisturbed");
}

#[tokio::test]
async fn a_conversation_is_not_cut_for_another_that_begins_alike() {
    let bench = Bench::new(2, 8);
    let long = || prompt((100..600).chain(600..900)).max_tokens(1);
    bench.run(long()).await.unwrap();
    assert_eq!(bench.run(shared(950)).await.unwrap().1.usage.cached_tokens, 500);
    assert_eq!(bench.run(long()).await.unwrap().1.usage.cached_tokens, 799, "the long one is still there");
}

#[tokio::test]
async fn what_is_asked_for_often_outlives_what_was_asked_for_once() {
    let bench = Bench::new(2, 8);
    for own in [700, 710, 720, 730] {
        bench.run(shared(own)).await.unwrap();
    }
    for i in 0..6 {
        bench.run(prompt((0..400).map(|token| (token * 7 + i * 13) % 900)).max_tokens(1)).await.unwrap();
    }
    assert_eq!(bench.run(shared(740)).await.unwrap().1.usage.cached_tokens, 500);
}

#[tokio::test]
async fn a_request_that_can_t_meet_its_deadline_is_not_started() {
    let bench = Bench::new(1, 8);
    bench.control.step_us.store(20_000, Ordering::SeqCst);
    bench.run(prompt(0..128).max_tokens(1)).await.unwrap();
    let before = bench.control.tokens_run.load(Ordering::SeqCst);
    let late = prompt((0..3000).map(|i| (i * 11) % 900)).deadline_after(Instant::now(), Duration::from_millis(100));
    match bench.run(late).await {
        Err(ModelError::DeadlineExceeded { stage }) => assert_eq!(stage, "in the queue"),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.control.tokens_run.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn the_queue_goes_in_turn_by_tenant_and_within_a_tenant_by_priority() {
    let bench = Bench::new(1, 16);
    let ask = |token: TokenId, tenant: &str, priority: i8| {
        let mut request = prompt([token]).max_tokens(1);
        (request.tenant, request.priority) = (Some(tenant.into()), priority);
        request
    };
    let requests = vec![ask(10, "a", 0), ask(20, "a", 0), ask(30, "a", 0), ask(40, "b", 0), ask(50, "b", 9)];
    together(&bench, requests).await;
    let mut order = bench.control.fed.lock().clone();
    order.retain(|token| token % 10 == 0);
    // b's high priority puts its second request before its first, and before nothing of a's.
    assert_eq!(order, [10, 50, 20, 40, 30]);
}
