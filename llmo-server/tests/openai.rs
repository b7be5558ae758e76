//! The OpenAI dialect over real sockets, against a simulated model.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use serde_json::{Value, json};
use support::sim::{Sim, text_of};

fn hello(extra: Value) -> Value {
    let mut body = json!({"model": "sim", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_chat_is_answered() {
    let sim = Sim::start().await;
    let answer = sim.ask("/v1/chat/completions", hello(json!({"temperature": 0}))).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"], json!({"role": "assistant", "content": "t0 t1 t2 ", "refusal": null}));
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    assert_eq!(answer["model"], "sim");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(answer["llmo"]["timings"]["decode_ms"].is_number());
}

#[tokio::test]
async fn a_stream_has_the_same_text_as_the_whole_answer() {
    let sim = Sim::start().await;
    let whole = sim.ask("/v1/chat/completions", hello(json!({"max_tokens": 40, "temperature": 0}))).await;
    let events =
        sim.events("/v1/chat/completions", hello(json!({"max_tokens": 40, "temperature": 0, "stream": true}))).await;
    assert_eq!(text_of(&events), whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(events.last().unwrap(), "[DONE]");
    let first: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!(first["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert!(first.get("usage").is_none());
    let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert!(last["llmo"]["timings"].is_object());
}

#[tokio::test]
async fn usage_comes_in_a_chunk_of_its_own_if_asked_for() {
    let sim = Sim::start().await;
    let extra = json!({"stream": true, "stream_options": {"include_usage": true}, "return_token_ids": true});
    let events = sim.events("/v1/chat/completions", hello(extra)).await;
    let chunks: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    assert!(last["usage"]["prompt_tokens_details"]["cached_tokens"].is_number());
    assert!(last["llmo"]["timings"]["queue_ms"].is_number());
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    let ids: usize = others.iter().filter_map(|c| c["choices"][0]["token_ids"].as_array()).map(Vec::len).sum();
    assert_eq!(ids, 3);
}

#[tokio::test]
async fn a_stop_string_ends_the_text_and_is_told() {
    let sim = Sim::start().await;
    let answer = sim.ask("/v1/chat/completions", hello(json!({"max_tokens": 40, "stop": "2"}))).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "t0 t1 t");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["llmo"]["stop"], "2");
}

#[tokio::test]
async fn several_choices_are_generated_and_counted_together() {
    let sim = Sim::start().await;
    let answer = sim.ask("/v1/chat/completions", hello(json!({"n": 3, "seed": 1}))).await;
    let indices: Vec<_> = answer["choices"].as_array().unwrap().iter().map(|c| c["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2]);
    assert_eq!(answer["usage"]["completion_tokens"], 9);
    let one = sim.ask("/v1/chat/completions", hello(json!({}))).await;
    assert_eq!(answer["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"]);
    let events = sim.events("/v1/chat/completions", hello(json!({"n": 3, "stream": true}))).await;
    let finished = events.iter().filter(|event| event.contains("\"finish_reason\":\"length\"")).count();
    assert_eq!(finished, 3);
    assert_eq!(events.iter().filter(|event| *event == "[DONE]").count(), 1);
}

#[tokio::test]
async fn log_probabilities_are_told_in_both_forms() {
    let sim = Sim::start().await;
    let answer = sim.ask("/v1/chat/completions", hello(json!({"logprobs": true, "top_logprobs": 2}))).await;
    let entries = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0]["token"], "t0 ");
    assert_eq!(entries[0]["top_logprobs"].as_array().unwrap().len(), 2);
    let body = json!({"model": "sim", "prompt": "x", "max_tokens": 3, "logprobs": 2});
    let answer = sim.ask("/v1/completions", body).await;
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["t0 ", "t1 ", "t2 "]));
    assert_eq!(logprobs["text_offset"], json!([0, 3, 6]));
}

#[tokio::test]
async fn completions_take_text_and_tokens_one_or_many() {
    let sim = Sim::start().await;
    for (prompt, choices) in
        [(json!("a"), 1), (json!(["a", "b"]), 2), (json!([97, 98]), 1), (json!([[97], [98], [99]]), 3)]
    {
        let answer = sim.ask("/v1/completions", json!({"prompt": prompt, "max_tokens": 2})).await;
        assert_eq!(answer["choices"].as_array().unwrap().len(), choices, "{prompt}");
        assert_eq!(answer["choices"][choices - 1]["text"], "t0 t1 ");
        assert_eq!(answer["object"], "text_completion");
    }
}

#[tokio::test]
async fn echo_puts_the_prompt_before_the_text() {
    let sim = Sim::start().await;
    for prompt in [json!("ab"), json!([97, 98])] {
        let body = json!({"prompt": prompt, "max_tokens": 1, "echo": true, "n": 2});
        let answer = sim.ask("/v1/completions", body.clone()).await;
        assert_eq!(answer["choices"][1]["text"], "abt0 ");
        let mut body = body;
        body["stream"] = json!(true);
        assert_eq!(text_of(&sim.events("/v1/completions", body).await).matches("ab").count(), 2);
    }
}

#[tokio::test]
async fn embeddings_are_written_as_numbers_and_as_base64() {
    use base64::Engine;
    let sim = Sim::start().await;
    let floats = sim.ask("/v1/embeddings", json!({"model": "sim", "input": ["a", "b"], "dimensions": 8})).await;
    let vector: Vec<f32> = serde_json::from_value(floats["data"][1]["embedding"].clone()).unwrap();
    assert_eq!(vector.len(), 8);
    let body = json!({"model": "sim", "input": "b", "dimensions": 8, "encoding_format": "base64"});
    let encoded = sim.ask("/v1/embeddings", body).await;
    let text = encoded["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let decoded: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(decoded, vector);
    assert_eq!(floats["usage"]["prompt_tokens"], 2);
}

#[tokio::test]
async fn models_are_listed_and_looked_up() {
    let sim = Sim::start().await;
    let list: Value = sim.get("/v1/models").await.json().await.unwrap();
    assert_eq!(list["data"][0]["id"], "sim");
    let one: Value = sim.get("/v1/models/sim").await.json().await.unwrap();
    assert_eq!(one, list["data"][0]);
    for unknown in ["nope", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "a%00b"] {
        let response = sim.get(&format!("/v1/models/{unknown}")).await;
        assert_eq!(response.status(), 404, "{unknown}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "model_not_found", "{unknown}");
    }
}

#[tokio::test]
async fn text_becomes_tokens_and_text_again() {
    let sim = Sim::start().await;
    let tokens = sim.ask("/tokenize", json!({"content": "héllo"})).await;
    let text = sim.ask("/detokenize", json!({"tokens": tokens["tokens"]})).await;
    assert_eq!(text["content"], "héllo");
}

#[tokio::test]
async fn the_request_id_is_the_answers_id() {
    let sim = Sim::start().await;
    let request = sim.client.post(sim.server.url("/v1/chat/completions")).header("x-request-id", "r-1");
    let response = request.json(&hello(json!({}))).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "r-1");
    assert_eq!(response.json::<Value>().await.unwrap()["id"], "chatcmpl-r-1");
}

#[tokio::test]
async fn a_deadline_in_the_header_holds() {
    let sim = Sim::slow().await;
    let post = |stream: bool| {
        let request = sim.client.post(sim.server.url("/v1/chat/completions")).header("x-llmo-deadline-ms", "200");
        request.json(&hello(json!({"max_tokens": 10_000, "stream": stream}))).send()
    };
    let response = post(false).await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "deadline_exceeded");
    let events = support::sim::split(&post(true).await.unwrap().text().await.unwrap());
    assert!(events.last().unwrap().starts_with("error {\"error\""), "{:?}", events.last());
    assert!(!events.contains(&"[DONE]".to_owned()));
}
