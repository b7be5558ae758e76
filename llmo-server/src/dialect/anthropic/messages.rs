//! Requests to `/v1/messages` and `/v1/messages/count_tokens`.

use llmo_core::GenerateRequest;
use llmo_core::model::{Constraint, Prompt, SamplingParams};
use serde::Deserialize;
use serde_json::{Value, json as object};

use super::content::{self, Block, WireMessage};
use super::tools::{self, WireChoice, WireTool};
use crate::dialect::object::Object;
use crate::dialect::text_or::TextOr;
use crate::dialect::{Call, Form};
use crate::fault::Fault;
use crate::http::json;

/// Anthropic's default.
const TEMPERATURE: f32 = 1.0;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    messages: Option<Vec<Object<WireMessage>>>,
    system: Option<TextOr<Block>>,
    max_tokens: Option<u32>,
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    metadata: Option<Object<Metadata>>,
    tools: Option<Vec<WireTool>>,
    tool_choice: Option<WireChoice>,
    thinking: Option<Object<Typed>>,
    output_format: Option<Value>,
    output_config: Option<OutputConfig>,
    mcp_servers: Option<Vec<Value>>,
    container: Option<Value>,
}

/// Read for its form only: who the user is does not matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    #[serde(rename = "user_id")]
    _user_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Typed {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputConfig {
    format: Option<Value>,
}

/// Translates the body of a request for a message.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<Call, Fault> {
    let wire: WireRequest = json::parse(body)?;
    if wire.max_tokens.is_none() {
        return Err(Fault::invalid("max_tokens", "is missing"));
    }
    translate(wire)
}

/// Translates the body of a request to count the tokens of a prompt: a message request, in which only the prompt
/// matters.
///
/// # Errors
/// As for [`parse`], but for a missing `max_tokens`.
pub fn parse_count(body: &[u8]) -> Result<Call, Fault> {
    translate(json::parse(body)?)
}

/// The answer of `/v1/messages/count_tokens`.
#[must_use]
pub fn counted(tokens: usize) -> Value {
    object!({"input_tokens": tokens})
}

fn translate(wire: WireRequest) -> Result<Call, Fault> {
    refuse(&wire)?;
    let messages = wire.messages.ok_or_else(|| Fault::invalid("messages", "is missing"))?;
    let mut request = GenerateRequest::new(Prompt::Chat(content::translate(wire.system, messages)?));
    request.max_tokens = wire.max_tokens;
    let mut sampling = SamplingParams::at_temperature(wire.temperature.unwrap_or(TEMPERATURE));
    sampling.top_p = wire.top_p.unwrap_or(sampling.top_p);
    sampling.top_k = wire.top_k.unwrap_or(0);
    request.sampling = sampling;
    request.stop = wire.stop_sequences.unwrap_or_default();
    tools::apply(wire.tools.unwrap_or_default(), wire.tool_choice, &mut request)?;
    if let Some(format) = wire.output_config.and_then(|config| config.format).or(wire.output_format) {
        request.constraint = Some(constraint(format)?);
    }
    request.validate()?;
    let form = Form { stream: wire.stream.unwrap_or(false), ..Form::default() };
    Ok(Call { model: wire.model.unwrap_or_default(), jobs: vec![request], form })
}

/// What would change the answer, and can't be had.
fn refuse(wire: &WireRequest) -> Result<(), Fault> {
    match wire.thinking.as_ref().and_then(|thinking| thinking.0.kind.as_deref()) {
        // "adaptive": the model decides, and ours decide not to.
        None | Some("disabled" | "adaptive") => {}
        Some("enabled") => return Err(Fault::unsupported("thinking", "no model here thinks apart from its answer")),
        Some(other) => {
            return Err(Fault::invalid(
                "thinking.type",
                format!("must be enabled, disabled or adaptive, not {other:?}"),
            ));
        }
    }
    if wire.mcp_servers.as_ref().is_some_and(|servers| !servers.is_empty()) {
        return Err(Fault::unsupported("mcp_servers", "this server calls no others: give their functions as tools"));
    }
    if wire.container.as_ref().is_some_and(|container| !container.is_null()) {
        return Err(Fault::unsupported("container", "there are no containers here"));
    }
    Ok(())
}

fn constraint(mut format: Value) -> Result<Constraint, Fault> {
    if format["type"] != "json_schema" {
        return Err(Fault::invalid("output_config.format.type", "must be json_schema"));
    }
    match format["schema"].take() {
        schema @ Value::Object(_) => Ok(Constraint::JsonSchema(schema)),
        _ => Err(Fault::invalid("output_config.format.schema", "must be a JSON schema, an object")),
    }
}
