//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::answer::answer;
use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::openai::chat::{self, ChatReply};
use crate::dialect::openai::format;
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let call = chat::parse(&body)?;
    let form = call.form;
    let tools = call.jobs.first().is_some_and(|job| !job.tools.is_empty());
    let reply = |head| ChatReply::new(head, form).with_tools(tools);
    let answered = answer(&frontend, context, call, Operation::Chat, reply).await;
    answered.map_err(|fault| format::named(fault, &body))
}
