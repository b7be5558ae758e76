//! Requests to `/api/generate`, and which of the two dialects of that path a body speaks.

use llmo_core::GenerateRequest;
use llmo_core::model::{KeepAlive, Message, Prompt};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::options::Options;
use super::{Asked, Presence, format};
use crate::dialect::object::Object;
use crate::dialect::{Call, Form};
use crate::fault::Fault;
use crate::http::json;

/// Fields that only the specification's form has.
const PLAIN: [&str; 5] = ["max_length", "temperature", "top_p", "seed", "stop"];
/// Fields that only Ollama's form has.
const OURS: [&str; 12] = [
    "options",
    "system",
    "template",
    "context",
    "raw",
    "suffix",
    "images",
    "format",
    "keep_alive",
    "think",
    "logprobs",
    "top_logprobs",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    prompt: Option<String>,
    system: Option<String>,
    suffix: Option<String>,
    template: Option<String>,
    context: Option<Vec<Value>>,
    images: Option<Vec<Value>>,
    raw: Option<bool>,
    format: Option<Value>,
    options: Option<Object<Options>>,
    stream: Option<bool>,
    keep_alive: Option<KeepAlive>,
    think: Option<Value>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
}

/// Does a body speak Ollama's dialect, and not the specification's?
///
/// 1. It does not if it has a field that only the specification's form has: `max_length`, or, on its top level,
///    `temperature`, `top_p`, `seed` or `stop`.
/// 2. Otherwise it does if it names a `model`, or has a field that only Ollama's form has (`options`, `system`, …).
/// 3. Otherwise, with nothing but `prompt` and `stream`, it does not.
///
/// A field that is null, and a model's name that is empty, count as absent.
///
/// # Errors
/// A body that is no JSON object, or has fields that belong to different forms: nobody should get an answer that leaves
/// half of the question out.
pub fn speaks(body: &[u8]) -> Result<bool, Fault> {
    let fields: Map<String, Value> = json::parse(body)?;
    let has = |name: &&&str| fields.get(**name).is_some_and(|value| !value.is_null());
    let (plain, ours) = (PLAIN.iter().find(has), OURS.iter().find(has));
    match (plain, ours) {
        (Some(plain), Some(ours)) => {
            let why = format!(
                "belongs to Ollama's form of this request and {plain} to the plain one: put {plain} into options \
                 (there max_length is num_predict), or leave {ours} out"
            );
            Err(Fault::invalid(*ours, why))
        }
        (Some(_), None) => Ok(false),
        (None, Some(_)) => Ok(true),
        (None, None) => Ok(fields.get("model").is_some_and(|model| !model.is_null() && model != "")),
    }
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<Asked, Fault> {
    let wire: WireRequest = json::parse(body)?;
    refuse(&wire)?;
    let model = wire.model.unwrap_or_default();
    let stream = wire.stream.unwrap_or(true);
    let Some(prompt) = wire.prompt.filter(|prompt| !prompt.is_empty()) else {
        return Ok(Asked::Presence(Presence { model, keep_alive: wire.keep_alive, stream }));
    };
    let prompt = if wire.raw.unwrap_or(false) {
        Prompt::Text(prompt)
    } else {
        let system = wire.system.filter(|text| !text.is_empty()).map(Message::system);
        Prompt::Chat(system.into_iter().chain([Message::user(prompt)]).collect())
    };
    let mut request = GenerateRequest::new(prompt);
    wire.options.unwrap_or_default().0.apply(&mut request)?;
    request.constraint = format::constraint(wire.format)?;
    request.logprobs = format::logprobs(wire.logprobs, wire.top_logprobs)?;
    request.keep_alive = wire.keep_alive;
    request.validate()?;
    let form = Form { stream, logprobs: request.logprobs.is_some(), ..Form::default() };
    Ok(Asked::Generation(Call { model, jobs: vec![request], form }))
}

/// What would change the answer, and can't be had.
fn refuse(wire: &WireRequest) -> Result<(), Fault> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if given(&wire.template) {
        let why = "the model's own chat template is used, templates of clients are not (raw: true uses none)";
        return Err(Fault::unsupported("template", why));
    }
    if given(&wire.suffix) {
        return Err(Fault::unsupported("suffix", "text can't be inserted before a suffix yet"));
    }
    if wire.context.as_ref().is_some_and(|context| !context.is_empty()) {
        let why = "this server keeps no conversations as tokens: send the messages to /api/chat";
        return Err(Fault::unsupported("context", why));
    }
    if wire.raw.unwrap_or(false) && given(&wire.system) {
        return Err(Fault::invalid("system", "a raw prompt has no place for it: put it into the prompt"));
    }
    format::no_images("images", wire.images.as_ref())?;
    format::no_thinking(wire.think.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_decide_whose_form_it_is() {
        for (body, ollama) in [
            (r#"{"prompt": "x"}"#, false),
            (r#"{"prompt": "x", "stream": false}"#, false),
            (r#"{"prompt": "x", "stream": true}"#, false),
            (r#"{"prompt": "x", "max_length": 5, "temperature": 0.5, "top_p": 1}"#, false),
            (r#"{"prompt": "x", "model": "m", "max_length": 5}"#, false),
            (r#"{"prompt": "x", "model": "m", "temperature": 0}"#, false),
            (r#"{"prompt": "x", "model": "m", "seed": 1, "stream": false}"#, false),
            (r#"{"prompt": "x", "model": ""}"#, false),
            (r#"{"prompt": "x", "model": null, "options": null}"#, false),
            ("{}", false),
            (r#"{"prompt": "x", "model": "m"}"#, true),
            (r#"{"prompt": "x", "model": "m", "stream": false}"#, true),
            (r#"{"prompt": "x", "model": "m", "max_length": null}"#, true),
            (r#"{"prompt": "x", "options": {"temperature": 0}}"#, true),
            (r#"{"prompt": "x", "system": "y"}"#, true),
            (r#"{"prompt": "x", "raw": false}"#, true),
            (r#"{"model": "m"}"#, true),
            (r#"{"model": "m", "keep_alive": 0}"#, true),
        ] {
            assert_eq!(speaks(body.as_bytes()).unwrap(), ollama, "{body}");
        }
    }

    #[test]
    fn fields_of_both_forms_are_refused_and_not_ignored() {
        for body in [r#"{"prompt": "x", "max_length": 5, "format": "json"}"#, r#"{"top_p": 1, "options": {}}"#] {
            assert!(speaks(body.as_bytes()).is_err(), "{body}");
        }
        assert!(speaks(b"[]").is_err());
        assert!(speaks(b"{").is_err());
    }
}
