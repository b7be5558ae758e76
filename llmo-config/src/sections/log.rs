//! Logs and traces.

use serde::{Deserialize, Serialize};

/// Logs. They never hold prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,llmo_gateway=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Traces. The headers `traceparent` and `tracestate` are accepted and passed on in any case; these settings are about
/// spans of our own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceConfig {
    /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`; empty: spans are
    /// not exported (`OTEL_EXPORTER_OTLP_ENDPOINT`). Needs the feature `otlp`.
    pub otlp_endpoint: String,
    /// Share of the traces begun here that are recorded, 0.0 to 1.0. For traces of callers, they decide.
    pub sample_ratio: f64,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sample_ratio: 1.0 }
    }
}
