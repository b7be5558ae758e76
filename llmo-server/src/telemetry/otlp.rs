//! Spans to an OpenTelemetry collector: OTLP over HTTP, protobuf.
//!
//! A thread with a small runtime of its own collects and sends them, so that a collector that hangs costs spans and never
//! requests: at most `MAX_WAITING` wait, the rest is counted. Names are those of OpenTelemetry's conventions for HTTP
//! and for generative AI; texts of users are never part of a span.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::{mpsc, oneshot};

use super::spans::{self, Exporter, Span};

/// Most spans that wait.
const MAX_WAITING: usize = 8192;
/// Most spans that are sent at once.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait for the collector.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the last spans at the end of a process.
const FAREWELL: Duration = Duration::from_secs(2);

static SENDER: OnceLock<mpsc::Sender<Piece>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Piece {
    Span(Box<Span>),
    /// Everything before it is sent: tell this one.
    Flush(oneshot::Sender<()>),
}

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The endpoint is no URL, say.
    #[error("no exporter could be made: {0}; trace.otlp_endpoint must be like http://127.0.0.1:4318")]
    Exporter(String),
    /// The thread could not be started.
    #[error("no thread for exporting could be started")]
    Thread(#[source] std::io::Error),
}

/// Spans that were left out, since the collector did not take those before them.
#[must_use]
pub fn dropped_spans() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Begins to export the spans of this process, whose service is called `service`, to the collector at `endpoint`. Of the
/// traces that begin here, the share `ratio` is recorded. A second call changes nothing.
///
/// # Errors
/// [`OtlpError`].
pub fn start(endpoint: &str, ratio: f64, service: &'static str) -> Result<(), OtlpError> {
    let exporter = exporter(endpoint, service)?;
    let (sender, pieces) = mpsc::channel(MAX_WAITING);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(OtlpError::Thread)?;
    std::thread::Builder::new()
        .name("otlp".into())
        .spawn(move || runtime.block_on(export(pieces, exporter)))
        .map_err(OtlpError::Thread)?;
    let taker = sender.clone();
    let take = Box::new(move |span| {
        if taker.try_send(Piece::Span(Box::new(span))).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    });
    if spans::export_with(Exporter { take, ratio: ratio.clamp(0.0, 1.0) }) {
        let _ = SENDER.set(sender);
    }
    Ok(())
}

/// Waits a moment until all spans so far are sent.
pub fn flush() {
    let Some(sender) = SENDER.get() else { return };
    let (told, mut done) = oneshot::channel();
    if sender.try_send(Piece::Flush(told)).is_err() {
        return;
    }
    let until = std::time::Instant::now() + FAREWELL;
    while std::time::Instant::now() < until && matches!(done.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn exporter(endpoint: &str, service: &'static str) -> Result<SpanExporter, OtlpError> {
    let failed = |error: &dyn std::fmt::Display| OtlpError::Exporter(error.to_string());
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(|error| failed(&error))?;
    let url = reqwest::Url::parse(endpoint).map_err(|error| failed(&error))?;
    // What is set in code is taken as it is; the base URL of a collector is what people know.
    let traces = match url.path() {
        "" | "/" => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    };
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(client))
        .with_endpoint(traces)
        .with_timeout(TIMEOUT)
        .build()
        .map_err(|error| failed(&error))?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let namespace = KeyValue::new("service.namespace", "llmo");
    exporter.set_resource(
        &Resource::builder_empty().with_service_name(service).with_attributes([version, namespace]).build(),
    );
    Ok(exporter)
}

async fn export(mut pieces: mpsc::Receiver<Piece>, exporter: SpanExporter) {
    let scope = InstrumentationScope::builder("llmo").with_version(env!("CARGO_PKG_VERSION")).build();
    let mut quiet = false;
    while let Some(first) = pieces.recv().await {
        let (mut batch, mut told) = (Vec::new(), Vec::new());
        let mut take = |piece: Piece| match piece {
            Piece::Span(span) => {
                batch.push(data(*span, scope.clone()));
                batch.len() < BATCH
            }
            Piece::Flush(waiting) => {
                told.push(waiting);
                false
            }
        };
        if take(first) {
            let more = async {
                while let Some(piece) = pieces.recv().await {
                    if !take(piece) {
                        break;
                    }
                }
            };
            // What came until then is sent.
            let _ = tokio::time::timeout(PATIENCE, more).await;
        }
        let spans = batch.len() as u64;
        match if batch.is_empty() { Ok(()) } else { exporter.export(batch).await } {
            Ok(()) => quiet = false,
            Err(error) => {
                DROPPED.fetch_add(spans, Ordering::Relaxed);
                // Once for an outage.
                if !std::mem::replace(&mut quiet, true) {
                    tracing::warn!(%error, "the collector does not take spans; they are left out");
                }
            }
        }
        for waiting in told {
            let _ = waiting.send(());
        }
    }
}

fn data(span: Span, instrumentation_scope: InstrumentationScope) -> SpanData {
    let state = span.trace.tracestate().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    let trace = TraceId::from_bytes(span.trace.trace().0.to_be_bytes());
    let id = SpanId::from_bytes(span.trace.span().0.to_be_bytes());
    let parent = span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.0.to_be_bytes()));
    SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state),
        parent_span_id: parent,
        parent_span_is_remote: span.parent.is_some(),
        span_kind: SpanKind::Server,
        name: name(&span),
        start_time: span.started,
        end_time: span.started + span.total,
        status: status(&span),
        attributes: attributes(span),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        instrumentation_scope,
    }
}

/// As the conventions have it: `chat MODEL` for work of a model, the method for anything else.
fn name(span: &Span) -> Cow<'static, str> {
    match (span.facts.operation, &span.facts.model) {
        (Some(operation), Some(model)) => format!("{operation} {model}").into(),
        _ => span.method.as_str().to_owned().into(),
    }
}

/// Only what is a server's fault is an error of a server's span.
fn status(span: &Span) -> Status {
    match span.facts.error {
        Some(error)
            if span.facts.status.is_none_or(|status| status >= 500 || status == 200) && error != "cancelled" =>
        {
            Status::error(error)
        }
        _ => Status::Unset,
    }
}

fn attributes(span: Span) -> Vec<KeyValue> {
    let facts = span.facts;
    let mut all = vec![
        KeyValue::new("http.request.method", span.method.as_str().to_owned()),
        KeyValue::new("url.path", span.path),
        KeyValue::new("http.request.header.x-request-id", span.request_id.to_string()),
    ];
    let mut put = |name: &'static str, value: Option<opentelemetry::Value>| {
        all.extend(value.map(|value| KeyValue::new(name, value)));
    };
    let seconds = |duration: Duration| duration.as_secs_f64().into();
    put("http.response.status_code", facts.status.map(|status| i64::from(status).into()));
    if facts.operation.is_some() {
        put("gen_ai.provider.name", Some("llmo".into()));
        put("gen_ai.operation.name", facts.operation.map(Into::into));
        put("gen_ai.request.model", facts.model.as_deref().map(|model| model.to_owned().into()));
        put("gen_ai.response.model", facts.model.as_deref().map(|model| model.to_owned().into()));
    }
    put("gen_ai.usage.input_tokens", facts.usage.map(|usage| count(usage.prompt_tokens)));
    put("gen_ai.usage.output_tokens", facts.usage.map(|usage| count(usage.completion_tokens)));
    put("gen_ai.response.time_to_first_chunk", facts.first_token.map(seconds));
    put("error.type", facts.error.map(Into::into));
    put("llmo.replica", facts.replica.map(Into::into));
    put("llmo.cache", facts.cache.map(Into::into));
    all
}

fn count(tokens: u64) -> opentelemetry::Value {
    i64::try_from(tokens).unwrap_or(i64::MAX).into()
}

/// Our HTTP client, as the exporter wants it.
#[derive(Debug)]
struct Client(reqwest::Client);

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let answer = self.0.execute(request).await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        Ok(response.body(answer.bytes().await?)?)
    }
}
