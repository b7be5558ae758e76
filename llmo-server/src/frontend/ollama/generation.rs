//! Text, and requests that only want a model to be there.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use llmo_core::model::KeepAlive;

use super::name;
use crate::dialect::ollama::{self, Asked, ChatReply, GenerateReply, Presence, line};
use crate::dialect::{Dialect, ollama as dialect};
use crate::fault::Fault;
use crate::frontend::answer::{answer, head};
use crate::frontend::body::Json;
use crate::frontend::context::Context;
use crate::frontend::state::Frontend;
use crate::metrics::generation::Operation;

/// How long a model stays that was only loaded, unless the request says: as in Ollama.
const USUAL: KeepAlive = KeepAlive::For(Duration::from_secs(300));

pub(in crate::frontend) async fn chat(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    match dialect::chat::parse(&body)? {
        Asked::Presence(wanted) => presence(&frontend, context, wanted, true).await,
        Asked::Generation(mut call) => {
            call.model = name(&frontend, &context, call.model).await;
            let form = call.form;
            answer(&frontend, context, call, Operation::Chat, |head| ChatReply::new(&head, form)).await
        }
    }
}

/// `/api/generate` in Ollama's form; also its errors, at a path whose dialect is another's.
pub(in crate::frontend) async fn generate(frontend: &Frontend, context: Context, body: &Bytes) -> Response {
    generated(frontend, context, body).await.unwrap_or_else(|fault| {
        let mut response = fault.into_response();
        response.extensions_mut().insert(Dialect::Ollama);
        response
    })
}

async fn generated(frontend: &Frontend, context: Context, body: &Bytes) -> Result<Response, Fault> {
    match dialect::generate::parse(body)? {
        Asked::Presence(wanted) => presence(frontend, context, wanted, false).await,
        Asked::Generation(mut call) => {
            call.model = name(frontend, &context, call.model).await;
            let form = call.form;
            answer(frontend, context, call, Operation::Chat, |head| GenerateReply::new(&head, form)).await
        }
    }
}

/// Loads a model, or unloads it.
async fn presence(frontend: &Frontend, context: Context, wanted: Presence, chat: bool) -> Result<Response, Fault> {
    let asked = name(frontend, &context, wanted.model).await;
    let model = frontend.find(&asked, &context).await?;
    context.in_time("while the model was being loaded", model.keep(wanted.keep_alive.unwrap_or(USUAL))).await?;
    let unloaded = wanted.keep_alive == Some(KeepAlive::NOT_AT_ALL);
    let answer = ollama::presence(&head(&context, model.as_ref()), unloaded, chat);
    if wanted.stream {
        return Ok(([(CONTENT_TYPE, ollama::NDJSON)], line(&answer)).into_response());
    }
    Ok(axum::Json(answer).into_response())
}
