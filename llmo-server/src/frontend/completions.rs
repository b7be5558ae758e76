//! `/v1/completions`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use llmo_core::model::Prompt;

use super::answer::answer;
use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::Call;
use crate::dialect::openai::completions::{self, CompletionReply};
use crate::dialect::openai::format;
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let completion = completions::parse(&body)?;
    let call = completion.call;
    let echoes = if completion.echo { echoes(&frontend, &context, &call).await? } else { Vec::new() };
    let form = call.form;
    let reply = |head| CompletionReply::new(head, form, echoes);
    let answered = answer(&frontend, context, call, Operation::TextCompletion, reply).await;
    answered.map_err(|fault| format::named(fault, &body))
}

/// The text of each prompt.
async fn echoes(frontend: &Frontend, context: &Context, call: &Call) -> Result<Vec<String>, Fault> {
    let model = frontend.find(&call.model, context).await?;
    let mut texts = Vec::new();
    for job in call.jobs.iter().step_by(call.form.best_of.max(1)) {
        texts.push(match &job.prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Tokens(tokens) => context.in_time("while detokenizing", model.detokenize(tokens)).await?,
            _ => String::new(),
        });
    }
    Ok(texts)
}
