//! Models of this very process as a replica: how `llmo up` is the same stack as a gateway in front of services.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{Model, ModelInfo, Models};
use parking_lot::RwLock;

use crate::health::Probe;
use crate::replica::{Connect, ProbeOutcome, Replica, Reported};

/// The address that stands for this process.
pub const LOCAL_URL: &str = "http://in-process";

/// Models of this process, as the pool sees a replica. Cheap to clone.
#[derive(Clone)]
pub struct LocalReplica {
    models: Arc<dyn Models>,
    ready: Arc<RwLock<HashMap<String, Arc<dyn Model>>>>,
}

impl LocalReplica {
    /// These models.
    #[must_use]
    pub fn new(models: Arc<dyn Models>) -> Self {
        Self { models, ready: Arc::default() }
    }

    /// "Connects" to a model: the one that the last check found.
    #[must_use]
    pub fn connector(&self) -> Box<Connect> {
        let ready = Arc::clone(&self.ready);
        Box::new(move |info: &ModelInfo, _| {
            ready.read().get(&info.id).cloned().ok_or_else(|| format!("{:?} is not loaded", info.id))
        })
    }
}

#[async_trait]
impl Probe for LocalReplica {
    async fn check(&self, _: &Replica) -> ProbeOutcome {
        if let Err(reasons) = self.models.ready() {
            return ProbeOutcome::NotReady { reasons, models: Vec::new() };
        }
        let (mut ready, mut reported) = (HashMap::new(), Vec::new());
        for info in self.models.list().await {
            if let Ok(model) = self.models.resolve(&info.id).await {
                reported.push(Reported { load: model.load(), info: info.clone() });
                ready.insert(info.id, model);
            }
        }
        *self.ready.write() = ready;
        ProbeOutcome::Ready(reported)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use llmo_backends::sim::{SimModel, SimOptions};
    use llmo_core::model::SingleModel;

    use super::*;

    #[tokio::test]
    async fn a_model_of_this_process_is_connected_to_once_a_check_found_it() {
        let model: Arc<dyn Model> = Arc::new(SimModel::new(SimOptions::named("m")));
        let local = LocalReplica::new(Arc::new(SingleModel::new(Arc::clone(&model))));
        let (replica, connect) = (Replica::new(LOCAL_URL, Instant::now()), local.connector());
        assert!(connect(model.info(), &replica).is_err());
        assert!(matches!(local.check(&replica).await, ProbeOutcome::Ready(found) if found.len() == 1));
        assert!(Arc::ptr_eq(&connect(model.info(), &replica).expect("found"), &model));
    }
}
