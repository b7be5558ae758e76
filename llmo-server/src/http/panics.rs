//! A panic in a handler is a typed 500 for that request, and nothing to others.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::fault::Fault;

/// Middleware: turns a panic into [`Fault::Panic`].
pub async fn catch(request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    // The request and its state are dropped with the panic; what outlives it (locks) does not poison.
    match AssertUnwindSafe(next(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(panic = text(panic.as_ref()), "a handler panicked");
            Fault::Panic.into_response()
        }
    }
}

/// What a panic said, for the log.
#[must_use]
pub fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
