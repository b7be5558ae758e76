//! A front end over a simulated model.

use std::sync::Arc;
use std::time::Duration;

use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::Model;
use llmo_core::model::SingleModel;
use llmo_server::frontend::{self, FrontendOptions};
use llmo_server::http::ServeOptions;
use serde_json::Value;

use super::Server;

pub struct Sim {
    pub server: Server,
    pub model: Arc<SimModel>,
    pub client: reqwest::Client,
}

impl Sim {
    pub async fn start() -> Self {
        Self::with(SimOptions::named("sim"), FrontendOptions::default(), ServeOptions::default()).await
    }

    pub async fn slow() -> Self {
        let mut options = SimOptions::named("sim");
        options.decode_tokens_per_second = 100.0;
        options.answer_tokens = 1_000_000;
        Self::with(options, FrontendOptions::default(), quick_drain()).await
    }

    pub async fn with(sim: SimOptions, frontend: FrontendOptions, serve: ServeOptions) -> Self {
        let model = Arc::new(SimModel::new(sim));
        let models = Arc::new(SingleModel::new(Arc::clone(&model) as Arc<dyn Model>));
        let server = Server::start(frontend::router(models, frontend), serve).await;
        let client = reqwest::Client::builder().timeout(super::PATIENCE).build().unwrap();
        Self { server, model, client }
    }

    /// A front end over other models; its own model is idle.
    pub async fn over(models: Arc<dyn llmo_core::Models>, idle: SimOptions) -> Self {
        let app = frontend::router(models, FrontendOptions::default());
        let server = Server::start(app, ServeOptions::default()).await;
        let client = reqwest::Client::builder().timeout(super::PATIENCE).build().unwrap();
        Self { server, model: Arc::new(SimModel::new(idle)), client }
    }

    pub async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        self.client.post(self.server.url(path)).json(&body).send().await.unwrap()
    }

    /// Posts, and expects 200 and JSON.
    pub async fn ask(&self, path: &str, body: Value) -> Value {
        let response = self.post(path, body).await;
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.server.url(path)).send().await.unwrap()
    }

    /// The events of a stream, up to its end.
    pub async fn events(&self, path: &str, body: Value) -> Vec<String> {
        let response = self.post(path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        split(&response.text().await.unwrap())
    }

    pub fn busy(&self) -> u32 {
        let load = self.model.load();
        load.slots - load.slots_free
    }
}

/// Events without their framing; `event: error` becomes a prefix.
pub fn split(text: &str) -> Vec<String> {
    let events = text.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    events.map(|event| event.replace("event: error\ndata: ", "error ").replace("data: ", "")).collect()
}

/// The text of all chunks of choice 0.
pub fn text_of(events: &[String]) -> String {
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let choice = chunks.filter_map(|chunk| chunk["choices"].get(0).cloned());
    choice
        .map(|choice| choice["delta"]["content"].as_str().or(choice["text"].as_str()).unwrap_or_default().to_owned())
        .collect()
}

pub fn quick_drain() -> ServeOptions {
    let mut options = ServeOptions::default();
    options.drain_grace = Duration::from_millis(300);
    options
}
