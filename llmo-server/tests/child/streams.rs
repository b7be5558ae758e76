//! Streams over the socket: complete, in order, bounded, and cancelled when dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::model::TokenizeOptions;
use llmo_core::{EmbedRequest, GenerateRequest, Model, ModelError};

use crate::subject::{answered, ask, by_tokens, running, sim};
use crate::support::{eventually, within};

#[tokio::test]
async fn a_model_in_another_process_is_a_model() {
    let model = sim(|sim, _| *sim = SimOptions::named("sim")).await;
    let suite = ModelSuite::default().meanings("the cat sat", "a cat sat there", "interest rates rose");
    check(model, suite).await;
}

#[tokio::test]
async fn what_the_model_says_arrives_unchanged() {
    let options = SimOptions::named("sim");
    let there = sim(|sim, _| *sim = options.clone()).await;
    let here = SimModel::new(options);
    assert_eq!(there.info(), here.info());
    let mut request = GenerateRequest::ask("hello").max_tokens(9).stop("3");
    request.logprobs = Some(2);
    request.token_ids = true;
    let ask = async |model: &dyn Model| model.generate(request.clone()).await.unwrap().collect_all().await.unwrap();
    let (expected, mut expected_finish) = ask(&here).await;
    let (delta, finish) = within(ask(&*there)).await;
    expected_finish.timings = finish.timings;
    assert_eq!((delta, finish), (expected, expected_finish));
    let embed = EmbedRequest::new(["a", "b"]);
    assert_eq!(there.embed(embed.clone()).await.unwrap(), here.embed(embed).await.unwrap());
    let options = TokenizeOptions::with_special();
    assert_eq!(there.tokenize("zażółć", options).await.unwrap(), here.tokenize("zażółć", options).await.unwrap());
}

#[tokio::test]
async fn refusals_arrive_as_they_are() {
    let model = sim(|_, _| {}).await;
    let mut wrong = GenerateRequest::ask("x");
    wrong.sampling.top_p = 7.0;
    let error = within(model.generate(wrong)).await.map(drop).unwrap_err();
    assert!(matches!(&error, ModelError::InvalidRequest { param, .. } if param == "top_p"), "{error}");
    let error = within(model.render(GenerateRequest::ask("x"))).await.unwrap_err();
    assert!(matches!(error, ModelError::Unsupported { .. }), "{error}");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_up_nobody_and_loses_nothing() {
    let model = sim(|sim, _| sim.decode_tokens_per_second = f64::INFINITY).await;
    let lazy = running(&*model, ask("lazy").max_tokens(1000)).await;
    for n in 0..20 {
        assert_eq!(answered(&*model, ask(n).max_tokens(500)).await.unwrap(), 500);
    }
    let (rest, _) = within(lazy.collect_all()).await.unwrap();
    let numbers: String = (1..1000).map(|n| format!("t{n} ")).collect();
    assert_eq!(rest.text, numbers);
}

#[tokio::test]
async fn dropping_a_stream_frees_its_slot_in_the_other_process() {
    let model = sim(|sim, _| sim.slots = 2).await;
    let streams = (running(&*model, ask(1)).await, running(&*model, ask(2)).await);
    let queued = tokio::spawn({
        let model = Arc::clone(&model);
        async move { model.generate(ask(3)).await.map(drop) }
    });
    eventually("the queue", || model.load().queued_requests == 1).await;
    queued.abort();
    eventually("it leaves the queue", || model.load().queued_requests == 0).await;
    drop(streams);
    eventually("the slots are free", || model.load().in_flight() == 0).await;
}

#[tokio::test]
async fn deadlines_are_kept_by_the_engine_and_by_the_service_if_that_is_deaf() {
    let model = sim(|sim, _| sim.slots = 1).await;
    let request = |n| ask(n).deadline_after(Instant::now(), Duration::from_millis(200));
    let mut first = running(&*model, ask(1).deadline_after(Instant::now(), Duration::from_secs(2))).await;
    let error = within(model.generate(request(2))).await.map(drop).unwrap_err();
    assert!(matches!(error, ModelError::DeadlineExceeded { .. }), "{error}");
    let error = within(async {
        loop {
            if let Some(Err(error)) = first.next().await {
                return error;
            }
        }
    });
    assert!(matches!(error.await, ModelError::DeadlineExceeded { .. }));
    crate::subject::send(crate::subject::pid(&*model).unwrap(), rustix::process::Signal::STOP);
    let error = within(model.generate(request(3))).await.map(drop).unwrap_err();
    assert!(matches!(error, ModelError::DeadlineExceeded { .. }), "{error}");
}

#[tokio::test]
async fn large_requests_and_answers_pass() {
    let model = sim(|sim, _| sim.context_length = 8_000_000).await;
    let text = "a long story ".repeat(300_000);
    let tokens = within(model.tokenize(&text, TokenizeOptions::default())).await.unwrap();
    assert_eq!(within(model.detokenize(&tokens)).await.unwrap(), text);
    assert_eq!(answered(&*model, by_tokens(&tokens).max_tokens(2)).await.unwrap_or(2), 2);
}
