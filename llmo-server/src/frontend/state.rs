//! What all handlers share.

use std::sync::Arc;

use llmo_core::{Model, Models};

use super::FrontendOptions;
use super::context::Context;
use crate::dialect::model_name;
use crate::fault::Fault;
use crate::metrics::generation::{Measurement, Operation};

/// State of a front end.
pub(super) struct Frontend {
    pub(super) models: Arc<dyn Models>,
    pub(super) options: FrontendOptions,
}

impl Frontend {
    /// The model of this name, and a measurement that has begun.
    pub(super) async fn resolve(
        &self,
        name: &str,
        operation: Operation,
        context: &Context,
    ) -> Result<(Arc<dyn Model>, Measurement), Fault> {
        let found = self.find(name, context).await;
        let generation = &self.options.metrics.generation;
        match found {
            Ok(model) => {
                let measurement = generation.start(operation, name, &model.info().id).recorded(context.record.clone());
                Ok((model, measurement))
            }
            Err(fault) => {
                generation.refused(operation, &fault, context.record.clone());
                Err(fault)
            }
        }
    }

    /// The model of this name. Names that no model can have are not even looked for.
    pub(super) async fn find(&self, name: &str, context: &Context) -> Result<Arc<dyn Model>, Fault> {
        let name = model_name::check(name)?;
        context.in_time("while the model was being found", self.models.resolve(name)).await
    }
}
