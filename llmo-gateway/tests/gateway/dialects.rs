//! Every dialect at the gateway, over services behind real sockets.

use llmo_backends::sim::{Fault, SimOptions};
use llmo_core::ModelError;
use serde_json::{Value, json};

use crate::site::Site;

/// The same question in each dialect, and where its text is.
fn questions() -> [(&'static str, Value, &'static str); 5] {
    let messages = json!([{"role": "user", "content": "hello"}]);
    [
        ("/v1/chat/completions", json!({"messages": messages, "max_tokens": 3}), "/choices/0/message/content"),
        ("/v1/responses", json!({"input": "hello", "max_output_tokens": 3}), "/output/0/content/0/text"),
        ("/v1/messages", json!({"messages": messages, "max_tokens": 3}), "/content/0/text"),
        (
            "/api/chat",
            json!({"messages": messages, "stream": false, "options": {"num_predict": 3}}),
            "/message/content",
        ),
        ("/api/generate", json!({"prompt": "hello", "max_length": 3}), "/response"),
    ]
}

async fn ask(site: &Site, path: &str, body: &Value) -> (u16, bool, Value) {
    let answer = site.client.post(format!("{}{path}", site.url)).json(body).send().await.expect("an answer");
    let retry = answer.headers().contains_key("retry-after");
    (answer.status().as_u16(), retry, answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_has_the_same_answer() {
    let site = Site::new(1, SimOptions::named("sim")).await;
    for (path, body, text) in questions() {
        let (status, _, answer) = ask(&site, path, &body).await;
        assert_eq!((status, answer.pointer(text)), (200, Some(&json!("t0 t1 t2 "))), "{path}: {answer}");
    }
    for path in ["/api/tags", "/api/ps"] {
        let list: Value = site.get(path).await.expect("an answer").json().await.expect("JSON");
        assert_eq!(list["models"][0]["name"], "sim", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_when_to_try_again_in_every_dialect() {
    let site = Site::new(1, SimOptions::named("sim")).await;
    for (path, body, _) in questions() {
        let full = ModelError::Overloaded { reason: "full".into(), retry_after: std::time::Duration::from_secs(1) };
        site.services[0].sim.faults().always(Fault::Refuse(full));
        let (status, retry, answer) = ask(&site, path, &body).await;
        site.services[0].sim.faults().clear();
        assert_eq!((status, retry), (429, true), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_passed_on_and_refused_where_nothing_can_be_fetched() {
    let mut site = Site::new(1, SimOptions::named("sim")).await;
    let pull = json!({"model": "other"});
    let (status, _, answer) = ask(&site, "/api/pull", &pull).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"].as_str().is_some_and(|text| text.contains("fetched")), "{answer}");
    site.services[0].kill();
    let (status, retry, answer) = ask(&site, "/api/pull", &pull).await;
    assert_eq!((status, retry), (503, true), "{answer}");
}
