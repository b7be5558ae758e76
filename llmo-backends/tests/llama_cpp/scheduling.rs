//! Many requests at once. The scheduler's own rules are tested over a fake model, beside it.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use llmo_core::model::TokenId;
use llmo_core::{GenerateRequest, Model, ModelError};

use crate::support::{load, options, run, until};

#[tokio::test]
async fn sixteen_requests_over_four_slots_all_finish_with_the_output_they_have_alone() {
    let model = load(options());
    let ask = |i: usize| GenerateRequest::complete(format!("{i} things to know about the sea:")).max_tokens(20);
    let together = join_all((0..16).map(|i| run(&model, ask(i)))).await;
    let mut same = 0;
    for (i, result) in together.into_iter().enumerate() {
        let together: Vec<TokenId> = result.unwrap().0.tokens;
        assert!(!together.is_empty());
        same += usize::from(run(&model, ask(i)).await.unwrap().0.tokens == together);
    }
    // Other batch sizes may use other kernels, whose sums round differently; where they don't, all are the same.
    assert!(same >= 14, "{same} of 16 are the same alone");
    until(&model, |load| load.in_flight() == 0 && load.kv_used == 0.0).await;
}

#[tokio::test]
async fn a_dropped_stream_frees_its_slot() {
    let mut options = options();
    options.slots = 1;
    let model = load(options);
    for _ in 0..3 {
        let mut stream = model.generate(GenerateRequest::complete("Count: 1 2 3")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        assert_eq!(model.load().slots_free, 0);
        drop(stream);
        until(&model, |load| load.slots_free == 1 && load.kv_used == 0.0).await;
    }
    let waiting = model.generate(GenerateRequest::complete("x"));
    drop(waiting);
    until(&model, |load| load.in_flight() == 0).await;
}

#[tokio::test]
async fn a_late_request_in_the_queue_is_told_so_and_never_starts() {
    let mut options = options();
    options.slots = 1;
    let model = load(options);
    let _running = model.generate(GenerateRequest::complete("Count: 1 2 3").max_tokens(900)).await.unwrap();
    let late = GenerateRequest::complete("x").deadline_after(Instant::now(), Duration::from_millis(50));
    match model.generate(late).await.map(|_| ()) {
        Err(ModelError::DeadlineExceeded { stage }) => assert_eq!(stage, "in the queue"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn past_the_queue_s_bound_requests_are_refused_with_a_time_to_come_back() {
    let mut options = options();
    (options.slots, options.max_queue) = (1, 1);
    let model = load(options);
    let _running = model.generate(GenerateRequest::complete("Count: 1 2 3").max_tokens(900)).await.unwrap();
    let waiting = tokio::spawn({
        let model = model.clone();
        async move { model.generate(GenerateRequest::complete("x").max_tokens(1)).await.map(|_| ()) }
    });
    until(&model, |load| load.queued_requests == 1).await;
    match model.generate(GenerateRequest::complete("y")).await.map(|_| ()) {
        Err(ModelError::Overloaded { retry_after, .. }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    waiting.abort();
}
