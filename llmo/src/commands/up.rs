//! `llmo up`: everything in one process. The same stack as the gateway, over models of this process.

use llmo_config::Loaded;
use llmo_gateway::{Gateway, Listeners};
use llmo_server::metrics::{Metrics, Role};
use llmo_server::services::model::LocalModels;
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, Result};

pub(crate) async fn run(loaded: &Loaded, shutdown: CancellationToken) -> Result {
    let config = &loaded.config;
    let said = |error: llmo_gateway::GatewayError| CliError::Message(error.to_string());
    // Ports first: a taken one is said before anything is loaded.
    let listeners = Listeners::bind(config).await.map_err(said)?;
    let models = LocalModels::start(config).await?;
    let metrics = Metrics::new(Role::Gateway);
    models.register(&metrics);
    let gateway = Gateway::local(config, models).await.map_err(said)?.reloading(loaded);
    gateway.serve_with(listeners, metrics, shutdown).await.map_err(said)
}
