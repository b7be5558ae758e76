//! Environment variables with names of their own: those of the project's specification, and common ones.

/// Variable and the setting it stands for. `LLMO_SECTION__KEY` overrides these.
pub(crate) const SPEC_VARIABLES: &[(&str, &str)] = &[
    ("API_PORT", "gateway.port"),
    ("DASHBOARD_PORT", "gateway.dashboard_port"),
    ("MODEL_SERVICE_PORT", "model.port"),
    ("CACHE_SERVICE_PORT", "cache.port"),
    ("STORAGE_SERVICE_PORT", "store.port"),
    ("MODEL_PATH", "model.path"),
    ("USE_INT8", "model.int8"),
    ("REDIS_URL", "cache.redis_url"),
    ("HF_ENDPOINT", "store.hub_endpoint"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "trace.otlp_endpoint"),
];

/// The dotted key that a variable sets, or `None` if it is none of ours. `LLMO_GATEWAY__PORT` sets `gateway.port`.
pub(crate) fn key_of(variable: &str) -> Option<String> {
    if let Some((_, key)) = SPEC_VARIABLES.iter().find(|(name, _)| *name == variable) {
        return Some((*key).to_owned());
    }
    let rest = variable.strip_prefix("LLMO_")?;
    let (section, key) = rest.split_once("__")?;
    Some(format!("{}.{}", section.to_ascii_lowercase(), key.to_ascii_lowercase()))
}
