//! Upstreams that are no llmo service: they want a key, and refuse what OpenAI does not have.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use llmo_config::{Config, UpstreamConfig};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::site::Site;

/// What OpenAI's completions know, as far as it is used here.
const KNOWN: [&str; 8] =
    ["model", "prompt", "stream", "stream_options", "max_tokens", "temperature", "top_p", "parallel_tool_calls"];

/// A server that serves only who shows these credentials, and remembers what it was asked.
#[derive(Clone)]
struct Foreign {
    credentials: &'static str,
    strict: bool,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Foreign {
    fn new(credentials: &'static str) -> Self {
        Self { credentials, strict: true, asked: Arc::default() }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let app = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/completions", post(complete))
            .fallback(unknown)
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        headers.get("authorization").is_some_and(|value| value == self.credentials)
    }
}

async fn unknown(State(foreign): State<Foreign>, headers: HeaderMap) -> StatusCode {
    if foreign.lets_in(&headers) { StatusCode::NOT_FOUND } else { StatusCode::UNAUTHORIZED }
}

async fn models(State(foreign): State<Foreign>, headers: HeaderMap) -> Response {
    if !foreign.lets_in(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({"object": "list", "data": [{"id": "gpt", "object": "model", "owned_by": "somebody"}]})).into_response()
}

async fn complete(State(foreign): State<Foreign>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let ours = headers.keys().find(|name| name.as_str().starts_with("x-llmo-"));
    let odd = body.as_object().and_then(|body| body.keys().find(|key| !KNOWN.contains(&key.as_str())).cloned());
    if !foreign.lets_in(&headers) || (foreign.strict && (ours.is_some() || odd.is_some())) {
        let message = format!("no: {ours:?} {odd:?}");
        return (StatusCode::BAD_REQUEST, Json(json!({"error": {"message": message}}))).into_response();
    }
    foreign.asked.lock().push(body);
    let choice = json!({"index": 0, "text": "hello", "finish_reason": "stop"});
    Json(json!({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})).into_response()
}

async fn site(change: impl FnOnce(&mut Config)) -> Site {
    let site = Site::unready(change).await;
    site.until_ready().await;
    site
}

async fn ask(site: &Site, more: Value) -> (u16, Value) {
    let mut body = json!({"model": "gpt", "prompt": "hi", "max_tokens": 5, "temperature": 0.5});
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    let request = site.client.post(format!("{}/v1/completions", site.url)).header("x-llmo-tenant", "team").json(&body);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_gets_its_key_and_nothing_that_openai_does_not_have() {
    let foreign = Foreign::new("Bearer sk-1");
    let address = foreign.start().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "sk-1\n").expect("written");
    let site = site(|config| {
        let mut upstream = UpstreamConfig::new(format!("http://{address}/v1"));
        upstream.api_key_file = file.path().to_owned();
        config.upstreams = vec![upstream];
    })
    .await;
    let (status, answer) = ask(&site, json!({})).await;
    assert_eq!((status, &answer["choices"][0]["text"]), (200, &json!("hello")), "{answer}");
    let (status, answer) = ask(&site, json!({"top_k": 5})).await;
    assert_eq!(status, 400);
    assert!(answer["error"]["message"].as_str().expect("text").contains("top_k"), "{answer}");
    assert_eq!(foreign.asked.lock().len(), 1, "what it does not know never gets there");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_said_to_take_more_gets_more() {
    let foreign = Foreign { strict: false, ..Foreign::new("Bearer sk-2") };
    let address = foreign.start().await;
    let site = site(|config| {
        let mut upstream = UpstreamConfig::new(format!("http://{address}"));
        upstream.api_key = "sk-2".to_owned().into();
        upstream.extensions = Some(true);
        config.upstreams = vec![upstream];
    })
    .await;
    assert_eq!(ask(&site, json!({"top_k": 5})).await.0, 200);
    assert_eq!(foreign.asked.lock()[0]["top_k"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_plain_urls_and_the_login_in_a_url_are_sent() {
    let foreign = Foreign::new("Bearer sk-3");
    let address = foreign.start().await;
    let keyed = site(|config| {
        config.gateway.upstreams = vec![format!("http://{address}")];
        config.gateway.upstream_api_key = "sk-3".to_owned().into();
    })
    .await;
    assert_eq!(ask(&keyed, json!({})).await.0, 200);

    // user:p@ss
    let foreign = Foreign::new("Basic dXNlcjpwQHNz");
    let address = foreign.start().await;
    let with_login = site(|config| config.gateway.upstreams = vec![format!("http://user:p%40ss@{address}")]).await;
    let (status, answer) = ask(&with_login, json!({})).await;
    assert_eq!(status, 200, "{answer}");
}
