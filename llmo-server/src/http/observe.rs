//! The outermost layer: what a request is called, in this service and in those it causes work in.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use llmo_core::trace::{SpanId, TraceContext, TraceId, Work, scoped};

use super::access_log::AccessRecord;
use super::{Arrival, RequestId, request_id};
use crate::fault::Fault;
use crate::telemetry::spans;

/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems want passed on.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Middleware: accepts or makes the request's id and its place in a trace, puts the id on the response, and keeps the
/// [`AccessRecord`]. The request's [`Arrival`] has them; the work is that of [`llmo_core::trace::current`].
pub async fn observe(mut request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let id = RequestId::of(request.headers()).unwrap_or_else(RequestId::make);
    let caller = caller(request.headers());
    let trace = place(caller.as_ref());
    let work = Arc::new(Work { request_id: id.shared(), trace });
    let record = AccessRecord::begin(&request, Arc::clone(&work), caller.map(|caller| caller.span()));
    match Arrival::of(request.extensions()) {
        Some(arrival) => arrival.begin(record.clone()),
        None => {
            let arrival = Arrival::default();
            arrival.begin(record.clone());
            request.extensions_mut().insert(arrival);
        }
    }
    let mut response = scoped(Some(work), next(request)).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(request_id::HEADER, value);
    }
    record.note(|facts| {
        facts.status = Some(response.status().as_u16());
        facts.head = Some(record.elapsed());
        if let Some(fault) = response.extensions().get::<Fault>() {
            facts.error = Some(fault.code());
        }
    });
    response
}

fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // Two contexts are none: nobody could say which one is meant.
    if headers.get_all(TRACEPARENT).iter().nth(1).is_some() {
        return None;
    }
    TraceContext::parse(text(TRACEPARENT)?, text(TRACESTATE))
}

/// This service's own place: under the caller's, or in a trace of its own.
fn place(caller: Option<&TraceContext>) -> TraceContext {
    let span = SpanId(fastrand::u64(1..));
    match caller {
        Some(caller) => caller.child(span),
        None => TraceContext::root(TraceId(fastrand::u128(1..)), span, spans::sample()),
    }
}
