//! A sampled stream with a seed, of a real model, whose service is killed: it goes on at another one token by token as it
//! would have, through a real gateway. Everything is a process of its own.
#![cfg(all(unix, feature = "llama-cpp"))]
#![allow(clippy::expect_used, missing_docs)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};

/// Tokens of a stream.
const TOKENS: usize = 120;

/// A service, killed at the latest when the test is over.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(role: &str, settings: &[String]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let section = if role == "model" { "model" } else { "gateway" };
        let port = format!("{section}.port={}", address.port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmo"));
        command.args(["serve", role, "--set", &port]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        // Nobody's own configuration.
        command.env_clear().current_dir(std::env::temp_dir()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().expect("it starts"), address: address.to_string() }
    }

    fn model() -> Self {
        // One thread, as in the other tests of the real engine; attention that rounds short and long runs alike on every
        // processor (docs/gateway.md, when a continued text is the same).
        let settings = [
            "model.names=smollm2-135m",
            "model.context_length=512",
            "model.slots=2",
            "model.threads=1",
            "model.kv_type=q8_0",
            "model.tune=off",
            "store.sources=",
        ];
        let mut settings = settings.map(str::to_owned).to_vec();
        settings.push(format!("store.dir={}", weights().display()));
        Self::start("model", &settings)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// # Panics
/// Without weights. Skipping would report success for nothing.
fn weights() -> PathBuf {
    let directory = std::env::var_os("LLMO_TEST_MODELS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models")), PathBuf::from);
    assert!(directory.join("smollm2-135m").is_dir(), "no weights in {}: set LLMO_TEST_MODELS", directory.display());
    directory
}

/// The tokens and the text of a stream; `at` is called with the replica's name when a quarter has come.
async fn stream(client: &Client, url: &str, seed: u64, mut at: impl FnMut(&str)) -> (Vec<u64>, String) {
    let body = json!({
        "prompt": "Once upon a time, in a small village,", "max_tokens": TOKENS, "temperature": 0.8, "top_p": 0.95,
        "seed": seed, "stream": true, "return_token_ids": true,
        // No end of text before the kill.
        "logit_bias": {"0": -100, "2": -100},
    });
    // A cache would answer the second time: these requests are deterministic.
    let request = client.post(format!("{url}/v1/completions")).header("cache-control", "no-store").json(&body);
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let replica = answer.headers()["x-llmo-replica"].to_str().expect("text").to_owned();
    let (mut body, mut told) = (Vec::new(), false);
    while let Some(piece) = answer.chunk().await.expect("no break") {
        body.extend_from_slice(&piece);
        if !told && body.windows(6).filter(|bytes| bytes == b"data: ").count() >= TOKENS / 4 {
            told = true;
            at(&replica);
        }
    }
    let body = String::from_utf8(body).expect("text");
    assert!(body.trim_end().ends_with("data: [DONE]"), "{body}");
    let (mut tokens, mut text) = (Vec::new(), String::new());
    for event in body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
        let event: Value = serde_json::from_str(event).expect("JSON");
        let choice = &event["choices"][0];
        tokens.extend(choice["token_ids"].as_array().into_iter().flatten().filter_map(Value::as_u64));
        text.push_str(choice["text"].as_str().unwrap_or_default());
    }
    (tokens, text)
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_stream_of_a_real_model_goes_on_token_by_token_as_undisturbed() {
    let mut services = [Service::model(), Service::model()];
    let upstreams = services.iter().map(|service| format!("http://{}", service.address)).collect::<Vec<_>>().join(",");
    let settings = [format!("gateway.upstreams={upstreams}"), "gateway.dashboard_port=0".to_owned()];
    let gateway = Service::start("gateway", &settings);
    let (client, url) =
        (Client::builder().no_proxy().build().expect("a client"), format!("http://{}", gateway.address));
    let metrics = async || {
        let answer = client.get(format!("{url}/metrics")).send().await.ok()?;
        answer.text().await.ok()
    };
    until("both services are up", async || {
        let text = metrics().await.unwrap_or_default();
        text.lines().filter(|line| line.starts_with("llmo_backend_up{") && line.ends_with(" 1")).count() == 2
    })
    .await;
    let undisturbed = stream(&client, &url, 7, |_| {}).await;
    assert_eq!(undisturbed.0.len(), TOKENS);
    assert_ne!(undisturbed, stream(&client, &url, 8, |_| {}).await, "the seed decides");
    let mut killed = 0;
    let continued = stream(&client, &url, 7, |replica| {
        let dying = services.iter_mut().find(|service| service.address == replica).expect("one of ours");
        dying.kill();
        killed += 1;
    })
    .await;
    assert_eq!((killed, continued), (1, undisturbed));
    // On a machine that is very busy others may have been continued too.
    let text = metrics().await.unwrap_or_default();
    assert!(text.contains("llmo_stream_continuations_total{outcome=\"continued\"}"), "{text}");
}
