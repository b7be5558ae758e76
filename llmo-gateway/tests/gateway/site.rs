//! A gateway in front of simulated services, and a client.

use std::sync::Arc;
use std::time::Duration;

use llmo_backends::sim::SimOptions;
use llmo_config::Config;
use llmo_core::Cache;
use llmo_gateway::{Gateway, Listeners};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::service::Service;

/// Services, a gateway, and a client of it.
pub(crate) struct Site {
    pub(crate) services: Vec<Service>,
    pub(crate) url: String,
    pub(crate) dashboard: String,
    pub(crate) client: reqwest::Client,
    _gateway: DropGuard,
}

impl Site {
    /// `n` services without a cache in front.
    pub(crate) async fn new(n: usize, sim: SimOptions) -> Self {
        Self::with(n, sim, None, |_| {}).await
    }

    pub(crate) async fn with(
        n: usize,
        sim: SimOptions,
        cache: Option<Arc<dyn Cache>>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::build(vec![sim; n], cache, |_, config| change(config)).await
    }

    /// `n` services, which the configuration may depend on.
    pub(crate) async fn with_services(n: usize, sim: SimOptions, change: impl FnOnce(&[Service], &mut Config)) -> Self {
        Self::build(vec![sim; n], None, change).await
    }

    /// A service for each of these.
    pub(crate) async fn of(sims: Vec<SimOptions>, change: impl FnOnce(&[Service], &mut Config)) -> Self {
        Self::build(sims, None, change).await
    }

    /// A gateway that may know nobody yet.
    pub(crate) async fn unready(change: impl FnOnce(&mut Config)) -> Self {
        Self::start(Vec::new(), None, |_, config| change(config)).await
    }

    async fn build(
        sims: Vec<SimOptions>,
        cache: Option<Arc<dyn Cache>>,
        change: impl FnOnce(&[Service], &mut Config),
    ) -> Self {
        let site = Self::start(sims, cache, change).await;
        site.until_ready().await;
        site
    }

    async fn start(
        sims: Vec<SimOptions>,
        cache: Option<Arc<dyn Cache>>,
        change: impl FnOnce(&[Service], &mut Config),
    ) -> Self {
        let mut services = Vec::new();
        for sim in sims {
            services.push(Service::start(sim).await);
        }
        let mut config = Config::default();
        config.gateway.upstreams = services.iter().map(Service::url).collect();
        config.limits.drain_grace_seconds = 1;
        change(&services, &mut config);
        let gateway = Gateway::with_cache(&config, cache).expect("good URLs");
        let (api, dashboard) = (listener().await, listener().await);
        let (url, dashboard_url) = (url(&api), url(&dashboard));
        let shutdown = CancellationToken::new();
        let listeners = Listeners { api, dashboard: Some(dashboard), plain: None };
        tokio::spawn(gateway.serve(listeners, shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { services, url, dashboard: dashboard_url, client, _gateway: shutdown.drop_guard() }
    }

    /// Waits until the gateway can serve; returns how long that took.
    pub(crate) async fn until_ready(&self) -> Duration {
        let begun = std::time::Instant::now();
        loop {
            if self.get("/readyz").await.is_ok_and(|answer| answer.status() == 200) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the gateway is not ready within twenty seconds");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.client.get(format!("{}{path}", self.url)).send().await
    }

    /// A greedy completion of so many words, not sent yet.
    pub(crate) fn completion(&self, prompt: &str, tokens: u32) -> RequestBuilder {
        let body = json!({"model": "sim", "prompt": prompt, "max_tokens": tokens, "temperature": 0});
        self.client.post(format!("{}/v1/completions", self.url)).json(&body)
    }

    /// The same as a stream.
    pub(crate) fn streamed(&self, prompt: &str, tokens: u32) -> RequestBuilder {
        let body = json!({"model": "sim", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": true});
        self.client.post(format!("{}/v1/completions", self.url)).json(&body)
    }

    /// Requests that the gateway sent to its services.
    pub(crate) async fn attempts(&self) -> u64 {
        let answer = self.client.get(format!("{}/api/replicas", self.dashboard)).send().await.expect("an answer");
        let replicas: Value = answer.json().await.expect("JSON");
        replicas.as_array().expect("a list").iter().filter_map(|replica| replica["requests"].as_u64()).sum()
    }
}

pub(crate) fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap_or_default()
}

/// The first words that a simulated model says.
pub(crate) fn words(n: u32) -> String {
    (0..n).map(|i| format!("t{i} ")).collect()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

fn url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("bound"))
}
