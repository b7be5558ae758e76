//! Health checks against upstreams of every kind.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use llmo_config::GatewayConfig;
use llmo_gateway::health::{HttpProbe, Probe};
use llmo_gateway::replica::{ProbeOutcome, Replica};
use llmo_gateway::upstream::health_client;
use tokio::net::TcpListener;

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, url)
}

async fn start(app: Router) -> String {
    let (listener, url) = listener().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn check(url: &str) -> ProbeOutcome {
    let client = health_client(&GatewayConfig::default()).expect("a client");
    let probe = HttpProbe::new(client, Duration::from_millis(300));
    probe.check(&Replica::new(url, Instant::now())).await
}

fn plain_list() -> Router {
    Router::new().route("/v1/models", get(|| async { r#"{"object":"list","data":[{"id":"plain"}]}"# }))
}

#[tokio::test]
async fn an_upstream_without_a_status_page_is_asked_for_its_models() {
    let outcome = check(&start(plain_list()).await).await;
    assert!(matches!(&outcome, ProbeOutcome::Ready(models) if models[0].info.id == "plain"), "{outcome:?}");
}

#[tokio::test]
async fn an_upstream_that_wants_a_key_for_unknown_paths_is_asked_for_its_models_too() {
    let app = plain_list().fallback(|| async { StatusCode::UNAUTHORIZED });
    assert!(matches!(check(&start(app).await).await, ProbeOutcome::Ready(_)));
}

#[tokio::test]
async fn nobody_there_is_gone() {
    let (listener, url) = listener().await;
    drop(listener);
    assert!(matches!(check(&url).await, ProbeOutcome::Unreachable { gone: true, .. }));
}

#[tokio::test]
async fn who_hangs_up_without_an_answer_is_gone() {
    let (listener, url) = listener().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    assert!(matches!(check(&url).await, ProbeOutcome::Unreachable { gone: true, .. }));
}

#[tokio::test]
async fn who_does_not_answer_is_late_and_costs_no_more_than_the_timeout() {
    let (listener, url) = listener().await;
    let begun = Instant::now();
    assert!(matches!(check(&url).await, ProbeOutcome::Unreachable { gone: false, .. }));
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(listener);
}

#[tokio::test]
async fn trouble_and_nonsense_are_told_with_their_reason() {
    for (answer, reason) in [
        ((StatusCode::INTERNAL_SERVER_ERROR, String::new()), "500"),
        ((StatusCode::OK, "<html>".to_owned()), "odd status"),
        ((StatusCode::OK, "x".repeat(2 << 20)), "more than"),
        ((StatusCode::FOUND, String::new()), "302"),
    ] {
        let url = start(Router::new().route("/internal/status", get(|| async { answer }))).await;
        let outcome = check(&url).await;
        assert!(
            matches!(&outcome, ProbeOutcome::Unreachable { gone: false, reason: why } if why.contains(reason)),
            "{reason}: {outcome:?}"
        );
    }
}
