//! Requests into generations.

use llmo_core::GenerateRequest;
use llmo_core::model::{Constraint, Prompt, SamplingParams};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Echo;
use super::input::{self, Item};
use super::tools::{self, WireTool};
use crate::dialect::object::Object;
use crate::dialect::text_or::TextOr;
use crate::dialect::{Call, Form};
use crate::fault::Fault;
use crate::http::json;

/// OpenAI's default.
const TEMPERATURE: f32 = 1.0;
/// Our names of parameters and this dialect's.
pub(crate) const NAMES: [(&str, &str); 2] = [("max_tokens", "max_output_tokens"), ("constraint", "text.format")];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRequest {
    model: Option<String>,
    input: Option<TextOr<Object<Item>>>,
    instructions: Option<String>,
    max_output_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<u64>,
    text: Option<Object<TextOptions>>,
    tools: Option<Vec<WireTool>>,
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    stream: Option<bool>,
    top_logprobs: Option<u32>,
    include: Option<Vec<String>>,
    truncation: Option<String>,
    store: Option<bool>,
    background: Option<bool>,
    previous_response_id: Option<String>,
    conversation: Option<Value>,
    prompt: Option<Value>,
    reasoning: Option<Object<Reasoning>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TextOptions {
    format: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reasoning {
    effort: Option<String>,
}

/// A translated request.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseCall {
    /// What to run.
    pub call: Call,
    /// What the answer repeats of it.
    pub echo: Echo,
}

/// Translates a request's body.
///
/// # Errors
/// [`Fault`] naming the field.
pub fn parse(body: &[u8]) -> Result<ResponseCall, Fault> {
    let wire: WireRequest = json::parse(body)?;
    let echo = Echo::of(&json::parse::<Map<String, Value>>(body)?);
    refuse(&wire)?;
    let logprobs = logprobs(&wire)?;
    let input = wire.input.ok_or_else(|| Fault::invalid("input", "is missing"))?;
    let mut request = GenerateRequest::new(Prompt::Chat(input::translate(wire.instructions, input)?));
    request.max_tokens = wire.max_output_tokens;
    let mut sampling = SamplingParams::at_temperature(wire.temperature.unwrap_or(TEMPERATURE));
    sampling.top_p = wire.top_p.unwrap_or(sampling.top_p);
    sampling.seed = wire.seed;
    request.sampling = sampling;
    request.logprobs = logprobs;
    request.parallel_tool_calls = wire.parallel_tool_calls.unwrap_or(true);
    tools::apply(wire.tools.unwrap_or_default(), wire.tool_choice.as_ref(), &mut request)?;
    request.constraint = wire.text.and_then(|text| text.0.format).map_or(Ok(None), constraint)?;
    request.validate().map_err(|error| Fault::from(error).spelled(&NAMES))?;
    let form = Form { stream: wire.stream.unwrap_or(false), logprobs: request.logprobs.is_some(), ..Form::default() };
    let call = Call { model: wire.model.unwrap_or_default(), jobs: vec![request], form };
    Ok(ResponseCall { call, echo })
}

/// What needs a memory, or would change the answer and can't be had.
fn refuse(wire: &WireRequest) -> Result<(), Fault> {
    let stateless = "nothing is stored here: send the whole conversation as input";
    let given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    let effort = wire.reasoning.as_ref().and_then(|reasoning| reasoning.0.effort.as_deref());
    for (param, asked, why) in [
        ("previous_response_id", wire.previous_response_id.is_some(), stateless),
        ("conversation", given(&wire.conversation), stateless),
        ("store", wire.store == Some(true), "nothing is stored here: leave it out, or say false"),
        ("background", wire.background == Some(true), "nothing is stored here that could be asked for later"),
        ("prompt", given(&wire.prompt), "there are no stored prompts here"),
        ("reasoning.effort", !matches!(effort, None | Some("none")), "no model here thinks apart from its answer"),
    ] {
        if asked {
            return Err(Fault::unsupported(param, why));
        }
    }
    match wire.truncation.as_deref() {
        None | Some("disabled" | "auto") => Ok(()),
        Some(other) => Err(Fault::invalid("truncation", format!("must be auto or disabled, not {other:?}"))),
    }
}

fn logprobs(wire: &WireRequest) -> Result<Option<u32>, Fault> {
    let included = wire.include.as_ref().is_some_and(|names| names.iter().any(|n| n == "message.output_text.logprobs"));
    match wire.top_logprobs {
        Some(n) if n > 0 => Ok(Some(n)),
        _ => Ok(included.then_some(0)),
    }
}

/// `text.format`.
fn constraint(mut format: Value) -> Result<Option<Constraint>, Fault> {
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Constraint::JsonObject)),
        Some("json_schema") => match format["schema"].take() {
            schema @ Value::Object(_) => Ok(Some(Constraint::JsonSchema(schema))),
            _ => Err(Fault::invalid("text.format.schema", "must be a JSON schema, an object")),
        },
        Some(other) => Err(Fault::unsupported(
            "text.format.type",
            format!("must be text, json_object or json_schema, not {other:?}"),
        )),
        None if format.is_null() => Ok(None),
        None => Err(Fault::invalid("text.format.type", "is missing")),
    }
}
