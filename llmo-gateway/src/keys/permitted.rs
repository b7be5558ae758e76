//! Models as whoever has a key may see them.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{Model, ModelError, ModelInfo, Models, PullStream, Result, RunningModel};

use super::Holder;

tokio::task_local! {
    /// Whose request this task answers, if they may not use all models. Models are found by name on the handler's task.
    static RESTRICTED: Arc<Holder>;
}

/// Runs `work` as the answer to a request of this holder.
pub(super) async fn during<T>(holder: Arc<Holder>, work: impl Future<Output = T>) -> T {
    if holder.is_restricted() { RESTRICTED.scope(holder, work).await } else { work.await }
}

fn may_use(model: &str) -> bool {
    RESTRICTED.try_with(|holder| holder.may_use(model)).unwrap_or(true)
}

fn is_restricted() -> bool {
    RESTRICTED.try_with(|_| ()).is_ok()
}

/// To whom a key leaves only some models, the others do not exist: they are not found, not listed, not fetched.
pub struct PermittedModels<M> {
    inner: M,
}

impl<M: Models> PermittedModels<M> {
    /// The models of `inner`, as the holder of the request at hand may see them.
    #[must_use]
    pub fn new(inner: M) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl<M: Models> Models for PermittedModels<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        // The empty name is the default model, whichever that is.
        if !name.is_empty() && !may_use(name) {
            return Err(unknown(name));
        }
        match self.inner.resolve(name).await {
            Ok(model) if name.is_empty() && !may_use(&model.info().id) => Err(unknown(name)),
            // A suggestion would tell of models that are none of their business, and its absence which names are.
            Err(ModelError::NotFound { model, .. }) if is_restricted() => Err(unknown(&model)),
            found => found,
        }
    }

    async fn list(&self) -> Vec<ModelInfo> {
        let mut all = self.inner.list().await;
        all.retain(|info| may_use(&info.id));
        all
    }

    async fn running(&self) -> Vec<RunningModel> {
        let mut running = self.inner.running().await;
        running.retain(|model| may_use(&model.info.id));
        running
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        if may_use(name) { self.inner.pull(name).await } else { Err(unknown(name)) }
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        self.inner.ready()
    }
}

fn unknown(name: &str) -> ModelError {
    ModelError::NotFound { model: name.to_owned(), suggestion: None }
}
