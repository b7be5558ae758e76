//! `/tokenize` and `/detokenize`.

use std::sync::Arc;

use axum::extract::State;
use serde_json::{Value, json};

use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::openai::tokens;
use crate::fault::Fault;

pub(super) async fn tokenize(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<axum::Json<Value>, Fault> {
    let call = tokens::parse_tokenize(&body)?;
    let model = frontend.find(&call.model, &context).await?;
    let tokens = context.in_time("while tokenizing", model.tokenize(&call.content, call.options)).await?;
    Ok(axum::Json(json!({"tokens": tokens})))
}

pub(super) async fn detokenize(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<axum::Json<Value>, Fault> {
    let call = tokens::parse_detokenize(&body)?;
    let model = frontend.find(&call.model, &context).await?;
    let content = context.in_time("while detokenizing", model.detokenize(&call.tokens)).await?;
    Ok(axum::Json(json!({"content": content})))
}
