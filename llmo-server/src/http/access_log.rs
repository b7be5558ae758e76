//! One log line a request, and one span: what, how it went, how long it took.
//!
//! A request's [`AccessRecord`] is passed to whoever learns something about it; the line is written when the last of them
//! lets go, which is when the response has been sent, or nobody waits for it any more. Bodies, queries and texts are never
//! part of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::Request;
use http::Method;
use llmo_core::model::Usage;
use llmo_core::trace::{self, SpanId, Work};
use parking_lot::Mutex;

use crate::telemetry::spans::{self, Span};

/// Longest path in a log line, in characters.
const MAX_PATH: usize = 200;

/// What is known about a request. Clones are the same record.
#[derive(Debug, Clone)]
pub struct AccessRecord(Arc<Open>);

#[derive(Debug)]
struct Open {
    start: Instant,
    started: SystemTime,
    method: Method,
    path: String,
    work: Arc<Work>,
    parent: Option<SpanId>,
    facts: Mutex<Facts>,
}

/// What is learnt while a request is being answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) status: Option<u16>,
    /// Until the response's head.
    pub(crate) head: Option<Duration>,
    /// Until the first piece of output.
    pub(crate) first_token: Option<Duration>,
    pub(crate) operation: Option<&'static str>,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) replica: Option<String>,
    pub(crate) cache: Option<&'static str>,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<&'static str>,
}

impl AccessRecord {
    /// The record of a request that has just come.
    #[must_use]
    pub fn begin(request: &Request, work: Arc<Work>, parent: Option<SpanId>) -> Self {
        Self(Arc::new(Open {
            start: Instant::now(),
            started: SystemTime::now(),
            method: request.method().clone(),
            path: shown(request.uri().path()),
            work,
            parent,
            facts: Mutex::default(),
        }))
    }

    /// What the request is done for.
    #[must_use]
    pub fn work(&self) -> &Arc<Work> {
        &self.0.work
    }

    /// Time since the request came.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Takes something down.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.facts.lock());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let facts = std::mem::take(&mut *self.facts.lock());
        let total = self.start.elapsed();
        trace::enter(Some(Arc::clone(&self.work)), || self.log(&facts, total));
        if !is_probe(&self.path) && self.work.trace.sampled() && spans::wanted() {
            spans::ended(Span {
                trace: self.work.trace.clone(),
                parent: self.parent,
                request_id: Arc::clone(&self.work.request_id),
                method: self.method.clone(),
                path: std::mem::take(&mut self.path),
                started: self.started,
                total,
                facts,
            });
        }
    }
}

impl Open {
    fn log(&self, facts: &Facts, total: Duration) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = self.method.as_str(),
                    path = self.path.as_str(),
                    status = facts.status,
                    ms = milliseconds(total),
                    head_ms = facts.head.map(milliseconds),
                    first_token_ms = facts.first_token.map(milliseconds),
                    model = facts.model.as_deref(),
                    replica = facts.replica.as_deref(),
                    cache = facts.cache,
                    prompt_tokens = facts.usage.map(|usage| usage.prompt_tokens),
                    completion_tokens = facts.usage.map(|usage| usage.completion_tokens),
                    error = facts.error,
                    request_id = &*self.work.request_id,
                    "request"
                )
            };
        }
        // Probes and scrapes come every few seconds.
        if is_probe(&self.path) { line!(debug) } else { line!(info) }
    }
}

/// Not more of a path than fits.
fn shown(path: &str) -> String {
    if path.len() <= MAX_PATH { path.to_owned() } else { path.chars().take(MAX_PATH).collect() }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health" | "/api/health" | "/metrics" | "/internal/status")
}
