//! Anthropic's dialect over real sockets, against a simulated model.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use llmo_backends::sim::Fault;
use llmo_core::ModelError;
use serde_json::{Value, json};
use support::scripted;
use support::sim::Sim;

fn hello(extra: Value) -> Value {
    let mut body = json!({"model": "sim", "max_tokens": 3, "messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The data of all events; the name of each must be its type.
fn events(text: &str) -> Vec<Value> {
    let event = |event: &str| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        data
    };
    text.split("\n\n").filter(|event| !event.is_empty()).map(event).collect()
}

async fn stream(sim: &Sim, body: Value) -> Vec<Value> {
    let response = sim.post("/v1/messages", body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    events(&response.text().await.unwrap())
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_message_is_answered() {
    let sim = Sim::start().await;
    let answer = sim.ask("/v1/messages", hello(json!({"system": "Be brief.", "temperature": 0}))).await;
    assert_eq!(answer["type"], "message");
    assert_eq!(answer["content"], json!([{"type": "text", "text": "t0 t1 t2 "}]));
    assert_eq!(answer["stop_reason"], "max_tokens");
    assert_eq!(answer["usage"]["output_tokens"], 3);
    assert!(answer["usage"]["input_tokens"].as_u64().unwrap() > 0);
    let answer = sim.ask("/v1/messages", hello(json!({"max_tokens": 40, "stop_sequences": ["2"]}))).await;
    assert_eq!(answer["content"][0]["text"], "t0 t1 t");
    assert_eq!((answer["stop_reason"].as_str(), answer["stop_sequence"].as_str()), (Some("stop_sequence"), Some("2")));
    let answer = sim.ask("/v1/messages", hello(json!({"max_tokens": 1000}))).await;
    assert_eq!(answer["stop_reason"], "end_turn");
}

#[tokio::test]
async fn a_stream_has_the_same_text_as_the_whole_answer() {
    let sim = Sim::start().await;
    let whole = sim.ask("/v1/messages", hello(json!({"max_tokens": 20}))).await;
    let events = stream(&sim, hello(json!({"max_tokens": 20, "stream": true}))).await;
    assert_eq!(kinds(&events)[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(kinds(&events)[events.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(whole["content"][0]["text"], text);
    let last = &events[events.len() - 2];
    assert_eq!(last["delta"]["stop_reason"], whole["stop_reason"]);
    assert_eq!(last["usage"], whole["usage"]);
}

#[tokio::test]
async fn calls_of_functions_are_blocks_of_their_own() {
    let sim = scripted::calls().await;
    let whole = sim.ask("/v1/messages", hello(json!({}))).await;
    assert_eq!(whole["content"][0], json!({"type": "text", "text": "Let me see."}));
    assert_eq!(whole["content"][1]["input"], json!({"city": "Paris"}));
    assert_eq!(whole["content"][2]["name"], "get_time");
    assert_eq!(whole["stop_reason"], "tool_use");
    let events = stream(&sim, hello(json!({"stream": true}))).await;
    let starts: Vec<_> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!(starts.iter().map(|start| start["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let arguments: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(arguments, "{\"city\":\"Paris\"}{}");
}

#[tokio::test]
async fn tokens_are_counted_without_generating() {
    let sim = Sim::start().await;
    let count =
        |text: &str| sim.ask("/v1/messages/count_tokens", json!({"messages": [{"role": "user", "content": text}]}));
    let (short, long) = (count("hello").await, count("hello hello").await);
    assert!(short["input_tokens"].as_u64().unwrap() >= 5);
    assert_eq!(long["input_tokens"].as_u64().unwrap(), short["input_tokens"].as_u64().unwrap() + 6);
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_an_error_and_never_looks_complete() {
    let sim = Sim::start().await;
    sim.model.faults().next(1, Fault::error_after(3));
    let events = stream(&sim, hello(json!({"max_tokens": 20, "stream": true}))).await;
    let last = events.last().unwrap();
    assert_eq!(last["error"]["type"], "api_error", "{last}");
    assert!(!kinds(&events).contains(&"message_stop") && !kinds(&events).contains(&"message_delta"));
}

#[tokio::test]
async fn refusals_have_the_dialects_form_and_say_when_to_try_again() {
    let sim = Sim::start().await;
    for (error, status, kind) in [
        (ModelError::unavailable("loading"), 503, "overloaded_error"),
        (
            ModelError::Overloaded { reason: "full".into(), retry_after: std::time::Duration::from_secs(2) },
            429,
            "rate_limit_error",
        ),
    ] {
        sim.model.faults().next(1, Fault::Refuse(error));
        let response = sim.post("/v1/messages", hello(json!({}))).await;
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("retry-after"));
        let body: Value = response.json().await.unwrap();
        assert_eq!((body["type"].as_str(), body["error"]["type"].as_str()), (Some("error"), Some(kind)));
    }
    let response = sim.post("/v1/messages", hello(json!({"model": "nope"}))).await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["type"], "not_found_error");
}

#[tokio::test]
async fn models_are_listed_in_the_callers_form() {
    let sim = Sim::start().await;
    for path in ["/v1/models", "/v1/models/sim"] {
        let request =
            sim.client.get(sim.server.url(path)).header("anthropic-version", "2023-06-01").header("x-api-key", "k");
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let model = if path == "/v1/models" { &body["data"][0] } else { &body };
        assert_eq!((model["type"].as_str(), model["id"].as_str()), (Some("model"), Some("sim")));
    }
}
