//! The layers keep the contract of the model they wrap, and add what they promise.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod coalesce;
mod limit;
mod observe;
#[path = "../support/toy_model.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod toy_model;

use std::time::{Duration, Instant};

use futures::StreamExt;
use llmo_core::model::{Delta, Event, EventStream, GenerateRequest};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: Duration = Duration::from_millis(2);

fn request() -> GenerateRequest {
    GenerateRequest::complete("a prompt").max_tokens(20)
}

async fn until(rule: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{rule}: not in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn text_of(stream: EventStream) -> String {
    stream.collect_all().await.expect("a whole answer").0.text
}

async fn next_delta(stream: &mut EventStream) -> Delta {
    match stream.next().await {
        Some(Ok(Event::Delta(delta))) => delta,
        other => panic!("not a delta: {other:?}"),
    }
}
