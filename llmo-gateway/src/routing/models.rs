//! Models as rules lead to them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use async_trait::async_trait;
use fastrand::Rng;
use llmo_config::TenantFrom;
use llmo_core::model::{Model, ModelError, ModelInfo, Models, PullStream, Result, RunningModel};

use super::explained::Explained;
use super::{Asked, Chain, Facts, RouteMetrics, RouteTable};

/// The rules that hold now. Clones are the same.
#[derive(Debug, Clone)]
pub struct Routes {
    table: Arc<ArcSwap<RouteTable>>,
    tenant_from: TenantFrom,
}

impl Routes {
    /// These rules, until others come. `tenant_from` says whom a request belongs to.
    #[must_use]
    pub fn new(table: RouteTable, tenant_from: TenantFrom) -> Self {
        Self { table: Arc::new(ArcSwap::from_pointee(table)), tenant_from }
    }

    /// What tells tenants apart.
    #[must_use]
    pub fn tenant_from(&self) -> TenantFrom {
        self.tenant_from
    }

    /// The rules.
    #[must_use]
    pub fn table(&self) -> Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// From now on these. Requests that were decided already go on as decided.
    pub fn replace(&self, table: RouteTable) {
        self.table.store(Arc::new(table));
    }
}

/// Models under the names that rules give them, and under their own.
pub struct RuledModels<M> {
    inner: M,
    routes: Routes,
    usable: Box<dyn Fn(&str) -> bool + Send + Sync>,
    metrics: RouteMetrics,
}

impl<M: Models> RuledModels<M> {
    /// The models of `inner`, found by `routes`. `usable` says whether a model of this name can be served now.
    #[must_use]
    pub fn new(
        inner: M,
        routes: Routes,
        usable: Box<dyn Fn(&str) -> bool + Send + Sync>,
        metrics: RouteMetrics,
    ) -> Self {
        Self { inner, routes, usable, metrics }
    }

    /// A model that a rule leads to. That it is not there is no mistake of whoever asked.
    async fn target(&self, name: &str, route: &str) -> Result<Arc<dyn Model>> {
        self.inner.resolve(name).await.map_err(|error| match error {
            ModelError::NotFound { .. } => {
                ModelError::unavailable(format!("the route {route:?} leads to {name:?}, which no replica serves"))
            }
            other => other,
        })
    }
}

#[async_trait]
impl<M: Models> Models for RuledModels<M> {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        let decision = {
            let table = self.routes.table();
            if table.routes().is_empty() {
                None
            } else {
                let facts = Facts::current();
                let asked = Asked { model: name, facts: facts.as_deref() };
                table.decide(&asked, &self.usable, &mut Rng::new())
            }
        };
        let Some(decision) = decision else { return self.inner.resolve(name).await };
        self.metrics.matched(&decision.route);
        let (mut links, mut refused) = (Vec::new(), None);
        for (place, target) in decision.chain.iter().enumerate() {
            // The model that was asked for, and left as it is, may well not exist.
            let found = match target == name {
                true => self.inner.resolve(name).await,
                false => self.target(target, &decision.route).await,
            };
            match found {
                Ok(model) => links.push(model),
                Err(error) if place == 0 => refused = Some(error),
                // It is the last resort of others; the first refusal is the one to tell.
                Err(_) => {}
            }
        }
        let meant = decision.chain.first().map_or(name, String::as_str);
        let explained =
            |model: Arc<dyn Model>| -> Arc<dyn Model> { Arc::new(Explained::new(model, &decision.route, name, meant)) };
        match (links.len(), refused) {
            (0, refused) => Err(refused.unwrap_or_else(|| ModelError::unavailable("the route leads nowhere"))),
            (1, None) => Ok(explained(links.swap_remove(0))),
            (_, refused) => {
                if let Some(error) = &refused {
                    self.metrics.fell_back(&decision.route, error.code());
                }
                let route = Arc::clone(&decision.route);
                Ok(explained(Arc::new(Chain::new(route, links, refused, self.metrics.clone()))))
            }
        }
    }

    /// The models, and the names that rules give them.
    async fn list(&self) -> Vec<ModelInfo> {
        let mut all = self.inner.list().await;
        let table = self.routes.table();
        for route in table.routes() {
            for alias in route.aliases() {
                let known = |name: &str| all.iter().find(|info| info.id == name);
                let target =
                    route.to.iter().map(|target| &target.model).chain(&route.fallback).find_map(|to| known(to));
                if let (None, Some(target)) = (known(alias), target) {
                    let mut info = target.clone();
                    info.id = alias.to_owned();
                    all.push(info);
                }
            }
        }
        all
    }

    async fn running(&self) -> Vec<RunningModel> {
        self.inner.running().await
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        self.inner.pull(name).await
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        self.inner.ready()
    }
}
