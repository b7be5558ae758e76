//! `/tokenize` and `/detokenize`.

use std::sync::Arc;

use axum::extract::State;
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::openai::tokens;
use crate::fault::Fault;

/// The text of each token is a question of its own; behind a gateway each is a request.
const MAX_PIECES: usize = 4096;

pub(super) async fn tokenize(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<axum::Json<Value>, Fault> {
    let call = tokens::parse_tokenize(&body)?;
    let model = frontend.find(&call.model, &context).await?;
    let tokens = context.in_time("while tokenizing", model.tokenize(&call.content, call.options)).await?;
    if !call.with_pieces {
        return Ok(axum::Json(json!({"tokens": tokens})));
    }
    if tokens.len() > MAX_PIECES {
        let message = format!("with_pieces takes texts of at most {MAX_PIECES} tokens, this one has {}", tokens.len());
        return Err(Fault::invalid("content", message));
    }
    let pieces = tokens.iter().map(|token| model.detokenize(std::slice::from_ref(token)));
    let pieces = context.in_time("while detokenizing", try_join_all(pieces)).await?;
    let tokens = tokens.iter().zip(pieces).map(|(id, piece)| json!({"id": id, "piece": piece}));
    Ok(axum::Json(json!({"tokens": tokens.collect::<Vec<_>>()})))
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
