//! Logs and traces.
//!
//! ```text
//!  tracing ─► text or JSON (json) ─► sink: a thread that writes ─► standard error
//!  AccessRecord ─► spans ─► otlp (feature): a thread that exports ─► collector
//! ```
//!
//! Prompts and answers are never logged. What a user sent and a log line repeats (a path, a name) is written escaped,
//! so that no line break or terminal sequence gets into the log. A log that nobody takes delays no request: lines are
//! counted and left out ([`dropped_lines`]).

mod json;
#[cfg(feature = "otlp")]
pub mod otlp;
mod sink;
pub mod spans;

use std::io::{IsTerminal, stderr, stdout};
use std::sync::OnceLock;

use llmo_config::{Config, LogConfig, LogFormat};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use sink::dropped_lines;

/// How this process logs, once it does.
static STYLE: OnceLock<LogStyle> = OnceLock::new();

/// What is logged, and what lines look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStyle {
    /// A level, or a filter such as `info,llmo_gateway=debug`.
    filter: String,
    json: bool,
    colours: bool,
    /// Which service says it.
    #[serde(default)]
    service: String,
}

impl Default for LogStyle {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false, colours: false, service: String::new() }
    }
}

/// How this process logs: what its engine processes do, too.
pub(crate) fn style() -> LogStyle {
    STYLE.get().cloned().unwrap_or_default()
}

/// Logging and tracing that have been started. Dropping it waits a moment until everything said so far is written and
/// exported: keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "what is said last gets lost without it"]
pub struct Telemetry(());

impl Drop for Telemetry {
    fn drop(&mut self) {
        sink::flush();
        #[cfg(feature = "otlp")]
        otlp::flush();
    }
}

/// Starts logging, and exporting traces, as configured; `service` is the name of this service. A second call changes
/// nothing: what was started first stays.
///
/// A service logs at the configured level. A command without that name is quiet, for its output is what counts: it shows
/// warnings, unless a level other than the default is configured. A level that can't be read is replaced by the
/// default, with a warning.
pub fn start(config: &Config, service: Option<&'static str>) -> Telemetry {
    let default = if service.is_some() { "info" } else { "warn" };
    let level = &config.log.level;
    let wanted = if *level == LogConfig::default().level { default } else { level };
    let error = EnvFilter::try_new(wanted).err();
    let filter = if error.is_some() { default } else { wanted }.to_owned();
    let json = config.log.format == LogFormat::Json;
    let style =
        LogStyle { filter, json, colours: stderr().is_terminal(), service: service.unwrap_or("llmo").to_owned() };
    let style = STYLE.get_or_init(|| style);
    match service {
        Some(_) => subscribe(style, sink::open()),
        None => subscribe(style, stderr),
    }
    if let Some(error) = error {
        tracing::warn!(?level, %error, "log.level is no level or filter; try info, or info,llmo_gateway=debug");
    }
    if let Some(service) = service {
        trace(config, service);
    }
    Telemetry(())
}

fn trace(config: &Config, service: &'static str) {
    let endpoint = &config.trace.otlp_endpoint;
    if endpoint.is_empty() {
        return;
    }
    #[cfg(feature = "otlp")]
    if let Err(error) = otlp::start(endpoint, config.trace.sample_ratio, service) {
        tracing::warn!(%endpoint, %error, "traces are not exported");
    }
    #[cfg(not(feature = "otlp"))]
    tracing::warn!(%endpoint, service, "traces are not exported: this program was built without the feature otlp");
}

/// Starts logging in an engine's process: in its service's style, to standard output, from where the service passes the
/// lines on. Standard error is left to native code.
pub(crate) fn init_engine(style: &LogStyle) {
    subscribe(style, stdout);
}

fn subscribe<W>(style: &LogStyle, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(EnvFilter::new(&style.filter));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let started = if style.json {
        registry.with(lines.event_format(json::Lines::new(&style.service)).with_ansi(false)).try_init()
    } else {
        registry.with(lines.with_ansi(style.colours)).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
