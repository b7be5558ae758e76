//! Finding a model by name.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Model, ModelError, ModelInfo, PullStream, Result, RunningModel};

/// A set of models: what an HTTP front end serves. A model service holds loaded models, a gateway routes to replicas.
#[async_trait]
pub trait Models: Send + Sync {
    /// The model of this name; the empty name means the default model. Loads nothing: a model that isn't in memory is
    /// loaded by its first request, or by [`Model::keep`].
    ///
    /// # Errors
    /// [`ModelError::NotFound`] with a suggestion; [`ModelError::Unavailable`] while it can't be served.
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>>;

    /// All models that can be asked for, the default model first.
    async fn list(&self) -> Vec<ModelInfo>;

    /// Those that are in memory, or on their way there.
    async fn running(&self) -> Vec<RunningModel> {
        let mut running = Vec::new();
        for info in self.list().await {
            // One that can't be had right now has no load to tell.
            if let Ok(model) = self.resolve(&info.id).await {
                running.extend(RunningModel::new(info, model.load()));
            }
        }
        running
    }

    /// Fetches a model, so that it can be served afterwards. One that is here already needs no step.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] where nothing can be fetched, [`ModelError::NotFound`] for a name that no source knows;
    /// in the stream, why it could not be had.
    async fn pull(&self, name: &str) -> Result<PullStream> {
        Err(ModelError::Unsupported { model: name.to_owned(), what: "being fetched by this service".to_owned() })
    }

    /// Can requests be served? Otherwise the reasons, for `/readyz`.
    ///
    /// # Errors
    /// One line for each thing that is missing.
    fn ready(&self) -> std::result::Result<(), Vec<String>>;
}

#[async_trait]
impl<M: Models + ?Sized> Models for Arc<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        (**self).resolve(name).await
    }

    async fn list(&self) -> Vec<ModelInfo> {
        (**self).list().await
    }

    async fn running(&self) -> Vec<RunningModel> {
        (**self).running().await
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        (**self).pull(name).await
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        (**self).ready()
    }
}

/// One model under its own name.
pub struct SingleModel(Arc<dyn Model>);

impl SingleModel {
    /// Serves just this model.
    pub fn new(model: Arc<dyn Model>) -> Self {
        Self(model)
    }
}

#[async_trait]
impl Models for SingleModel {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        if name.is_empty() || name == self.0.info().id {
            return Ok(Arc::clone(&self.0));
        }
        Err(ModelError::NotFound { model: name.to_owned(), suggestion: Some(self.0.info().id.clone()) })
    }

    async fn list(&self) -> Vec<ModelInfo> {
        vec![self.0.info().clone()]
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        Ok(())
    }
}
