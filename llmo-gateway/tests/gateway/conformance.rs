//! A model behind the gateway keeps the contract of a model: layers, router, wire and front end change nothing.

use std::sync::Arc;

use llmo_backends::sim::{SimOptions, SimText};
use llmo_cache::memory::{MemoryCache, MemoryOptions};
use llmo_config::Config;
use llmo_core::Cache;
use llmo_core::conformance::model::{ModelSuite, check};
use llmo_gateway::Gateway;
use llmo_gateway::router::RouterOptions;

use crate::fleet::Fleet;
use crate::service::Service;

/// Slow enough for a generation to be caught running, quick enough for a test. Tagged words: completions list
/// alternatives by their text, and numbered words have the same text whatever the token.
fn sim() -> SimOptions {
    let mut sim = SimOptions::default();
    sim.text = SimText::Tagged;
    sim.decode_tokens_per_second = 500.0;
    sim
}

/// Replicas report their load now and then: how many slots are free at this moment is not known.
fn suite() -> ModelSuite {
    let mut suite = ModelSuite::default();
    suite.load = false;
    suite
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routed_model_is_a_model() {
    let fleet = Fleet::with(2, sim(), RouterOptions::default());
    check(fleet.model().await, suite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_behind_the_whole_gateway_is_a_model() {
    let services = [Service::start(sim()).await, Service::start(sim()).await];
    let mut config = Config::default();
    config.gateway.upstreams = services.iter().map(Service::url).collect();
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(MemoryOptions::default()));
    let gateway = Gateway::with_cache(&config, Some(cache)).expect("good URLs");
    let _checks = gateway.start_checks().expect("a client");
    gateway.first_checks(std::time::Duration::from_secs(5)).await;
    let model = gateway.models().resolve("sim").await.expect("replicas are up");
    check(model, suite()).await;
}
