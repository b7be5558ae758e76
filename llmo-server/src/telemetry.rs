//! Logs: text for people or JSON for machines, to standard error.
//!
//! Prompts and answers are never logged. What a user sent and a log line repeats (a path, a name) is written escaped,
//! so that no line break or terminal sequence gets into the log.

use std::io::{IsTerminal, stderr};

use llmo_config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging as configured. A second call changes nothing: the first subscriber stays.
///
/// A service logs at the configured level. Any other command is quiet, for its output is what counts: it shows
/// warnings, unless a level other than the default is configured. A level that can't be read is replaced by the
/// default, with a warning.
pub fn init(config: &LogConfig, service: bool) {
    let default = if service { "info" } else { "warn" };
    let wanted = if config.level == LogConfig::default().level { default } else { &config.level };
    let (filter, error) = match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(default), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let started = match config.format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        _ => registry.with(lines.with_ansi(stderr().is_terminal())).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    if let Some(error) = error {
        tracing::warn!(level = ?config.level, %error, "log.level is no level or filter; try info, or info,llmo_gateway=debug");
    }
}
