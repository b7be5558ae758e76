//! What unit tests share: a model, and looking at a pool until something is so.

use std::time::Duration;

use async_trait::async_trait;
use llmo_core::model::{EventStream, GenerateRequest, Load, Model, ModelError, ModelInfo, Result};

use crate::replica::Pool;

/// A model that is only there, and refuses everything.
pub(crate) struct Silent(ModelInfo);

impl Silent {
    pub(crate) fn new(id: &str) -> Self {
        let mut info = ModelInfo::new(id, "silent");
        info.capabilities.generate = true;
        Self(info)
    }

    pub(crate) fn with_digest(mut self, digest: &str) -> Self {
        self.0.digest = Some(digest.to_owned());
        self
    }

    pub(crate) fn info_of(&self) -> ModelInfo {
        self.0.clone()
    }
}

#[async_trait]
impl Model for Silent {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn generate(&self, _request: GenerateRequest) -> Result<EventStream> {
        Err(ModelError::unavailable("silent"))
    }

    fn load(&self) -> Load {
        Load::default()
    }
}

/// The replicas that can serve the model `m`.
pub(crate) fn seats(pool: &Pool) -> Vec<String> {
    let snapshot = pool.snapshot();
    let route = snapshot.route("m");
    route.into_iter().flat_map(|route| route.seats.iter()).map(|seat| seat.replica.id().to_owned()).collect()
}

/// Waits until it is so.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.expect("it happens within ten seconds");
}
