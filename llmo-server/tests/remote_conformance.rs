//! A remote model whose upstream is our own front end keeps a model's contract: what two services say to each other
//! over HTTP loses nothing. The model behind is the simulator.

// A failed unwrap is a failed test, in the helpers as well.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_backends::remote::{RemoteModel, RemoteOptions};
use llmo_backends::sim::{Fault, SimModel, SimOptions, SimText};
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_core::model::{Prompt, SingleModel, TokenizeOptions};
use llmo_core::{Event, GenerateRequest, Model, ModelError};
use llmo_server::frontend::{FrontendOptions, router};
use llmo_server::http::ServeOptions;
use support::{Server, eventually, within};

/// A simulator behind HTTP, and the remote model in front of it.
async fn behind_http(set: impl FnOnce(&mut SimOptions)) -> (Server, Arc<SimModel>, RemoteModel) {
    let mut options = SimOptions::default();
    options.text = SimText::Tagged;
    set(&mut options);
    let sim = Arc::new(SimModel::new(options));
    let app = router(Arc::new(SingleModel::new(sim.clone())), FrontendOptions::default());
    let server = Server::start(app, ServeOptions::default()).await;
    let remote = RemoteModel::new(sim.info().clone(), &server.url(""), RemoteOptions::default()).unwrap();
    (server, sim, remote)
}

#[tokio::test]
async fn a_remote_model_is_a_model() {
    let (_server, _sim, remote) = behind_http(|_| {}).await;
    let suite = ModelSuite::default().meanings("the cat sat", "a cat sat there", "interest rates rose");
    check(Arc::new(remote), suite).await;
}

#[tokio::test]
async fn what_the_model_says_arrives_unchanged() {
    let (_server, sim, remote) = behind_http(|_| {}).await;
    let mut request = GenerateRequest::ask("hello").max_tokens(9).stop("3");
    request.token_ids = true;
    request.logprobs = Some(0);
    let (here, here_finish) = sim.generate(request.clone()).await.unwrap().collect_all().await.unwrap();
    let (there, there_finish) = remote.generate(request).await.unwrap().collect_all().await.unwrap();
    assert_eq!(there, here);
    assert_eq!((there_finish.reason, there_finish.stop), (here_finish.reason, here_finish.stop));
    assert_eq!(there_finish.usage, here_finish.usage);
}

#[tokio::test]
async fn a_broken_stream_is_continued_token_by_token() {
    let (_server, sim, remote) = behind_http(|_| {}).await;
    let prompt = remote.tokenize("Once upon a time", TokenizeOptions::with_special()).await.unwrap();
    let ask = |tokens: &[u32]| {
        let mut request = GenerateRequest::new(Prompt::Tokens(tokens.to_vec()));
        request.token_ids = true;
        request
    };
    let (whole, _) = sim.generate(ask(&prompt)).await.unwrap().collect_all().await.unwrap();
    sim.faults().next(1, Fault::error_after(5));
    let mut sent = prompt.clone();
    let mut stream = remote.generate(ask(&prompt)).await.unwrap();
    while let Some(event) = within(stream.next()).await {
        match event {
            Ok(Event::Delta(delta)) => sent.extend(delta.tokens),
            Err(ModelError::Upstream { started: true, .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    let (rest, _) = remote.generate(ask(&sent)).await.unwrap().collect_all().await.unwrap();
    sent.extend(rest.tokens);
    assert_eq!(sent[prompt.len()..], whole.tokens);
}

#[tokio::test]
async fn errors_come_out_as_they_went_in() {
    let (_server, sim, remote) = behind_http(|_| {}).await;
    for error in [
        ModelError::Overloaded { reason: "the queue is full".into(), retry_after: Duration::from_secs(1) },
        ModelError::unavailable("loading"),
        ModelError::DeadlineExceeded { stage: "in the queue".into() },
        ModelError::Shutdown,
        ModelError::invalid("top_k", "must be good"),
        ModelError::Corrupt { model: "sim".into(), reason: "a bit is wrong".into() },
        ModelError::Upstream { message: "cable cut".into(), started: false },
        ModelError::Crashed { message: "it was there at two deaths".into() },
    ] {
        sim.faults().next(1, Fault::Refuse(error.clone()));
        let received = remote.generate(GenerateRequest::ask("hello")).await.unwrap_err();
        assert_eq!((received.code(), received.is_retryable()), (error.code(), error.is_retryable()), "{received}");
        assert_eq!(without_wait(&received), without_wait(&error));
    }
}

/// Waits are jittered on their way.
fn without_wait(error: &ModelError) -> String {
    let text = error.to_string();
    text.split("; try again").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn dropping_the_stream_frees_the_slot_behind_http() {
    let (_server, sim, remote) = behind_http(|o| o.decode_tokens_per_second = 50.0).await;
    let mut stream = remote.generate(GenerateRequest::ask("hello")).await.unwrap();
    assert!(within(stream.next()).await.unwrap().is_ok());
    assert_eq!(sim.load().slots_free, 3);
    drop(stream);
    eventually("the slot comes free", || sim.load().slots_free == 4).await;
}

#[tokio::test]
async fn a_deadline_is_kept_behind_http() {
    let (_server, sim, remote) = behind_http(|o| o.slots = 1).await;
    sim.faults().next(1, Fault::HangAfter(1));
    let request = || GenerateRequest::ask("hello").deadline_after(Instant::now(), Duration::from_millis(300));
    let hung = remote.generate(request()).await.unwrap();
    // An answer's head may come before its request has the slot.
    eventually("the first one hangs", || sim.load().slots_free == 0).await;
    let queued = within(remote.generate(request())).await;
    let queued = match queued {
        Err(error) => error,
        Ok(stream) => within(stream.collect_all()).await.unwrap_err(),
    };
    assert!(matches!(queued, ModelError::DeadlineExceeded { .. }), "{queued}");
    let hung = within(hung.collect_all()).await.unwrap_err();
    assert!(matches!(hung, ModelError::DeadlineExceeded { .. }), "{hung}");
    eventually("the slot comes free", || sim.load().in_flight() == 0).await;
}
