//! Layers around routed models: one stack for each model, kept as long as the model stays the same.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use llmo_core::model::{Model, ModelInfo, Models, Result, RunningModel};
use parking_lot::Mutex;

/// Puts layers around a model.
pub type Wrap = dyn Fn(Arc<dyn Model>) -> Arc<dyn Model> + Send + Sync;

/// Models with layers around them.
///
/// Layers have a memory (which requests run, what is cached under which digest), so they are made once for each model,
/// and made anew when the model changes under its name.
pub struct LayeredModels<M> {
    inner: M,
    wrap: Box<Wrap>,
    stacks: Mutex<HashMap<String, Arc<dyn Model>>>,
}

impl<M: Models> LayeredModels<M> {
    /// Puts `wrap` around every model of `inner`.
    #[must_use]
    pub fn new(inner: M, wrap: Box<Wrap>) -> Self {
        Self { inner, wrap, stacks: Mutex::default() }
    }
}

/// Nearly always they are one and the same in memory, too: nothing is compared then.
fn same(a: &ModelInfo, b: &ModelInfo) -> bool {
    std::ptr::eq(a, b) || a == b
}

#[async_trait]
impl<M: Models> Models for LayeredModels<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        // Asked every time: only the inner models know whether anybody can serve this one now.
        let model = self.inner.resolve(name).await?;
        let mut stacks = self.stacks.lock();
        if let Some(stack) = stacks.get(&model.info().id)
            && same(stack.info(), model.info())
        {
            return Ok(Arc::clone(stack));
        }
        let id = model.info().id.clone();
        let stack = (self.wrap)(model);
        stacks.insert(id, Arc::clone(&stack));
        Ok(stack)
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.inner.list().await
    }

    async fn running(&self) -> Vec<RunningModel> {
        self.inner.running().await
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        self.inner.ready()
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::model::SingleModel;

    use super::*;
    use crate::test_models::Silent;

    /// Serves whatever model it holds at the moment.
    struct Changing(Mutex<Arc<Silent>>);

    #[async_trait]
    impl Models for Changing {
        async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
            let model: Arc<dyn Model> = self.0.lock().clone();
            SingleModel::new(model).resolve(name).await
        }

        async fn list(&self) -> Vec<ModelInfo> {
            Vec::new()
        }

        fn ready(&self) -> std::result::Result<(), Vec<String>> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stack_lasts_as_long_as_its_model_stays_the_same() {
        let changing = Changing(Mutex::new(Arc::new(Silent::new("m"))));
        let layered = LayeredModels::new(changing, Box::new(|model| model));
        let first = layered.resolve("m").await.expect("there");
        *layered.inner.0.lock() = Arc::new(Silent::new("m"));
        assert!(Arc::ptr_eq(&first, &layered.resolve("").await.expect("there")));
        *layered.inner.0.lock() = Arc::new(Silent::new("m").with_digest("other weights"));
        assert!(!Arc::ptr_eq(&first, &layered.resolve("m").await.expect("there")));
    }
}
