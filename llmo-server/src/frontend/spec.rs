//! `/api/generate`, in the specification's form unless the body speaks Ollama's, and `/api/health`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llmo_core::ModelError;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::answer::{collect, failed, start};
use super::body::Json;
use super::context::Context;
use super::headers::with_origin;
use super::health::readiness;
use super::ollama;
use super::state::Frontend;
use crate::dialect::ollama::generate as ollama_form;
use crate::dialect::spec::generate;
use crate::dialect::spec::health::{Health, MemoryInfo};
use crate::fault::Fault;
use crate::metrics::generation::Operation;

pub(super) async fn create(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    if ollama_form::speaks(&body)? {
        return Ok(ollama::generate(&frontend, context, &body).await);
    }
    let call = generate::parse(&body)?;
    let (model, mut measurement) = frontend.resolve(&call.model, Operation::Chat, &context).await?;
    let run = async {
        let streams = start(model.as_ref(), call.jobs, &context).await?;
        let origin = streams.first().map(|stream| stream.origin.clone()).unwrap_or_default();
        let mut choices = context.in_time("while generating", collect(streams, &mut measurement)).await?;
        let (text, finish) = choices.pop().ok_or_else(|| ModelError::Internal("no answer was made".into()))?;
        Ok((origin, text, finish))
    };
    match run.await {
        Ok((origin, text, finish)) => {
            measurement.finished(finish.usage);
            let name = origin.model.as_deref().unwrap_or(&model.info().id);
            Ok(with_origin(&context, &origin, axum::Json(generate::answer(name, &text, &finish))))
        }
        Err(fault) => Err(failed(measurement, fault)),
    }
}

pub(super) async fn health(State(frontend): State<Arc<Frontend>>, context: Context) -> Response {
    let default = frontend.models.list().await.into_iter().next().map(|model| model.id);
    let health = Health::new(readiness(&frontend, &context), default, memory());
    let status = if health.model_loaded { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(health)).into_response()
}

fn memory() -> MemoryInfo {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(refresh).map_or_else(
        |error| {
            tracing::debug!(%error, "the system does not tell its memory");
            MemoryInfo::new(0, 0)
        },
        |system| MemoryInfo::new(system.total_memory(), system.used_memory()),
    )
}
