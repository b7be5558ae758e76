//! `/api/embed`, and `/api/embeddings` as older clients have it.

use llmo_core::model::KeepAlive;
use llmo_core::{EmbedRequest, Embeddings};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dialect::openai::embeddings::MAX_INPUTS;
use crate::dialect::openai::wire::OneOrMany;
use crate::fault::Fault;
use crate::http::json as strict;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    input: Option<OneOrMany>,
    truncate: Option<bool>,
    dimensions: Option<u32>,
    keep_alive: Option<KeepAlive>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OldRequest {
    model: Option<String>,
    prompt: Option<String>,
    keep_alive: Option<KeepAlive>,
}

/// A translated request.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedCall {
    /// The name of the model; empty: the default model.
    pub model: String,
    /// What to embed.
    pub request: EmbedRequest,
}

/// Translates the body of `/api/embed`. Texts that are too long are cut unless `truncate` is false.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<EmbedCall, Fault> {
    let wire: WireRequest = strict::parse(body)?;
    let OneOrMany(input) = wire.input.ok_or_else(|| Fault::invalid("input", "is missing"))?;
    if input.is_empty() || input.len() > MAX_INPUTS {
        return Err(Fault::invalid("input", format!("must hold 1 to {MAX_INPUTS} texts, got {}", input.len())));
    }
    if wire.dimensions == Some(0) {
        return Err(Fault::invalid("dimensions", "must be at least 1"));
    }
    let mut call = call(wire.model, input, wire.keep_alive)?;
    call.request.dimensions = wire.dimensions;
    call.request.truncate = wire.truncate.unwrap_or(true);
    Ok(call)
}

/// Translates the body of `/api/embeddings`.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse_old(body: &[u8]) -> Result<EmbedCall, Fault> {
    let wire: OldRequest = strict::parse(body)?;
    let prompt = wire.prompt.ok_or_else(|| Fault::invalid("prompt", "is missing"))?;
    let mut call = call(wire.model, vec![prompt], wire.keep_alive)?;
    call.request.truncate = true;
    Ok(call)
}

fn call(model: Option<String>, input: Vec<String>, keep_alive: Option<KeepAlive>) -> Result<EmbedCall, Fault> {
    if input.iter().any(String::is_empty) {
        return Err(Fault::invalid("input", "must not hold an empty text"));
    }
    let mut request = EmbedRequest::new(input);
    request.keep_alive = keep_alive;
    Ok(EmbedCall { model: model.unwrap_or_default(), request })
}

/// The answer of `/api/embed`; `nanoseconds` is how long it took.
#[must_use]
pub fn answer(model: &str, embeddings: &Embeddings, nanoseconds: u64) -> Value {
    json!({
        "model": model,
        "embeddings": embeddings.vectors,
        "total_duration": nanoseconds,
        "load_duration": 0,
        "prompt_eval_count": embeddings.usage.prompt_tokens,
    })
}

/// The answer of `/api/embeddings`.
#[must_use]
pub fn answer_old(embeddings: &Embeddings) -> Value {
    json!({"embedding": embeddings.vectors.first()})
}
