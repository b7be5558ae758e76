//! Models for unit tests.

use async_trait::async_trait;
use llmo_core::model::{EventStream, GenerateRequest, Load, Model, ModelError, ModelInfo, Result};

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
