//! Refusals: what an upstream answers instead of a stream.

use llmo_core::model::{GenerateRequest, Model, ModelError};

use super::upstream::{Upstream, whole};

async fn refused(status: &str, headers: &str, body: &str) -> ModelError {
    let upstream = Upstream::start([whole(status, headers, body)]).await;
    let error = upstream.model(|_| {}).generate(GenerateRequest::ask("hello")).await.unwrap_err();
    assert_eq!(upstream.connections(), 1, "nothing is retried here");
    error
}

#[tokio::test]
async fn an_overloaded_service_says_when_to_come_back() {
    let body = r#"{"error":{"message":"overloaded: the queue is full; try again in 3 s","code":"overloaded"}}"#;
    let error = refused("429 Too Many Requests", "retry-after: 3\r\n", body).await;
    assert_eq!(error.to_string(), "overloaded: the queue is full; try again in 3 s");
    assert!(matches!(error, ModelError::Overloaded { retry_after, .. } if retry_after.as_secs() == 3));
}

#[tokio::test]
async fn a_wrong_parameter_is_the_callers_and_not_retryable() {
    let body = r#"{"error":{"message":"top_p: must be above 0","param":"top_p","code":"invalid_request"}}"#;
    let error = refused("400 Bad Request", "", body).await;
    assert_eq!(error.to_string(), "top_p: must be above 0");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_proxy_page_is_an_upstream_failure() {
    let error = refused("502 Bad Gateway", "content-type: text/html\r\n", "<html>nginx</html>").await;
    assert!(matches!(error, ModelError::Upstream { started: false, .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let error = refused("307 Temporary Redirect", "location: http://127.0.0.1:9/\r\n", "").await;
    assert!(matches!(error, ModelError::Upstream { started: false, .. }), "{error}");
}

#[tokio::test]
async fn an_invalid_request_is_never_sent() {
    let mut upstream = Upstream::start([]).await;
    let model = upstream.model(|_| {});
    let mut bad = GenerateRequest::ask("hello");
    bad.sampling.temperature = f32::NAN;
    assert!(matches!(model.generate(bad).await, Err(ModelError::InvalidRequest { .. })));
    assert!(upstream.requests.try_recv().is_err());
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_caller_is_named_to_the_upstream() {
    let mut upstream = Upstream::start([whole("503 Service Unavailable", "", "")]).await;
    let model = upstream.model(|o| {
        o.api_key = Some("sk-1".into());
        o.upstream_model = Some("other-name".into());
    });
    let mut request = GenerateRequest::ask("hello");
    request.request_id = Some("req-7".into());
    request.tenant = Some("acme".into());
    request.cache = llmo_core::model::CacheUse::Off;
    assert!(model.generate(request).await.is_err());
    let seen = upstream.request().await;
    assert_eq!(seen.path, "/v1/chat/completions");
    assert_eq!(seen.body["model"], "other-name");
    for line in ["authorization: bearer sk-1", "x-request-id: req-7", "x-llmo-tenant: acme", "cache-control: no-store"]
    {
        assert!(seen.head.contains(line), "{line:?} is missing in {}", seen.head);
    }
}
