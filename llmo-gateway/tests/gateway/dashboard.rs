//! What the dashboard says, over real sockets.

use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use llmo_config::Config;
use llmo_core::model::{Load, ModelInfo};
use llmo_gateway::{Gateway, dashboard};
use llmo_server::http::{ServeOptions, serve};
use llmo_server::metrics::{Metrics, Role};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A name that would run a script if a page took it for markup.
const EVIL: &str = "<img src=x onerror=alert(1)>";

async fn start(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(serve(listener, app, ServeOptions::default(), CancellationToken::new()));
    url
}

fn upstream(model: &str) -> Router {
    let mut info = ModelInfo::new(model, "sim");
    info.capabilities.generate = true;
    let status = json!({"ready": true, "models": [{"info": info, "load": Load::idle(4)}]});
    Router::new().route("/internal/status", get(move || async move { Json(status) }))
}

struct Dashboard {
    url: String,
    _checks: tokio::task::JoinSet<()>,
}

impl Dashboard {
    async fn over(upstreams: Vec<String>) -> Self {
        let mut config = Config::default();
        config.gateway.upstreams = upstreams;
        let gateway = Gateway::with_cache(&config, None).expect("good URLs");
        let checks = gateway.start_checks().expect("a client");
        gateway.first_checks(Duration::from_secs(5)).await;
        let metrics = Metrics::new(Role::Gateway);
        gateway.register(&metrics);
        let router = dashboard::router(gateway.sources().clone(), metrics);
        Self { url: start(router).await, _checks: checks }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(format!("{}{path}", self.url)).await.expect("an answer")
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("JSON")
    }
}

fn nobody() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", free.local_addr().expect("bound"))
}

#[tokio::test]
async fn replicas_are_shown_with_health_and_reasons() {
    let dashboard = Dashboard::over(vec![start(upstream(EVIL)).await, nobody()]).await;
    let overview = dashboard.json("/api/overview").await;
    assert_eq!((&overview["ready"], &overview["replicas"]), (&json!(true), &json!({"total": 2, "usable": 1})));
    assert_eq!((&overview["models"][0]["id"], &overview["models"][0]["slots"]), (&json!(EVIL), &json!(4)));
    let replicas = dashboard.json("/api/replicas").await;
    assert_eq!((&replicas[0]["phase"], &replicas[1]["phase"]), (&json!("up"), &json!("down")));
    assert!(replicas[1]["reasons"][0].as_str().is_some_and(|why| why.contains("refused")), "{replicas}");
    assert_eq!(dashboard.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn without_replicas_it_is_alive_and_not_ready_and_says_why() {
    let dashboard = Dashboard::over(vec![nobody()]).await;
    assert_eq!(dashboard.get("/livez").await.status(), 200);
    let answer = dashboard.get("/readyz").await;
    assert_eq!(answer.status(), 503);
    let body: Value = answer.json().await.expect("JSON");
    assert!(body["reasons"][0].as_str().is_some_and(|why| why.contains("down")), "{body}");
    assert_eq!(dashboard.json("/api/overview").await["ready"], json!(false));
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_runs_nothing_but_its_own_script() {
    let dashboard = Dashboard::over(vec![nobody()]).await;
    let page = dashboard.get("/").await;
    let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text().await.expect("text");
    for (asset, kind) in [("dashboard.css", "text/css"), ("dashboard.js", "text/javascript")] {
        assert!(text.contains(asset));
        let answer = dashboard.get(&format!("/{asset}")).await;
        assert!(answer.headers()["content-type"].to_str().expect("text").starts_with(kind));
        let body = answer.text().await.expect("text");
        for forbidden in ["http://", "https://", "innerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!body.contains(forbidden) && !text.contains(forbidden), "{asset}: {forbidden}");
        }
    }
    assert!(!text.contains("onclick") && !text.contains("<style") && !text.contains("<script>"));
}

#[tokio::test]
async fn the_dashboard_only_reads() {
    let dashboard = Dashboard::over(vec![nobody()]).await;
    let client = reqwest::Client::new();
    for path in ["/", "/api/overview", "/api/replicas", "/metrics"] {
        let answer = client.post(format!("{}{path}", dashboard.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 405, "{path}");
    }
    assert_eq!(dashboard.get("/../etc/passwd").await.status(), 404);
}

#[tokio::test]
async fn metrics_tell_which_replicas_are_up() {
    let (up, down) = (start(upstream("m")).await, nobody());
    let text = Dashboard::over(vec![up.clone(), down.clone()]).await.get("/metrics").await.text().await.expect("text");
    for (url, value) in [(up, 1), (down, 0)] {
        let line = format!("llmo_backend_up{{replica=\"{}\"}} {value}", &url["http://".len()..]);
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
}
