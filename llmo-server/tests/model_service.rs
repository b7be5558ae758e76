//! The model service as it is configured and run, with the simulator as its engine.
#![allow(missing_docs, clippy::unwrap_used)] // Clippy knows tests, but not what they call.

mod support;

use std::path::Path;
use std::time::Duration;

use llmo_config::{Config, EngineKind};
use llmo_core::model::Load;
use llmo_core::{ModelInfo, Models};
use llmo_server::services::model::{self, LocalModels};
use serde_json::{Value, json};
use support::{eventually, within};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.store.dir = dir.to_owned();
    config.store.sources.clear();
    config.model.engine = EngineKind::Sim;
    config.model.sim_tokens_per_second = 10_000.0;
    config.limits.drain_grace_seconds = 1;
    config
}

struct Service {
    url: String,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), model::ServiceError>>,
}

impl Service {
    /// Runs the service on a free port, and waits until it is ready.
    async fn run(mut config: Config) -> Self {
        config.model.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{}", config.model.port);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { model::run(&config, token).await });
        let service = Self { url, shutdown, task };
        let ready = async {
            while service.get("/readyz").await.is_none_or(|(status, _)| status != 200) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(ready).await;
        service
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let response = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        Some((response.status().as_u16(), response.json().await.ok()?))
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = reqwest::Client::new().post(format!("{}{path}", self.url)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

#[tokio::test]
async fn the_configured_models_are_served_and_the_first_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::run(config(dir.path())).await;
    let (_, models) = service.get("/v1/models").await.unwrap();
    let names: Vec<_> = models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["smollm2-135m", "minilm-l6"]);
    let (status, answer) = service.post("/api/generate", json!({"prompt": "x", "max_length": 2})).await;
    assert_eq!((status, &answer["model"]), (200, &json!("smollm2-135m")));
    let (status, answer) = service.post("/v1/embeddings", json!({"model": "minilm-l6", "input": "x"})).await;
    assert_eq!((status, &answer["model"]), (200, &json!("minilm-l6")));
    let (status, answer) = service.post("/v1/embeddings", json!({"model": "minilm-l7", "input": "x"})).await;
    assert_eq!(status, 404);
    assert!(answer["error"]["message"].as_str().unwrap().contains("did you mean \"minilm-l6\""), "{answer}");
    service.shutdown.cancel();
    within(service.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_status_is_made_of_cores_own_types() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::run(config(dir.path())).await;
    let (_, status) = service.get("/internal/status").await.unwrap();
    assert_eq!(status["ready"], true);
    let info: ModelInfo = serde_json::from_value(status["models"][0]["info"].clone()).unwrap();
    let load: Load = serde_json::from_value(status["models"][0]["load"].clone()).unwrap();
    assert_eq!(info.id, "smollm2-135m");
    assert_eq!(load.slots, load.slots_free);
    let metrics = reqwest::get(format!("{}/metrics", service.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("llmo_models_loaded 2"), "{metrics}");
    assert!(metrics.contains("llmo_model_load_duration_seconds{model=\"smollm2-135m\"} "), "{metrics}");
}

#[tokio::test]
async fn a_taken_port_names_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(dir.path());
    config.model.port = taken.local_addr().unwrap().port();
    let error = within(model::run(&config, CancellationToken::new())).await.unwrap_err().to_string();
    assert!(error.contains("taken") && error.contains("MODEL_SERVICE_PORT"), "{error}");
}

#[tokio::test]
async fn a_flipped_bit_in_weights_is_409_and_no_engine_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("m")).unwrap();
    std::fs::write(dir.path().join("m/model.gguf"), b"these are not the bytes that were stored").unwrap();
    let file = json!({"name": "model.gguf", "size": 40, "sha256": "0".repeat(64)});
    let manifest = json!({"format": 1, "id": "m", "task": "generate", "weights": "gguf", "files": [file]});
    std::fs::write(dir.path().join("m/manifest.json"), manifest.to_string()).unwrap();
    let mut config = config(dir.path());
    config.model.engine = EngineKind::Auto;
    config.model.names = vec!["m".into()];
    let models = LocalModels::start(&config).await.unwrap();
    let refused = async || match models.resolve("m").await {
        Err(error) => (error.code() == "model_corrupt").then_some(error),
        Ok(_) => panic!("damaged weights were loaded"),
    };
    let error = within(async {
        loop {
            if let Some(error) = refused().await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(error.await.to_string().contains("sha256"), "the reason is told");
}

#[tokio::test]
async fn weights_that_can_not_be_had_are_a_reason_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.model.engine = EngineKind::Auto;
    config.model.names = vec!["no-such-model".into()];
    let models = LocalModels::start(&config).await.unwrap();
    eventually("a reason", || models.ready().is_err_and(|reasons| reasons.iter().any(|r| !r.contains("turn")))).await;
    let reasons = models.ready().unwrap_err();
    assert!(reasons[0].starts_with("no-such-model: "), "{reasons:?}");
    assert!(models.resolve("").await.is_err());
    assert!(models.list().await.is_empty());
}
