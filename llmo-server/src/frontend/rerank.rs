//! `/v1/rerank`.

use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;

use super::answer::failed;
use super::body::Json;
use super::context::Context;
use super::state::Frontend;
use crate::dialect::openai::rerank;
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<axum::Json<Value>, Fault> {
    let call = rerank::parse(&body)?;
    let (model, mut measurement) = frontend.resolve(&call.model, Operation::Rerank, &context).await?;
    let mut request = call.request.clone();
    request.request_id = Some(context.request_id.as_str().to_owned());
    request.deadline = Some(context.deadline);
    request.tenant.clone_from(&context.tenant);
    match context.in_time("while reranking", model.rerank(request)).await {
        Ok(ranking) => {
            measurement.piece();
            measurement.finished(ranking.usage);
            Ok(axum::Json(rerank::answer(&ranking, &call, &call.request.documents, &model.info().id)))
        }
        Err(fault) => Err(failed(measurement, fault)),
    }
}
