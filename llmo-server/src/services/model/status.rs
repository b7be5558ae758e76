//! `GET /internal/status`: what a gateway, or `llmo ps`, has to know of whoever serves models.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::routing::get;
use llmo_core::model::{Load, Process, Residence, ResidenceState};
use llmo_core::{ModelInfo, Models};
use serde::Serialize;

#[derive(Serialize)]
struct Status {
    build: &'static str,
    ready: bool,
    reasons: Vec<String>,
    models: Vec<ModelStatus>,
    /// Models that are on their way into memory and can't be asked for yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    loading: Vec<Arriving>,
}

#[derive(Serialize)]
struct Arriving {
    model: String,
    #[serde(flatten)]
    residence: Residence,
}

#[derive(Serialize)]
struct ModelStatus {
    info: ModelInfo,
    load: Load,
    /// The process that the engine runs in, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

/// The route that tells which models are served and how busy each is.
pub fn status_route(models: Arc<dyn Models>) -> Router {
    Router::new().route(
        "/internal/status",
        get(move || {
            let models = Arc::clone(&models);
            async move { Json(status(&*models).await) }
        }),
    )
}

async fn status(models: &dyn Models) -> Status {
    let reasons = models.ready().err().unwrap_or_default();
    let mut served = Vec::new();
    for info in models.list().await {
        // One that can't be had right now has no load to tell.
        if let Ok(model) = models.resolve(&info.id).await {
            served.push(ModelStatus { load: model.load(), process: model.process(), info });
        }
    }
    // Whoever is on the way without being asked for is a reason not to be ready.
    let running = if reasons.is_empty() { Vec::new() } else { models.running().await };
    let arriving = running.into_iter().filter(|model| {
        let known = || served.iter().any(|known| known.info.id == model.info.id);
        model.residence.state == ResidenceState::Loading && !known()
    });
    let loading = arriving.map(|model| Arriving { model: model.info.id, residence: model.residence }).collect();
    Status { build: env!("CARGO_PKG_VERSION"), ready: reasons.is_empty(), reasons, models: served, loading }
}
