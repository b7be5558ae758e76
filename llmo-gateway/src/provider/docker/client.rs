//! The two questions to Docker's API.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::labels::Container;
use crate::provider::SourceLost;

/// Longest wait for the list of containers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest list that is read, in bytes.
const LONGEST_LIST: usize = 32 << 20;
/// What happens to containers that we want to know of.
const EVENTS: &str = r#"{"type":["container"],"event":["start","die","stop","kill","pause","unpause","destroy","update"],"label":["llmo.enable"]}"#;
const RUNNING: &str = r#"{"status":["running"],"label":["llmo.enable"]}"#;

/// A Docker daemon.
pub(super) struct Docker {
    client: reqwest::Client,
    socket: String,
}

/// What happens there. Each chunk of the answer is at least one event; what it says does not matter.
pub(super) struct Events {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    socket: String,
}

impl Docker {
    pub(super) fn connect(socket: &Path) -> Result<Self, SourceLost> {
        let shown = socket.display().to_string();
        let client = reqwest::Client::builder().unix_socket(socket).no_proxy().build();
        let client = client.map_err(|error| SourceLost(format!("{shown}: no client can be made: {error}")))?;
        Ok(Self { client, socket: shown })
    }

    /// The containers that run and have our label.
    pub(super) async fn containers(&self) -> Result<Vec<Container>, SourceLost> {
        let asked = async {
            let answer = self.get("/containers/json", RUNNING).await?;
            let mut body = Vec::new();
            let mut chunks = answer.bytes_stream();
            while let Some(chunk) = chunks.next().await {
                body.extend_from_slice(&chunk.map_err(|error| lost(&self.socket, &error))?);
                if body.len() > LONGEST_LIST {
                    return Err(SourceLost(format!("{}: the list of containers does not end", self.socket)));
                }
            }
            serde_json::from_slice(&body)
                .map_err(|error| SourceLost(format!("{}: odd list of containers: {error}", self.socket)))
        };
        let late = || SourceLost(format!("{}: no answer within {} s", self.socket, PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, asked).await.map_err(|_| late())?
    }

    pub(super) async fn events(&self) -> Result<Events, SourceLost> {
        let answer = tokio::time::timeout(PATIENCE, self.get("/events", EVENTS)).await;
        let late = |_| SourceLost(format!("{}: no answer within {} s", self.socket, PATIENCE.as_secs()));
        let answer = answer.map_err(late)??;
        Ok(Events { chunks: Box::pin(answer.bytes_stream()), socket: self.socket.clone() })
    }

    async fn get(&self, path: &str, filters: &str) -> Result<reqwest::Response, SourceLost> {
        // The host is only for the header; the client talks to the socket.
        let mut url = reqwest::Url::parse("http://docker").map_err(|error| SourceLost(error.to_string()))?;
        url.set_path(path);
        url.query_pairs_mut().append_pair("filters", filters);
        let answer = self.client.get(url).send().await.map_err(|error| lost(&self.socket, &error))?;
        if !answer.status().is_success() {
            return Err(SourceLost(format!("{}: {path} answers {}", self.socket, answer.status())));
        }
        Ok(answer)
    }
}

impl Events {
    /// Waits until something happens.
    pub(super) async fn next(&mut self) -> Result<(), SourceLost> {
        match self.chunks.next().await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(lost(&self.socket, &error)),
            None => Err(SourceLost(format!("{}: Docker ended its events", self.socket))),
        }
    }
}

fn lost(socket: &str, error: &reqwest::Error) -> SourceLost {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    SourceLost(format!("{socket}: {cause}; is Docker there, and may this process use its socket (discovery.docker)?"))
}
