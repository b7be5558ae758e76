//! `llmo up`: everything in one process. The same stack as the gateway, over models of this process.

use std::sync::Arc;

use llmo_config::Config;
use llmo_core::Models;
use llmo_gateway::{Gateway, Listeners};
use llmo_server::services::model::LocalModels;
use tokio_util::sync::CancellationToken;

use crate::error::{CliError, Result};

pub(crate) async fn run(config: &Config, shutdown: CancellationToken) -> Result {
    let said = |error: llmo_gateway::GatewayError| CliError::Message(error.to_string());
    // Ports first: a taken one is said before anything is loaded.
    let listeners = Listeners::bind(config).await.map_err(said)?;
    let models: Arc<dyn Models> = LocalModels::start(config).await?;
    let gateway = Gateway::local(config, models).await.map_err(said)?;
    gateway.serve(listeners, shutdown).await.map_err(said)
}
