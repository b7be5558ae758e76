//! OpenAI's responses over real sockets, against a simulated model.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use llmo_backends::sim::Fault;
use serde_json::{Value, json};
use support::scripted;
use support::sim::Sim;

const PATH: &str = "/v1/responses";

fn hello(extra: Value) -> Value {
    let mut body = json!({"model": "sim", "input": "hello", "max_output_tokens": 3});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The data of all events; each has its type as its name, and its number.
async fn stream(sim: &Sim, body: Value) -> Vec<Value> {
    let response = sim.post(PATH, body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let event = |(i, event): (usize, &str)| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        assert_eq!(data["sequence_number"], i);
        data
    };
    text.split("\n\n").filter(|event| !event.is_empty()).enumerate().map(event).collect()
}

#[tokio::test]
async fn a_response_is_made_of_items() {
    let sim = Sim::start().await;
    let answer = sim.ask(PATH, hello(json!({"instructions": "Be brief.", "metadata": {"a": "b"}}))).await;
    assert_eq!(answer["object"], "response");
    assert_eq!(answer["output"][0]["content"][0]["text"], "t0 t1 t2 ");
    assert_eq!((answer["status"].as_str(), answer["store"].as_bool()), (Some("incomplete"), Some(false)));
    assert_eq!(answer["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(answer["usage"]["output_tokens"], 3);
    assert_eq!(answer["metadata"], json!({"a": "b"}));
    let answer = sim.ask(PATH, json!({"input": [{"role": "user", "content": "hello"}]})).await;
    assert_eq!(answer["status"], "completed");
}

#[tokio::test]
async fn a_stream_ends_with_the_response_that_would_have_come_whole() {
    for sim in [Sim::start().await, scripted::calls().await] {
        let whole = sim.ask(PATH, hello(json!({"temperature": 0}))).await;
        let events = stream(&sim, hello(json!({"temperature": 0, "stream": true}))).await;
        assert_eq!(events[0]["type"], "response.created");
        assert_eq!(events[1]["type"], "response.in_progress");
        let last = &events.last().unwrap()["response"];
        assert_eq!(events.last().unwrap()["type"], format!("response.{}", whole["status"].as_str().unwrap()));
        let contents = |response: &Value| {
            let items = response["output"].as_array().unwrap().clone();
            items.iter().map(|item| json!([item["content"], item["arguments"], item["name"]])).collect::<Value>()
        };
        assert_eq!(contents(last), contents(&whole));
        assert_eq!(last["usage"], whole["usage"]);
        let text: String = events
            .iter()
            .filter(|event| event["type"] == "response.output_text.delta")
            .filter_map(|event| event["delta"].as_str())
            .collect();
        assert_eq!(whole["output"][0]["content"][0]["text"], text);
    }
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_an_error_and_never_looks_complete() {
    let sim = Sim::start().await;
    sim.model.faults().next(1, Fault::error_after(2));
    let events = stream(&sim, hello(json!({"stream": true}))).await;
    let last = events.last().unwrap();
    assert_eq!((last["type"].as_str(), last["code"].as_str()), (Some("error"), Some("upstream_failed")));
    assert!(last["error"]["message"].is_string());
    assert!(
        !events.iter().any(|event| event["type"] == "response.completed" || event["type"] == "response.incomplete")
    );
}

#[tokio::test]
async fn the_document_and_its_page_are_served_without_asking_anybody_else() {
    let sim = Sim::start().await;
    let document: Value = sim.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"].as_object().unwrap().len() > 30);
    for path in ["/docs", "/docs/page.css", "/docs/page.js"] {
        let response = sim.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        let text = response.text().await.unwrap();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path} asks somebody else");
    }
}
