//! Streams when something goes wrong: with the model, with the reader, with the server.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::time::Duration;

use llmo_backends::sim::{Fault, SimOptions};
use llmo_core::ModelError;
use llmo_server::frontend::FrontendOptions;
use llmo_server::http::ServeOptions;
use serde_json::{Value, json};
use support::sim::{Sim, quick_drain, split};
use support::{Raw, eventually, status, within};

fn endless(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "stream": stream, "max_tokens": 30_000})
}

fn raw_post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The error at the end of a stream; there must be no `[DONE]`.
fn final_error(text: &str) -> Value {
    let events = split(text);
    assert!(!events.iter().any(|event| event == "[DONE]"), "{events:?}");
    let last = events.last().unwrap().strip_prefix("error ").unwrap_or_else(|| panic!("{events:?}"));
    serde_json::from_str(last).unwrap()
}

#[tokio::test]
async fn what_is_known_before_the_first_token_is_a_status() {
    let sim = Sim::start().await;
    sim.model.faults().next(1, Fault::unavailable());
    let response = sim.post("/v1/chat/completions", endless(true)).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_failure_in_the_middle_is_an_error_event_and_never_done() {
    let sim = Sim::start().await;
    for (fault, code) in [
        (Fault::error_after(5), "upstream_failed"),
        (Fault::EndAfter(5), "upstream_failed"),
        (Fault::PanicAfter(5), "internal"),
        (Fault::ErrorAfter(5, ModelError::Shutdown), "shutdown"),
    ] {
        sim.model.faults().next(1, fault.clone());
        let text = sim.post("/v1/chat/completions", endless(true)).await.text().await.unwrap();
        assert_eq!(final_error(&text)["error"]["code"], code, "{fault:?}");
        assert_eq!(sim.busy(), 0);
        assert_eq!(sim.ask("/api/generate", json!({"prompt": "x", "max_length": 1})).await["success"], true);
    }
}

#[tokio::test]
async fn a_panic_without_a_stream_is_a_typed_500() {
    let sim = Sim::start().await;
    for fault in [Fault::Panic, Fault::PanicAfter(2)] {
        sim.model.faults().next(1, fault);
        let response = sim.post("/v1/chat/completions", endless(false)).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "internal");
        eventually("a free slot", || sim.busy() == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot() {
    let sim = Sim::slow().await;
    for stream in [true, false] {
        let mut raw = Raw::connect(sim.server.addr).await;
        raw.send(raw_post("/v1/chat/completions", &endless(stream))).await;
        eventually("a busy slot", || sim.busy() == 1).await;
        if stream {
            raw.until("t1 ").await;
        }
        drop(raw);
        eventually("a free slot", || sim.busy() == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_over_http2_frees_its_slot() {
    let sim = Sim::slow().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut response = client.post(sim.server.url("/v1/chat/completions")).json(&endless(true)).send().await.unwrap();
    within(response.chunk()).await.unwrap();
    assert_eq!(sim.busy(), 1);
    drop(response);
    eventually("a free slot", || sim.busy() == 0).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_harms_nobody() {
    let mut options = SimOptions::named("sim");
    options.answer_tokens = 1_000_000;
    options.context_length = 10_000_000;
    let mut serve = ServeOptions::default();
    serve.write_timeout = Duration::from_millis(500);
    let sim = Sim::with(options, FrontendOptions::default(), serve).await;
    let mut body = endless(true);
    body["max_tokens"] = json!(1_000_000);
    let mut raw = Raw::connect(sim.server.addr).await;
    raw.send(raw_post("/v1/chat/completions", &body)).await;
    raw.until("200 OK").await;
    assert_eq!(sim.busy(), 1);
    let other = sim.ask("/api/generate", json!({"prompt": "x", "max_length": 20})).await;
    assert_eq!(other["usage"]["completion_tokens"], 20);
    eventually("a free slot", || sim.busy() == 0).await;
    // The rest is what the kernels had taken; it must not look like a complete answer.
    let rest = raw.rest().await;
    assert!(!rest.contains("[DONE]") && !rest.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_reader_over_http2_that_does_not_read_is_cut() {
    let mut options = SimOptions::named("sim");
    options.answer_tokens = 1_000_000;
    options.context_length = 10_000_000;
    let mut frontend = FrontendOptions::default();
    frontend.stall_timeout = Duration::from_millis(500);
    let sim = Sim::with(options, frontend, ServeOptions::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut body = endless(true);
    body["max_tokens"] = json!(1_000_000);
    let response = client.post(sim.server.url("/v1/chat/completions")).json(&body).send().await.unwrap();
    assert_eq!(sim.busy(), 1);
    eventually("a free slot", || sim.busy() == 0).await;
    assert!(within(response.text()).await.is_err());
}

#[tokio::test]
async fn a_quiet_stream_gets_heartbeats() {
    let mut frontend = FrontendOptions::default();
    frontend.heartbeat = Duration::from_millis(50);
    let sim = Sim::with(SimOptions::named("sim"), frontend, ServeOptions::default()).await;
    sim.model.faults().next(1, Fault::Delay(Duration::from_millis(400)));
    let text = sim.post("/v1/chat/completions", endless(true)).await.text().await.unwrap();
    assert!(text.matches(": still here\n\n").count() >= 3, "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn events_are_sent_one_by_one_as_they_come() {
    let mut options = SimOptions::named("sim");
    options.decode_tokens_per_second = 20.0;
    options.answer_tokens = 10;
    let sim = Sim::with(options, FrontendOptions::default(), ServeOptions::default()).await;
    let mut response = sim.post("/v1/chat/completions", endless(true)).await;
    let mut pieces = 0;
    while let Some(piece) = within(response.chunk()).await.unwrap() {
        pieces += usize::from(piece.starts_with(b"data: {") && piece.windows(7).any(|w| w == b"content"));
    }
    // Fifty milliseconds apart, none may wait for the next.
    assert!(pieces >= 10, "{pieces} pieces");
}

#[tokio::test]
async fn shutdown_ends_streams_after_the_grace_with_a_typed_error() {
    let sim = Sim::slow().await;
    let stream = sim.post("/v1/chat/completions", endless(true)).await;
    let mut waiting = Raw::connect(sim.server.addr).await;
    waiting.send(raw_post("/v1/chat/completions", &endless(false))).await;
    eventually("two busy slots", || sim.busy() == 2).await;
    sim.server.shutdown.cancel();
    assert_eq!(final_error(&within(stream.text()).await.unwrap())["error"]["code"], "shutdown");
    let response = waiting.rest().await;
    assert_eq!(status(&response), 503, "{response}");
    assert_eq!(sim.busy(), 0);
    sim.server.ended().await;
}

#[tokio::test]
async fn shutdown_lets_a_short_stream_finish() {
    let mut options = SimOptions::named("sim");
    options.decode_tokens_per_second = 100.0;
    options.answer_tokens = 10;
    let sim = Sim::with(options, FrontendOptions::default(), quick_drain()).await;
    let stream = sim.post("/v1/chat/completions", endless(true)).await;
    sim.server.shutdown.cancel();
    assert!(within(stream.text()).await.unwrap().ends_with("data: [DONE]\n\n"));
    sim.server.ended().await;
}

#[tokio::test]
async fn a_service_that_drains_is_not_ready_and_still_answers() {
    let mut options = quick_drain();
    options.drain_delay = Duration::from_secs(1);
    let sim = Sim::with(SimOptions::named("sim"), FrontendOptions::default(), options).await;
    assert_eq!(sim.get("/readyz").await.status(), 200);
    sim.server.shutdown.cancel();
    let response = sim.get("/readyz").await;
    assert_eq!(response.status(), 503);
    assert!(response.text().await.unwrap().contains("shutting down"));
    assert_eq!(sim.ask("/api/generate", json!({"prompt": "x"})).await["success"], true);
    sim.server.ended().await;
}
