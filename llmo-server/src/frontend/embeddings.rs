//! `/v1/embeddings`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::answer::failed;
use super::body::Json;
use super::context::Context;
use super::headers::with_origin;
use super::state::Frontend;
use crate::dialect::openai::embeddings::{self, EmbedAnswer};
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let mut call = embeddings::parse(&body)?;
    let (model, mut measurement) = frontend.resolve(&call.model, Operation::Embeddings, &context).await?;
    call.request.request_id = Some(context.request_id.as_str().to_owned());
    call.request.deadline = Some(context.deadline);
    call.request.tenant.clone_from(&context.tenant);
    call.request.cache = context.cache;
    match context.in_time("while embedding", model.embed(call.request)).await {
        Ok(embeddings) => {
            measurement.piece(0);
            measurement.finished(embeddings.usage);
            let origin = embeddings.origin.clone();
            let answer = EmbedAnswer::new(embeddings, &model.info().id, call.encoding);
            Ok(with_origin(&context, &origin, axum::Json(answer)))
        }
        Err(fault) => Err(failed(measurement, fault)),
    }
}
