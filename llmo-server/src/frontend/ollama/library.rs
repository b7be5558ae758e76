//! What models there are, which of them run, and fetching more.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Uri;
use http::header::CONTENT_TYPE;
use llmo_core::ModelError;
use llmo_core::model::PullStream;
use serde_json::{Value, json};

use super::name;
use crate::dialect::model_name;
use crate::dialect::ollama::{self, error, line, models, pull as dialect};
use crate::fault::Fault;
use crate::frontend::body::Json;
use crate::frontend::context::Context;
use crate::frontend::state::Frontend;
use crate::http::Lifecycle;

pub(in crate::frontend) async fn root() -> &'static str {
    "llmo is running"
}

/// What clients ask before anything else, to see that somebody is there.
pub(in crate::frontend) async fn head() {}

pub(in crate::frontend) async fn version() -> JsonBody<Value> {
    JsonBody(json!({"version": ollama::API_VERSION, "llmo": env!("CARGO_PKG_VERSION")}))
}

pub(in crate::frontend) async fn tags(State(frontend): State<Arc<Frontend>>) -> JsonBody<Value> {
    JsonBody(models::tags(&frontend.models.list().await))
}

pub(in crate::frontend) async fn running(State(frontend): State<Arc<Frontend>>) -> JsonBody<Value> {
    JsonBody(models::running(&frontend.models.running().await))
}

/// Looks the name up in the list: asking for it would load the model.
pub(in crate::frontend) async fn show(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<JsonBody<Value>, Fault> {
    let asked = name(&frontend, &context, models::parse_name(&body)?).await;
    let asked = model_name::check(&asked)?;
    match frontend.models.list().await.iter().find(|model| model.id == asked) {
        Some(model) => Ok(JsonBody(models::show(model))),
        None => Err(ModelError::NotFound { model: asked.to_owned(), suggestion: None }.into()),
    }
}

/// What changes the models of this machine, beyond fetching one.
pub(in crate::frontend) async fn not_implemented(uri: Uri) -> Fault {
    let what = match uri.path() {
        "/api/delete" => "models are not removed over the API: `llmo rm NAME` does it",
        "/api/create" => "models are not made over the API: `llmo pull --from FILE NAME` imports one",
        "/api/copy" => "models have no copies here: a model can be asked for by its aliases",
        _ => "this server gives no models away",
    };
    Fault::NotImplemented(what.to_owned())
}

pub(in crate::frontend) async fn pull(
    State(frontend): State<Arc<Frontend>>,
    context: Context,
    Json(body): Json,
) -> Result<Response, Fault> {
    let call = dialect::parse(&body)?;
    let asked = ollama::untagged(&call.model).unwrap_or(&call.model);
    let asked = model_name::check(asked)?;
    // Fused: a stream with nothing to tell is over at the first look, and must bear a second one.
    let mut steps = frontend.models.pull(asked).await?.fuse().boxed();
    // A failure before the first step still has a status of its own.
    let first = match steps.next().await {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(step)) => Some(step),
        None => None,
    };
    if !call.stream {
        while let Some(step) = steps.next().await {
            step?;
        }
        return Ok(JsonBody(dialect::success()).into_response());
    }
    let first = stream::iter(first.map(|step| line(&dialect::progress(&step))));
    let rest = lines(steps, context.lifecycle);
    let body = first.chain(rest).map(Ok::<Bytes, std::convert::Infallible>);
    Ok(([(CONTENT_TYPE, ollama::NDJSON)], Body::from_stream(body)).into_response())
}

/// Steps as lines, and how it ended.
fn lines(steps: PullStream, lifecycle: Lifecycle) -> impl futures::Stream<Item = Bytes> + Send + 'static {
    stream::unfold(Some((steps, lifecycle)), |state| async move {
        let (mut steps, lifecycle) = state?;
        let step = tokio::select! {
            biased;
            step = steps.next() => step,
            () = lifecycle.closing() => Some(Err(ModelError::Shutdown)),
        };
        match step {
            Some(Ok(step)) => Some((line(&dialect::progress(&step)), Some((steps, lifecycle)))),
            Some(Err(error)) => Some((line(&error::body(&error.into())), None)),
            None => Some((line(&dialect::success()), None)),
        }
    })
}
