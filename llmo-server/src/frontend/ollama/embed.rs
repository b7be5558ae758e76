//! `/api/embed` and `/api/embeddings`.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use llmo_core::Embeddings;
use llmo_core::model::ModelInfo;

use super::name;
use crate::dialect::ollama::embed::{self as dialect, EmbedCall};
use crate::fault::Fault;
use crate::frontend::answer::failed;
use crate::frontend::body::Json;
use crate::frontend::context::Context;
use crate::frontend::headers::with_origin;
use crate::frontend::state::Frontend;
use crate::metrics::generation::Operation;

pub(in crate::frontend) async fn embed(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let start = Instant::now();
    let (embeddings, info) = run(&frontend, &context, dialect::parse(&body)?).await?;
    let nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let answer = dialect::answer(&info.id, &embeddings, nanoseconds);
    Ok(with_origin(&context, &embeddings.origin, axum::Json(answer)))
}

pub(in crate::frontend) async fn embeddings(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let (embeddings, _) = run(&frontend, &context, dialect::parse_old(&body)?).await?;
    Ok(with_origin(&context, &embeddings.origin, axum::Json(dialect::answer_old(&embeddings))))
}

async fn run(frontend: &Frontend, context: &Context, call: EmbedCall) -> Result<(Embeddings, ModelInfo), Fault> {
    let mut request = call.request;
    let asked = name(frontend, context, call.model).await;
    let (model, mut measurement) = frontend.resolve(&asked, Operation::Embeddings, context).await?;
    request.request_id = Some(context.request_id.as_str().to_owned());
    request.deadline = Some(context.deadline);
    request.tenant.clone_from(&context.tenant);
    request.cache = context.cache;
    match context.in_time("while embedding", model.embed(request)).await {
        Ok(embeddings) => {
            measurement.piece(0);
            measurement.finished(embeddings.usage);
            Ok((embeddings, model.info().clone()))
        }
        Err(fault) => Err(failed(measurement, fault)),
    }
}
