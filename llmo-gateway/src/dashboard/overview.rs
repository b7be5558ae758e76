//! The gateway's state as plain data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_cache::response::ResponseCacheStats;
use llmo_core::model::Models;
use llmo_core::{Cache, CacheStats};
use serde::Serialize;

use crate::admission::Gates;
use crate::metrics::{RouterMetrics, Traffic};
use crate::provider::registry::Registry;
use crate::provider::{Board, Reloads};
use crate::replica::{Phase, Pool, PoolEvent, ReplicaState};
use crate::router::RoutedModels;
use crate::routing::{RouteMetrics, Routes};

/// Longest wait for a cache to tell its size. The page must not hang with Redis.
const CACHE_PATIENCE: Duration = Duration::from_millis(200);

/// Where the dashboard's facts come from.
#[derive(Clone)]
pub struct Sources {
    /// Models, replicas and their events.
    pub models: RoutedModels,
    /// The name of the balancing policy.
    pub policy: &'static str,
    /// Counters of the router.
    pub router: RouterMetrics,
    /// Counters of requests.
    pub traffic: Arc<Traffic>,
    /// The cache and what response caching counts, if there is one.
    pub cache: Option<(Arc<dyn Cache>, Arc<ResponseCacheStats>)>,
    /// Who runs and who waits, for each model.
    pub gates: Arc<Gates>,
    /// When the gateway started.
    pub started: Instant,
    /// The rules that hold.
    pub routes: Routes,
    /// What they decided.
    pub route_metrics: RouteMetrics,
    /// Where replicas and rules come from.
    pub board: Board,
    /// What of it can be read again at once.
    pub reloads: Reloads,
    /// Where model services announce themselves, if they may.
    pub registry: Option<Arc<Registry>>,
    /// Where the API is.
    pub api: Address,
}

/// Where a proxy reaches the API.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its base URL, if one is configured.
    pub advertised: String,
    /// Its port, at whatever name this machine was asked under.
    pub port: u16,
}

/// Everything that the page's top shows.
#[derive(Debug, Serialize)]
pub struct Overview {
    version: &'static str,
    uptime_seconds: u64,
    policy: &'static str,
    ready: bool,
    reasons: Vec<String>,
    replicas: Replicas,
    requests: Requests,
    models: Vec<ModelLine>,
    cache: Option<CacheLine>,
    events: Vec<PoolEvent>,
}

#[derive(Debug, Serialize)]
struct Replicas {
    total: usize,
    usable: usize,
}

#[derive(Debug, Serialize)]
struct Requests {
    total: u64,
    failed: u64,
    in_flight: u64,
    retries: u64,
}

#[derive(Debug, Serialize)]
struct ModelLine {
    id: String,
    replicas: usize,
    context_length: u32,
    quantisation: String,
    generate: bool,
    embed: bool,
    slots: u32,
    slots_free: u32,
    queued: u32,
}

#[derive(Debug, Serialize)]
struct CacheLine {
    tier: &'static str,
    hits: u64,
    misses: u64,
    bypasses: u64,
    saved_tokens: u64,
    entries: Option<u64>,
    bytes: Option<u64>,
}

/// One replica.
#[derive(Debug, Serialize)]
pub struct ReplicaLine {
    id: String,
    weight: f32,
    /// Nothing new goes there, and it goes when nothing runs there any more.
    retiring: bool,
    phase: Phase,
    usable: bool,
    reasons: Vec<String>,
    ejected_seconds: Option<u64>,
    in_flight: u32,
    occupied: u32,
    requests: u64,
    failed: u64,
    failures_in_a_row: u32,
    models: Vec<ReplicaModelLine>,
}

#[derive(Debug, Serialize)]
struct ReplicaModelLine {
    id: String,
    latency_ms: u64,
    slots: u32,
    slots_free: u32,
    queued: u32,
    kv_used: f32,
}

impl Sources {
    /// The whole picture. Asks the cache for its size, but not for long.
    pub async fn overview(&self) -> Overview {
        let cache = match &self.cache {
            Some((cache, stats)) => Some(cache_line(cache.as_ref(), stats).await),
            None => None,
        };
        let ready = self.models.ready();
        let pool = self.pool();
        let snapshot = pool.snapshot();
        let now = Instant::now();
        let models = snapshot.models().filter_map(|info| snapshot.route(&info.id)).map(|route| {
            let load = route.load();
            ModelLine {
                id: route.info.id.clone(),
                replicas: route.seats.len(),
                context_length: route.info.context_length,
                quantisation: route.info.quantisation.to_string(),
                generate: route.info.capabilities.generate,
                embed: route.info.capabilities.embed,
                slots: load.slots,
                slots_free: load.slots_free,
                queued: load.queued_requests,
            }
        });
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs(),
            policy: self.policy,
            ready: ready.is_ok(),
            reasons: ready.err().unwrap_or_default(),
            replicas: Replicas {
                total: snapshot.replicas.len(),
                usable: snapshot.replicas.iter().filter(|state| state.health.usable(now)).count(),
            },
            requests: Requests {
                total: self.traffic.total(),
                failed: self.traffic.failed(),
                in_flight: self.traffic.in_flight(),
                retries: self.router.retries(),
            },
            models: models.collect(),
            cache,
            events: pool.events().latest(),
        }
    }

    /// Every replica.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaLine> {
        let now = Instant::now();
        self.pool().snapshot().replicas.iter().map(|state| replica_line(state, now)).collect()
    }

    /// Can requests be served?
    ///
    /// # Errors
    /// One line for each thing that is missing.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        self.models.ready()
    }

    fn pool(&self) -> &Arc<Pool> {
        self.models.dispatcher().pool()
    }
}

async fn cache_line(cache: &dyn Cache, stats: &ResponseCacheStats) -> CacheLine {
    let size = tokio::time::timeout(CACHE_PATIENCE, cache.stats()).await.ok().and_then(Result::ok);
    let counts = stats.counts();
    CacheLine {
        tier: cache.tier(),
        hits: counts.hits,
        misses: counts.misses,
        bypasses: counts.bypasses,
        saved_tokens: counts.saved_tokens,
        entries: size.map(|size: CacheStats| size.entries),
        bytes: size.map(|size| size.bytes),
    }
}

fn replica_line(state: &ReplicaState, now: Instant) -> ReplicaLine {
    let (requests, failed) = state.replica.totals();
    let ejected = state.health.outlier.ejected_until(now);
    ReplicaLine {
        id: state.replica.id().to_owned(),
        weight: state.replica.weight(),
        retiring: state.replica.is_retiring(),
        phase: state.health.phase(),
        usable: state.health.usable(now),
        reasons: state.health.reasons().to_vec(),
        ejected_seconds: ejected.map(|until| until.duration_since(now).as_secs() + 1),
        in_flight: state.replica.in_flight(),
        occupied: state.replica.occupied(),
        requests,
        failed,
        failures_in_a_row: state.replica.failures_in_a_row(),
        models: state
            .served
            .iter()
            .map(|served| {
                let load = served.load();
                let latency = served.latency.estimate(now).as_millis();
                ReplicaModelLine {
                    id: served.info.id.clone(),
                    latency_ms: u64::try_from(latency).unwrap_or(u64::MAX),
                    slots: load.slots,
                    slots_free: load.slots_free,
                    queued: load.queued_requests,
                    kv_used: load.kv_used,
                }
            })
            .collect(),
    }
}
