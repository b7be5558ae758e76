//! Fetching models: done by this process, or by a model service behind the gateway.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use llmo_core::model::{Model, ModelError, ModelInfo, Models, PullProgress, PullStream, Result, RunningModel};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::replica::{Phase, Pool, Replica};

/// Most bytes of an upstream's refusal that are read, and of one line of its progress.
const MAX_BYTES: u64 = 64 << 10;

/// Who fetches.
pub enum Fetch {
    /// Models of this process.
    Here(Arc<dyn Models>),
    /// The first upstream that is up.
    There {
        /// The upstreams.
        pool: Arc<Pool>,
        /// Asks them. Without a limit on the whole request: a pull may take hours.
        client: reqwest::Client,
    },
}

/// Models, more of which can be fetched.
pub struct PullingModels<M> {
    inner: M,
    fetch: Fetch,
}

impl<M: Models> PullingModels<M> {
    /// `inner`, with whoever fetches more.
    pub fn new(inner: M, fetch: Fetch) -> Self {
        Self { inner, fetch }
    }
}

#[async_trait]
impl<M: Models> Models for PullingModels<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        self.inner.resolve(name).await
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.inner.list().await
    }

    async fn running(&self) -> Vec<RunningModel> {
        self.inner.running().await
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        match &self.fetch {
            Fetch::Here(models) => models.pull(name).await,
            Fetch::There { pool, client } => {
                let snapshot = pool.snapshot();
                let up = snapshot.replicas.iter().find(|state| state.health.phase() == Phase::Up);
                let up = up.ok_or_else(|| ModelError::unavailable("no model service is up that could fetch it"))?;
                forward(client, &up.replica, name).await
            }
        }
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        self.inner.ready()
    }
}

/// Asks an upstream to fetch, in Ollama's dialect, which every model service speaks.
async fn forward(client: &reqwest::Client, replica: &Replica, name: &str) -> Result<PullStream> {
    let lost = |_| ModelError::unavailable("the model service that was asked to fetch it is gone");
    let request = client.post(format!("{}/api/pull", replica.base_url())).json(&json!({"model": name, "stream": true}));
    let request = match replica.access().key() {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let answer = request.send().await.map_err(lost)?;
    let status = answer.status();
    let lines = StreamReader::new(answer.bytes_stream().map_err(std::io::Error::other).boxed());
    if !status.is_success() {
        let mut body = Vec::new();
        // What can't be read has no message; the status says enough.
        let _ = lines.take(MAX_BYTES).read_to_end(&mut body).await;
        return Err(refusal(name, &serde_json::from_slice(&body).unwrap_or_default()));
    }
    let steps = stream::unfold(Some((lines, name.to_owned())), |state| async move {
        let (mut lines, name) = state?;
        match step(&mut lines, &name).await {
            Ok(Some(step)) => Some((Ok(step), Some((lines, name)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(steps.boxed())
}

/// The next step; `None` after the last one of a pull that succeeded.
async fn step(lines: &mut (impl AsyncBufReadExt + Unpin), name: &str) -> Result<Option<PullProgress>> {
    let mut line = Vec::new();
    let broken = || ModelError::Upstream { message: "the pull was broken off".to_owned(), started: true };
    let read = AsyncBufReadExt::read_until(&mut lines.take(MAX_BYTES), b'\n', &mut line).await;
    read.map_err(|_| broken())?;
    // An end without "success" is an end before the end.
    let line: Value = serde_json::from_slice(&line).map_err(|_| broken())?;
    if line.get("error").is_some() {
        return Err(refusal(name, &line));
    }
    if line["status"] == "success" {
        return Ok(None);
    }
    serde_json::from_value(line).map(Some).map_err(|_| broken())
}

/// What the upstream said, as an error of this process.
fn refusal(name: &str, body: &Value) -> ModelError {
    let message = body["error"].as_str().unwrap_or("the model service did not say why").to_owned();
    match body["code"].as_str() {
        Some("model_not_found") => ModelError::NotFound { model: name.to_owned(), suggestion: None },
        Some("unsupported") | None => {
            ModelError::Unsupported { model: name.to_owned(), what: "being fetched by its model service".to_owned() }
        }
        Some("invalid_request") => ModelError::invalid("model", message),
        Some("no_space") => ModelError::NoSpace { what: format!("{name} at its model service") },
        Some("model_corrupt") => ModelError::Corrupt { model: name.to_owned(), reason: message },
        _ => ModelError::unavailable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn steps(text: &str) -> (Vec<String>, Option<ModelError>) {
        let mut lines = text.as_bytes();
        let mut seen = Vec::new();
        loop {
            match step(&mut lines, "m").await {
                Ok(Some(step)) => seen.push(step.status),
                Ok(None) => return (seen, None),
                Err(error) => return (seen, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn steps_are_passed_on_until_success() {
        let (seen, error) =
            steps("{\"status\":\"a\"}\n{\"status\":\"b\",\"completed\":1}\n{\"status\":\"success\"}\n").await;
        assert_eq!(seen, ["a", "b"]);
        assert!(error.is_none());
    }

    #[tokio::test]
    async fn an_end_without_success_is_a_failure() {
        for text in ["", "{\"status\":\"a\"}\n", "{\"status\":\"a\"}\n{\"sta", "nonsense\n"] {
            assert!(matches!(steps(text).await.1, Some(ModelError::Upstream { .. })), "{text}");
        }
        let (_, error) = steps("{\"error\":\"no source\",\"code\":\"model_unavailable\"}\n").await;
        assert!(matches!(error, Some(ModelError::Unavailable { .. })));
    }

    #[test]
    fn an_unknown_model_stays_unknown() {
        assert!(matches!(refusal("m", &json!({"error": "x", "code": "model_not_found"})), ModelError::NotFound { .. }));
        assert!(matches!(refusal("m", &json!({"error": "x", "code": "no_space"})), ModelError::NoSpace { .. }));
        assert!(matches!(refusal("m", &Value::Null), ModelError::Unsupported { .. }));
    }
}
