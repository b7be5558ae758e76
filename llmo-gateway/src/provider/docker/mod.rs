//! Replicas are containers with the label `llmo.enable=true`.
//!
//! | label | is |
//! |---|---|
//! | `llmo.enable` | `true`: the container is a model service |
//! | `llmo.port` | the port it listens on; not needed if the container exposes exactly one |
//! | `llmo.model` | models that are used there, `NAME` or `NAME=NAME-THERE`, separated by commas; without it all |
//! | `llmo.weight` | its share of requests beside others; 1 |
//! | `llmo.network` | the Docker network whose address is used |
//! | `llmo.scheme` | `http` (the default) or `https` |
//!
//! * [`labels`]: from a container to a [`Target`](super::Target), pure. [`DockerProvider`]: the list, again at every event.

mod client;
pub mod labels;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use self::client::Docker;
use super::{Desired, Provider, Sink, SourceLost};

/// Events come in bunches: so long nothing else may happen before the list is read.
const SETTLE: Duration = Duration::from_millis(100);
/// The list is read at least this often, should an event have been missed.
const RECHECK: Duration = Duration::from_secs(30);

/// Watches the containers of a Docker daemon.
pub struct DockerProvider {
    socket: PathBuf,
    network: Option<String>,
}

impl DockerProvider {
    /// Over this socket; `network` is taken for containers that don't name one.
    #[must_use]
    pub fn new(socket: &Path, network: Option<String>) -> Self {
        Self { socket: socket.to_owned(), network }
    }

    async fn publish(&self, docker: &Docker, sink: &Sink) -> Result<(), SourceLost> {
        let containers = docker.containers().await?;
        let (targets, problems) = labels::targets(&containers, self.network.as_deref());
        let desired = Desired::targets(targets);
        // Routes are not in it: there is nothing to refuse.
        let _ = match problems.is_empty() {
            true => sink.publish(desired),
            false => sink.publish_partly(desired, problems.join("; ")),
        };
        Ok(())
    }
}

#[async_trait]
impl Provider for DockerProvider {
    fn name(&self) -> &str {
        "docker"
    }

    async fn watch(&self, sink: &Sink) -> Result<Infallible, SourceLost> {
        let docker = Docker::connect(&self.socket)?;
        // Events first: what happens while the list is read is not missed.
        let mut events = docker.events().await?;
        loop {
            self.publish(&docker, sink).await?;
            let mut first = true;
            loop {
                let wait = if first { RECHECK } else { SETTLE };
                match tokio::time::timeout(wait, events.next()).await {
                    Ok(event) => event?,
                    Err(_) => break,
                }
                first = false;
            }
        }
    }
}
