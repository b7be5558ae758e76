//! Answers that are not streams: embeddings and tokens.

use llmo_core::model::{EmbedRequest, Model, ModelError, TokenizeOptions};

use super::upstream::{Upstream, whole};

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn embeddings_keep_the_order_of_their_inputs() {
    let body = r#"{"data":[{"index":1,"embedding":[0,1]},{"index":0,"embedding":[1,0]}],"usage":{"prompt_tokens":4}}"#;
    let mut upstream = Upstream::start([whole("200 OK", JSON, body)]).await;
    let mut request = EmbedRequest::new(["a", "b"]);
    request.dimensions = Some(2);
    request.truncate = true;
    let embeddings = upstream.model(|_| {}).embed(request).await.unwrap();
    assert_eq!(embeddings.vectors, [vec![1.0, 0.0], vec![0.0, 1.0]]);
    let seen = upstream.request().await;
    assert_eq!(seen.path, "/v1/embeddings");
    let sent = serde_json::json!({
        "model": "test-model", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2, "truncate": true,
    });
    assert_eq!(seen.body, sent);
}

#[tokio::test]
async fn tokens_go_to_the_root_of_the_service() {
    let mut upstream = Upstream::start([whole("200 OK", JSON, r#"{"tokens":[1,2],"content":"ab"}"#)]).await;
    let model = super::upstream::model_at(&format!("{}/v1", upstream.url), |_| {});
    assert_eq!(model.tokenize("ab", TokenizeOptions::with_special()).await.unwrap(), [1, 2]);
    let seen = upstream.request().await;
    assert_eq!((seen.path.as_str(), &seen.body["add_special"]), ("/tokenize", &true.into()));
    assert_eq!(model.detokenize(&[1, 2]).await.unwrap(), "ab");
    assert_eq!(upstream.request().await.path, "/detokenize");
}

#[tokio::test]
async fn an_answer_too_large_is_refused() {
    let body = format!("{{\"tokens\":[{}1]}}", "1,".repeat(1000));
    let upstream = Upstream::start([whole("200 OK", JSON, &body)]).await;
    let error =
        upstream.model(|o| o.max_body_bytes = 1000).tokenize("x", TokenizeOptions::default()).await.unwrap_err();
    assert!(matches!(error, ModelError::Upstream { started: false, .. }), "{error}");
}

#[tokio::test]
async fn what_the_upstream_can_not_do_is_not_asked_of_it() {
    let upstream = Upstream::start([]).await;
    let info = llmo_core::ModelInfo::new("m", "remote");
    let model = llmo_backends::remote::RemoteModel::new(info, &upstream.url, Default::default()).unwrap();
    assert!(matches!(model.embed(EmbedRequest::new(["a"])).await, Err(ModelError::Unsupported { .. })));
    assert!(matches!(model.tokenize("a", TokenizeOptions::default()).await, Err(ModelError::Unsupported { .. })));
    assert_eq!(upstream.connections(), 0);
}
