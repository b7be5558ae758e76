//! Running the model service until it is told to stop.

use std::sync::Arc;

use llmo_config::Config;
use llmo_core::Models;
use tokio_util::sync::CancellationToken;

use super::{Announcer, LocalModels, ServiceError, admin_routes, status_route};
use crate::frontend::{FrontendOptions, router_with};
use crate::http::{ServeOptions, bind, serve};
use crate::metrics::{Metrics, Role};

/// Serves the models that `config` names until `shutdown`.
///
/// # Errors
/// [`ServiceError`].
pub async fn run(config: &Config, shutdown: CancellationToken) -> Result<(), ServiceError> {
    let setting = "MODEL_SERVICE_PORT or LLMO_MODEL__PORT";
    let listener = bind(&config.model.host, config.model.port, setting).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, models = ?config.model.names, "the model service listens");
    let models = LocalModels::start(config).await?;
    let metrics = Metrics::new(Role::ModelService);
    models.register(&metrics);
    let models: Arc<dyn Models> = models;
    let options = FrontendOptions::new(&config.limits, metrics);
    let more = status_route(Arc::clone(&models)).merge(admin_routes(Arc::clone(&models)));
    let routes = router_with(models, options, more);
    let announcer = Announcer::start(config, address, shutdown.clone());
    serve(listener, routes, ServeOptions::from(&config.limits), shutdown).await?;
    announcer.finish().await;
    Ok(())
}
