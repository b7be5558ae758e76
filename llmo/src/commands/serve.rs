//! `llmo serve`: one service of the stack in this process.

use llmo_config::Loaded;
use tokio_util::sync::CancellationToken;

use crate::cli::Role;
use crate::error::{CliError, Result};

pub(crate) async fn run(role: Role, loaded: &Loaded, shutdown: CancellationToken) -> Result {
    let config = &loaded.config;
    let outcome = match role {
        Role::Gateway => llmo_gateway::run_reloading(loaded, shutdown).await.map_err(|error| error.to_string()),
        Role::Model => {
            let mut config = config.clone();
            config.model.isolation = config.model.isolation.in_service();
            llmo_server::services::model::run(&config, shutdown).await.map_err(|error| error.to_string())
        }
        Role::Cache => llmo_server::services::cache::run(config, shutdown).await.map_err(|error| error.to_string()),
        Role::Store => llmo_server::services::store::run(config, shutdown).await.map_err(|error| error.to_string()),
    };
    outcome.map_err(CliError::Message)
}
