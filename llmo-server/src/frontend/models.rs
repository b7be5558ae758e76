//! `/v1/models` and `/v1/models/{name}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::HeaderMap;
use llmo_core::ModelError;
use serde_json::Value;

use super::state::Frontend;
use crate::dialect::openai::models;
use crate::dialect::{anthropic, model_name};
use crate::fault::Fault;

/// Anthropic's clients say so, and want the list in their own form.
fn is_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key("anthropic-version")
}

pub(super) async fn list(State(frontend): State<Arc<Frontend>>, headers: HeaderMap) -> Json<Value> {
    let all = frontend.models.list().await;
    Json(if is_anthropic(&headers) { anthropic::models::list(&all) } else { models::list(&all) })
}

/// Looks the name up in the list: asking for it would load the model.
pub(super) async fn get(
    State(frontend): State<Arc<Frontend>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Value>, Fault> {
    let name = model_name::check(&name)?;
    let all = frontend.models.list().await;
    match all.iter().find(|model| model.id == name) {
        Some(model) if is_anthropic(&headers) => Ok(Json(anthropic::models::one(model))),
        Some(model) => Ok(Json(models::one(model))),
        None => Err(ModelError::NotFound { model: name.to_owned(), suggestion: None }.into()),
    }
}
