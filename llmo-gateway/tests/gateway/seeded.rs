//! Sampled streams with a seed go on exactly where their replica died: what a sampler draws depends on seed and place only.
//! With a real model: llmo/tests/seeded_continuation.rs.

use llmo_backends::sim::{SimOptions, SimText};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::site::Site;

/// A sampled stream of so many tokens.
fn sampled(site: &Site, seed: u64, tokens: u32) -> RequestBuilder {
    let body = json!({
        "model": "sim", "prompt": "count", "max_tokens": tokens, "temperature": 0.8, "seed": seed,
        "stream": true, "return_token_ids": true,
    });
    // A cache would answer the second time: these requests are deterministic.
    site.client.post(format!("{}/v1/completions", site.url)).header("cache-control", "no-store").json(&body)
}

/// Text and tokens of a stream; `at` is called with the replica's name once so many pieces have come.
async fn read(request: RequestBuilder, pieces: usize, at: impl FnOnce(String)) -> (String, Vec<u64>) {
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let replica = answer.headers()["x-llmo-replica"].to_str().expect("text").to_owned();
    let (mut body, mut at) = (String::new(), Some(at));
    while let Some(piece) = answer.chunk().await.expect("no break") {
        body.push_str(std::str::from_utf8(&piece).expect("whole events"));
        if body.matches("data: ").count() >= pieces
            && let Some(at) = at.take()
        {
            assert!(!body.contains("[DONE]"), "it is over before anything could happen");
            at(replica.clone());
        }
    }
    assert!(body.trim_end().ends_with("data: [DONE]"), "{body}");
    let (mut text, mut tokens) = (String::new(), Vec::new());
    for event in body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
        let event: Value = serde_json::from_str(event).expect("JSON");
        let choice = &event["choices"][0];
        text.push_str(choice["text"].as_str().unwrap_or_default());
        tokens.extend(choice["token_ids"].as_array().into_iter().flatten().filter_map(Value::as_u64));
    }
    (text, tokens)
}

async fn continued(site: &Site) -> bool {
    let metrics = site.get("/metrics").await.expect("an answer").text().await.expect("text");
    metrics.contains("llmo_stream_continuations_total{outcome=\"continued\"} 1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_stream_goes_on_with_the_tokens_of_its_seed() {
    let mut sim = SimOptions::named("sim");
    (sim.text, sim.decode_tokens_per_second) = (SimText::Tagged, 200.0);
    let mut site = Site::new(2, sim).await;
    let undisturbed = read(sampled(&site, 7, 100), 0, drop).await;
    let other = read(sampled(&site, 8, 100), 0, drop).await;
    assert_ne!(undisturbed, other, "the seed decides");
    let (tell, told) = tokio::sync::oneshot::channel();
    let request = sampled(&site, 7, 100);
    let stream = tokio::spawn(read(request, 20, |replica| drop(tell.send(replica))));
    let replica = told.await.expect("it runs");
    let dying = site.services.iter_mut().find(|service| service.id() == replica).expect("one of ours");
    dying.kill();
    assert_eq!(stream.await.expect("no panic"), undisturbed);
    assert!(continued(&site).await);
}
