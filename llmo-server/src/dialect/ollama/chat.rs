//! Requests to `/api/chat`.

use llmo_core::GenerateRequest;
use llmo_core::model::{KeepAlive, Prompt};
use serde::Deserialize;
use serde_json::Value;

use super::message::{self, WireMessage, WireTool};
use super::options::Options;
use super::{Asked, Presence, format};
use crate::dialect::object::Object;
use crate::dialect::{Call, Form};
use crate::fault::Fault;
use crate::http::json;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    messages: Option<Vec<Object<WireMessage>>>,
    tools: Option<Vec<WireTool>>,
    format: Option<Value>,
    options: Option<Object<Options>>,
    stream: Option<bool>,
    keep_alive: Option<KeepAlive>,
    think: Option<Value>,
    template: Option<String>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<Asked, Fault> {
    let wire: WireRequest = json::parse(body)?;
    let model = wire.model.unwrap_or_default();
    let stream = wire.stream.unwrap_or(true);
    if wire.template.is_some_and(|template| !template.is_empty()) {
        let why = "the model's own chat template is used, templates of clients are not";
        return Err(Fault::unsupported("template", why));
    }
    format::no_thinking(wire.think.as_ref())?;
    let messages = match wire.messages {
        Some(messages) if !messages.is_empty() => message::translate(messages)?,
        Some(_) => return Ok(Asked::Presence(Presence { model, keep_alive: wire.keep_alive, stream })),
        None if wire.keep_alive.is_some() => {
            return Ok(Asked::Presence(Presence { model, keep_alive: wire.keep_alive, stream }));
        }
        None => return Err(Fault::invalid("messages", "is missing")),
    };
    let mut request = GenerateRequest::new(Prompt::Chat(messages));
    wire.options.unwrap_or_default().0.apply(&mut request)?;
    request.constraint = format::constraint(wire.format)?;
    request.tools = message::functions(wire.tools.unwrap_or_default())?;
    request.logprobs = format::logprobs(wire.logprobs, wire.top_logprobs)?;
    request.keep_alive = wire.keep_alive;
    request.validate()?;
    let form = Form { stream, logprobs: request.logprobs.is_some(), ..Form::default() };
    Ok(Asked::Generation(Call { model, jobs: vec![request], form }))
}
