//! Simulated replicas behind a router, without sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::model::{GenerateRequest, Model, ModelInfo, Models, Prompt};
use llmo_gateway::metrics::RouterMetrics;
use llmo_gateway::policy::{Policy, PowerOfTwo};
use llmo_gateway::replica::{OutlierOptions, Pool, ProbeOutcome, Replica, Reported};
use llmo_gateway::router::{Dispatcher, RoutedModels, RouterOptions};

/// Replicas `r0`, `r1`, … of the model `sim`, all up.
pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) sims: Vec<Arc<SimModel>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) models: RoutedModels,
}

impl Fleet {
    pub(crate) fn new(n: usize) -> Self {
        Self::with(n, SimOptions::default(), RouterOptions::default())
    }

    pub(crate) fn with(n: usize, sim: SimOptions, options: RouterOptions) -> Self {
        Self::choosing(Arc::new(PowerOfTwo), n, sim, options)
    }

    pub(crate) fn choosing(policy: Arc<dyn Policy>, n: usize, sim: SimOptions, options: RouterOptions) -> Self {
        let now = Instant::now();
        let sims: Vec<_> = (0..n).map(|_| Arc::new(SimModel::new(sim.clone()))).collect();
        let replicas: Vec<_> = (0..n).map(|i| Arc::new(Replica::new(&format!("http://r{i}"), now))).collect();
        let behind = sims.clone();
        let connect = move |_: &ModelInfo, replica: &Replica| {
            let index: usize = replica.id()[1..].parse().map_err(|_| "not one of ours")?;
            let model: Arc<dyn Model> = Arc::clone(&behind[index]) as _;
            Ok(model)
        };
        let pool = Arc::new(Pool::new(replicas.clone(), OutlierOptions::default(), Box::new(connect), now));
        let dispatcher = Dispatcher::new(Arc::clone(&pool), policy, options, RouterMetrics::default());
        let fleet = Self { replicas, sims, pool, models: RoutedModels::new(Arc::new(dispatcher)) };
        (0..n).for_each(|i| fleet.report_up(i));
        fleet
    }

    /// What a health check of a replica that works says.
    pub(crate) fn report_up(&self, index: usize) {
        let sim = &self.sims[index];
        let reported = Reported { info: sim.info().clone(), load: sim.load() };
        self.pool.probed(&self.replicas[index], &ProbeOutcome::Ready(vec![reported]), Instant::now());
    }

    /// What a health check of a dead replica says.
    pub(crate) fn report_gone(&self, index: usize) {
        let outcome = ProbeOutcome::Unreachable { reason: "connection refused".into(), gone: true };
        self.pool.probed(&self.replicas[index], &outcome, Instant::now());
    }

    pub(crate) async fn model(&self) -> Arc<dyn Model> {
        self.models.resolve("sim").await.expect("a replica is up")
    }

    pub(crate) fn attempts(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.totals().0).sum()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.replicas.iter().map(|replica| replica.in_flight()).sum()
    }
}

/// A request for the first `tokens` words.
pub(crate) fn words(tokens: u32) -> GenerateRequest {
    GenerateRequest::new(Prompt::Text("count".into())).max_tokens(tokens)
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let waited = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waited).await.is_ok(), "{what}: not within ten seconds");
}
