//! Spans at a collector: a small one that takes OTLP over HTTP.
#![cfg(feature = "otlp")]
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use llmo_server::http::ServeOptions;
use llmo_server::telemetry::otlp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use parking_lot::Mutex;
use prost::Message;
use serde_json::json;
use support::sim::Sim;
use support::{Server, eventually};

type Taken = Arc<Mutex<Vec<ResourceSpans>>>;

async fn take(State(taken): State<Taken>, body: Bytes) -> Bytes {
    taken.lock().extend(ExportTraceServiceRequest::decode(body).unwrap().resource_spans);
    Bytes::new()
}

fn spans(taken: &Taken) -> Vec<Span> {
    let taken = taken.lock();
    taken.iter().flat_map(|of| of.scope_spans.iter().flat_map(|of| of.spans.clone())).collect()
}

fn attributes(span: &Span) -> HashMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter().cloned();
    pairs.filter_map(|pair| Some((pair.key, text(pair.value?.value?)))).collect()
}

/// One test, since a process has one exporter.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_under_its_callers_and_its_texts_are_not_in_it() {
    let taken = Taken::default();
    let collector = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&taken));
    let collector = Server::start(collector, ServeOptions::default()).await;
    otlp::start(&collector.url(""), 0.0, "model-service").unwrap();

    let sim = Sim::start().await;
    let ask = async |stream: bool, parent: Option<&str>| {
        let body = json!({"model": "sim", "messages": [{"role": "user", "content": "swordfish"}], "max_tokens": 3, "stream": stream});
        let mut request = sim.client.post(sim.server.url("/v1/chat/completions")).json(&body);
        if let Some(parent) = parent {
            request = request.header("traceparent", parent).header("x-request-id", "r-1");
        }
        request.send().await.unwrap().text().await.unwrap();
    };
    // Not recorded: the ratio of traces begun here is 0, and this caller does not record either.
    ask(false, None).await;
    ask(false, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")).await;
    for stream in [false, true] {
        ask(stream, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")).await;
    }
    eventually("both spans", || spans(&taken).len() == 2).await;

    for span in spans(&taken) {
        assert_eq!(span.name, "chat sim");
        assert_eq!(hex::encode(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(hex::encode(&span.parent_span_id), "00f067aa0ba902b7");
        assert!(span.end_time_unix_nano > span.start_time_unix_nano);
        let attributes = attributes(&span);
        for (name, value) in [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "llmo"),
            ("gen_ai.response.model", "sim"),
            ("gen_ai.usage.output_tokens", "3"),
            ("http.response.status_code", "200"),
            ("url.path", "/v1/chat/completions"),
            ("http.request.header.x-request-id", "r-1"),
        ] {
            assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name}: {attributes:?}");
        }
        assert!(!format!("{span:?}").contains("swordfish"));
    }
    let resource = taken.lock()[0].resource.clone().unwrap();
    assert!(format!("{resource:?}").contains("model-service"));
    assert_eq!(otlp::dropped_spans(), 0);
}
