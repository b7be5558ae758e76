//! The gateway put together: replicas, router, layers, and what the dashboard shows of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_config::Config;
use llmo_core::Cache;
use llmo_core::model::Models;
use llmo_server::metrics::Metrics;
use tokio::task::JoinSet;

use crate::admission::{AdmissionOptions, Allowance, Gates};
use crate::dashboard::Sources;
use crate::health::{CheckIntervals, HttpProbe, Probe, check_members};
use crate::layered::LayeredModels;
use crate::local::{LOCAL_URL, LocalReplica};
use crate::metrics::{AdmissionMetrics, CacheMetrics, MeteredModels, PoolMetrics, RouterMetrics};
use crate::pulling::{Fetch, PullingModels};
use crate::replica::{Connect, OutlierOptions, Phase, Pool, Replica};
use crate::router::{Dispatcher, RoutedModels, RouterOptions};
use crate::upstream_url::upstream_urls;
use crate::{GatewayError, layers, policy, upstream};

/// A gateway over the upstreams of a configuration. It knows its replicas only after their first health checks: see
/// [`start_checks`](Gateway::start_checks).
pub struct Gateway {
    config: Config,
    models: Arc<dyn Models>,
    sources: Sources,
    local: Option<LocalReplica>,
}

impl Gateway {
    /// A gateway with the response cache that the configuration names.
    ///
    /// # Errors
    /// [`GatewayError::InvalidUpstream`], [`GatewayError::Wiring`].
    pub async fn new(config: &Config) -> Result<Self, GatewayError> {
        let cache = llmo_server::wiring::answer_cache(&config.cache).await?;
        Self::with_cache(config, cache)
    }

    /// A gateway with this response cache, or without one.
    ///
    /// # Errors
    /// [`GatewayError::InvalidUpstream`], [`GatewayError::Client`].
    pub fn with_cache(config: &Config, cache: Option<Arc<dyn Cache>>) -> Result<Self, GatewayError> {
        let urls = upstream_urls(config)?;
        let client = upstream::health_client(&config.gateway).map_err(GatewayError::Client)?;
        let gateway = Self::assemble(config, cache, &urls, upstream::connector(&config.gateway))?;
        let fetch = Fetch::There { pool: Arc::clone(gateway.pool()), client };
        Ok(gateway.fetching(fetch))
    }

    /// The same stack over models of this process.
    ///
    /// # Errors
    /// [`GatewayError::Wiring`].
    pub async fn local(config: &Config, models: Arc<dyn Models>) -> Result<Self, GatewayError> {
        let cache = llmo_server::wiring::answer_cache(&config.cache).await?;
        let local = LocalReplica::new(Arc::clone(&models));
        let gateway = Self::assemble(config, cache, &[LOCAL_URL.to_owned()], local.connector())?;
        Ok(Self { local: Some(local), ..gateway }.fetching(Fetch::Here(models)))
    }

    fn fetching(mut self, fetch: Fetch) -> Self {
        self.models = Arc::new(PullingModels::new(self.models, fetch));
        self
    }

    fn assemble(
        config: &Config,
        cache: Option<Arc<dyn Cache>>,
        urls: &[String],
        connect: Box<Connect>,
    ) -> Result<Self, GatewayError> {
        let now = Instant::now();
        let replicas = urls.iter().map(|url| Arc::new(Replica::new(url, now))).collect();
        let pool = Arc::new(Pool::new(replicas, OutlierOptions::default(), connect, now));
        let chosen = policy::from_config(&config.gateway);
        let (name, router) = (chosen.name(), RouterMetrics::default());
        let dispatcher = Dispatcher::new(pool, chosen, RouterOptions::from(&config.gateway), router.clone());
        let sources = Sources {
            models: RoutedModels::new(Arc::new(dispatcher)),
            policy: name,
            router,
            traffic: Arc::default(),
            cache: cache.map(|cache| (cache, Arc::default())),
            gates: Arc::new(Gates::new(AdmissionOptions::from(&config.gateway), Allowance::new(config)?)),
            started: now,
        };
        let wrap = layers::stack(config, &sources);
        let layered = LayeredModels::new(sources.models.clone(), wrap);
        let models = Arc::new(MeteredModels::new(layered, Arc::clone(&sources.traffic)));
        Ok(Self { config: config.clone(), models, sources, local: None })
    }

    /// The configuration it was made from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the front end serves: every model of every replica, with all layers.
    #[must_use]
    pub fn models(&self) -> Arc<dyn Models> {
        Arc::clone(&self.models)
    }

    /// The replicas.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        self.sources.models.dispatcher().pool()
    }

    /// What the dashboard shows.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Makes the gateway's metrics appear among `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            self.sources.router.register(registry);
            registry.register_collector(Box::new(PoolMetrics(Arc::clone(self.pool()))));
            registry.register_collector(Box::new(AdmissionMetrics(Arc::clone(&self.sources.gates))));
            if let Some(allowance) = self.sources.gates.allowance() {
                let help = "Requests whose tenant's limit was counted locally because Redis did not answer";
                registry.register("llmo_limits_local", help, allowance.counted_locally().clone());
            }
        });
        if let Some((cache, stats)) = &self.sources.cache {
            metrics.register(|registry| registry.register_collector(Box::new(CacheMetrics(Arc::clone(stats)))));
            llmo_server::metrics::cache::observe(metrics, Arc::clone(cache));
        }
    }

    /// Starts checking every replica, also those that come later, for as long as the returned set lives.
    ///
    /// # Errors
    /// [`GatewayError::Client`].
    pub fn start_checks(&self) -> Result<JoinSet<()>, GatewayError> {
        let client = upstream::health_client(&self.config.gateway).map_err(GatewayError::Client)?;
        let timeout = Duration::from_millis(self.config.gateway.health_timeout_ms);
        let intervals = CheckIntervals::from(&self.config.gateway);
        let local = self.local.clone();
        let probe = move |_: &Replica| -> Box<dyn Probe> {
            match &local {
                Some(local) => Box::new(local.clone()),
                None => Box::new(HttpProbe::new(client.clone(), timeout)),
            }
        };
        let mut checks = JoinSet::new();
        checks.spawn(check_members(Arc::clone(self.pool()), Box::new(probe), intervals));
        Ok(checks)
    }

    /// Waits until every replica was checked once, but not longer than `limit`: a gateway that has just started
    /// should not refuse what it could serve a moment later.
    pub async fn first_checks(&self, limit: Duration) {
        let checked = async {
            while self.pool().snapshot().replicas.iter().any(|state| state.health.phase() == Phase::Unknown) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Those that did not answer in time are checked on while the gateway serves.
        let _ = tokio::time::timeout(limit, checked).await;
    }
}
