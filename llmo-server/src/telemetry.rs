//! Logs: text for people or JSON for machines, to standard error.
//!
//! Prompts and answers are never logged. What a user sent and a log line repeats (a path, a name) is written escaped,
//! so that no line break or terminal sequence gets into the log.

use std::io::{IsTerminal, stderr, stdout};
use std::sync::OnceLock;

use llmo_config::{LogConfig, LogFormat};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How this process logs, once it does.
static STYLE: OnceLock<LogStyle> = OnceLock::new();

/// What is logged, and what lines look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStyle {
    /// A level, or a filter such as `info,llmo_gateway=debug`.
    filter: String,
    json: bool,
    colours: bool,
}

impl Default for LogStyle {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false, colours: false }
    }
}

/// How this process logs: what its engine processes do, too.
pub(crate) fn style() -> LogStyle {
    STYLE.get().cloned().unwrap_or_default()
}

/// Starts logging as configured. A second call changes nothing: the first subscriber stays.
///
/// A service logs at the configured level. Any other command is quiet, for its output is what counts: it shows
/// warnings, unless a level other than the default is configured. A level that can't be read is replaced by the
/// default, with a warning.
pub fn init(config: &LogConfig, service: bool) {
    let default = if service { "info" } else { "warn" };
    let wanted = if config.level == LogConfig::default().level { default } else { &config.level };
    let error = EnvFilter::try_new(wanted).err();
    let filter = if error.is_some() { default } else { wanted }.to_owned();
    let style = LogStyle { filter, json: config.format == LogFormat::Json, colours: stderr().is_terminal() };
    start(STYLE.get_or_init(|| style), stderr);
    if let Some(error) = error {
        tracing::warn!(level = ?config.level, %error, "log.level is no level or filter; try info, or info,llmo_gateway=debug");
    }
}

/// Starts logging in an engine's process: in its service's style, to standard output, from where the service passes the
/// lines on. Standard error is left to native code.
pub(crate) fn init_engine(style: &LogStyle) {
    start(style, stdout);
}

fn start<W>(style: &LogStyle, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(EnvFilter::new(&style.filter));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let started = if style.json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines.with_ansi(style.colours)).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
