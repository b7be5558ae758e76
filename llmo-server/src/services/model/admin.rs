//! `POST /admin/models/load` and `/admin/models/unload`: for whoever runs the service, not for its callers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use http::header::ORIGIN;
use llmo_core::Models;
use llmo_core::model::KeepAlive;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dialect::model_name;
use crate::fault::Fault;
use crate::http::body::{self, BodyLimits};

/// Nothing here is long.
const MAX_BODY: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Order {
    model: String,
    keep_alive: Option<KeepAlive>,
}

/// The routes that load and unload models.
pub fn admin_routes(models: Arc<dyn Models>) -> Router {
    Router::new().route("/admin/models/load", post(load)).route("/admin/models/unload", post(unload)).with_state(models)
}

async fn load(State(models): State<Arc<dyn Models>>, request: Request) -> Result<axum::Json<Value>, Fault> {
    let order = read(request).await?;
    // Who loads by hand wants it to be there; how long is asked for, or for ever.
    keep(&*models, &order.model, order.keep_alive.unwrap_or(KeepAlive::Forever)).await
}

async fn unload(State(models): State<Arc<dyn Models>>, request: Request) -> Result<axum::Json<Value>, Fault> {
    let order = read(request).await?;
    keep(&*models, &order.model, KeepAlive::NOT_AT_ALL).await
}

async fn read(request: Request) -> Result<Order, Fault> {
    // Browsers name the page that sends; no page has any business here.
    if request.headers().contains_key(ORIGIN) {
        return Err(Fault::unsupported("origin", "web pages can't load and unload models"));
    }
    let limits = BodyLimits { max_bytes: MAX_BODY, timeout: BODY_TIMEOUT };
    let order: Order = crate::http::json::parse(&body::read_json(request, limits).await?)?;
    model_name::check(&order.model)?;
    Ok(order)
}

async fn keep(models: &dyn Models, name: &str, keep_alive: KeepAlive) -> Result<axum::Json<Value>, Fault> {
    let model = models.resolve(name).await?;
    model.keep(keep_alive).await?;
    Ok(axum::Json(json!({"model": model.info().id, "residence": model.load().residence})))
}
