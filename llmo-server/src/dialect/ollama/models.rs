//! What Ollama's clients want to know of models: `/api/tags`, `/api/show`, `/api/ps`.

use llmo_core::ModelInfo;
use llmo_core::model::{Quantisation, ResidenceState, RunningModel};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::timing::rfc3339;
use crate::fault::Fault;
use crate::http::json as strict;

/// Somewhen in the year 9999: a model that stays for ever.
const FOREVER: u64 = 253_370_764_800;

/// `/api/tags`: all models that can be asked for.
#[must_use]
pub fn tags(models: &[ModelInfo]) -> Value {
    json!({"models": models.iter().map(tag).collect::<Vec<_>>()})
}

fn tag(model: &ModelInfo) -> Value {
    json!({
        "name": model.id,
        "model": model.id,
        "modified_at": rfc3339(model.created),
        "size": model.size_bytes,
        "digest": model.digest.clone().unwrap_or_default(),
        "details": details(model),
    })
}

/// `/api/ps`: the models that are in memory.
#[must_use]
pub fn running(models: &[RunningModel]) -> Value {
    json!({"models": models.iter().map(running_one).collect::<Vec<_>>()})
}

fn running_one(model: &RunningModel) -> Value {
    let info = &model.info;
    let mut running = json!({
        "name": info.id,
        "model": info.id,
        "size": model.residence.bytes.max(info.size_bytes),
        "digest": info.digest.clone().unwrap_or_default(),
        "details": details(info),
        "expires_at": rfc3339(model.residence.expires_at.unwrap_or(FOREVER)),
        "size_vram": 0,
        "context_length": info.context_length,
    });
    // Ollama lists what is loaded only; who knows nothing of this sees a model like the others.
    if model.residence.state == ResidenceState::Loading {
        running["state"] = json!("loading");
        running["progress"] = json!(model.residence.progress);
    }
    running
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireShow {
    model: Option<String>,
    name: Option<String>,
}

/// Translates the body of `/api/show`, or of another request that is about one model: its name.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse_name(body: &[u8]) -> Result<String, Fault> {
    let wire: WireShow = strict::parse(body)?;
    let name = wire.model.or(wire.name).filter(|name| !name.is_empty());
    name.ok_or_else(|| Fault::invalid("model", "is missing"))
}

/// `/api/show`: all that is known of a model. The template stays with the engine.
#[must_use]
pub fn show(model: &ModelInfo) -> Value {
    let can = model.capabilities;
    let capabilities = [("completion", can.generate), ("tools", can.tools), ("embedding", can.embed)];
    let mut facts = Map::new();
    facts.insert("general.architecture".into(), json!(model.family));
    facts.insert("general.basename".into(), json!(model.id));
    if model.parameters > 0 {
        facts.insert("general.parameter_count".into(), json!(model.parameters));
    }
    facts.insert(format!("{}.context_length", model.family), json!(model.context_length));
    if model.vocab_size > 0 {
        facts.insert(format!("{}.vocab_size", model.family), json!(model.vocab_size));
    }
    json!({
        "modelfile": format!("FROM {}\n", model.id),
        "parameters": "",
        "template": "",
        "details": details(model),
        "model_info": facts,
        "capabilities": capabilities.iter().filter(|(_, can)| *can).map(|(name, _)| name).collect::<Vec<_>>(),
        "modified_at": rfc3339(model.created),
    })
}

fn details(model: &ModelInfo) -> Value {
    let format = if model.backend == "candle" && model.family == "bert" { "safetensors" } else { "gguf" };
    json!({
        "parent_model": "",
        "format": format,
        "family": model.family,
        "families": [model.family],
        "parameter_size": parameter_size(model.parameters),
        "quantization_level": match &model.quantisation {
            Quantisation::Named(name) => name.as_str(),
            _ => "unknown",
        },
    })
}

/// `134.52M`, `7.2B`; empty if it isn't known.
fn parameter_size(parameters: u64) -> String {
    match parameters {
        0 => String::new(),
        n if n >= 1_000_000_000 => format!("{:.1}B", n as f64 / 1e9),
        n if n >= 1_000_000 => format!("{:.2}M", n as f64 / 1e6),
        n => format!("{:.2}K", n as f64 / 1e3),
    }
}
