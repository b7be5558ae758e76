//! Chat requests into generations.

use std::collections::BTreeMap;

use llmo_core::GenerateRequest;
use llmo_core::model::{Prompt, TokenId};
use serde::Deserialize;
use serde_json::Value;

use super::message::{self, WireMessage};
use crate::dialect::call::{self, Call, Form};
use crate::dialect::openai::sampling::{self, Sampling};
use crate::dialect::openai::tools::{self, WireTool};
use crate::dialect::openai::wire::{OneOrMany, StreamOptions};
use crate::dialect::openai::{extensions, format, model_fields, refused};
use crate::fault::Fault;
use crate::http::json::Object;

#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct WireRequest {
    model: Option<String>,
    messages: Option<Vec<WireMessage>>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    typical_p: Option<f32>,
    repetition_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    seed: Option<u64>,
    logit_bias: Option<BTreeMap<String, f32>>,
    stop: Option<OneOrMany>,
    n: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    return_token_ids: Option<bool>,
    tools: Option<Vec<WireTool>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    /// Output that was generated already.
    output_prefix: Option<Vec<TokenId>>,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<Call, Fault> {
    let body = &Object::new(body)?;
    let wire: WireRequest = body.read()?;
    refused::check(body)?;
    let messages = wire.messages.ok_or_else(|| Fault::invalid("messages", "is missing"))?;
    let mut request = GenerateRequest::new(Prompt::Chat(message::translate(messages)?));
    request.max_tokens = wire.max_completion_tokens.or(wire.max_tokens);
    request.token_ids = wire.return_token_ids.unwrap_or(false);
    request.logprobs = logprobs(wire.logprobs, wire.top_logprobs)?;
    request.constraint = format::constraint(body)?;
    request.output_prefix = wire.output_prefix.unwrap_or_default();
    tools::apply(&mut request, wire.tools, wire.tool_choice, wire.parallel_tool_calls)?;
    Sampling {
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        min_p: wire.min_p,
        typical_p: wire.typical_p,
        repetition_penalty: wire.repetition_penalty,
        frequency_penalty: wire.frequency_penalty,
        presence_penalty: wire.presence_penalty,
        seed: wire.seed,
        logit_bias: wire.logit_bias,
        stop: wire.stop,
    }
    .apply(&mut request)?;
    model_fields::apply(&mut request, body)?;
    extensions::apply(body, &mut request)?;
    if request.prompt_logprobs.is_some() {
        return Err(Fault::unsupported("prompt_logprobs", "only /v1/completions tells of the prompt"));
    }
    request.validate()?;
    let n = sampling::choices(wire.n)?;
    let form = Form {
        stream: wire.stream.unwrap_or(false),
        include_usage: wire.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        token_ids: request.token_ids,
        logprobs: request.logprobs.is_some(),
        prompt_logprobs: false,
        per_prompt: n as usize,
        best_of: n as usize,
    };
    Ok(Call { model: wire.model.unwrap_or_default(), jobs: call::choices(request, n), form })
}

fn logprobs(wanted: Option<bool>, top: Option<u32>) -> Result<Option<u32>, Fault> {
    match (wanted.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(Fault::invalid("top_logprobs", "needs logprobs to be true")),
    }
}
