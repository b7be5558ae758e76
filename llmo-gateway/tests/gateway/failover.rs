//! Replicas die, return and misbehave under traffic; real sockets all the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::service::Service;
use crate::site::{Site, text, words};
use futures::future::join_all;
use llmo_backends::sim::{Fault, SimOptions};
use llmo_core::Model;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::task::JoinSet;

fn paced(tokens_per_second: f64) -> SimOptions {
    let mut sim = SimOptions::default();
    sim.decode_tokens_per_second = tokens_per_second;
    sim.slots = 64;
    sim.queue = 1_000;
    sim
}

/// Callers that ask again and again until they are dropped.
#[derive(Default)]
struct Tally {
    served: AtomicU32,
    refused: AtomicU32,
}

impl Tally {
    async fn ask(self: Arc<Self>, request: RequestBuilder) {
        loop {
            let answer = request.try_clone().expect("a plain body").send().await.expect("the gateway lives");
            let refused = answer.status() != 200;
            self.refused.fetch_add(u32::from(refused), Ordering::Relaxed);
            // A stream that had begun when its replica died ends with an error: that is neither.
            let done = answer.text().await.is_ok_and(|body| body.contains("[DONE]"));
            self.served.fetch_add(u32::from(done), Ordering::Relaxed);
        }
    }

    async fn until_served(&self, more: u32) {
        let wanted = self.served.load(Ordering::Relaxed) + more;
        let begun = Instant::now();
        while self.served.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "not {more} more answers within a minute");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unstarted_request_fails_when_one_of_three_replicas_is_killed_and_comes_back() {
    let mut site = Site::new(3, paced(200.0)).await;
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        callers.spawn(Arc::clone(&tally).ask(site.streamed(&format!("caller {caller}"), 10)));
    }
    tally.until_served(64).await;
    site.services[0].kill();
    tally.until_served(128).await;
    site.services[0].start_again().await;
    site.services[1].kill();
    tally.until_served(128).await;
    assert_eq!(tally.refused.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_replicas_it_refuses_at_once_and_serves_again_soon_after_the_first_is_back() {
    let mut site = Site::new(2, SimOptions::default()).await;
    site.services.iter_mut().for_each(Service::kill);
    let begun = Instant::now();
    let answer = site.completion("anybody?", 3).send().await.expect("the gateway lives");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(answer.status(), 503);
    let wait: u64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=10).contains(&wait), "{wait}");
    let error: Value = answer.json().await.expect("JSON");
    assert_eq!(error["error"]["code"], "model_unavailable");
    assert!(!error.to_string().contains("127.0.0.1"), "addresses stay inside: {error}");

    site.services[1].start_again().await;
    let begun = Instant::now();
    while site.completion("again", 3).send().await.expect("the gateway lives").status() != 200 {
        assert!(begun.elapsed() < Duration::from_secs(2), "not within two seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_is_noticed_without_any_request() {
    let mut site = Site::new(1, SimOptions::default()).await;
    site.services[0].kill();
    let begun = Instant::now();
    while site.get("/readyz").await.expect("the gateway lives").status() == 200 {
        assert!(begun.elapsed() < Duration::from_secs(1), "the interval of health checks is two seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_replica_gets_few_requests() {
    let site = Site::new(3, SimOptions::default()).await;
    site.services[0].sim.faults().always(Fault::Delay(Duration::from_millis(500)));
    let slow = site.services[0].id();
    let mut to_slow = 0;
    for i in 0..40 {
        let answer = site.completion(&format!("question {i}"), 2).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        to_slow += u32::from(answer.headers()["x-llmo-replica"] == slow.as_str());
    }
    assert!(to_slow <= 4, "{to_slow} of 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_stay_within_the_retry_budget_when_everything_fails() {
    let site = Site::new(3, SimOptions::default()).await;
    let before = site.attempts().await;
    site.services.iter().for_each(|service| service.sim.faults().always(Fault::unavailable()));
    let requests = join_all((0..100).map(|i| site.completion(&format!("question {i}"), 2).send())).await;
    assert!(requests.into_iter().all(|answer| answer.expect("the gateway lives").status() == 503));
    let attempts = site.attempts().await - before;
    assert!(attempts <= 100 + 20 + 3, "{attempts} attempts for 100 requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_client_frees_the_slot_upstream() {
    let site = Site::new(1, paced(20.0)).await;
    let mut answer = site.streamed("long", 1_000).send().await.expect("an answer");
    answer.chunk().await.expect("a first piece");
    assert_eq!(site.services[0].sim.load().in_flight(), 1);
    drop(answer);
    let begun = Instant::now();
    while site.services[0].sim.load().in_flight() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(2), "the slot is not free within two seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_ends_with_a_typed_error_and_never_with_done() {
    // Nobody comes back in time to go on with it.
    let mut site = Site::with(1, paced(20.0), None, |config| config.gateway.continuation_timeout_seconds = 1).await;
    let mut answer = site.streamed("long", 1_000).send().await.expect("an answer");
    let mut body = answer.chunk().await.expect("a first piece").expect("not empty").to_vec();
    site.services[0].kill();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
    }
    let body = String::from_utf8(body).expect("text");
    assert!(body.contains("event: error") && body.contains("upstream_failed"), "{body}");
    assert!(!body.contains("[DONE]"), "{body}");
}

/// The text of a stream, if it ended as it should.
async fn whole(request: RequestBuilder) -> Result<String, String> {
    let body = request.send().await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())?;
    let mut text = String::new();
    for line in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if line == "[DONE]" {
            return Ok(text);
        }
        let piece: Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        text.push_str(piece["choices"][0]["text"].as_str().unwrap_or_default());
    }
    Err(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_on_elsewhere_when_their_replica_is_killed_and_their_text_is_that_of_an_undisturbed_run() {
    let mut site = Site::new(3, paced(100.0)).await;
    let ask = |site: &Site, i: usize| site.streamed(&format!("question {i}"), 200);
    let undisturbed = join_all((0..4).map(|i| whole(ask(&site, i)))).await;
    // Each by itself: shared generations would be four, and all of them may be where nobody dies.
    let alone = |i: usize| ask(&site, i % 4).header("cache-control", "no-store");
    let streams: Vec<_> = (0..64).map(|i| tokio::spawn(whole(alone(i)))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.services[0].kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.services[0].start_again().await;
    site.services[1].kill();
    for (i, stream) in streams.into_iter().enumerate() {
        assert_eq!(stream.await.expect("no panic"), undisturbed[i % 4], "stream {i}");
    }
    assert!(
        site.get("/metrics")
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text")
            .contains("llmo_stream_continuations_total{outcome=\"continued\"}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_for_its_only_replica_to_come_back_and_goes_on() {
    let mut site = Site::new(1, paced(100.0)).await;
    let undisturbed = whole(site.streamed("count", 150)).await;
    let stream = tokio::spawn(whole(site.streamed("count", 150)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.services[0].kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    site.services[0].start_again().await;
    assert_eq!(stream.await.expect("no panic"), undisturbed);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_not_buffered() {
    let site = Site::new(1, paced(20.0)).await;
    let begun = Instant::now();
    let mut answer = site.streamed("slow", 40).send().await.expect("an answer");
    let first = answer.chunk().await.expect("a first piece").expect("not empty");
    assert!(begun.elapsed() < Duration::from_secs(1), "forty words take two seconds, the first came late");
    let (mut pieces, mut body) = (1, first.to_vec());
    while let Some(piece) = answer.chunk().await.expect("more") {
        pieces += 1;
        body.extend_from_slice(&piece);
    }
    assert!(pieces >= 20, "{pieces} pieces");
    assert!(String::from_utf8_lossy(&body).trim_end().ends_with("data: [DONE]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_pass_through_and_the_replica_is_named() {
    let site = Site::new(1, SimOptions::default()).await;
    let answer = site.completion("hello", 3).header("x-request-id", "mine-1").send().await.expect("an answer");
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    assert_eq!(answer.headers()["x-llmo-replica"], site.services[0].id().as_str());
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(text(&body), words(3));
    let made = site.completion("hello", 3).send().await.expect("an answer");
    assert!(!made.headers()["x-request-id"].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_404_with_a_suggestion() {
    let site = Site::new(1, SimOptions::default()).await;
    let body = serde_json::json!({"model": "simm", "prompt": "x"});
    let answer = site.client.post(format!("{}/v1/completions", site.url)).json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.expect("text").contains("did you mean \\\"sim\\\""));
}
