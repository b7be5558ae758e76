//! Ollama's dialect over real sockets, against a simulated model.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use llmo_backends::sim::Fault;
use serde_json::{Value, json};
use support::scripted;
use support::sim::Sim;

fn chat(extra: Value) -> Value {
    let mut body =
        json!({"model": "sim", "messages": [{"role": "user", "content": "hello"}], "options": {"num_predict": 3}});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

async fn lines(sim: &Sim, path: &str, body: Value) -> Vec<Value> {
    let response = sim.post(path, body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    response.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(lines: &[Value]) -> String {
    let piece = |line: &Value| line["response"].as_str().or(line["message"]["content"].as_str()).unwrap().to_owned();
    lines.iter().map(piece).collect()
}

#[tokio::test]
async fn a_chat_streams_lines_unless_told_not_to() {
    let sim = Sim::start().await;
    let whole = sim.ask("/api/chat", chat(json!({"stream": false}))).await;
    assert_eq!(whole["message"], json!({"role": "assistant", "content": "t0 t1 t2 "}));
    assert_eq!((whole["done"].as_bool(), whole["done_reason"].as_str()), (Some(true), Some("length")));
    assert_eq!(whole["eval_count"], 3);
    assert!(whole["prompt_eval_count"].as_u64().unwrap() > 0);
    let lines = lines(&sim, "/api/chat", chat(json!({}))).await;
    assert_eq!(text(&lines), "t0 t1 t2 ");
    let (last, others) = lines.split_last().unwrap();
    assert_eq!(last["done_reason"], "length");
    assert!(last["total_duration"].is_u64() && last["eval_duration"].is_u64());
    assert!(others.len() == 3 && others.iter().all(|line| line["done"] == false));
}

#[tokio::test]
async fn generate_answers_in_the_form_that_the_body_speaks() {
    let sim = Sim::start().await;
    let plain = sim.ask("/api/generate", json!({"prompt": "x", "max_length": 2})).await;
    assert_eq!((plain["success"].as_bool(), plain["response"].as_str()), (Some(true), Some("t0 t1 ")));
    let plain =
        sim.ask("/api/generate", json!({"model": "sim", "prompt": "x", "temperature": 0, "max_length": 2})).await;
    assert_eq!(plain["success"], true);
    let body = json!({"model": "sim", "prompt": "x", "options": {"num_predict": 2}, "stream": false});
    let whole = sim.ask("/api/generate", body.clone()).await;
    assert_eq!((whole["done"].as_bool(), whole["response"].as_str()), (Some(true), Some("t0 t1 ")));
    assert!(whole.get("success").is_none());
    let mut streamed = body;
    streamed.as_object_mut().unwrap().remove("stream");
    assert_eq!(text(&lines(&sim, "/api/generate", streamed).await), "t0 t1 ");
    let all = lines(&sim, "/api/generate", json!({"model": "sim", "prompt": "x"})).await;
    assert_eq!(all.last().unwrap()["done_reason"], "stop");
}

#[tokio::test]
async fn errors_of_generate_are_in_the_form_of_the_request() {
    let sim = Sim::start().await;
    let get = |body| async { sim.post("/api/generate", body).await.json::<Value>().await.unwrap() };
    let ollama = get(json!({"model": "nope", "prompt": "x"})).await;
    assert!(ollama["error"].as_str().unwrap().contains("nope") && ollama.get("success").is_none());
    let plain = get(json!({"model": "nope", "prompt": "x", "max_length": 2})).await;
    assert_eq!(plain["success"], false);
    let long = get(json!({"model": "sim", "prompt": "x", "options": {"num_predict": 100_000}})).await;
    assert!(long["error"].as_str().unwrap().contains("num_predict"), "{long}");
    let long = get(json!({"model": "sim", "prompt": "x", "max_length": 100_000})).await;
    assert!(long["error"].as_str().unwrap().contains("max_length"), "{long}");
}

#[tokio::test]
async fn a_request_without_a_prompt_loads_the_model() {
    let sim = Sim::start().await;
    let answer = sim.ask("/api/generate", json!({"model": "sim", "stream": false})).await;
    assert_eq!((answer["response"].as_str(), answer["done_reason"].as_str()), (Some(""), Some("load")));
    let answer = sim.ask("/api/chat", json!({"model": "sim", "messages": [], "keep_alive": 0, "stream": false})).await;
    assert_eq!((answer["message"]["content"].as_str(), answer["done_reason"].as_str()), (Some(""), Some("unload")));
    let lines = lines(&sim, "/api/generate", json!({"model": "sim:latest", "prompt": ""})).await;
    assert_eq!((lines.len(), lines[0]["done"].as_bool()), (1, Some(true)));
    assert_eq!(sim.post("/api/generate", json!({"model": "nope"})).await.status(), 404);
}

#[tokio::test]
async fn calls_of_functions_come_whole_with_their_arguments_as_an_object() {
    let sim = scripted::calls().await;
    let call = |i: u64, name: &str, arguments: Value| json!({"id": format!("call_{i}"), "function": {"name": name, "arguments": arguments}});
    let calls = json!([call(1, "get_weather", json!({"city": "Paris"})), call(2, "get_time", json!({}))]);
    let whole = sim.ask("/api/chat", chat(json!({"stream": false}))).await;
    assert_eq!(whole["message"]["tool_calls"], calls);
    let lines = lines(&sim, "/api/chat", chat(json!({}))).await;
    let told = lines.iter().filter_map(|line| line["message"]["tool_calls"].as_array()).flatten().cloned();
    assert_eq!(told.collect::<Value>(), calls);
    assert_eq!(text(&lines), "Let me see.");
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_an_error_and_is_never_done() {
    let sim = Sim::start().await;
    sim.model.faults().next(1, Fault::error_after(2));
    let lines = lines(&sim, "/api/chat", chat(json!({"options": {}}))).await;
    let (last, others) = lines.split_last().unwrap();
    assert!(last["error"].is_string(), "{last}");
    assert!(others.iter().all(|line| line["done"] == false));
}

#[tokio::test]
async fn vectors_come_in_both_forms() {
    let sim = Sim::start().await;
    let many = sim.ask("/api/embed", json!({"model": "sim", "input": ["a", "b"], "dimensions": 8})).await;
    assert_eq!(many["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(many["embeddings"][0].as_array().unwrap().len(), 8);
    assert!(many["total_duration"].as_u64().unwrap() > 0);
    let one = sim.ask("/api/embed", json!({"model": "sim:latest", "input": "a"})).await;
    let old = sim.ask("/api/embeddings", json!({"model": "sim", "prompt": "a"})).await;
    assert_eq!(one["embeddings"][0], old["embedding"]);
}

#[tokio::test]
async fn models_are_told() {
    let sim = Sim::start().await;
    let sim = &sim;
    let get = |path| async move { sim.get(path).await.json::<Value>().await.unwrap() };
    for path in ["/api/tags", "/api/ps"] {
        assert_eq!(get(path).await["models"][0]["name"], "sim", "{path}");
    }
    for body in [json!({"model": "sim"}), json!({"name": "sim:latest"})] {
        let shown = sim.ask("/api/show", body).await;
        assert_eq!(shown["model_info"]["sim.context_length"], 32_768);
        assert!(shown["capabilities"].as_array().unwrap().contains(&json!("completion")));
    }
    assert!(get("/api/version").await["version"].is_string());
    assert_eq!(sim.get("/").await.text().await.unwrap(), "llmo is running");
    assert_eq!(sim.client.head(sim.server.url("/")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_would_change_the_library_says_how_it_is_done() {
    let sim = Sim::start().await;
    for path in ["/api/copy", "/api/create", "/api/push"] {
        let response = sim.post(path, json!({"model": "sim"})).await;
        assert_eq!(response.status(), 501, "{path}");
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
    let response =
        sim.client.delete(sim.server.url("/api/delete")).json(&json!({"model": "sim"})).send().await.unwrap();
    assert_eq!(response.status(), 501);
    // A simulated model has no library.
    let response = sim.post("/api/pull", json!({"model": "other"})).await;
    assert_eq!(response.status(), 400);
    assert!(response.json::<Value>().await.unwrap()["error"].as_str().unwrap().contains("fetched"));
}

#[tokio::test]
async fn a_pull_tells_its_steps_and_how_it_ended() {
    for (fails, last) in [
        (false, json!({"status": "success"})),
        (true, json!({"error": "unavailable: no source", "code": "model_unavailable"})),
    ] {
        let sim = scripted::pulling(fails).await;
        let lines = lines(&sim, "/api/pull", json!({"model": "new:latest"})).await;
        assert_eq!(lines[0], json!({"status": "asking new"}));
        assert_eq!(lines[1], json!({"status": "receiving", "total": 10, "completed": 5}));
        assert!(
            lines[2] == last || (fails && lines[2]["error"].as_str().unwrap().contains("no source")),
            "{}",
            lines[2]
        );
        let response = sim.post("/api/pull", json!({"model": "new", "stream": false})).await;
        assert_eq!(response.status(), if fails { 503 } else { 200 });
        assert_eq!(sim.post("/api/pull", json!({"model": "unknown"})).await.status(), 404);
        assert_eq!(self::lines(&sim, "/api/pull", json!({"model": "here"})).await, [json!({"status": "success"})]);
    }
}
