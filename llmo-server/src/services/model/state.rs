//! How far a model is.

use std::sync::Arc;
use std::time::Duration;

use llmo_core::{Model, ModelError};

/// How far a model is.
#[derive(Clone)]
pub(super) enum State {
    /// It will be loaded; what is being done for it right now.
    Loading(String),
    /// It answers.
    Ready(Arc<dyn Model>),
    /// It can't be loaded. `again`: it will be tried again.
    Failed { error: ModelError, again: bool },
}

impl State {
    /// The model, or what a caller is told.
    pub(super) fn model(&self, id: &str) -> Result<Arc<dyn Model>, ModelError> {
        match self {
            Self::Ready(model) => Ok(Arc::clone(model)),
            Self::Loading(doing) => Err(ModelError::Unavailable {
                reason: format!("the model {id:?} is being loaded ({doing})"),
                retry_after: Duration::from_secs(1),
            }),
            Self::Failed { error, again: true } => Err(ModelError::Unavailable {
                reason: format!("the model {id:?} could not be loaded and will be tried again: {error}"),
                retry_after: Duration::from_secs(5),
            }),
            Self::Failed { error, again: false } => Err(error.clone()),
        }
    }

    /// Why the service isn't ready because of this model, if so.
    pub(super) fn reason(&self, id: &str) -> Option<String> {
        match self {
            // In a process of its own it may be down for a while.
            Self::Ready(model) => model.process()?.down.map(|why| format!("{id}: {why}")),
            Self::Loading(doing) => Some(format!("{id}: {doing}")),
            Self::Failed { error, .. } => Some(format!("{id}: {error}")),
        }
    }
}
