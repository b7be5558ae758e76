//! The gateway put together: replicas, router, layers, and what the dashboard shows of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_config::{Config, Loaded};
use llmo_core::Cache;
use llmo_core::model::Models;
use llmo_server::metrics::Metrics;
use tokio::task::JoinSet;

use crate::admission::{AdmissionOptions, Allowance, Gates};
use crate::dashboard::{Address, Sources};
use crate::health::{CheckIntervals, HttpProbe, MakeProbe, Probe, check_members};
use crate::keys::{self, KeyRing, PermittedModels};
use crate::layered::LayeredModels;
use crate::local::LocalReplica;
use crate::metrics::{AdmissionMetrics, CacheMetrics, MeteredModels, PoolMetrics, RouterMetrics};
use crate::provider::sources;
use crate::provider::{self, Board, Desired, Fleet, NamedProbe, ProviderMetrics, Reloads, Sink};
use crate::pulling::{Fetch, PullingModels};
use crate::replica::{Connect, OutlierOptions, Phase, Pool, Replica};
use crate::router::{Dispatcher, RoutedModels, RouterOptions};
use crate::routing::{RouteMetrics, Routes, RuledModels};
use crate::usage::{Ledger, LedgeredModels};
use crate::{GatewayError, layers, policy, upstream};

/// A gateway over the upstreams of a configuration. It knows its replicas only after their first health checks: see
/// [`start_checks`](Gateway::start_checks).
pub struct Gateway {
    config: Config,
    models: Arc<dyn Models>,
    sources: Sources,
    local: Option<LocalReplica>,
    /// Who may ask, if not everybody, and where what is wrong with their file is told.
    keys: Option<(Arc<KeyRing>, Sink)>,
    /// Where the configuration itself says what is wanted.
    configured: Sink,
    /// Where usage is written down, if it is.
    ledger: Option<Ledger>,
    reload: Option<Loaded>,
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
        let desired = sources::configured(config)?;
        let client = upstream::health_client(&config.gateway).map_err(GatewayError::Client)?;
        let gateway = Self::assemble(config, cache, desired, upstream::connector(&config.gateway))?;
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
        let desired = sources::configured_locally(config);
        let gateway = Self::assemble(config, cache, desired, local.connector())?;
        Ok(Self { local: Some(local), ..gateway }.fetching(Fetch::Here(models)))
    }

    /// From now on changes of the configuration's file are applied while the gateway runs: upstreams and routes.
    #[must_use]
    pub fn reloading(mut self, loaded: &Loaded) -> Self {
        self.reload = Some(loaded.clone());
        self
    }

    fn fetching(mut self, fetch: Fetch) -> Self {
        let all = PullingModels::new(self.models, fetch);
        self.models = if self.keys.is_some() { Arc::new(PermittedModels::new(all)) } else { Arc::new(all) };
        self
    }

    fn assemble(
        config: &Config,
        cache: Option<Arc<dyn Cache>>,
        desired: Desired,
        connect: Box<Connect>,
    ) -> Result<Self, GatewayError> {
        let now = Instant::now();
        let replicas = desired.targets.iter().map(|target| Arc::new(target.replica(now)));
        let pool = Arc::new(Pool::new(replicas.collect(), OutlierOptions::default(), connect, now));
        let board = Board::new(ProviderMetrics::default());
        let configured = board.add("config");
        configured.publish(desired).map_err(GatewayError::Discovery)?;
        let keys = open_keys(config, &board)?;
        let routes = Routes::new(board.wanted().borrow().table.clone(), keys::tenant_from(&config.gateway));
        let chosen = policy::from_config(&config.gateway);
        let (name, router) = (chosen.name(), RouterMetrics::default());
        let dispatcher =
            Dispatcher::new(Arc::clone(&pool), chosen, RouterOptions::from(&config.gateway), router.clone());
        let sources = Sources {
            models: RoutedModels::new(Arc::new(dispatcher)),
            policy: name,
            router,
            traffic: Arc::default(),
            cache: cache.map(|cache| (cache, Arc::default())),
            gates: Arc::new(Gates::new(AdmissionOptions::from(&config.gateway), Allowance::new(config)?)),
            started: now,
            routes: routes.clone(),
            route_metrics: RouteMetrics::default(),
            board,
            reloads: Reloads::default(),
            registry: sources::registry(config)?,
            api: Address { advertised: config.gateway.advertise.clone(), port: config.gateway.port },
        };
        let wrap = layers::stack(config, &sources);
        let layered = LayeredModels::new(sources.models.clone(), wrap);
        let usable = move |model: &str| pool.snapshot().route(model).is_some_and(|route| !route.seats.is_empty());
        let ruled = RuledModels::new(layered, routes, Box::new(usable), sources.route_metrics.clone());
        let metered = MeteredModels::new(ruled, Arc::clone(&sources.traffic));
        let ledger = open_ledger(config)?;
        let models: Arc<dyn Models> = match &ledger {
            Some(ledger) => Arc::new(LedgeredModels::new(metered, ledger.clone())),
            None => Arc::new(metered),
        };
        Ok(Self { config: config.clone(), models, sources, local: None, keys, configured, ledger, reload: None })
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

    /// The API keys, if there have to be any.
    #[must_use]
    pub fn keys(&self) -> Option<&Arc<KeyRing>> {
        self.keys.as_ref().map(|(ring, _)| ring)
    }

    /// Where usage is written down, if it is.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
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
            self.sources.route_metrics.register(registry);
            self.sources.board.metrics().register(registry);
            registry.register_collector(Box::new(PoolMetrics(Arc::clone(self.pool()))));
            registry.register_collector(Box::new(AdmissionMetrics(Arc::clone(&self.sources.gates))));
            if let Some(allowance) = self.sources.gates.allowance() {
                let help = "Requests whose tenant's limit was counted locally because Redis did not answer";
                registry.register("llmo_limits_local", help, allowance.counted_locally().clone());
            }
        });
        if let Some(ledger) = &self.ledger {
            metrics.register(|registry| ledger.metrics().register(registry));
        }
        if let Some((cache, stats)) = &self.sources.cache {
            metrics.register(|registry| registry.register_collector(Box::new(CacheMetrics(Arc::clone(stats)))));
            llmo_server::metrics::cache::observe(metrics, Arc::clone(cache));
        }
    }

    /// Starts checking every replica and watching all that says which replicas and routes there are, for as long as the
    /// returned set lives.
    ///
    /// # Errors
    /// [`GatewayError::Client`]; [`GatewayError::Discovery`] for a source that can't work as configured.
    pub fn start_checks(&self) -> Result<JoinSet<()>, GatewayError> {
        let watched = self.watched()?;
        self.sources.reloads.watch(&watched);
        let (board, routes) = (self.sources.board.clone(), self.sources.routes.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(check_members(Arc::clone(self.pool()), self.probe()?, CheckIntervals::from(&self.config.gateway)));
        tasks.spawn(provider::run(board, watched, Fleet::new(Arc::clone(self.pool())), routes));
        Ok(tasks)
    }

    fn probe(&self) -> Result<Box<MakeProbe>, GatewayError> {
        if let Some(local) = self.local.clone() {
            return Ok(Box::new(move |_: &Replica| -> Box<dyn Probe> { Box::new(local.clone()) }));
        }
        let client = upstream::health_client(&self.config.gateway).map_err(GatewayError::Client)?;
        let timeout = Duration::from_millis(self.config.gateway.health_timeout_ms);
        let probe = move || NamedProbe(HttpProbe::new(client.clone(), timeout));
        Ok(Box::new(move |_: &Replica| -> Box<dyn Probe> { Box::new(probe()) }))
    }

    /// What is watched: the configuration's own file, and, for a gateway in front of services, where those are found.
    fn watched(&self) -> Result<Vec<sources::Watched>, GatewayError> {
        let is_local = self.local.is_some();
        let mut watched = if is_local {
            Vec::new()
        } else {
            sources::discovered(&self.config, self.sources.registry.as_ref(), &self.sources.board)?
        };
        if let Some(loaded) = self.reload.clone()
            && let Some(file) = loaded.file.clone()
        {
            let wants = move |config: &Config| match is_local {
                true => Ok(sources::configured_locally(config)),
                false => sources::configured(config).map_err(|error| error.to_string()),
            };
            watched.push((sources::own_file(loaded, file, wants), self.configured.clone()));
        }
        if let Some((ring, sink)) = &self.keys {
            let interval = Duration::from_millis(self.config.discovery.file_interval_ms);
            watched.push((sources::keys_file(ring, interval), sink.clone()));
        }
        Ok(watched)
    }

    /// Waits until every source was heard and every replica was checked once, but not longer than `limit`: a gateway that
    /// has just started should not refuse what it could serve a moment later.
    pub async fn first_checks(&self, limit: Duration) {
        let checked = async {
            let unknown = || self.pool().snapshot().replicas.iter().any(|s| s.health.phase() == Phase::Unknown);
            while !self.sources.board.all_heard() || unknown() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Those that did not answer in time are checked on while the gateway serves.
        let _ = tokio::time::timeout(limit, checked).await;
    }
}

/// The keys that have to be good at the start; later a file that is no good changes nothing.
fn open_keys(config: &Config, board: &Board) -> Result<Option<(Arc<KeyRing>, Sink)>, GatewayError> {
    let file = &config.gateway.keys_file;
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let ring = KeyRing::open(file).map_err(GatewayError::Keys)?;
    let sink = board.add("keys");
    sink.publish(Desired::default()).map_err(GatewayError::Keys)?;
    Ok(Some((Arc::new(ring), sink)))
}

fn open_ledger(config: &Config) -> Result<Option<Ledger>, GatewayError> {
    let path = &config.gateway.usage_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let most_bytes = config.gateway.usage_file_mb.max(1) << 20;
    let opened = Ledger::open(path, most_bytes);
    opened.map(Some).map_err(|source| GatewayError::Usage { path: path.clone(), source })
}
