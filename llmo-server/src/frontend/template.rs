//! `/apply-template`.

use std::sync::Arc;

use axum::extract::State;
use llmo_core::ModelError;
use serde_json::{Value, json};

use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::openai::chat;
use crate::fault::Fault;

/// The prompt that a chat request becomes: the same fields, and nothing is generated.
pub(super) async fn apply(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<axum::Json<Value>, Fault> {
    let mut call = chat::parse(&body)?;
    let mut job = call.jobs.pop().ok_or_else(|| ModelError::Internal("a chat without a generation".into()))?;
    context.apply(&mut job);
    let model = frontend.find(&call.model, &context).await?;
    let prompt = context.in_time("while the template was applied", model.render(job)).await?;
    Ok(axum::Json(json!({"prompt": prompt})))
}
