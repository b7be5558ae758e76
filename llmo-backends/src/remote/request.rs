//! From a request to what is posted. Pure.

use llmo_core::model::{Constraint, GenerateRequest, ModelError, Prompt, Result, SamplingParams};
use serde_json::{Map, Value, json};

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
    pub body: Value,
}

/// A generation: conversations go to the chat endpoint, text and tokens to that for completions.
///
/// The answer is always asked for as a stream with usage. Every sampling parameter for which upstreams have defaults
/// other than "off" is spelled out.
///
/// # Errors
/// [`ModelError::Unsupported`] for parameters that OpenAI does not have, if the upstream takes no extensions.
pub fn generate(request: &GenerateRequest, upstream: Upstream<'_>) -> Result<Post> {
    let mut body = Map::new();
    body.insert("model".into(), upstream.model.into());
    let chat = matches!(request.prompt, Prompt::Chat(_));
    match &request.prompt {
        Prompt::Chat(messages) => body.insert("messages".into(), messages.iter().map(tools::message).collect()),
        Prompt::Text(text) => body.insert("prompt".into(), json!(text)),
        Prompt::Tokens(tokens) => body.insert("prompt".into(), json!(tokens)),
        _ => return Err(ModelError::invalid("prompt", "of a kind that can't be sent to an upstream")),
    };
    body.insert("stream".into(), true.into());
    body.insert("stream_options".into(), json!({"include_usage": true}));
    match request.max_tokens {
        Some(max_tokens) => drop(body.insert("max_tokens".into(), max_tokens.into())),
        // Completions end after 16 tokens unless told that there is no limit.
        None if !chat => drop(body.insert("max_tokens".into(), Value::Null)),
        None => {}
    }
    if !request.stop.is_empty() {
        body.insert("stop".into(), json!(request.stop));
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
    Ok(Post { path, body: Value::Object(body) })
}

/// JSON formats as OpenAI has them; the others as vLLM has them, but GBNF as llama-server has it.
fn insert_constraint(body: &mut Map<String, Value>, constraint: &Constraint, upstream: Upstream<'_>) -> Result<()> {
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
    body.insert(name.into(), value);
    Ok(())
}

fn insert_logprobs(body: &mut Map<String, Value>, chat: bool, top: u32) {
    if chat {
        body.insert("logprobs".into(), true.into());
        body.insert("top_logprobs".into(), top.into());
    } else {
        body.insert("logprobs".into(), top.into());
    }
}

fn insert_sampling(body: &mut Map<String, Value>, sampling: &SamplingParams) {
    // OpenAI's default is 1, so greedy has to be said.
    body.insert("temperature".into(), number(sampling.temperature));
    for (name, value, off) in [
        ("top_p", sampling.top_p, 1.0),
        ("frequency_penalty", sampling.frequency_penalty, 0.0),
        ("presence_penalty", sampling.presence_penalty, 0.0),
    ] {
        // llama-server's top_p is 0.95 unless told; the penalties are off everywhere.
        if value != off || (name == "top_p" && sampling.temperature > 0.0) {
            body.insert(name.into(), number(value));
        }
    }
    if let Some(seed) = sampling.seed {
        body.insert("seed".into(), seed.into());
    }
    if !sampling.logit_bias.is_empty() {
        let bias = sampling.logit_bias.iter().map(|(token, bias)| (token.to_string(), number(*bias)));
        body.insert("logit_bias".into(), Value::Object(bias.collect()));
    }
}

/// Filters that OpenAI does not have. While sampling they are always sent: llama-server's defaults are top_k 40 and
/// min_p 0.05. At temperature 0 they change nothing.
fn insert_extensions(body: &mut Map<String, Value>, request: &GenerateRequest) {
    let sampling = &request.sampling;
    if let Some(keep_alive) = request.keep_alive {
        body.insert("keep_alive".into(), json!(keep_alive));
    }
    if let Some(adapter) = &request.adapter {
        body.insert("lora".into(), json!([{"name": adapter.name, "scale": number(adapter.scale)}]));
    }
    if request.token_ids {
        body.insert("return_token_ids".into(), true.into());
    }
    if !request.output_prefix.is_empty() {
        body.insert("output_prefix".into(), json!(request.output_prefix));
    }
    if sampling.temperature > 0.0 {
        body.insert("top_k".into(), sampling.top_k.into());
        body.insert("min_p".into(), number(sampling.min_p));
        if sampling.typical_p != 1.0 {
            body.insert("typical_p".into(), number(sampling.typical_p));
        }
    }
    if sampling.repetition_penalty != 1.0 {
        body.insert("repetition_penalty".into(), number(sampling.repetition_penalty));
    }
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
    ];
    match wanted.iter().find(|(_, wanted)| *wanted) {
        Some((name, _)) => Err(ModelError::Unsupported { model: model.into(), what: format!("the parameter {name}") }),
        None => Ok(()),
    }
}

/// The shortest decimal that reads back as this f32: 0.7, where widening to f64 would give 0.699999988079071.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAI: Upstream<'_> = Upstream { model: "m", extensions: false };

    #[test]
    fn numbers_are_written_as_people_write_them() {
        assert_eq!(number(0.7).to_string(), "0.7");
        assert_eq!(number(1.0).to_string(), "1.0");
    }

    #[test]
    fn a_plain_upstream_never_sees_an_extension() {
        let mut request = GenerateRequest::ask("hi").sampling(SamplingParams::at_temperature(0.7));
        request.token_ids = true;
        let body = generate(&request, OPENAI).unwrap().body;
        for name in ["top_k", "min_p", "return_token_ids"] {
            assert!(body.get(name).is_none(), "{name}: {body}");
        }
        request.sampling.top_k = 5;
        assert!(matches!(generate(&request, OPENAI), Err(ModelError::Unsupported { .. })));
    }
}
