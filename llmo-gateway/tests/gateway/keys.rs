//! API keys, from outside: what callers see, and what replicas do not.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use llmo_backends::sim::SimOptions;
use llmo_core::Model;
use llmo_gateway::keys::fresh;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::site::Site;

const KEY: &str = "sk-test-full";
const LIMITED: &str = "sk-test-limited";
const EXPIRED: &str = "sk-test-expired";

struct Locked {
    site: Site,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Locked {
    /// A gateway over the model `hidden` and the name `other` for it, with a key for everything, one for `other`, and one that
    /// has expired.
    async fn new() -> Self {
        Self::with(SimOptions::named("hidden")).await
    }

    async fn with(sim: SimOptions) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("keys.toml");
        let mut full = fresh::entry("full", KEY);
        full.tenant = Some("team-a".into());
        let mut limited = fresh::entry("limited", LIMITED);
        limited.models = Some(vec!["other".into()]);
        let mut expired = fresh::entry("expired", EXPIRED);
        expired.expires = Some("2020-01-01".parse().expect("a day"));
        for entry in [full, limited, expired] {
            fresh::add(&file, &entry).expect("good");
        }
        let path = file.clone();
        let site = Site::with(1, sim, None, |config| {
            config.gateway.keys_file = path;
            config.discovery.file_interval_ms = 20;
            let route = "name = \"r\"\nmodel = \"other\"\nto = \"hidden\"";
            config.routes = vec![toml::from_str(route).expect("a route")];
        })
        .await;
        Self { site, file, _dir: dir }
    }

    fn ask(&self, path: &str, body: &Value) -> RequestBuilder {
        self.site.client.post(format!("{}{path}", self.site.url)).json(body)
    }

    fn complete(&self, model: &str) -> RequestBuilder {
        self.ask("/v1/completions", &json!({"model": model, "prompt": "hello", "max_tokens": 2}))
    }

    async fn until_answered_with(&self, status: u16, request: RequestBuilder) {
        let begun = Instant::now();
        loop {
            let now = sent(request.try_clone().expect("plain")).await.status().as_u16();
            if now == status {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{now} after twenty seconds, not {status}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

async fn body(request: RequestBuilder) -> (u16, Value) {
    let answer = sent(request).await;
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// A good question in each dialect, and where its refusal says of which kind it is.
fn dialects() -> [(&'static str, Value, &'static str, Option<&'static str>); 6] {
    let messages = json!([{"role": "user", "content": "hello"}]);
    [
        (
            "/v1/chat/completions",
            json!({"messages": messages, "max_tokens": 2}),
            "/error/code",
            Some("invalid_api_key"),
        ),
        ("/v1/embeddings", json!({"input": "hello"}), "/error/type", Some("invalid_request_error")),
        ("/v1/messages", json!({"messages": messages, "max_tokens": 2}), "/error/type", Some("authentication_error")),
        ("/v1/messages/count_tokens", json!({"messages": messages}), "/error/type", Some("authentication_error")),
        ("/api/chat", json!({"messages": messages, "stream": false}), "/code", Some("invalid_api_key")),
        ("/api/generate", json!({"prompt": "hello", "max_length": 2}), "/error", None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_that_holds_every_dialect_refuses_and_says_the_same_for_every_reason() {
    let locked = Locked::new().await;
    for (path, question, place, expected) in dialects() {
        let ask = || locked.ask(path, &question);
        let mut refusals = Vec::new();
        for request in [
            ask(),
            ask().bearer_auth("sk-nobody"),
            ask().bearer_auth(EXPIRED),
            ask().header("x-api-key", "sk-nobody"),
            ask().header("authorization", "Basic c2s6c2s="),
            ask().header("authorization", "Bearer"),
            ask().bearer_auth(&KEY[..KEY.len() - 1]),
        ] {
            let answer = sent(request).await;
            assert_eq!(answer.status(), 401, "{path}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{path}");
            assert!(answer.headers().contains_key("x-request-id"), "{path}");
            refusals.push(answer.text().await.expect("text"));
        }
        assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{path}: {refusals:#?}");
        let refusal: Value = serde_json::from_str(&refusals[0]).expect("JSON");
        let said = refusal.pointer(place).and_then(Value::as_str);
        assert!(said.is_some() && (expected.is_none() || said == expected), "{path}: {refusal}");
    }
    assert_eq!(locked.site.services[0].sim.load().decode_tokens, 0, "no replica has worked");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_every_dialect_answers_by_either_header() {
    let locked = Locked::new().await;
    for (path, question, ..) in dialects().into_iter().filter(|(path, ..)| *path != "/v1/embeddings") {
        for request in
            [locked.ask(path, &question).bearer_auth(KEY), locked.ask(path, &question).header("x-api-key", KEY)]
        {
            let (status, answer) = body(request).await;
            assert_eq!(status, 200, "{path}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_monitoring_and_people_look_at_is_open() {
    let locked = Locked::new().await;
    for path in ["/livez", "/readyz", "/health", "/metrics", "/docs"] {
        assert_eq!(locked.site.get(path).await.expect("an answer").status(), 200, "{path}");
    }
    for path in ["/v1/models", "/api/tags", "/api/ps", "/api/health", "/internal/status", "/nothing", "/admin/reload"] {
        assert_eq!(locked.site.get(path).await.expect("an answer").status(), 401, "{path}");
    }
    // A key of a user opens nothing that is for whoever runs the gateway.
    for path in ["/admin/reload", "/admin/models/load", "/api/overview"] {
        let (status, answer) = body(locked.ask(path, &json!({})).bearer_auth(KEY)).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_a_key_may_not_use_does_not_exist_for_it() {
    let locked = Locked::new().await;
    assert_eq!(body(locked.complete("other").bearer_auth(LIMITED)).await.0, 200);
    let (status, forbidden) = body(locked.complete("hidden").bearer_auth(LIMITED)).await;
    let (_, unknown) = body(locked.complete("bidden").bearer_auth(LIMITED)).await;
    let named = |answer: &Value, name: &str| answer.to_string().replace(name, "NAME");
    assert_eq!((status, named(&forbidden, "hidden")), (404, named(&unknown, "bidden")));
    for (path, list) in [("/v1/models", "/data"), ("/api/tags", "/models"), ("/internal/status", "/models")] {
        let request = locked.site.client.get(format!("{}{path}", locked.site.url)).bearer_auth(LIMITED);
        let (status, answer) = body(request).await;
        let models = answer.pointer(list).and_then(Value::as_array).map(Vec::len);
        assert!(status == 200 && !answer.to_string().contains("\"hidden\""), "{path}: {answer}");
        assert_eq!(models, Some(1), "{path}: {answer}");
    }
    for (path, question) in [
        ("/api/show", json!({"model": "hidden"})),
        ("/api/pull", json!({"model": "hidden"})),
        ("/tokenize", json!({"model": "hidden", "content": "a"})),
        ("/v1/completions", json!({"prompt": "hello"})),
    ] {
        let (status, answer) = body(locked.ask(path, &question).bearer_auth(LIMITED)).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_says_the_tenant_and_the_header_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys.toml");
    let mut entry = fresh::entry("a", KEY);
    entry.tenant = Some("team-a".into());
    fresh::add(&file, &entry).expect("good");
    fresh::add(&file, &fresh::entry("b", LIMITED)).expect("good");
    let site = Site::with(1, SimOptions::named("hidden"), None, |config| {
        config.gateway.keys_file.clone_from(&file);
        config.gateway.tenant_tokens_per_minute = 100;
        let route = "name = \"theirs\"\ntenant = \"team-a\"\nmodel = \"theirs\"\nto = \"hidden\"";
        config.routes = vec![toml::from_str(route).expect("a route")];
    })
    .await;
    // Whoever could choose a tenant could choose a new one for each request.
    let ask = |key: &str, tenant: &str| {
        let body = json!({"model": "hidden", "prompt": "hello", "max_tokens": 60});
        let request = site.client.post(format!("{}/v1/completions", site.url)).json(&body);
        request.bearer_auth(key).header("x-llmo-tenant", tenant)
    };
    assert_eq!(sent(ask(KEY, "one")).await.status(), 200);
    assert_eq!(sent(ask(KEY, "two")).await.status(), 429);
    assert_eq!(sent(ask(LIMITED, "team-a")).await.status(), 200);
    // Rules look at the same tenant.
    for (key, status) in [(KEY, 429), (LIMITED, 404)] {
        let body = json!({"model": "theirs", "prompt": "hello", "max_tokens": 60});
        let request = site.client.post(format!("{}/v1/completions", site.url)).json(&body).bearer_auth(key);
        assert_eq!(sent(request.header("x-llmo-tenant", "team-a")).await.status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_hold_without_a_restart_and_a_bad_file_changes_nothing() {
    let locked = Locked::new().await;
    fresh::add(&locked.file, &fresh::entry("new", "sk-new")).expect("good");
    locked.until_answered_with(200, locked.complete("hidden").bearer_auth("sk-new")).await;
    let good = std::fs::read_to_string(&locked.file).expect("there");
    std::fs::write(&locked.file, "[[keys]]\nname = \"x\"\nsha256 = \"short\"\n").expect("a file");
    let begun = Instant::now();
    let providers = || locked.site.client.get(format!("{}/api/providers", locked.site.dashboard));
    while !body(providers()).await.1.to_string().contains("64 hexadecimal") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the refusal is told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let metrics = sent(locked.site.client.get(format!("{}/metrics", locked.site.dashboard))).await;
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("llmo_config_last_reload_successful{provider=\"keys\"} 0"), "{metrics}");
    assert!(!metrics.contains("sk-"), "no key is in the metrics");
    assert_eq!(sent(locked.complete("hidden").bearer_auth(KEY)).await.status(), 200);
    // Everybody but the first is out.
    let first = good.split("\n\n").next().expect("an entry");
    std::fs::write(&locked.file, first).expect("a file");
    locked.until_answered_with(401, locked.complete("hidden").bearer_auth("sk-new")).await;
    assert_eq!(sent(locked.complete("hidden").bearer_auth(KEY)).await.status(), 200);
}
