//! `/api/generate`: `{"prompt", "max_length", "temperature", "top_p"}` → `{"response", "success": true}`.
//!
//! The prompt is a message of the user: the model's chat template is applied. `max_length` counts the tokens of the
//! answer, not those of the prompt. The temperature is 0 unless it is given: the same question has the same answer,
//! and a cache can give it. `model`, `stop` and `seed` may be given too.

use llmo_core::GenerateRequest;
use llmo_core::model::{Delta, Finish, FinishReason, SamplingParams};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dialect::{Call, Form};
use crate::fault::Fault;
use crate::http::json as strict;

/// Tokens of an answer, unless `max_length` says otherwise.
const MAX_LENGTH: u32 = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    prompt: Option<String>,
    max_length: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    model: Option<String>,
    stop: Option<Vec<String>>,
    seed: Option<u64>,
    stream: Option<bool>,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<Call, Fault> {
    let wire: WireRequest = strict::parse(body)?;
    let prompt = wire.prompt.ok_or_else(|| Fault::invalid("prompt", "is missing"))?;
    if prompt.trim().is_empty() {
        return Err(Fault::invalid("prompt", "must not be empty"));
    }
    if wire.stream == Some(true) {
        return Err(Fault::unsupported("stream", "this dialect does not stream: use /v1/chat/completions"));
    }
    let max_length = wire.max_length.unwrap_or(MAX_LENGTH);
    if max_length == 0 {
        return Err(Fault::invalid("max_length", "must be at least 1"));
    }
    let mut request = GenerateRequest::ask(prompt).max_tokens(max_length);
    let mut sampling = SamplingParams::at_temperature(wire.temperature.unwrap_or(0.0));
    sampling.top_p = wire.top_p.unwrap_or(sampling.top_p);
    sampling.seed = wire.seed;
    request.sampling = sampling;
    request.stop = wire.stop.unwrap_or_default();
    request.validate()?;
    Ok(Call { model: wire.model.unwrap_or_default(), jobs: vec![request], form: Form::default() })
}

/// The answer's body.
#[must_use]
pub fn answer(model: &str, text: &Delta, finish: &Finish) -> Value {
    let finish_reason = match finish.reason {
        FinishReason::Length => "length",
        _ => "stop",
    };
    json!({
        "response": text.text,
        "success": true,
        "model": model,
        "finish_reason": finish_reason,
        "usage": {
            "prompt_tokens": finish.usage.prompt_tokens,
            "completion_tokens": finish.usage.completion_tokens,
            "total_tokens": finish.usage.total(),
        },
    })
}
