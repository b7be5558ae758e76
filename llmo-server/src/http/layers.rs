//! What every router of llmo is wrapped in.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::header::UPGRADE;
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use llmo_core::ModelError;

use super::{Arrival, Direct, faults, observe, panics};
use crate::fault::Fault;
use crate::metrics::http::Route;
use crate::metrics::{self, Metrics};

/// Adds, from the outside in: the request's id, trace and log line, the bodies of faults, the end at shutdown, the net under
/// panics; and typed answers for unknown paths and methods. Give it a router whose routes are complete.
pub fn standard(routes: Router) -> Router {
    complete(routes).layer(from_fn(around))
}

/// As [`standard`], with every request measured as such.
pub fn measured(routes: Router, metrics: Arc<Metrics>) -> Router {
    complete(routes).layer(from_fn_with_state(metrics, measured_around))
}

fn complete(routes: Router) -> Router {
    routes.fallback(unknown_path).method_not_allowed_fallback(method_not_allowed)
}

async fn measured_around(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = Route::of(&request);
    let answer = async |request| next.run(request).await;
    metrics::http::measure(&metrics, &route, request, async |request| layered(request, answer).await).await
}

/// As [`measured`], around one handler of one route.
pub fn measured_direct<T, H, S>(handler: H, state: S, route: &'static str, metrics: Arc<Metrics>) -> Direct
where
    T: 'static,
    H: Handler<T, S> + Sync,
    S: Clone + Send + Sync + 'static,
{
    let route = Arc::new(Route::new(route));
    Arc::new(move |request| {
        let (handler, state, route, metrics) =
            (handler.clone(), state.clone(), Arc::clone(&route), Arc::clone(&metrics));
        Box::pin(async move {
            let answer = async |request| handler.call(request, state).await;
            metrics::http::measure(&metrics, &route, request, async |request| layered(request, answer).await).await
        })
    })
}

async fn around(request: Request, next: Next) -> Response {
    layered(request, async |request| next.run(request).await).await
}

/// All of it as one layer: each of its own would cost a copy of the request and some allocations.
async fn layered(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let caught = async |request| panics::catch(request, answer).await;
    let ending = async |request| end_with_server(request, caught).await;
    observe::observe(request, async |request| faults::render(request, ending).await).await
}

async fn unknown_path(uri: Uri) -> Fault {
    let path: String = uri.path().chars().take(256).collect();
    Fault::UnknownPath { path: path.escape_debug().to_string() }
}

async fn method_not_allowed(method: Method) -> Fault {
    Fault::MethodNotAllowed { method: method.to_string() }
}

/// When the drain's grace is over, a request without a response so far gets one.
async fn end_with_server(request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    // Ignoring `upgrade` is right, but not everybody in front of us may think that we did, and what follows is a body.
    if request.headers().contains_key(UPGRADE) && !request.body().is_end_stream() {
        return Fault::Upgrade.into_response();
    }
    let Some(lifecycle) = Arrival::of(request.extensions()).map(Arrival::lifecycle).cloned() else {
        return next(request).await;
    };
    tokio::select! {
        biased;
        response = next(request) => response,
        () = lifecycle.closing() => Fault::Model(ModelError::Shutdown).into_response(),
    }
}
