//! Finding a model among all replicas by its name.

use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{Model, ModelError, ModelInfo, Models, Result};

use super::{Dispatcher, RoutedModel, suggest};
use crate::replica::ReplicaState;

/// Every model that any replica serves. A model whose replicas are all away stays known, so that its callers are told
/// to come back (503) and not that it doesn't exist (404).
#[derive(Debug, Clone)]
pub struct RoutedModels {
    dispatcher: Arc<Dispatcher>,
}

impl RoutedModels {
    /// The models of the dispatcher's replicas.
    #[must_use]
    pub fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self { dispatcher }
    }

    /// What sends requests to replicas.
    #[must_use]
    pub fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// The model of this name, if a replica can serve it now.
    ///
    /// # Errors
    /// As for [`Models::resolve`].
    pub fn routed(&self, name: &str) -> Result<RoutedModel> {
        let snapshot = self.dispatcher.pool().snapshot();
        let Some(route) = snapshot.route(name) else {
            if snapshot.models().next().is_none() {
                // No replica was ever reached: nobody knows what exists.
                return Err(self.dispatcher.nobody(name));
            }
            let suggestion = suggest::closest(name, snapshot.models().map(|info| info.id.as_str()));
            return Err(ModelError::NotFound { model: name.to_owned(), suggestion });
        };
        if route.seats.is_empty() {
            return Err(self.dispatcher.nobody(&route.info.id));
        }
        Ok(RoutedModel::new(Arc::clone(&route.info), Arc::clone(&self.dispatcher)))
    }
}

#[async_trait]
impl Models for RoutedModels {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        self.routed(name).map(|model| -> Arc<dyn Model> { Arc::new(model) })
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.dispatcher.pool().snapshot().models().map(|info| info.as_ref().clone()).collect()
    }

    /// Ready while any replica can serve anything.
    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        let snapshot = self.dispatcher.pool().snapshot();
        if snapshot.any_seat() {
            return Ok(());
        }
        if snapshot.replicas.is_empty() {
            return Err(vec!["no replicas are known (gateway.upstreams, [[upstreams]], [discovery])".into()]);
        }
        let line = |state: &ReplicaState| {
            let (id, phase) = (state.replica.id(), state.health.phase().as_str());
            format!("replica {id} is {phase}: {}", state.health.reasons().join("; "))
        };
        Err(snapshot.replicas.iter().map(line).collect())
    }
}
