//! Completion requests into generations.

use std::collections::BTreeMap;

use llmo_core::GenerateRequest;
use llmo_core::model::{Prompt, TokenId};
use serde::Deserialize;

use super::best_of;
use super::prompt::Prompts;
use crate::dialect::call::{self, Call, Form, MAX_CHOICES};
use crate::dialect::openai::sampling::{self, Sampling};
use crate::dialect::openai::wire::{OneOrMany, StreamOptions};
use crate::dialect::openai::{extensions, format, model_fields, refused};
use crate::fault::Fault;
use crate::http::json::Object;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    prompt: Option<Prompts>,
    /// Absent: as many as the context holds, as in llama-server. OpenAI's default is 16, which would cut the streams
    /// that a gateway continues.
    max_tokens: Option<u32>,
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
    best_of: Option<u32>,
    echo: Option<bool>,
    suffix: Option<String>,
    logprobs: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    return_token_ids: Option<bool>,
    /// Output that was generated already.
    output_prefix: Option<Vec<TokenId>>,
}

/// A translated completion request.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What to run.
    pub call: Call,
    /// Put the prompt before the text.
    pub echo: bool,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<Completion, Fault> {
    let body = &Object::new(body)?;
    let wire: WireRequest = body.read()?;
    refused::check_completion(body)?;
    let echo = wire.echo.unwrap_or(false);
    if wire.suffix.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(Fault::unsupported("suffix", "text can't be inserted before a suffix: leave it out"));
    }
    let n = sampling::choices(wire.n)?;
    let stream = wire.stream.unwrap_or(false);
    let best_of = best_of::checked(wire.best_of, n, stream)?;
    let Prompts(prompts) = wire.prompt.ok_or_else(|| Fault::invalid("prompt", "is missing"))?;
    if prompts.is_empty() {
        return Err(Fault::invalid("prompt", "must hold at least one prompt"));
    }
    if prompts.len() * best_of as usize > MAX_CHOICES {
        let each = if best_of > n { format!("best_of = {best_of}") } else { format!("n = {n}") };
        let message = format!("at most {MAX_CHOICES} choices in one request, {} prompts with {each}", prompts.len());
        return Err(Fault::invalid("prompt", message));
    }

    let mut request = GenerateRequest::new(Prompt::Text(String::new()));
    request.max_tokens = wire.max_tokens;
    request.token_ids = wire.return_token_ids.unwrap_or(false);
    request.logprobs = wire.logprobs;
    request.constraint = format::constraint(body)?;
    request.output_prefix = wire.output_prefix.unwrap_or_default();
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
    let form = Form {
        stream,
        include_usage: wire.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        token_ids: request.token_ids,
        logprobs: request.logprobs.is_some(),
        prompt_logprobs: request.prompt_logprobs.is_some(),
        per_prompt: n as usize,
        best_of: best_of as usize,
    };
    if best_of > n {
        // They are ranked by it.
        request.logprobs.get_or_insert(0);
    }
    if echo && (form.logprobs || request.max_tokens == Some(0)) {
        request.prompt_logprobs = request.prompt_logprobs.max(Some(wire.logprobs.unwrap_or(0)));
    }
    let mut jobs = Vec::with_capacity(prompts.len() * best_of as usize);
    for prompt in prompts {
        let mut job = request.clone();
        job.prompt = prompt;
        job.validate()?;
        jobs.extend(call::choices(job, best_of));
    }
    Ok(Completion { call: Call { model: wire.model.unwrap_or_default(), jobs, form }, echo })
}
