//! The plain `/api` dialect over real sockets, and health, readiness and metrics.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::sync::Arc;

use llmo_backends::sim::{Fault, SimModel, SimOptions};
use llmo_core::ModelError;
use llmo_server::frontend::FrontendOptions;
use llmo_server::http::ServeOptions;
use llmo_server::metrics::{self, Metrics, Role};
use serde_json::{Value, json};
use support::sim::Sim;
use support::{Raw, status};

#[tokio::test]
async fn plain_curl_gets_an_answer() {
    let sim = Sim::start().await;
    let mut raw = Raw::connect(sim.server.addr).await;
    let body = r#"{"prompt":"What is the capital of France?","max_length":40}"#;
    let head = "POST /api/generate HTTP/1.1\r\nhost: x\r\nuser-agent: curl/7.88.1\r\naccept: */*\r\n";
    let kind = "content-type: application/x-www-form-urlencoded\r\nconnection: close\r\n";
    raw.send(format!("{head}{kind}content-length: {}\r\n\r\n{body}", body.len())).await;
    let response = raw.rest().await;
    assert_eq!(status(&response), 200, "{response}");
    let answer: Value = serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(answer["success"], true);
    assert!(answer["response"].as_str().unwrap().starts_with("t0 t1 "));
    assert_eq!(answer["usage"]["completion_tokens"], 40);
    assert_eq!(answer["model"], "sim");
}

#[tokio::test]
async fn the_same_question_has_the_same_answer_unless_a_temperature_is_given() {
    let sim = Sim::start().await;
    let request = llmo_server::dialect::spec::generate::parse(br#"{"prompt": "x"}"#).unwrap();
    assert!(request.jobs[0].is_deterministic());
    let request = llmo_server::dialect::spec::generate::parse(br#"{"prompt": "x", "temperature": 0.7}"#).unwrap();
    assert!(!request.jobs[0].is_deterministic());
    let ask = || sim.ask("/api/generate", json!({"prompt": "x", "max_length": 5}));
    assert_eq!(ask().await, ask().await);
}

#[tokio::test]
async fn refusals_say_when_to_try_again() {
    let sim = Sim::start().await;
    let overloaded = ModelError::Overloaded { reason: "full".into(), retry_after: std::time::Duration::from_secs(2) };
    for (error, expected) in [(overloaded, 429), (ModelError::unavailable("loading"), 503), (ModelError::Shutdown, 503)]
    {
        sim.model.faults().next(1, Fault::Refuse(error));
        let response = sim.post("/api/generate", json!({"prompt": "x"})).await;
        assert_eq!(response.status(), expected);
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=5).contains(&wait), "{wait}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["success"], false);
    }
}

#[tokio::test]
async fn health_tells_model_and_memory() {
    let sim = Sim::start().await;
    let health: Value = sim.get("/api/health").await.json().await.unwrap();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["model_loaded"], true);
    assert_eq!(health["model"], "sim");
    let memory = &health["memory_info"];
    assert!(memory["total_memory_gb"].as_f64().unwrap() > 0.0);
    assert!(memory["used_memory_gb"].as_f64().unwrap() > 0.0);
    assert!((0.0..=100.0).contains(&memory["percent_used"].as_f64().unwrap()));
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(sim.get(path).await.status(), 200, "{path}");
    }
}

/// A set of models that can't be asked yet.
struct NotYet;

#[async_trait::async_trait]
impl llmo_core::Models for NotYet {
    async fn resolve(&self, _: &str) -> llmo_core::model::Result<Arc<dyn llmo_core::Model>> {
        Err(ModelError::unavailable("sim: loading"))
    }

    async fn list(&self) -> Vec<llmo_core::ModelInfo> {
        Vec::new()
    }

    fn ready(&self) -> Result<(), Vec<String>> {
        Err(vec!["sim: loading".to_owned()])
    }
}

#[tokio::test]
async fn a_service_that_is_not_ready_says_why_and_lives() {
    let app = llmo_server::frontend::router(Arc::new(NotYet), FrontendOptions::default());
    let server = support::Server::start(app, ServeOptions::default()).await;
    for path in ["/readyz", "/health", "/api/health"] {
        let response = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(response.status(), 503, "{path}");
        assert!(response.text().await.unwrap().contains("sim: loading"), "{path}");
    }
    assert_eq!(reqwest::get(server.url("/livez")).await.unwrap().status(), 200);
    let response = reqwest::Client::new().post(server.url("/api/generate")).body(r#"{"prompt":"x"}"#).send().await;
    assert_eq!(response.unwrap().status(), 503);
}

#[tokio::test]
async fn metrics_have_the_names_of_the_role_and_bounded_labels() {
    for (role, duration) in [
        (Role::ModelService, "gen_ai_server_request_duration_seconds_count"),
        (Role::Gateway, "gen_ai_client_operation_duration_seconds_count"),
    ] {
        let metrics = Metrics::new(role);
        let options = FrontendOptions::new(&llmo_config::LimitsConfig::default(), Arc::clone(&metrics));
        let sim = Sim::with(SimOptions::named("sim"), options, ServeOptions::default()).await;
        let model: Arc<SimModel> = Arc::clone(&sim.model);
        metrics::models::observe(&metrics, Arc::new(llmo_core::model::SingleModel::new(model)));
        sim.ask("/api/generate", json!({"prompt": "x", "max_length": 5})).await;
        for i in 0..3 {
            sim.post("/api/generate", json!({"prompt": "x", "model": format!("m{i}")})).await;
            sim.get(&format!("/random/{i}")).await;
        }
        let response = sim.get("/metrics").await;
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = response.text().await.unwrap();
        let good = format!(
            "{duration}{{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"llmo\",gen_ai_request_model=\"sim\",\
             gen_ai_response_model=\"sim\",error_type=\"\"}} 1"
        );
        assert!(text.contains(&good), "{text}");
        assert!(text.contains(
            "gen_ai_request_model=\"other\",gen_ai_response_model=\"other\",error_type=\"model_not_found\"} 3"
        ));
        for unbounded in ["m0", "m1", "/random"] {
            assert!(!text.contains(&format!("\"{unbounded}")), "{unbounded} is a label value");
        }
        assert!(text.contains("http_route=\"other\",http_response_status_code=\"404\"} 3"), "{text}");
        for name in [
            "llmo_build_info{",
            "llmo_queue_requests{model=\"sim\"} 0",
            "llmo_models_loaded 1",
            "http_server_active_requests",
        ] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
        assert!(text.contains("le=\"81.92\""), "{text}");
    }
}
