//! A model to talk to: at the running stack if there is one, else loaded into this process.

use std::sync::Arc;
use std::time::Duration;

use llmo_backends::remote::{RemoteModel, RemoteOptions};
use llmo_config::Config;
use llmo_core::{Model, ModelInfo};
use llmo_server::services::model::LocalModels;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;

use crate::error::Result;

/// Where the key for a stack that wants one is.
pub(crate) const API_KEY: &str = "LLMO_API_KEY";
/// Longest wait for the running stack, which is on this machine.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_000);

/// Base URL of the stack that this configuration describes.
pub(crate) fn api_url(config: &Config) -> String {
    let scheme = if config.tls.is_on() { "https" } else { "http" };
    format!("{scheme}://{}:{}", at_home(&config.gateway.host), config.gateway.port)
}

/// How this machine itself reaches what listens at `host`, which may be everywhere, for a URL.
pub(crate) fn at_home(host: &str) -> String {
    match host {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" | "[::]" => "[::1]".to_owned(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    }
}

/// A client for short questions to the stack. It is asked by an address of this machine, which no certificate names.
pub(crate) fn client() -> reqwest::Client {
    let client = reqwest::Client::builder()
        .timeout(ANSWER_WITHIN)
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .default_headers(own_key())
        .build();
    client.unwrap_or_default()
}

/// The key for a stack that wants one. Read where it is needed: it is no setting, and is printed nowhere.
fn api_key() -> Option<String> {
    std::env::var(API_KEY).ok().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty())
}

fn own_key() -> HeaderMap {
    let value = api_key().and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
    value
        .map(|mut value| {
            value.set_sensitive(true);
            (AUTHORIZATION, value)
        })
        .into_iter()
        .collect()
}

/// The model of this name (none: the default one), wherever it is.
pub(crate) async fn connect(config: &Config, name: Option<&str>) -> Result<Arc<dyn Model>> {
    let name = name.unwrap_or_default();
    if let Some(info) = served(config, name).await {
        let mut options = RemoteOptions::default();
        options.any_certificate = true;
        options.api_key = api_key();
        options.first_token_timeout = Some(Duration::from_secs(config.gateway.first_token_timeout_seconds));
        return Ok(Arc::new(RemoteModel::new(info, &api_url(config), options)?));
    }
    Ok(LocalModels::load_one(config, name).await?)
}

/// Does the stack that this configuration describes run?
#[cfg(feature = "llama-cpp")]
pub(crate) async fn is_running(config: &Config) -> bool {
    client()
        .get(format!("{}/internal/status", api_url(config)))
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}

/// What the running stack says of the model; `None` if it doesn't run, isn't llmo, or doesn't serve it.
async fn served(config: &Config, name: &str) -> Option<ModelInfo> {
    let url = format!("{}/internal/status", api_url(config));
    let status: Value = client().get(url).send().await.ok()?.json().await.ok()?;
    let mut models = status["models"].as_array()?.iter().map(|entry| &entry["info"]);
    let found = if name.is_empty() { models.next() } else { models.find(|info| info["id"] == name) };
    serde_json::from_value(found?.clone()).ok()
}
