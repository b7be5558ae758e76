//! `/v1/messages` and `/v1/messages/count_tokens`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use llmo_core::model::{Prompt, TokenizeOptions};
use llmo_core::{GenerateRequest, Model, ModelError};
use serde_json::Value;

use super::answer::answer;
use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::anthropic::{MessageReply, messages};
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let call = messages::parse(&body)?;
    answer(&frontend, context, call, Operation::Chat, MessageReply::new).await
}

pub(super) async fn count_tokens(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<axum::Json<Value>, Fault> {
    let call = messages::parse_count(&body)?;
    let model = frontend.find(&call.model, &context).await?;
    let mut tokens = 0;
    for job in call.jobs {
        tokens += context.in_time("while tokenizing", count(model.as_ref(), job)).await?;
    }
    Ok(axum::Json(messages::counted(tokens)))
}

/// The tokens of a conversation as the model reads it. Where the model can't render its template, those of its texts
/// alone, which is a little less.
async fn count(model: &dyn Model, request: GenerateRequest) -> Result<usize, ModelError> {
    let texts = match &request.prompt {
        Prompt::Chat(messages) => messages.iter().map(|message| message.content.clone()).collect(),
        _ => Vec::new(),
    };
    let mut options = TokenizeOptions::default();
    let rendered = match model.render(request).await {
        Ok(text) => {
            // The template's markers; those in the texts of users are few enough for a count.
            options.parse_special = true;
            vec![text]
        }
        Err(ModelError::Unsupported { .. }) => texts,
        Err(error) => return Err(error),
    };
    let mut tokens = 0;
    for text in &rendered {
        tokens += model.tokenize(text, options).await?.len();
    }
    Ok(tokens)
}
