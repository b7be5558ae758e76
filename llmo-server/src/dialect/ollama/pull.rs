//! `/api/pull`.

use llmo_core::model::PullProgress;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::http::json as strict;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    name: Option<String>,
    stream: Option<bool>,
    insecure: Option<bool>,
}

/// A translated request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullCall {
    /// The model to fetch.
    pub model: String,
    /// Tell how it goes on.
    pub stream: bool,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<PullCall, Fault> {
    let wire: WireRequest = strict::parse(body)?;
    if wire.insecure == Some(true) {
        return Err(Fault::unsupported("insecure", "models are only fetched over verified connections"));
    }
    let model = wire.model.or(wire.name).filter(|name| !name.is_empty());
    let model = model.ok_or_else(|| Fault::invalid("model", "is missing"))?;
    Ok(PullCall { model, stream: wire.stream.unwrap_or(true) })
}

/// The line of a step.
#[must_use]
pub fn progress(step: &PullProgress) -> Value {
    let mut line = Map::new();
    line.insert("status".into(), json!(step.status));
    for (name, value) in [("digest", step.digest.as_ref().map(|digest| json!(digest)))]
        .into_iter()
        .chain([("total", step.total.map(Value::from)), ("completed", step.completed.map(Value::from))])
    {
        if let Some(value) = value {
            line.insert(name.into(), value);
        }
    }
    Value::Object(line)
}

/// The last line, and the whole answer if nothing was to be told before it.
#[must_use]
pub fn success() -> Value {
    json!({"status": "success"})
}
