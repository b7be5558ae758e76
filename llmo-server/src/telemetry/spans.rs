//! Requests as spans of a trace, for whoever exports them.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use http::Method;
use llmo_core::trace::{SpanId, TraceContext};

use crate::http::access_log::Facts;

/// Where ended spans go.
static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// What exports spans.
pub(super) struct Exporter {
    /// Takes a span; must not wait.
    pub(super) take: Box<dyn Fn(Span) + Send + Sync>,
    /// Share of the traces begun here that are recorded, 0.0 to 1.0. Callers decide about theirs.
    pub(super) ratio: f64,
}

/// A request that has ended.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "only an exporter reads them"))]
pub(crate) struct Span {
    pub(crate) trace: TraceContext,
    pub(crate) parent: Option<SpanId>,
    pub(crate) request_id: Arc<str>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) started: SystemTime,
    pub(crate) total: Duration,
    pub(crate) facts: Facts,
}

/// Makes this the exporter of the process. The first one stays.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "there is no exporter"))]
pub(super) fn export_with(exporter: Exporter) -> bool {
    EXPORTER.set(exporter).is_ok()
}

/// Does anybody export spans?
pub(crate) fn wanted() -> bool {
    EXPORTER.get().is_some()
}

/// Is a trace that begins here to be recorded? Without an exporter it is said to be: others may have one.
pub(crate) fn sample() -> bool {
    EXPORTER.get().is_none_or(|exporter| fastrand::f64() < exporter.ratio)
}

/// Exports a span, if anybody does.
pub(crate) fn ended(span: Span) {
    if let Some(exporter) = EXPORTER.get() {
        (exporter.take)(span);
    }
}
