//! From a request to what is posted. Pure.

use bytes::Bytes;
use llmo_core::model::{Constraint, GenerateRequest, ModelError, Prompt, Result, SamplingParams, TokenId};
use serde::Serialize;
use serde_json::{Value, json};

use super::object::Object;
use super::tools;

/// What the upstream is.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// Its name for the model.
    pub model: &'a str,
    /// Does it take fields that OpenAI does not have?
    pub extensions: bool,
}

/// Where to post, and what.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// The path, from the root of the service.
    pub path: &'static str,
    /// The JSON body.
    pub body: Bytes,
}

impl Post {
    /// Posts a value.
    pub(super) fn json(path: &'static str, body: &Value) -> Self {
        Self { path, body: body.to_string().into() }
    }
}

/// A generation: conversations go to the chat endpoint, text and tokens to that for completions.
///
/// The answer is always asked for as a stream with usage. Every sampling parameter for which upstreams have defaults
/// other than "off" is spelled out.
///
/// # Errors
/// [`ModelError::Unsupported`] for parameters that OpenAI does not have, if the upstream takes no extensions.
pub fn generate(request: &GenerateRequest, upstream: Upstream<'_>) -> Result<Post> {
    let mut body = Object::new();
    body.insert("model", upstream.model);
    let chat = matches!(request.prompt, Prompt::Chat(_));
    match &request.prompt {
        Prompt::Chat(messages) => body.insert("messages", Each(messages, tools::message)),
        Prompt::Text(text) => body.insert("prompt", text),
        Prompt::Tokens(tokens) => body.insert("prompt", tokens),
        _ => return Err(ModelError::invalid("prompt", "of a kind that can't be sent to an upstream")),
    };
    body.insert("stream", true);
    body.insert("stream_options", WithUsage { include_usage: true });
    match request.max_tokens {
        Some(max_tokens) => body.insert("max_tokens", max_tokens),
        // Completions end after 16 tokens unless told that there is no limit.
        None if !chat => body.insert("max_tokens", ()),
        None => {}
    }
    if request.prompt_logprobs.is_some() && (chat || !upstream.extensions) {
        return Err(unsupported(upstream.model, "log probabilities of the prompt"));
    }
    if !request.stop.is_empty() {
        body.insert("stop", &request.stop);
    }
    if let Some(top) = request.logprobs {
        insert_logprobs(&mut body, chat, top);
    }
    insert_sampling(&mut body, &request.sampling);
    tools::insert(&mut body, request);
    if let Some(constraint) = &request.constraint {
        insert_constraint(&mut body, constraint, upstream)?;
    }
    if upstream.extensions {
        insert_extensions(&mut body, request);
    } else {
        refuse_extensions(request, upstream.model)?;
    }
    let path = if chat { "/v1/chat/completions" } else { "/v1/completions" };
    Ok(Post { path, body: body.finish() })
}

/// JSON formats as OpenAI has them; the others as vLLM has them, but GBNF as llama-server has it.
fn insert_constraint(body: &mut Object, constraint: &Constraint, upstream: Upstream<'_>) -> Result<()> {
    let (name, value) = match constraint {
        Constraint::JsonObject => ("response_format", json!({"type": "json_object"})),
        Constraint::JsonSchema(schema) => {
            let named = json!({"name": "output", "strict": true, "schema": schema});
            ("response_format", json!({"type": "json_schema", "json_schema": named}))
        }
        Constraint::Regex(regex) if upstream.extensions => ("structured_outputs", json!({"regex": regex})),
        Constraint::Choice(choice) if upstream.extensions => ("structured_outputs", json!({"choice": choice})),
        Constraint::Lark(lark) if upstream.extensions => ("structured_outputs", json!({"lark": lark})),
        Constraint::Gbnf(grammar) if upstream.extensions => ("grammar", json!(grammar)),
        _ => {
            let what = "constraints on the output other than JSON".into();
            return Err(ModelError::Unsupported { model: upstream.model.into(), what });
        }
    };
    body.insert(name, value);
    Ok(())
}

fn insert_logprobs(body: &mut Object, chat: bool, top: u32) {
    if chat {
        body.insert("logprobs", true);
        body.insert("top_logprobs", top);
    } else {
        body.insert("logprobs", top);
    }
}

fn insert_sampling(body: &mut Object, sampling: &SamplingParams) {
    // OpenAI's default is 1, so greedy has to be said.
    body.insert("temperature", sampling.temperature);
    for (name, value, off) in [
        ("top_p", sampling.top_p, 1.0),
        ("frequency_penalty", sampling.frequency_penalty, 0.0),
        ("presence_penalty", sampling.presence_penalty, 0.0),
    ] {
        // llama-server's top_p is 0.95 unless told; the penalties are off everywhere.
        if value != off || (name == "top_p" && sampling.temperature > 0.0) {
            body.insert(name, value);
        }
    }
    if let Some(seed) = sampling.seed {
        body.insert("seed", seed);
    }
    if !sampling.logit_bias.is_empty() {
        body.insert("logit_bias", Biases(&sampling.logit_bias));
    }
}

/// Filters that OpenAI does not have. While sampling they are always sent: llama-server's defaults are top_k 40 and
/// min_p 0.05. At temperature 0 they change nothing.
fn insert_extensions(body: &mut Object, request: &GenerateRequest) {
    let sampling = &request.sampling;
    if let Some(keep_alive) = request.keep_alive {
        body.insert("keep_alive", keep_alive);
    }
    if let Some(adapter) = &request.adapter {
        body.insert("lora", [Lora { name: &adapter.name, scale: adapter.scale }]);
    }
    if request.token_ids {
        body.insert("return_token_ids", true);
    }
    if !request.output_prefix.is_empty() {
        body.insert("output_prefix", &request.output_prefix);
    }
    if sampling.temperature > 0.0 {
        body.insert("top_k", sampling.top_k);
        body.insert("min_p", sampling.min_p);
        if sampling.typical_p != 1.0 {
            body.insert("typical_p", sampling.typical_p);
        }
    }
    if sampling.repetition_penalty != 1.0 {
        // vLLM's and llmo's name, then llama-server's.
        body.insert("repetition_penalty", sampling.repetition_penalty);
        body.insert("repeat_penalty", sampling.repetition_penalty);
    }
    if sampling.has_penalties() {
        body.insert("repeat_last_n", window(sampling.penalty_window));
    }
    if let Some(dry) = &sampling.dry {
        body.insert("dry_multiplier", dry.multiplier);
        body.insert("dry_base", dry.base);
        body.insert("dry_allowed_length", dry.allowed_length);
        body.insert("dry_penalty_last_n", window(dry.window));
        body.insert("dry_sequence_breakers", &dry.sequence_breakers);
    }
    if let Some(mirostat) = &sampling.mirostat {
        body.insert("mirostat", mirostat.version);
        body.insert("mirostat_tau", mirostat.tau);
        body.insert("mirostat_eta", mirostat.eta);
        if let Some(mu) = mirostat.mu {
            body.insert("mirostat_mu", mu);
        }
    }
    if !request.stop_tokens.is_empty() {
        body.insert("stop_token_ids", &request.stop_tokens);
    }
    if let Some(top) = request.prompt_logprobs {
        body.insert("prompt_logprobs", top);
    }
}

/// A number of the last tokens as llama-server has it: there 0 is none, and -1 all.
fn window(tokens: u32) -> i64 {
    if tokens == 0 { -1 } else { tokens.into() }
}

#[derive(Serialize)]
struct WithUsage {
    include_usage: bool,
}

#[derive(Serialize)]
struct Lora<'a> {
    name: &'a str,
    scale: f32,
}

struct Biases<'a>(&'a [(TokenId, f32)]);

impl Serialize for Biases<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// A list of things in another form.
pub(super) struct Each<'a, T, F>(pub(super) &'a [T], pub(super) F);

impl<'a, T, W: Serialize, F: Fn(&'a T) -> W> Serialize for Each<'a, T, F> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(&self.1))
    }
}

fn unsupported(model: &str, what: &str) -> ModelError {
    ModelError::Unsupported { model: model.into(), what: what.into() }
}

fn refuse_extensions(request: &GenerateRequest, model: &str) -> Result<()> {
    let sampling = &request.sampling;
    let wanted = [
        ("output_prefix", !request.output_prefix.is_empty()),
        ("top_k", sampling.top_k != 0),
        ("min_p", sampling.min_p != 0.0),
        ("typical_p", sampling.typical_p != 1.0),
        ("repetition_penalty", sampling.repetition_penalty != 1.0),
        ("lora", request.adapter.is_some()),
        ("repeat_last_n", sampling.has_penalties() && sampling.penalty_window != 0),
        ("dry_multiplier", sampling.dry.is_some()),
        ("mirostat", sampling.mirostat.is_some()),
        ("stop_token_ids", !request.stop_tokens.is_empty()),
    ];
    match wanted.iter().find(|(_, wanted)| *wanted) {
        Some((name, _)) => Err(unsupported(model, &format!("the parameter {name}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::model::{DryParams, MirostatParams};

    use super::*;

    const OPENAI: Upstream<'_> = Upstream { model: "m", extensions: false };

    #[test]
    fn a_plain_upstream_never_sees_an_extension() {
        let mut request = GenerateRequest::ask("hi").sampling(SamplingParams::at_temperature(0.7));
        request.token_ids = true;
        let body: Value = serde_json::from_slice(&generate(&request, OPENAI).unwrap().body).unwrap();
        for name in ["top_k", "min_p", "return_token_ids"] {
            assert!(body.get(name).is_none(), "{name}: {body}");
        }
        type Change = fn(&mut GenerateRequest);
        let extensions: [(&str, Change); 6] = [
            ("top_k", |r| r.sampling.top_k = 5),
            ("dry_multiplier", |r| r.sampling.dry = Some(DryParams::default())),
            ("mirostat", |r| r.sampling.mirostat = Some(MirostatParams::default())),
            ("repeat_last_n", |r| (r.sampling.presence_penalty, r.sampling.penalty_window) = (1.0, 64)),
            ("stop_token_ids", |r| r.stop_tokens = vec![2]),
            ("log probabilities of the prompt", |r| r.prompt_logprobs = Some(0)),
        ];
        for (name, change) in extensions {
            let mut request = request.clone();
            change(&mut request);
            match generate(&request, OPENAI) {
                Err(ModelError::Unsupported { what, .. }) => assert!(what.contains(name), "{what}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
