//! `/v1/models` and `/v1/models/{name}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use llmo_core::ModelError;
use serde_json::Value;

use super::state::Frontend;
use crate::dialect::model_name;
use crate::dialect::openai::models;
use crate::fault::Fault;

pub(super) async fn list(State(frontend): State<Arc<Frontend>>) -> Json<Value> {
    Json(models::list(&frontend.models.list().await))
}

/// Looks the name up in the list: asking for it would load the model.
pub(super) async fn get(State(frontend): State<Arc<Frontend>>, Path(name): Path<String>) -> Result<Json<Value>, Fault> {
    let name = model_name::check(&name)?;
    let all = frontend.models.list().await;
    match all.iter().find(|model| model.id == name) {
        Some(model) => Ok(Json(models::one(model))),
        None => Err(ModelError::NotFound { model: name.to_owned(), suggestion: None }.into()),
    }
}
