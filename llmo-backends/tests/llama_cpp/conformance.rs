//! The suite that every model passes.

use llmo_core::conformance::model::{ModelSuite, check};

use crate::support::{load, options};

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_passes_the_conformance_suite() {
    check(load(options()), ModelSuite::default()).await;
}
